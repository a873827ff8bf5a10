/*
 * The seed's container from its start to its end through the whole sidecar: starting, executing, signals,
 * streams, waiting, deleting; what the policy denies on the way, and what comes too late.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "tests/integration/sidecar_fixture.h"

static const char *const cmd[] = {"cmd", NULL};
static const char *const mkdir_args[] = {"cmd", "/c", "mkdir", "C:\\SandboxMounts\\tmp", NULL};

/* Sets up with a policy that is the seed's but for one replacement. */
static void
setup_with(struct sidecar_fixture *f, const char *from, const char *to)
{
    assert_int_equal(GCS_OK, policy_set(f->host, policy_replace(seed_policy_text(&f->seed), from, to)));
    host_add_volume(f->host);
}

/* -- the seed's case, from end to end -- */

static void
the_seeds_container_lives_and_goes_and_the_hosts_own_mkdir_is_denied(void **state)
{
    struct sidecar_fixture *f = *state;
    struct gcs_error err = {0};
    struct test_spec spec;
    struct test_process process;
    struct gcs_exit end;
    char id[65];
    uint32_t init, exec;
    host_prepare(f->host, 0);
    spec_init_mounted(&spec);
    assert_int_equal(GCS_OK, gcs_create(f->host, container_id(id, 0), &spec.spec, &err));
    assert_int_equal(GCS_OK, gcs_start(f->host, id, &init, &err));
    assert_int_equal(INBOX_FIRST_PROCESS, init);

    process_init(&process, cmd);
    assert_int_equal(GCS_OK, gcs_exec(f->host, id, &process.process, &exec, &err));
    assert_int_equal(INBOX_FIRST_PROCESS + 1, exec);
    assert_true(inbox_message(f->inbox, INBOX_EXEC, id, 0)->request->approval->allow_stdio);
    process_init(&process, mkdir_args);
    assert_denied(&err, gcs_exec(f->host, id, &process.process, &exec, &err), "invalid command");
    assert_denied(&err, gcs_exec(f->host, GCS_UVM_ID, &process.process, &exec, &err), "invalid command");
    assert_int_equal(1, inbox_count(f->inbox, INBOX_EXEC, NULL));

    assert_int_equal(GCS_OK, gcs_signal(f->host, id, init, GCS__V1__SIGNAL__SIGNAL_TERMINATE, &err));
    assert_int_equal(GCS_OK, gcs_wait(f->host, id, init, 10000, &end, &err));
    assert_refused(&err, gcs_delete(f->host, id, &err), GCS_FAILED_PRECONDITION);
    inbox_emit(f->inbox, GCS__V1__EVENT_TYPE__EVENT_TYPE_FORCED_EXIT, id, init, 137);
    Gcs__V1__Response *events = NULL;
    assert_int_equal(GCS_OK, gcs_watch_events(f->host, 0, 20000, &events, &err));
    assert_int_equal(1, events->watch_events->n_events);
    gcs_response_free(events);

    assert_int_equal(GCS_OK, gcs_delete(f->host, id, &err));
    assert_int_equal(0, sandbox_entries(f));
    assert_int_equal(GCS_OK, gcs_separate_layers(f->host, id, "scratch-0", VOLUME_ID, &err));
    assert_int_equal(GCS_OK, gcs_remove_scratch(f->host, "scratch-0", &err));
    assert_int_equal(GCS_OK, gcs_remove_volume(f->host, VOLUME_ID, &err));
    assert_int_equal(0, host_health(f->host).containers);
    assert_true(host_health(f->host).ready);
}

static void
what_runs_of_an_approved_exec_is_the_argument_vector_it_was_asked_with(void **state)
{
    struct sidecar_fixture *f = *state;
    struct gcs_error err = {0};
    struct test_process process;
    char id[65];
    uint32_t exec;
    setup_with(f, "\"cmd\"\n        ],\n        \"signals\"",
               "\"cmd /c dir\"\n        ],\n        \"signals\"");
    host_run(f->host, 0);
    process_init(&process, (const char *const[]){"cmd", "/c", "dir", NULL});

    assert_int_equal(GCS_OK, gcs_exec(f->host, container_id(id, 0), &process.process, &exec, &err));

    const Gcs__V1__Process *got =
        inbox_message(f->inbox, INBOX_EXEC, id, 0)->request->execute_process->process;
    assert_int_equal(3, got->n_args);
    assert_string_equal("dir", got->args[2]);
}

