/* The table of commands and what may stand on each one's command line. */
#include "client/gcsctl/command.h"

#include <string.h>

#define NO_MORE                                                                                              \
    {                                                                                                        \
        0                                                                                                    \
    }

static const struct argp_option no_options[] = {NO_MORE};

static const struct argp_option run_options[] = {
    {"policy", OPTION_POLICY, "FILE", 0, "Set this policy first, if the guest has none yet", 0},
    {"layer", OPTION_LAYER, "FILE", 0, "A layer, base first; the guest looks for its last component", 0},
    {"id", OPTION_ID, "ID", 0, "64 lower-case hexadecimal digits instead of random ones", 0},
    {"keep", OPTION_KEEP, NULL, 0, "Leave container, scratch and layers in the guest", 0},
    NO_MORE,
};
static const struct argp_option create_options[] = {
    {"id", OPTION_ID, "ID", 0, "64 lower-case hexadecimal digits instead of random ones", 0},
    NO_MORE,
};
static const struct argp_option layers_options[] = {
    {"id", OPTION_ID, "ID", 0,
     "The container that is to have them (default: any; combine asks the policy again)", 0},
    NO_MORE,
};
static const struct argp_option exec_options[] = {
    {"tty", OPTION_TTY, NULL, 0, "A terminal for the process", 0},
    {"interactive", OPTION_INPUT, NULL, 0, "Pass standard input", 0},
    {"detach", OPTION_DETACH, NULL, 0, "Print the process id and leave it running", 0},
    {"guest", OPTION_GUEST, NULL, 0, "Run in the guest itself, outside of any container", 0},
    {"config", OPTION_CONFIG, "CONTAINER.json", 0, "Environment, directory and user as this container has",
     0},
    {"env", OPTION_ENV, "NAME=VALUE", 0, "A variable; a PATH is added if there is none", 0},
    {"cwd", OPTION_CWD, "DIRECTORY", 0, "Working directory (default C:\\)", 0},
    {"user", OPTION_USER, "UID[:GID]", 0, "User (default: the container's)", 0},
    NO_MORE,
};
static const struct argp_option kill_options[] = {
    {"signal", OPTION_SIGNAL, "NAME", 0,
     "Terminate (default), CtrlC, CtrlBreak, CtrlClose, CtrlLogOff or CtrlShutdown; or KILL, INT, QUIT, HUP, "
     "TERM",
     0},
    NO_MORE,
};
static const struct argp_option mount_options[] = {
    {"option", OPTION_MOUNT_OPTION, "OPTION", 0, "An option; several times (default rbind, rprivate, rw)", 0},
    NO_MORE,
};
static const struct argp_option shutdown_options[] = {
    {"force", OPTION_FORCE, NULL, 0, "Kill every process instead of asking init to end", 0},
    NO_MORE,
};
static const struct argp_option scratch_options[] = {
    {"size", OPTION_SIZE, "BYTES", 0, "Most bytes it may hold (default: half of the guest's memory)", 0},
    NO_MORE,
};
static const struct argp_option top_options[] = {
    {"once", OPTION_ONCE, NULL, 0, "Print the table once; CPU is since each container's start then", 0},
    {"interval", OPTION_INTERVAL, "SECONDS", 0, "From one look to the next, 1 to 3600 (default 2)", 0},
    NO_MORE,
};
static const struct argp_option call_options[] = {
    {"list", OPTION_LIST, NULL, 0, "Name every method and what decides on it; needs no guest", 0},
    {"id", OPTION_ID, "ID", 0, "The container that the request is about", 0},
    NO_MORE,
};
static const struct argp_option events_options[] = {
    {"follow", OPTION_FOLLOW, NULL, 0, "Wait for more, until interrupted", 0},
    {"after", OPTION_AFTER, "NUMBER", 0, "Only events after this one", 0},
    NO_MORE,
};
static const struct argp_option logs_options[] = {
    {"stderr", OPTION_STDERR, NULL, 0, "Its error instead of its output", 0},
    {"follow", OPTION_FOLLOW, NULL, 0, "Wait for more, until the stream ends", 0},
    {"after", OPTION_AFTER, "OFFSET", 0, "Begin at this byte; the guest may forget what lies before", 0},
    NO_MORE,
};

