/*
 * All that a guest has on the machine, as one text: what is in its directories, its mount points and network
 * interfaces, the descriptors and threads of its programs, and what the sidecar says of its containers. Equal
 * texts mean that nothing was left behind and nothing was lost.
 *
 * Threads: the test's main thread.
 */
#ifndef TESTS_FAULTS_SNAPSHOT_H
#define TESTS_FAULTS_SNAPSHOT_H

struct guest;

/* malloc()ed; the caller frees it. Both programs run, and the guest has a host. */
char *snapshot_take(const struct guest *guest);

/*
 * Waits until the guest has what it had `before`. Some of it is given back a moment after the answer, so this
 * looks again for GATE_PATIENCE_NS, asking the guest's health in between; then it prints the lines that
 * differ and fails the test.
 *
 * what  for the message
 */
void snapshot_await(const struct guest *guest, const char *before, const char *what);

#endif