/* -- what the policy takes away -- */

static void
the_inbox_gets_the_narrowed_environment_and_nothing_that_was_dropped(void **state)
{
    struct sidecar_fixture *f = *state;
    struct gcs_error err = {0};
    struct test_spec spec;
    struct test_process process;
    char id[65];
    uint32_t process_id;
    setup_with(f, "\"pattern\": \".+\"", "\"pattern\": \"PATH=.+\"");
    host_prepare(f->host, 0);
    spec_init(&spec);
    spec.env[1] = (char *)(uintptr_t) "LD_PRELOAD=/evil.so";
    spec.process.n_env = 2;
    process_init(&process, cmd);
    process.env[0] = (char *)(uintptr_t) "LD_PRELOAD=/evil.so";
    process.env[1] = (char *)(uintptr_t) "PATH=/bin";
    process.process.n_env = 2;

    assert_int_equal(GCS_OK, gcs_create(f->host, container_id(id, 0), &spec.spec, &err));
    assert_int_equal(GCS_OK, gcs_start(f->host, id, &process_id, &err));
    assert_int_equal(GCS_OK, gcs_exec(f->host, id, &process.process, &process_id, &err));

    const Gcs__V1__Process *got[] = {
        inbox_message(f->inbox, INBOX_CREATE, id, 0)->request->create_container->spec->process,
        inbox_message(f->inbox, INBOX_EXEC, id, 0)->request->execute_process->process,
    };
    for (size_t i = 0; i < 2; i++) {
        assert_int_equal(1, got[i]->n_env);
        assert_string_equal("PATH=/bin", got[i]->env[0]);
    }
}

#define STDIO_ALLOWED "\"allow_stdio_access\": true"
#define STDIO_DENIED  "\"allow_stdio_access\": false"

static void
denied_streams_are_cleared_in_the_document_and_refused_to_the_host(void **state)
{
    struct sidecar_fixture *f = *state;
    struct gcs_error err = {0};
    struct test_process process;
    char id[65];
    uint32_t exec;
    uint64_t offset = 0;
    setup_with(f, STDIO_ALLOWED, STDIO_DENIED);
    uint32_t processes[3] = {host_run(f->host, 0)};
    container_id(id, 0);
    process_init(&process, cmd);
    assert_int_equal(GCS_OK, gcs_exec(f->host, id, &process.process, &exec, &err));
    processes[1] = exec;
    assert_int_equal(GCS_OK, gcs_exec(f->host, GCS_UVM_ID, &process.process, &exec, &err));
    processes[2] = exec;

    const Gcs__V1__Request *got[] = {inbox_message(f->inbox, INBOX_CREATE, id, 0)->request,
                                     inbox_message(f->inbox, INBOX_EXEC, id, 0)->request,
                                     inbox_message(f->inbox, INBOX_EXEC, GCS_UVM_ID, 0)->request};
    for (size_t i = 0; i < 3; i++) {
        const Gcs__V1__Process *ran =
            i == 0 ? got[i]->create_container->spec->process : got[i]->execute_process->process;
        assert_false(got[i]->approval->allow_stdio);
        assert_false(ran->stdin || ran->stdout || ran->stderr);
        assert_refused(&err,
                       gcs_read(f->host, i < 2 ? id : GCS_UVM_ID, processes[i],
                                GCS__V1__STREAM__STREAM_STDOUT, 0, 0, NULL, &err),
                       GCS_PERMISSION_DENIED);
        assert_refused(
            &err, gcs_write(f->host, i < 2 ? id : GCS_UVM_ID, processes[i], "x", 1, false, &offset, &err),
            GCS_PERMISSION_DENIED);
        assert_refused(&err, gcs_resize(f->host, i < 2 ? id : GCS_UVM_ID, processes[i], 24, 80, &err),
                       GCS_PERMISSION_DENIED);
        assert_refused(&err,
                       gcs_close_stream(f->host, i < 2 ? id : GCS_UVM_ID, processes[i],
                                        GCS__V1__STREAM__STREAM_STDIN, &err),
                       GCS_PERMISSION_DENIED);
    }
    assert_int_equal(0, inbox_count(f->inbox, INBOX_CLOSE, NULL));
    assert_int_equal(0, inbox_count(f->inbox, INBOX_RESIZE, NULL));
    assert_int_equal(0, inbox_count(f->inbox, INBOX_READ, NULL));
    assert_int_equal(0, inbox_count(f->inbox, INBOX_WRITE, NULL));
}

