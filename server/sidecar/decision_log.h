/*
 * The decision log: every decision of the policy and what became of it, as JSON lines, for `gcs-policy
 * replay`.
 *
 *     {"decision_log":1,"policy_sha256":HEX,"os":"windows","env":"hidden","part":1,"time":T}
 *     {"record":7,"time":T,"point":NAME,"input":{...},"decision":{"allowed":...,"env":...,...}}
 *     {"committed":7}    the request was carried out
 *     {"undone":7}       it was not: what the decision added is taken back
 *     {"lost":3}         so many lines could not be written here
 *
 * `input` and `decision` are in the format of the policy vectors. The header comes first in each file; part 1
 * begins a run of the sidecar, later parts go on where the file before ended. A denied decision has no second
 * line. A value of the environment is written only when the options say so; else an entry is
 * NAME=[redacted] and the line has "env_hidden":true.
 *
 * The file is a regular file of ours with mode 0600 and never larger than the bound: at the bound it becomes
 * PATH.1, in the place of an older PATH.1, and a new one begins.
 *
 * Lines are put in order and numbered where they come from, and written by a thread of the log's own, at the
 * latest a tenth of a second later: no decision ever waits for a disk. What cannot be written, or comes
 * faster than it can be, is counted and marked by a "lost" line; a failure is logged once and changes nothing
 * else.
 *
 * Threads: everything but opening and closing may be called from any thread. One lock (RANK_LEAF), under
 * which there is no I/O.
 */
#ifndef SERVER_SIDECAR_DECISION_LOG_H
#define SERVER_SIDECAR_DECISION_LOG_H

#include <stdbool.h>
#include <stdint.h>

#include "server/base/error.h"
#include "server/policy/policy.h"

#define DECISION_LOG_FORMAT        1
#define DECISION_LOG_BYTES_MIN     (64 * 1024) /* of --decision-log-bytes */
#define DECISION_LOG_BYTES_MAX     (1LL << 40)
#define DECISION_LOG_BYTES_DEFAULT (64 * 1024 * 1024)
#define DECISION_LOG_SHA256_BYTES  32

struct decision_log_options {
    const char *path; /* NULL: no log */
    int64_t bytes_max;
    bool with_env;
};

struct decision_log;

/*
 * Opens the log for appending and starts its thread.
 *
 * options  copied
 * ret      the log, which the caller ends with decision_log_close(); untouched on failure
 *
 * INVALID_ARGUMENT     the path does not end in a name
 * FAILED_PRECONDITION  it names something else than a regular file of ours with one name (a symbolic link, a
 *                      directory, a pipe, another user's file) or a file that is no decision log, or another
 *                      process writes it
 *
 * Other statuses: the directory or the file cannot be opened, or the thread cannot be started.
 */
MUST_CHECK enum status decision_log_open(const struct decision_log_options *options,
                                         struct decision_log **ret, struct error *err);

/* Writes what is still to be written, ends the thread and frees the log. NULL is fine. */
void decision_log_close(struct decision_log *log);

/* A policy was set: names it in the headers. Called once, before the first decision. */
void decision_log_begin(struct decision_log *log, const uint8_t sha256[DECISION_LOG_SHA256_BYTES]);

/*
 * Adds a decision.
 *
 * Returns its number, from 1; 0 when it was lost.
 */
uint64_t decision_log_add(struct decision_log *log, const struct policy_request *request,
                          const struct policy_verdict *verdict);

/* What became of an allowed decision. Number 0 is fine. */
void decision_log_end(struct decision_log *log, uint64_t number, bool committed);

/* Whether the last lines could not be written: the disk is full, or the file is gone. */
bool decision_log_is_failing(struct decision_log *log);

/* Lines lost so far. */
uint64_t decision_log_lost(struct decision_log *log);

#endif
