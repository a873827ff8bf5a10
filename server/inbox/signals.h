/*
 * The bridge's signals, which are Windows console events, as Linux signals.
 */
#ifndef SERVER_INBOX_SIGNALS_H
#define SERVER_INBOX_SIGNALS_H

#include "gcs/v1/container.pb-c.h"
#include "server/base/error.h"

/* INVALID_ARGUMENT for a value that is no signal of the schema. */
MUST_CHECK enum status signal_number(Gcs__V1__Signal signal, int *ret, struct error *err);

#endif
