#include "server/service/endpoint.h"

#include <arpa/inet.h>
#include <errno.h>
#include <microhttpd.h>
#include <netinet/in.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "server/base/fd.h"
#include "server/base/limits.h"
#include "server/base/socket_path.h"

#define UNIX_PREFIX  "unix:"
#define TCP_PREFIX   "tcp:127.0.0.1:"

#define METRICS_TYPE "text/plain; version=0.0.4; charset=utf-8"
#define TEXT_TYPE    "text/plain; charset=utf-8"

struct endpoint {
    struct endpoint_config config;
    struct MHD_Daemon *daemon;
    char *path; /* of the socket, to be removed; NULL: there is none */
};

/* -- answers -- */

/* Queues the answer. `text` is static, or with `owned` malloc()ed and taken. */
static enum MHD_Result
reply(struct MHD_Connection *connection, unsigned code, const char *type, const char *text, bool owned)
{
    struct MHD_Response *response = MHD_create_response_from_buffer(
        strlen(text), (void *)(uintptr_t)text, owned ? MHD_RESPMEM_MUST_FREE : MHD_RESPMEM_PERSISTENT);
    if (!response) {
        if (owned)
            free((void *)(uintptr_t)text);
        return MHD_NO; /* closes the connection */
    }
    enum MHD_Result result = MHD_add_response_header(response, MHD_HTTP_HEADER_CONTENT_TYPE, type);
    if (result == MHD_YES && code == MHD_HTTP_METHOD_NOT_ALLOWED)
        result = MHD_add_response_header(response, MHD_HTTP_HEADER_ALLOW, "GET, HEAD");
    if (result == MHD_YES)
        result = MHD_queue_response(connection, code, response);
    MHD_destroy_response(response);
    return result;
}

static enum MHD_Result
reply_metrics(struct endpoint *endpoint, struct MHD_Connection *connection)
{
    struct error err;
    char *text = NULL;
    size_t next;
    if (metrics_text(endpoint->config.metrics, 0, SIZE_MAX, &next, &text, &err) != STATUS_OK)
        return reply(connection, MHD_HTTP_INTERNAL_SERVER_ERROR, TEXT_TYPE, "no memory\n", false);
    return reply(connection, MHD_HTTP_OK, METRICS_TYPE, text, true);
}

static enum MHD_Result
reply_health(struct endpoint *endpoint, struct MHD_Connection *connection)
{
    char *text = NULL;
    size_t size;
    FILE *file = open_memstream(&text, &size);
    if (!file)
        return reply(connection, MHD_HTTP_INTERNAL_SERVER_ERROR, TEXT_TYPE, "no memory\n", false);
    bool ready = endpoint->config.health(endpoint->config.arg, file);
    if (ready)
        fputs("ready\n", file);
    if (fclose(file) != 0) {
        free(text);
        return reply(connection, MHD_HTTP_INTERNAL_SERVER_ERROR, TEXT_TYPE, "no memory\n", false);
    }
    return reply(connection, ready ? MHD_HTTP_OK : MHD_HTTP_SERVICE_UNAVAILABLE, TEXT_TYPE, text, true);
}

/* libmicrohttpd calls it when the head of a request is there, and once more when its body has been. */
static enum MHD_Result
serve(void *arg, struct MHD_Connection *connection, const char *path, const char *method, const char *version,
      const char *body, size_t *body_size, void **seen)
{
    struct endpoint *endpoint = arg;
    static char mark;
    (void)version;
    (void)body;
    if (!*seen) {
        *seen = &mark;
        return MHD_YES;
    }
    if (*body_size > 0) {
        *body_size = 0; /* read and forgotten */
        return MHD_YES;
    }
    if (strcmp(method, MHD_HTTP_METHOD_GET) != 0 && strcmp(method, MHD_HTTP_METHOD_HEAD) != 0)
        return reply(connection, MHD_HTTP_METHOD_NOT_ALLOWED, TEXT_TYPE, "only GET and HEAD\n", false);
    if (strcmp(path, "/metrics") == 0)
        return reply_metrics(endpoint, connection);
    if (strcmp(path, "/health") == 0)
        return reply_health(endpoint, connection);
    return reply(connection, MHD_HTTP_NOT_FOUND, TEXT_TYPE, "there are /metrics and /health\n", false);
}

/* -- listening -- */

static enum status
bind_and_listen(const char *listen_at, int fd, const void *address, socklen_t size, struct error *err)
{
    if (fd < 0)
        return error_set(err, status_of_errno(errno), errno, "listen on '%s'", listen_at);
    if (bind(fd, address, size) < 0 || listen(fd, LIMIT_ENDPOINT_CONNECTIONS) < 0)
        return error_set(err, STATUS_FAILED_PRECONDITION, errno, "listen on '%s'", listen_at);
    return STATUS_OK;
}

