/*
 * The inbox with a real runtime: what containers do, and that nothing of them stays.
 *
 *     inbox_runc_test [runc | crun]
 */
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "server/base/clock.h"
#include "server/base/status.h"
#include "tests/e2e/inbox_fixture.h"

#define OUT GCS__V1__STREAM__STREAM_STDOUT
#define ERR GCS__V1__STREAM__STREAM_STDERR

static void
nothing_is_left(struct guest *guest, const char *id)
{
    assert_int_equal(guest_mounts(guest), 0);
    assert_int_equal(guest_groups(id), 0);
    assert_int_equal(guest_entries(guest, "bundles"), 0);
    assert_int_equal(guest_entries(guest, "roots"), 0);
    assert_int_equal(guest_entries(guest, "scratch"), 0);
    assert_int_equal(guest_entries(guest, "runtime"), 0);
    assert_int_equal(guest_entries(guest, "calls"), 0);
}

static void
container_runs_and_tells_output_and_exit_code(void **state)
{
    struct guest *guest = *state;
    uint32_t init = guest_container_up(
        guest, GUEST_ID_A,
        &(struct guest_container){.args = ARGS("sh", "-c", "echo out; echo err >&2; pwd; hostname; exit 7"),
                                  .cwd = "C:\\tmp"});

    struct guest_exit end = guest_wait(guest, GUEST_ID_A, init, 20000);
    char *out = guest_output(guest, GUEST_ID_A, init, OUT, NULL);
    char *err = guest_output(guest, GUEST_ID_A, init, ERR, NULL);

    assert_true(end.exited);
    assert_false(end.cut);
    assert_int_equal(end.code, 7);
    char expected[64];
    snprintf(expected, sizeof expected, "out\n/tmp\n%.12s\n", GUEST_ID_A);
    assert_string_equal(out, expected);
    assert_string_equal(err, "err\n");
    free(out);
    free(err);
    guest_container_down(guest, GUEST_ID_A);
    nothing_is_left(guest, GUEST_ID_A);
}

static void
exec_runs_beside_init_with_its_own_user_and_environment(void **state)
{
    struct guest *guest = *state;
    guest_container_up(guest, GUEST_ID_A, &(struct guest_container){.args = ARGS("sleep", "1000")});

    uint32_t process = 0;
    int status =
        guest_exec(guest, GUEST_ID_A,
                   &(struct guest_container){.args = ARGS("sh", "-c", "id -u; id -g; echo $FRUIT; exit 3"),
                                             .env = ARGS("PATH=/bin", "FRUIT=quince"),
                                             .user = "1000:1001"},
                   &process);
    assert_int_equal(status, STATUS_OK);
    struct guest_exit end = guest_wait(guest, GUEST_ID_A, process, 20000);
    char *out = guest_output(guest, GUEST_ID_A, process, OUT, NULL);

    assert_true(end.exited);
    assert_int_equal(end.code, 3);
    assert_string_equal(out, "1000\n1001\nquince\n");
    free(out);
    assert_int_equal(guest_shutdown(guest, GUEST_ID_A, true), STATUS_OK);
    assert_true(guest_wait(guest, GUEST_ID_A, 1, 20000).exited);
    guest_container_down(guest, GUEST_ID_A);
    nothing_is_left(guest, GUEST_ID_A);
}

static void
what_cannot_be_run_is_refused_and_leaves_nothing(void **state)
{
    struct guest *guest = *state;
    assert_int_equal(guest_scratch(guest, "s", true), STATUS_OK);
    assert_int_equal(guest_layers(guest, GUEST_ID_A, "s", true), STATUS_OK);

    int missing = guest_create(guest, GUEST_ID_A, &(struct guest_container){.args = ARGS("no-such-program")});

    assert_int_equal(missing, STATUS_INTERNAL);
    assert_non_null(strstr(guest_message(), "no-such-program"));
    assert_int_equal(guest_entries(guest, "bundles"), 0);
    assert_int_equal(guest_entries(guest, "runtime"), 0);
    assert_int_equal(guest_groups(GUEST_ID_A), 0);
    /* The id and the root file system are free: the next one works. */
    assert_int_equal(guest_create(guest, GUEST_ID_A, &(struct guest_container){.args = ARGS("true")}),
                     STATUS_OK);
    assert_int_equal(guest_delete(guest, GUEST_ID_A), STATUS_OK);
    assert_int_equal(guest_layers(guest, GUEST_ID_A, "s", false), STATUS_OK);
    assert_int_equal(guest_scratch(guest, "s", false), STATUS_OK);
    nothing_is_left(guest, GUEST_ID_A);
}

