/* What an inbox tells a sidecar that has to know its objects again. The fake runtime, as nobody. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "server/base/clock.h"
#include "server/base/limits.h"
#include "server/base/status.h"
#include "server/base/text.h"
#include "server/rpc/hresult.h"
#include "tests/e2e/inbox_fixture.h"

/* -- the inventory as lines of text, one an object -- */

struct inventory {
    char *text;
    size_t size, pages, largest_page;
};

static void
object_write(FILE *out, const Gcs__V1__InboxObject *object)
{
#define TAG(tag_) (int)(tag_).len, (const char *)((tag_).data ? (tag_).data : (const uint8_t *)"")
    switch (object->object_case) {
    case GCS__V1__INBOX_OBJECT__OBJECT_SCRATCH:
        fprintf(out, "scratch %s '%.*s'\n", object->scratch->target, TAG(object->scratch->tag));
        break;
    case GCS__V1__INBOX_OBJECT__OBJECT_ROOT:
        fprintf(out, "root %.4s on %s of %s '%.*s'\n", object->root->container_id,
                object->root->scratch_target, object->root->volume_id, TAG(object->root->tag));
        break;
    case GCS__V1__INBOX_OBJECT__OBJECT_CONTAINER:
        fprintf(out, "container %.4s state %d init %u '%.*s'\n", object->container->container_id,
                (int)object->container->state, object->container->init_process_id,
                TAG(object->container->tag));
        break;
    case GCS__V1__INBOX_OBJECT__OBJECT_MOUNT:
        fprintf(out, "mount %s at %s%s%s", object->mount->source, object->mount->destination,
                object->mount->type[0] ? " " : "", object->mount->type);
        for (size_t i = 0; i < object->mount->n_options; i++)
            fprintf(out, " %s", object->mount->options[i]);
        fprintf(out, "\n");
        break;
    case GCS__V1__INBOX_OBJECT__OBJECT_PROCESS:
        fprintf(out, "process %u%s%s '%.*s'\n", object->process->process_id,
                object->process->is_init ? " init" : "", object->process->exited ? " exited" : "",
                TAG(object->process->tag));
        break;
    default:
        fprintf(out, "id %02x%02x %zu\n", object->created_id.data[0], object->created_id.data[1],
                object->created_id.len);
    }
}

static Gcs__V1__Response *
page_ask(struct guest *guest, uint64_t first)
{
    Gcs__V1__Request call = GCS__V1__REQUEST__INIT;
    Gcs__V1__ListObjects list = GCS__V1__LIST_OBJECTS__INIT;
    list.first = first;
    call.body_case = GCS__V1__REQUEST__BODY_LIST_OBJECTS;
    call.list_objects = &list;
    return guest_call(guest, &call);
}

static struct inventory
inventory_read(struct guest *guest)
{
    struct inventory inventory = {0};
    uint64_t next = 0;
    FILE *out = open_memstream(&inventory.text, &inventory.size);
    assert_non_null(out);
    do {
        Gcs__V1__Response *answer = page_ask(guest, next);
        assert_int_equal(STATUS_OK, answer->status);
        size_t size = gcs__v1__response__get_packed_size(answer);
        if (size > inventory.largest_page)
            inventory.largest_page = size;
        for (size_t i = 0; i < answer->list_objects->n_objects; i++)
            object_write(out, answer->list_objects->objects[i]);
        next = answer->list_objects->next;
        inventory.pages++;
        gcs__v1__response__free_unpacked(answer, NULL);
    } while (next != 0);
    fclose(out);
    return inventory;
}

static void
inventory_is(struct guest *guest, const char *wanted)
{
    struct inventory inventory = inventory_read(guest);
    assert_string_equal(wanted, inventory.text);
    free(inventory.text);
}

static void
inventory_has(struct guest *guest, const char *line)
{
    struct inventory inventory = inventory_read(guest);
    if (!strstr(inventory.text, line))
        fail_msg("'%s' is not in:\n%s", line, inventory.text);
    free(inventory.text);
}

/* -- tests -- */

