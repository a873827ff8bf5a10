#include "server/rpc/listener.h"

#include <string.h>

static const struct listener_ops *const kinds[] = {
    &listener_nanomsg_ipc,
    &listener_nanomsg_tcp,
};

enum status
listener_start(const char *url, listener_receive_fn *receive, void *arg, struct listener **ret,
               struct error *err)
{
    for (size_t i = 0; i < sizeof kinds / sizeof kinds[0]; i++)
        if (strncmp(url, kinds[i]->prefix, strlen(kinds[i]->prefix)) == 0)
            return kinds[i]->start(url, receive, arg, ret, err);
    return error_set(err, STATUS_INVALID_ARGUMENT, 0,
                     "listen on '%s': only ipc://PATH and tcp://127.0.0.1:PORT", url);
}

void
listener_send(const struct route *route, const void *bytes, size_t size)
{
    route->listener->ops->send(route, bytes, size);
}

void
listener_stop(struct listener *listener)
{
    listener->ops->stop(listener);
}

void
listener_free(struct listener *listener)
{
    listener->ops->free(listener);
}
