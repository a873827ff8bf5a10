/*
 * What a guest holds of the machine, to compare before and after: nothing may be left of what failed.
 */
#ifndef TESTS_FAULTS_GUEST_RESOURCES_H
#define TESTS_FAULTS_GUEST_RESOURCES_H

#include <stddef.h>
#include <sys/types.h>

struct guest;

struct process_resources {
    size_t descriptors, threads; /* all 0: it does not run */
    size_t rss_kib;              /* resident memory */
};

struct guest_resources {
    struct process_resources sidecar, inbox;
    size_t run_entries; /* in the directories of the inbox's run directory, which it makes when it first needs
                           them */
    size_t sandbox_entries; /* below the sandbox root, at any depth */
    size_t volume_entries;  /* below the directory of volumes, at any depth */
    size_t mounts;          /* mount points below the guest's directory */
    size_t loops; /* loop devices over a verified layer, of the whole machine: a figure to look at only
                     where no other test mounts layers at the same time */
};

/* What one process holds; a pid of 0 holds nothing. */
struct process_resources process_resources(pid_t pid);

struct guest_resources guest_resources(const struct guest *guest);

/*
 * The same, once it does not change any more from one request to the next: what was ended before, a connection
 * say, is given back a moment later. For the first of two readings. Fails the test when it changes for
 * GATE_PATIENCE_NS.
 */
struct guest_resources guest_resources_settled(struct guest *guest);

void guest_resources_print(const char *what, const struct guest_resources *resources);

/*
 * Waits until the guest holds what it held `before`, a settled reading: descriptors, threads, entries and mounts
 * exactly. Memory and loop devices are printed, not compared. Some of it is given back a moment after the
 * answer, so this asks the guest's health and looks again, for GATE_PATIENCE_NS; then it prints both and
 * fails the test.
 */
void guest_resources_await(struct guest *guest, const struct guest_resources *before);

#endif
