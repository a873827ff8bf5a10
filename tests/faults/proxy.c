#include "tests/faults/proxy.h"

#include <endian.h>
#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>
#include <utlist.h>

#include "server/base/clock.h"

enum {
    CONNECTIONS_MAX = 128,
    HANDSHAKE_BYTES = 8,  /* "\0SP\0", the protocol, two reserved bytes */
    FRAME_HEAD_BYTES = 9, /* a one, and the length, big-endian */
    FRAME_BYTES_MAX = 32 * 1024 * 1024,
    QUEUE_BYTES_MAX = 4 * 1024 * 1024, /* beyond it nothing more is read from that side */
    PASSING_MAX = 8,
    MILLION = 1000000,
};

struct frame {
    struct frame *prev, *next;
    int64_t due_ns;   /* of one held back */
    unsigned passing; /* later frames that still have to go by; 0: only time counts */
    bool overtaken;
    size_t size, written;
    uint8_t bytes[];
};

/* One direction of a connection. */
struct way {
    int from, to;
    uint8_t *input; /* what was read and is no whole frame yet */
    size_t input_size, input_room;
    bool shaken;         /* the handshake has passed */
    struct frame *queue; /* to be written */
    size_t queue_bytes;
    struct frame *held;
};

struct connection {
    bool open, ending; /* ending: closed once what is queued is written */
    struct way ways[2];
};

struct proxy {
    struct sockaddr_un here, there;
    struct proxy_faults faults;
    uint64_t random;
    pthread_t thread;
    int wake, listening;
    struct connection connections[CONNECTIONS_MAX];

    struct {
        pthread_mutex_t lock;
        struct proxy_counts counts;
    } shared; /* written by the proxy's thread */
};

static void
must(bool works, const char *what)
{
    if (works)
        return;
    perror(what);
    abort();
}

static void
count(struct proxy *proxy, uint64_t *counter)
{
    pthread_mutex_lock(&proxy->shared.lock);
    ++*counter;
    pthread_mutex_unlock(&proxy->shared.lock);
}

/* splitmix64: any seed is good. */
static uint64_t
draw(struct proxy *proxy, uint64_t below)
{
    uint64_t z = (proxy->random += UINT64_C(0x9E3779B97F4A7C15));
    z = (z ^ (z >> 30)) * UINT64_C(0xBF58476D1CE4E5B9);
    z = (z ^ (z >> 27)) * UINT64_C(0x94D049BB133111EB);
    return (z ^ (z >> 31)) % below;
}

static int64_t
draw_due(struct proxy *proxy)
{
    return clock_now_ns() + 1 + (int64_t)draw(proxy, (uint64_t)proxy->faults.delay_ns_max);
}

static struct frame *
frame_new(const void *bytes, size_t size)
{
    struct frame *frame = calloc(1, sizeof *frame + size);
    must(frame != NULL, "memory for a frame");
    frame->size = size;
    memcpy(frame->bytes, bytes, size);
    return frame;
}

static void
frames_free(struct frame **list)
{
    struct frame *frame, *after;
    DL_FOREACH_SAFE(*list, frame, after)
    free(frame);
    *list = NULL;
}

/* -- frames -- */

static void
enqueue(struct way *way, struct frame *frame)
{
    DL_APPEND(way->queue, frame);
    way->queue_bytes += frame->size;
}

static void
let_go(struct proxy *proxy, struct way *way, struct frame *frame)
{
    DL_DELETE(way->held, frame);
    if (frame->overtaken)
        count(proxy, &proxy->shared.counts.overtaken);
    enqueue(way, frame);
}

static void
hold(struct way *way, struct frame *frame, int64_t due_ns, unsigned passing)
{
    frame->due_ns = due_ns;
    frame->passing = passing;
    DL_APPEND(way->held, frame);
}

/* Passes the frame on, past those that are held back, or behind them. */
static void
pass_on(struct proxy *proxy, struct way *way, struct frame *frame)
{
    struct frame *held, *after;
    if (proxy->faults.in_order && way->held) {
        hold(way, frame, way->held->prev->due_ns, 0);
        return;
    }
    enqueue(way, frame);
    DL_FOREACH_SAFE(way->held, held, after)
    {
        held->overtaken = true;
        if (held->passing > 0 && --held->passing == 0)
            let_go(proxy, way, held);
    }
}

/* Passes on a copy as well, later unless the way keeps order. */
static void
pass_twice(struct proxy *proxy, struct way *way, struct frame *frame)
{
    struct frame *copy = frame_new(frame->bytes, frame->size);
    pass_on(proxy, way, frame);
    if (proxy->faults.in_order)
        pass_on(proxy, way, copy);
    else
        hold(way, copy, draw_due(proxy), 0);
}

/* Ends the connection when what is queued, and maybe the beginning of `frame`, is written. */
static void
cut(struct proxy *proxy, struct connection *connection, struct way *way, struct frame *frame)
{
    connection->ending = true;
    count(proxy, &proxy->shared.counts.cuts);
    if (proxy->faults.cut_within && draw(proxy, 2) == 0) {
        count(proxy, &proxy->shared.counts.cut_within);
        frame->size = 1 + draw(proxy, frame->size - 1);
        enqueue(way, frame);
    } else {
        free(frame);
    }
}