static void
a_terminal_is_refused_where_streams_are_denied_and_nothing_is_left(void **state)
{
    struct sidecar_fixture *f = *state;
    struct gcs_error err = {0};
    struct test_spec spec;
    struct test_process process;
    char id[65];
    uint32_t process_id;
    setup_with(f, STDIO_ALLOWED, STDIO_DENIED);
    host_prepare(f->host, 0);
    spec_init_mounted(&spec);
    spec.process.terminal = true;

    assert_refused(&err, gcs_create(f->host, container_id(id, 0), &spec.spec, &err), GCS_PERMISSION_DENIED);
    assert_int_equal(0, sandbox_entries(f));
    assert_int_equal(0, inbox_count(f->inbox, INBOX_CREATE, NULL));
    spec.process.terminal = false;
    assert_int_equal(GCS_OK, gcs_create(f->host, id, &spec.spec, &err));
    assert_int_equal(GCS_OK, gcs_start(f->host, id, &process_id, &err));

    process_init(&process, cmd);
    process.process.terminal = true;
    assert_refused(&err, gcs_exec(f->host, id, &process.process, &process_id, &err), GCS_PERMISSION_DENIED);
    assert_int_equal(0, inbox_count(f->inbox, INBOX_EXEC, NULL));
}

static void
allowed_streams_are_read_written_and_closed_through_the_inbox(void **state)
{
    struct sidecar_fixture *f = *state;
    struct gcs_error err = {0};
    char id[65];
    uint64_t offset = 7;
    uint32_t init = host_run(f->host, 0);
    container_id(id, 0);

    assert_int_equal(GCS_OK, gcs_read(f->host, id, init, GCS__V1__STREAM__STREAM_STDERR, 5, 0, NULL, &err));
    assert_int_equal(GCS_OK, gcs_write(f->host, id, init, "input", 5, true, &offset, &err));
    assert_int_equal(12, offset);
    assert_int_equal(GCS_OK, gcs_close_stream(f->host, id, init, GCS__V1__STREAM__STREAM_STDERR, &err));
    inbox_refuse(f->inbox, INBOX_CLOSE, NULL, 1, STATUS_FAILED_PRECONDITION);
    assert_int_equal(GCS_FAILED_PRECONDITION,
                     gcs_close_stream(f->host, id, init, GCS__V1__STREAM__STREAM_STDIN, &err));
    assert_int_equal(0x80370105, err.hresult);
    gcs_error_clear(&err);
    const Gcs__V1__CloseStream *close = inbox_message(f->inbox, INBOX_CLOSE, id, 0)->request->close_stream;
    assert_int_equal(init, close->process_id);
    assert_int_equal(GCS__V1__STREAM__STREAM_STDERR, close->stream);

    const Gcs__V1__ReadStream *read = inbox_message(f->inbox, INBOX_READ, id, 0)->request->read_stream;
    const Gcs__V1__WriteStream *write = inbox_message(f->inbox, INBOX_WRITE, id, 0)->request->write_stream;
    assert_int_equal(init, read->process_id);
    assert_int_equal(GCS__V1__STREAM__STREAM_STDERR, read->stream);
    assert_int_equal(5, read->offset);
    assert_int_equal(7, write->offset);
    assert_int_equal(5, write->data.len);
    assert_memory_equal("input", write->data.data, 5);
    assert_true(write->eof);
}

