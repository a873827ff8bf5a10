#include "client/gcsctl/bringup.h"

#include <stdlib.h>
#include <string.h>

#include "client/spec/spec.h"
#include "server/base/arena.h"
#include "server/base/fd.h"
#include "server/base/text.h"

/* For a container that is told to end by force while everything is taken down. */
#define FORCED_END_MS 10000
#define MKDIR_WAIT_MS 30000
#define MKDIR_ARENA   (64 * 1024)

const char *
bringup_layer_name(const char *path)
{
    const char *slash = strrchr(path, '/');
    return slash != NULL ? slash + 1 : path;
}

static enum done
done_after(enum gcs_status status)
{
    switch (status) {
    case GCS_OK:
        return DONE;
    case GCS_UNAVAILABLE:
    case GCS_DEADLINE_EXCEEDED:
    case GCS_INTERNAL: /* an answer came that could not be read */
        return MAYBE_DONE;
    default:
        return NOT_DONE;
    }
}

static int
step_fail(struct bringup *bringup, enum step_kind kind, struct gcs_error *err)
{
    return tool_fail(bringup->tool, step_name(kind), err);
}

int
bringup_plan(struct bringup *bringup, struct arena *arena, struct plan *ret)
{
    struct gcs_server server;
    gcs_server_info(bringup->tool->conn, &server);
    tool_progress(bringup->tool, "negotiate", "protocol %u; the %s makes mount directories", server.version,
                  server.creates_sandbox_mounts ? "guest" : "host");

    struct plan_input input = {
        .creates_sandbox_mounts = server.creates_sandbox_mounts,
        .needs_policy = server.needs_policy,
        .sandbox_root = server.sandbox_root,
        .policy_given = bringup->policy_path != NULL,
        .spec = bringup->spec,
    };
    if (server.needs_policy) {
        struct gcs_error err = {0};
        Gcs__V1__Response *response = NULL;
        if (gcs_health(bringup->tool->conn, &response, &err) != GCS_OK)
            return tool_fail(bringup->tool, "health", &err);
        input.policy_set = response->health->policy_set;
        gcs_response_free(response);
    }
    if (bringup->policy_path != NULL && !server.needs_policy)
        tool_progress(bringup->tool, "policy", "this guest takes none; %s is not sent", bringup->policy_path);
    else if (bringup->policy_path != NULL && input.policy_set)
        tool_progress(bringup->tool, "policy", "the guest has one already; %s is not sent",
                      bringup->policy_path);

    struct error err;
    if (plan_run(&input, arena, ret, &err) != STATUS_OK)
        return tool_fail_local(bringup->tool, "plan", &err);
    return EXIT_STATUS_OK;
}

static int
set_policy(struct bringup *bringup)
{
    CLEANUP(text_freep)
    char *text = NULL;
    size_t size;
    struct error local;
    if (fd_read_file(bringup->policy_path, LIMIT_POLICY_BYTES, &text, &size, &local) != STATUS_OK)
        return tool_fail_local(bringup->tool, step_name(STEP_POLICY), &local);
    struct gcs_error err = {0};
    if (gcs_set_policy(bringup->tool->conn, text, size, &err) != GCS_OK)
        return step_fail(bringup, STEP_POLICY, &err);
    tool_progress(bringup->tool, step_name(STEP_POLICY), "%s, %zu bytes", bringup->policy_path, size);
    return EXIT_STATUS_OK;
}

static int
add_layers(struct bringup *bringup)
{
    const char **names = calloc(bringup->layers_count, sizeof(*names));
    if (names == NULL)
        abort();
    for (size_t i = 0; i < bringup->layers_count; i++)
        names[i] = bringup_layer_name(bringup->layers[i]);

    struct gcs_error err = {0};
    Gcs__V1__Response *response = NULL;
    enum gcs_status status =
        gcs_add_volume(bringup->tool->conn, bringup->identity.id, bringup->identity.volume, names,
                       bringup->layers_count, &response, &err);
    free(names);
    bringup->volume = done_after(status);
    if (status != GCS_OK)
        return step_fail(bringup, STEP_LAYERS, &err);

    tool_progress(bringup->tool, step_name(STEP_LAYERS), "%zu verified as %s, mounted_cim %s",
                  bringup->layers_count, bringup->identity.volume,
                  response->modify_settings->block_cims->mounted_cim);
    gcs_response_free(response);
    return EXIT_STATUS_OK;
}