/* Decides what becomes of a frame. */
static void
judge(struct proxy *proxy, struct connection *connection, struct way *way, struct frame *frame)
{
    const struct proxy_faults *faults = &proxy->faults;
    struct proxy_counts *counts = &proxy->shared.counts;
    uint64_t fate = draw(proxy, MILLION);
    unsigned below = faults->drop;
    count(proxy, &counts->frames);
    if (fate < below) {
        count(proxy, &counts->dropped);
        free(frame);
    } else if (fate < (below += faults->duplicate)) {
        count(proxy, &counts->duplicated);
        pass_twice(proxy, way, frame);
    } else if (fate < (below += faults->delay)) {
        count(proxy, &counts->delayed);
        hold(way, frame, proxy->faults.in_order && way->held ? way->held->prev->due_ns : draw_due(proxy), 0);
    } else if (fate < (below += faults->reorder)) {
        hold(way, frame, clock_now_ns() + faults->delay_ns_max, 1 + (unsigned)draw(proxy, PASSING_MAX));
    } else if (fate >= below && fate < below + faults->cut) {
        cut(proxy, connection, way, frame);
    } else {
        pass_on(proxy, way, frame);
    }
}

/* The size of the first thing in the input that is passed on as a whole; 0: more has to be read first. */
static size_t
whole_size(const struct way *way, const uint8_t *at, size_t left)
{
    uint64_t length;
    if (!way->shaken)
        return left >= HANDSHAKE_BYTES ? HANDSHAKE_BYTES : 0;
    if (left < FRAME_HEAD_BYTES)
        return 0;
    memcpy(&length, at + 1, sizeof length);
    length = be64toh(length);
    must(at[0] == 1 && length <= FRAME_BYTES_MAX, "a frame of nanomsg's");
    return left >= FRAME_HEAD_BYTES + length ? FRAME_HEAD_BYTES + (size_t)length : 0;
}

static void
take_input(struct proxy *proxy, struct connection *connection, struct way *way)
{
    size_t used = 0, size;
    while (!connection->ending && (size = whole_size(way, way->input + used, way->input_size - used)) > 0) {
        struct frame *frame = frame_new(way->input + used, size);
        used += size;
        if (!way->shaken) {
            way->shaken = true;
            enqueue(way, frame);
        } else {
            judge(proxy, connection, way, frame);
        }
    }
    way->input_size -= used;
    memmove(way->input, way->input + used, way->input_size);
}

/* -- connections -- */

static void
end(struct connection *connection)
{
    close(connection->ways[0].from);
    close(connection->ways[0].to);
    for (size_t i = 0; i < 2; i++) {
        free(connection->ways[i].input);
        frames_free(&connection->ways[i].queue);
        frames_free(&connection->ways[i].held);
    }
    *connection = (struct connection){0};
}

/* False: the connection is over. */
static bool
read_some(struct proxy *proxy, struct connection *connection, struct way *way)
{
    if (way->input_room - way->input_size < 64 * 1024) {
        way->input_room = 2 * way->input_room + 64 * 1024;
        way->input = realloc(way->input, way->input_room);
        must(way->input != NULL, "memory for input");
    }
    ssize_t got =
        recv(way->from, way->input + way->input_size, way->input_room - way->input_size, MSG_DONTWAIT);
    if (got < 0)
        return errno == EAGAIN || errno == EINTR;
    if (got == 0)
        return false;
    way->input_size += (size_t)got;
    take_input(proxy, connection, way);
    return true;
}

/* False: the connection is over. */
static bool
write_some(struct way *way)
{
    struct frame *frame;
    while ((frame = way->queue)) {
        ssize_t put = send(way->to, frame->bytes + frame->written, frame->size - frame->written,
                           MSG_DONTWAIT | MSG_NOSIGNAL);
        if (put < 0)
            return errno == EAGAIN || errno == EINTR;
        frame->written += (size_t)put;
        if (frame->written < frame->size)
            return true;
        DL_DELETE(way->queue, frame);
        way->queue_bytes -= frame->size;
        free(frame);
    }
    return true;
}

static int
stream_socket(void)
{
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    must(fd >= 0, "socket");
    return fd;
}

static void
accept_one(struct proxy *proxy)
{
    int near = accept4(proxy->listening, NULL, NULL, SOCK_CLOEXEC);
    if (near < 0)
        return;
    int far = stream_socket();
    bool connected = connect(far, (struct sockaddr *)&proxy->there, sizeof proxy->there) == 0;
    for (size_t i = 0; connected && i < CONNECTIONS_MAX; i++) {
        struct connection *connection = &proxy->connections[i];
        if (connection->open)
            continue;
        *connection = (struct connection){
            .open = true,
            .ways = {{.from = near, .to = far}, {.from = far, .to = near}},
        };
        count(proxy, &proxy->shared.counts.connections);
        return;
    }
    close(near);
    close(far);
}

/* -- the thread -- */

