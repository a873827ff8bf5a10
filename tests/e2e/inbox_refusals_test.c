/*
 * What a sidecar never asks, or what is not there: the inbox refuses it by its field, and goes on. The fake
 * runtime, as nobody.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "server/base/limits.h"
#include "server/base/status.h"
#include "tests/e2e/inbox_fixture.h"

static char uvm[] = GUEST_UVM;

/* A request with each body it may have. A case fills in what it needs. */
struct question {
    Gcs__V1__Request call;
    Gcs__V1__Approval approval;
    Gcs__V1__CreateContainer create;
    Gcs__V1__Spec spec;
    Gcs__V1__RegistryChanges registry;
    Gcs__V1__ExecuteProcess execute;
    Gcs__V1__ShutdownGraceful graceful;
    Gcs__V1__DeleteContainerState delete;
    Gcs__V1__ReadStream read;
    Gcs__V1__CloseStream close;
    Gcs__V1__ResizeConsole resize;
    Gcs__V1__DumpStacks stacks;
    Gcs__V1__ListObjects list;
    Gcs__V1__ModifySettings settings;
    Gcs__V1__CombinedLayers layers;
    Gcs__V1__BlockCims cims;
    Gcs__V1__ContainerMount mount;
};

static void
question_init(struct question *question)
{
    gcs__v1__request__init(&question->call);
    gcs__v1__approval__init(&question->approval);
    gcs__v1__create_container__init(&question->create);
    gcs__v1__spec__init(&question->spec);
    gcs__v1__registry_changes__init(&question->registry);
    gcs__v1__execute_process__init(&question->execute);
    gcs__v1__shutdown_graceful__init(&question->graceful);
    gcs__v1__delete_container_state__init(&question->delete);
    gcs__v1__read_stream__init(&question->read);
    gcs__v1__close_stream__init(&question->close);
    gcs__v1__resize_console__init(&question->resize);
    gcs__v1__dump_stacks__init(&question->stacks);
    gcs__v1__list_objects__init(&question->list);
    gcs__v1__modify_settings__init(&question->settings);
    gcs__v1__combined_layers__init(&question->layers);
    gcs__v1__block_cims__init(&question->cims);
    gcs__v1__container_mount__init(&question->mount);
    question->call.container_id = guest_id_a;
    question->call.approval = &question->approval;
    question->settings.request_type = GCS__V1__REQUEST_TYPE__REQUEST_TYPE_ADD;
}

