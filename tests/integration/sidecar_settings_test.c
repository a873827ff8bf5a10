/*
 * What a host may ask to modify, and how: every resource with every request type, and the ids that every
 * request names.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "server/rpc/method.h"
#include "tests/integration/sidecar_fixture.h"

static const char *const type_names[] = {"ADD", "REMOVE", "PRE_ADD", "UPDATE"};
enum { TYPES = sizeof type_names / sizeof type_names[0] };

/* The table of the schema's comments: which types a resource takes; "every" of them is refused for its own
 * reason. */
static const struct {
    const char *resource;
    bool takes[TYPES];
    bool refused;
} resources[] = {
    {"SecurityPolicy", {true}, false},
    {"SecurityPolicyFragment", {true, true, true, true}, true},
    {"BlockCims", {true, true}, false},
    {"ContainerScratch", {true, true}, false},
    {"CombinedLayers", {true, true}, false},
    {"ContainerMount", {true}, false},
    {"MappedDirectory", {true, true, true, true}, true},
    {"ContainerProcessor", {true, true, true, true}, true},
    {"ContainerMemory", {true, true, true, true}, true},
    {"MappedVirtualDisk", {true, true, true, true}, true},
    {"NetworkNamespace", {true, true}, false},
    {"Network", {true, true}, false},
    {"HvSocket", {true, true, true, true}, true},
};

static const struct rpc_method *
row_of(const char *resource)
{
    for (size_t i = 0; i < sidecar_methods.count; i++) {
        const char *slash = strchr(sidecar_methods.rows[i].name, '/');
        if (slash && strcmp(slash + 1, resource) == 0)
            return &sidecar_methods.rows[i];
    }
    return NULL;
}

static void
every_resource_of_the_schema_has_a_row_and_its_request_types(void **state)
{
    (void)state;
    size_t rows = 0;
    for (unsigned i = 0; i < gcs__v1__modify_settings__descriptor.n_fields; i++) {
        const ProtobufCFieldDescriptor *field = &gcs__v1__modify_settings__descriptor.fields[i];
        if (field->type == PROTOBUF_C_TYPE_MESSAGE)
            assert_non_null(rpc_method_find(&sidecar_methods, 42, field->id));
    }
    for (size_t i = 0; i < sidecar_methods.count; i++) {
        const struct rpc_method *row = &sidecar_methods.rows[i];
        assert_int_equal(row->resource != 0, row->request_types != 0);
        rows += row->resource != 0;
    }
    assert_int_equal(sizeof resources / sizeof resources[0], rows);
}

static void
every_pair_of_resource_and_request_type_outside_the_table_is_refused_by_both_names(void **state)
{
    struct sidecar_fixture *f = *state;
    char id[65];
    for (size_t i = 0; i < sizeof resources / sizeof resources[0]; i++) {
        const struct rpc_method *row = row_of(resources[i].resource);
        assert_non_null(row);
        for (unsigned type = 0; type < TYPES; type++) {
            struct gcs_error err = {0};

            enum gcs_status status =
                host_call_row(f->host, row, (Gcs__V1__RequestType)type, container_id(id, 0), &err);

            const char *text = err.message ? err.message : "";
            bool names_both = strstr(text, resources[i].resource) && strstr(text, type_names[type]);
            if (resources[i].takes[type] ? strstr(text, "request_type") != NULL
                                         : status != GCS_UNIMPLEMENTED || !names_both)
                fail_msg("%s %s: %s: %s", resources[i].resource, type_names[type], gcs_status_name(status),
                         text);
            if (resources[i].refused)
                assert_int_equal(GCS_UNIMPLEMENTED, status);
            gcs_error_clear(&err);
        }
    }
    assert_int_equal(0, inbox_count(f->inbox, INBOX_CREATE, NULL));
}

