# build_flags: warnings, hardening and sanitizers, linked PRIVATE by every target of ours.
add_library(build_flags INTERFACE)
target_compile_definitions(build_flags INTERFACE _GNU_SOURCE)
target_include_directories(build_flags INTERFACE ${PROJECT_SOURCE_DIR})
target_compile_options(build_flags INTERFACE
    -Wall -Wextra -Wshadow -Wundef -Wvla -Wformat=2 -Wwrite-strings -Wno-missing-field-initializers
    $<$<COMPILE_LANGUAGE:C>:-Wstrict-prototypes -Wmissing-prototypes -Werror=implicit-function-declaration>
    $<$<AND:$<COMPILE_LANGUAGE:C>,$<C_COMPILER_ID:GNU>>:-Wlogical-op -Wduplicated-cond>
    $<$<C_COMPILER_ID:Clang>:-Wthread-safety>
    -fstack-protector-strong -fno-omit-frame-pointer -fvisibility=hidden)
option(GCS_WERROR "Treat warnings as errors" ON)
if(GCS_WERROR)
    target_compile_options(build_flags INTERFACE -Werror)
endif()
if(CMAKE_BUILD_TYPE STREQUAL "RelWithDebInfo" AND NOT GCS_SANITIZE)
    target_compile_options(build_flags INTERFACE -U_FORTIFY_SOURCE -D_FORTIFY_SOURCE=2)
endif()
if(GCS_SANITIZE)
    target_compile_options(build_flags INTERFACE -fsanitize=${GCS_SANITIZE} -fno-sanitize-recover=all)
    target_link_options(build_flags INTERFACE -fsanitize=${GCS_SANITIZE})
endif()
if(GCS_FUZZ)
    target_compile_options(build_flags INTERFACE -fsanitize=fuzzer-no-link)
endif()
target_link_options(build_flags INTERFACE -Wl,-z,relro,-z,now)
