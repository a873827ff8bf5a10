/*
 * Which candidates a create or an exec leaves, by the reference's procedure (spec/policy.md 4.5).
 */
#include "server/policy/linux.h"
#include "server/policy/process.h"

bool
process_is_linux(const struct decision *decision)
{
    return decision->policy->os == POLICY_LINUX;
}

const struct policy_process_input *
process_input(const struct decision *decision)
{
    return &decision->request->process;
}

const struct cell_value *
process_container(const struct decision *decision)
{
    return state_container(decision->store, process_input(decision)->container_id);
}

bool
process_working_dir_equal(const struct decision *decision, const struct value *object)
{
    return value_is_text(value_member(object, "working_dir"), view_of(process_input(decision)->working_dir));
}

/* The user test of either mode on an object's `user`. */
enum status
process_user_fits(struct decision *decision, const struct value *user, bool *fits)
{
    if (process_is_linux(decision))
        return linux_user_ok(decision, user, fits);
    *fits = value_is_text(user, view_of(process_input(decision)->user));
    return STATUS_OK;
}

bool
process_has_exec(const struct decision *decision, const struct candidate *candidate)
{
    for (size_t i = 0; i < value_length(candidate->exec_processes); i++)
        if (command_equal(decision, value_member(value_at(candidate->exec_processes, i), "command")))
            return true;
    return false;
}

enum status
process_create_fits(struct decision *decision, const struct candidate *candidate, bool *fits)
{
    *fits = value_is_text(candidate->working_dir, view_of(process_input(decision)->working_dir)) &&
            command_equal(decision, candidate->command);
    if (!*fits)
        return STATUS_OK;
    TRY(process_user_fits(decision, candidate->user, fits));
    if (!*fits || !process_is_linux(decision))
        return STATUS_OK;
    *fits = linux_nnp_ok(decision, candidate->object) && linux_privileged_ok(decision, candidate->object) &&
            linux_seccomp_ok(decision, candidate->object) &&
            process_input(decision)->linux_process->devices.count == 0;
    return *fits ? linux_mounts_ok(decision, candidate->object, fits) : STATUS_OK;
}

enum status
process_exec_fits(struct decision *decision, const struct candidate *candidate, bool *fits)
{
    *fits = value_is_text(candidate->working_dir, view_of(process_input(decision)->working_dir)) &&
            process_has_exec(decision, candidate) &&
            (!process_is_linux(decision) || linux_nnp_ok(decision, candidate->object));
    return *fits ? process_user_fits(decision, candidate->user, fits) : STATUS_OK;
}

enum status
process_external_fits(struct decision *decision, const struct candidate *candidate, bool *fits)
{
    *fits = value_is_text(candidate->working_dir, view_of(process_input(decision)->working_dir)) &&
            command_equal(decision, candidate->command);
    return STATUS_OK;
}

/* The candidates mounted for the container that pass the test. */
enum status
process_select_mounted(struct decision *decision, const struct matches *matches, fits_fn *fits,
                       struct selection *selection)
{
    size_t count = matches ? matches->count : 0;

    TRY(selection_init(decision, matches ? matches->catalog->containers : NULL, count, selection));
    for (size_t i = 0; i < count; i++) {
        bool fit;
        TRY(fits(decision, &matches->catalog->containers[matches->items[i]], &fit));
        if (fit)
            selection->items[selection->count++] = matches->items[i];
    }
    return STATUS_OK;
}

enum status
process_choose_env(struct decision *decision, struct selection *selection)
{
    if (selection->count == 0)
        return STATUS_OK;
    return selection_choose_env(decision, selection->base[selection->items[0]].group->env,
                                &process_input(decision)->env, selection);
}

/* Steps 2 to 4 of create_container. */
enum status
process_select_create(struct decision *decision, const struct cell_value *container,
                      struct selection *selection)
{
    TRY(process_select_mounted(decision, container->is_present ? container->matches : NULL,
                               process_create_fits, selection));
    TRY(process_choose_env(decision, selection));
    if (process_is_linux(decision) && selection->count)
        TRY(linux_choose_capabilities(decision, process_input(decision)->linux_process->privileged,
                                      selection));
    return STATUS_OK;
}

enum status
process_select_exec(struct decision *decision, const struct cell_value *container,
                    struct selection *selection)
{
    TRY(process_select_mounted(decision, container->is_present ? container->matches : NULL, process_exec_fits,
                               selection));
    if (process_input(decision)->env.absent)
        selection->count = 0;
    TRY(process_choose_env(decision, selection));
    if (process_is_linux(decision) && selection->count)
        TRY(linux_choose_capabilities(decision, container->is_privileged, selection));
    return STATUS_OK;
}

enum status
process_select_external(struct decision *decision, struct selection *selection)
{
    const struct catalog *catalog = decision->store->catalog;

    TRY(selection_init(decision, catalog->processes, catalog->processes_count, selection));
    for (size_t i = 0; i < catalog->processes_count; i++) {
        bool fit;
        TRY(process_external_fits(decision, &catalog->processes[i], &fit));
        if (fit)
            selection->items[selection->count++] = (uint32_t)i;
    }
    if (process_input(decision)->env.absent)
        selection->count = 0;
    if (selection->count == 0)
        return STATUS_OK;
    return selection_choose_env(decision, catalog->processes_env, &process_input(decision)->env, selection);
}
