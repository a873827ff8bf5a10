/*
 * The error texts of create_container, exec_in_container and exec_external (spec/policy.md 4.6). They are
 * found after the fact, from the state and the request as it came, whatever the procedure stumbled over.
 */
#include "server/policy/linux.h"
#include "server/policy/mounts.h"
#include "server/policy/process.h"

/* Candidates as an array of places, for the error conditions that look at all of them. */
struct crowd {
    const struct candidate *base;
    const uint32_t *items; /* NULL: all of base */
    size_t count;
    struct env_table *env;
};

static const struct candidate *
crowd_at(const struct crowd *crowd, size_t i)
{
    return &crowd->base[crowd->items ? crowd->items[i] : i];
}

static struct crowd
crowd_of(const struct cell_value *container)
{
    const struct matches *matches = container->is_present ? container->matches : NULL;
    if (!matches || matches->count == 0)
        return (struct crowd){0};
    const struct candidate *base = matches->catalog->containers;
    return (struct crowd){base, matches->items, matches->count, base[matches->items[0]].group->env};
}

/* "invalid env list: A,B": the names of the entries that no candidate has a rule for. */
static enum status
env_names_error(struct decision *decision, const struct crowd *crowd, const struct env_match *match,
                struct texts *errors)
{
    const struct policy_strings *env = &process_input(decision)->env;
    uint64_t *known = ARENA_NEW(decision->arena, uint64_t, match->words);
    uint64_t *one = ARENA_NEW(decision->arena, uint64_t, match->words);
    size_t size = sizeof("invalid env list: ");
    bool any = false;

    if (!known || !one)
        return decision_full(decision);
    for (size_t i = 0; i < crowd->count; i++) {
        env_accepted(match, decision->strict, &crowd_at(crowd, i)->env, one);
        for (size_t word = 0; word < match->words; word++)
            known[word] |= one[word];
    }
    for (size_t i = 0; i < env->count; i++)
        size += strlen(env->items[i]) + 1;
    char *text = arena_alloc(decision->arena, size), *at = text;
    if (!text)
        return decision_full(decision);
    at = stpcpy(at, "invalid env list: ");
    for (size_t i = 0; i < env->count; i++) {
        if (env_set_has(known, match->distinct[i]))
            continue;
        if (any)
            *at++ = ',';
        any = true;
        size_t length = strcspn(env->items[i], "=");
        memcpy(at, env->items[i], length);
        at += length;
    }
    *at = '\0';
    return texts_add_if(decision, errors, any, text);
}

static enum status
crowd_match(struct decision *decision, const struct crowd *crowd, struct env_match *match)
{
    struct env_table *table = crowd->env ? crowd->env : env_table_new(decision->arena);
    if (!table)
        return decision_full(decision);
    return env_match_make(table, NULL, 0, &process_input(decision)->env, decision->strict, decision->arena,
                          match, decision->err);
}

/* Whether some candidate passes the test. */
static enum status
crowd_any(struct decision *decision, const struct crowd *crowd, fits_fn *fits, bool *any)
{
    *any = false;
    for (size_t i = 0; i < crowd->count && !*any; i++)
        TRY(fits(decision, crowd_at(crowd, i), any));
    return STATUS_OK;
}

static enum status
none_fits(struct decision *decision, const struct crowd *crowd, fits_fn *fits, struct texts *errors,
          const char *text)
{
    bool any;
    TRY(crowd_any(decision, crowd, fits, &any));
    return texts_add_if(decision, errors, !any, text);
}

static enum status
fits_command(struct decision *decision, const struct candidate *candidate, bool *fits)
{
    *fits = command_equal(decision, candidate->command);
    return STATUS_OK;
}

static enum status
fits_exec_command(struct decision *decision, const struct candidate *candidate, bool *fits)
{
    *fits = process_has_exec(decision, candidate);
    return STATUS_OK;
}

static enum status
fits_working_dir(struct decision *decision, const struct candidate *candidate, bool *fits)
{
    *fits = process_working_dir_equal(decision, candidate->object);
    return STATUS_OK;
}

static enum status
fits_user(struct decision *decision, const struct candidate *candidate, bool *fits)
{
    return process_user_fits(decision, candidate->user, fits);
}

/* The reference looks for user and directory in the exec entry itself, which normally has neither. */
static enum status
fits_exec_user(struct decision *decision, const struct candidate *candidate, bool *fits)
{
    *fits = false;
    for (size_t i = 0; i < value_length(candidate->exec_processes) && !*fits; i++) {
        const struct value *process = value_at(candidate->exec_processes, i);
        if (command_equal(decision, value_member(process, "command")) &&
            process_working_dir_equal(decision, process))
            TRY(process_user_fits(decision, value_member(process, "user"), fits));
    }
    return STATUS_OK;
}

