/* gcs-policy check: refusals with their place, and warnings. */
#include <argp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "client/gcs-policy/command.h"
#include "client/gcs-policy/warnings.h"
#include "server/policy/lex.h"
#include "server/policy/policy.h"

struct options {
    const char *file;
};

/* Longer source lines are shown without a caret: they are generated, not read. */
enum { SHOWN_LINE_MAX = 200 };

static error_t
parse_option(int key, char *arg, struct argp_state *state)
{
    struct options *options = state->input;

    switch (key) {
    case ARGP_KEY_ARG:
        if (options->file)
            argp_error(state, "one file at a time");
        options->file = arg;
        return 0;
    case ARGP_KEY_NO_ARGS:
        argp_usage(state);
        return 0;
    default:
        return ARGP_ERR_UNKNOWN;
    }
}

/* The source line and, below it, a caret at the column. */
static void
show_place(const char *text, size_t line, size_t column)
{
    for (size_t at = 1; at < line && *text; at++) {
        text += strcspn(text, "\n");
        text += *text == '\n';
    }
    size_t length = strcspn(text, "\r\n");
    if (length > SHOWN_LINE_MAX || column > length + 1)
        return;
    printf("    %.*s\n    ", (int)length, text);
    for (size_t at = 1; at < column; at++)
        putchar(text[at - 1] == '\t' ? '\t' : ' ');
    printf("^\n");
}

/* An engine's error text starts with "policy.rego:LINE:COLUMN: " when it is about a place. */
static void
show_refusal(const char *file, const char *text, const struct error *err, const char *who)
{
    size_t line, column;
    int end = 0;

    if (sscanf(err->text, "policy.rego:%zu:%zu: %n", &line, &column, &end) < 2 || end == 0) {
        printf("%s: error: %s%s\n", file, err->text, who);
        return;
    }
    printf("%s:%zu:%zu: error: %s%s\n", file, line, column, err->text + end, who);
    show_place(text, line, column);
}

static void
show_warning(const struct module *module, size_t offset, const char *text, void *arg)
{
    size_t line, column;

    source_position(module->source, offset, &line, &column);
    printf("%s:%zu:%zu: warning: %s\n", (const char *)arg, line, column, text);
    show_place(module->source, line, column);
}

static int
check_text(char *file, const char *text, size_t size)
{
    CLEANUP(policy_unrefp)
    struct policy *policy = NULL;
    CLEANUP(policy_state_freep)
    struct policy_state *state = NULL;
    CLEANUP(module_freep)
    struct module *module = NULL;
    int result = EXIT_AS_ASKED;
    struct error err;

    if (policy_load(text, size, POLICY_WINDOWS, &policy, &err) != STATUS_OK) {
        show_refusal(file, text, &err, "");
        return EXIT_ANSWER_NO;
    }
    if (policy_state_new(policy, POLICY_STRICT, &state, &err) != STATUS_OK) {
        show_refusal(file, text, &err, " (the reference loads this, strict does not)");
        result = EXIT_ANSWER_NO;
    }
    if (module_parse("policy.rego", text, size, MODULE_POLICY, &module, &err) != STATUS_OK ||
        warnings_find(module, show_warning, file, &err) != STATUS_OK) {
        show_refusal(file, text, &err, "");
        return EXIT_ANSWER_NO;
    }
    return result;
}

int
command_check(int argc, char **argv)
{
    static const struct argp argp = {
        NULL,
        parse_option,
        "FILE",
        "Says what is wrong with a policy and what is surely not meant. Warnings "
        "do not change the exit status.",
        NULL,
        NULL,
        NULL};
    struct options options = {0};
    size_t size;

    argp_parse(&argp, argc, argv, 0, NULL, &options);
    char *file = strdup(options.file);
    char *text = file ? command_read_file(file, &size) : NULL;
    int result = text ? check_text(file, text, size) : EXIT_CANNOT_ASK;
    free(text);
    free(file);
    return result;
}
