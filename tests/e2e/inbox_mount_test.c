/*
 * A mapped directory for a running container, with a real runtime: seen from both sides, confined, taken away again.
 *
 *     inbox_mount_test [runc | crun]
 */
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "server/base/status.h"
#include "tests/e2e/inbox_fixture.h"

#define OUT GCS__V1__STREAM__STREAM_STDOUT

static void
make_directory(const struct guest *guest, const char *name)
{
    char path[256];
    snprintf(path, sizeof path, "%s/%s", guest->sandbox, name);
    assert_int_equal(mkdir(path, 0777), 0);
}

static void
write_file(const struct guest *guest, const char *name, const char *text)
{
    char path[256];
    snprintf(path, sizeof path, "%s/%s", guest->sandbox, name);
    FILE *file = fopen(path, "w");
    assert_non_null(file);
    assert_true(fputs(text, file) >= 0);
    assert_int_equal(fclose(file), 0);
}

static bool
source_has(const struct guest *guest, const char *name)
{
    char path[256];
    snprintf(path, sizeof path, "%s/%s", guest->sandbox, name);
    return guest_path_exists(path);
}

/* Runs a line of shell in the container; its output, to be freed, and its exit code. */
static char *
shell(struct guest *guest, const char *line, uint32_t *ret_code)
{
    uint32_t process = 0;
    assert_int_equal(
        guest_exec(guest, GUEST_ID_A, &(struct guest_container){.args = ARGS("sh", "-c", line)}, &process),
        STATUS_OK);
    *ret_code = guest_wait(guest, GUEST_ID_A, process, 20000).code;
    return guest_output(guest, GUEST_ID_A, process, OUT, NULL);
}

static void
shell_says(struct guest *guest, const char *line, const char *expected)
{
    uint32_t code = 0;
    char *out = shell(guest, line, &code);
    assert_string_equal(out, expected);
    assert_int_equal(code, 0);
    free(out);
}

static uint32_t
up(struct guest *guest)
{
    return guest_container_up(guest, GUEST_ID_A, &(struct guest_container){.args = ARGS("sleep", "1000")});
}

static void
down(struct guest *guest, uint32_t init)
{
    assert_int_equal(guest_shutdown(guest, GUEST_ID_A, true), STATUS_OK);
    assert_true(guest_wait(guest, GUEST_ID_A, init, 20000).exited);
    guest_container_down(guest, GUEST_ID_A);
    assert_int_equal(guest_mounts(guest), 0);
}

static void
a_directory_is_seen_from_both_sides_in_a_place_that_is_made_for_it(void **state)
{
    struct guest *guest = *state;
    make_directory(guest, "vol1");
    write_file(guest, "vol1/outside", "from the guest\n");
    uint32_t init = up(guest);

    assert_int_equal(guest_mount(guest, GUEST_ID_A, "sandbox:///vol1", "C:\\made\\for\\it", "rw", true),
                     STATUS_OK);

    shell_says(guest, "cat /made/for/it/outside; echo inside > /made/for/it/file && stat -c %a /made",
               "from the guest\n755\n");
    assert_true(source_has(guest, "vol1/file"));
    shell_says(guest, "grep -c ' /made/for/it .*nosuid,nodev' /proc/self/mountinfo", "1\n");
    assert_int_equal(guest_mount(guest, GUEST_ID_A, "sandbox:///vol1", "/made/for/it", "rw", true),
                     STATUS_ALREADY_EXISTS);
    down(guest, init);
    assert_true(source_has(guest, "vol1/file"));
}

static void
what_is_mounted_read_only_cannot_be_written(void **state)
{
    struct guest *guest = *state;
    make_directory(guest, "vol1");
    uint32_t code, init = up(guest);

    assert_int_equal(guest_mount(guest, GUEST_ID_A, "sandbox:///vol1", "/ro", "ro", true), STATUS_OK);

    char *out = shell(guest, "touch /ro/x", &code);
    assert_int_not_equal(code, 0);
    free(out);
    assert_false(source_has(guest, "vol1/x"));
    down(guest, init);
}

