#include "server/rpc/credit.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <utlist.h>

#include "server/base/hash.h"
#include "server/base/limits.h"

struct pipe_key {
    struct listener *listener;
    uint64_t pipe; /* as wide as the pointer, so that the key has no padding */
};

/* Forgotten when nothing is on its way and nothing waits. */
struct pipe {
    struct pipe_key key;
    struct kept_answer *sent; /* on their way, in the order they were first sent */
    size_t sent_count, sent_bytes;
    struct kept_answer *waiting; /* oldest first */
    UT_hash_handle hh;
};

struct outgoing {
    struct route route;
    void *bytes;
    size_t size;
    struct outgoing *next;
};

static void
outgoing_add(struct outgoing **list, const struct kept_answer *answer)
{
    struct outgoing *item = malloc(sizeof *item);
    void *copy = malloc(answer->size ? answer->size : 1);
    if (!item || !copy) { /* the client repeats its request */
        free(item);
        free(copy);
        return;
    }
    if (answer->size > 0)
        memcpy(copy, answer->bytes, answer->size);
    *item = (struct outgoing){.route = answer->route, .bytes = copy, .size = answer->size};
    LL_APPEND(*list, item);
}

void
outgoing_drop(struct outgoing *list)
{
    struct outgoing *item, *after;
    LL_FOREACH_SAFE(list, item, after)
    {
        free(item->bytes);
        free(item);
    }
}

void
outgoing_send(struct outgoing *list)
{
    struct outgoing *item;
    LL_FOREACH(list, item)
    listener_send(&item->route, item->bytes, item->size);
    outgoing_drop(list);
}

static struct pipe *
pipe_get(struct credit *credit, const struct route *route)
{
    struct pipe_key key = {.listener = route->listener, .pipe = route->pipe};
    struct pipe *pipe = NULL;
    HASH_FIND(hh, credit->pipes, &key, sizeof key, pipe);
    if (pipe)
        return pipe;
    pipe = calloc(1, sizeof *pipe);
    if (!pipe)
        return NULL;
    pipe->key = key;
    HASH_ADD(hh, credit->pipes, key, sizeof pipe->key, pipe);
    if (hash_holds(&pipe->hh))
        return pipe;
    free(pipe);
    return NULL;
}

static bool
has_room(const struct pipe *pipe, size_t size)
{
    return pipe->sent_count == 0 ||
           (pipe->sent_count < LIMIT_PIPE_ANSWERS && pipe->sent_bytes + size <= LIMIT_PIPE_ANSWER_BYTES);
}

static void
send_first(struct pipe *pipe, struct kept_answer *answer, struct outgoing **list)
{
    DL_APPEND(pipe->sent, answer);
    pipe->sent_count++;
    pipe->sent_bytes += answer->size;
    outgoing_add(list, answer);
}

/* Lets go what waits and has room now; forgets the pipe when nothing is left on it. */
static void
pump(struct credit *credit, struct pipe *pipe, struct outgoing **list)
{
    while (pipe->waiting && has_room(pipe, pipe->waiting->size)) {
        struct kept_answer *answer = pipe->waiting;
        DL_DELETE(pipe->waiting, answer);
        answer->waits = false;
        send_first(pipe, answer, list);
    }
    if (pipe->sent_count == 0 && !pipe->waiting) {
        HASH_DEL(credit->pipes, pipe);
        free(pipe);
    }
}

void
credit_send(struct credit *credit, struct kept_answer *answer, struct outgoing **list)
{
    if (answer->waits)
        return;
    if (answer->pipe) {
        outgoing_add(list, answer);
        return;
    }
    struct pipe *pipe = pipe_get(credit, &answer->route);
    if (!pipe)
        return; /* no memory: the client repeats its request */
    answer->pipe = pipe;
    if (!pipe->waiting && has_room(pipe, answer->size)) {
        send_first(pipe, answer, list);
        return;
    }
    DL_APPEND(pipe->waiting, answer);
    answer->waits = true;
}

static void
take_off(struct kept_answer *answer)
{
    struct pipe *pipe = answer->pipe;
    if (answer->waits) {
        DL_DELETE(pipe->waiting, answer);
    } else {
        DL_DELETE(pipe->sent, answer);
        pipe->sent_count--;
        pipe->sent_bytes -= answer->size;
    }
    answer->pipe = NULL;
    answer->waits = false;
}

void
credit_arrived(struct credit *credit, struct kept_answer *answer, struct outgoing **list)
{
    struct pipe *pipe = answer->pipe;
    if (pipe && !answer->waits)
        while (pipe->sent != answer)
            take_off(pipe->sent);
    credit_give_back(credit, answer, list);
}

void
credit_give_back(struct credit *credit, struct kept_answer *answer, struct outgoing **list)
{
    struct pipe *pipe = answer->pipe;
    if (!pipe)
        return;
    take_off(answer);
    pump(credit, pipe, list);
}

void
credit_count(const struct credit *credit, size_t *ret_pipes, size_t *ret_waiting)
{
    *ret_pipes = *ret_waiting = 0;
    for (const struct pipe *pipe = credit->pipes; pipe; pipe = pipe->hh.next) {
        const struct kept_answer *answer;
        size_t waiting;
        DL_COUNT(pipe->waiting, answer, waiting);
        *ret_waiting += waiting;
        ++*ret_pipes;
    }
}
