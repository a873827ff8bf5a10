/* What a host may say of network namespaces and adapters. */
#include "server/rpc/network_check.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#define NAMESPACE "11111111-2222-3333-4444-555555555555"
#define ADAPTER   "aaaaaaaa-bbbb-cccc-dddd-eeeeeeeeeeee"

/* One adapter with one address at each end and one route; a test changes what it is about. */
struct asked {
    Gcs__V1__ModifySettings settings;
    Gcs__V1__Network network;
    Gcs__V1__IpConfiguration address, guest_address, *addresses[1], *guest_addresses[1];
    Gcs__V1__Route route, *routes[1];
};

static char *
text_of(const char *text)
{
    return (char *)(uintptr_t)text;
}

static void
asked_init(struct asked *asked)
{
    gcs__v1__modify_settings__init(&asked->settings);
    gcs__v1__network__init(&asked->network);
    gcs__v1__ip_configuration__init(&asked->address);
    gcs__v1__ip_configuration__init(&asked->guest_address);
    gcs__v1__route__init(&asked->route);
    asked->settings.resource_case = GCS__V1__MODIFY_SETTINGS__RESOURCE_NETWORK;
    asked->settings.network = &asked->network;
    asked->network.namespace_id = text_of(NAMESPACE);
    asked->network.adapter_id = text_of(ADAPTER);
    asked->address.ip_address = text_of("10.0.0.2");
    asked->address.prefix_length = 24;
    asked->guest_address.ip_address = text_of("fd00::1");
    asked->guest_address.prefix_length = 64;
    asked->route.destination_prefix = text_of("0.0.0.0/0");
    asked->route.next_hop = text_of("10.0.0.1");
    asked->addresses[0] = &asked->address;
    asked->guest_addresses[0] = &asked->guest_address;
    asked->routes[0] = &asked->route;
    asked->network.ip_configurations = asked->addresses;
    asked->network.guest_ip_configurations = asked->guest_addresses;
    asked->network.routes = asked->routes;
    asked->network.n_ip_configurations = asked->network.n_guest_ip_configurations = asked->network.n_routes =
        1;
}

/* Asserts the refusal that begins with the field, or with NULL that there is none. */
static void
assert_said(const struct asked *asked, const char *field)
{
    struct error err = {0};
    enum status status = network_settings_check(&asked->settings, &err);
    if (status != (field ? STATUS_INVALID_ARGUMENT : STATUS_OK) ||
        (field && strncmp(err.text, field, strlen(field)) != 0))
        fail_msg("%s, not %s", status == STATUS_OK ? "fine" : err.text, field ? field : "fine");
}

static void
an_id_is_a_guid_in_lower_case(void **state)
{
    static const char *const bad[] = {
        "",
        "x",
        "../../etc",
        "AAAAAAAA-bbbb-cccc-dddd-eeeeeeeeeeee",
        "{" NAMESPACE "}",
        NAMESPACE "0",
        NAMESPACE "\n",
        "11111111-2222-3333-4444-55555555555",
    };
    (void)state;
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        struct error err;
        struct asked asked;
        asked_init(&asked);
        asked.network.namespace_id = text_of(bad[i]);
        assert_said(&asked, "network.namespace_id: ");
        asked_init(&asked);
        asked.network.adapter_id = text_of(bad[i]);
        assert_said(&asked, "network.adapter_id: ");
        assert_int_equal(network_id_check(bad[i], "here", &err), STATUS_INVALID_ARGUMENT);
        assert_memory_equal(err.text, "here: '", 7);
    }
}

static void
a_namespace_is_checked_for_its_id_with_either_request(void **state)
{
    Gcs__V1__NetworkNamespace resource = GCS__V1__NETWORK_NAMESPACE__INIT;
    struct asked asked;
    (void)state;
    asked_init(&asked);
    asked.settings.resource_case = GCS__V1__MODIFY_SETTINGS__RESOURCE_NETWORK_NAMESPACE;
    asked.settings.network_namespace = &resource;
    for (int i = 0; i < 2; i++) {
        asked.settings.request_type =
            i ? GCS__V1__REQUEST_TYPE__REQUEST_TYPE_REMOVE : GCS__V1__REQUEST_TYPE__REQUEST_TYPE_ADD;
        resource.namespace_id = text_of("../x");
        assert_said(&asked, "network_namespace.namespace_id: ");
        resource.namespace_id = text_of(NAMESPACE);
        assert_said(&asked, NULL);
    }
}