static void
init_ignores_term_unless_it_handles_it(void **state)
{
    struct guest *guest = *state;
    uint32_t init = guest_container_up(
        guest, GUEST_ID_A,
        &(struct guest_container){.args = ARGS("sh", "-c", "echo up; while :; do sleep 1000; done")});
    uint32_t other = guest_container_up(
        guest, GUEST_ID_B,
        &(struct guest_container){
            .args = ARGS("sh", "-c", "trap 'exit 5' TERM; echo up; sleep 1000 & wait; sleep 1000 & wait")});
    uint64_t offset = 0;
    guest_output_has(guest, GUEST_ID_A, init, "up", &offset);
    offset = 0;
    guest_output_has(guest, GUEST_ID_B, other, "up", &offset);

    assert_int_equal(guest_shutdown(guest, GUEST_ID_A, false), STATUS_OK);
    assert_int_equal(guest_shutdown(guest, GUEST_ID_B, false), STATUS_OK);
    struct guest_exit handled = guest_wait(guest, GUEST_ID_B, other, 20000);
    struct guest_exit ignored = guest_wait(guest, GUEST_ID_A, init, 0);
    assert_int_equal(guest_shutdown(guest, GUEST_ID_A, true), STATUS_OK);
    struct guest_exit killed = guest_wait(guest, GUEST_ID_A, init, 20000);

    assert_true(handled.exited);
    assert_int_equal(handled.code, 5);
    assert_false(ignored.exited);
    assert_true(killed.exited);
    assert_int_equal(killed.code, 128 + SIGKILL);
    guest_container_down(guest, GUEST_ID_A);
    guest_container_down(guest, GUEST_ID_B);
    nothing_is_left(guest, GUEST_ID_A);
}

static void
signal_reaches_an_extra_process_alone(void **state)
{
    struct guest *guest = *state;
    uint32_t init =
        guest_container_up(guest, GUEST_ID_A, &(struct guest_container){.args = ARGS("sleep", "1000")});
    uint32_t process = 0;
    assert_int_equal(
        guest_exec(guest, GUEST_ID_A, &(struct guest_container){.args = ARGS("sleep", "1000")}, &process),
        STATUS_OK);

    assert_int_equal(guest_signal(guest, GUEST_ID_A, process, GCS__V1__SIGNAL__SIGNAL_CTRL_C), STATUS_OK);
    struct guest_exit end = guest_wait(guest, GUEST_ID_A, process, 20000);

    assert_true(end.exited);
    assert_int_equal(end.code, 128 + SIGINT);
    assert_false(guest_wait(guest, GUEST_ID_A, init, 0).exited);
    assert_int_equal(guest_signal(guest, GUEST_ID_A, process, GCS__V1__SIGNAL__SIGNAL_TERMINATE),
                     STATUS_NOT_FOUND);
    assert_int_equal(guest_signal(guest, GUEST_ID_A, init, GCS__V1__SIGNAL__SIGNAL_TERMINATE), STATUS_OK);
    assert_int_equal(guest_wait(guest, GUEST_ID_A, init, 20000).code, 128 + SIGKILL);
    guest_container_down(guest, GUEST_ID_A);
    nothing_is_left(guest, GUEST_ID_A);
}

static void
terminal_of_init_and_exec_carries_both_directions(void **state)
{
    struct guest *guest = *state;
    const struct guest_container shell = {
        .args = ARGS("sh"), .terminal = true, .stdin_wanted = true, .rows = 33, .columns = 91};
    uint32_t init = guest_container_up(guest, GUEST_ID_A, &shell);
    uint32_t process = 0;
    assert_int_equal(guest_exec(guest, GUEST_ID_A, &shell, &process), STATUS_OK);
    const uint32_t both[] = {init, process};

    for (size_t i = 0; i < 2; i++) {
        const char *input = "stty size; tty; exit 4\n";
        uint64_t offset = 0, accepted = 0;
        assert_int_equal(
            guest_write(guest, GUEST_ID_A, both[1 - i], 0, input, strlen(input), false, &accepted),
            STATUS_OK);
        guest_output_has(guest, GUEST_ID_A, both[1 - i], "33 91", &offset);
        struct guest_exit end = guest_wait(guest, GUEST_ID_A, both[1 - i], 20000);
        assert_true(end.exited);
        assert_int_equal(end.code, 4);
    }
    guest_container_down(guest, GUEST_ID_A);
    nothing_is_left(guest, GUEST_ID_A);
}

