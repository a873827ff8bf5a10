/* DumpStacks, as every server answers it for its own threads. */
#include <stdlib.h>

#include "server/base/limits.h"
#include "server/base/stacks.h"
#include "server/rpc/server.h"
#include "server/rpc/server_internal.h"

void
rpc_server_dump_stacks(struct request *req, uint32_t after, uint64_t then)
{
    const struct rpc_server *server = ((const struct live_request *)req)->server;
    struct error err;
    char *text = NULL;
    pid_t next;
    if (after > INT32_MAX) {
        error_set(&err, STATUS_OUT_OF_RANGE, 0, "dump_stacks.after: there is no such page");
        request_reject(req, &err);
        return;
    }
    if (stacks_text(server->config.module_name, (pid_t)after, LIMIT_STACKS_BYTES, &next, &text, &err) !=
        STATUS_OK) {
        request_reject(req, &err);
        return;
    }
    Gcs__V1__DumpStacksResponse body = GCS__V1__DUMP_STACKS_RESPONSE__INIT;
    body.guest_stacks = text;
    body.next_after = next ? (uint64_t)next : then;
    Gcs__V1__Response response = request_response(req);
    response.body_case = GCS__V1__RESPONSE__BODY_DUMP_STACKS;
    response.dump_stacks = &body;
    request_reply(req, &response);
    free(text);
}