static void
a_terminals_size_reaches_the_inbox_and_its_refusal_the_host(void **state)
{
    struct sidecar_fixture *f = *state;
    struct gcs_error err = {0};
    char id[65];
    uint32_t init = host_run(f->host, 0);
    container_id(id, 0);

    assert_int_equal(GCS_OK, gcs_resize(f->host, id, init, 1, UINT16_MAX, &err));
    inbox_refuse(f->inbox, INBOX_RESIZE, NULL, 1, STATUS_FAILED_PRECONDITION);
    assert_int_equal(GCS_FAILED_PRECONDITION, gcs_resize(f->host, id, init, 24, 80, &err));

    assert_int_equal(0x80370105, err.hresult);
    gcs_error_clear(&err);
    const Gcs__V1__ResizeConsole *got = inbox_message(f->inbox, INBOX_RESIZE, id, 0)->request->resize_console;
    assert_int_equal(init, got->process_id);
    assert_int_equal(1, got->height);
    assert_int_equal(UINT16_MAX, got->width);
}

static void
a_terminals_size_outside_of_its_range_never_reaches_the_inbox(void **state)
{
    struct sidecar_fixture *f = *state;
    struct gcs_error err = {0};
    char id[65];
    uint32_t init = host_run(f->host, 0);
    const uint32_t sizes[][2] = {
        {0, 80}, {24, 0}, {UINT16_MAX + 1, 80}, {24, UINT16_MAX + 1}, {24, UINT32_MAX}};
    for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++) {
        enum gcs_status status =
            gcs_resize(f->host, container_id(id, 0), init, sizes[i][0], sizes[i][1], &err);

        assert_int_equal(GCS_INVALID_ARGUMENT, status);
        assert_int_equal(0x80070057, err.hresult);
        gcs_error_clear(&err);
    }
    assert_int_equal(0, inbox_count(f->inbox, INBOX_RESIZE, NULL));
}

/* -- signals -- */

static void
signals_follow_the_rules_of_the_process_they_are_for(void **state)
{
    struct sidecar_fixture *f = *state;
    struct gcs_error err = {0};
    struct test_process process;
    char id[65];
    uint32_t exec;
    /* The exec'd process may get CtrlC and CtrlShutdown; init none, so that only killing it is left. */
    setup_with(f, "\"signals\": []\n      }", "\"signals\": [\"CtrlC\", \"CtrlShutdown\"]\n      }");
    uint32_t init = host_run(f->host, 0);
    container_id(id, 0);
    process_init(&process, cmd);
    assert_int_equal(GCS_OK, gcs_exec(f->host, id, &process.process, &exec, &err));
    const struct {
        uint32_t process_id;
        Gcs__V1__Signal signal;
        bool allowed;
    } cases[] = {
        {exec, GCS__V1__SIGNAL__SIGNAL_CTRL_C, true},
        {exec, GCS__V1__SIGNAL__SIGNAL_CTRL_BREAK, false},
        {exec, GCS__V1__SIGNAL__SIGNAL_CTRL_CLOSE, false},
        {exec, GCS__V1__SIGNAL__SIGNAL_CTRL_LOG_OFF, false},
        {exec, GCS__V1__SIGNAL__SIGNAL_CTRL_SHUTDOWN, true},
        {exec, GCS__V1__SIGNAL__SIGNAL_TERMINATE, true}, /* judged as CtrlShutdown */
        {init, GCS__V1__SIGNAL__SIGNAL_CTRL_C, false},
        {init, GCS__V1__SIGNAL__SIGNAL_CTRL_SHUTDOWN, false},
        {init, GCS__V1__SIGNAL__SIGNAL_TERMINATE, true}, /* judged as shutdown_container */
    };
    size_t sent = 0;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        enum gcs_status status = gcs_signal(f->host, id, cases[i].process_id, cases[i].signal, &err);

        if (status != (cases[i].allowed ? GCS_OK : GCS_PERMISSION_DENIED))
            fail_msg("case %zu: %s: %s", i, gcs_status_name(status), err.message ? err.message : "");
        gcs_error_clear(&err);
        sent += cases[i].allowed;
        assert_int_equal(sent, inbox_count(f->inbox, INBOX_SIGNAL, id));
    }
}