static void
a_terminal_changes_its_size_and_its_process_gets_the_signal(void **state)
{
    struct guest *guest = *state;
    const struct guest_container shell = {
        .args = ARGS("sh", "-c", "trap 'stty size; exit 4' WINCH; echo ready; while :; do read line; done"),
        .terminal = true,
        .stdin_wanted = true,
        .rows = 33,
        .columns = 91};
    uint32_t init = guest_container_up(guest, GUEST_ID_A, &shell);
    uint32_t process = 0;
    assert_int_equal(guest_exec(guest, GUEST_ID_A, &shell, &process), STATUS_OK);
    const uint32_t both[] = {process, init};

    for (size_t i = 0; i < 2; i++) {
        uint64_t offset = 0;
        guest_output_has(guest, GUEST_ID_A, both[i], "ready", &offset);
        assert_int_equal(guest_resize(guest, GUEST_ID_A, both[i], 50, 132), STATUS_OK);
        guest_output_has(guest, GUEST_ID_A, both[i], "50 132", &offset);
        assert_int_equal(guest_wait(guest, GUEST_ID_A, both[i], 20000).code, 4);
        assert_int_equal(guest_resize(guest, GUEST_ID_A, both[i], 24, 80), STATUS_FAILED_PRECONDITION);
    }
    guest_container_down(guest, GUEST_ID_A);
    nothing_is_left(guest, GUEST_ID_A);
}

static void
closed_streams_end_the_input_and_let_the_output_run(void **state)
{
    struct guest *guest = *state;
    const struct guest_container writer = {.args = ARGS("sh", "-c", "cat; head -c 4194304 /dev/zero; exit 6"),
                                           .stdin_wanted = true};
    uint32_t init = guest_container_up(guest, GUEST_ID_A, &writer);
    char byte;
    size_t size;
    bool eof;

    assert_int_equal(guest_close(guest, GUEST_ID_A, init, GCS__V1__STREAM__STREAM_STDOUT), STATUS_OK);
    assert_int_equal(guest_close(guest, GUEST_ID_A, init, GCS__V1__STREAM__STREAM_STDIN), STATUS_OK);

    assert_int_equal(guest_wait(guest, GUEST_ID_A, init, 20000).code, 6);
    assert_int_equal(
        guest_read(guest, GUEST_ID_A, init, GCS__V1__STREAM__STREAM_STDOUT, 0, 0, &byte, 1, &size, &eof),
        STATUS_FAILED_PRECONDITION);
    guest_container_down(guest, GUEST_ID_A);
    nothing_is_left(guest, GUEST_ID_A);
}

static void
input_comes_back_once_however_often_it_is_sent(void **state)
{
    struct guest *guest = *state;
    uint32_t init = guest_container_up(guest, GUEST_ID_A,
                                       &(struct guest_container){.args = ARGS("cat"), .stdin_wanted = true});
    uint64_t accepted = 0;

    assert_int_equal(guest_write(guest, GUEST_ID_A, init, 0, "hello ", 6, false, &accepted), STATUS_OK);
    assert_int_equal(guest_write(guest, GUEST_ID_A, init, 0, "hello ", 6, false, &accepted), STATUS_OK);
    assert_int_equal(guest_write(guest, GUEST_ID_A, init, 3, "lo world", 8, true, &accepted), STATUS_OK);
    assert_int_equal(accepted, 11);
    assert_int_equal(guest_write(guest, GUEST_ID_A, init, 3, "lo world", 8, true, &accepted), STATUS_OK);
    assert_int_equal(guest_write(guest, GUEST_ID_A, init, 30, "x", 1, false, &accepted), STATUS_OUT_OF_RANGE);

    char *out = guest_output(guest, GUEST_ID_A, init, OUT, NULL);
    assert_string_equal(out, "hello world");
    assert_int_equal(guest_wait(guest, GUEST_ID_A, init, 20000).code, 0);
    free(out);
    guest_container_down(guest, GUEST_ID_A);
    nothing_is_left(guest, GUEST_ID_A);
}

