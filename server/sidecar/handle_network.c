/*
 * ModifySettings/NetworkNamespace and /Network: the guest's network namespaces and the adapters in them. No
 * point of the policy decides (methods.c has the reason). What is malformed is refused here and never reaches
 * the inbox, which makes them; what comes too late is taken away there.
 */
#include "server/sidecar/handlers.h"

#include "server/rpc/network_check.h"
#include "server/rpc/request.h"
#include "server/sidecar/settings_change.h"
#include "server/sidecar/sidecar.h"

static void
reversed(struct request *req, const Gcs__V1__Response *response, const struct error *err)
{
    const struct settings_change *change = req->slot;
    if (!response && !forward_nothing_is_left(err))
        sidecar_set_inconsistent(req->app, err);
    request_reject(req, &change->outcome);
}

static void
changed(struct request *req, const Gcs__V1__Response *response, const struct error *err)
{
    if (settings_is_unwanted(req, response, err))
        settings_forward_reverse(req, err, reversed);
    else
        forward_relay(req, response, err);
}

static void
handle(struct request *req)
{
    struct error err;
    enum status status = settings_check_may_add(req, &err);
    if (status == STATUS_OK)
        status = network_settings_check(req->call->modify_settings, &err);
    if (status != STATUS_OK || !settings_change_new(req, sizeof(struct settings_change), &err))
        request_reject(req, &err);
    else
        settings_forward(req, NULL, changed);
}

void
handle_network_namespace(struct request *req)
{
    handle(req);
}

void
handle_network(struct request *req)
{
    handle(req);
}