static void
an_id_that_is_neither_64_digits_nor_the_uvms_is_refused_whatever_the_request(void **state)
{
    struct sidecar_fixture *f = *state;
    static const char *const bad_ids[] = {
        "1",
        "../../etc",
        "000000000000000000000000000000000000000000000000000000000000000",  /* 63 */
        "000000000000000000000000000000000000000000000000000000000000000G", /* no digit */
        "ABCDEF0000000000000000000000000000000000000000000000000000000000", /* upper case */
        "00000000-0000-0000-0000-000000000001",                             /* another GUID */
    };
    size_t before = inbox_count(f->inbox, INBOX_ANY, NULL);
    for (size_t i = 0; i < sidecar_methods.count; i++)
        for (size_t k = 0; k < sizeof bad_ids / sizeof bad_ids[0]; k++) {
            const struct rpc_method *row = &sidecar_methods.rows[i];
            struct gcs_error err = {0};

            enum gcs_status status =
                host_call_row(f->host, row, GCS__V1__REQUEST_TYPE__REQUEST_TYPE_ADD, bad_ids[k], &err);

            if (status != GCS_INVALID_ARGUMENT || !strstr(err.message, "container_id"))
                fail_msg("%s '%s': %s: %s", row->name, bad_ids[k], gcs_status_name(status),
                         err.message ? err.message : "");
            gcs_error_clear(&err);
        }
    assert_int_equal(before, inbox_count(f->inbox, INBOX_ANY, NULL));
}

static void
the_uvm_itself_is_not_created(void **state)
{
    struct sidecar_fixture *f = *state;
    struct gcs_error err = {0};
    struct test_spec spec;
    spec_init(&spec);

    assert_int_equal(GCS_INVALID_ARGUMENT, gcs_create(f->host, GCS_UVM_ID, &spec.spec, &err));

    assert_non_null(strstr(err.message, "container_id"));
    gcs_error_clear(&err);
    assert_int_equal(0, inbox_count(f->inbox, INBOX_CREATE, NULL));
    assert_int_equal(CONTAINER_RUNNING, container_state(f->sidecar->containers, GCS_UVM_ID));
}

static void
assert_refused_here(struct sidecar_fixture *f, Gcs__V1__Request *request, const char *reason)
{
    struct gcs_error err = {0};
    size_t before = inbox_count(f->inbox, INBOX_ANY, NULL);
    assert_int_equal(GCS_INVALID_ARGUMENT, gcs_call(f->host, request, NULL, &err));
    if (!strstr(err.message, reason))
        fail_msg("'%s' has not '%s'", err.message, reason);
    gcs_error_clear(&err);
    assert_int_equal(before, inbox_count(f->inbox, INBOX_ANY, NULL));
}

static void
what_says_too_little_or_too_much_is_refused_by_its_field(void **state)
{
    struct sidecar_fixture *f = *state;
    Gcs__V1__Request request = GCS__V1__REQUEST__INIT;
    Gcs__V1__ExecuteProcess execute = GCS__V1__EXECUTE_PROCESS__INIT;
    Gcs__V1__ModifySettings settings = GCS__V1__MODIFY_SETTINGS__INIT;
    Gcs__V1__BlockCims cims = GCS__V1__BLOCK_CIMS__INIT;
    char id[65], base[] = "base", *layers[] = {base}, volume[] = VOLUME_ID, uvm[] = GCS_UVM_ID;
    request.container_id = container_id(id, 0);
    request.body_case = GCS__V1__REQUEST__BODY_EXECUTE_PROCESS;
    request.execute_process = &execute;
    assert_refused_here(f, &request, "execute_process.process: missing");

    request.body_case = GCS__V1__REQUEST__BODY_MODIFY_SETTINGS;
    request.modify_settings = &settings;
    settings.resource_case = GCS__V1__MODIFY_SETTINGS__RESOURCE_BLOCK_CIMS;
    settings.block_cims = &cims;
    settings.request_type = GCS__V1__REQUEST_TYPE__REQUEST_TYPE_REMOVE;
    cims.volume_id = volume;
    cims.layers = layers;
    cims.n_layers = 1;
    assert_refused_here(f, &request, "modify_settings.block_cims.layers: only with ADD");
    settings.request_type = GCS__V1__REQUEST_TYPE__REQUEST_TYPE_ADD;
    request.container_id = uvm;
    assert_refused_here(f, &request, "container_id: layers are mounted for a container");
    assert_int_equal(0, volume_count(f->sidecar->volumes));
}

