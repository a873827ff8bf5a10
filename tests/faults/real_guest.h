/*
 * A guest that really mounts and runs: verified EROFS layers over loop devices, overlayfs, runc. Needs root.
 * Its container is the seed's: `ping -t 127.0.0.1`, which the test layer has.
 */
#ifndef TESTS_FAULTS_REAL_GUEST_H
#define TESTS_FAULTS_REAL_GUEST_H

#include <stdbool.h>

struct guest;

/* Whether this machine can; says why not. */
bool real_guest_is_possible(void);

/* As guest_setup_files(), with images for layers; programs that are started after it mount and run for
 * real. */
void real_guest_setup_files(struct guest **ret);

#endif
