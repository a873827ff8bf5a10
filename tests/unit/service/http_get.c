#include "tests/unit/service/http_get.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/un.h>
#include <unistd.h>

#include "server/base/fd.h"

enum { ANSWER_BYTES_MAX = 1024 * 1024, PATIENCE_S = 20 };

int
http_connect(const char *address)
{
    struct sockaddr_un local = {.sun_family = AF_UNIX};
    struct sockaddr_in port = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    int is_local = strncmp(address, "unix:", 5) == 0;
    if (is_local)
        snprintf(local.sun_path, sizeof local.sun_path, "%s", address + 5);
    else
        port.sin_port = htons((uint16_t)atoi(strrchr(address, ':') + 1));
    int fd = socket(is_local ? AF_UNIX : AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    struct timeval patience = {.tv_sec = PATIENCE_S};
    setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
    if (connect(fd, is_local ? (struct sockaddr *)&local : (struct sockaddr *)&port,
                is_local ? sizeof local : sizeof port) == 0)
        return fd;
    close(fd);
    return -1;
}

char *
http_exchange(const char *address, const char *request)
{
    int fd = http_connect(address);
    if (fd < 0)
        return NULL;
    char *answer = calloc(1, ANSWER_BYTES_MAX);
    if (answer && send(fd, request, strlen(request), MSG_NOSIGNAL) == (ssize_t)strlen(request))
        (void)fd_read_full(fd, answer, ANSWER_BYTES_MAX - 1);
    close(fd);
    return answer;
}

char *
http_get(const char *address, const char *path)
{
    char request[256];
    snprintf(request, sizeof request, "GET %s HTTP/1.1\r\nHost: guest\r\nConnection: close\r\n\r\n", path);
    return http_exchange(address, request);
}

const char *
http_body(const char *answer)
{
    const char *end = strstr(answer, "\r\n\r\n");
    return end ? end + 4 : "";
}