static void
killing_an_exec_needs_a_signal_of_its_own(void **state)
{
    struct sidecar_fixture *f = *state;
    struct gcs_error err = {0};
    struct test_process process;
    char id[65];
    uint32_t exec;
    host_run(f->host, 0);
    process_init(&process, cmd);
    assert_int_equal(GCS_OK, gcs_exec(f->host, container_id(id, 0), &process.process, &exec, &err));

    enum gcs_status status = gcs_signal(f->host, id, exec, GCS__V1__SIGNAL__SIGNAL_TERMINATE, &err);

    assert_int_equal(GCS_PERMISSION_DENIED, status);
    assert_string_equal("signal_container_process", err.denial->rule);
    assert_int_equal(0, inbox_count(f->inbox, INBOX_SIGNAL, NULL));
    gcs_error_clear(&err);
}

static void
a_shutdown_that_the_inbox_refuses_leaves_the_policys_state_as_it_was(void **state)
{
    struct sidecar_fixture *f = *state;
    struct gcs_error err = {0};
    struct test_process process;
    char id[65];
    uint32_t exec;
    host_run(f->host, 0);
    process_init(&process, cmd);
    inbox_refuse(f->inbox, INBOX_FORCED, NULL, 1, STATUS_INTERNAL);

    assert_refused(&err, gcs_shutdown(f->host, container_id(id, 0), true, &err), GCS_INTERNAL);

    assert_int_equal(GCS_OK, gcs_exec(f->host, id, &process.process, &exec, &err));
    assert_int_equal(GCS_OK, gcs_shutdown(f->host, id, false, &err));
    assert_refused(&err, gcs_exec(f->host, id, &process.process, &exec, &err), GCS_PERMISSION_DENIED);
}

/* -- states -- */

static void
an_exec_needs_a_running_container(void **state)
{
    struct sidecar_fixture *f = *state;
    struct gcs_error err = {0};
    struct test_spec spec;
    struct test_process process;
    char id[65];
    uint32_t exec;
    process_init(&process, cmd);
    assert_refused(&err, gcs_exec(f->host, container_id(id, 0), &process.process, &exec, &err),
                   GCS_NOT_FOUND);
    host_prepare(f->host, 0);
    spec_init(&spec);
    assert_int_equal(GCS_OK, gcs_create(f->host, id, &spec.spec, &err));

    assert_refused(&err, gcs_exec(f->host, id, &process.process, &exec, &err), GCS_FAILED_PRECONDITION);

    assert_int_equal(0, inbox_count(f->inbox, INBOX_EXEC, NULL));
}

static void
unknown_processes_and_containers_are_not_found_here(void **state)
{
    struct sidecar_fixture *f = *state;
    struct gcs_error err = {0};
    struct gcs_exit end;
    char id[65], other[65];
    uint32_t init = host_run(f->host, 0);
    uint64_t offset = 0;
    container_id(id, 0);
    container_id(other, 1);
    const struct {
        const char *id;
        uint32_t process_id, hresult;
    } cases[] = {{id, init + 77, 0x80070490}, {other, init, 0xC037010E}};
    for (size_t i = 0; i < 2; i++) {
        uint32_t pid = cases[i].process_id;
        for (size_t call = 0; call < 6; call++) {
            enum gcs_status status =
                call == 0   ? gcs_wait(f->host, cases[i].id, pid, 0, &end, &err)
                : call == 1 ? gcs_signal(f->host, cases[i].id, pid, GCS__V1__SIGNAL__SIGNAL_CTRL_C, &err)
                : call == 2
                    ? gcs_read(f->host, cases[i].id, pid, GCS__V1__STREAM__STREAM_STDOUT, 0, 0, NULL, &err)
                : call == 3 ? gcs_write(f->host, cases[i].id, pid, "", 0, true, &offset, &err)
                : call == 4
                    ? gcs_resize(f->host, cases[i].id, pid, 24, 80, &err)
                    : gcs_close_stream(f->host, cases[i].id, pid, GCS__V1__STREAM__STREAM_STDIN, &err);
            assert_int_equal(GCS_NOT_FOUND, status);
            assert_int_equal(cases[i].hresult, err.hresult);
            gcs_error_clear(&err);
        }
    }
    assert_int_equal(0, inbox_count(f->inbox, INBOX_WAIT, NULL));
    assert_int_equal(0, inbox_count(f->inbox, INBOX_SIGNAL, NULL));
}