static void
a_mebibyte_of_output_waits_after_the_exit(void **state)
{
    struct guest *guest = *state;
    uint32_t init = guest_container_up(
        guest, GUEST_ID_A,
        &(struct guest_container){.args = ARGS("sh", "-c", "yes 0123456 | head -c 1048576")});

    struct guest_exit end = guest_wait(guest, GUEST_ID_A, init, 20000);
    size_t size = 0;
    char *out = guest_output(guest, GUEST_ID_A, init, OUT, &size);

    assert_true(end.exited);
    assert_false(end.cut);
    assert_int_equal(size, 1048576);
    for (size_t i = 0; i < size; i += 8)
        assert_memory_equal(out + i, "0123456\n", 8);
    free(out);
    guest_container_down(guest, GUEST_ID_A);
    nothing_is_left(guest, GUEST_ID_A);
}

static void
a_background_child_that_holds_the_output_cuts_the_wait(void **state)
{
    struct guest *guest = *state;
    guest_container_up(guest, GUEST_ID_A, &(struct guest_container){.args = ARGS("sleep", "1000")});
    uint32_t process = 0;
    assert_int_equal(guest_exec(guest, GUEST_ID_A,
                                &(struct guest_container){.args = ARGS("sh", "-c", "sleep 1000 & echo done")},
                                &process),
                     STATUS_OK);

    struct guest_exit end = guest_wait(guest, GUEST_ID_A, process, 20000);

    assert_true(end.exited);
    assert_true(end.cut);
    assert_int_equal(end.code, 0);
    assert_int_equal(guest_shutdown(guest, GUEST_ID_A, true), STATUS_OK);
    assert_true(guest_wait(guest, GUEST_ID_A, 1, 20000).exited);
    guest_container_down(guest, GUEST_ID_A);
    nothing_is_left(guest, GUEST_ID_A);
}

static void
make_directory(const struct guest *guest, const char *name)
{
    char path[256];
    snprintf(path, sizeof path, "%s/%s", guest->sandbox, name);
    assert_int_equal(mkdir(path, 0755), 0);
    assert_int_equal(chmod(path, 0777), 0);
}

static void
sandbox_directory_is_seen_on_both_sides_and_read_only_is_kept(void **state)
{
    struct guest *guest = *state;
    char path[256], first[] = "/volumemountscratch", second[] = "C:\\ro\\", source[] = "sandbox:///vol1",
                    windows_source[] = "C:\\SandboxMounts\\vol2", bind[] = "bind", rbind[] = "rbind",
                    ro[] = "ro", rw[] = "rw", shared[] = "rshared";
    make_directory(guest, "vol1");
    make_directory(guest, "vol2");
    char *first_options[] = {rbind, shared, rw}, *second_options[] = {rbind, ro};
    Gcs__V1__Mount mounts[2] = {GCS__V1__MOUNT__INIT, GCS__V1__MOUNT__INIT};
    mounts[0].destination = first;
    mounts[0].source = source;
    mounts[0].type = bind;
    mounts[0].options = first_options;
    mounts[0].n_options = 3;
    mounts[1].destination = second;
    mounts[1].source = windows_source;
    mounts[1].type = bind;
    mounts[1].options = second_options;
    mounts[1].n_options = 2;

    uint32_t init = guest_container_up(
        guest, GUEST_ID_A,
        &(struct guest_container){
            .args = ARGS("sh", "-c", "echo inside > /volumemountscratch/file; touch /ro/x && exit 1; exit 9"),
            .user = "1000",
            .mounts = (Gcs__V1__Mount *[]){&mounts[0], &mounts[1]},
            .mount_count = 2});

    assert_int_equal(guest_wait(guest, GUEST_ID_A, init, 20000).code, 9);
    snprintf(path, sizeof path, "%s/vol1/file", guest->sandbox);
    assert_true(guest_path_exists(path));
    snprintf(path, sizeof path, "%s/vol2/x", guest->sandbox);
    assert_false(guest_path_exists(path));
    guest_container_down(guest, GUEST_ID_A);
    nothing_is_left(guest, GUEST_ID_A);
}