static void
a_file_is_mounted_over_a_file_and_over_nothing_else(void **state)
{
    struct guest *guest = *state;
    write_file(guest, "config", "one\n");
    make_directory(guest, "vol1");
    uint32_t init = up(guest);

    assert_int_equal(guest_mount(guest, GUEST_ID_A, "sandbox:///config", "/conf/file", "ro", true),
                     STATUS_OK);
    assert_int_equal(guest_mount(guest, GUEST_ID_A, "sandbox:///config", "/tmp", "ro", true),
                     STATUS_FAILED_PRECONDITION);
    assert_int_equal(guest_mount(guest, GUEST_ID_A, "sandbox:///vol1", "/bin/busybox", "rw", true),
                     STATUS_FAILED_PRECONDITION);

    shell_says(guest, "cat /conf/file", "one\n");
    assert_int_equal(guest_mount(guest, GUEST_ID_A, "sandbox:///config", "/conf/file", NULL, false),
                     STATUS_OK);
    shell_says(guest, "ls /conf 2>/dev/null | wc -l", "0\n");
    down(guest, init);
}

static void
a_link_at_the_destination_leads_nowhere(void **state)
{
    struct guest *guest = *state;
    static const char *const destinations[] = {"/link", "/link/deeper", "/up/etc", "/loop/x", "/proc-link/1"};
    make_directory(guest, "vol1");
    uint32_t init = up(guest);
    shell_says(guest, "ln -s /etc /link; ln -s ../../../../.. /up; ln -s loop /loop; ln -s /proc /proc-link",
               "");
    size_t before = guest_mounts(guest);

    for (size_t i = 0; i < sizeof destinations / sizeof destinations[0]; i++)
        if (guest_mount(guest, GUEST_ID_A, "sandbox:///vol1", destinations[i], "rw", true) !=
            STATUS_FAILED_PRECONDITION)
            fail_msg("%s", destinations[i]);

    assert_int_equal(guest_mounts(guest), before); /* nothing in the guest's own namespace either */
    shell_says(guest, "grep -c vol1 /proc/self/mountinfo || true", "0\n");
    down(guest, init);
}

/* Whether the host's namespace has "vol1" of this guest's sandbox mounted, wherever. */
static bool
host_shows_the_volume(const struct guest *guest)
{
    char *line = NULL;
    size_t size = 0;
    bool shows = false;
    FILE *mounts = fopen("/proc/self/mountinfo", "re");
    assert_non_null(mounts);
    while (getline(&line, &size, mounts) > 0)
        shows = shows || (strstr(line, strrchr(guest->dir, '/')) && strstr(line, "/sandbox/vol1 "));
    fclose(mounts);
    free(line);
    return shows;
}

static void
a_destination_that_a_container_keeps_swapping_for_a_link_stays_inside(void **state)
{
    struct guest *guest = *state;
    make_directory(guest, "vol1");
    write_file(guest, "vol1/mark", "");
    uint32_t swapper = 0, init = up(guest);
    /* The root of the container's own tree, from where `..` would lead out if anything did. */
    assert_int_equal(
        guest_exec(guest, GUEST_ID_A,
                   &(struct guest_container){
                       .args = ARGS("sh", "-c",
                                    "mkdir -p /a/b; ln -s ../../../../../.. /l; "
                                    "while :; do mv /a /c; mv /l /a; mv /a /l; mv /c /a; done 2>/dev/null")},
                   &swapper),
        STATUS_OK);

    for (int i = 0; i < 40; i++) {
        int status = guest_mount(guest, GUEST_ID_A, "sandbox:///vol1", "/a/b", "rw", true);
        if (status == STATUS_OK) {
            status = guest_mount(guest, GUEST_ID_A, "sandbox:///vol1", "/a/b", NULL, false);
            /* Moved away under us, it is not found; a mount that stays is still the container's alone. */
            assert_true(status == STATUS_OK || status == STATUS_NOT_FOUND);
            if (status == STATUS_NOT_FOUND)
                break;
        } else {
            assert_int_equal(status, STATUS_FAILED_PRECONDITION);
        }
    }

    assert_false(guest_path_exists("/b/mark"));
    assert_false(host_shows_the_volume(guest));
    down(guest, init);
}

static void
no_mount_of_the_container_is_covered(void **state)
{
    struct guest *guest = *state;
    static const char *const destinations[] = {"/dev", "/dev/shm", "/data", "/data/inner"};
    make_directory(guest, "vol1");
    make_directory(guest, "vol2");
    uint32_t init = up(guest);
    assert_int_equal(guest_mount(guest, GUEST_ID_A, "sandbox:///vol1", "/data/inner", "rw", true), STATUS_OK);

    for (size_t i = 0; i < sizeof destinations / sizeof destinations[0]; i++) {
        int status = guest_mount(guest, GUEST_ID_A, "sandbox:///vol2", destinations[i], "rw", true);
        if (status != STATUS_FAILED_PRECONDITION && status != STATUS_ALREADY_EXISTS)
            fail_msg("%s: %d", destinations[i], status);
    }
    assert_int_equal(guest_mount(guest, GUEST_ID_A, "sandbox:///vol2", "/proc/x", "rw", true),
                     STATUS_INVALID_ARGUMENT);
    assert_int_equal(guest_mount(guest, GUEST_ID_A, "sandbox:///vol2", "/data/inner/deeper", "rw", true),
                     STATUS_OK);
    down(guest, init);
}