static void
every_object_is_told_with_its_tag(void **state)
{
    struct guest *guest = *state;
    char path[128], wanted[512];
    uint32_t init, process;
    snprintf(path, sizeof path, "%s/there", guest->sandbox);
    assert_int_equal(0, mkdir(path, 0777));
    Gcs__V1__Mount mount = GCS__V1__MOUNT__INIT;
    mount.source = (char *)(uintptr_t) "sandbox:///there";
    mount.destination = (char *)(uintptr_t) "/x";
    mount.type = (char *)(uintptr_t) "bind";
    const struct guest_container container = {
        .args = ARGS("pause"), .mounts = (Gcs__V1__Mount *[]){&mount}, .mount_count = 1};
    inventory_is(guest, "");

    guest->tag = "S";
    assert_int_equal(STATUS_OK, guest_scratch(guest, "s", true));
    guest->tag = "R";
    assert_int_equal(STATUS_OK, guest_layers(guest, GUEST_ID_A, "s", true));
    guest->tag = "C";
    assert_int_equal(STATUS_OK, guest_create(guest, GUEST_ID_A, &container));
    guest->tag = "";
    assert_int_equal(STATUS_OK, guest_run(guest, GUEST_ID_A, &init));
    assert_int_equal(STATUS_OK, guest_mount(guest, GUEST_ID_A, "sandbox:///there", "/y", "rw", true));
    guest->tag = "P";
    assert_int_equal(STATUS_OK, guest_exec(guest, GUEST_ID_A, &container, &process));
    guest->tag = "U";
    assert_int_equal(
        STATUS_OK, guest_exec(guest, GUEST_UVM, &(struct guest_container){.args = ARGS("pause")}, &process));

    snprintf(wanted, sizeof wanted,
             "scratch s 'S'\nroot %.4s on s of volume 'R'\n"
             "container 0000 state 3 init 0 ''\nprocess %u 'U'\n"
             "container %.4s state 3 init %u 'C'\nmount sandbox:///there at /x bind\n"
             "mount sandbox:///there at /y rw\nprocess "
             "%u init ''\nprocess %u 'P'\n"
             "id %.4s 32\n",
             GUEST_ID_A, process, GUEST_ID_A, init, init, process - 1, GUEST_ID_A);
    inventory_is(guest, wanted);
}

static void
a_tag_is_replaced_only_by_what_has_succeeded(void **state)
{
    struct guest *guest = *state;
    const struct guest_container pause = {.args = ARGS("pause")}, fails = {.args = ARGS("create-fails")};
    uint32_t process;
    char path[128];
    snprintf(path, sizeof path, "%s/there", guest->sandbox);
    guest->tag = "first";
    guest_container_up(guest, GUEST_ID_A, &pause);
    inventory_has(guest, "'first'\nprocess");
    guest->tag = NULL;

    guest->container_tag = "failed";
    assert_int_not_equal(STATUS_OK, guest_exec(guest, GUEST_ID_A, &fails, &process));
    assert_int_not_equal(STATUS_OK, guest_signal(guest, GUEST_ID_A, 4711, 0));
    inventory_has(guest, " 'first'\nprocess");
    guest->container_tag = "exec";
    assert_int_equal(STATUS_OK, guest_exec(guest, GUEST_ID_A, &pause, &process));
    inventory_has(guest, " 'exec'\nprocess");
    guest->container_tag = "signal";
    assert_int_equal(STATUS_OK, guest_signal(guest, GUEST_ID_A, process, 0));
    inventory_has(guest, " 'signal'\nprocess");
    guest->container_tag = "mount";
    assert_int_not_equal(STATUS_OK, guest_mount(guest, GUEST_ID_A, "sandbox:///missing", "/x", "rw", true));
    inventory_has(guest, " 'signal'\nprocess");
    assert_int_equal(0, mkdir(path, 0777));
    assert_int_equal(STATUS_OK, guest_mount(guest, GUEST_ID_A, "sandbox:///there", "/x", "rw", true));
    inventory_has(guest, " 'mount'\nmount sandbox:///there at /x rw\nprocess");
    guest->container_tag = "unmount";
    assert_int_not_equal(STATUS_OK, guest_mount(guest, GUEST_ID_A, "sandbox:///there", "/y", "rw", false));
    inventory_has(guest, " 'mount'\nmount sandbox:///there at /x rw\nprocess");
    assert_int_equal(STATUS_OK, guest_mount(guest, GUEST_ID_A, "sandbox:///there", "/x", "rw", false));
    inventory_has(guest, " 'unmount'\nprocess");
    guest->container_tag = "shutdown";
    assert_int_equal(STATUS_OK, guest_shutdown(guest, GUEST_ID_A, true));
    inventory_has(guest, " 'shutdown'\nprocess");
}

