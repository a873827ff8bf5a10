/* A directory of a test's own, below $TMPDIR or /tmp: short enough that sockets in it have a valid
 * address. */
#ifndef TESTS_HOST_RUN_DIRECTORY_H
#define TESTS_HOST_RUN_DIRECTORY_H

#define RUN_DIRECTORY_BYTES 80

/* Makes it, mode 0700, and writes its path. name: what the test is, at most 20 bytes of it are used. */
void run_directory_make(char path[RUN_DIRECTORY_BYTES], const char *name);

/* Removes it with all that is in it; stays on its file system. What is gone already is fine. */
void run_directory_remove(const char *path);

#endif
