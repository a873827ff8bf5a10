#include "server/inbox/console.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "server/base/fd.h"

enum status
console_listen(int dir_fd, const char *name, char ret_path[CONSOLE_PATH_MAX], int *ret, struct error *err)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    int length =
        snprintf(address.sun_path, sizeof address.sun_path, "/proc/%d/fd/%d/%s", (int)getpid(), dir_fd, name);
    if (length < 0 || (size_t)length >= sizeof address.sun_path)
        return error_set(err, STATUS_INTERNAL, 0, "the console socket's path is too long");
    CLEANUP(fd_closep)
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0 || bind(fd, (const struct sockaddr *)&address, sizeof address) < 0 || listen(fd, 1) < 0)
        return error_set(err, STATUS_INTERNAL, errno, "listen for a terminal");
    memcpy(ret_path, address.sun_path, sizeof address.sun_path);
    *ret = TAKE_FD(fd);
    return STATUS_OK;
}

enum status
console_receive(int listen_fd, int *ret_master, struct error *err)
{
    CLEANUP(fd_closep)
    int fd = accept4(listen_fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
    if (fd < 0)
        return error_set(err, STATUS_UNAVAILABLE, errno, "the runtime sent no terminal");
    char text[4096]; /* the name of the terminal; of no interest */
    union {
        struct cmsghdr align;
        char bytes[CMSG_SPACE(sizeof(int))];
    } control;
    struct iovec part = {.iov_base = text, .iov_len = sizeof text};
    struct msghdr message = {.msg_iov = &part,
                             .msg_iovlen = 1,
                             .msg_control = control.bytes,
                             .msg_controllen = sizeof control.bytes};
    ssize_t count = recvmsg(fd, &message, MSG_CMSG_CLOEXEC | MSG_DONTWAIT);
    struct cmsghdr *header = count < 0 ? NULL : CMSG_FIRSTHDR(&message);
    if (!header || header->cmsg_level != SOL_SOCKET || header->cmsg_type != SCM_RIGHTS ||
        header->cmsg_len != CMSG_LEN(sizeof(int)))
        return error_set(err, STATUS_UNAVAILABLE, 0, "the runtime sent no terminal");
    memcpy(ret_master, CMSG_DATA(header), sizeof *ret_master);
    return STATUS_OK;
}

enum status
console_open(int *ret_master, char ret_path[CONSOLE_PATH_MAX], struct error *err)
{
    CLEANUP(fd_closep)
    int master = posix_openpt(O_RDWR | O_NOCTTY | O_CLOEXEC);
    if (master < 0 || unlockpt(master) < 0 || ptsname_r(master, ret_path, CONSOLE_PATH_MAX) != 0)
        return error_set(err, STATUS_INTERNAL, errno, "open a terminal");
    *ret_master = TAKE_FD(master);
    return STATUS_OK;
}
