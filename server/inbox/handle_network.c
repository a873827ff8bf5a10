/* ModifySettings: network namespaces and the adapters in them. */
#include "server/inbox/handlers.h"
#include "server/inbox/networks.h"
#include "server/rpc/network_check.h"

static bool
adds(const struct request *req)
{
    return req->call->modify_settings->request_type == GCS__V1__REQUEST_TYPE__REQUEST_TYPE_ADD;
}

static enum status
namespace_modify(const struct request *req, struct error *err)
{
    struct networks *networks = inbox_of(req)->networks;
    const char *id = req->call->modify_settings->network_namespace->namespace_id;
    return adds(req) ? networks_add(networks, id, err) : networks_remove(networks, id, err);
}

static enum status
adapter_modify(const struct request *req, struct error *err)
{
    struct networks *networks = inbox_of(req)->networks;
    const Gcs__V1__Network *network = req->call->modify_settings->network;
    return adds(req) ? networks_adapter_add(networks, network, err)
                     : networks_adapter_remove(networks, network->namespace_id, network->adapter_id, err);
}

static void
handle(struct request *req, enum status (*modify)(const struct request *, struct error *))
{
    struct error err;
    enum status status = network_settings_check(req->call->modify_settings, &err);
    if (status == STATUS_OK)
        status = modify(req, &err);
    if (status == STATUS_OK)
        reply_modified(req);
    else
        request_reject(req, &err);
}

void
handle_network_namespace(struct request *req)
{
    handle(req, namespace_modify);
}

void
handle_network(struct request *req)
{
    handle(req, adapter_modify);
}
