#include "server/inbox/networks.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <utlist.h>

#include "server/base/fd.h"
#include "server/base/limits.h"
#include "server/base/log.h"
#include "server/base/mutex.h"
#include "server/inbox/netns.h"
#include "server/inbox/run_path.h"
#include "server/inbox/tree.h"

enum { GUID_BYTES = 37 };

struct adapter {
    struct adapter *next;
    char id[GUID_BYTES];
    char guest_name[NETNS_INTERFACE_BYTES];
    unsigned number; /* of ethN */
};

struct network {
    struct network *next;
    char id[GUID_BYTES];
    char path[RUN_PATH_MAX];
    struct adapter *adapters; /* whoever has the namespace's key may look */
    unsigned containers;      /* in it; guarded by the table's lock */
};

struct networks {
    int directory_fd;
    const char *run_dir;
    bool real;

    struct {
        struct mutex lock;
        struct network *list GUARDED;
    } table; /* lock guards its neighbour and the count of containers of each */
};

/* -- the table -- */

static struct network *
find_locked(struct networks *networks, const char *id) REQUIRES(networks->table.lock)
{
    struct network *network;
    LL_FOREACH(networks->table.list, network)
    {
        if (strcmp(network->id, id) == 0)
            return network;
    }
    return NULL;
}

static enum status
find(struct networks *networks, const char *id, struct network **ret, struct error *err)
{
    mutex_lock(&networks->table.lock);
    struct network *network = find_locked(networks, id);
    mutex_unlock(&networks->table.lock);
    if (!network)
        return error_set(err, STATUS_NOT_FOUND, 0, "there is no network namespace '%.64s'", id);
    *ret = network;
    return STATUS_OK;
}

enum status
networks_open(int run_fd, const char *run_dir, bool real, struct networks **ret, struct error *err)
{
    struct networks *networks = calloc(1, sizeof *networks);
    if (!networks)
        return error_set(err, STATUS_RESOURCE_EXHAUSTED, 0, "no memory for networks");
    enum status status = tree_directory(run_fd, "netns", 0700, &networks->directory_fd, err);
    if (status != STATUS_OK) {
        free(networks);
        return status;
    }
    networks->run_dir = run_dir;
    networks->real = real;
    mutex_init(&networks->table.lock, RANK_NETWORKS);
    *ret = networks;
    return STATUS_OK;
}

static void
adapter_free(struct network *network, struct adapter *adapter)
{
    LL_DELETE(network->adapters, adapter);
    free(adapter);
}

/* With the namespace's end the pairs would go as well, but later, when the kernel has time. */
static enum status
adapter_take_down(struct networks *networks, struct network *network, struct adapter *adapter,
                  struct error *err)
{
    enum status status = networks->real ? netns_adapter_remove(adapter->guest_name, err) : STATUS_OK;
    if (status != STATUS_OK && status != STATUS_NOT_FOUND) /* a container may have taken its end away */
        return status;
    adapter_free(network, adapter);
    return STATUS_OK;
}

static enum status
take_down(struct networks *networks, struct network *network, struct error *err)
{
    while (network->adapters)
        TRY(adapter_take_down(networks, network, network->adapters, err));
    if (networks->real)
        TRY(netns_drop(network->path, err));
    if (unlinkat(networks->directory_fd, network->id, 0) < 0)
        return error_set(err, STATUS_INTERNAL, errno, "remove a network namespace's file");
    return STATUS_OK;
}

void
networks_close(struct networks *networks)
{
    struct error err;
    if (!networks)
        return;
    mutex_lock(&networks->table.lock);
    struct network *list = networks->table.list;
    networks->table.list = NULL;
    mutex_unlock(&networks->table.lock);
    while (list) {
        struct network *network = list;
        LL_DELETE(list, network);
        if (take_down(networks, network, &err) != STATUS_OK)
            LOG_ERROR("a network namespace is left", LOG_TEXT("id", network->id),
                      LOG_TEXT("error", err.text));
        while (network->adapters)
            adapter_free(network, network->adapters);
        free(network);
    }
    fd_closep(&networks->directory_fd);
    mutex_done(&networks->table.lock);
    free(networks);
}

/* Enlists it, or says why not. */
static enum status
enlist(struct networks *networks, struct network *network, struct error *err)
{
    const struct network *other;
    int count;
    enum status status = STATUS_OK;
    mutex_lock(&networks->table.lock);
    LL_COUNT(networks->table.list, other, count);
    if (find_locked(networks, network->id))
        status = error_set(err, STATUS_ALREADY_EXISTS, 0, "network namespace '%s' exists", network->id);
    else if (count >= LIMIT_NETWORKS)
        status =
            error_set(err, STATUS_RESOURCE_EXHAUSTED, 0, "there are %d network namespaces", LIMIT_NETWORKS);
    else
        LL_PREPEND(networks->table.list, network);
    mutex_unlock(&networks->table.lock);
    return status;
}

static void
delist(struct networks *networks, struct network *network)
{
    mutex_lock(&networks->table.lock);
    LL_DELETE(networks->table.list, network);
    mutex_unlock(&networks->table.lock);
    free(network);
}

