/*
 * A raw REQ socket: nanomsg without its own request ids, repeats and one-at-a-time rule.
 *
 * The SP header is ours to write: four bytes, big-endian, the top bit set as the mark of a request id. The
 * server sends it back unchanged.
 *
 * Threads: sending and asking from any thread; receiving and caller_socket_wait_writable() from one each.
 * caller_socket_close() ends a receive that waits; after it nothing else may be called.
 */
#ifndef SERVER_RPC_CALLER_SOCKET_H
#define SERVER_RPC_CALLER_SOCKET_H

#include <protobuf-c/protobuf-c.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "server/base/error.h"

struct caller_socket {
    const char *url; /* borrowed from who opened it */
    int handle;      /* nanomsg's */
    int endpoint;    /* nanomsg's; negative: none, because it could not be made */
    int writable_fd; /* readable while a message can be handed over */
};

/*
 * Opens the socket and begins to connect; nanomsg goes on trying until it is closed.
 *
 * url  borrowed until the socket is closed
 *
 * INVALID_ARGUMENT  the url
 */
MUST_CHECK enum status caller_socket_open(const char *url, size_t receive_bytes_max,
                                          struct caller_socket *ret, struct error *err);

void caller_socket_close(struct caller_socket *sock);

/*
 * Hands the message `envelope` followed by `rest` (packed fields of the same message) to nanomsg. Never
 * waits. False: the connection takes nothing now, or there is none.
 */
bool caller_socket_send(struct caller_socket *sock, uint32_t sp_id, const ProtobufCMessage *envelope,
                        const void *rest, size_t rest_size);

/* Waits for the next message. Returns its size and the bytes, which the user frees with
 * caller_socket_free(), or -1 when the socket was closed. *ret_sp_id is 0 when the header is none. */
ssize_t caller_socket_receive(struct caller_socket *sock, void **ret, uint32_t *ret_sp_id);
void caller_socket_free(void *message);

/* Whether there is a connection now. *ret_established counts the connections made so far, so that two looks
 * tell whether there was another one in between. */
bool caller_socket_connected(struct caller_socket *sock, uint64_t *ret_established);

/*
 * Begins to connect anew, after a connection was lost. Needed because of a fault in nanomsg (1.1.5, and later
 * ones): the endpoint that reconnects by itself keeps what it had read of the old connection and not yet
 * used, and takes it for the beginning of the new one. If the old connection ended within a message, no
 * handshake ever succeeds again. A new endpoint begins with nothing. Never waits. False: try again later.
 */
bool caller_socket_renew(struct caller_socket *sock);

/* Waits up to `timeout_ms` until a message can be handed over. */
bool caller_socket_wait_writable(struct caller_socket *sock, int timeout_ms);

#endif
