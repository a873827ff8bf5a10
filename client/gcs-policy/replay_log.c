#include "client/gcs-policy/replay_log.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <uthash.h>

#include "server/base/limits.h"
#include "server/policy/explain.h"
#include "server/policy/steps.h"

enum { LOG_FORMAT = 1 };

/* A decision that both policies allow and whose end has not come yet. */
struct open_record {
    UT_hash_handle hh;
    json_int_t number;
    struct policy_record *record;
};

/* A container or target of which the log has the beginning. */
struct known {
    UT_hash_handle hh;
    bool is_ambiguous; /* environment values that are not in the log have narrowed it */
    char name[];
};

struct replay {
    struct policy *policy; /* borrowed */
    struct policy_state *state;
    bool has_header, is_complete; /* complete: all of the run until here was in the log */
    json_int_t part;
    char *policy_sha256;
    struct open_record *open;
    struct known *known;
    struct replay_counts counts;
};

/* ---- runs ---- */

/* Every open record is undone, what was known is forgotten. */
static void
forget(struct replay *replay)
{
    struct open_record *record, *next_record;
    struct known *known, *next_known;

    HASH_ITER(hh, replay->open, record, next_record)
    {
        HASH_DEL(replay->open, record);
        policy_record_undo(record->record);
        free(record);
    }
    HASH_ITER(hh, replay->known, known, next_known)
    {
        HASH_DEL(replay->known, known);
        free(known);
    }
}

static enum status
begin_run(struct replay *replay, struct error *err)
{
    forget(replay);
    policy_state_free(TAKE_PTR(replay->state));
    return policy_state_new(replay->policy, POLICY_STRICT, &replay->state, err);
}

enum status
replay_new(struct policy *policy, struct replay **ret, struct error *err)
{
    struct replay *replay = calloc(1, sizeof(*replay));
    if (!replay)
        return error_set(err, STATUS_RESOURCE_EXHAUSTED, 0, "no memory");
    replay->policy = policy;
    enum status status = begin_run(replay, err);
    if (status != STATUS_OK) {
        replay_free(replay);
        return status;
    }
    *ret = replay;
    return STATUS_OK;
}

void
replay_free(struct replay *replay)
{
    if (!replay)
        return;
    forget(replay);
    policy_state_free(replay->state);
    free(replay->policy_sha256);
    free(replay);
}

struct replay_counts
replay_counts(const struct replay *replay)
{
    return replay->counts;
}

bool
replay_is_header(json_t *line)
{
    return json_object_get(line, "decision_log") != NULL;
}

static enum status
take_header(struct replay *replay, const char *place, json_t *line, struct error *err)
{
    json_int_t part = json_integer_value(json_object_get(line, "part"));
    const char *sha256 = json_string_value(json_object_get(line, "policy_sha256"));
    const char *os = json_string_value(json_object_get(line, "os"));

    if (json_integer_value(json_object_get(line, "decision_log")) != LOG_FORMAT || part < 1 || !sha256 ||
        !os || strcmp(os, "windows") != 0)
        return error_set(err, STATUS_INVALID_ARGUMENT, 0,
                         "it is no decision log of format %d, or not of windows mode", LOG_FORMAT);
    bool goes_on = replay->has_header && part == replay->part + 1 && replay->policy_sha256 &&
                   strcmp(sha256, replay->policy_sha256) == 0;
    replay->has_header = true;
    replay->part = part;
    if (goes_on)
        return STATUS_OK;
    replay->is_complete = part == 1;
    free(replay->policy_sha256);
    replay->policy_sha256 = strdup(sha256);
    printf("%s: a run under the policy %s begins%s\n", place, sha256,
           part == 1 ? "" : " before this log: what hangs on the part that is missing is undetermined");
    return begin_run(replay, err);
}

/* ---- what is known ---- */

