#include "server/inbox/command.h"

#include <signal.h>

#include "server/base/clock.h"

static void
time_is_over(struct timer *timer, void *arg)
{
    (void)timer;
    struct command *command = arg;
    struct error err;
    /* NOT_FOUND: it has just ended by itself. */
    enum status status = reaper_signal(command->reaper, &command->watch, SIGKILL, false, &err);
    (void)status;
}

static void
ended(void *arg, int exit_code)
{
    struct command *command = arg;
    timer_cancel_and_wait(&command->limit);
    command->done(command->arg, exit_code);
}

enum status
command_run(struct command *command, const struct spawn_options *options, struct reaper *reaper,
            struct timers *timers, uint32_t time_ms, command_done_fn *done, void *arg, struct error *err)
{
    *command = (struct command){.reaper = reaper, .done = done, .arg = arg};
    timer_init(&command->limit, timers, time_is_over, command);
    uint64_t mark = reaper_mark(reaper);
    pid_t pid;
    TRY(spawn(options, &pid, err));
    /* Before the watch: as soon as there is one, `ended` may run and the command be gone. Without memory for
     * the timer it runs without a limit, which is better than a child that nobody waits for. */
    enum status limited = timer_arm(&command->limit, clock_now_ns() + time_ms * NS_PER_MS);
    (void)limited;
    enum status watched = reaper_watch(reaper, &command->watch, pid, mark, ended, command, err);
    if (watched != STATUS_OK)
        timer_cancel_and_wait(&command->limit);
    return watched;
}