static enum gcs_status
create_with(struct sidecar_fixture *f, Gcs__V1__RegistryChanges *changes, struct gcs_error *err)
{
    struct test_spec spec;
    char id[65];
    Gcs__V1__CreateContainer create = GCS__V1__CREATE_CONTAINER__INIT;
    Gcs__V1__Request request = GCS__V1__REQUEST__INIT;
    spec_init(&spec);
    create.spec = &spec.spec;
    create.registry_changes = changes;
    request.container_id = container_id(id, 0);
    request.body_case = GCS__V1__REQUEST__BODY_CREATE_CONTAINER;
    request.create_container = &create;
    return gcs_call(f->host, &request, NULL, err);
}

/* A request's changes and what they are made of; made what hosts always send. */
struct registry {
    Gcs__V1__RegistryKey key, *keys[1];
    Gcs__V1__RegistryValue value, *values[2];
    Gcs__V1__RegistryChanges changes;
};

static void
registry_init(struct registry *r)
{
    gcs__v1__registry_key__init(&r->key);
    gcs__v1__registry_value__init(&r->value);
    gcs__v1__registry_changes__init(&r->changes);
    r->key.hive = GCS__V1__REGISTRY_HIVE__REGISTRY_HIVE_SYSTEM;
    r->key.name = (char *)(uintptr_t) "ControlSet001\\Control";
    r->value.key = r->keys[0] = &r->key;
    r->value.name = (char *)(uintptr_t) "WaitToKillServiceTimeout";
    r->value.type = GCS__V1__REGISTRY_TYPE__REGISTRY_TYPE_STRING;
    r->value.string_value = (char *)(uintptr_t) "2147483647";
    r->values[0] = r->values[1] = &r->value;
    r->changes.add_values = r->values;
    r->changes.n_add_values = 1;
    r->changes.delete_keys = r->keys;
}

static void
the_registry_value_that_hosts_always_send_is_taken_and_passed_on_to_nobody(void **state)
{
    struct sidecar_fixture *f = *state;
    struct gcs_error err = {0};
    struct registry r;
    host_prepare(f->host, 0);
    registry_init(&r);

    assert_int_equal(GCS_OK, create_with(f, &r.changes, &err));

    const Gcs__V1__Request *got = inbox_message(f->inbox, INBOX_CREATE, NULL, 0)->request;
    assert_null(got->create_container->registry_changes);
}

static void
every_other_registry_change_is_refused_by_its_place(void **state)
{
    struct sidecar_fixture *f = *state;
    static uint8_t byte[] = {0};
    struct registry r[13];
    const char *places[13];
    host_prepare(f->host, 0);
    for (size_t i = 0; i < 13; i++) {
        registry_init(&r[i]);
        places[i] = "create_container.registry_changes.add_values[0]";
    }
    r[0].value.key = NULL;
    r[1].key.hive = GCS__V1__REGISTRY_HIVE__REGISTRY_HIVE_SOFTWARE;
    r[2].key.name = (char *)(uintptr_t) "ControlSet001\\control";
    r[3].key.is_volatile = true;
    r[4].value.name = (char *)(uintptr_t) "WaitToKillService";
    r[5].value.type = GCS__V1__REGISTRY_TYPE__REGISTRY_TYPE_EXPANDED_STRING;
    r[6].value.string_value = (char *)(uintptr_t) "2147483646";
    r[7].value.binary_value = (ProtobufCBinaryData){.data = byte, .len = 1};
    r[8].value.d_word_value = 1;
    r[9].value.q_word_value = 1;
    r[10].value.custom_type = 1;
    r[11].changes.n_add_values = 2;
    places[11] = "create_container.registry_changes.add_values[1]";
    r[12].changes.n_delete_keys = 1;
    places[12] = "create_container.registry_changes.delete_keys[0]";
    for (size_t i = 0; i < 13; i++) {
        struct gcs_error err = {0};

        enum gcs_status status = create_with(f, &r[i].changes, &err);

        if (status != GCS_UNIMPLEMENTED || !strstr(err.message, places[i]))
            fail_msg("change %zu: %s: %s", i, gcs_status_name(status), err.message ? err.message : "");
        gcs_error_clear(&err);
    }
    assert_int_equal(0, inbox_count(f->inbox, INBOX_CREATE, NULL));
}

