#include "tests/faults/sweep_steps.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>

#include <cmocka.h>

#define NAMESPACE "11111111-2222-3333-4444-555555555555"
#define ADAPTER   "aaaaaaaa-bbbb-cccc-dddd-eeeeeeeeeeee"

/* -- a container and what it stands on -- */

static enum gcs_status
volume_add(struct sweep *s, struct gcs_error *err)
{
    static const char *const files[] = {"base", "top"};
    return gcs_add_volume(s->host, s->id, VOLUME_ID, files, 2, NULL, err);
}

static enum gcs_status
volume_remove(struct sweep *s, struct gcs_error *err)
{
    return gcs_remove_volume(s->host, VOLUME_ID, err);
}

static enum gcs_status
scratch_add(struct sweep *s, struct gcs_error *err)
{
    return gcs_add_scratch(s->host, s->scratch, 0, err);
}

static enum gcs_status
scratch_remove(struct sweep *s, struct gcs_error *err)
{
    return gcs_remove_scratch(s->host, s->scratch, err);
}

static enum gcs_status
layers_combine(struct sweep *s, struct gcs_error *err)
{
    return gcs_combine_layers(s->host, s->id, s->scratch, VOLUME_ID, err);
}

static enum gcs_status
layers_separate(struct sweep *s, struct gcs_error *err)
{
    return gcs_separate_layers(s->host, s->id, s->scratch, VOLUME_ID, err);
}

static enum gcs_status
create(struct sweep *s, struct gcs_error *err)
{
    struct test_spec spec;
    spec_init(&spec);
    spec_add_mount(&spec, "sandbox:///tmp/atlas/emptydir/vol1", "/volumemountscratch");
    return gcs_create(s->host, s->id, &spec.spec, err);
}

static enum gcs_status delete (struct sweep *s, struct gcs_error *err) {
    return gcs_delete(s->host, s->id, err);
}

static enum gcs_status
start(struct sweep *s, struct gcs_error *err)
{
    return gcs_start(s->host, s->id, &s->init, err);
}

static enum gcs_status
stop(struct sweep *s, struct gcs_error *err)
{
    (void)err;
    host_stop(s->host, s->number, s->init);
    return GCS_OK;
}

/* Up to the end of what was executed, with all its descriptors; only the execution itself is disturbed. */
static enum gcs_status
execute(struct sweep *s, struct gcs_error *err)
{
    static const char *const args[] = {"exit", "0", NULL};
    struct test_process process;
    struct gcs_exit ended;
    uint32_t id;
    process_init(&process, args);
    enum gcs_status status = gcs_exec(s->host, s->id, &process.process, &id, err);
    inject_disarm(s->inject);
    return status == GCS_OK ? gcs_wait(s->host, s->id, id, GCS_WAIT_FOREVER, &ended, err) : status;
}

/* A mapped directory for the running container, which it keeps. */
static enum gcs_status
mount_add(struct sweep *s, struct gcs_error *err)
{
    struct test_spec spec;
    spec_init(&spec);
    spec_add_mount(&spec, "sandbox:///tmp/atlas/emptydir/late/vol1", GUEST_LATER);
    return gcs_add_mount(s->host, s->id, spec.spec.mounts[0], err);
}

/* -- networks, which belong to no container -- */

static enum gcs_status
namespace_add(struct sweep *s, struct gcs_error *err)
{
    return gcs_add_network_namespace(s->host, NAMESPACE, err);
}

static enum gcs_status
namespace_remove(struct sweep *s, struct gcs_error *err)
{
    return gcs_remove_network_namespace(s->host, NAMESPACE, err);
}

