#include "server/sidecar/policy_gate.h"

#include <openssl/evp.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include "server/base/log.h"
#include "server/base/text.h"

struct policy_gate {
    bool any_policy;
    uint8_t digest[HOST_DATA_BYTES]; /* of the policy's text; constant once `state` is set */
    uint8_t host_data[HOST_DATA_BYTES];
    struct decision_log *log; /* NULL: none; constant once requests come */
    struct metric *allowed[POLICY_ALL_POINTS], *denied[POLICY_ALL_POINTS], *undone; /* NULL: nobody counts */
    _Atomic(struct policy_state *) state; /* NULL until a policy is set, then constant */
};

struct gate_record {
    struct policy_gate *gate;
    struct policy_record *record;
    uint64_t number; /* in the decision log; 0: not there */
};

struct policy_gate *
policy_gate_new(const uint8_t *host_data)
{
    struct policy_gate *gate = calloc(1, sizeof *gate);
    if (!gate)
        abort();
    gate->any_policy = !host_data;
    if (host_data)
        memcpy(gate->host_data, host_data, sizeof gate->host_data);
    return gate;
}

void
policy_gate_free(struct policy_gate *gate)
{
    if (!gate)
        return;
    policy_state_free(atomic_load(&gate->state));
    free(gate);
}

void
policy_gate_set_log(struct policy_gate *gate, struct decision_log *log)
{
    gate->log = log;
}

static struct metric *
decisions_counter(struct metrics *metrics, enum policy_point point, const char *result)
{
    const struct metric_label labels[] = {{"point", policy_point_name(point)}, {"result", result}};
    return metrics_counter(metrics, "gcs_decisions_total", "Decisions of the policy.", labels, 2);
}

void
policy_gate_set_metrics(struct policy_gate *gate, struct metrics *metrics)
{
    for (int point = 0; point < POLICY_ALL_POINTS; point++) {
        gate->allowed[point] = decisions_counter(metrics, (enum policy_point)point, "allow");
        gate->denied[point] = decisions_counter(metrics, (enum policy_point)point, "deny");
    }
    gate->undone = metrics_counter(metrics, "gcs_undos_total",
                                   "Allowed requests that failed later and were undone.", NULL, 0);
}

bool
policy_gate_is_set(const struct policy_gate *gate)
{
    return atomic_load(&gate->state) != NULL;
}

const uint8_t *
policy_gate_digest(const struct policy_gate *gate)
{
    return gate->digest;
}

struct policy_state *
policy_gate_state(const struct policy_gate *gate)
{
    return atomic_load(&gate->state);
}

static enum status
host_data_check(const struct policy_gate *gate, const uint8_t digest[HOST_DATA_BYTES], struct error *err)
{
    if (gate->any_policy || memcmp(digest, gate->host_data, HOST_DATA_BYTES) == 0)
        return STATUS_OK;
    char found[2 * HOST_DATA_BYTES + 1], expected[2 * HOST_DATA_BYTES + 1];
    text_hex(found, digest, HOST_DATA_BYTES);
    text_hex(expected, gate->host_data, sizeof gate->host_data);
    return error_set(err, STATUS_PERMISSION_DENIED, 0,
                     "security policy digest \"%s\" doesn't match HostData provided at launch \"%s\"", found,
                     expected);
}

static void
count(struct policy_gate *gate, enum policy_point point, enum status status)
{
    if (status == STATUS_OK)
        metric_add(gate->allowed[point], 1);
    else if (status == STATUS_PERMISSION_DENIED)
        metric_add(gate->denied[point], 1);
}

/* Decides under a state, logs the decision, and wraps what was allowed. */
static enum status
decide(struct policy_gate *gate, struct policy_state *state, const struct policy_request *request,
       struct arena *arena, struct policy_verdict *verdict, struct gate_record **ret, struct error *err)
{
    struct gate_record *record = ARENA_NEW(arena, struct gate_record, 1);
    if (!record)
        return error_set(err, STATUS_RESOURCE_EXHAUSTED, 0, "the request's memory is used up");
    enum status status = policy_decide(state, request, arena, verdict, err);
    *record = (struct gate_record){.gate = gate, .record = TAKE_PTR(verdict->record)};
    if (gate->log && (status == STATUS_OK || status == STATUS_PERMISSION_DENIED))
        record->number = decision_log_add(gate->log, request, verdict);
    if (status == STATUS_OK)
        *ret = record;
    count(gate, request->point, status);
    return status;
}

