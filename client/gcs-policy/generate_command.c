/*
 * The command line of `gcs-policy generate`. Options before the first --container are for all containers,
 * options after one for that one; layers of its own replace the common ones, everything else is added.
 */
#include "client/gcs-policy/generate_command.h"

#include <argp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "client/gcs-policy/command.h"
#include "client/gcs-policy/generate.h"
#include "client/gcs-policy/layer_digest.h"
#include "client/spec/document.h"
#include "client/spec/spec.h"
#include "server/base/limits.h"

#define COMMAND_ARENA (256 * 1024 * 1024)

enum option_key {
    OPTION_CONTAINER = 'c',
    OPTION_LAYER = 'l',
    OPTION_EXEC = 'x',
    OPTION_SIGNAL = 's',
    OPTION_GUEST_EXEC = 0x100,
    OPTION_DENY_STDIO,
    OPTION_ALLOW_DUMP_STACKS,
};

/* Lists grow in the arena by doubling; what is left behind goes with it. */
struct exec_list {
    struct generate_exec *items;
    size_t count, room;
};

/* What was said about one container, or before the first one about all. */
struct section {
    const char *path; /* NULL: the common section */
    struct cri_strings layers, signals;
    size_t layers_room, signals_room;
    struct exec_list execs;
    bool deny_stdio;
};

struct parsing {
    struct arena arena;
    struct section *sections; /* [0] is the common one */
    size_t count, room;
    struct exec_list guest_execs;
    struct generate_exec *last_exec; /* gets the --signal that follows it */
    bool allow_dump_stacks;
};

/* At start-up there is nothing to save from a lack of memory. */
static void *
grown(struct parsing *parsing, void *items, size_t count, size_t *room, size_t size)
{
    if (count < *room)
        return items;
    size_t wanted = *room > 0 ? *room * 2 : 8;
    void *bigger = arena_calloc(&parsing->arena, wanted, size);
    if (bigger == NULL) {
        fprintf(stderr, "gcs-policy: the command line needs too much memory\n");
        exit(EXIT_CANNOT_ASK);
    }
    if (count > 0)
        memcpy(bigger, items, count * size);
    *room = wanted;
    return bigger;
}

static void
strings_add(struct parsing *parsing, struct cri_strings *strings, size_t *room, const char *text)
{
    strings->items = grown(parsing, strings->items, strings->count, room, sizeof(*strings->items));
    strings->items[strings->count++] = text;
}

static struct section *
section_add(struct parsing *parsing, const char *path)
{
    parsing->sections =
        grown(parsing, parsing->sections, parsing->count, &parsing->room, sizeof(*parsing->sections));
    struct section *section = &parsing->sections[parsing->count++];
    *section = (struct section){.path = path};
    return section;
}

/* ---- argument vectors ---- */

static enum status
words_split(struct parsing *parsing, const char *text, struct cri_strings *ret, struct error *err)
{
    size_t room = 0;
    for (const char *word = text + strspn(text, " \t"); *word != '\0';) {
        size_t length = strcspn(word, " \t");
        const char *copy = arena_strndup(&parsing->arena, word, length);
        if (copy == NULL)
            return error_set(err, STATUS_RESOURCE_EXHAUSTED, 0, "no memory for '%s'", text);
        strings_add(parsing, ret, &room, copy);
        word += length;
        word += strspn(word, " \t");
    }
    return STATUS_OK;
}

static enum status
json_argv(struct parsing *parsing, const char *text, struct cri_strings *ret, struct error *err)
{
    CLEANUP(json_decrefp)
    json_t *document = NULL;
    TRY(document_parse(text, strlen(text), "ARGV", &document, err));
    const struct document_reading reading = {.arena = &parsing->arena, .err = err};
    size_t count, room = 0;
    TRY(document_read_length(&reading, document, NULL, LIMIT_ARGS, &count));
    for (size_t i = 0; i < count; i++) {
        const struct document_place here = {.index = i};
        const char *word;
        TRY(document_read_string(&reading, json_array_get(document, i), &here, &word));
        strings_add(parsing, ret, &room, word);
    }
    return STATUS_OK;
}