static void
a_start_that_the_inbox_refuses_can_be_tried_again(void **state)
{
    struct sidecar_fixture *f = *state;
    struct gcs_error err = {0};
    struct test_spec spec;
    char id[65];
    uint32_t init;
    host_prepare(f->host, 0);
    spec_init(&spec);
    assert_int_equal(GCS_OK, gcs_create(f->host, container_id(id, 0), &spec.spec, &err));
    inbox_refuse(f->inbox, INBOX_START, NULL, 1, STATUS_INTERNAL);

    assert_refused(&err, gcs_start(f->host, id, &init, &err), GCS_INTERNAL);

    assert_int_equal(CONTAINER_CREATED, container_state(f->sidecar->containers, id));
    assert_int_equal(GCS_OK, gcs_start(f->host, id, &init, &err));
    assert_refused(&err, gcs_start(f->host, id, &init, &err), GCS_FAILED_PRECONDITION);
}

static void
a_deletion_that_the_inbox_refuses_keeps_the_directories(void **state)
{
    struct sidecar_fixture *f = *state;
    struct gcs_error err = {0};
    struct test_spec spec;
    char id[65];
    host_prepare(f->host, 0);
    spec_init_mounted(&spec);
    assert_int_equal(GCS_OK, gcs_create(f->host, container_id(id, 0), &spec.spec, &err));
    inbox_refuse(f->inbox, INBOX_DELETE, NULL, 1, STATUS_INTERNAL);

    assert_refused(&err, gcs_delete(f->host, id, &err), GCS_INTERNAL);

    assert_int_equal(0777, sandbox_mode(f, "tmp/atlas/emptydir/vol1"));
    assert_int_equal(CONTAINER_CREATED, container_state(f->sidecar->containers, id));
    /* And one that finds nothing there any more has done what it should. */
    inbox_refuse(f->inbox, INBOX_DELETE, NULL, 1, STATUS_NOT_FOUND);
    assert_int_equal(GCS_OK, gcs_delete(f->host, id, &err));
    assert_int_equal(0, sandbox_entries(f));
}

/* -- too late -- */

static void
an_exec_that_comes_too_late_is_killed_and_unknown_to_the_host(void **state)
{
    struct sidecar_fixture *f = *state;
    struct gcs_error err = {0};
    struct test_process process;
    struct gcs_exit end;
    char id[65];
    uint32_t init = host_run(f->host, 0), exec;
    container_id(id, 0);
    process_init(&process, cmd);
    inbox_hold(f->inbox, INBOX_EXEC, NULL, 1);
    assert_int_equal(GCS_DEADLINE_EXCEEDED, host_end(host_begin_exec(f->host, id, &process, HELD_MS)));

    inbox_release(f->inbox, INBOX_EXEC);

    assert_true(inbox_wait_count(f->inbox, INBOX_SIGNAL, id, 1));
    const Gcs__V1__SignalProcess *kill =
        inbox_message(f->inbox, INBOX_SIGNAL, id, 0)->request->signal_process;
    assert_int_equal(init + 1, kill->process_id);
    assert_int_equal(GCS__V1__SIGNAL__SIGNAL_TERMINATE, kill->signal);
    assert_int_equal(GCS_OK, gcs_exec(f->host, id, &process.process, &exec, &err));
    assert_refused(&err, gcs_wait(f->host, id, init + 1, 0, &end, &err), GCS_NOT_FOUND);
    assert_false(host_health(f->host).inconsistent);
}