/* The policy's word on our own log. Not a failure: what it denies is only not written. */
static void
apply_runtime_logging(struct policy_gate *gate, struct policy_state *state)
{
    struct arena arena;
    struct policy_verdict verdict;
    struct gate_record *record = NULL;
    struct error err;
    arena_init(&arena, LIMIT_REQUEST_ARENA_BYTES);
    const struct policy_request request = {.point = POLICY_RUNTIME_LOGGING};
    if (decide(gate, state, &request, &arena, &verdict, &record, &err) != STATUS_OK) {
        LOG_INFO("the policy denies runtime logging: only errors are logged from now on");
        log_set_level(LOG_LEVEL_ERROR);
    }
    policy_gate_commit(record);
    arena_done(&arena);
}

enum status
policy_gate_set(struct policy_gate *gate, const char *enforcer_type, const uint8_t *text, size_t size,
                struct error *err)
{
    uint8_t digest[HOST_DATA_BYTES];
    unsigned digest_size = sizeof digest;
    if (policy_gate_is_set(gate))
        return error_set(err, STATUS_ALREADY_EXISTS, 0, "security policy has already been set");
    if (enforcer_type[0] && strcmp(enforcer_type, "rego") != 0)
        return error_set(err, STATUS_INVALID_ARGUMENT, 0, "enforcer_type: unknown enforcer: \"%s\"",
                         enforcer_type);
    if (EVP_Digest(text, size, digest, &digest_size, EVP_sha256(), NULL) != 1)
        return error_set(err, STATUS_INTERNAL, 0, "hash the policy");
    TRY(host_data_check(gate, digest, err));
    CLEANUP(policy_unrefp)
    struct policy *policy = NULL;
    TRY(policy_load((const char *)text, size, POLICY_WINDOWS, &policy, err));
    struct policy_state *state;
    TRY(policy_state_new(policy, POLICY_STRICT, &state, err));
    if (gate->log)
        decision_log_begin(gate->log, digest);
    apply_runtime_logging(gate, state);
    memcpy(gate->digest, digest, sizeof gate->digest);
    atomic_store(&gate->state, state);
    return STATUS_OK;
}

enum status
policy_gate_decide(struct policy_gate *gate, const struct policy_request *request, struct arena *arena,
                   struct policy_verdict *verdict, struct gate_record **record, struct error *err)
{
    struct policy_state *state = atomic_load(&gate->state);
    *verdict = (struct policy_verdict){0};
    *record = NULL;
    if (!state) {
        count(gate, request->point, STATUS_PERMISSION_DENIED);
        return error_set(err, STATUS_PERMISSION_DENIED, 0, "%s", policy_closed_text(request->point));
    }
    enum status status = decide(gate, state, request, arena, verdict, record, err);
    if (status == STATUS_PERMISSION_DENIED)
        error_prefix(err, "%s", policy_point_prefix(request->point));
    return status;
}

bool
policy_gate_has_changed(const struct gate_record *record)
{
    return record && record->record;
}

/* The log first: a later decision on the same object stands behind this line. */
static void
end(struct gate_record *record, bool committed)
{
    if (record->gate->log)
        decision_log_end(record->gate->log, record->number, committed);
    if (committed)
        policy_record_commit(record->record);
    else
        policy_record_undo(record->record);
    if (!committed)
        metric_add(record->gate->undone, 1);
}

void
policy_gate_commit(struct gate_record *record)
{
    if (record)
        end(record, true);
}

void
policy_gate_undo(struct gate_record *record)
{
    if (record)
        end(record, false);
}

struct policy_strings
policy_strings_of(char *const *items, size_t count)
{
    return (struct policy_strings){.items = (const char *const *)items, .count = count};
}

struct policy_process_input
policy_process_of(const char *container_id, const Gcs__V1__Process *process)
{
    return (struct policy_process_input){
        .container_id = container_id,
        .args = policy_strings_of(process->args, process->n_args),
        .env = policy_strings_of(process->env, process->n_env),
        .working_dir = process->cwd,
        .user = process->user,
    };
}