static void
a_link_as_a_mount_source_is_refused_and_leaves_nothing(void **state)
{
    struct guest *guest = *state;
    char path[256], destination[] = "/x", source[] = "sandbox:///link", bind[] = "bind";
    make_directory(guest, "real");
    snprintf(path, sizeof path, "%s/link", guest->sandbox);
    assert_int_equal(symlink("real", path), 0);
    Gcs__V1__Mount mount = GCS__V1__MOUNT__INIT;
    mount.destination = destination;
    mount.source = source;
    mount.type = bind;
    assert_int_equal(guest_scratch(guest, "s", true), STATUS_OK);
    assert_int_equal(guest_layers(guest, GUEST_ID_A, "s", true), STATUS_OK);

    int status =
        guest_create(guest, GUEST_ID_A,
                     &(struct guest_container){
                         .args = ARGS("true"), .mounts = (Gcs__V1__Mount *[]){&mount}, .mount_count = 1});

    assert_int_equal(status, STATUS_FAILED_PRECONDITION);
    assert_int_equal(guest_entries(guest, "bundles"), 0);
    assert_int_equal(guest_layers(guest, GUEST_ID_A, "s", false), STATUS_OK);
    assert_int_equal(guest_scratch(guest, "s", false), STATUS_OK);
    nothing_is_left(guest, GUEST_ID_A);
}

/* The properties once the container's second process has become `name`: a fork is not yet an exec. */
static Gcs__V1__Response *
properties_with_program(struct guest *guest, const char *id, const char *name)
{
    int64_t deadline_ns = clock_now_ns() + 20 * NS_PER_S;
    for (;;) {
        Gcs__V1__Response *response = guest_properties(guest, id);
        Gcs__V1__GetPropertiesResponse *properties = response->get_properties;
        if (properties->n_processes >= 2 && strcmp(properties->processes[1]->image_name, name) == 0)
            return response;
        gcs__v1__response__free_unpacked(response, NULL);
        if (clock_now_ns() > deadline_ns)
            fail_msg("the container does not run '%s'", name);
    }
}

static void
limits_are_the_kernels_and_properties_tell_them(void **state)
{
    struct guest *guest = *state;
    Gcs__V1__Resources resources = GCS__V1__RESOURCES__INIT;
    resources.memory_limit_bytes = 64 << 20;
    resources.cpu_shares = 512;
    resources.cpu_quota_us = 50000;
    resources.cpu_period_us = 100000;
    uint32_t init =
        guest_container_up(guest, GUEST_ID_A,
                           &(struct guest_container){.args = ARGS("sh", "-c", "sleep 1000 & echo up; wait"),
                                                     .resources = &resources});
    uint64_t offset = 0;
    guest_output_has(guest, GUEST_ID_A, init, "up", &offset);

    Gcs__V1__Response *response = properties_with_program(guest, GUEST_ID_A, "sleep");
    Gcs__V1__GetPropertiesResponse *properties = response->get_properties;

    assert_int_equal(strlen(properties->system_id), 36);
    assert_int_equal(properties->state, GCS__V1__CONTAINER_STATE__CONTAINER_STATE_RUNNING);
    assert_int_equal(properties->statistics->memory_limit_bytes, 64 << 20);
    assert_true(properties->statistics->memory_bytes > 0);
    assert_true(properties->statistics->cpu_total_ns > 0);
    assert_true(properties->statistics->uptime_us > 0);
    assert_true(properties->statistics->start_time_us > 0);
    assert_true(properties->statistics->start_time_us < properties->statistics->timestamp_us);
    assert_true(properties->statistics->memory_working_set_bytes > 0);
    assert_true(properties->statistics->memory_working_set_bytes <= properties->statistics->memory_bytes);
    assert_true(properties->statistics->processes >= 2);
    assert_true(properties->n_processes >= 2);
    assert_int_equal(properties->processes[0]->process_id, init);
    assert_true(properties->processes[0]->is_init);
    assert_string_equal(properties->processes[0]->image_name, "sh");
    assert_true(properties->processes[0]->pid > 1);
    assert_int_equal(properties->processes[1]->process_id, 0);
    assert_string_equal(properties->processes[1]->image_name, "sleep");
    assert_int_equal(properties->next_process, 0);
    for (size_t i = 0; i < 2; i++) {
        const Gcs__V1__ProcessDetails *process = properties->processes[i];
        assert_true(process->memory_bytes > 0);
        assert_true(process->memory_shared_bytes <= process->memory_bytes);
        assert_true(process->memory_commit_bytes > 0);
        assert_true(process->created_us > properties->statistics->start_time_us - 60000000);
        assert_true(process->created_us < properties->statistics->timestamp_us + 1000000);
    }
    gcs__v1__response__free_unpacked(response, NULL);
    assert_int_equal(guest_shutdown(guest, GUEST_ID_A, true), STATUS_OK);
    assert_true(guest_wait(guest, GUEST_ID_A, init, 20000).exited);
    guest_container_down(guest, GUEST_ID_A);
    nothing_is_left(guest, GUEST_ID_A);
}