static void
an_id_stays_known_unless_nobody_was_told(void **state)
{
    struct guest *guest = *state;
    const struct guest_container pause = {.args = ARGS("pause")};
    char wanted[64];
    assert_int_equal(STATUS_OK, guest_scratch(guest, "s", true));
    assert_int_equal(STATUS_OK, guest_layers(guest, GUEST_ID_A, "s", true));
    assert_int_equal(STATUS_OK, guest_layers(guest, GUEST_ID_B, "s", true));
    assert_int_equal(STATUS_OK, guest_create(guest, GUEST_ID_A, &pause));
    assert_int_equal(STATUS_OK, guest_create(guest, GUEST_ID_B, &pause));
    assert_int_equal(STATUS_OK, guest_delete(guest, GUEST_ID_A));
    guest->forget_id = true;
    assert_int_equal(STATUS_OK, guest_delete(guest, GUEST_ID_B));
    guest->forget_id = false;
    assert_int_not_equal(
        STATUS_OK, guest_create(guest, GUEST_ID_B, &(struct guest_container){.args = ARGS("create-fails")}));
    assert_int_equal(STATUS_OK, guest_layers(guest, GUEST_ID_A, "s", false));
    assert_int_equal(STATUS_OK, guest_layers(guest, GUEST_ID_B, "s", false));
    assert_int_equal(STATUS_OK, guest_scratch(guest, "s", false));

    snprintf(wanted, sizeof wanted, "id %.4s 32\n", GUEST_ID_A);
    inventory_is(guest, wanted);
}

static void
a_long_inventory_comes_in_pages_that_every_session_takes(void **state)
{
    struct guest *guest = *state;
    char name[16], line[32], tag[LIMIT_TAG_BYTES + 1];
    memset(tag, 't', sizeof tag - 1);
    tag[sizeof tag - 1] = '\0';
    guest->tag = tag;
    for (unsigned i = 0; i < 40; i++) {
        snprintf(name, sizeof name, "s-%u", i);
        assert_int_equal(STATUS_OK, guest_scratch(guest, name, true));
    }
    guest->tag = NULL;

    struct inventory inventory = inventory_read(guest);

    assert_int_equal(4, inventory.pages);
    assert_true(inventory.largest_page <= 64 * 1024);
    size_t found = 0;
    for (unsigned i = 0; i < 40; i++) {
        snprintf(line, sizeof line, "scratch s-%u '", i);
        found += strstr(inventory.text, line) != NULL;
    }
    assert_int_equal(40, found);
    free(inventory.text);
    Gcs__V1__Response *answer = page_ask(guest, 40);
    assert_int_equal(STATUS_OUT_OF_RANGE, answer->status);
    gcs__v1__response__free_unpacked(answer, NULL);
}

static void
the_first_page_ends_other_sessions(void **state)
{
    struct guest *guest = *state;
    struct caller_config config = {.url = guest->url, .timers = guest->timers, .fail_fast = true};
    struct caller *first = guest->caller, *second;
    struct error err;
    assert_int_equal(STATUS_OK, guest_scratch(guest, "before", true));
    assert_int_equal(STATUS_OK, caller_start(&config, &second, &err));
    assert_int_equal(STATUS_OK, caller_wait_ready(second, clock_now_ns() + 20 * NS_PER_S, &err));
    Gcs__V1__NegotiateResponse *one, *other;
    assert_true(caller_negotiated(first, &one));

    guest->caller = second;
    inventory_is(guest, "scratch before ''\n");
    guest->caller = first;
    /* The first caller's next request is refused unrun, and sent again in a session of its own. */
    assert_int_equal(STATUS_OK, guest_scratch(guest, "after", true));
    assert_true(caller_negotiated(first, &other));

    assert_memory_not_equal(one->session_id.data, other->session_id.data, 16);
    gcs__v1__negotiate_response__free_unpacked(one, NULL);
    gcs__v1__negotiate_response__free_unpacked(other, NULL);
    caller_stop(second);
}

static void
a_standalone_inbox_tells_nobody(void **state)
{
    struct guest *guest = calloc(1, sizeof *guest);
    *state = guest;
    struct guest_options options = guest_fake;
    options.standalone = true;
    guest_start(guest, &options);
    Gcs__V1__Response *answer = page_ask(guest, 0);
    assert_int_equal(STATUS_UNIMPLEMENTED, answer->status);
    gcs__v1__response__free_unpacked(answer, NULL);
}

int
main(void)
{
#define CASE(name) cmocka_unit_test_setup_teardown(name, guest_setup_fake, guest_teardown)
    const struct CMUnitTest tests[] = {
        CASE(every_object_is_told_with_its_tag),
        CASE(a_tag_is_replaced_only_by_what_has_succeeded),
        CASE(an_id_stays_known_unless_nobody_was_told),
        CASE(a_long_inventory_comes_in_pages_that_every_session_takes),
        CASE(the_first_page_ends_other_sessions),
        cmocka_unit_test_teardown(a_standalone_inbox_tells_nobody, guest_teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
