/* Mounting verified layers for one container. */
#ifndef CLIENT_GCSCTL_VOLUME_ADD_H
#define CLIENT_GCSCTL_VOLUME_ADD_H

#include "client/gcsctl/tool.h"

/*
 * Mounts layers as the volume `volume_id`, for the container `container_id`: the policy keeps which layers a
 * container has, and asks once for each.
 *
 * names  in the guest's layer directory, base first
 * ret    the answer, to be freed with gcs_response_free(); untouched on failure
 */
enum gcs_status volume_add(struct tool *tool, const char *container_id, const char *volume_id,
                           const char *const *names, size_t count, Gcs__V1__Response **ret,
                           struct gcs_error *err);

/* The digests in such an answer; empty ones when it has none. Borrowed from the answer. */
const Gcs__V1__BlockCimsResponse *volume_digests(const Gcs__V1__Response *response);

#endif
