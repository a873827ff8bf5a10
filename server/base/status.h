/*
 * The outcomes of the whole project: the gRPC status codes, under gRPC's names and numbers
 * (https://grpc.github.io/grpc/core/md_doc_statuscodes.html), so that a status travels to the client as it
 * is.
 */
#ifndef SERVER_BASE_STATUS_H
#define SERVER_BASE_STATUS_H

#define MUST_CHECK __attribute__((warn_unused_result))

enum status {
    STATUS_OK = 0,
    STATUS_CANCELLED = 1,
    STATUS_UNKNOWN = 2,
    STATUS_INVALID_ARGUMENT = 3,
    STATUS_DEADLINE_EXCEEDED = 4,
    STATUS_NOT_FOUND = 5,
    STATUS_ALREADY_EXISTS = 6,
    STATUS_PERMISSION_DENIED = 7,
    STATUS_RESOURCE_EXHAUSTED = 8,
    STATUS_FAILED_PRECONDITION = 9,
    STATUS_ABORTED = 10,
    STATUS_OUT_OF_RANGE = 11,
    STATUS_UNIMPLEMENTED = 12,
    STATUS_INTERNAL = 13,
    STATUS_UNAVAILABLE = 14,
    STATUS_DATA_LOSS = 15,
    STATUS_UNAUTHENTICATED = 16,
};

/* gRPC's name of a status ("PERMISSION_DENIED"); "UNKNOWN" for a number that is none. Static text. */
const char *status_name(enum status status);

#endif