const struct command commands[] = {
    {.name = "run",
     .usage = "CONTAINER.json",
     .summary = "Bring a container up, pass its streams, take it down",
     .details =
         "Verifies the layers, sets up scratch and root file system, creates and starts the container, and "
         "takes all of it back when the container has ended, when a step failed, and on SIGINT or SIGTERM: "
         "the "
         "first is passed on to the container, after ten seconds or with a second one it is ended by force.",
     .options = run_options,
     .least = 1,
     .most = 1,
     .runs_process = true,
     .run = command_run},
    {.name = "ping",
     .usage = "",
     .summary = "See whether the guest answers, and how fast",
     .options = no_options,
     .run = command_ping},
    {.name = "health",
     .usage = "",
     .summary = "Ask the guest whether it is ready, and if not why",
     .options = no_options,
     .run = command_health},
    {.name = "metrics",
     .usage = "",
     .summary = "Print what the guest has counted, as Prometheus takes it",
     .options = no_options,
     .run = command_metrics},
    {.name = "stacks",
     .usage = "",
     .summary = "Print what each thread of the guest's programs is doing",
     .options = no_options,
     .run = command_stacks},
    {.name = "policy",
     .verb = "set",
     .usage = "FILE",
     .summary = "Set the security policy, once in a guest's life",
     .options = no_options,
     .least = 1,
     .most = 1,
     .run = command_policy_set},
    {.name = "layers",
     .verb = "add",
     .usage = "VOLUME FILE...",
     .summary = "Mount verified layers, base first, as a volume",
     .options = layers_options,
     .least = 2,
     .most = SIZE_MAX,
     .run = command_layers_add},
    {.name = "layers",
     .verb = "remove",
     .usage = "VOLUME",
     .summary = "Unmount a volume that nobody uses",
     .options = no_options,
     .least = 1,
     .most = 1,
     .run = command_layers_remove},
    {.name = "scratch",
     .verb = "add",
     .usage = "TARGET",
     .summary = "Set up writable storage in guest memory",
     .options = scratch_options,
     .least = 1,
     .most = 1,
     .run = command_scratch_add},
    {.name = "scratch",
     .verb = "remove",
     .usage = "TARGET",
     .summary = "Remove writable storage",
     .options = no_options,
     .least = 1,
     .most = 1,
     .run = command_scratch_remove},
    {.name = "combine",
     .usage = "ID SCRATCH VOLUME",
     .summary = "Make a container's root: scratch over volume",
     .options = no_options,
     .least = 3,
     .most = 3,
     .run = command_combine},
    {.name = "uncombine",
     .usage = "ID SCRATCH VOLUME",
     .summary = "Take a container's root apart",
     .options = no_options,
     .least = 3,
     .most = 3,
     .run = command_uncombine},
    {.name = "create",
     .usage = "CONTAINER.json",
     .summary = "Create a container; its root is combined before",
     .details = "Prints the container's id.",
     .options = create_options,
     .least = 1,
     .most = 1,
     .run = command_create},
    {.name = "start",
     .usage = "ID",
     .summary = "Run a created container's init process",
     .details = "Prints the process's id.",
     .options = no_options,
     .least = 1,
     .most = 1,
     .run = command_start},
    {.name = "exec",
     .usage = "ID -- ARGV...\n--guest -- ARGV...",
     .summary = "Run another process, pass its streams; exits as it did",
     .details = "ARGV is an argument vector; no shell looks at it.",
     .options = exec_options,
     .least = 1,
     .most = SIZE_MAX,
     .takes_argv = true,
     .runs_process = true,
     .run = command_exec},
    {.name = "wait",
     .usage = "ID [PROCESS]",
     .summary = "Wait for the end of a process; exits as it did",
     .details = "Without PROCESS: init. --timeout limits the wait when it is given.",
     .options = no_options,
     .least = 1,
     .most = 2,
     .run = command_wait},
    {.name = "kill",
     .usage = "ID [PROCESS]",
     .summary = "Send a signal to a process (without PROCESS: init)",
     .options = kill_options,
     .least = 1,
     .most = 2,
     .run = command_kill},
    {.name = "mount",
     .usage = "ID SOURCE DESTINATION",
     .summary = "Add a mapped directory to a running container",
     .details = "SOURCE is a sandbox mount, sandbox:///a/b. The mount rules of the policy decide.",
     .options = mount_options,
     .least = 3,
     .most = 3,
     .run = command_mount},
    {.name = "ps",
     .usage = "ID",
     .summary = "List a container's processes",
     .options = no_options,
     .least = 1,
     .most = 1,
     .run = command_ps},
    {.name = "props",
     .usage = "ID",
     .summary = "Show a container's state and statistics",
     .options = no_options,
     .least = 1,
     .most = 1,
     .run = command_props},
    {.name = "logs",
     .usage = "ID [PROCESS]",
     .summary = "Print what the guest keeps of a process's output",
     .options = logs_options,
     .least = 1,
     .most = 2,
     .run = command_logs},
    {.name = "close",
     .usage = "stdin|stdout|stderr ID [PROCESS]",
     .summary = "End a process's input, or discard its output from now on",
     .details = "The process never waits for a reader of an output that is closed; nobody can read it again.",
     .options = no_options,
     .least = 2,
     .most = 3,
     .run = command_close},
    {.name = "shutdown",
     .usage = "ID",
     .summary = "Ask a container to end",
     .options = shutdown_options,
     .least = 1,
     .most = 1,
     .run = command_shutdown},
    {.name = "delete",
     .usage = "ID",
     .summary = "Forget a container that has ended or was never started",
     .options = no_options,
     .least = 1,
     .most = 1,
     .run = command_delete},
    {.name = "events",
     .usage = "",
     .summary = "Print the guest's events, one a line",
     .details =
         "With --follow it outlives the guest: it waits until it is back and goes on after the last event, "
         "or with the first of a guest that was started anew. SIGINT and SIGTERM end it in order.",
     .options = events_options,
     .takes_signals = command_events_takes_signals,
     .run = command_events},
    {.name = "top",
     .usage = "[ID...]",
     .summary = "Watch the guest and its containers",
     .details =
         "A table that is drawn anew until q, SIGINT or SIGTERM; with --json a line each time. Without ID: "
         "the containers of the events that the guest keeps, which followers of events let it forget.",
     .options = top_options,
     .least = 0,
     .most = SIZE_MAX,
     .takes_signals = command_top_takes_signals,
     .run = command_top},
    {.name = "call",
     .usage = "METHOD [JSON]\n--list",
     .summary = "Make any request by hand, and print the answer as JSON",
     .details =
         "JSON is the request's body by the schema's names, {} without it, and standard input with -: bytes "
         "as base64, enum values by name. What is wrong with it is said with the field's path.",
     .options = call_options,
     .least = 0,
     .most = 2,
     .is_local = command_call_is_local,
     .run = command_call},
};
const size_t commands_count = sizeof(commands) / sizeof(commands[0]);

const struct command *
command_find(int argc, char **argv, int *words)
{
    for (size_t i = 0; i < commands_count; i++) {
        const struct command *command = &commands[i];
        if (strcmp(argv[0], command->name) != 0)
            continue;
        if (command->verb != NULL && (argc < 2 || strcmp(argv[1], command->verb) != 0))
            continue;
        *words = command->verb != NULL ? 2 : 1;
        return command;
    }
    return NULL;
}
