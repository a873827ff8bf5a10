/*
 * The subcommands of gcs-policy. A new one is a file, a declaration here and a row of the table in main.c.
 *
 * Each gets its own argv, argv[0] being its name for usage texts, and returns the exit status: 0 as asked, 1
 * the answer is no (a policy refused, a test failed), 2 it could not be asked (bad usage, unreadable file).
 */
#ifndef CLIENT_GCS_POLICY_COMMAND_H
#define CLIENT_GCS_POLICY_COMMAND_H

#include <stddef.h>

enum { EXIT_AS_ASKED = 0, EXIT_ANSWER_NO = 1, EXIT_CANNOT_ASK = 2 };

typedef int command_fn(int argc, char **argv);

command_fn command_eval, command_test, command_check, command_explain, command_replay;

/* Reads a policy or a steps file whole; on failure says why on standard error and returns NULL. */
char *command_read_file(const char *path, size_t *size);

#endif
