/* Network namespaces and the adapters in them. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "client/gcsctl/command.h"
#include "server/base/arena.h"

#define NETWORK_ARENA (1024 * 1024)
#define METRIC_MAX    65535
#define PREFIX_MAX    128

static int
netns_result(struct tool *tool, const struct arguments *arguments, const char *what)
{
    const char *id = arguments->items[0];
    return tool_result(tool, json_pack("{s:s}", what, id), "%s %s", id, what);
}

int
command_netns_add(struct tool *tool, const struct arguments *arguments)
{
    struct gcs_error err = {0};
    if (gcs_add_network_namespace(tool->conn, arguments->items[0], &err) != GCS_OK)
        return tool_fail(tool, "netns add", &err);
    return netns_result(tool, arguments, "added");
}

int
command_netns_remove(struct tool *tool, const struct arguments *arguments)
{
    struct gcs_error err = {0};
    if (gcs_remove_network_namespace(tool->conn, arguments->items[0], &err) != GCS_OK)
        return tool_fail(tool, "netns remove", &err);
    return netns_result(tool, arguments, "removed");
}

static bool
number_read(const char *text, unsigned long most, uint32_t *ret)
{
    char *end;
    errno = 0;
    unsigned long number = strtoul(text, &end, 10);
    if (text[0] < '0' || text[0] > '9' || *end != '\0' || errno != 0 || number > most)
        return false;
    *ret = (uint32_t)number;
    return true;
}

static enum status
no_memory(struct error *err)
{
    return error_set(err, STATUS_RESOURCE_EXHAUSTED, 0, "too many addresses and routes");
}

/* "10.0.0.2/24"; whether that is an address the guest says. */
static enum status
address_read(const char *text, struct arena *arena, Gcs__V1__IpConfiguration *ret, struct error *err)
{
    const char *slash = strchr(text, '/');
    if (!slash || !number_read(slash + 1, PREFIX_MAX, &ret->prefix_length))
        return error_set(err, STATUS_INVALID_ARGUMENT, 0, "'%s' is no ADDRESS/PREFIX", text);
    ret->ip_address = arena_strndup(arena, text, (size_t)(slash - text));
    return ret->ip_address ? STATUS_OK : no_memory(err);
}

static enum status
addresses_read(const char *const *texts, size_t count, struct arena *arena, Gcs__V1__IpConfiguration ***ret,
               size_t *ret_count, struct error *err)
{
    Gcs__V1__IpConfiguration **pointers = ARENA_NEW(arena, Gcs__V1__IpConfiguration *, count + 1);
    Gcs__V1__IpConfiguration *addresses = ARENA_NEW(arena, Gcs__V1__IpConfiguration, count + 1);
    if (!pointers || !addresses)
        return no_memory(err);
    for (size_t i = 0; i < count; i++) {
        gcs__v1__ip_configuration__init(&addresses[i]);
        TRY(address_read(texts[i], arena, &addresses[i], err));
        pointers[i] = &addresses[i];
    }
    *ret = pointers;
    *ret_count = count;
    return STATUS_OK;
}

/* "0.0.0.0/0,10.0.0.1,100", the last two as wanted. */
static enum status
route_read(const char *text, struct arena *arena, Gcs__V1__Route *ret, struct error *err)
{
    char *copy = arena_strndup(arena, text, strlen(text)), *rest = copy;
    if (!copy)
        return no_memory(err);
    ret->destination_prefix = strsep(&rest, ",");
    if (rest)
        ret->next_hop = strsep(&rest, ",");
    if (rest && !number_read(rest, METRIC_MAX, &ret->metric))
        return error_set(err, STATUS_INVALID_ARGUMENT, 0, "'%s': a metric is a number up to %d", text,
                         METRIC_MAX);
    return STATUS_OK;
}

static enum status
routes_read(const struct arguments *arguments, struct arena *arena, Gcs__V1__Network *ret, struct error *err)
{
    size_t count = arguments->routes_count;
    Gcs__V1__Route *routes = ARENA_NEW(arena, Gcs__V1__Route, count + 1);
    ret->routes = ARENA_NEW(arena, Gcs__V1__Route *, count + 1);
    if (!routes || !ret->routes)
        return no_memory(err);
    for (; ret->n_routes < count; ret->n_routes++) {
        gcs__v1__route__init(&routes[ret->n_routes]);
        TRY(route_read(arguments->routes[ret->n_routes], arena, &routes[ret->n_routes], err));
        ret->routes[ret->n_routes] = &routes[ret->n_routes];
    }
    return STATUS_OK;
}

static enum status
network_read(const struct arguments *arguments, struct arena *arena, Gcs__V1__Network *ret, struct error *err)
{
    gcs__v1__network__init(ret);
    ret->namespace_id = (char *)(uintptr_t)arguments->items[0];
    ret->adapter_id = (char *)(uintptr_t)arguments->items[1];
    if (arguments->mac)
        ret->mac_address = (char *)(uintptr_t)arguments->mac;
    TRY(addresses_read(arguments->addresses, arguments->addresses_count, arena, &ret->ip_configurations,
                       &ret->n_ip_configurations, err));
    TRY(addresses_read(arguments->guest_addresses, arguments->guest_addresses_count, arena,
                       &ret->guest_ip_configurations, &ret->n_guest_ip_configurations, err));
    return routes_read(arguments, arena, ret, err);
}

int
command_network_add(struct tool *tool, const struct arguments *arguments)
{
    struct arena arena;
    arena_init(&arena, NETWORK_ARENA);
    Gcs__V1__Network network;
    struct error local;
    struct gcs_error err = {0};
    int result;
    if (network_read(arguments, &arena, &network, &local) != STATUS_OK)
        result = tool_fail_local(tool, "network add", &local);
    else if (gcs_add_network(tool->conn, &network, &err) != GCS_OK)
        result = tool_fail(tool, "network add", &err);
    else
        result = tool_result(
            tool, json_pack("{s:s, s:s}", "adapter", network.adapter_id, "namespace", network.namespace_id),
            "%s added to %s", network.adapter_id, network.namespace_id);
    arena_done(&arena);
    return result;
}

int
command_network_remove(struct tool *tool, const struct arguments *arguments)
{
    const char *namespace_id = arguments->items[0], *adapter_id = arguments->items[1];
    struct gcs_error err = {0};
    if (gcs_remove_network(tool->conn, namespace_id, adapter_id, &err) != GCS_OK)
        return tool_fail(tool, "network remove", &err);
    return tool_result(tool, json_pack("{s:s, s:s}", "removed", adapter_id, "namespace", namespace_id),
                       "%s removed from %s", adapter_id, namespace_id);
}