static int
add_scratch(struct bringup *bringup)
{
    struct gcs_error err = {0};
    enum gcs_status status = gcs_add_scratch(bringup->tool->conn, bringup->identity.scratch, 0, &err);
    bringup->scratch = done_after(status);
    if (status != GCS_OK)
        return step_fail(bringup, STEP_SCRATCH, &err);
    tool_progress(bringup->tool, step_name(STEP_SCRATCH), "%s", bringup->identity.scratch);
    return EXIT_STATUS_OK;
}

static int
combine(struct bringup *bringup)
{
    const struct identity *identity = &bringup->identity;
    struct gcs_error err = {0};
    enum gcs_status status =
        gcs_combine_layers(bringup->tool->conn, identity->id, identity->scratch, identity->volume, &err);
    bringup->combined = done_after(status);
    if (status != GCS_OK)
        return step_fail(bringup, STEP_COMBINE, &err);
    tool_progress(bringup->tool, step_name(STEP_COMBINE), "%s over %s", identity->scratch, identity->volume);
    return EXIT_STATUS_OK;
}

/* Says that mkdir itself failed, with what it wrote. */
static int
mkdir_fail(struct bringup *bringup, const struct step *step, uint32_t process_id,
           const struct gcs_exit *outcome)
{
    struct gcs_error ignored = {0};
    Gcs__V1__Response *response = NULL;
    struct error err;
    if (gcs_read(bringup->tool->conn, GCS_UVM_ID, process_id, GCS__V1__STREAM__STREAM_STDERR, 0, 0, &response,
                 &ignored) == GCS_OK)
        (void)error_set(&err, STATUS_INTERNAL, 0, "'%s' in the guest: exit status %u: %.*s",
                        step->argv[step->argc - 1], outcome->code, (int)response->read_stream->data.len,
                        (const char *)response->read_stream->data.data);
    else
        (void)error_set(&err, STATUS_INTERNAL, 0, "'%s' in the guest: exit status %u",
                        step->argv[step->argc - 1], outcome->code);
    gcs_response_free(response);
    gcs_error_clear(&ignored);
    return tool_fail_local(bringup->tool, step_name(STEP_MKDIR), &err);
}

static int
make_directory(struct bringup *bringup, const struct step *step)
{
    struct arena arena;
    arena_init(&arena, MKDIR_ARENA);
    const char **argv = (const char **)(uintptr_t)step->argv;
    const struct cri_strings args = {.items = argv, .count = step->argc}, env = {0};
    Gcs__V1__Process *process = NULL;
    struct error local;
    struct gcs_error err = {0};
    uint32_t process_id = 0;
    struct gcs_exit outcome = {0};
    int result = EXIT_STATUS_OK;

    if (spec_process(&args, &env, CRI_WORKING_DIR_DEFAULT, "", &arena, &process, &local) != STATUS_OK)
        result = tool_fail_local(bringup->tool, step_name(STEP_MKDIR), &local);
    else if (gcs_exec(bringup->tool->conn, GCS_UVM_ID, process, &process_id, &err) != GCS_OK ||
             gcs_wait(bringup->tool->conn, GCS_UVM_ID, process_id, MKDIR_WAIT_MS, &outcome, &err) != GCS_OK)
        result = step_fail(bringup, STEP_MKDIR, &err);
    else if (outcome.code != 0 || outcome.code_unknown)
        result = mkdir_fail(bringup, step, process_id, &outcome);
    else
        tool_progress(bringup->tool, step_name(STEP_MKDIR), "%s", step->argv[step->argc - 1]);
    arena_done(&arena);
    return result;
}

static int
create(struct bringup *bringup)
{
    struct gcs_error err = {0};
    enum gcs_status status = gcs_create(bringup->tool->conn, bringup->identity.id, bringup->spec, &err);
    bringup->created = done_after(status);
    if (status != GCS_OK)
        return step_fail(bringup, STEP_CREATE, &err);
    tool_progress(bringup->tool, step_name(STEP_CREATE), "%s", bringup->identity.id);
    return EXIT_STATUS_OK;
}

