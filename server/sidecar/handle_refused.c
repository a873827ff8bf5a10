/*
 * What the bridge names and this guest does not do. Each has a row and an arm, so that a host is told why
 * instead of being told that it speaks another language; nothing of it reaches the inbox.
 */
#include "server/sidecar/handlers.h"

#include "server/rpc/method.h"
#include "server/rpc/request.h"

/* Field numbers of proto/gcs/v1, as in methods.c. */
static const struct refusal {
    uint32_t arm, resource;
    const char *reason;
} refusals[] = {
    {42, 3, "fragments are taken once their signatures are checked, which this sidecar does not do"},
    {42, 7, "there is no virtual disk: layers are files in the guest, scratch is its memory"},
    {42, 8, "the guest has no share of the host's: what containers mount is made in the guest"},
    {42, 11, "there is no hvsocket on Linux"},
    {42, 13, "the limits of a container are those it was created with"},
    {42, 14, "the limits of a container are those it was created with"},
    {46, 0, "the limits of a container are those it was created with"},
    {47, 0, "nothing in the guest acts on it"},
    {71, 0, "it is the sidecar's own question to the inbox"},
};

static const char *
reason_of(const struct rpc_method *method)
{
    for (size_t i = 0; i < sizeof refusals / sizeof refusals[0]; i++)
        if (refusals[i].arm == method->arm && refusals[i].resource == method->resource)
            return refusals[i].reason;
    return "it is not part of this guest";
}

void
handle_refused(struct request *req)
{
    struct error err;
    error_set(&err, STATUS_UNIMPLEMENTED, 0, "%s: not implemented: %s", req->method->name,
              reason_of(req->method));
    request_reject(req, &err);
}
