/* ModifySettings: network namespaces and the adapters in them. */
#include "server/inbox/handlers.h"
#include "server/inbox/networks.h"

static bool
adds(const struct request *req)
{
    return req->call->modify_settings->request_type == GCS__V1__REQUEST_TYPE__REQUEST_TYPE_ADD;
}

static void
finish(struct request *req, enum status status, const struct error *err)
{
    if (status == STATUS_OK)
        reply_modified(req);
    else
        request_reject(req, err);
}

void
handle_network_namespace(struct request *req)
{
    struct networks *networks = inbox_of(req)->networks;
    const char *id = req->call->modify_settings->network_namespace->namespace_id;
    struct error err;
    finish(req, adds(req) ? networks_add(networks, id, &err) : networks_remove(networks, id, &err), &err);
}

void
handle_network(struct request *req)
{
    struct networks *networks = inbox_of(req)->networks;
    const Gcs__V1__Network *network = req->call->modify_settings->network;
    struct error err;
    finish(req,
           adds(req) ? networks_adapter_add(networks, network, &err)
                     : networks_adapter_remove(networks, network->namespace_id, network->adapter_id, &err),
           &err);
}