static int
start(struct bringup *bringup)
{
    struct gcs_error err = {0};
    enum gcs_status status = gcs_start(bringup->tool->conn, bringup->identity.id, &bringup->process_id, &err);
    bringup->started = done_after(status);
    if (status != GCS_OK)
        return step_fail(bringup, STEP_START, &err);
    tool_progress(bringup->tool, step_name(STEP_START), "process %u", bringup->process_id);
    return EXIT_STATUS_OK;
}

int
bringup_step(struct bringup *bringup, const struct step *step)
{
    switch (step->kind) {
    case STEP_POLICY:
        return set_policy(bringup);
    case STEP_LAYERS:
        return add_layers(bringup);
    case STEP_SCRATCH:
        return add_scratch(bringup);
    case STEP_COMBINE:
        return combine(bringup);
    case STEP_MKDIR:
        return make_directory(bringup, step);
    case STEP_CREATE:
        return create(bringup);
    case STEP_START:
        return start(bringup);
    }
    return EXIT_STATUS_FAILED;
}

/* What the guest, or the policy for it, says of a thing that is not there. */
static bool
means_absent(enum gcs_status status)
{
    return status == GCS_NOT_FOUND || status == GCS_FAILED_PRECONDITION || status == GCS_PERMISSION_DENIED;
}

/* Takes one thing back. What was only maybe done may well not be there; what else goes wrong is said. */
static int
undone(struct bringup *bringup, enum done done, const char *what, enum gcs_status status,
       struct gcs_error *err)
{
    if (status == GCS_OK) {
        tool_progress(bringup->tool, what, "done");
        return EXIT_STATUS_OK;
    }
    if (done == MAYBE_DONE && means_absent(status)) {
        gcs_error_clear(err);
        return EXIT_STATUS_OK;
    }
    /* A time limit that passed on this side (there is no code of the server's): each further call would wait
     * as long. */
    bringup->lost = bringup->lost || (status == GCS_DEADLINE_EXCEEDED && err->hresult == 0);
    return tool_fail(bringup->tool, what, err);
}

static int
end_by_force(struct bringup *bringup)
{
    struct gcs_connection *conn = bringup->tool->conn;
    struct gcs_error err = {0};
    struct gcs_exit outcome;
    enum gcs_status status = gcs_shutdown(conn, bringup->identity.id, true, &err);
    int shut = undone(bringup, bringup->started, "shutdown", status, &err);
    if (status != GCS_OK || bringup->process_id == 0)
        return shut;
    if (gcs_wait(conn, bringup->identity.id, bringup->process_id, FORCED_END_MS, &outcome, &err) != GCS_OK)
        return tool_fail(bringup->tool, "shutdown", &err);
    return EXIT_STATUS_OK;
}

int
bringup_undo(struct bringup *bringup)
{
    struct gcs_connection *conn = bringup->tool->conn;
    const struct identity *identity = &bringup->identity;
    struct gcs_error err = {0};
    enum gcs_status status;
    int outcomes[5] = {EXIT_STATUS_OK, EXIT_STATUS_OK, EXIT_STATUS_OK, EXIT_STATUS_OK, EXIT_STATUS_OK};

    if (bringup->started != NOT_DONE && !bringup->ended)
        outcomes[0] = end_by_force(bringup);
    if (bringup->created != NOT_DONE && !bringup->lost) {
        status = gcs_delete(conn, identity->id, &err);
        outcomes[1] = undone(bringup, bringup->created, "delete", status, &err);
    }
    if (bringup->combined != NOT_DONE && !bringup->lost) {
        status = gcs_separate_layers(conn, identity->id, identity->scratch, identity->volume, &err);
        outcomes[2] = undone(bringup, bringup->combined, "uncombine", status, &err);
    }
    if (bringup->scratch != NOT_DONE && !bringup->lost) {
        status = gcs_remove_scratch(conn, identity->scratch, &err);
        outcomes[3] = undone(bringup, bringup->scratch, "unscratch", status, &err);
    }
    if (bringup->volume != NOT_DONE && !bringup->lost) {
        status = gcs_remove_volume(conn, identity->volume, &err);
        outcomes[4] = undone(bringup, bringup->volume, "unlayer", status, &err);
    }

    if (bringup->lost)
        tool_progress(bringup->tool, "undo", "the guest does not answer; what is left in it stays there");
    for (size_t i = 0; i < sizeof(outcomes) / sizeof(outcomes[0]); i++)
        if (outcomes[i] != EXIT_STATUS_OK)
            return outcomes[i];
    return EXIT_STATUS_OK;
}
