#include "client/gcsctl/plan.h"

#include <stdio.h>
#include <string.h>

#include "server/mounts/sandbox_path.h"

/* policy, layers, scratch, combine, create, start */
#define STEPS_BESIDES_MKDIR 6
#define MKDIR_ARGC          4

const char *
step_name(enum step_kind kind)
{
    static const char *const names[] = {
        [STEP_POLICY] = "policy",   [STEP_LAYERS] = "layers", [STEP_SCRATCH] = "scratch",
        [STEP_COMBINE] = "combine", [STEP_MKDIR] = "mkdir",   [STEP_CREATE] = "create",
        [STEP_START] = "start",
    };
    return names[kind];
}

static enum status
no_memory(struct error *err)
{
    return error_set(err, STATUS_RESOURCE_EXHAUSTED, 0, "the plan needs too much memory");
}

/* mkdir -p -- ROOT/a/b. The source is parsed again rather than trusted: its components become a path here. */
static enum status
mkdir_step(const char *source, const char *sandbox_root, struct arena *arena, struct step *ret,
           struct error *err)
{
    struct sandbox_path path;
    TRY(sandbox_path_parse(arena, source, strlen(source), &path, err));

    size_t size = strlen(sandbox_root) + 1 + strlen(path.relative) + 1;
    char *directory = arena_alloc(arena, size);
    const char **argv = ARENA_NEW(arena, const char *, MKDIR_ARGC);
    if (directory == NULL || argv == NULL)
        return no_memory(err);
    snprintf(directory, size, "%s/%s", sandbox_root, path.relative);
    argv[0] = "mkdir";
    argv[1] = "-p";
    argv[2] = "--";
    argv[3] = directory;
    *ret = (struct step){.kind = STEP_MKDIR, .argv = argv, .argc = MKDIR_ARGC};
    return STATUS_OK;
}

/* Whether an earlier mount has the same source, and so a step already. */
static bool
source_is_repeated(const Gcs__V1__Spec *spec, size_t index)
{
    for (size_t i = 0; i < index; i++)
        if (strcmp(spec->mounts[i]->source, spec->mounts[index]->source) == 0)
            return true;
    return false;
}

static enum status
mkdir_steps(const struct plan_input *input, struct arena *arena, struct step *steps, size_t *count,
            struct error *err)
{
    const Gcs__V1__Spec *spec = input->spec;
    if (input->creates_sandbox_mounts || spec->n_mounts == 0)
        return STATUS_OK;
    if (input->sandbox_root == NULL || input->sandbox_root[0] != '/')
        return error_set(
            err, STATUS_FAILED_PRECONDITION, 0,
            "the guest wants the host to make mount directories but named no absolute path for them");
    for (size_t i = 0; i < spec->n_mounts; i++) {
        if (source_is_repeated(spec, i))
            continue;
        TRY(mkdir_step(spec->mounts[i]->source, input->sandbox_root, arena, &steps[*count], err));
        (*count)++;
    }
    return STATUS_OK;
}

enum status
plan_run(const struct plan_input *input, struct arena *arena, struct plan *ret, struct error *err)
{
    if (input->needs_policy && !input->policy_set && !input->policy_given)
        return error_set(err, STATUS_INVALID_ARGUMENT, 0,
                         "the guest has no policy yet: give one with --policy");

    struct step *steps = ARENA_NEW(arena, struct step, STEPS_BESIDES_MKDIR + input->spec->n_mounts);
    if (steps == NULL)
        return no_memory(err);
    size_t count = 0;
    if (input->needs_policy && !input->policy_set)
        steps[count++].kind = STEP_POLICY;
    steps[count++].kind = STEP_LAYERS;
    steps[count++].kind = STEP_SCRATCH;
    steps[count++].kind = STEP_COMBINE;
    TRY(mkdir_steps(input, arena, steps, &count, err));
    steps[count++].kind = STEP_CREATE;
    steps[count++].kind = STEP_START;
    *ret = (struct plan){.steps = steps, .count = count};
    return STATUS_OK;
}