static bool
member_defined(const struct candidate *candidate, const char *name)
{
    return value_member(candidate->object, name) != NULL;
}

/* The part of create's "invalid env list" that is about one candidate, but for the entries. */
static enum status
fits_but_env(struct decision *decision, const struct candidate *candidate, bool *fits)
{
    *fits = member_defined(candidate, "no_new_privileges") && member_defined(candidate, "allow_elevated") &&
            member_defined(candidate, "mounts") && candidate->env.is_defined &&
            process_working_dir_equal(decision, candidate->object) &&
            command_equal(decision, candidate->command);
    if (*fits)
        TRY(process_user_fits(decision, candidate->user, fits));
    if (!*fits || !process_is_linux(decision))
        return STATUS_OK;
    *fits = linux_nnp_ok(decision, candidate->object) && linux_privileged_ok(decision, candidate->object);
    return *fits ? linux_mounts_ok(decision, candidate->object, fits) : STATUS_OK;
}

/* create's "invalid env list" without names: every candidate fits but for some entry. */
static enum status
env_alone_error(struct decision *decision, const struct crowd *crowd, const struct env_match *match,
                struct texts *errors)
{
    uint64_t *all = ARENA_NEW(decision->arena, uint64_t, match->words);
    uint64_t *one = ARENA_NEW(decision->arena, uint64_t, match->words);
    bool every = crowd->count > 0;

    if (!all || !one)
        return decision_full(decision);
    env_set_all(match, all);
    for (size_t i = 0; i < crowd->count && every; i++) {
        TRY(fits_but_env(decision, crowd_at(crowd, i), &every));
        env_accepted(match, decision->strict, &crowd_at(crowd, i)->env, one);
        every = every && memcmp(all, one, match->words * sizeof(*all)) != 0;
    }
    return texts_add_if(decision, errors, every, "invalid env list");
}

/* "missing required environment variable": some candidate that passes `fits` lacks one. */
static enum status
required_error(struct decision *decision, const struct crowd *crowd, const struct env_match *match,
               fits_fn *fits, struct texts *errors)
{
    uint64_t *all = ARENA_NEW(decision->arena, uint64_t, match->words);
    bool missing = false;

    if (!all)
        return decision_full(decision);
    env_set_all(match, all);
    for (size_t i = 0; i < crowd->count && !missing; i++) {
        bool fit;
        TRY(fits(decision, crowd_at(crowd, i), &fit));
        missing = fit && env_required_missing(match, decision->strict, &crowd_at(crowd, i)->env, all);
    }
    return texts_add_if(decision, errors, missing, "missing required environment variable");
}

static enum status
fits_for_required(struct decision *decision, const struct candidate *candidate, bool *fits)
{
    *fits = member_defined(candidate, "no_new_privileges");
    return *fits ? process_exec_fits(decision, candidate, fits) : STATUS_OK;
}

/* Linux mode's error texts of create that look at the container's own tests. */
static enum status
linux_create_errors(struct decision *decision, const struct crowd *crowd, const struct env_match *match,
                    struct texts *errors)
{
    const struct policy_process_input *input = process_input(decision);
    bool nnp = false, privileged = false, seccomp = false;
    struct selection selection;

    for (size_t i = 0; i < crowd->count; i++) {
        const struct value *object = crowd_at(crowd, i)->object;
        nnp = nnp || linux_nnp_ok(decision, object);
        privileged = privileged || linux_privileged_ok(decision, object);
        seccomp = seccomp || linux_seccomp_ok(decision, object);
    }
    TRY(texts_add_if(decision, errors, !nnp, "invalid noNewPrivileges"));
    TRY(texts_add_if(decision, errors, !privileged, "privileged escalation not allowed"));
    TRY(texts_add_if(decision, errors, !seccomp, "invalid seccomp"));
    TRY(texts_add_if(decision, errors, input->linux_process->devices.count > 0, "devices not supported"));
    TRY(mounts_names_error(decision, crowd->base, crowd->items, crowd->count, errors));
    TRY(required_error(decision, crowd, match, process_create_fits, errors));

    /* What was left before the capabilities were looked at. */
    TRY(selection_init(decision, crowd->base, crowd->count, &selection));
    for (size_t i = 0; i < crowd->count; i++) {
        bool fit;
        TRY(process_create_fits(decision, crowd_at(crowd, i), &fit));
        if (fit)
            selection.items[selection.count++] = crowd->items[i];
    }
    TRY(process_choose_env(decision, &selection));
    size_t before = selection.count;
    if (before)
        TRY(linux_choose_capabilities(decision, input->linux_process->privileged, &selection));
    return texts_add_if(decision, errors, before > 0 && selection.count == 0, "capabilities don't match");
}

