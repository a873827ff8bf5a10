/*
 * Starting programs: posix_spawn with everything closed but the three standard streams, every signal at its
 * default and unblocked.
 */
#ifndef SERVER_INBOX_SPAWN_H
#define SERVER_INBOX_SPAWN_H

#include <stdbool.h>
#include <sys/types.h>

#include "server/base/error.h"

struct spawn_options {
    const char *path;      /* of the program; absolute */
    char *const *argv;     /* ends with NULL */
    char *const *envp;     /* ends with NULL */
    const char *directory; /* to start in; NULL: ours */
    const int *ends;       /* descriptors 0, 1, 2; borrowed */
    const char *terminal;  /* path of the terminal that becomes 0, 1, 2 and the controlling one, not `ends` */
    bool session;          /* in a session and process group of its own */
};

/* NOT_FOUND or FAILED_PRECONDITION when the program or the directory is missing or may not be used. */
MUST_CHECK enum status spawn(const struct spawn_options *options, pid_t *ret, struct error *err);

#endif
