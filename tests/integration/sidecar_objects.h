/*
 * What the test inbox has: the objects that the requests it answered with success would have made, for its
 * answers to ListObjects.
 *
 * Threads: any; one lock inside.
 */
#ifndef TESTS_INTEGRATION_SIDECAR_OBJECTS_H
#define TESTS_INTEGRATION_SIDECAR_OBJECTS_H

#include "gcs/v1/bridge.pb-c.h"
#include "server/base/arena.h"

struct objects;

struct objects *objects_new(void);
void objects_free(struct objects *objects);

/* The next run of the inbox has nothing. */
void objects_clear(struct objects *objects);

/* A request was answered with success; `process_id` of a start or an exec. */
void objects_follow(struct objects *objects, const Gcs__V1__Request *request, uint32_t process_id);

/* A process (init: with its container) has ended. */
void objects_process_ended(struct objects *objects, const char *container_id, uint32_t process_id);

/* Puts other bytes in place of the tags of the container's root and of itself; NULL leaves one as it is. */
void objects_spoil(struct objects *objects, const char *container_id, const char *root_tag,
                   const char *container_tag);

/* All of it, in the arena; `one_a_page` makes pages of a single object. */
void objects_list(struct objects *objects, const Gcs__V1__ListObjects *ask, bool one_a_page,
                  struct arena *arena, Gcs__V1__ListObjectsResponse *ret);

#endif
