/*
 * The library that inject.h speaks of: it stands before the C library and lets the calls of the program's own
 * code through, but for the one that is to fail.
 *
 * Whose a call is: the return address lies in the program itself. A program with ThreadSanitizer has the
 * sanitizer's wrappers between its code and this one, for its libraries' calls as well; there the stack is
 * unwound, and a frame of any library but the C library says that the call is that library's.
 *
 * Every wrapper has the form "fails? then so; else the real one".
 */
#include <dirent.h>
#include <dlfcn.h>
#include <errno.h>
#include <execinfo.h>
#include <fcntl.h>
#include <link.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <spawn.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/random.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "tests/faults/inject.h"

#define EXPORT __attribute__((visibility("default")))

enum { FRAMES_MAX = 64 };

struct range {
    uintptr_t from, to;
};

static struct inject *control; /* NULL: let everything through */
static struct range program, c_library;
static bool unwinds;
static _Thread_local bool unwinding __attribute__((tls_model("initial-exec")));

static bool
in_range(const struct range *range, uintptr_t address)
{
    return address >= range->from && address < range->to;
}

/* The first object is the program; the C library is the one that has getpid(). */
static int
note_object(struct dl_phdr_info *info, size_t size, void *arg)
{
    (void)size;
    struct range range = {.from = UINTPTR_MAX};
    for (int i = 0; i < info->dlpi_phnum; i++) {
        const ElfW(Phdr) *header = &info->dlpi_phdr[i];
        uintptr_t from = info->dlpi_addr + header->p_vaddr;
        if (header->p_type != PT_LOAD)
            continue;
        range.from = from < range.from ? from : range.from;
        range.to = from + header->p_memsz > range.to ? from + header->p_memsz : range.to;
    }
    if (program.to == 0)
        program = range;
    if (in_range(&range, (uintptr_t)arg))
        c_library = range;
    return 0;
}

