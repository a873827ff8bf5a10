/* run: the whole life of a container as one command. */
#include "client/gcsctl/attach.h"
#include "client/gcsctl/bringup.h"
#include "client/gcsctl/command.h"
#include "client/gcsctl/window.h"
#include "client/spec/spec.h"

#define RUN_ARENA (32 * 1024 * 1024)

/* What a shell says of a program that a signal ended. */
#define EXIT_STATUS_SIGNAL 128

static enum status
container_describe(const struct arguments *arguments, struct arena *arena, struct bringup *bringup,
                   Gcs__V1__Spec **ret, struct error *err)
{
    struct cri_container container;
    TRY(arguments->id != NULL ? identity_of(arguments->id, &bringup->identity, err)
                              : identity_random(&bringup->identity, err));
    TRY(cri_container_load(arguments->items[0], arena, &container, err));
    TRY(spec_from_cri(&container, arena, ret, err));
    if (arguments->network != NULL)
        (*ret)->network_namespace = (char *)(uintptr_t)arguments->network;
    if (arguments->layers_count == 0)
        return error_set(err, STATUS_INVALID_ARGUMENT, 0, "give the image's layers with --layer, base first");

    window_fit((*ret)->process);
    bringup->spec = *ret;
    bringup->policy_path = arguments->policy;
    bringup->layers = arguments->layers;
    bringup->layers_count = arguments->layers_count;
    return STATUS_OK;
}

/* Carries the plan out until it is done, a step fails or a signal comes. */
static int
steps_run(struct bringup *bringup, const struct plan *plan, struct stopper *stopper)
{
    for (size_t i = 0; i < plan->count; i++) {
        int signal_number = stopper_signal(stopper);
        if (signal_number != 0) {
            tool_progress(bringup->tool, "stop", "before step '%s'", step_name(plan->steps[i].kind));
            return EXIT_STATUS_SIGNAL + signal_number;
        }
        int outcome = bringup_step(bringup, &plan->steps[i]);
        if (outcome != EXIT_STATUS_OK)
            return outcome;
    }
    return EXIT_STATUS_OK;
}

static int
container_attend(struct bringup *bringup, struct stopper *stopper)
{
    const struct streams_config config = {.tool = bringup->tool,
                                          .stopper = stopper,
                                          .container_id = bringup->identity.id,
                                          .process_id = bringup->process_id,
                                          .input = bringup->spec->process->stdin,
                                          .terminal = bringup->spec->process->terminal};
    struct gcs_exit outcome = {0};
    int result = attach(&config, true, &outcome, &bringup->ended);
    if (bringup->ended)
        tool_progress(bringup->tool, "exit", "%u%s", outcome.code, outcome.code_unknown ? " (unknown)" : "");
    return result;
}

static int
run_with_stopper(struct bringup *bringup, const struct arguments *arguments, struct arena *arena,
                 struct stopper *stopper)
{
    struct plan plan;
    int result = bringup_plan(bringup, arena, &plan);
    if (result == EXIT_STATUS_OK)
        result = steps_run(bringup, &plan, stopper);
    if (bringup->started == DONE)
        result = container_attend(bringup, stopper);
    if (arguments->keep) {
        tool_progress(bringup->tool, "keep", "container %s, %s, %s", bringup->identity.id,
                      bringup->identity.scratch, bringup->identity.volume);
        return result;
    }
    int undone = bringup_undo(bringup);
    return result == EXIT_STATUS_OK ? undone : result;
}

int
command_run(struct tool *tool, const struct arguments *arguments)
{
    struct arena arena;
    arena_init(&arena, RUN_ARENA);
    struct bringup bringup = {.tool = tool};
    Gcs__V1__Spec *spec = NULL;
    struct stopper *stopper = NULL;
    struct error local;
    int result;
    if (container_describe(arguments, &arena, &bringup, &spec, &local) != STATUS_OK)
        result = tool_fail_local(tool, "run", &local);
    else if (stopper_start(tool, &stopper, &local) != STATUS_OK)
        result = tool_fail_local(tool, "run", &local);
    else
        result = run_with_stopper(&bringup, arguments, &arena, stopper);
    stopper_stop(stopper);
    if (tool->json && bringup.ended)
        (void)tool_result(tool,
                          json_pack("{s:s, s:i}", "container_id", bringup.identity.id, "exit_status", result),
                          "%s", "");
    arena_done(&arena);
    return result;
}
