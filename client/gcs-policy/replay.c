/* gcs-policy replay: what another policy would have decided. */
#include <argp.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "client/gcs-policy/command.h"
#include "client/gcs-policy/replay_log.h"

struct options {
    const char *policy;
    char **logs;
    int logs_count;
};

static error_t
parse_option(int key, char *arg, struct argp_state *state)
{
    struct options *options = state->input;

    switch (key) {
    case 'p':
        options->policy = arg;
        return 0;
    case ARGP_KEY_ARGS:
        options->logs = state->argv + state->next;
        options->logs_count = state->argc - state->next;
        return 0;
    case ARGP_KEY_END:
        if (!options->policy || options->logs_count == 0)
            argp_error(state, "--policy and a log are needed");
        return 0;
    default:
        return ARGP_ERR_UNKNOWN;
    }
}

static const struct argp_option option_list[] = {
    {"policy", 'p', "FILE", 0, "the policy to judge by, strictly as the sidecar does", 0},
    {0},
};

/* Lines of a file; a line that a crash has cut is the last of its run. */
struct reading {
    struct replay *replay;
    const char *path;
    size_t line;
    bool is_cut; /* the line before was no JSON: only the end or a header may follow */
};

static enum status
read_line(struct reading *reading, const char *text, size_t length, struct error *err)
{
    char place[4096 + 32];
    json_error_t where;
    CLEANUP(json_decrefp)
    json_t *json = json_loadb(text, length, JSON_REJECT_DUPLICATES, &where);

    snprintf(place, sizeof(place), "%s:%zu", reading->path, reading->line);
    if (reading->is_cut && !(json && replay_is_header(json)))
        return error_set(err, STATUS_INVALID_ARGUMENT, 0, "%s:%zu: it is no JSON", reading->path,
                         reading->line - 1);
    reading->is_cut = !json;
    if (!json)
        return STATUS_OK;
    enum status status = replay_line(reading->replay, place, json, err);
    if (status != STATUS_OK)
        error_prefix(err, "%s: ", place);
    return status;
}

static enum status
read_log(struct replay *replay, const char *path, struct error *err)
{
    struct reading reading = {.replay = replay, .path = path};
    FILE *file = fopen(path, "re");
    enum status status = STATUS_OK;
    char *text = NULL;
    size_t room = 0;
    ssize_t length;

    if (!file)
        return error_set(err, status_of_errno(errno), errno, "open '%s'", path);
    while (status == STATUS_OK && (length = getline(&text, &room, file)) > 0) {
        reading.line++;
        if (strspn(text, " \t\r\n") < (size_t)length)
            status = read_line(&reading, text, (size_t)length, err);
    }
    if (status == STATUS_OK && ferror(file))
        status = error_set(err, STATUS_INTERNAL, errno, "read '%s'", path);
    if (status == STATUS_OK && reading.line == 0)
        status = error_set(err, STATUS_INVALID_ARGUMENT, 0, "%s: it is empty", path);
    if (status == STATUS_OK && reading.is_cut && reading.line == 1)
        status = error_set(err, STATUS_INVALID_ARGUMENT, 0, "%s:1: it is no JSON", path);
    free(text);
    fclose(file);
    return status;
}

static int
replay_logs(const struct options *options, const char *text, size_t size)
{
    CLEANUP(policy_unrefp)
    struct policy *policy = NULL;
    struct replay *replay = NULL;
    struct replay_counts counts = {0};
    struct error err;

    enum status status = policy_load(text, size, POLICY_WINDOWS, &policy, &err);
    if (status == STATUS_OK)
        status = replay_new(policy, &replay, &err);
    for (int i = 0; i < options->logs_count && status == STATUS_OK; i++)
        status = read_log(replay, options->logs[i], &err);
    if (replay)
        counts = replay_counts(replay);
    replay_free(replay);
    if (status != STATUS_OK) {
        fflush(stdout);
        fprintf(stderr, "gcs-policy replay: %s\n", err.text);
        return EXIT_CANNOT_ASK;
    }
    printf("%zu decisions: %zu unchanged, %zu changed, %zu undetermined\n", counts.decisions,
           counts.decisions - counts.changed - counts.undetermined, counts.changed, counts.undetermined);
    return counts.changed ? EXIT_ANSWER_NO : EXIT_AS_ASKED;
}

int
command_replay(int argc, char **argv)
{
    static const struct argp argp = {
        option_list,
        parse_option,
        "LOG...",
        "Judges recorded decisions by another policy and lists what would change: decision, environment, "
        "standard streams, errors. The logs are those of gcs-sidecar's --decision-log, the older file first."
        "\v"
        "A decision is undetermined when environment values decide it that are not in the log (see "
        "--decision-log-env), or when it hangs on a part of the log that is missing. Exit status: 0 nothing "
        "would change, 1 something would, 2 the input is unusable. The last line of the output counts.",
        NULL,
        NULL,
        NULL};
    struct options options = {0};
    size_t size;

    argp_parse(&argp, argc, argv, 0, NULL, &options);
    char *policy = command_read_file(options.policy, &size);
    int result = policy ? replay_logs(&options, policy, size) : EXIT_CANNOT_ASK;
    free(policy);
    return result;
}
