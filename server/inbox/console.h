/*
 * The console socket: where an OCI runtime hands over the master side of a new terminal.
 *
 * Threads: no state but the descriptors. Nothing here blocks but the file system.
 */
#ifndef SERVER_INBOX_CONSOLE_H
#define SERVER_INBOX_CONSOLE_H

#include "server/base/error.h"

#define CONSOLE_PATH_MAX 108

/*
 * Listens on a socket named `name` in the directory `dir_fd`.
 *
 * ret_path  a path to it for the runtime: through /proc and the descriptor, since a socket's path has at most
 *           107 bytes and the inbox's directory may be anywhere; good while dir_fd is open
 * ret       the listening descriptor, the caller's
 */
MUST_CHECK enum status console_listen(int dir_fd, const char *name, char ret_path[CONSOLE_PATH_MAX], int *ret,
                                      struct error *err);

/* Receives the master from a runtime that has connected and sent it. UNAVAILABLE when it has not. */
MUST_CHECK enum status console_receive(int listen_fd, int *ret_master, struct error *err);

/* A new terminal of our own: its master (close-on-exec) and the other side's path. */
MUST_CHECK enum status console_open(int *ret_master, char ret_path[CONSOLE_PATH_MAX], struct error *err);

#endif
