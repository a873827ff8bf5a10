/*
 * A guest of real processes: gcs-inbox with the fake runtime and gcs-sidecar with the fake volumes, as they
 * are shipped, over ipc:// in a directory of their own, and a host connected to them. Needs no root.
 *
 *     static void
 *     what_must_hold(void **state)
 *     {
 *         struct guest *guest = *state;
 *         uint32_t process = host_run(guest->host, 0);   -- tests/host/host.h: what hosts do
 *         program_kill(&guest->inbox);                   -- tests/faults/program.h: what becomes of programs
 *         ...
 *         guest_start_inbox(guest);
 *         assert_true(host_wait_connected(guest->host, true));
 *     }
 *     ... cmocka_unit_test_setup_teardown(what_must_hold, guest_setup, guest_teardown)
 *
 * The policy is the seed's, made to fit: it knows one container, `ping -t 127.0.0.1` with at most the one
 * mount of the seed and one like it at GUEST_LATER, which may be created any number of times, and lets it
 * exec what GUEST_EXECS lists, which are the fake runtime's words (server/inbox/runtime_fake.c) and `cmd`,
 * which runs until it is killed.
 *
 * Teardown ends both programs in order and fails the test when one does not exit with 0, which is what a
 * sanitizer's report looks like; the programs' logs are printed then. It removes the directory.
 *
 * Threads: the test's main thread, as in tests/faults/program.h.
 */
#ifndef TESTS_FAULTS_GUEST_H
#define TESTS_FAULTS_GUEST_H

#include "tests/faults/guest_resources.h"
#include "tests/faults/program.h"
#include "tests/host/host.h"
#include "tests/host/run_directory.h"
#include "tests/host/seed_policy.h"

/* The argument vectors that the policy allows as execs, as its text has them. */
#define GUEST_EXECS                                                                                          \
    "[\"cmd\"]", "[\"cat\"]", "[\"hold\"]", "[\"stubborn\"]", "[\"exit\", \"0\"]", "[\"exit\", \"7\"]",      \
        "[\"echo\", \"hello\"]", "[\"bytes\", \"1000\"]", "[\"bytes\", \"1048576\"]",                        \
        "[\"bytes\", \"33554432\"]", "[\"bytes\", \"1073741824\"]", "[\"create-slow\"]",                     \
        "[\"create-fails\"]", "[\"sleep\", \"1000\"]"

/* Where the policy allows a second mount. */
#define GUEST_LATER "/later"

struct guest {
    char directory[RUN_DIRECTORY_BYTES];
    char url[128], inbox_url[128];                          /* where the sidecar and the inbox listen */
    char run_dir[96], sandbox[96], layers[96], volumes[96]; /* the inbox's, and the sidecar's */
    struct seed_layers seed;
    /* Further arguments for the next start, NULL at the end; NULL: none. The last of two that differ counts. */
    const char *const *sidecar_args, *const *inbox_args;
    struct program sidecar, inbox;
    struct gcs_connection *host; /* NULL: none */
};

/* For cmocka: the directories and layers alone; both programs and a host without a policy; the same with the
 * policy set and the volume VOLUME_ID mounted, so that host_run() works. */
int guest_setup_files(void **state);
int guest_setup_programs(void **state);
int guest_setup(void **state);
int guest_teardown(void **state);

/* Starts both programs and connects guest->host: for tests that set arguments first. */
void guest_start(struct guest *guest);

/* Starts the program, also again after it has ended; returns at once. */
void guest_start_inbox(struct guest *guest);
void guest_start_sidecar(struct guest *guest);

/* A connection to the sidecar, which the caller ends with gcs_disconnect(). Fails the test without one. */
struct gcs_connection *guest_connect(struct guest *guest);

/* Ends guest->host's connection and opens another: what a host does when the sidecar was started anew. */
void guest_reconnect(struct guest *guest);

/* The policy's text; free() it. */
char *guest_policy_text(const struct guest *guest);

/* Sets it and mounts the volume: must work. */
void guest_set_policy(struct guest *guest);

#endif