/* What the decision hangs on besides the policy: a container or a target; NULL: nothing. */
static const char *
subject_of(const struct policy_request *request)
{
    const char *container_id = policy_request_container(request);
    if (container_id)
        return container_id;
    switch (request->point) {
    case POLICY_EXEC_EXTERNAL:
    case POLICY_GET_PROPERTIES:
    case POLICY_DUMP_STACKS:
    case POLICY_RUNTIME_LOGGING:
    case POLICY_HOST_NETWORK:
    case POLICY_LOG_PROVIDER:
    case POLICY_LOAD_FRAGMENT:
    case POLICY_LOAD_TRANSPARENCY_TRUST_LIST:
        return NULL;
    default:
        return request->target.target;
    }
}

static bool
is_beginning(enum policy_point point)
{
    return point == POLICY_MOUNT_CIMS || point == POLICY_SCRATCH_MOUNT || point == POLICY_MOUNT_DEVICE ||
           point == POLICY_RW_MOUNT_DEVICE || point == POLICY_MOUNT_OVERLAY || point == POLICY_PLAN9_MOUNT;
}

static struct known *
find_known(const struct replay *replay, const char *name)
{
    struct known *known = NULL;
    if (name)
        HASH_FIND_STR(replay->known, name, known);
    return known;
}

static enum status
learn(struct replay *replay, const char *name, struct error *err)
{
    struct known *known = find_known(replay, name);
    if (known)
        return STATUS_OK;
    known = calloc(1, sizeof(*known) + strlen(name) + 1);
    if (!known)
        return error_set(err, STATUS_RESOURCE_EXHAUSTED, 0, "no memory");
    memcpy(known->name, name, strlen(name) + 1);
    HASH_ADD_STR(replay->known, name, known);
    return STATUS_OK;
}

/* ---- one decision ---- */

struct judged {
    struct policy_request request;
    struct policy_verdict verdict;
    json_t *recorded; /* borrowed */
    bool was_allowed;
    bool is_hidden;           /* environment values are missing */
    bool is_ambiguous;        /* and choose among the candidates */
    const char *undetermined; /* why; NULL: it is not */
};

static void
print_change(const char *place, json_int_t number, const char *what, json_t *was, json_t *is)
{
    char *old = json_dumps(was, JSON_COMPACT), *new = json_dumps(is, JSON_COMPACT);
    printf("%s: record %lld, %s\n  was      %s\n  would be %s\n", place, (long long)number, what,
           old ? old : "?", new ? new : "?");
    free(old);
    free(new);
}

/* Whether the error tells of the environment's values, or of a choice that they make. */
static bool
is_about_env(const char *error)
{
    return strncmp(error, "invalid env list", strlen("invalid env list")) == 0 ||
           strcmp(error, "missing required environment variable") == 0 ||
           strstr(error, "only distinguishable by allow_stdio_access");
}

/* The errors of a denial that do not depend on the environment's values; a new reference. */
static json_t *
errors_beyond_env(json_t *decision)
{
    json_t *errors = json_array(), *error;
    size_t i;

    json_array_foreach(json_object_get(decision, "errors"), i, error)
    {
        const char *text = json_string_value(error);
        if (text && !is_about_env(text))
            json_array_append(errors, error);
    }
    return errors;
}

static bool
same(json_t *a, json_t *b, const char *member)
{
    json_t *x = json_object_get(a, member), *y = json_object_get(b, member);
    return (!x && !y) || json_equal(x, y);
}

/* What differs between the decisions; NULL: nothing. */
static const char *
difference(const struct judged *judged, json_t *decision)
{
    static const char *const members[] = {"env", "allow_stdio_access", "providers", "errors", "policy_error"};

    if (judged->was_allowed != judged->verdict.allowed)
        return judged->was_allowed ? "allowed before, now denied" : "denied before, now allowed";
    for (size_t i = 0; i < sizeof(members) / sizeof(members[0]); i++)
        if (!same(judged->recorded, decision, members[i]))
            return members[i];
    return NULL;
}

