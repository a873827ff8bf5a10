/*
 * Paths below the inbox's directory.
 */
#ifndef SERVER_INBOX_RUN_PATH_H
#define SERVER_INBOX_RUN_PATH_H

/* Most bytes of the directory's own path, checked when it is opened; what is below needs far less than the
 * rest. */
#define RUN_DIR_BYTES_MAX 2048
#define RUN_PATH_MAX      4096

/* Writes `run_dir`, a slash, and the formatted text. */
void run_path(const char *run_dir, char ret[RUN_PATH_MAX], const char *format, ...)
    __attribute__((format(printf, 3, 4)));

#endif