static void
addresses_are_digits_with_a_prefix_that_fits(void **state)
{
    static const struct {
        const char *address;
        uint32_t prefix_length;
        const char *field; /* below ip_configurations[0]; NULL: fine */
    } rows[] = {
        {"10.0.0.2", 1, NULL},
        {"10.0.0.2", 32, NULL},
        {"fd00::2", 128, NULL},
        {"10.0.0.2", 0, "prefix_length"},
        {"10.0.0.2", 33, "prefix_length"},
        {"fd00::2", 129, "prefix_length"},
        {"", 24, "ip_address"},
        {"10.0.0", 24, "ip_address"},
        {"10.0.0.256", 24, "ip_address"},
        {"localhost", 24, "ip_address"},
        {"10.0.0.2/24", 24, "ip_address"},
        {"fe80::1%eth0", 64, "ip_address"},
    };
    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        char field[64], guest_field[64];
        struct asked asked;
        snprintf(field, sizeof field,
                 "network.ip_configurations[0].%s: ", rows[i].field ? rows[i].field : "");
        snprintf(guest_field, sizeof guest_field,
                 "network.guest_ip_configurations[0].%s: ", rows[i].field ? rows[i].field : "");
        asked_init(&asked);
        asked.address.ip_address = text_of(rows[i].address);
        asked.address.prefix_length = rows[i].prefix_length;
        assert_said(&asked, rows[i].field ? field : NULL);
        asked_init(&asked);
        asked.guest_address.ip_address = text_of(rows[i].address);
        asked.guest_address.prefix_length = rows[i].prefix_length;
        assert_said(&asked, rows[i].field ? guest_field : NULL);
    }
}

static void
a_route_is_a_prefix_with_a_next_hop_of_its_family(void **state)
{
    static const struct {
        const char *destination, *next_hop;
        uint32_t metric;
        const char *field; /* below routes[0]; NULL: fine */
    } rows[] = {
        {"0.0.0.0/0", "", 0, NULL},
        {"10.0.0.0/8", "10.0.0.1", 65535, NULL},
        {"::/0", "fd00::1", 0, NULL},
        {"10.0.0.0", "", 0, "destination_prefix"},
        {"10.0.0.0/", "", 0, "destination_prefix"},
        {"10.0.0.0/33", "", 0, "destination_prefix"},
        {"10.0.0.0/-1", "", 0, "destination_prefix"},
        {"10.0.0.0/8x", "", 0, "destination_prefix"},
        {"10.0.0.0/99999999999999999999", "", 0, "destination_prefix"},
        {"fd00::/129", "", 0, "destination_prefix"},
        {"0000000000000000000000000000000000000000000000000000000000000000/0", "", 0, "destination_prefix"},
        {"default", "", 0, "destination_prefix"},
        {"0.0.0.0/0", "fd00::1", 0, "next_hop"},
        {"0.0.0.0/0", "gateway", 0, "next_hop"},
        {"0.0.0.0/0", "", 65536, "metric"},
    };
    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        char field[64];
        struct asked asked;
        snprintf(field, sizeof field, "network.routes[0].%s: ", rows[i].field ? rows[i].field : "");
        asked_init(&asked);
        asked.route.destination_prefix = text_of(rows[i].destination);
        asked.route.next_hop = text_of(rows[i].next_hop);
        asked.route.metric = rows[i].metric;
        assert_said(&asked, rows[i].field ? field : NULL);
    }
}

static void
a_mac_is_one_hosts(void **state)
{
    static const struct {
        const char *mac;
        bool good;
    } rows[] = {
        {"", true},
        {"02:00:00:00:00:0a", true},
        {"FE:dc:BA:98:76:54", true},
        {"02:00:00:00:00", false},
        {"02-00-00-00-00-01", false},
        {"02:00:00:00:00:0g", false},
        {"02:00:00:00:00:01 ", false},
        {"03:00:00:00:00:01", false}, /* a group's */
        {"ff:ff:ff:ff:ff:ff", false},
    };
    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct asked asked;
        asked_init(&asked);
        asked.network.mac_address = text_of(rows[i].mac);
        assert_said(&asked, rows[i].good ? NULL : "network.mac_address: ");
    }
}

static void
a_removal_is_checked_for_its_ids_alone(void **state)
{
    struct asked asked;
    (void)state;
    asked_init(&asked);
    asked.settings.request_type = GCS__V1__REQUEST_TYPE__REQUEST_TYPE_REMOVE;
    asked.network.mac_address = text_of("nonsense");
    asked.address.prefix_length = 1000;
    assert_said(&asked, NULL);
    asked.network.adapter_id = text_of("nonsense");
    assert_said(&asked, "network.adapter_id: ");
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_id_is_a_guid_in_lower_case),
        cmocka_unit_test(a_namespace_is_checked_for_its_id_with_either_request),
        cmocka_unit_test(addresses_are_digits_with_a_prefix_that_fits),
        cmocka_unit_test(a_route_is_a_prefix_with_a_next_hop_of_its_family),
        cmocka_unit_test(a_mac_is_one_hosts),
        cmocka_unit_test(a_removal_is_checked_for_its_ids_alone),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
