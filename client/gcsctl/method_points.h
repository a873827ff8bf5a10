/*
 * Every RPC by name, with what decides on it: the sidecar's dispatch table without its handlers, written by
 * generate_method_points.c while the project is built, so that it is never another one.
 */
#ifndef CLIENT_GCSCTL_METHOD_POINTS_H
#define CLIENT_GCSCTL_METHOD_POINTS_H

#include <stddef.h>
#include <stdint.h>

struct method_point {
    uint32_t arm, resource; /* field numbers, as in server/rpc/method.h */
    const char *name, *policy_point;
};

extern const struct method_point method_points[];
extern const size_t method_points_count;

#endif
