/*
 * The servers that the floors of `gcs-bench latency` talk to, each in a process of its own:
 *
 *     gcs-bench peer unix-echo PATH          a unix stream socket: what came goes back
 *     gcs-bench peer nanomsg-echo URL        a nanomsg raw REP socket, likewise
 *     gcs-bench peer nanomsg-relay URL BACK  nn_device(): raw REP at URL, raw REQ to BACK
 *
 * They serve until they are killed.
 */
#ifndef BENCH_PEERS_PEERS_H
#define BENCH_PEERS_PEERS_H

/* Bytes of every message of the unix floor; a stream has no messages of its own. */
#define PEER_MESSAGE_BYTES 128

#endif
