/*
 * One program under test as a process of its own. What it writes goes to a file. The kernel kills it when the
 * test's process ends, however that comes, so a test that crashes leaves nothing running.
 *
 * Threads: the test's main thread alone: a program dies with the thread that started it.
 */
#ifndef TESTS_FAULTS_PROGRAM_H
#define TESTS_FAULTS_PROGRAM_H

#include <stdbool.h>
#include <sys/types.h>

/* How long a program may take to end; after that it is killed and the test fails. */
#define PROGRAM_PATIENCE_MS 60000

/* Zero is "does not run". */
struct program {
    pid_t pid;     /* 0: does not run */
    int pidfd;     /* readable when it has ended; valid while pid is */
    char log[128]; /* path of what it wrote to standard output and error, all runs of it */
};

/*
 * Starts `path`. The file `log` is appended to.
 *
 * argv  ends in NULL; argv[0] is replaced by the path
 *
 * Fails the test when the program cannot be started.
 */
void program_start(struct program *program, const char *path, const char *const *argv, const char *log);

/* Sends it a signal. It must run. */
void program_signal(const struct program *program, int number);

/* Stops it (SIGSTOP) and waits until every thread stands: none of them handles what comes from now on. */
void program_pause(const struct program *program);

/* Lets it go on (SIGCONT). */
void program_resume(const struct program *program);

/* Whether it has not ended by itself. */
bool program_runs(const struct program *program);

/* Waits for the end: the exit code, or -N when signal N ended it. -SIGKILL as well when it had to be killed
 * for not ending in PROGRAM_PATIENCE_MS, which is said aloud. The program does not run any more. */
int program_end(struct program *program);

/* SIGKILL, and waits. One that does not run is fine. */
void program_kill(struct program *program);

/* SIGTERM, and waits: the exit code, as program_end() says. */
int program_terminate(struct program *program);

/* Whether it has written `text`, in all its runs. */
bool program_log_has(const struct program *program, const char *text);

/* Prints the last lines it wrote. */
void program_print_log(const struct program *program);

#endif