static enum status
make(struct networks *networks, const struct network *network, struct error *err)
{
    CLEANUP(fd_closep)
    int fd = openat(networks->directory_fd, network->id, O_CREAT | O_EXCL | O_RDONLY | O_CLOEXEC | O_NOFOLLOW,
                    0600);
    if (fd < 0)
        return error_set(err, status_of_errno(errno), errno, "make a network namespace's file");
    enum status status = networks->real ? netns_make(network->path, err) : STATUS_OK;
    if (status != STATUS_OK)
        unlinkat(networks->directory_fd, network->id, 0);
    return status;
}

enum status
networks_add(struct networks *networks, const char *id, struct error *err)
{
    struct network *network = calloc(1, sizeof *network);
    if (!network)
        return error_set(err, STATUS_RESOURCE_EXHAUSTED, 0, "no memory for a network");
    memcpy(network->id, id, GUID_BYTES);
    run_path(networks->run_dir, network->path, "netns/%s", id);
    enum status status = enlist(networks, network, err);
    if (status != STATUS_OK) {
        free(network);
        return status;
    }
    status = make(networks, network, err);
    if (status != STATUS_OK)
        delist(networks, network);
    return status;
}

enum status
networks_remove(struct networks *networks, const char *id, struct error *err)
{
    struct network *network;
    TRY(find(networks, id, &network, err));
    mutex_lock(&networks->table.lock);
    unsigned containers = network->containers;
    mutex_unlock(&networks->table.lock);
    if (containers > 0) /* more cannot come: they need the namespace's key */
        return error_set(err, STATUS_FAILED_PRECONDITION, 0,
                         "network namespace '%s': %u containers are in it", id, containers);
    TRY(take_down(networks, network, err));
    delist(networks, network);
    return STATUS_OK;
}

/* -- adapters -- */

static struct adapter *
adapter_find(const struct network *network, const char *adapter_id)
{
    struct adapter *adapter;
    LL_FOREACH(network->adapters, adapter)
    {
        if (strcmp(adapter->id, adapter_id) == 0)
            return adapter;
    }
    return NULL;
}

static bool
number_is_used(const struct network *network, unsigned number)
{
    const struct adapter *adapter;
    LL_FOREACH(network->adapters, adapter)
    {
        if (adapter->number == number)
            return true;
    }
    return false;
}

/* The first ethN that is free; LIMIT_ADAPTERS: none is. */
static unsigned
number_free(const struct network *network)
{
    unsigned number = 0;
    while (number < LIMIT_ADAPTERS && number_is_used(network, number))
        number++;
    return number;
}

/* "gcs" and twelve of the id's digits: another adapter with the same ones is refused by the kernel. */
static void
guest_name_make(char ret[NETNS_INTERFACE_BYTES], const char *adapter_id)
{
    size_t used = (size_t)snprintf(ret, NETNS_INTERFACE_BYTES, "gcs");
    for (const char *c = adapter_id; *c && used < NETNS_INTERFACE_BYTES - 1; c++)
        if (*c != '-')
            ret[used++] = *c;
    ret[used] = '\0';
}

enum status
networks_adapter_add(struct networks *networks, const Gcs__V1__Network *asked, struct error *err)
{
    struct network *network;
    char name[NETNS_INTERFACE_BYTES];
    TRY(find(networks, asked->namespace_id, &network, err));
    unsigned number = number_free(network);
    if (adapter_find(network, asked->adapter_id))
        return error_set(err, STATUS_ALREADY_EXISTS, 0, "network namespace '%s' has adapter '%s'",
                         network->id, asked->adapter_id);
    if (number == LIMIT_ADAPTERS)
        return error_set(err, STATUS_RESOURCE_EXHAUSTED, 0, "network namespace '%s' has %d adapters",
                         network->id, LIMIT_ADAPTERS);
    struct adapter *adapter = calloc(1, sizeof *adapter);
    if (!adapter)
        return error_set(err, STATUS_RESOURCE_EXHAUSTED, 0, "no memory for an adapter");
    memcpy(adapter->id, asked->adapter_id, GUID_BYTES);
    guest_name_make(adapter->guest_name, adapter->id);
    adapter->number = number;
    snprintf(name, sizeof name, "eth%u", number);
    enum status status =
        networks->real ? netns_adapter_add(network->path, adapter->guest_name, name, asked, err) : STATUS_OK;
    if (status == STATUS_OK)
        LL_PREPEND(network->adapters, adapter);
    else
        free(adapter);
    return status;
}

enum status
networks_adapter_remove(struct networks *networks, const char *id, const char *adapter_id, struct error *err)
{
    struct network *network;
    TRY(find(networks, id, &network, err));
    struct adapter *adapter = adapter_find(network, adapter_id);
    if (!adapter)
        return error_set(err, STATUS_NOT_FOUND, 0, "network namespace '%s' has no adapter '%.64s'", id,
                         adapter_id);
    return adapter_take_down(networks, network, adapter, err);
}

/* -- containers -- */

enum status
networks_enter(struct networks *networks, const char *id, const char **ret_path, struct error *err)
{
    struct network *network;
    TRY(find(networks, id, &network, err));
    mutex_lock(&networks->table.lock);
    network->containers++;
    mutex_unlock(&networks->table.lock);
    *ret_path = network->path;
    return STATUS_OK;
}

void
networks_leave(struct networks *networks, const char *id)
{
    mutex_lock(&networks->table.lock);
    struct network *network = find_locked(networks, id);
    if (network)
        network->containers--;
    mutex_unlock(&networks->table.lock);
}
