# Target `headers` compiles every header of the project alone, so that each can be the first include of a file.
# Found by pattern, not by name: a header that no CMakeLists.txt lists is to be checked as well. Not part of
# the default build; scripts/test builds it.
file(GLOB_RECURSE headers RELATIVE ${PROJECT_SOURCE_DIR}
     ${PROJECT_SOURCE_DIR}/server/*.h ${PROJECT_SOURCE_DIR}/client/*.h
     ${PROJECT_SOURCE_DIR}/bench/*.h ${PROJECT_SOURCE_DIR}/tests/*.h)
foreach(header IN LISTS headers)
    string(MAKE_C_IDENTIFIER ${header} name)
    set(probe ${PROJECT_BINARY_DIR}/headers/${name}.c)
    file(CONFIGURE OUTPUT ${probe} CONTENT "#include \"${header}\"\n")
    list(APPEND header_probes ${probe})
endforeach()
add_library(headers OBJECT EXCLUDE_FROM_ALL ${header_probes})
target_link_libraries(headers PRIVATE
    proto_gcs PkgConfig::nanomsg PkgConfig::jansson PkgConfig::crypto PkgConfig::systemd
    PkgConfig::microhttpd PkgConfig::cmocka
    PkgConfig::fuse3 build_flags)
