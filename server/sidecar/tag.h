/*
 * Tags: what this sidecar stores with the inbox's objects (proto/gcs/v1/tag.proto), so that its successor
 * knows what was approved.
 *
 * Making one never fails: what cannot be told, since it does not fit or since fragments were loaded, becomes
 * a tag without an object, which says that the object cannot be rebuilt.
 *
 * Threads: every function may be called from any thread. Texts and digests are borrowed for as long as the
 * arena, which holds the bytes.
 */
#ifndef SERVER_SIDECAR_TAG_H
#define SERVER_SIDECAR_TAG_H

#include "gcs/v1/tag.pb-c.h"
#include "server/base/arena.h"
#include "server/mounts/volume_stack.h"
#include "server/policy/restore.h"
#include "server/sidecar/policy_gate.h"

/* The state of the policy that goes into the tags is the one now: after the decision, before its end. */
ProtobufCBinaryData tag_of_scratch(const struct policy_gate *gate, struct arena *arena, const char *target);
ProtobufCBinaryData tag_of_root(const struct policy_gate *gate, struct arena *arena, const char *container_id,
                                const char *scratch_target, const char *volume_id,
                                const struct volume_stack *stack);
ProtobufCBinaryData tag_of_container(const struct policy_gate *gate, struct arena *arena,
                                     const char *container_id);
ProtobufCBinaryData tag_of_process(const struct policy_gate *gate, struct arena *arena,
                                   const Gcs__V1__Process *process, bool allow_stdio);

/*
 * Reads a tag.
 *
 * kind  the object it must be about
 * ret   lives as long as the arena; untouched on failure
 *
 * FAILED_PRECONDITION: it is of another policy. INVALID_ARGUMENT: it is none, or says that the object cannot
 * be rebuilt. RESOURCE_EXHAUSTED: the arena is full.
 */
MUST_CHECK enum status tag_read(const struct policy_gate *gate, const ProtobufCBinaryData *bytes,
                                Gcs__V1__Tag__ObjectCase kind, struct arena *arena, const Gcs__V1__Tag **ret,
                                struct error *err);

/* A tag's word on the policy's state as policy_restore_container() takes it; false without one. */
bool tag_policy_state(const Gcs__V1__PolicyTag *policy, struct policy_container_state *ret);

#endif