#define NETWORK "11111111-2222-3333-4444-555555555555"

static struct host_call *
begin_network(struct sidecar_fixture *f, Gcs__V1__RequestType type, uint32_t timeout_ms)
{
    Gcs__V1__NetworkNamespace network = GCS__V1__NETWORK_NAMESPACE__INIT;
    Gcs__V1__ModifySettings settings = GCS__V1__MODIFY_SETTINGS__INIT;
    Gcs__V1__Request request = GCS__V1__REQUEST__INIT;
    network.namespace_id = (char *)(uintptr_t)NETWORK;
    settings.request_type = type;
    settings.resource_case = GCS__V1__MODIFY_SETTINGS__RESOURCE_NETWORK_NAMESPACE;
    settings.network_namespace = &network;
    request.timeout_ms = timeout_ms;
    request.body_case = GCS__V1__REQUEST__BODY_MODIFY_SETTINGS;
    request.modify_settings = &settings;
    return host_begin(f->host, &request);
}

static void
a_network_is_the_inboxs_to_make_and_is_taken_away_there_when_it_comes_too_late(void **state)
{
    struct sidecar_fixture *f = *state;
    inbox_hold(f->inbox, INBOX_SETTINGS, NULL, 1);
    assert_int_equal(GCS_DEADLINE_EXCEEDED,
                     host_end(begin_network(f, GCS__V1__REQUEST_TYPE__REQUEST_TYPE_ADD, HELD_MS)));
    struct host_call *again = begin_network(f, GCS__V1__REQUEST_TYPE__REQUEST_TYPE_ADD, 600000);
    assert_true(inbox_wait_held(f->inbox, 1));
    assert_int_equal(1,
                     inbox_count(f->inbox, INBOX_SETTINGS, NULL)); /* one namespace, one request at a time */

    inbox_release(f->inbox, INBOX_SETTINGS);

    assert_int_equal(GCS_OK, host_end(again));
    assert_int_equal(3, inbox_count(f->inbox, INBOX_SETTINGS, NULL));
    const Gcs__V1__ModifySettings *reverse =
        inbox_message(f->inbox, INBOX_SETTINGS, NULL, 1)->request->modify_settings;
    assert_int_equal(GCS__V1__REQUEST_TYPE__REQUEST_TYPE_REMOVE, reverse->request_type);
    assert_string_equal(NETWORK, reverse->network_namespace->namespace_id);
    assert_false(host_health(f->host).inconsistent);
}

static void
what_the_inbox_says_of_a_network_reaches_the_host(void **state)
{
    struct sidecar_fixture *f = *state;
    inbox_refuse(f->inbox, INBOX_SETTINGS, NULL, 1, STATUS_ALREADY_EXISTS);
    assert_int_equal(GCS_ALREADY_EXISTS,
                     host_end(begin_network(f, GCS__V1__REQUEST_TYPE__REQUEST_TYPE_ADD, 20000)));
    inbox_refuse(f->inbox, INBOX_SETTINGS, NULL, 1, STATUS_FAILED_PRECONDITION);
    assert_int_equal(GCS_FAILED_PRECONDITION,
                     host_end(begin_network(f, GCS__V1__REQUEST_TYPE__REQUEST_TYPE_REMOVE, 20000)));
    assert_false(host_health(f->host).inconsistent);
}

