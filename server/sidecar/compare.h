/*
 * The connection to the inbox was lost and is back, to the same inbox or to another run of it: what each side
 * has is compared.
 *
 *     a container lives here, and the inbox has none      it has ended: UnexpectedExit
 *     it was started meanwhile                            it runs here as well
 *     the inbox has what is not known here                an orphan: its request was answered UNAVAILABLE
 *                                                         and undone, so it goes there, too
 */
#ifndef SERVER_SIDECAR_COMPARE_H
#define SERVER_SIDECAR_COMPARE_H

#include "server/sidecar/inventory.h"

struct sidecar;

enum orphan_kind {
    ORPHAN_PROCESS,
    ORPHAN_MOUNT,
    ORPHAN_RUNNING,
    ORPHAN_INIT,
    ORPHAN_CONTAINER,
    ORPHAN_ROOT,
    ORPHAN_SCRATCH
};

/* Something at the inbox that goes, by one request. */
struct orphan {
    enum orphan_kind kind;
    const char *container_id;
    uint32_t process_id;
    const char *scratch_target, *volume_id;
    const Gcs__V1__Mount *mount;
};

struct orphans {
    struct orphan *items; /* in the order in which they have to go; what is pointed to is the inventory's */
    size_t count;
};

/* Brings the container table up to date, tells the host what has ended, and lists what is to go.
 * RESOURCE_EXHAUSTED without memory. No file-system calls. */
MUST_CHECK enum status compare_with(struct sidecar *sidecar, const struct inventory *inventory,
                                    struct orphans *ret, struct error *err);

void orphans_done(struct orphans *orphans);

/* The bodies that the request for one orphan needs, kept by the caller until it is sent. */
struct orphan_call {
    Gcs__V1__Request call;
    Gcs__V1__Approval approval;
    Gcs__V1__ModifySettings settings;
    Gcs__V1__ContainerScratch scratch;
    Gcs__V1__CombinedLayers layers;
    Gcs__V1__ContainerMount mount;
    Gcs__V1__SignalProcess signal;
    Gcs__V1__ShutdownForced shutdown;
    Gcs__V1__WaitForProcess wait;
    Gcs__V1__DeleteContainerState delete;
};
void orphan_call(const struct orphan *orphan, struct orphan_call *ret);

#endif