static enum status
listen_unix(struct endpoint *endpoint, int *ret, struct error *err)
{
    const char *listen_at = endpoint->config.listen, *path = listen_at + strlen(UNIX_PREFIX);
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    TRY(socket_path_check(listen_at, path, err));
    memcpy(address.sun_path, path, strlen(path));
    if (unlink(path) < 0 && errno != ENOENT) /* a dead server's, as the check has found */
        return error_set(err, STATUS_FAILED_PRECONDITION, errno, "remove '%s'", path);
    CLEANUP(fd_closep)
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    TRY(bind_and_listen(listen_at, fd, &address, sizeof address, err));
    endpoint->path = strdup(path);
    if (!endpoint->path) {
        unlink(path);
        return error_set(err, STATUS_RESOURCE_EXHAUSTED, 0, "no memory to listen on '%s'", listen_at);
    }
    *ret = TAKE_FD(fd);
    return STATUS_OK;
}

static enum status
listen_tcp(const struct endpoint *endpoint, int *ret, struct error *err)
{
    const char *listen_at = endpoint->config.listen, *digits = listen_at + strlen(TCP_PREFIX);
    char *end;
    unsigned long port = strtoul(digits, &end, 10);
    if (digits[0] < '0' || digits[0] > '9' || *end != '\0' || port == 0 || port > 65535)
        return error_set(err, STATUS_INVALID_ARGUMENT, 0, "listen on '%s': the port must be 1 to 65535",
                         listen_at);
    struct sockaddr_in address = {
        .sin_family = AF_INET, .sin_port = htons((uint16_t)port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    CLEANUP(fd_closep)
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    int reuse = 1; /* connections of a predecessor may linger */
    if (fd >= 0)
        setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &reuse, sizeof reuse);
    TRY(bind_and_listen(listen_at, fd, &address, sizeof address, err));
    *ret = TAKE_FD(fd);
    return STATUS_OK;
}

static enum status
listen_on(struct endpoint *endpoint, int *ret, struct error *err)
{
    const char *listen_at = endpoint->config.listen;
    if (strncmp(listen_at, UNIX_PREFIX, strlen(UNIX_PREFIX)) == 0)
        return listen_unix(endpoint, ret, err);
    if (strncmp(listen_at, TCP_PREFIX, strlen(TCP_PREFIX)) == 0)
        return listen_tcp(endpoint, ret, err);
    return error_set(err, STATUS_INVALID_ARGUMENT, 0, "listen on '%s': only unix:PATH and tcp:127.0.0.1:PORT",
                     listen_at);
}

/* Takes `fd`. Threads inherit the mask of their maker; signals are for the main thread alone. */
static enum status
daemon_start(struct endpoint *endpoint, int fd, struct error *err)
{
    sigset_t all, before;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    endpoint->daemon = MHD_start_daemon(MHD_USE_POLL_INTERNAL_THREAD | MHD_USE_ITC, 0, NULL, NULL, serve,
                                        endpoint, MHD_OPTION_LISTEN_SOCKET, fd, MHD_OPTION_CONNECTION_LIMIT,
                                        (unsigned)LIMIT_ENDPOINT_CONNECTIONS, MHD_OPTION_CONNECTION_TIMEOUT,
                                        (unsigned)LIMIT_ENDPOINT_IDLE_S, MHD_OPTION_CONNECTION_MEMORY_LIMIT,
                                        (size_t)LIMIT_ENDPOINT_REQUEST_BYTES, MHD_OPTION_END);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    if (endpoint->daemon)
        return STATUS_OK;
    close(fd);
    return error_set(err, STATUS_RESOURCE_EXHAUSTED, 0, "serve '%s': no memory, descriptor or thread",
                     endpoint->config.listen);
}

enum status
endpoint_start(const struct endpoint_config *config, struct endpoint **ret, struct error *err)
{
    int fd = -1;
    struct endpoint *endpoint = calloc(1, sizeof *endpoint);
    if (!endpoint)
        return error_set(err, STATUS_RESOURCE_EXHAUSTED, 0, "no memory to listen on '%s'", config->listen);
    endpoint->config = *config;
    enum status status = listen_on(endpoint, &fd, err);
    if (status == STATUS_OK)
        status = daemon_start(endpoint, fd, err);
    if (status != STATUS_OK) {
        endpoint_stop(endpoint);
        return status;
    }
    *ret = endpoint;
    return STATUS_OK;
}

void
endpoint_stop(struct endpoint *endpoint)
{
    if (!endpoint)
        return;
    if (endpoint->daemon)
        MHD_stop_daemon(endpoint->daemon); /* closes the socket, too */
    if (endpoint->path)
        unlink(endpoint->path);
    free(endpoint->path);
    free(endpoint);
}