static void
a_program_of_the_guest_runs_without_a_container(void **state)
{
    struct guest *guest = *state;
    uint32_t process = 0;
    assert_int_equal(guest_exec(guest, GUEST_UVM,
                                &(struct guest_container){.args = ARGS("sh", "-c", "cat; pwd; exit 6"),
                                                          .env = ARGS("PATH=/usr/bin:/bin"),
                                                          .cwd = "C:\\tmp",
                                                          .stdin_wanted = true},
                                &process),
                     STATUS_OK);
    uint64_t accepted = 0;

    assert_int_equal(guest_write(guest, GUEST_UVM, process, 0, "in\n", 3, true, &accepted), STATUS_OK);
    struct guest_exit end = guest_wait(guest, GUEST_UVM, process, 20000);
    char *out = guest_output(guest, GUEST_UVM, process, OUT, NULL);

    assert_int_equal(end.code, 6);
    assert_string_equal(out, "in\n/tmp\n");
    free(out);
    assert_int_equal(
        guest_exec(guest, GUEST_UVM, &(struct guest_container){.args = ARGS("no-such-program")}, &process),
        STATUS_NOT_FOUND);
    assert_int_equal(guest_entries(guest, "programs"), 0);
}

static void
sigterm_removes_every_container_and_exits_with_0(void **state)
{
    struct guest *guest = *state;
    guest_container_up(guest, GUEST_ID_A, &(struct guest_container){.args = ARGS("sleep", "1000")});
    uint32_t process = 0;
    assert_int_equal(
        guest_exec(guest, GUEST_UVM,
                   &(struct guest_container){.args = ARGS("sleep", "1000"), .env = ARGS("PATH=/bin")},
                   &process),
        STATUS_OK);

    int status = guest_end(guest, SIGTERM);

    assert_true(WIFEXITED(status));
    assert_int_equal(WEXITSTATUS(status), 0);
    nothing_is_left(guest, GUEST_ID_A);
    assert_int_equal(guest_entries(guest, "programs"), 0);
}

static void
a_successor_removes_what_a_killed_inbox_left_and_reports_it(void **state)
{
    struct guest *guest = *state;
    guest_container_up(guest, GUEST_ID_A, &(struct guest_container){.args = ARGS("sleep", "1000")});
    uint32_t program = 0;
    assert_int_equal(
        guest_exec(guest, GUEST_UVM,
                   &(struct guest_container){.args = ARGS("sleep", "1000"), .env = ARGS("PATH=/bin")},
                   &program),
        STATUS_OK);
    assert_int_equal(guest_scratch(guest, "s", true), STATUS_OK);
    assert_int_equal(guest_layers(guest, GUEST_ID_B, "s", true), STATUS_OK);
    assert_int_equal(guest_create(guest, GUEST_ID_B, &(struct guest_container){.args = ARGS("true")}),
                     STATUS_OK);
    guest_end(guest, SIGKILL);
    assert_true(guest_mounts(guest) > 0);
    assert_true(guest_groups(GUEST_ID_A) > 0);

    guest_restart(guest, &guest_real);

    nothing_is_left(guest, GUEST_ID_A);
    assert_int_equal(guest_groups(GUEST_ID_B), 0);
    assert_int_equal(guest_entries(guest, "programs"), 0);
    Gcs__V1__Response *events = guest_events(guest, 0, 0);
    assert_int_equal(events->watch_events->n_events, 2);
    for (size_t i = 0; i < 2; i++) {
        assert_int_equal(events->watch_events->events[i]->type,
                         GCS__V1__EVENT_TYPE__EVENT_TYPE_UNEXPECTED_EXIT);
        assert_true(events->watch_events->events[i]->exit_code_unknown);
    }
    gcs__v1__response__free_unpacked(events, NULL);
    guest_container_up(guest, GUEST_ID_A, &(struct guest_container){.args = ARGS("true")});
    assert_int_equal(guest_wait(guest, GUEST_ID_A, 1, 20000).code, 0);
    guest_container_down(guest, GUEST_ID_A);
}

