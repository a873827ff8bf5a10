/*
 * uthash, without its habit of ending the program when memory is short: one request that finds none must not
 * end what all others are doing. Every table of a program that serves is made with this header.
 *
 *     HASH_ADD_STR(table, id, element);
 *     if (!hash_holds(&element->hh))
 *         return error_set(err, STATUS_RESOURCE_EXHAUSTED, ...);   -- the table is as it was
 */
#ifndef SERVER_BASE_HASH_H
#define SERVER_BASE_HASH_H

#include <stdbool.h>
#include <stddef.h>

#define HASH_NONFATAL_OOM 1
#include <uthash.h>

/* Whether the HASH_ADD...() that came just before had the memory to add the element this handle lies in. */
static inline bool
hash_holds(const UT_hash_handle *handle)
{
    return handle->tbl != NULL;
}

#endif
