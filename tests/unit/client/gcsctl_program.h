/*
 * gcsctl as a program, against a guest that the test plays (gcsctl_guest.h). What the tests of its commands
 * share.
 *
 * The functions assert: for the test's own thread. Every wait has a deadline.
 */
#ifndef TESTS_UNIT_CLIENT_GCSCTL_PROGRAM_H
#define TESTS_UNIT_CLIENT_GCSCTL_PROGRAM_H

#include <stddef.h>
#include <sys/types.h>

#include "tests/unit/client/gcsctl_guest.h"

#define COUNT(array) (sizeof(array) / sizeof(array)[0])
#define SEED         "tests/fixtures/containers/seed.json"
#define INTERACTIVE  "tests/fixtures/containers/interactive.json"
#define POLICY       "tests/fixtures/containers/seed.rego"
#define ID           "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"

/* {"decision":"deny","input":{"rule":"RULE"},"reason":{"errors":["invalid command"]}} */
#define DENIED_CREATE                                                                                        \
    "CreateContainer operation is denied by policy: policyDecision< "                                        \
    "eyJkZWNpc2lvbiI6ImRlbnkiLCJpbnB1dCI6eyJydWxlIjoiY3JlYXRlX2NvbnRhaW5lciJ9LCJyZWFzb24iOnsiZXJyb3JzIjpbIm" \
    "ludmFs"                                                                                                 \
    "aWQgY29tbWFuZCJdfX0= >policyDecision"
struct gcsctl {
    struct guest *guest;
    pid_t pid;
    int input_fd; /* gcsctl's standard input; -1: the file "stdin", if there is one */
    int status;   /* as waitpid() gives it */
    char *output, *error_output, *log, *input;
};

/* For cmocka: nothing is started yet. gcsctl_teardown() ends what the test has left. */
int gcsctl_setup(void **state);
int gcsctl_teardown(void **state);

/* Starts the guest. */
void gcsctl_guest_is(struct gcsctl *gcsctl, const struct guest_behaviour *behaviour);

/* Starts gcsctl with these words after its options, up to a NULL; its input is the file "stdin" in the
 * guest's directory or empty. output_fd: its standard output, or -1 for a file. */
void gcsctl_begin_to(struct gcsctl *gcsctl, const char *const *words, int output_fd);
void gcsctl_begin(struct gcsctl *gcsctl, const char *const *words);

/* Waits for gcsctl's end and collects what there is to look at. Returns its exit code. */
int gcsctl_finish(struct gcsctl *gcsctl);

/* Frees what gcsctl_finish() collected, so that another program can be begun. */
void gcsctl_forget(struct gcsctl *gcsctl);

/* Another guest for the next row of a table. */
struct gcsctl *gcsctl_again(void **state);

/* A file in the guest's directory. */
void gcsctl_path(struct gcsctl *gcsctl, char path[128], const char *name);

void assert_says(const char *text, const char *what);

#endif
