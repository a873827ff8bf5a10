/* gcs-policy eval: the decisions on a file of steps, one JSON line each. */
#include <argp.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>

#include "client/gcs-policy/command.h"
#include "client/gcs-policy/options.h"
#include "server/policy/vectors.h"

static void
print_line(const char *line, void *arg)
{
    fprintf(arg, "%s\n", line);
}

/* A policy that does not load is an answer, in the vectors' form. */
static int
print_load_error(const struct error *err)
{
    CLEANUP(json_decrefp)
    json_t *answer = json_pack("{s:s}", "load_error", err->text);

    if (!answer || json_dumpf(answer, stdout, JSON_COMPACT) != 0)
        return EXIT_CANNOT_ASK;
    printf("\n");
    return EXIT_AS_ASKED;
}

static int
eval_text(const struct step_options *options, const char *text, size_t size, const char *steps)
{
    CLEANUP(policy_unrefp)
    struct policy *policy = NULL;
    CLEANUP(policy_state_freep)
    struct policy_state *probe = NULL;
    struct error err;

    if (policy_load(text, size, options->os, &policy, &err) != STATUS_OK ||
        policy_state_new(policy, options->rules, &probe, &err) != STATUS_OK)
        return print_load_error(&err);
    if (vectors_eval(policy, options->os, options->rules, steps, print_line, stdout, &err) == STATUS_OK)
        return EXIT_AS_ASKED;
    fflush(stdout);
    fprintf(stderr, "gcs-policy eval: %s: %s\n", options->steps, err.text);
    return EXIT_CANNOT_ASK;
}

int
command_eval(int argc, char **argv)
{
    struct argp argp = step_options_argp;
    argp.doc = "Prints the decision on each step, one JSON object a line.";
    struct step_options options = {.rules = POLICY_STRICT};
    size_t policy_size, steps_size;

    argp_parse(&argp, argc, argv, 0, NULL, &options);
    char *policy = command_read_file(options.policy, &policy_size);
    char *steps = policy ? command_read_file(options.steps, &steps_size) : NULL;
    int result = steps ? eval_text(&options, policy, policy_size, steps) : EXIT_CANNOT_ASK;
    free(policy);
    free(steps);
    return result;
}