static void
a_malformed_network_is_refused_by_its_field_and_never_reaches_the_inbox(void **state)
{
    struct sidecar_fixture *f = *state;
    static const struct {
        const char *network, *adapter, *mac, *address, *field;
    } bad[] = {
        {"../../etc", NETWORK, "", "10.0.0.2", "network.namespace_id"},
        {NETWORK, "X", "", "10.0.0.2", "network.adapter_id"},
        {NETWORK, NETWORK, "03:00:00:00:00:01", "10.0.0.2", "network.mac_address"},
        {NETWORK, NETWORK, "", "10.0.0", "network.ip_configurations[0].ip_address"},
    };
    struct gcs_error err = {0};
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        Gcs__V1__Network network = GCS__V1__NETWORK__INIT;
        Gcs__V1__IpConfiguration address = GCS__V1__IP_CONFIGURATION__INIT, *addresses[] = {&address};
        network.namespace_id = (char *)(uintptr_t)bad[i].network;
        network.adapter_id = (char *)(uintptr_t)bad[i].adapter;
        network.mac_address = (char *)(uintptr_t)bad[i].mac;
        address.ip_address = (char *)(uintptr_t)bad[i].address;
        address.prefix_length = 24;
        network.ip_configurations = addresses;
        network.n_ip_configurations = 1;

        assert_int_equal(GCS_INVALID_ARGUMENT, gcs_add_network(f->host, &network, &err));

        if (strncmp(err.message, bad[i].field, strlen(bad[i].field)) != 0)
            fail_msg("'%s' does not name %s", err.message, bad[i].field);
    }
    assert_int_equal(GCS_INVALID_ARGUMENT, gcs_add_network_namespace(f->host, "..", &err));
    assert_int_equal(GCS_INVALID_ARGUMENT, gcs_remove_network_namespace(f->host, "", &err));
    assert_int_equal(GCS_INVALID_ARGUMENT, gcs_remove_network(f->host, NETWORK, "X", &err));
    gcs_error_clear(&err);
    assert_int_equal(0, inbox_count(f->inbox, INBOX_SETTINGS, NULL));
}

static void
a_create_that_names_no_network_by_a_guid_is_refused_and_never_reaches_the_inbox(void **state)
{
    struct sidecar_fixture *f = *state;
    struct gcs_error err = {0};
    struct test_spec spec;
    char id[65];
    host_prepare(f->host, 0);
    spec_init(&spec);
    spec.spec.network_namespace = (char *)(uintptr_t) "/proc/1/ns/net";

    assert_int_equal(GCS_INVALID_ARGUMENT, gcs_create(f->host, container_id(id, 0), &spec.spec, &err));

    assert_non_null(strstr(err.message, "spec.network_namespace: "));
    gcs_error_clear(&err);
    assert_int_equal(0, inbox_count(f->inbox, INBOX_CREATE, NULL));
}

static void
a_create_names_its_network_to_the_inbox(void **state)
{
    struct sidecar_fixture *f = *state;
    struct gcs_error err = {0};
    struct test_spec spec;
    char id[65];
    host_prepare(f->host, 0);
    spec_init(&spec);
    spec.spec.network_namespace = (char *)(uintptr_t)NETWORK;

    assert_int_equal(GCS_OK, gcs_create(f->host, container_id(id, 0), &spec.spec, &err));

    const Gcs__V1__Request *got = inbox_message(f->inbox, INBOX_CREATE, id, 0)->request;
    assert_string_equal(NETWORK, got->create_container->spec->network_namespace);
}

int
main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, fixture_setup_policy, fixture_teardown)
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_resource_of_the_schema_has_a_row_and_its_request_types),
        TEST(every_pair_of_resource_and_request_type_outside_the_table_is_refused_by_both_names),
        TEST(the_uvm_itself_is_not_created),
        TEST(what_says_too_little_or_too_much_is_refused_by_its_field),
        TEST(a_network_is_the_inboxs_to_make_and_is_taken_away_there_when_it_comes_too_late),
        TEST(what_the_inbox_says_of_a_network_reaches_the_host),
        TEST(a_malformed_network_is_refused_by_its_field_and_never_reaches_the_inbox),
        cmocka_unit_test_setup_teardown(
            a_create_that_names_no_network_by_a_guid_is_refused_and_never_reaches_the_inbox,
            fixture_setup_volume, fixture_teardown),
        cmocka_unit_test_setup_teardown(a_create_names_its_network_to_the_inbox, fixture_setup_volume,
                                        fixture_teardown),
        cmocka_unit_test_setup_teardown(
            the_registry_value_that_hosts_always_send_is_taken_and_passed_on_to_nobody, fixture_setup_volume,
            fixture_teardown),
        cmocka_unit_test_setup_teardown(every_other_registry_change_is_refused_by_its_place,
                                        fixture_setup_volume, fixture_teardown),
        TEST(an_id_that_is_neither_64_digits_nor_the_uvms_is_refused_whatever_the_request),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
