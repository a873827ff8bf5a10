/*
 * Volumes: stacks of verified layers, named by the host, mounted for containers.
 *
 * A volume is an object. Its digests are bound to it for its whole life, its mounts show exactly the bytes
 * of those digests, it is there for containers only once all of it is mounted, and it goes away as a whole.
 * So no container is ever combined with content that nobody judged (the faults of spec/bridge.md 4.6).
 *
 * How the sidecar uses it, once its request owns the volume id's key:
 *
 *     volume_open()    the layers are read, hashed and held: the digests are known, nothing is mounted
 *     (policy)         mount_cims decides on the digests; refused: volume_drop()
 *     volume_mount()   refused: volume_drop()
 *     volume_admit()   the policy's word for this container on this volume is kept
 *   and for a container that is to be combined with it
 *     volume_ref()     holds the volume; says whether the policy has already spoken for this container
 *     (policy)         if not: mount_cims on the same digests, then volume_admit(); refused: volume_unref()
 *
 * States, and what each call does in them ("-" is FAILED_PRECONDITION and changes nothing). What the table
 * says is not said again below:
 *
 *                       absent     verifying  verified  mounting  mounted          unmounting  stuck
 *     volume_open       verifying  <---------------- ALREADY_EXISTS ------------------------------->
 *     volume_mount      NOT_FOUND  -          mounting  -         -                -           -
 *     volume_admit,ref  NOT_FOUND  -          -         -         the record       -           -
 *     volume_dismiss,   NOT_FOUND  <----------------- the record, or NOT_FOUND -------------------->
 *     volume_unref
 *     volume_unmount    NOT_FOUND  -          -         -         unmounting, or   -           unmounting
 *                                                                 - while held
 *     volume_drop       NOT_FOUND  -          absent    -         as unmount       -           unmounting
 *
 *     verifying   -> verified, or absent when a layer cannot be had
 *     mounting    -> mounted, or verified again when a layer cannot be mounted (all of it is undone first),
 *                    or stuck when undoing fails
 *     unmounting  -> absent, or stuck when something cannot be taken down
 *     stuck          nothing may use it; unmounting may be tried again
 *
 * Where mounts live: sidecar and inbox must share one mount namespace, since the inbox stacks the mount
 * points with overlayfs by their paths. Neither may run under a service option that gives it a namespace of
 * its own (PrivateMounts=, PrivateTmp=, ProtectSystem= and their like).
 *
 * Threads: every function may be called from any thread. The table's lock (RANK_VOLUMES) is held for
 * book-keeping only, never during I/O; a call that finds the volume in another's hands (verifying, mounting,
 * unmounting) is refused, it does not wait. Whoever wants a wait orders the calls by volume id.
 *
 * Each layer alive holds one descriptor: a process that serves many volumes raises RLIMIT_NOFILE.
 */
#ifndef SERVER_MOUNTS_VOLUME_H
#define SERVER_MOUNTS_VOLUME_H

#include <stdbool.h>
#include <stddef.h>

#include "server/base/error.h"
#include "server/mounts/layer.h"
#include "server/mounts/volume_backend.h"
#include "server/mounts/volume_stack.h"

struct volume_table;

enum volume_state {
    VOLUME_ABSENT,
    VOLUME_VERIFYING,
    VOLUME_VERIFIED,
    VOLUME_MOUNTING,
    VOLUME_MOUNTED,
    VOLUME_UNMOUNTING,
    VOLUME_STUCK,
};

/* "absent", "verifying", ...; static text. */
const char *volume_state_name(enum volume_state state);

struct volume_options {
    const char *directory;      /* where volumes are mounted; must exist */
    struct layer_store *layers; /* borrowed; closed after the table */
    const struct volume_backend *backend;
    void *backend_arg;   /* for the back end; NULL for the real one */
    bool keep_leftovers; /* what a predecessor left stays, for volume_adopt() and volume_table_sweep() */
};

/*
 * Opens the table on its directory, which it locks against a second one (of any process) and clears of what a
 * predecessor left, unless told to keep that.
 *
 * ret            the table, which the caller ends with volume_table_close(); untouched on failure
 * ret_leftovers  how many mounts of a predecessor were taken away
 *
 * FAILED_PRECONDITION: the directory belongs to somebody else, others may write in it, its path has a ':',
 * ',' or '\' (overlayfs could not name the layers), another table uses it, or it has something in it that is
 * not ours. Other statuses are open(2)'s.
 */
MUST_CHECK enum status volume_table_open(const struct volume_options *options, struct volume_table **ret,
                                         size_t *ret_leftovers, struct error *err);

/*
 * Unmounts every volume, held or not and even when a process uses it, and frees the table. No other call may
 * run. A failure names the first volume that could not be unmounted; the table is gone all the same. NULL
 * does nothing.
 */
MUST_CHECK enum status volume_table_close(struct volume_table *table, struct error *err);

/* As volume_table_close(), but leaves volumes that somebody holds to a successor: their containers live
 * on. */
MUST_CHECK enum status volume_table_leave(struct volume_table *table, struct error *err);

