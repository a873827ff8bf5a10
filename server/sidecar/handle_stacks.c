/*
 * DumpStacks: first the sidecar's own threads, then the inbox's. Which program a page belongs to is part of
 * its cursor: the inbox's have INBOX_PAGES added, which no thread's id reaches.
 */
#include "server/sidecar/handlers.h"

#include "server/rpc/request.h"
#include "server/rpc/server.h"
#include "server/sidecar/forward.h"
#include "server/sidecar/sidecar.h"

#define INBOX_PAGES ((uint64_t)1 << 32)

static enum status
decide(struct request *req, struct error *err)
{
    struct sidecar *sidecar = req->app;
    const struct policy_request question = {.point = POLICY_DUMP_STACKS};
    struct policy_verdict verdict;
    struct gate_record *record;
    TRY(policy_gate_decide(sidecar->gate, &question, &req->arena, &verdict, &record, err));
    policy_gate_commit(record);
    if (req->call->dump_stacks->after >= 2 * INBOX_PAGES)
        return error_set(err, STATUS_OUT_OF_RANGE, 0, "dump_stacks.after: there is no such page");
    return STATUS_OK;
}

static void
inbox_page(struct request *req, const Gcs__V1__Response *response, const struct error *err)
{
    if (!response) {
        request_reject(req, err);
        return;
    }
    Gcs__V1__DumpStacksResponse body = *response->dump_stacks;
    Gcs__V1__Response relayed = *response;
    if (body.next_after)
        body.next_after += INBOX_PAGES;
    relayed.dump_stacks = &body;
    forward_relay(req, &relayed, NULL);
}

void
handle_dump_stacks(struct request *req)
{
    uint64_t after = req->call->dump_stacks->after;
    struct error err;
    if (decide(req, &err) != STATUS_OK) {
        request_reject(req, &err);
        return;
    }
    if (after < INBOX_PAGES) {
        rpc_server_dump_stacks(req, (uint32_t)after, INBOX_PAGES);
        return;
    }
    Gcs__V1__DumpStacks body = GCS__V1__DUMP_STACKS__INIT;
    body.after = after - INBOX_PAGES;
    Gcs__V1__Request call = forward_call(req);
    call.dump_stacks = &body;
    forward_wait(req, &call, inbox_page);
}
