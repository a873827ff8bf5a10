/*
 * A time limit of 1 ms on everything: each request is answered in one of the ways it may be, and nothing is
 * left half done: whatever came into being can be taken away, and the guest is as before.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "tests/faults/guest.h"

enum { STEPS = 24, ROUNDS = 2 * STEPS, LIMIT_MS = 1 };

/* What each kind of request came to. */
struct tally {
    const char *kind;
    size_t statuses[GCS_UNAUTHENTICATED + 1];
};

/* OK, the deadline, or what follows from an earlier step that did not come about. */
static bool
is_legitimate(enum gcs_status status)
{
    switch (status) {
    case GCS_OK:
    case GCS_DEADLINE_EXCEEDED:
    case GCS_NOT_FOUND:
    case GCS_ALREADY_EXISTS:
    case GCS_FAILED_PRECONDITION:
    case GCS_PERMISSION_DENIED: /* the policy too knows of no such container then */
        return true;
    default:
        return false;
    }
}

static void
count(struct tally *tally, const char *kind, enum gcs_status status, const char *message)
{
    tally->kind = kind;
    tally->statuses[status]++;
    if (!is_legitimate(status))
        fail_msg("%s: %s: %s", kind, gcs_status_name(status), message ? message : "");
}

static char *
text(const char *constant)
{
    return (char *)(uintptr_t)constant;
}

/* A round, and what all rounds came to. */
struct run {
    struct guest *guest;
    unsigned round;
    size_t step; /* in the round: the place of its tally */
    struct tally tallies[STEPS];
};

/* The next step: a request about the round's container; `*ret_process` is the process that a start or an exec
 * named. */
static void
ask(struct run *run, const char *kind, Gcs__V1__Request *request, uint32_t *ret_process)
{
    struct gcs_error err = {0};
    Gcs__V1__Response *response = NULL;
    char id[65];
    assert_true(run->step < STEPS);
    request->container_id = container_id(id, run->round);
    request->timeout_ms = run->step < run->round % STEPS ? 0 : LIMIT_MS;
    enum gcs_status status = gcs_call(run->guest->host, request, &response, &err);
    count(&run->tallies[run->step++], kind, status, err.message);
    if (response && response->body_case == GCS__V1__RESPONSE__BODY_START_CONTAINER)
        *ret_process = response->start_container->process_id;
    if (response && response->body_case == GCS__V1__RESPONSE__BODY_EXECUTE_PROCESS)
        *ret_process = response->execute_process->process_id;
    gcs_response_free(response);
    gcs_error_clear(&err);
}

