/* gcs-policy check: refusals with their place, and warnings. */
#include <argp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "client/gcs-policy/command.h"
#include "client/gcs-policy/warnings.h"
#include "server/policy/policy.h"
#include "server/policy/source_lines.h"

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

/* The checked file. */
struct source {
    const char *file, *text;
    struct source_lines lines;
};

/* The source line and, below it, a caret at the column. */
static void
show_place(const struct source *source, size_t line, size_t column)
{
    if (line > source->lines.count)
        return;
    const char *text = source->text + source->lines.starts[line - 1];
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
show_refusal(const struct source *source, const struct error *err, const char *who)
{
    size_t line, column;
    int end = 0;

    if (sscanf(err->text, "policy.rego:%zu:%zu: %n", &line, &column, &end) < 2 || end == 0) {
        printf("%s: error: %s%s\n", source->file, err->text, who);
        return;
    }
    printf("%s:%zu:%zu: error: %s%s\n", source->file, line, column, err->text + end, who);
    show_place(source, line, column);
}

static void
show_warning(size_t offset, const char *text, void *arg)
{
    const struct source *source = arg;
    size_t line, column;

    source_lines_position(&source->lines, offset, &line, &column);
    printf("%s:%zu:%zu: warning: %s\n", source->file, line, column, text);
    show_place(source, line, column);
}

static int
check_text(struct source *source, size_t size)
{
    CLEANUP(policy_unrefp)
    struct policy *policy = NULL;
    CLEANUP(policy_state_freep)
    struct policy_state *state = NULL;
    CLEANUP(module_freep)
    struct module *module = NULL;
    int result = EXIT_AS_ASKED;
    struct error err;

    if (policy_load(source->text, size, POLICY_WINDOWS, &policy, &err) != STATUS_OK) {
        show_refusal(source, &err, "");
        return EXIT_ANSWER_NO;
    }
    if (policy_state_new(policy, POLICY_STRICT, &state, &err) != STATUS_OK) {
        show_refusal(source, &err, " (the reference loads this, strict does not)");
        result = EXIT_ANSWER_NO;
    }
    if (module_parse("policy.rego", source->text, size, MODULE_POLICY, &module, &err) != STATUS_OK ||
        warnings_find(module, show_warning, source, &err) != STATUS_OK) {
        show_refusal(source, &err, "");
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
    char *text = command_read_file(options.file, &size);
    if (!text)
        return EXIT_CANNOT_ASK;
    struct source source = {.file = options.file, .text = text};
    struct error err;
    int result = EXIT_CANNOT_ASK;
    if (source_lines_init(&source.lines, text, size, &err) == STATUS_OK)
        result = check_text(&source, size);
    else
        fprintf(stderr, "gcs-policy check: %s\n", err.text);
    source_lines_done(&source.lines);
    free(text);
    return result;
}