/* Both denied, and only errors about the environment differ, whose values are missing. */
static bool
errors_hang_on_env(const struct judged *judged, json_t *decision)
{
    CLEANUP(json_decrefp)
    json_t *was = errors_beyond_env(judged->recorded);
    CLEANUP(json_decrefp)
    json_t *is = errors_beyond_env(decision);

    return judged->is_hidden && !judged->was_allowed && !judged->verdict.allowed && json_equal(was, is) &&
           same(judged->recorded, decision, "policy_error");
}

static void
print_undetermined(struct replay *replay, const char *place, json_int_t number, const struct judged *judged,
                   const char *why)
{
    printf("%s: record %lld, %s: undetermined: %s\n", place, (long long)number,
           policy_point_name(judged->request.point), why);
    replay->counts.undetermined++;
}

static enum status
report(struct replay *replay, const char *place, json_int_t number, const struct judged *judged,
       struct error *err)
{
    const char *point = policy_point_name(judged->request.point);
    CLEANUP(json_decrefp)
    json_t *decision = step_decision(&judged->request, &judged->verdict, POLICY_WINDOWS);
    char what[128];

    replay->counts.decisions++;
    if (!decision)
        return error_set(err, STATUS_RESOURCE_EXHAUSTED, 0, "no memory for the decision");
    if (judged->undetermined) {
        print_undetermined(replay, place, number, judged, judged->undetermined);
        return STATUS_OK;
    }
    const char *differs = difference(judged, decision);
    if (!differs)
        return STATUS_OK;
    if (errors_hang_on_env(judged, decision)) {
        print_undetermined(replay, place, number, judged,
                           "denied in any case, but for errors that depend on "
                           "environment values which are not in the log");
        return STATUS_OK;
    }
    json_object_del(decision, "point");
    snprintf(what, sizeof(what), "%s: %s", point, differs);
    print_change(place, number, what, judged->recorded, decision);
    replay->counts.changed++;
    return STATUS_OK;
}

/* Why the decision cannot be judged at all; NULL: it can. */
static const char *
gap(const struct replay *replay, const struct policy_request *request)
{
    const char *subject = subject_of(request);
    if (replay->is_complete || !subject || is_beginning(request->point) || find_known(replay, subject))
        return NULL;
    return "what came before is not in the log";
}

/* Why the other policy's decision, which has been taken, does not count; NULL: it does. */
static const char *
doubt(const struct replay *replay, const struct judged *judged)
{
    const struct known *known = find_known(replay, subject_of(&judged->request));

    if (judged->is_hidden && judged->verdict.allowed &&
        judged->verdict.env.count != judged->request.process.env.count)
        return "environment values are not in the log";
    if (known && known->is_ambiguous && judged->verdict.allowed)
        return "earlier environment values, which are not in the log, chose among the candidates";
    if (!replay->is_complete && subject_of(&judged->request) && judged->verdict.allowed &&
        !judged->was_allowed)
        return "what came before is not in the log";
    return NULL;
}

static enum status
decide(struct replay *replay, struct judged *judged, struct arena *arena, struct error *err)
{
    struct error denial;
    enum status status;

    judged->undetermined = gap(replay, &judged->request);
    if (judged->undetermined)
        return STATUS_OK;
    if (judged->is_hidden)
        status = policy_decide_any_env(replay->state, &judged->request, arena, &judged->verdict,
                                       &judged->is_ambiguous, &denial);
    else
        status = policy_decide(replay->state, &judged->request, arena, &judged->verdict, &denial);
    if (status != STATUS_OK && status != STATUS_PERMISSION_DENIED) {
        *err = denial;
        return status;
    }
    judged->undetermined = doubt(replay, judged);
    return STATUS_OK;
}