static void
an_exec_that_the_inbox_gives_up_is_a_definite_failure(void **state)
{
    struct sidecar_fixture *f = *state;
    struct gcs_error err = {0};
    struct test_process process;
    char id[65];
    uint32_t exec;
    host_run(f->host, 0);
    process_init(&process, cmd);
    inbox_refuse(f->inbox, INBOX_EXEC, NULL, 1, STATUS_DEADLINE_EXCEEDED);

    enum gcs_status status = gcs_exec(f->host, container_id(id, 0), &process.process, &exec, &err);

    assert_int_equal(GCS_DEADLINE_EXCEEDED, status);
    gcs_error_clear(&err);
    assert_false(host_health(f->host).inconsistent);
    assert_int_equal(GCS_OK, gcs_exec(f->host, id, &process.process, &exec, &err));
}

static void
a_start_that_comes_too_late_stays_a_start(void **state)
{
    struct sidecar_fixture *f = *state;
    struct gcs_error err = {0};
    struct test_spec spec;
    struct test_process process;
    char id[65];
    uint32_t exec;
    host_prepare(f->host, 0);
    spec_init(&spec);
    assert_int_equal(GCS_OK, gcs_create(f->host, container_id(id, 0), &spec.spec, &err));
    inbox_hold(f->inbox, INBOX_START, NULL, 1);
    Gcs__V1__Request request = GCS__V1__REQUEST__INIT;
    Gcs__V1__StartContainer start = GCS__V1__START_CONTAINER__INIT;
    request.container_id = id;
    request.timeout_ms = HELD_MS;
    request.body_case = GCS__V1__REQUEST__BODY_START_CONTAINER;
    request.start_container = &start;
    assert_refused(&err, gcs_call(f->host, &request, NULL, &err), GCS_DEADLINE_EXCEEDED);

    inbox_release(f->inbox, INBOX_START);

    process_init(&process, cmd);
    assert_int_equal(GCS_OK, gcs_exec(f->host, id, &process.process, &exec, &err));
    assert_int_equal(CONTAINER_RUNNING, container_state(f->sidecar->containers, id));
}

int
main(void)
{
#define TEST(name)           cmocka_unit_test_setup_teardown(name, fixture_setup_volume, fixture_teardown)
#define TEST_NO_POLICY(name) cmocka_unit_test_setup_teardown(name, fixture_setup, fixture_teardown)
    const struct CMUnitTest tests[] = {
        TEST(the_seeds_container_lives_and_goes_and_the_hosts_own_mkdir_is_denied),
        TEST_NO_POLICY(what_runs_of_an_approved_exec_is_the_argument_vector_it_was_asked_with),
        TEST_NO_POLICY(the_inbox_gets_the_narrowed_environment_and_nothing_that_was_dropped),
        TEST_NO_POLICY(denied_streams_are_cleared_in_the_document_and_refused_to_the_host),
        TEST_NO_POLICY(a_terminal_is_refused_where_streams_are_denied_and_nothing_is_left),
        TEST(allowed_streams_are_read_written_and_closed_through_the_inbox),
        TEST(a_terminals_size_reaches_the_inbox_and_its_refusal_the_host),
        TEST(a_terminals_size_outside_of_its_range_never_reaches_the_inbox),
        TEST_NO_POLICY(signals_follow_the_rules_of_the_process_they_are_for),
        TEST(killing_an_exec_needs_a_signal_of_its_own),
        TEST(a_shutdown_that_the_inbox_refuses_leaves_the_policys_state_as_it_was),
        TEST(an_exec_needs_a_running_container),
        TEST(unknown_processes_and_containers_are_not_found_here),
        TEST(a_start_that_the_inbox_refuses_can_be_tried_again),
        TEST(a_deletion_that_the_inbox_refuses_keeps_the_directories),
        TEST(an_exec_that_comes_too_late_is_killed_and_unknown_to_the_host),
        TEST(an_exec_that_the_inbox_gives_up_is_a_definite_failure),
        TEST(a_start_that_comes_too_late_stays_a_start),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
