#include "server/rpc/network_check.h"

#include <arpa/inet.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "server/base/text.h"

enum status
network_id_check(const char *text, const char *field, struct error *err)
{
    return text_is_guid(text) && !strpbrk(text, "ABCDEF")
               ? STATUS_OK
               : error_set(err, STATUS_INVALID_ARGUMENT, 0, "%s: '%.64s' is no GUID in lower-case digits",
                           field, text);
}

/* The family of an address without a prefix; AF_UNSPEC: it is none. */
static int
family_of(const char *text)
{
    unsigned char bytes[16];
    if (inet_pton(AF_INET, text, bytes) == 1)
        return AF_INET;
    return inet_pton(AF_INET6, text, bytes) == 1 ? AF_INET6 : AF_UNSPEC;
}

static enum status
address_check(const Gcs__V1__IpConfiguration *address, const char *field, size_t index, struct error *err)
{
    int family = family_of(address->ip_address);
    if (family == AF_UNSPEC)
        return error_set(err, STATUS_INVALID_ARGUMENT, 0, "network.%s[%zu].ip_address: '%.64s' is no address",
                         field, index, address->ip_address);
    if (address->prefix_length < 1 || address->prefix_length > (family == AF_INET ? 32 : 128))
        return error_set(err, STATUS_INVALID_ARGUMENT, 0, "network.%s[%zu].prefix_length: %u", field, index,
                         address->prefix_length);
    return STATUS_OK;
}

static enum status
route_check(const Gcs__V1__Route *route, size_t index, struct error *err)
{
    char text[64] = "", *slash, *end = text;
    snprintf(text, sizeof text, "%s",
             strlen(route->destination_prefix) < sizeof text ? route->destination_prefix : "");
    slash = strchr(text, '/');
    unsigned long length = 0;
    if (slash) {
        *slash = '\0';
        length = strspn(slash + 1, "0123456789") > 0 ? strtoul(slash + 1, &end, 10) : 999;
    }
    int family = family_of(text);
    if (!slash || family == AF_UNSPEC || *end != '\0' || length > (family == AF_INET ? 32 : 128))
        return error_set(err, STATUS_INVALID_ARGUMENT, 0,
                         "network.routes[%zu].destination_prefix: '%.64s' is not of the form 10.0.0.0/8",
                         index, route->destination_prefix);
    if (route->next_hop[0] && family_of(route->next_hop) != family)
        return error_set(err, STATUS_INVALID_ARGUMENT, 0, "network.routes[%zu].next_hop: '%.64s'", index,
                         route->next_hop);
    if (route->metric > UINT16_MAX)
        return error_set(err, STATUS_INVALID_ARGUMENT, 0, "network.routes[%zu].metric: %u", index,
                         route->metric);
    return STATUS_OK;
}

/* Six pairs of digits; of one host alone, not a group's. */
static enum status
mac_check(const char *text, struct error *err)
{
    bool good = strlen(text) == 17;
    for (size_t i = 0; good && i < 17; i++)
        good = i % 3 == 2 ? text[i] == ':' : strchr("0123456789abcdefABCDEF", text[i]) != NULL;
    if (text[0] && (!good || (strtoul(text, NULL, 16) & 1) != 0))
        return error_set(err, STATUS_INVALID_ARGUMENT, 0, "network.mac_address: '%.64s'", text);
    return STATUS_OK;
}

static enum status
adapter_check(const Gcs__V1__Network *network, bool adds, struct error *err)
{
    TRY(network_id_check(network->namespace_id, "network.namespace_id", err));
    TRY(network_id_check(network->adapter_id, "network.adapter_id", err));
    if (!adds)
        return STATUS_OK; /* the rest is not looked at */
    TRY(mac_check(network->mac_address, err));
    for (size_t i = 0; i < network->n_ip_configurations; i++)
        TRY(address_check(network->ip_configurations[i], "ip_configurations", i, err));
    for (size_t i = 0; i < network->n_guest_ip_configurations; i++)
        TRY(address_check(network->guest_ip_configurations[i], "guest_ip_configurations", i, err));
    for (size_t i = 0; i < network->n_routes; i++)
        TRY(route_check(network->routes[i], i, err));
    return STATUS_OK;
}

enum status
network_settings_check(const Gcs__V1__ModifySettings *settings, struct error *err)
{
    bool adds = settings->request_type == GCS__V1__REQUEST_TYPE__REQUEST_TYPE_ADD;
    if (settings->resource_case == GCS__V1__MODIFY_SETTINGS__RESOURCE_NETWORK)
        return adapter_check(settings->network, adds, err);
    return network_id_check(settings->network_namespace->namespace_id, "network_namespace.namespace_id", err);
}
