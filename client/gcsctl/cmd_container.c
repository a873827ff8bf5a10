/* Commands about one container. */
#include <inttypes.h>
#include <string.h>

#include "client/gcsctl/command.h"
#include "client/gcsctl/enum_name.h"
#include "client/gcsctl/identity.h"
#include "client/gcsctl/init_process.h"
#include "client/spec/spec.h"

#define SPEC_ARENA (16 * 1024 * 1024)

int
command_create(struct tool *tool, const struct arguments *arguments)
{
    struct arena arena;
    arena_init(&arena, SPEC_ARENA);
    struct identity identity;
    struct cri_container container;
    Gcs__V1__Spec *spec = NULL;
    struct error local;
    struct gcs_error err = {0};
    int result;

    enum status status = arguments->id != NULL ? identity_of(arguments->id, &identity, &local)
                                               : identity_random(&identity, &local);
    if (status == STATUS_OK)
        status = cri_container_load(arguments->items[0], &arena, &container, &local);
    if (status == STATUS_OK)
        status = spec_from_cri(&container, &arena, &spec, &local);
    if (status == STATUS_OK && arguments->network != NULL)
        spec->network_namespace = (char *)(uintptr_t)arguments->network;
    if (status != STATUS_OK)
        result = tool_fail_local(tool, "create", &local);
    else if (gcs_create(tool->conn, identity.id, spec, &err) != GCS_OK)
        result = tool_fail(tool, "create", &err);
    else
        result = tool_result(tool, json_pack("{s:s}", "container_id", identity.id), "%s", identity.id);
    arena_done(&arena);
    return result;
}

int
command_start(struct tool *tool, const struct arguments *arguments)
{
    uint32_t process_id;
    struct gcs_error err = {0};
    if (gcs_start(tool->conn, arguments->items[0], &process_id, &err) != GCS_OK)
        return tool_fail(tool, "start", &err);
    return tool_result(tool, json_pack("{s:I}", "process_id", (json_int_t)process_id), "%u", process_id);
}

int
command_wait(struct tool *tool, const struct arguments *arguments)
{
    uint32_t process_id;
    int failed = process_of_arguments(tool, "wait", arguments, &process_id);
    if (failed != EXIT_STATUS_OK)
        return failed;
    struct gcs_exit outcome;
    struct gcs_error err = {0};
    if (gcs_wait(tool->conn, arguments->items[0], process_id,
                 tool->timeout_given ? tool->timeout_ms : GCS_WAIT_FOREVER, &outcome, &err) != GCS_OK)
        return tool_fail(tool, "wait", &err);
    (void)tool_result(tool,
                      json_pack("{s:I, s:I, s:b}", "process_id", (json_int_t)process_id, "exit_code",
                                (json_int_t)outcome.code, "exit_code_unknown", outcome.code_unknown),
                      outcome.code_unknown ? "ended; nobody saw how" : "%u", outcome.code);
    return outcome.code_unknown ? EXIT_STATUS_FAILED : (int)(outcome.code & 0xff);
}

static const struct {
    const char *name, *alias;
    Gcs__V1__Signal signal;
} signals[] = {
    {"Terminate", "KILL", GCS__V1__SIGNAL__SIGNAL_TERMINATE},
    {"CtrlC", "INT", GCS__V1__SIGNAL__SIGNAL_CTRL_C},
    {"CtrlBreak", "QUIT", GCS__V1__SIGNAL__SIGNAL_CTRL_BREAK},
    {"CtrlClose", "HUP", GCS__V1__SIGNAL__SIGNAL_CTRL_CLOSE},
    {"CtrlLogOff", NULL, GCS__V1__SIGNAL__SIGNAL_CTRL_LOG_OFF},
    {"CtrlShutdown", "TERM", GCS__V1__SIGNAL__SIGNAL_CTRL_SHUTDOWN},
};

/* The Windows names, and the POSIX ones with or without SIG. */
static bool
signal_parse(const char *name, Gcs__V1__Signal *ret)
{
    const char *alias = strncmp(name, "SIG", 3) == 0 ? name + 3 : name;
    for (size_t i = 0; i < sizeof(signals) / sizeof(signals[0]); i++) {
        if (strcmp(name, signals[i].name) == 0 ||
            (signals[i].alias != NULL && strcmp(alias, signals[i].alias) == 0)) {
            *ret = signals[i].signal;
            return true;
        }
    }
    return false;
}

int
command_kill(struct tool *tool, const struct arguments *arguments)
{
    Gcs__V1__Signal signal = GCS__V1__SIGNAL__SIGNAL_TERMINATE;
    if (arguments->signal != NULL && !signal_parse(arguments->signal, &signal)) {
        struct error local;
        (void)error_set(&local, STATUS_INVALID_ARGUMENT, 0, "'%s' is no signal", arguments->signal);
        return tool_fail_local(tool, "kill", &local);
    }
    uint32_t process_id;
    int failed = process_of_arguments(tool, "kill", arguments, &process_id);
    if (failed != EXIT_STATUS_OK)
        return failed;
    struct gcs_error err = {0};
    if (gcs_signal(tool->conn, arguments->items[0], process_id, signal, &err) != GCS_OK)
        return tool_fail(tool, "kill", &err);
    return tool_result(tool, json_pack("{s:I}", "process_id", (json_int_t)process_id), "sent to process %u",
                       process_id);
}