static void
exec_add(struct parsing *parsing, struct argp_state *state, struct exec_list *list, const char *text)
{
    struct generate_exec exec = {0};
    struct error err;
    enum status status = text[strspn(text, " \t")] == '[' ? json_argv(parsing, text, &exec.argv, &err)
                                                          : words_split(parsing, text, &exec.argv, &err);
    if (status != STATUS_OK)
        argp_error(state, "%s", err.text);
    list->items = grown(parsing, list->items, list->count, &list->room, sizeof(*list->items));
    list->items[list->count] = exec;
    parsing->last_exec = &list->items[list->count++];
}

static void
signal_add(struct parsing *parsing, struct section *section, const char *name)
{
    if (parsing->last_exec == NULL) {
        strings_add(parsing, &section->signals, &section->signals_room, name);
        return;
    }
    /* A copy per signal: execs are few and their signals five at most. */
    size_t room = parsing->last_exec->signals.count;
    strings_add(parsing, &parsing->last_exec->signals, &room, name);
}

/* ---- options ---- */

static const struct argp_option options[] = {
    {"container", OPTION_CONTAINER, "CONTAINER.json", 0,
     "Allow this container (CRI configuration); may be repeated", 0},
    {"layer", OPTION_LAYER, "FILE", 0, "A layer of its image, base first", 0},
    {"exec", OPTION_EXEC, "ARGV", 0, "Allow this process in it: words, or a JSON array of strings", 0},
    {"signal", OPTION_SIGNAL, "NAME", 0,
     "Allow this signal, to the process of the --exec before it, else to init: CtrlC, CtrlBreak, CtrlClose, "
     "CtrlLogOff, CtrlShutdown",
     0},
    {"deny-stdio", OPTION_DENY_STDIO, NULL, 0, "Keep its output in the guest", 0},
    {"guest-exec", OPTION_GUEST_EXEC, "ARGV", 0, "Allow this process outside of containers", 0},
    {"allow-dump-stacks", OPTION_ALLOW_DUMP_STACKS, NULL, 0, "Let the host see the guest's stacks", 0},
    {0},
};

static error_t
parse_option(int key, char *text, struct argp_state *state)
{
    struct parsing *parsing = state->input;
    struct section *section = &parsing->sections[parsing->count - 1];
    switch (key) {
    case OPTION_CONTAINER:
        (void)section_add(parsing, text);
        parsing->last_exec = NULL;
        return 0;
    case OPTION_LAYER:
        strings_add(parsing, &section->layers, &section->layers_room, text);
        return 0;
    case OPTION_EXEC:
        exec_add(parsing, state, &section->execs, text);
        return 0;
    case OPTION_GUEST_EXEC:
        exec_add(parsing, state, &parsing->guest_execs, text);
        return 0;
    case OPTION_SIGNAL:
        signal_add(parsing, section, text);
        return 0;
    case OPTION_DENY_STDIO:
        section->deny_stdio = true;
        return 0;
    case OPTION_ALLOW_DUMP_STACKS:
        parsing->allow_dump_stacks = true;
        return 0;
    case ARGP_KEY_ARG:
        argp_error(state, "'%s' is no option; a container is given with --container", text);
        return 0;
    case ARGP_KEY_END:
        if (parsing->count < 2 && parsing->guest_execs.count == 0)
            argp_error(state, "nothing to allow: give --container");
        return 0;
    default:
        return ARGP_ERR_UNKNOWN;
    }
}

/* ---- from sections to containers ---- */