/* Both ends have an address, and there is a route. */
static enum gcs_status
adapter_add(struct sweep *s, struct gcs_error *err)
{
    Gcs__V1__IpConfiguration inside = GCS__V1__IP_CONFIGURATION__INIT,
                             outside = GCS__V1__IP_CONFIGURATION__INIT;
    Gcs__V1__Route route = GCS__V1__ROUTE__INIT;
    Gcs__V1__Network network = GCS__V1__NETWORK__INIT;
    inside.ip_address = (char *)(uintptr_t) "10.77.0.2";
    outside.ip_address = (char *)(uintptr_t) "10.77.0.1";
    inside.prefix_length = outside.prefix_length = 24;
    route.destination_prefix = (char *)(uintptr_t) "0.0.0.0/0";
    route.next_hop = outside.ip_address;
    network.namespace_id = (char *)(uintptr_t)NAMESPACE;
    network.adapter_id = (char *)(uintptr_t)ADAPTER;
    network.ip_configurations = (Gcs__V1__IpConfiguration *[]){&inside};
    network.guest_ip_configurations = (Gcs__V1__IpConfiguration *[]){&outside};
    network.routes = (Gcs__V1__Route *[]){&route};
    network.n_ip_configurations = network.n_guest_ip_configurations = network.n_routes = 1;
    return gcs_add_network(s->host, &network, err);
}

static enum gcs_status
adapter_remove(struct sweep *s, struct gcs_error *err)
{
    return gcs_remove_network(s->host, NAMESPACE, ADAPTER, err);
}

static enum gcs_status
adapter_and_namespace_add(struct sweep *s, struct gcs_error *err)
{
    enum gcs_status status = namespace_add(s, err);
    return status == GCS_OK ? adapter_add(s, err) : status;
}

static enum gcs_status
adapter_and_namespace_remove(struct sweep *s, struct gcs_error *err)
{
    enum gcs_status status = adapter_remove(s, err);
    return status == GCS_OK ? namespace_remove(s, err) : status;
}

/* -- up and down -- */

void
sweep_must(struct sweep *s, step_fn *step, const char *what)
{
    struct gcs_error err = {0};
    enum gcs_status status = step(s, &err);
    if (status == GCS_OK)
        return;
    program_print_log(&s->guest->sidecar);
    program_print_log(&s->guest->inbox);
    fail_msg("%s: then %s: %s", what, gcs_status_name(status), err.message);
}

void
sweep_go(struct sweep *s, enum level level, const char *what)
{
    static step_fn *const up[] = {volume_add, scratch_add, layers_combine, create, start};
    static step_fn *const down[] = {volume_remove, scratch_remove, layers_separate, delete, stop};
    if (s->level == NOTHING) {
        container_id(s->id, ++s->number);
        scratch_name(s->scratch, s->number);
    }
    for (; s->level < level; s->level++)
        sweep_must(s, up[s->level], what);
    for (; s->level > level; s->level--)
        sweep_must(s, down[s->level - 1], what);
}

/* -- all of them -- */

const struct swept sweep_steps[] = {
    {"add a volume", volume_add, NOTHING, VOLUME},
    {"add a scratch", scratch_add, VOLUME, SCRATCHED},
    {"combine layers", layers_combine, SCRATCHED, COMBINED},
    {"create", create, COMBINED, CREATED},
    {"start", start, CREATED, STARTED},
    {"execute", execute, STARTED, STARTED},
    {"add a mount", mount_add, STARTED, STARTED},
    {"delete", delete, CREATED, COMBINED, .removes = true, .may_stick = true},
    {"separate layers", layers_separate, COMBINED, SCRATCHED, .removes = true},
    {"remove a scratch", scratch_remove, SCRATCHED, VOLUME, .removes = true},
    {"remove a volume", volume_remove, VOLUME, NOTHING, .removes = true},
    {"add a namespace", namespace_add, NOTHING, NOTHING, .after = namespace_remove},
    {"add an adapter", adapter_add, NOTHING, NOTHING, .before = namespace_add,
     .after = adapter_and_namespace_remove},
    {"remove adapter", adapter_remove, NOTHING, NOTHING, .before = adapter_and_namespace_add,
     .after = namespace_remove, .removes = true},
    {"remove namespace", namespace_remove, NOTHING, NOTHING, .before = namespace_add, .removes = true},
};

const size_t sweep_steps_count = sizeof sweep_steps / sizeof sweep_steps[0];