/* Lets go what has been held long enough; *ret_due_ns becomes no later than the next that will be. */
static void
release_due(struct proxy *proxy, struct connection *connection, int64_t now_ns, int64_t *ret_due_ns)
{
    for (size_t i = 0; !connection->ending && i < 2; i++) {
        struct way *way = &connection->ways[i];
        struct frame *frame, *after;
        DL_FOREACH_SAFE(way->held, frame, after)
        {
            if (frame->due_ns <= now_ns)
                let_go(proxy, way, frame);
            else if (frame->due_ns < *ret_due_ns)
                *ret_due_ns = frame->due_ns;
        }
    }
}

static short
wanted(const struct connection *connection, size_t side)
{
    const struct way *out = &connection->ways[1 - side], *in = &connection->ways[side];
    short events = 0;
    if (!connection->ending && in->queue_bytes < QUEUE_BYTES_MAX)
        events |= POLLIN;
    if (out->queue)
        events |= POLLOUT;
    return events;
}

/* Moves what can be moved. */
static void
serve(struct proxy *proxy, struct connection *connection, const struct pollfd pair[2])
{
    bool alive = true;
    for (size_t side = 0; alive && side < 2; side++) {
        short events = pair[side].revents;
        if (!connection->ending && (events & (POLLIN | POLLHUP | POLLERR)))
            alive = read_some(proxy, connection, &connection->ways[side]);
    }
    for (size_t side = 0; alive && side < 2; side++)
        alive = write_some(&connection->ways[side]);
    if (alive && connection->ending)
        alive = connection->ways[0].queue || connection->ways[1].queue;
    if (!alive)
        end(connection);
}

static void *
run(void *arg)
{
    struct proxy *proxy = arg;
    struct pollfd polled[2 + 2 * CONNECTIONS_MAX];
    for (;;) {
        int64_t now_ns = clock_now_ns(), due_ns = now_ns + NS_PER_S;
        polled[0] = (struct pollfd){.fd = proxy->wake, .events = POLLIN};
        polled[1] = (struct pollfd){.fd = proxy->listening, .events = POLLIN};
        for (size_t i = 0; i < CONNECTIONS_MAX; i++) {
            struct connection *connection = &proxy->connections[i];
            release_due(proxy, connection, now_ns, &due_ns);
            for (size_t side = 0; side < 2; side++)
                polled[2 + 2 * i + side] =
                    (struct pollfd){.fd = connection->open ? connection->ways[side].from : -1,
                                    .events = wanted(connection, side)};
        }
        struct timespec left = {.tv_sec = (due_ns - now_ns) / NS_PER_S,
                                .tv_nsec = (due_ns - now_ns) % NS_PER_S};
        if (ppoll(polled, 2 + 2 * CONNECTIONS_MAX, &left, NULL) < 0)
            continue;
        if (polled[0].revents != 0)
            return NULL;
        for (size_t i = 0; i < CONNECTIONS_MAX; i++)
            if (proxy->connections[i].open)
                serve(proxy, &proxy->connections[i], &polled[2 + 2 * i]);
        if (polled[1].revents != 0)
            accept_one(proxy);
    }
}

/* -- life -- */

static struct sockaddr_un
address(const char *path)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    must(strlen(path) < sizeof address.sun_path, "a path that fits a socket address");
    memcpy(address.sun_path, path, strlen(path));
    return address;
}

struct proxy *
proxy_new(const char *path, const char *target, const struct proxy_faults *faults)
{
    struct proxy *proxy = calloc(1, sizeof *proxy);
    must(proxy != NULL, "memory for a proxy");
    proxy->here = address(path);
    proxy->there = address(target);
    proxy->faults = *faults;
    proxy->random = faults->seed;
    pthread_mutex_init(&proxy->shared.lock, NULL);
    proxy->listening = stream_socket();
    must(bind(proxy->listening, (struct sockaddr *)&proxy->here, sizeof proxy->here) == 0, "bind the proxy");
    must(listen(proxy->listening, CONNECTIONS_MAX) == 0, "listen");
    proxy->wake = eventfd(0, EFD_CLOEXEC);
    must(proxy->wake >= 0, "eventfd");
    must(pthread_create(&proxy->thread, NULL, run, proxy) == 0, "start the proxy");
    return proxy;
}

void
proxy_free(struct proxy *proxy)
{
    if (!proxy)
        return;
    must(eventfd_write(proxy->wake, 1) == 0, "wake the proxy");
    pthread_join(proxy->thread, NULL);
    for (size_t i = 0; i < CONNECTIONS_MAX; i++)
        if (proxy->connections[i].open)
            end(&proxy->connections[i]);
    close(proxy->listening);
    close(proxy->wake);
    unlink(proxy->here.sun_path);
    pthread_mutex_destroy(&proxy->shared.lock);
    free(proxy);
}

void
proxy_count(struct proxy *proxy, struct proxy_counts *ret)
{
    pthread_mutex_lock(&proxy->shared.lock);
    *ret = proxy->shared.counts;
    pthread_mutex_unlock(&proxy->shared.lock);
}