static json_t *
process_json(const Gcs__V1__ProcessDetails *process)
{
    return json_pack("{s:I, s:I, s:s, s:b, s:b, s:I, s:I, s:I, s:I, s:I, s:I}", "process_id",
                     (json_int_t)process->process_id, "pid", (json_int_t)process->pid, "image_name",
                     process->image_name, "is_init", process->is_init, "exited", process->exited,
                     "user_time_us", (json_int_t)process->user_time_us, "kernel_time_us",
                     (json_int_t)process->kernel_time_us, "memory_bytes", (json_int_t)process->memory_bytes,
                     "memory_shared_bytes", (json_int_t)process->memory_shared_bytes, "memory_commit_bytes",
                     (json_int_t)process->memory_commit_bytes, "created_us", (json_int_t)process->created_us);
}

int
command_ps(struct tool *tool, const struct arguments *arguments)
{
    uint64_t first = 0;
    if (!tool->json)
        printf("%8s %8s %-7s %12s %12s  %s\n", "PROCESS", "PID", "STATE", "CPU-US", "MEMORY", "NAME");
    do {
        struct gcs_error err = {0};
        Gcs__V1__Response *response = NULL;
        if (gcs_list_processes(tool->conn, arguments->items[0], first, &response, &err) != GCS_OK)
            return tool_fail(tool, "ps", &err);
        const Gcs__V1__GetPropertiesResponse *properties = response->get_properties;
        for (size_t i = 0; i < properties->n_processes; i++) {
            const Gcs__V1__ProcessDetails *process = properties->processes[i];
            (void)tool_result(tool, process_json(process), "%8u %8u %-7s %12" PRIu64 " %12" PRIu64 "  %s%s",
                              process->process_id, process->pid, process->exited ? "exited" : "running",
                              process->user_time_us + process->kernel_time_us, process->memory_bytes,
                              process->image_name, process->is_init ? " (init)" : "");
        }
        first = properties->next_process;
        gcs_response_free(response);
    } while (first != 0);
    return EXIT_STATUS_OK;
}

/* The statistics as name and number, for both forms of output. */
struct figure {
    const char *name;
    uint64_t value;
};
#define FIGURES 14

static void
figures_fill(const Gcs__V1__Statistics *statistics, struct figure figures[FIGURES])
{
    const struct figure all[FIGURES] = {
        {"start_time_us", statistics->start_time_us},
        {"uptime_us", statistics->uptime_us},
        {"cpu_total_ns", statistics->cpu_total_ns},
        {"cpu_user_ns", statistics->cpu_user_ns},
        {"cpu_kernel_ns", statistics->cpu_kernel_ns},
        {"memory_bytes", statistics->memory_bytes},
        {"memory_peak_bytes", statistics->memory_peak_bytes},
        {"memory_working_set_bytes", statistics->memory_working_set_bytes},
        {"memory_limit_bytes", statistics->memory_limit_bytes},
        {"storage_read_count", statistics->storage_read_count},
        {"storage_read_bytes", statistics->storage_read_bytes},
        {"storage_write_count", statistics->storage_write_count},
        {"storage_write_bytes", statistics->storage_write_bytes},
        {"processes", statistics->processes},
    };
    memcpy(figures, all, sizeof(all));
}

int
command_props(struct tool *tool, const struct arguments *arguments)
{
    const Gcs__V1__PropertyType types[] = {GCS__V1__PROPERTY_TYPE__PROPERTY_TYPE_SYSTEM_GUID,
                                           GCS__V1__PROPERTY_TYPE__PROPERTY_TYPE_STATISTICS};
    struct gcs_error err = {0};
    Gcs__V1__Response *response = NULL;
    if (gcs_get_properties(tool->conn, arguments->items[0], types, 2, &response, &err) != GCS_OK)
        return tool_fail(tool, "props", &err);

    static const Gcs__V1__Statistics none = GCS__V1__STATISTICS__INIT;
    const Gcs__V1__GetPropertiesResponse *properties = response->get_properties;
    struct figure figures[FIGURES];
    figures_fill(properties->statistics != NULL ? properties->statistics : &none, figures);
    json_t *object = json_pack("{s:s, s:s}", "system_id", properties->system_id, "state",
                               container_state_name(properties->state));
    for (size_t i = 0; i < FIGURES; i++)
        json_object_set_new(object, figures[i].name, json_integer((json_int_t)figures[i].value));
    (void)tool_result(tool, object, "%-24s %s\n%-24s %s", "system_id", properties->system_id, "state",
                      container_state_name(properties->state));
    for (size_t i = 0; i < FIGURES && !tool->json; i++)
        printf("%-24s %" PRIu64 "\n", figures[i].name, figures[i].value);
    gcs_response_free(response);
    return EXIT_STATUS_OK;
}

int
command_shutdown(struct tool *tool, const struct arguments *arguments)
{
    struct gcs_error err = {0};
    if (gcs_shutdown(tool->conn, arguments->items[0], arguments->force, &err) != GCS_OK)
        return tool_fail(tool, "shutdown", &err);
    return tool_result(tool, json_pack("{s:s}", "container_id", arguments->items[0]), "%s",
                       arguments->force ? "every process is killed" : "init is asked to end");
}

int
command_delete(struct tool *tool, const struct arguments *arguments)
{
    struct gcs_error err = {0};
    if (gcs_delete(tool->conn, arguments->items[0], &err) != GCS_OK)
        return tool_fail(tool, "delete", &err);
    return tool_result(tool, json_pack("{s:s}", "deleted", arguments->items[0]), "deleted");
}