__attribute__((constructor)) static void
begin(void)
{
    const char *path = getenv(INJECT_VARIABLE);
    void *frames[2];
    int fd = path ? (int)syscall(SYS_openat, AT_FDCWD, path, O_RDWR | O_CLOEXEC, 0) : -1;
    if (fd < 0)
        return;
    dl_iterate_phdr(note_object, dlsym(RTLD_NEXT, "getpid"));
    unwinds = dlsym(RTLD_DEFAULT, "__tsan_init") != NULL;
    if (unwinds)
        backtrace(frames, 2); /* loads what it needs */
    void *map = mmap(NULL, sizeof *control, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    close(fd);
    if (map != MAP_FAILED)
        control = map;
}

/* Whether no library but the C library is among the callers. */
static bool
stack_is_ours(void)
{
    void *frames[FRAMES_MAX];
    Dl_info here;
    if (unwinding)
        return false;
    unwinding = true;
    int count = backtrace(frames, FRAMES_MAX);
    bool ours = dladdr((void *)(uintptr_t)note_object, &here) != 0;
    for (int i = 0; i < count && ours; i++) {
        uintptr_t address = (uintptr_t)frames[i];
        Dl_info info;
        if (in_range(&program, address) || in_range(&c_library, address))
            continue;
        ours = address == 0 || (dladdr(frames[i], &info) != 0 && info.dli_fbase == here.dli_fbase);
    }
    unwinding = false;
    return ours;
}

static bool
is_wanted(const char *name)
{
    size_t length = strlen(name);
    if (!control->only[0])
        return true;
    for (const char *found = control->only; (found = strstr(found, name)) != NULL; found++)
        if (found > control->only && found[-1] == '|' && found[length] == '|')
            return true;
    return false;
}

/* Counts the call; whether it is to fail, with errno set. */
static bool
fails(enum inject_kinds kind, const char *name, int error, uintptr_t caller)
{
    if (!control || !atomic_load_explicit(&control->armed, memory_order_acquire) || !(control->kinds & kind))
        return false;
    if (!is_wanted(name))
        return false;
    if (!in_range(&program, caller) || (unwinds && !stack_is_ours()))
        return false;
    unsigned number = atomic_fetch_add(&control->seen, 1) + 1;
    if (control->first == 0 || number < control->first || number > control->last)
        return false;
    if (atomic_fetch_add(&control->failed, 1) == 0)
        strncpy(control->name, name, INJECT_NAME_BYTES - 1);
    if (control->kills)
        syscall(SYS_kill, syscall(SYS_getpid), SIGKILL);
    errno = error;
    return true;
}

#define FAILS(kind, name, error) fails(kind, name, error, (uintptr_t)__builtin_return_address(0))

#define REAL(name)                                                                                           \
    static __typeof__(name) *real;                                                                           \
    if (!real)                                                                                               \
    real = (__typeof__(real))(uintptr_t)dlsym(RTLD_NEXT, #name)

/* A wrapper of a function that returns `failed` with errno. */
#define WRAP(type, failed, name, error, parameters, arguments)                                               \
    EXPORT type name parameters                                                                              \
    {                                                                                                        \
        REAL(name);                                                                                          \
        return FAILS(INJECT_CALLS, #name, error) ? failed : real arguments;                                  \
    }

/* The same for one that returns the error. */
#define WRAP_RETURNING(name, error, parameters, arguments)                                                   \
    EXPORT int name parameters                                                                               \
    {                                                                                                        \
        REAL(name);                                                                                          \
        return FAILS(INJECT_CALLS, #name, error) ? error : real arguments;                                   \
    }

/* -- files and directories -- */

EXPORT int
open(const char *path, int flags, ...)
{
    REAL(open);
    va_list list;
    va_start(list, flags);
    mode_t mode = va_arg(list, mode_t);
    va_end(list);
    return FAILS(INJECT_CALLS, "open", EMFILE) ? -1 : real(path, flags, mode);
}

EXPORT int
openat(int at, const char *path, int flags, ...)
{
    REAL(openat);
    va_list list;
    va_start(list, flags);
    mode_t mode = va_arg(list, mode_t);
    va_end(list);
    return FAILS(INJECT_CALLS, "openat", EMFILE) ? -1 : real(at, path, flags, mode);
}

/* Used for openat2(2), and for what no test lets fail. */
EXPORT long
syscall(long number, ...)
{
    REAL(syscall);
    va_list list;
    long a[6];
    va_start(list, number);
    for (int i = 0; i < 6; i++)
        a[i] = va_arg(list, long);
    va_end(list);
    if (number == SYS_openat2 && FAILS(INJECT_CALLS, "openat2", EMFILE))
        return -1;
    return real(number, a[0], a[1], a[2], a[3], a[4], a[5]);
}

WRAP(int, -1, mkdirat, ENOSPC, (int at, const char *path, mode_t mode), (at, path, mode))
WRAP(int, -1, mknodat, ENOSPC, (int at, const char *path, mode_t mode, dev_t device),
     (at, path, mode, device))
WRAP(int, -1, unlinkat, EIO, (int at, const char *path, int flags), (at, path, flags))
WRAP(int, -1, renameat, EIO, (int from_at, const char *from, int to_at, const char *to),
     (from_at, from, to_at, to))
WRAP(int, -1, renameat2, EIO, (int from_at, const char *from, int to_at, const char *to, unsigned flags),
     (from_at, from, to_at, to, flags))
WRAP(int, -1, fstat, EIO, (int fd, struct stat *info), (fd, info))
WRAP(int, -1, fstatat, EIO, (int at, const char *path, struct stat *info, int flags), (at, path, info, flags))
WRAP(int, -1, statx, EIO, (int at, const char *path, int flags, unsigned mask, struct statx *info),
     (at, path, flags, mask, info))
WRAP(int, -1, ftruncate, ENOSPC, (int fd, off_t size), (fd, size))
WRAP(int, -1, fchmod, EIO, (int fd, mode_t mode), (fd, mode))
WRAP(ssize_t, -1, readlink, EIO, (const char *path, char *ret, size_t size), (path, ret, size))
WRAP(DIR *, NULL, opendir, EMFILE, (const char *path), (path))
WRAP(DIR *, NULL, fdopendir, ENOMEM, (int fd), (fd))
WRAP(struct dirent *, NULL, readdir, EIO, (DIR * dir), (dir))
WRAP(FILE *, NULL, fopen, EMFILE, (const char *path, const char *mode), (path, mode))
WRAP(ssize_t, -1, getrandom, EAGAIN, (void *ret, size_t size, unsigned flags), (ret, size, flags))

static bool
is_file(int fd)
{
    struct stat info;
    return syscall(SYS_fstat, fd, &info) == 0 && S_ISREG(info.st_mode);
}

EXPORT ssize_t
read(int fd, void *ret, size_t size)
{
    REAL(read);
    return control && control->armed && is_file(fd) && FAILS(INJECT_CALLS, "read", EIO) ? -1
                                                                                        : real(fd, ret, size);
}

EXPORT ssize_t
write(int fd, const void *bytes, size_t size)
{
    REAL(write);
    return control && control->armed && is_file(fd) && FAILS(INJECT_CALLS, "write", ENOSPC)
               ? -1
               : real(fd, bytes, size);
}

/* -- descriptors -- */

EXPORT int
fcntl(int fd, int command, ...)
{
    REAL(fcntl);
    va_list list;
    va_start(list, command);
    void *argument = va_arg(list, void *);
    va_end(list);
    return FAILS(INJECT_CALLS, "fcntl", EMFILE) ? -1 : real(fd, command, argument);
}

/* Asking how much there is to read does not fail. */
EXPORT int
ioctl(int fd, unsigned long request, ...)
{
    REAL(ioctl);
    va_list list;
    va_start(list, request);
    void *argument = va_arg(list, void *);
    va_end(list);
    return request != FIONREAD && FAILS(INJECT_CALLS, "ioctl", ENOMEM) ? -1 : real(fd, request, argument);
}

/* Adding takes memory of the kernel; changing and removing take none. */
EXPORT int
epoll_ctl(int epoll, int operation, int fd, struct epoll_event *event)
{
    REAL(epoll_ctl);
    return operation == EPOLL_CTL_ADD && FAILS(INJECT_CALLS, "epoll_ctl", ENOSPC)
               ? -1
               : real(epoll, operation, fd, event);
}

WRAP(int, -1, pipe2, EMFILE, (int ends[2], int flags), (ends, flags))
WRAP(int, -1, memfd_create, ENOMEM, (const char *name, unsigned flags), (name, flags))
WRAP(int, -1, posix_openpt, ENOSPC, (int flags), (flags))
WRAP(int, -1, unlockpt, EIO, (int fd), (fd))
WRAP_RETURNING(ptsname_r, ENOTTY, (int fd, char *ret, size_t size), (fd, ret, size))

/* -- mounts -- */

WRAP(int, -1, mount, ENOMEM,
     (const char *source, const char *target, const char *type, unsigned long flags, const void *data),
     (source, target, type, flags, data))
WRAP(int, -1, umount2, EBUSY, (const char *path, int flags), (path, flags))
WRAP(int, -1, fsopen, ENOMEM, (const char *name, unsigned flags), (name, flags))
WRAP(int, -1, fsconfig, EIO, (int fd, unsigned command, const char *key, const void *value, int extra),
     (fd, command, key, value, extra))
WRAP(int, -1, fsmount, ENOMEM, (int fd, unsigned flags, unsigned attributes), (fd, flags, attributes))
WRAP(int, -1, move_mount, ENOMEM, (int from_at, const char *from, int to_at, const char *to, unsigned flags),
     (from_at, from, to_at, to, flags))
WRAP(int, -1, open_tree, EMFILE, (int at, const char *path, unsigned flags), (at, path, flags))
WRAP(int, -1, mount_setattr, ENOMEM,
     (int at, const char *path, unsigned flags, struct mount_attr *attributes, size_t size),
     (at, path, flags, attributes, size))

/* -- networks -- */

WRAP(int, -1, unshare, ENOSPC, (int flags), (flags))
WRAP(int, -1, setns, EPERM, (int fd, int kind), (fd, kind))
WRAP(int, -1, socket, EMFILE, (int family, int kind, int protocol), (family, kind, protocol))

/* libnl's own, of which an answer of the kernel is a part: they return its code, negative. */
int nl_connect(void *sock, int protocol);
int rtnl_link_get_kernel(void *sock, int index, const char *name, void **ret);
int rtnl_link_add(void *sock, void *link, int flags);
int rtnl_link_change(void *sock, void *link, void *change, int flags);
int rtnl_link_delete(void *sock, void *link);
int rtnl_addr_add(void *sock, void *addr, int flags);
int rtnl_route_add(void *sock, void *route, int flags);

#define NLE_NOMEM (-5)

WRAP_RETURNING(nl_connect, NLE_NOMEM, (void *sock, int protocol), (sock, protocol))
WRAP_RETURNING(rtnl_link_get_kernel, NLE_NOMEM, (void *sock, int index, const char *name, void **ret),
               (sock, index, name, ret))
WRAP_RETURNING(rtnl_link_add, NLE_NOMEM, (void *sock, void *link, int flags), (sock, link, flags))
WRAP_RETURNING(rtnl_link_change, NLE_NOMEM, (void *sock, void *link, void *change, int flags),
               (sock, link, change, flags))
WRAP_RETURNING(rtnl_link_delete, NLE_NOMEM, (void *sock, void *link), (sock, link))
WRAP_RETURNING(rtnl_addr_add, NLE_NOMEM, (void *sock, void *addr, int flags), (sock, addr, flags))
WRAP_RETURNING(rtnl_route_add, NLE_NOMEM, (void *sock, void *route, int flags), (sock, route, flags))

/* -- threads and processes -- */

WRAP_RETURNING(pthread_create, EAGAIN,
               (pthread_t * ret, const pthread_attr_t *attributes, void *(*run)(void *), void *arg),
               (ret, attributes, run, arg))
WRAP_RETURNING(posix_spawn, EAGAIN,
               (pid_t * ret, const char *path, const posix_spawn_file_actions_t *actions,
                const posix_spawnattr_t *attributes, char *const *argv, char *const *environment),
               (ret, path, actions, attributes, argv, environment))

/* -- memory -- */

#define WRAP_MEMORY(name, parameters, arguments)                                                             \
    EXPORT void *name parameters                                                                             \
    {                                                                                                        \
        REAL(name);                                                                                          \
        return FAILS(INJECT_MEMORY, #name, ENOMEM) ? NULL : real arguments;                                  \
    }

WRAP_MEMORY(malloc, (size_t size), (size))
WRAP_MEMORY(calloc, (size_t count, size_t size), (count, size))
WRAP_MEMORY(realloc, (void *old, size_t size), (old, size))

#undef strdup
EXPORT char *
strdup(const char *text)
{
    REAL(strdup);
    return FAILS(INJECT_MEMORY, "strdup", ENOMEM) ? NULL : real(text);
}

EXPORT int
asprintf(char **ret, const char *format, ...)
{
    if (FAILS(INJECT_MEMORY, "asprintf", ENOMEM))
        return -1;
    va_list list;
    va_start(list, format);
    int length = vasprintf(ret, format, list);
    va_end(list);
    return length;
}