static void
what_is_taken_away_is_gone_with_what_was_made_for_it(void **state)
{
    struct guest *guest = *state;
    make_directory(guest, "vol1");
    uint32_t init = up(guest);
    shell_says(guest, "mkdir /there", "");
    assert_int_equal(guest_mount(guest, GUEST_ID_A, "sandbox:///vol1", "/there/a/b", "rw", true), STATUS_OK);

    assert_int_equal(guest_mount(guest, GUEST_ID_A, "sandbox:///vol1", "/there/a/b", NULL, false), STATUS_OK);

    shell_says(guest, "ls -a /there | wc -l; grep -c vol1 /proc/self/mountinfo || true", "2\n0\n");
    assert_int_equal(guest_mount(guest, GUEST_ID_A, "sandbox:///vol1", "/there/a/b", NULL, false),
                     STATUS_NOT_FOUND);
    down(guest, init);
}

static void
only_a_running_container_and_an_existing_source_make_a_mount(void **state)
{
    struct guest *guest = *state;
    make_directory(guest, "vol1");
    assert_int_equal(guest_mount(guest, GUEST_ID_A, "sandbox:///vol1", "/x", "rw", true), STATUS_NOT_FOUND);
    assert_int_equal(guest_mount(guest, GUEST_UVM, "sandbox:///vol1", "/x", "rw", true),
                     STATUS_INVALID_ARGUMENT);
    uint32_t init = up(guest);

    assert_int_equal(guest_mount(guest, GUEST_ID_A, "sandbox:///missing", "/x", "rw", true),
                     STATUS_NOT_FOUND);
    assert_int_equal(guest_mount(guest, GUEST_ID_A, "/etc", "/x", "rw", true), STATUS_INVALID_ARGUMENT);
    assert_int_equal(guest_mount(guest, GUEST_ID_A, "sandbox:///vol1", "/x", "suid", true),
                     STATUS_INVALID_ARGUMENT);
    assert_int_equal(guest_mount(guest, GUEST_ID_A, "sandbox:///vol1", "/x/../../y", "rw", true),
                     STATUS_INVALID_ARGUMENT);
    assert_int_equal(
        guest_mount(
            guest, GUEST_ID_A, "sandbox:///vol1",
            "/1/2/3/4/5/6/7/8/9/10/11/12/13/14/15/16/17/18/19/20/21/22/23/24/25/26/27/28/29/30/31/32/33",
            "rw", true),
        STATUS_INVALID_ARGUMENT);
    shell_says(guest, "ls -d /x /1 2>/dev/null | wc -l", "0\n");

    assert_int_equal(guest_shutdown(guest, GUEST_ID_A, true), STATUS_OK);
    assert_true(guest_wait(guest, GUEST_ID_A, init, 20000).exited);
    assert_int_equal(guest_mount(guest, GUEST_ID_A, "sandbox:///vol1", "/x", "rw", true),
                     STATUS_FAILED_PRECONDITION);
    guest_container_down(guest, GUEST_ID_A);
    assert_int_equal(guest_mounts(guest), 0);
}

int
main(int argc, char **argv)
{
    const char *reason = guest_use_runtime(argc > 1 ? argv[1] : "runc");
    if (reason) {
        printf("skipped: %s\n", reason);
        return 77;
    }
#define CASE(name) cmocka_unit_test_setup_teardown(name, guest_setup_real, guest_teardown)
    const struct CMUnitTest tests[] = {
        CASE(a_directory_is_seen_from_both_sides_in_a_place_that_is_made_for_it),
        CASE(what_is_mounted_read_only_cannot_be_written),
        CASE(a_file_is_mounted_over_a_file_and_over_nothing_else),
        CASE(a_link_at_the_destination_leads_nowhere),
        CASE(a_destination_that_a_container_keeps_swapping_for_a_link_stays_inside),
        CASE(no_mount_of_the_container_is_covered),
        CASE(what_is_taken_away_is_gone_with_what_was_made_for_it),
        CASE(only_a_running_container_and_an_existing_source_make_a_mount),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
