/* gcs-policy explain: who was a candidate in one step, and which rule of each failed. */
#include <argp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "client/gcs-policy/command.h"
#include "client/gcs-policy/options.h"
#include "server/base/limits.h"
#include "server/policy/explain.h"
#include "server/policy/step_lines.h"
#include "server/policy/steps.h"

struct options {
    struct step_options play;
    size_t step; /* from 1; 0: the last */
};

enum { KEY_STEP = OPTION_KEY_FREE };

static error_t
parse_option(int key, char *arg, struct argp_state *state)
{
    struct options *options = state->input;

    switch (key) {
    case ARGP_KEY_INIT:
        state->child_inputs[0] = &options->play;
        return 0;
    case KEY_STEP:
        options->step = option_count(state, "step", arg);
        return 0;
    default:
        return ARGP_ERR_UNKNOWN;
    }
}

static const struct argp_option option_list[] = {
    {"step", KEY_STEP, "N", 0, "the step to explain, from 1; the last by default", 0},
    {0},
};
static const struct argp_child children[] = {{&step_options_argp, 0, NULL, 0}, {0}};

/* ---- who narrowed whom ---- */

/* A step that was played, and which candidates its container had then. */
struct played {
    char *container_id; /* NULL: it was about none */
    bool *stood;        /* of each candidate, after the step; NULL: it was not allowed or has no candidates */
    size_t count;
};

struct playing {
    const struct options *options;
    struct policy_state *state;
    struct played *steps;
    size_t count, wanted; /* steps played; the number of the one to explain */
    int result;
};

static const char *
container_of(json_t *step)
{
    return json_string_value(json_object_get(json_object_get(step, "input"), "container_id"));
}

/* The step that took the candidate away from the container; 0: it never stood for it. */
static size_t
narrowed_by(const struct playing *playing, const char *container_id, size_t candidate)
{
    size_t by = 0;
    bool stood = false;

    for (size_t i = 0; i < playing->count && container_id; i++) {
        const struct played *step = &playing->steps[i];
        if (!step->stood || !step->container_id || strcmp(step->container_id, container_id) != 0)
            continue;
        bool stands = candidate < step->count && step->stood[candidate];
        if (stood && !stands)
            by = i + 1;
        stood = stands;
    }
    return by;
}

/* ---- words ---- */

static void
print_faults(const struct playing *playing, const char *container_id, const struct explanation *explanation,
             size_t number)
{
    const struct explained *candidate = &explanation->candidates[number];
    size_t by = narrowed_by(playing, container_id, number);

    printf("%s: ", candidate->name);
    if (explanation->must_stand && !candidate->stands && by)
        printf("no candidate: taken away by step %zu\n", by);
    else if (explanation->must_stand && !candidate->stands)
        printf("no candidate: its layers are not what is mounted for this container\n");
    else if (candidate->faults.count == 0)
        printf("fits\n");
    else
        printf("does not fit\n");
    for (size_t i = 0; i < candidate->faults.count; i++)
        printf("  %s\n", candidate->faults.items[i]);
}

static void
print_decision(const struct policy_request *request, const struct policy_verdict *verdict, size_t step,
               enum policy_rules rules)
{
    printf("step %zu: %s is %s (%s)\n", step, policy_point_name(request->point),
           verdict->allowed ? "allowed" : "denied", rules == POLICY_STRICT ? "strict" : "reference");
    for (size_t i = 0; i < verdict->errors.count; i++)
        printf("  error: %s\n", verdict->errors.items[i]);
    if (verdict->policy_error)
        printf("  policy error: %s\n", verdict->policy_error);
}

static void
print_explanation(const struct playing *playing, json_t *step, const struct policy_request *request,
                  const struct policy_verdict *verdict, const struct explanation *explanation)
{
    print_decision(request, verdict, playing->wanted, playing->options->play.rules);
    for (size_t i = 0; i < explanation->notes.count; i++)
        printf("note: %s\n", explanation->notes.items[i]);
    for (size_t i = 0; i < explanation->count; i++)
        print_faults(playing, container_of(step), explanation, i);
}

/* ---- playing ---- */

static enum status
explain_step(struct playing *playing, json_t *step, struct error *err)
{
    CLEANUP(arena_done)
    struct arena arena;
    struct policy_request request;
    struct policy_verdict verdict;
    struct explanation explanation;

    arena_init(&arena, LIMIT_STEP_ARENA_BYTES);
    TRY(step_parse(step, playing->options->play.os, &arena, &request, err));
    TRY(policy_explain(playing->state, &request, &arena, &explanation, err));
    enum status status = policy_decide(playing->state, &request, &arena, &verdict, err);
    if (status != STATUS_OK && status != STATUS_PERMISSION_DENIED)
        return status;
    policy_record_undo(verdict.record);
    print_explanation(playing, step, &request, &verdict, &explanation);
    playing->result = verdict.allowed ? EXIT_AS_ASKED : EXIT_ANSWER_NO;
    return STATUS_OK;
}

