/*
 * Fault injection: a program under test is started with a preloaded library (inject_preload.c) that makes one
 * of its calls into the C library fail, the k-th, as the kernel or the allocator could. What the test and the
 * library share is one small file, mapped by both; the program itself knows nothing of it.
 *
 *     struct inject *inject = inject_open(directory);
 *     inject_environment(inject, true);           -- for the programs that are started from here on
 *     guest_start_sidecar(guest);
 *     inject_environment(inject, false);
 *     inject_arm(inject, INJECT_CALLS, NULL, k, k);
 *     ... one request ...
 *     if (inject_disarm(inject)) ...              -- the k-th call was reached, and failed
 *
 * Only calls that the program's own code makes count, on whatever thread: those of the libraries it stands on
 * (nanomsg, OpenSSL) neither count nor fail. Calls that do not fail in practice do not count either: closing,
 * waking another thread, reading and writing what is no regular file.
 */
#ifndef TESTS_FAULTS_INJECT_H
#define TESTS_FAULTS_INJECT_H

#include <stdatomic.h>
#include <stdbool.h>

/* The environment variable that names the file. */
#define INJECT_VARIABLE   "GCS_TEST_INJECT"

#define INJECT_NAME_BYTES 32

/* What counts, as bits. */
enum inject_kinds {
    INJECT_CALLS = 1,  /* files, directories, descriptors, mounts, devices, threads, processes */
    INJECT_MEMORY = 2, /* malloc() and its like; never seen with ThreadSanitizer, whose own they are */
};

/* The file's content. Zero: nothing is counted and nothing fails. */
struct inject {
    atomic_bool armed; /* the rest is written before it turns true, by the test */
    unsigned kinds;
    unsigned first, last;         /* which of the counted calls fail, from 1; `first` 0: none */
    bool kills;                   /* instead of failing, the call kills the program, before it is made */
    char only[INJECT_NAME_BYTES]; /* count calls of these names alone, each between two '|'; "": all */

    atomic_uint seen, failed;     /* so far, since armed */
    char name[INJECT_NAME_BYTES]; /* the first call that failed */
};

/* Makes the file in `directory` and maps it. Fails the test when it cannot. Mapped until inject_close(). */
struct inject *inject_open(const char *directory);
void inject_close(struct inject *inject);

/* Whether programs started from now on have the library. */
void inject_environment(struct inject *inject, bool on);

/* Whether allocations of the programs count: not with ThreadSanitizer. */
bool inject_sees_memory(void);

/* Counts from now on, and lets calls `first` to `last` fail. only: "|unlinkat|openat|"; NULL: all calls. */
void inject_arm(struct inject *inject, unsigned kinds, const char *only, unsigned first, unsigned last);

/* The k-th of them kills the program (SIGKILL) before it is made. Calls between two of them need none of
 * their own: what a killed program leaves changes by calls alone. */
void inject_arm_kill(struct inject *inject, unsigned k);

/* Nothing fails any more. How many calls failed; inject->name is the first of them. */
unsigned inject_disarm(struct inject *inject);

#endif