/* Keeps the record until its end comes, or undoes it: what was denied was not carried out. */
static enum status
keep_record(struct replay *replay, json_int_t number, struct judged *judged, struct error *err)
{
    const char *subject = subject_of(&judged->request);
    struct policy_record *record = TAKE_PTR(judged->verdict.record);
    struct open_record *open;

    if (judged->was_allowed && subject && is_beginning(judged->request.point) &&
        learn(replay, subject, err) != STATUS_OK) {
        policy_record_undo(record);
        return err->status;
    }
    if (!judged->was_allowed || !judged->verdict.allowed) {
        policy_record_undo(record);
        return STATUS_OK;
    }
    open = calloc(1, sizeof(*open));
    if (!open) {
        policy_record_undo(record);
        return error_set(err, STATUS_RESOURCE_EXHAUSTED, 0, "no memory");
    }
    open->number = number;
    open->record = record;
    HASH_ADD(hh, replay->open, number, sizeof(open->number), open);
    if (!subject || !judged->is_ambiguous)
        return STATUS_OK;
    TRY(learn(replay, subject, err));
    find_known(replay, subject)->is_ambiguous = true;
    return STATUS_OK;
}

static enum status
judge(struct replay *replay, const char *place, json_t *line, struct error *err)
{
    CLEANUP(arena_done)
    struct arena arena;
    json_int_t number = json_integer_value(json_object_get(line, "record"));
    struct judged judged = {.recorded = json_object_get(line, "decision")};
    CLEANUP(json_decrefp)
    json_t *step = json_pack("{s:O?, s:O?}", "point", json_object_get(line, "point"), "input",
                             json_object_get(line, "input"));
    struct open_record *twice;

    arena_init(&arena, LIMIT_STEP_ARENA_BYTES);
    HASH_FIND(hh, replay->open, &number, sizeof(number), twice);
    if (!step || number < 1 || twice || !json_is_boolean(json_object_get(judged.recorded, "allowed")))
        return error_set(err, STATUS_INVALID_ARGUMENT, 0, "it is no decision");
    TRY(step_parse(step, POLICY_WINDOWS, &arena, &judged.request, err));
    judged.was_allowed = json_is_true(json_object_get(judged.recorded, "allowed"));
    judged.is_hidden = json_is_true(json_object_get(line, "env_hidden"));
    TRY(decide(replay, &judged, &arena, err));
    enum status status = report(replay, place, number, &judged, err);
    enum status kept = keep_record(replay, number, &judged, err);
    return status != STATUS_OK ? status : kept;
}

/* ---- lines ---- */

static void
end_record(struct replay *replay, json_t *number_value, bool committed)
{
    json_int_t number = json_integer_value(number_value);
    struct open_record *open;

    HASH_FIND(hh, replay->open, &number, sizeof(number), open);
    if (!open) /* denied here, or before this log begins */
        return;
    HASH_DEL(replay->open, open);
    if (committed)
        policy_record_commit(open->record);
    else
        policy_record_undo(open->record);
    free(open);
}

enum status
replay_line(struct replay *replay, const char *place, json_t *line, struct error *err)
{
    json_t *committed = json_object_get(line, "committed"), *undone = json_object_get(line, "undone");
    json_t *lost = json_object_get(line, "lost");

    if (replay_is_header(line))
        return take_header(replay, place, line, err);
    if (!replay->has_header)
        return error_set(err, STATUS_INVALID_ARGUMENT, 0, "a decision log begins with its header");
    if (json_object_get(line, "record"))
        return judge(replay, place, line, err);
    if (json_is_integer(committed) || json_is_integer(undone)) {
        end_record(replay, committed ? committed : undone, committed != NULL);
        return STATUS_OK;
    }
    if (!json_is_integer(lost))
        return error_set(err, STATUS_INVALID_ARGUMENT, 0, "it is no line of a decision log");
    printf("%s: %lld lines are missing here: what hangs on them is undetermined\n", place,
           (long long)json_integer_value(lost));
    replay->is_complete = false;
    return begin_run(replay, err);
}