/* Remembers which candidates the step's container has now. */
static enum status
remember(struct playing *playing, json_t *step, bool allowed, struct error *err)
{
    CLEANUP(arena_done)
    struct arena arena;
    const char *container_id = container_of(step);
    bool *stands;
    size_t count;

    arena_init(&arena, LIMIT_STEP_ARENA_BYTES);
    struct played *steps = realloc(playing->steps, (playing->count + 1) * sizeof(*steps));
    if (!steps)
        return error_set(err, STATUS_RESOURCE_EXHAUSTED, 0, "no memory for the steps");
    playing->steps = steps;
    struct played *played = &steps[playing->count++];
    *played = (struct played){0};
    if (!allowed || !container_id)
        return STATUS_OK;
    TRY(policy_standing(playing->state, container_id, &arena, &stands, &count, err));
    played->container_id = strdup(container_id);
    played->stood = calloc(count + 1, sizeof(bool));
    if (!played->container_id || !played->stood)
        return error_set(err, STATUS_RESOURCE_EXHAUSTED, 0, "no memory for the steps");
    played->count = count;
    memcpy(played->stood, stands, count * sizeof(bool));
    return STATUS_OK;
}

static enum status
play(json_t *step, size_t line, void *arg, struct error *err)
{
    struct playing *playing = arg;
    CLEANUP(json_decrefp)
    json_t *decision = NULL;
    enum status status;

    if (playing->count >= playing->wanted)
        return STATUS_OK;
    if (playing->count + 1 == playing->wanted) {
        status = explain_step(playing, step, err);
        playing->count += status == STATUS_OK;
    } else {
        status = step_run(playing->state, step, playing->options->play.os, &decision, err);
        if (status == STATUS_OK)
            status = remember(playing, step, json_is_true(json_object_get(decision, "allowed")), err);
    }
    if (status != STATUS_OK)
        error_prefix(err, "line %zu: ", line);
    return status;
}

static enum status
count_step(json_t *step, size_t line, void *arg, struct error *err)
{
    (void)step;
    (void)line;
    (void)err;
    (*(size_t *)arg)++;
    return STATUS_OK;
}

static int
explain_text(const struct options *options, const char *text, size_t size, const char *steps)
{
    CLEANUP(policy_unrefp)
    struct policy *policy = NULL;
    CLEANUP(policy_state_freep)
    struct policy_state *state = NULL;
    struct playing playing = {.options = options, .wanted = options->step, .result = EXIT_CANNOT_ASK};
    struct error err;
    size_t count = 0;

    enum status status = policy_load(text, size, options->play.os, &policy, &err);
    if (status == STATUS_OK)
        status = policy_state_new(policy, options->play.rules, &state, &err);
    if (status == STATUS_OK)
        status = step_lines_each(steps, count_step, &count, &err);
    if (status == STATUS_OK && (count == 0 || options->step > count))
        status =
            error_set(&err, STATUS_INVALID_ARGUMENT, 0, "%s: it has %zu steps", options->play.steps, count);
    playing.state = state;
    playing.wanted = options->step ? options->step : count;
    if (status == STATUS_OK)
        status = step_lines_each(steps, play, &playing, &err);
    fflush(stdout);
    if (status != STATUS_OK)
        fprintf(stderr, "gcs-policy explain: %s\n", err.text);
    for (size_t i = 0; i < playing.count && playing.steps && i + 1 < playing.wanted; i++) {
        free(playing.steps[i].container_id);
        free(playing.steps[i].stood);
    }
    free(playing.steps);
    return status == STATUS_OK ? playing.result : EXIT_CANNOT_ASK;
}

int
command_explain(int argc, char **argv)
{
    static const struct argp argp = {option_list,
                                     parse_option,
                                     NULL,
                                     "Says of one step which containers or external processes of the policy "
                                     "were candidates, and which rule "
                                     "of each failed. Environment entries are shown by name.\v"
                                     "The steps before it are played first and narrow the candidates as they "
                                     "would. Exit status: 0 the step "
                                     "is allowed, 1 it is denied, 2 it could not be asked.",
                                     children,
                                     NULL,
                                     NULL};
    struct options options = {.play = {.rules = POLICY_STRICT}};
    size_t policy_size, steps_size;

    argp_parse(&argp, argc, argv, 0, NULL, &options);
    char *policy = command_read_file(options.play.policy, &policy_size);
    char *steps = policy ? command_read_file(options.play.steps, &steps_size) : NULL;
    int result = steps ? explain_text(&options, policy, policy_size, steps) : EXIT_CANNOT_ASK;
    free(policy);
    free(steps);
    return result;
}