static enum status
digests_of(struct parsing *parsing, const struct cri_strings *paths, struct cri_strings *ret,
           struct error *err)
{
    size_t room = 0;
    for (size_t i = 0; i < paths->count; i++) {
        char digest[LAYER_DIGEST_DIGITS + 1];
        TRY(layer_digest_file(paths->items[i], digest, err));
        const char *copy = arena_strndup(&parsing->arena, digest, LAYER_DIGEST_DIGITS);
        if (copy == NULL)
            return error_set(err, STATUS_RESOURCE_EXHAUSTED, 0, "no memory for a digest");
        strings_add(parsing, ret, &room, copy);
    }
    return STATUS_OK;
}

static void
strings_append(struct parsing *parsing, struct cri_strings *strings, size_t *room,
               const struct cri_strings *more)
{
    for (size_t i = 0; i < more->count; i++)
        strings_add(parsing, strings, room, more->items[i]);
}

static void
execs_append(struct parsing *parsing, struct exec_list *list, const struct exec_list *more)
{
    for (size_t i = 0; i < more->count; i++) {
        list->items = grown(parsing, list->items, list->count, &list->room, sizeof(*list->items));
        list->items[list->count++] = more->items[i];
    }
}

static enum status
container_of(struct parsing *parsing, const struct section *section, struct generate_container *ret,
             struct error *err)
{
    const struct section *common = &parsing->sections[0];
    const struct cri_strings *layers = section->layers.count > 0 ? &section->layers : &common->layers;
    TRY(cri_container_load(section->path, &parsing->arena, &ret->config, err));
    if (layers->count == 0)
        return error_set(err, STATUS_INVALID_ARGUMENT, 0, "%s: give its image's layers with --layer",
                         section->path);
    TRY(digests_of(parsing, layers, &ret->layers, err));

    size_t room = 0;
    struct exec_list execs = {0};
    strings_append(parsing, &ret->signals, &room, &common->signals);
    strings_append(parsing, &ret->signals, &room, &section->signals);
    execs_append(parsing, &execs, &common->execs);
    execs_append(parsing, &execs, &section->execs);
    ret->execs = (struct generate_execs){.items = execs.items, .count = execs.count};
    ret->deny_stdio = common->deny_stdio || section->deny_stdio;
    return STATUS_OK;
}

static enum status
policy_print(struct parsing *parsing, struct error *err)
{
    size_t count = parsing->count - 1;
    struct generate_container *containers =
        ARENA_NEW(&parsing->arena, struct generate_container, count > 0 ? count : 1);
    if (containers == NULL)
        return error_set(err, STATUS_RESOURCE_EXHAUSTED, 0, "too many containers");
    for (size_t i = 0; i < count; i++)
        TRY(container_of(parsing, &parsing->sections[i + 1], &containers[i], err));

    const struct generate_input input = {
        .containers = containers,
        .containers_count = count,
        .guest_execs = {.items = parsing->guest_execs.items, .count = parsing->guest_execs.count},
        .allow_dump_stacks = parsing->allow_dump_stacks,
    };
    char *text;
    size_t size;
    TRY(generate_policy(&input, &text, &size, err));
    bool written = fwrite(text, 1, size, stdout) == size && fflush(stdout) == 0;
    free(text);
    return written ? STATUS_OK : error_set(err, STATUS_INTERNAL, 0, "standard output cannot be written");
}

int
generate_command(int argc, char **argv)
{
    const struct argp argp = {
        .options = options,
        .parser = parse_option,
        .doc = "Write a policy that allows exactly these containers.\v"
               "Options before the first --container are for all containers, options after one for that one. "
               "The policy is written to standard output.",
    };
    struct parsing parsing = {0};
    arena_init(&parsing.arena, COMMAND_ARENA);
    (void)section_add(&parsing, NULL);
    argp_parse(&argp, argc, argv, ARGP_IN_ORDER, NULL, &parsing);

    struct error err;
    enum status status = policy_print(&parsing, &err);
    if (status != STATUS_OK)
        fprintf(stderr, "gcs-policy: generate: %s\n", err.text);
    arena_done(&parsing.arena);
    return status == STATUS_OK ? EXIT_AS_ASKED : EXIT_CANNOT_ASK;
}