enum status
errors_create_container(struct decision *decision, struct texts *errors)
{
    const struct cell_value *container = process_container(decision);
    struct crowd crowd = crowd_of(container);
    struct selection selection;
    const struct value *stdio;
    struct env_match match;

    TRY(crowd_match(decision, &crowd, &match));
    TRY(texts_add_if(decision, errors, container->is_started, "container already started"));
    TRY(none_fits(decision, &crowd, fits_command, errors, "invalid command"));
    TRY(none_fits(decision, &crowd, fits_working_dir, errors, "invalid working directory"));
    TRY(none_fits(decision, &crowd, fits_user, errors, "invalid user"));
    TRY(env_names_error(decision, &crowd, &match, errors));
    TRY(env_alone_error(decision, &crowd, &match, errors));
    if (process_is_linux(decision))
        TRY(linux_create_errors(decision, &crowd, &match, errors));
    if (container->is_started || crowd.count == 0)
        return STATUS_OK;
    TRY(process_select_create(decision, container, &selection));
    return texts_add_if(decision, errors, selection_stdio(&selection, &stdio) == STDIO_CONFLICT,
                        "containers only distinguishable by allow_stdio_access");
}

/* As fits_exec_user(): the reference looks in the exec entry itself. */
static enum status
fits_exec_nnp(struct decision *decision, const struct candidate *candidate, bool *fits)
{
    *fits = false;
    for (size_t i = 0; i < value_length(candidate->exec_processes) && !*fits; i++) {
        const struct value *process = value_at(candidate->exec_processes, i);
        *fits = command_equal(decision, value_member(process, "command")) &&
                process_working_dir_equal(decision, process) && linux_nnp_ok(decision, process);
    }
    return STATUS_OK;
}

/* Linux mode's error texts of exec_in_container. */
static enum status
linux_exec_errors(struct decision *decision, const struct crowd *crowd, const struct cell_value *container,
                  struct texts *errors)
{
    struct selection selection;

    TRY(none_fits(decision, crowd, fits_exec_nnp, errors, "invalid noNewPrivileges"));
    TRY(process_select_mounted(decision, container->is_present ? container->matches : NULL, process_exec_fits,
                               &selection));
    TRY(process_choose_env(decision, &selection));
    size_t before = selection.count;
    if (before)
        TRY(linux_choose_capabilities(decision, container->is_privileged, &selection));
    return texts_add_if(decision, errors, before > 0 && selection.count == 0, "capabilities don't match");
}

enum status
errors_exec_in_container(struct decision *decision, struct texts *errors)
{
    const struct cell_value *container = process_container(decision);
    struct crowd crowd = crowd_of(container);
    struct env_match match;

    TRY(crowd_match(decision, &crowd, &match));
    TRY(texts_add_if(decision, errors, !container->is_started, "container not started"));
    TRY(none_fits(decision, &crowd, fits_exec_command, errors, "invalid command"));
    TRY(none_fits(decision, &crowd, fits_working_dir, errors, "invalid working directory"));
    TRY(none_fits(decision, &crowd, fits_exec_user, errors, "invalid user"));
    TRY(env_names_error(decision, &crowd, &match, errors));
    if (container->is_started)
        TRY(required_error(decision, &crowd, &match, fits_for_required, errors));
    return process_is_linux(decision) ? linux_exec_errors(decision, &crowd, container, errors) : STATUS_OK;
}

enum status
errors_exec_external(struct decision *decision, struct texts *errors)
{
    const struct catalog *catalog = decision->store->catalog;
    struct crowd crowd = {catalog->processes, NULL, catalog->processes_count, catalog->processes_env};
    struct selection selection;
    const struct value *stdio;
    struct env_match match;

    TRY(crowd_match(decision, &crowd, &match));
    TRY(none_fits(decision, &crowd, fits_command, errors, "invalid command"));
    TRY(none_fits(decision, &crowd, fits_working_dir, errors, "invalid working directory"));
    TRY(env_names_error(decision, &crowd, &match, errors));
    TRY(required_error(decision, &crowd, &match, process_external_fits, errors));
    TRY(process_select_external(decision, &selection));
    return texts_add_if(decision, errors, selection_stdio(&selection, &stdio) == STDIO_CONFLICT,
                        "external processes only distinguishable by allow_stdio_access");
}
