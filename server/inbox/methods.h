/*
 * The dispatch table of the inbox.
 */
#ifndef SERVER_INBOX_METHODS_H
#define SERVER_INBOX_METHODS_H

#include "server/rpc/method.h"

extern const struct rpc_method_table inbox_methods;

#endif
