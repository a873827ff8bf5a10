/*
 * The processes of one benchmark run and the directory they share: a server and a client in one process would
 * measure something else.
 */
#ifndef BENCH_LATENCY_CHILDREN_H
#define BENCH_LATENCY_CHILDREN_H

#include <stddef.h>
#include <sys/types.h>

#include "server/base/error.h"

/* As many as a run starts, with a margin. */
#define CHILDREN_MAX 8

struct child {
    pid_t pid;
    const char *name; /* static text */
};

struct children {
    char directory[64]; /* of the run, mode 0700: sockets, logs, and what the programs make */
    struct child list[CHILDREN_MAX];
    size_t count;
};

/*
 * Makes the run's directory.
 *
 * parent  where; NULL: /dev/shm, as a guest's run directory is in memory too, or /tmp where there is none
 *
 * INVALID_ARGUMENT when a socket's address would have no room for the path.
 */
MUST_CHECK enum status children_init(struct children *children, const char *parent, struct error *err);

/* Ends every child (SIGTERM; SIGKILL after ten seconds) and removes the directory. */
void children_done(struct children *children);

/*
 * Starts a program. What it writes goes to NAME.log in the run's directory. It ends when this process does,
 * however that comes.
 *
 * name     static text
 * program  the file's name beside this executable; NULL: this executable
 * argv     ends in NULL; argv[0] included
 */
MUST_CHECK enum status children_start(struct children *children, const char *name, const char *program,
                                      const char *const *argv, struct error *err);

/* INTERNAL, with the end of its log, when a child has ended by itself. */
MUST_CHECK enum status children_check(struct children *children, struct error *err);

#endif