#define BODY(question, arm, NAME, body)                                                                      \
    ((question)->call.body_case = GCS__V1__REQUEST__BODY_##NAME, (question)->call.arm = &(question)->body)
#define RESOURCE(question, arm, NAME, body)                                                                  \
    (BODY(question, modify_settings, MODIFY_SETTINGS, settings),                                             \
     (question)->settings.resource_case = GCS__V1__MODIFY_SETTINGS__RESOURCE_##NAME,                         \
     (question)->settings.arm = &(question)->body)

static void
registry(struct question *question)
{
    BODY(question, create_container, CREATE_CONTAINER, create);
    question->create.spec = &question->spec;
    question->create.registry_changes = &question->registry;
}

static void
no_process(struct question *question)
{
    BODY(question, execute_process, EXECUTE_PROCESS, execute);
}

static void
uvm_shutdown(struct question *question)
{
    BODY(question, shutdown_graceful, SHUTDOWN_GRACEFUL, graceful);
    question->call.container_id = uvm;
}

static void
uvm_delete(struct question *question)
{
    BODY(question, delete_container_state, DELETE_CONTAINER_STATE, delete);
    question->call.container_id = uvm;
}

static void
read_input(struct question *question)
{
    BODY(question, read_stream, READ_STREAM, read);
    question->read.stream = GCS__V1__STREAM__STREAM_STDIN;
}

static void
read_much(struct question *question)
{
    BODY(question, read_stream, READ_STREAM, read);
    question->read.stream = GCS__V1__STREAM__STREAM_STDOUT;
    question->read.max_bytes = LIMIT_STREAM_CHUNK_BYTES + 1;
}

static void
close_nothing(struct question *question)
{
    BODY(question, close_stream, CLOSE_STREAM, close);
}

static void
resize_to_nothing(struct question *question)
{
    BODY(question, resize_console, RESIZE_CONSOLE, resize);
    question->resize.height = 24;
}

static void
resize_too_far(struct question *question)
{
    BODY(question, resize_console, RESIZE_CONSOLE, resize);
    question->resize.height = 24;
    question->resize.width = 65536;
}

static void
stacks_behind_the_last(struct question *question)
{
    BODY(question, dump_stacks, DUMP_STACKS, stacks);
    question->stacks.after = UINT64_C(1) << 32;
}

static void
objects_behind_the_last(struct question *question)
{
    BODY(question, list_objects, LIST_OBJECTS, list);
    question->list.first = 1000;
}

static void
layers_of_the_uvm(struct question *question)
{
    RESOURCE(question, combined_layers, COMBINED_LAYERS, layers);
    question->call.container_id = uvm;
}

static void
layers_without_approval(struct question *question)
{
    RESOURCE(question, combined_layers, COMBINED_LAYERS, layers);
    question->call.approval = NULL;
}

static void
layers_somewhere(struct question *question)
{
    static char relative[] = "lower";
    static char *lowers[] = {relative};
    RESOURCE(question, combined_layers, COMBINED_LAYERS, layers);
    question->approval.lower_directories = lowers;
    question->approval.n_lower_directories = 1;
}

static void
verified_layers(struct question *question)
{
    RESOURCE(question, block_cims, BLOCK_CIMS, cims);
}

static void
mount_of_nothing(struct question *question)
{
    RESOURCE(question, container_mount, CONTAINER_MOUNT, mount);
}

static void
what_nobody_should_ask_is_refused_by_its_field(void **state)
{
    static const struct {
        void (*fill)(struct question *question);
        int status;
        const char *reason;
    } cases[] = {
        {registry, STATUS_UNIMPLEMENTED, "create_container.registry_changes: there is no registry"},
        {no_process, STATUS_INVALID_ARGUMENT, "process is missing"},
        {uvm_shutdown, STATUS_INVALID_ARGUMENT, "the guest itself is not shut down by its host this way"},
        {uvm_delete, STATUS_INVALID_ARGUMENT, "the guest itself cannot be deleted"},
        {read_input, STATUS_INVALID_ARGUMENT, "read_stream.stream is neither output nor errors"},
        {read_much, STATUS_INVALID_ARGUMENT, "read_stream.max_bytes exceeds 262144"},
        {close_nothing, STATUS_INVALID_ARGUMENT, "close_stream.stream: missing"},
        {resize_to_nothing, STATUS_INVALID_ARGUMENT, "resize_console.height, width: 1 to 65535"},
        {resize_too_far, STATUS_INVALID_ARGUMENT, "resize_console.height, width: 1 to 65535"},
        {stacks_behind_the_last, STATUS_OUT_OF_RANGE, "dump_stacks.after: there is no such page"},
        {objects_behind_the_last, STATUS_OUT_OF_RANGE, "list_objects.first: there are 0 objects"},
        {layers_of_the_uvm, STATUS_INVALID_ARGUMENT, "layers are combined for a container"},
        {layers_without_approval, STATUS_INVALID_ARGUMENT, "approval.lower_directories is missing"},
        {layers_somewhere, STATUS_INVALID_ARGUMENT, "approval.lower_directories[0] is not absolute"},
        {verified_layers, STATUS_UNIMPLEMENTED, "layers are mounted by the sidecar"},
        {mount_of_nothing, STATUS_INVALID_ARGUMENT, "container_mount.mount is missing"},
    };
    struct guest *guest = *state;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct question question;
        question_init(&question);
        cases[i].fill(&question);

        guest_expect(guest, &question.call, cases[i].status);

        if (!strstr(guest_message(), cases[i].reason))
            fail_msg("case %zu: '%s' has not '%s'", i, guest_message(), cases[i].reason);
    }
    assert_int_equal(guest_entries(guest, "bundles"), 0);
    assert_int_equal(guest_entries(guest, "roots"), 0);
}

/* The sidecar says it with each create; a second guard, should it ever not ask. */
static void
denied_streams_are_denied_by_the_inbox_too(void **state)
{
    struct guest *guest = *state;
    const struct guest_container container = {.args = ARGS("pause"), .stdio_denied = true};
    uint32_t init = guest_container_up(guest, GUEST_ID_A, &container);
    char text[16];
    size_t size = 0;
    bool eof = false;

    int status = guest_read(guest, GUEST_ID_A, init, GCS__V1__STREAM__STREAM_STDOUT, 0, 0, text, sizeof text,
                            &size, &eof);

    assert_int_equal(status, STATUS_PERMISSION_DENIED);
    assert_non_null(strstr(guest_message(), "the standard streams of process 1 are denied"));
    assert_int_equal(guest_shutdown(guest, GUEST_ID_A, true), STATUS_OK);
    assert_true(guest_wait(guest, GUEST_ID_A, init, 20000).exited);
    guest_container_down(guest, GUEST_ID_A);
}

int
main(void)
{
#define CASE(name) cmocka_unit_test_setup_teardown(name, guest_setup_fake, guest_teardown)
    const struct CMUnitTest tests[] = {
        CASE(what_nobody_should_ask_is_refused_by_its_field),
        CASE(denied_streams_are_denied_by_the_inbox_too),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
