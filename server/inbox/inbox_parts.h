/*
 * Parts of opening and closing an inbox that have a file of their own.
 */
#ifndef SERVER_INBOX_INBOX_PARTS_H
#define SERVER_INBOX_INBOX_PARTS_H

#include "server/inbox/state.h"

/*
 * Standalone only: verified layers of our own.
 *
 * layer_dir   where the host's layer files are
 * volume_dir  where volumes are mounted; NULL: <run>/volumes
 */
MUST_CHECK enum status inbox_volumes_open(struct inbox *inbox, const char *layer_dir, const char *volume_dir,
                                          struct error *err);
void inbox_volumes_close(struct inbox *inbox);

/* Removes the (by now empty) directories we made; what is not empty stays, and is logged. */
void inbox_run_dir_clear(struct inbox *inbox);

#endif