/*
 * Reserves `id`, then reads and hashes the layers: all of them or none.
 *
 * id     1 to LIMIT_NAME_BYTES bytes of [A-Za-z0-9._-], not beginning with '.'; copied
 * names  files of the layer directory, base first
 * count  1 to LIMIT_LAYERS
 * ret    digests and future mount points; the caller gives its reference back with volume_stack_unref();
 *        untouched on failure
 *
 * A caller may act on
 *   STATUS_INVALID_ARGUMENT    `id` or `count` is malformed
 *   STATUS_ALREADY_EXISTS      `id` is in use, in whatever state
 *   STATUS_RESOURCE_EXHAUSTED  LIMIT_VOLUMES volumes exist, or there is no memory
 * and passes every other status, which are layer_open()'s and volume_stack_new()'s, up. Blocks on the layer
 * directory.
 */
MUST_CHECK enum status volume_open(struct volume_table *table, const char *id, const char *const *names,
                                   size_t count, struct volume_stack **ret, struct error *err);

/*
 * Mounts a verified volume: every layer or none.
 *
 * A caller may act on
 *   STATUS_NOT_FOUND            there is no such volume
 *   STATUS_FAILED_PRECONDITION  its state is another (see above), or a layer is no EROFS image
 * and passes every other status up. After a failure the volume is verified as before; if it is stuck instead,
 * undoing failed as well, and the text says both. Blocks on the kernel.
 */
MUST_CHECK enum status volume_mount(struct volume_table *table, const char *id, struct error *err);

/*
 * Records that the policy allows container `container_id` on the mounted volume. The record lives as long as
 * the volume, unless volume_dismiss() takes it away. Twice is fine.
 *
 * container_id  1 to LIMIT_CONTAINER_ID_BYTES bytes, here and below; copied
 *
 * INVALID_ARGUMENT when `container_id` is malformed; RESOURCE_EXHAUSTED when the volume has records of
 * LIMIT_CONTAINERS containers, or without memory.
 */
MUST_CHECK enum status volume_admit(struct volume_table *table, const char *id, const char *container_id,
                                    struct error *err);

/* Undoes volume_admit(), or ends it with the container. INVALID_ARGUMENT as volume_admit(); NOT_FOUND without
 * a record; FAILED_PRECONDITION while the container holds the volume. */
MUST_CHECK enum status volume_dismiss(struct volume_table *table, const char *id, const char *container_id,
                                      struct error *err);

/*
 * Makes the container a holder of the mounted volume, which cannot be unmounted until volume_unref().
 *
 * ret_admitted  whether volume_admit() stands for this container
 * ret           the stack, for the policy's inputs and overlayfs; given back with volume_stack_unref()
 *
 * ALREADY_EXISTS when the container holds it; INVALID_ARGUMENT and RESOURCE_EXHAUSTED as volume_admit().
 */
MUST_CHECK enum status volume_ref(struct volume_table *table, const char *id, const char *container_id,
                                  bool *ret_admitted, struct volume_stack **ret, struct error *err);

/* Ends the container's hold; the admission stays. INVALID_ARGUMENT as volume_admit(); NOT_FOUND when it holds
 * nothing. */
MUST_CHECK enum status volume_unref(struct volume_table *table, const char *id, const char *container_id,
                                    struct error *err);

/*
 * Unmounts a mounted volume that nobody holds and erases it: its id, layers and admissions. A failure leaves
 * it stuck. Blocks on the kernel.
 */
MUST_CHECK enum status volume_unmount(struct volume_table *table, const char *id, struct error *err);

/* Undoes volume_open() and, if it got so far, volume_mount(): the id is free again. */
MUST_CHECK enum status volume_drop(struct volume_table *table, const char *id, struct error *err);

/*
 * Takes over a volume that a predecessor has mounted: it is MOUNTED, nobody holds it or is admitted. That the
 * digests are those of what is mounted is the caller's word.
 *
 * digests  raw, of each layer, base first; 1 to LIMIT_LAYERS
 *
 *   INVALID_ARGUMENT    `id` or `count` is malformed
 *   ALREADY_EXISTS      `id` is in use; the volume may have been adopted before
 *   NOT_FOUND           there is no such volume left, or not all of it; what there is stays for the sweep
 *   RESOURCE_EXHAUSTED  as volume_open(); and layer_adopt()'s
 */
MUST_CHECK enum status volume_adopt(struct volume_table *table, const char *id,
                                    const uint8_t (*digests)[LAYER_DIGEST_BYTES], size_t count,
                                    struct error *err);

/*
 * Every volume that is to live on has been adopted: removes what else a predecessor left, in use or not.
 * Before the first volume_open().
 *
 * ret_count  mounts taken away; set also on failure
 *
 * FAILED_PRECONDITION as volume_table_open().
 */
MUST_CHECK enum status volume_table_sweep(struct volume_table *table, size_t *ret_count, struct error *err);

/* The state now; ABSENT for an id that names nothing. */
enum volume_state volume_state(struct volume_table *table, const char *id);

/* Volumes in the table now, in whatever state. */
size_t volume_count(struct volume_table *table);

#endif