#define ASK(arm_, field_, body_, process_)                                                                   \
    do {                                                                                                     \
        Gcs__V1__Request request = GCS__V1__REQUEST__INIT;                                                   \
        request.body_case = GCS__V1__REQUEST__BODY_##arm_;                                                   \
        request.field_ = (body_);                                                                            \
        ask(run, #field_, &request, (process_));                                                             \
    } while (0)

/* Scratch, layers and volume of a round: their names. */
struct names {
    char scratch[32], volume[32];
};

static struct names
names_of(unsigned round)
{
    struct names names;
    snprintf(names.scratch, sizeof names.scratch, "scratch-%u", round);
    snprintf(names.volume, sizeof names.volume, "tight-%u", round);
    return names;
}

static void
modify(struct run *run, Gcs__V1__RequestType type)
{
    static const char *const what[][3] = {{"add volume", "add scratch", "combine"},
                                          {"remove volume", "remove scratch", "uncombine"}};
    bool removes = type == GCS__V1__REQUEST_TYPE__REQUEST_TYPE_REMOVE;
    struct names names = names_of(run->round);
    char *files[] = {text("base"), text("top")};
    Gcs__V1__BlockCims volume = GCS__V1__BLOCK_CIMS__INIT;
    Gcs__V1__ContainerScratch scratch = GCS__V1__CONTAINER_SCRATCH__INIT;
    Gcs__V1__CombinedLayers layers = GCS__V1__COMBINED_LAYERS__INIT;
    volume.volume_id = names.volume;
    volume.layers = files;
    volume.n_layers = removes ? 0 : 2;
    scratch.target = layers.scratch_target = names.scratch;
    layers.volume_id = names.volume;
    for (unsigned i = 0; i < 3; i++) {
        unsigned step = removes ? 2 - i : i; /* what was built last goes first */
        uint32_t ignored;
        Gcs__V1__ModifySettings settings = GCS__V1__MODIFY_SETTINGS__INIT;
        Gcs__V1__Request request = GCS__V1__REQUEST__INIT;
        settings.request_type = type;
        if (step == 0) {
            settings.resource_case = GCS__V1__MODIFY_SETTINGS__RESOURCE_BLOCK_CIMS;
            settings.block_cims = &volume;
        } else if (step == 1) {
            settings.resource_case = GCS__V1__MODIFY_SETTINGS__RESOURCE_CONTAINER_SCRATCH;
            settings.container_scratch = &scratch;
        } else {
            settings.resource_case = GCS__V1__MODIFY_SETTINGS__RESOURCE_COMBINED_LAYERS;
            settings.combined_layers = &layers;
        }
        request.body_case = GCS__V1__REQUEST__BODY_MODIFY_SETTINGS;
        request.modify_settings = &settings;
        ask(run, what[removes][step], &request, &ignored);
    }
}

/* A container's whole life. */
static void
live(struct run *run)
{
    static const char *const cat[] = {"cat", NULL};
    struct test_spec spec;
    struct test_process process;
    uint32_t init = 1, exec = 1, ignored;
    Gcs__V1__PropertyType types[] = {GCS__V1__PROPERTY_TYPE__PROPERTY_TYPE_PROCESS_LIST};
    Gcs__V1__CreateContainer create = GCS__V1__CREATE_CONTAINER__INIT;
    Gcs__V1__StartContainer start = GCS__V1__START_CONTAINER__INIT;
    Gcs__V1__ExecuteProcess execute = GCS__V1__EXECUTE_PROCESS__INIT;
    Gcs__V1__WriteStream write = GCS__V1__WRITE_STREAM__INIT;
    Gcs__V1__ReadStream read = GCS__V1__READ_STREAM__INIT;
    Gcs__V1__GetProperties get = GCS__V1__GET_PROPERTIES__INIT;
    Gcs__V1__ResizeConsole resize = GCS__V1__RESIZE_CONSOLE__INIT;
    Gcs__V1__CloseStream close = GCS__V1__CLOSE_STREAM__INIT;
    Gcs__V1__SignalProcess signal = GCS__V1__SIGNAL_PROCESS__INIT;
    Gcs__V1__WaitForProcess wait = GCS__V1__WAIT_FOR_PROCESS__INIT;
    Gcs__V1__ShutdownGraceful graceful = GCS__V1__SHUTDOWN_GRACEFUL__INIT;
    Gcs__V1__ShutdownForced forced = GCS__V1__SHUTDOWN_FORCED__INIT;
    Gcs__V1__DeleteContainerState delete = GCS__V1__DELETE_CONTAINER_STATE__INIT;
    spec_init(&spec);
    spec_add_mount(&spec, "sandbox:///tmp/atlas/emptydir/a/b/c", "/volumemountscratch");
    process_init(&process, cat);
    create.spec = &spec.spec;
    execute.process = &process.process;
    get.types = types;
    get.n_types = 1;
    ASK(CREATE_CONTAINER, create_container, &create, &ignored);
    ASK(START_CONTAINER, start_container, &start, &init);
    ASK(EXECUTE_PROCESS, execute_process, &execute, &exec);
    write.process_id = read.process_id = resize.process_id = close.process_id = exec;
    write.data = (ProtobufCBinaryData){.data = (uint8_t *)text("tight"), .len = 5};
    read.stream = GCS__V1__STREAM__STREAM_STDOUT;
    read.wait_ms = 20;
    resize.height = resize.width = 20;
    close.stream = GCS__V1__STREAM__STREAM_STDIN;
    ASK(WRITE_STREAM, write_stream, &write, &ignored);
    ASK(READ_STREAM, read_stream, &read, &ignored);
    ASK(RESIZE_CONSOLE, resize_console, &resize, &ignored);
    ASK(CLOSE_STREAM, close_stream, &close, &ignored);
    ASK(GET_PROPERTIES, get_properties, &get, &ignored);
    signal.process_id = exec;
    wait.process_id = init;
    wait.wait_ms = 20;
    ASK(SIGNAL_PROCESS, signal_process, &signal, &ignored);
    ASK(WAIT_FOR_PROCESS, wait_for_process, &wait, &ignored);
    ASK(SHUTDOWN_GRACEFUL, shutdown_graceful, &graceful, &ignored);
    ASK(SHUTDOWN_FORCED, shutdown_forced, &forced, &ignored);
    ASK(DELETE_CONTAINER_STATE, delete_container_state, &delete, &ignored);
}

/* What is about no container. */
static void
look(struct run *run)
{
    uint32_t ignored;
    Gcs__V1__Ping ping = GCS__V1__PING__INIT;
    Gcs__V1__Health health = GCS__V1__HEALTH__INIT;
    Gcs__V1__GetMetrics metrics = GCS__V1__GET_METRICS__INIT;
    Gcs__V1__WatchEvents watch = GCS__V1__WATCH_EVENTS__INIT;
    ASK(PING, ping, &ping, &ignored);
    ASK(HEALTH, health, &health, &ignored);
    ASK(GET_METRICS, get_metrics, &metrics, &ignored);
    ASK(WATCH_EVENTS, watch_events, &watch, &ignored);
}

static void
print_tallies(const struct tally *tallies, size_t kinds)
{
    for (size_t i = 0; i < kinds; i++) {
        print_message("%-24s", tallies[i].kind);
        for (size_t k = 0; k <= GCS_UNAUTHENTICATED; k++)
            if (tallies[i].statuses[k])
                print_message(" %zu %s", tallies[i].statuses[k], gcs_status_name((enum gcs_status)k));
        print_message("\n");
    }
}

static void
nothing_is_left_half_done_by_a_limit_of_1_ms(void **state)
{
    static struct run run;
    struct guest *guest = *state;
    run = (struct run){.guest = guest};
    struct guest_resources before = guest_resources_settled(guest);
    for (unsigned round = 1; round <= ROUNDS; round++) {
        run.round = round;
        run.step = 0;
        modify(&run, GCS__V1__REQUEST_TYPE__REQUEST_TYPE_ADD);
        live(&run);
        modify(&run, GCS__V1__REQUEST_TYPE__REQUEST_TYPE_REMOVE);
        look(&run);
    }
    print_tallies(run.tallies, run.step);
    assert_true(host_wait_figure(guest->host, "gcs_requests_in_flight", 0, 1)); /* all undo is over */

    for (unsigned round = 1; round <= ROUNDS; round++) {
        struct names names = names_of(round);
        struct gcs_error err = {0};
        host_take_away(guest->host, round, names.volume);
        enum gcs_status status = gcs_remove_volume(guest->host, names.volume, &err);
        assert_true(status == GCS_OK || status == GCS_NOT_FOUND);
        gcs_error_clear(&err);
    }

    struct host_health health = host_health(guest->host);
    assert_false(health.inconsistent);
    assert_int_equal(0, health.containers);
    guest_resources_await(guest, &before);
    uint32_t init = host_run(guest->host, ROUNDS + 1);
    host_stop(guest->host, ROUNDS + 1, init);
    host_clear(guest->host, ROUNDS + 1);
    guest_resources_await(guest, &before);
}

int
main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, guest_setup, guest_teardown)
    const struct CMUnitTest tests[] = {
        TEST(nothing_is_left_half_done_by_a_limit_of_1_ms),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