static void
a_standalone_inbox_verifies_layers_and_lets_the_host_make_directories(void **state)
{
    struct guest *guest = *state;
    const struct guest_options standalone = {.runtime = guest_real.runtime, .standalone = true};
    char digest[65] = "", path[256], source[] = "sandbox:///a/b", destination[] = "/data", bind[] = "bind";
    guest_remove(guest);
    guest_start(guest, &standalone);
    Gcs__V1__NegotiateResponse *negotiated = NULL;
    assert_true(caller_negotiated(guest->caller, &negotiated));
    assert_false(negotiated->capabilities->creates_sandbox_mounts);
    assert_string_equal(negotiated->capabilities->sandbox_root, guest->sandbox);
    gcs__v1__negotiate_response__free_unpacked(negotiated, NULL);

    /* As a host does it without a sidecar: by a program in the guest, with an argument vector. */
    snprintf(path, sizeof path, "%s/a/b", guest->sandbox);
    uint32_t process = 0;
    assert_int_equal(guest_exec(guest, GUEST_UVM,
                                &(struct guest_container){.args = ARGS("mkdir", "-p", path),
                                                          .env = ARGS("PATH=/usr/bin:/bin")},
                                &process),
                     STATUS_OK);
    assert_int_equal(guest_wait(guest, GUEST_UVM, process, 20000).code, 0);
    assert_int_equal(guest_volume(guest, "missing", true, digest), STATUS_NOT_FOUND);
    assert_int_equal(guest_volume(guest, "layer.erofs", true, digest), STATUS_OK);
    assert_int_equal(strlen(digest), 64);
    Gcs__V1__Mount mount = GCS__V1__MOUNT__INIT;
    mount.source = source;
    mount.destination = destination;
    mount.type = bind;
    uint32_t init =
        guest_container_up(guest, GUEST_ID_A,
                           &(struct guest_container){
                               .args = ARGS("sh", "-c", "echo here > /data/file; touch /bin/written; exit 0"),
                               .mounts = (Gcs__V1__Mount *[]){&mount},
                               .mount_count = 1});
    assert_int_equal(guest_wait(guest, GUEST_ID_A, init, 20000).code, 0);
    assert_int_equal(guest_volume(guest, NULL, false, digest), STATUS_FAILED_PRECONDITION); /* in use */
    guest_container_down(guest, GUEST_ID_A);
    assert_int_equal(guest_volume(guest, NULL, false, digest), STATUS_OK);

    snprintf(path, sizeof path, "%s/a/b/file", guest->sandbox);
    assert_true(guest_path_exists(path));
    nothing_is_left(guest, GUEST_ID_A);
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
        CASE(container_runs_and_tells_output_and_exit_code),
        CASE(exec_runs_beside_init_with_its_own_user_and_environment),
        CASE(what_cannot_be_run_is_refused_and_leaves_nothing),
        CASE(init_ignores_term_unless_it_handles_it),
        CASE(signal_reaches_an_extra_process_alone),
        CASE(terminal_of_init_and_exec_carries_both_directions),
        CASE(a_terminal_changes_its_size_and_its_process_gets_the_signal),
        CASE(closed_streams_end_the_input_and_let_the_output_run),
        CASE(input_comes_back_once_however_often_it_is_sent),
        CASE(a_mebibyte_of_output_waits_after_the_exit),
        CASE(a_background_child_that_holds_the_output_cuts_the_wait),
        CASE(sandbox_directory_is_seen_on_both_sides_and_read_only_is_kept),
        CASE(a_link_as_a_mount_source_is_refused_and_leaves_nothing),
        CASE(limits_are_the_kernels_and_properties_tell_them),
        CASE(a_program_of_the_guest_runs_without_a_container),
        CASE(sigterm_removes_every_container_and_exits_with_0),
        CASE(a_standalone_inbox_verifies_layers_and_lets_the_host_make_directories),
        CASE(a_successor_removes_what_a_killed_inbox_left_and_reports_it),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
