/*
 * The queue between those who log and the sink: a line never waits, what finds no room is counted, and a sink
 * that comes back is told how many lines it missed.
 */
#include "server/inbox/log_forwarder.h"

#include <fcntl.h>
#include <inttypes.h>
#include <poll.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <cmocka.h>

#include "server/base/fd.h"
#include "server/base/limits.h"
#include "server/base/log.h"
#include "server/inbox/tree.h"
#include "tests/unit/base/gate.h"

#define LIBRARY "microsoft.windows.containers.library"
#define OWN     "microsoft.windows.logforwardservice.provider"
#define START   GCS__V1__LOG_RPC__LOG_RPC_START_LOG_FORWARDING
#define STOP    GCS__V1__LOG_RPC__LOG_RPC_STOP_LOG_FORWARDING

enum { LONG_TEXT = 3000, LONG_LINES = 4000 };

struct fixture {
    char directory[48], path[64], place[80];
    struct log_forwarder *forwarder;
    int listener, reader; /* -1: none */
    char *text;           /* all that the readers have got */
    size_t used, room;
};

static int
setup_with(void **state, const char *kind)
{
    struct fixture *f = calloc(1, sizeof *f);
    struct error err;
    *state = f;
    f->listener = f->reader = -1;
    strcpy(f->directory, "/tmp/gcs-forward-XXXXXX");
    if (!mkdtemp(f->directory))
        return 1;
    snprintf(f->path, sizeof f->path, "%s/sink", f->directory);
    snprintf(f->place, sizeof f->place, "%s:%s", kind, f->path);
    f->room = 64 * 1024 * 1024;
    f->text = malloc(f->room);
    log_set_level(LOG_LEVEL_ERROR); /* standard error has nothing to do with it */
    return log_forwarder_start(f->place, &f->forwarder, &err) != STATUS_OK;
}

static int
setup_file(void **state)
{
    return setup_with(state, "file");
}

static int
setup_socket(void **state)
{
    return setup_with(state, "unix");
}

static int
teardown(void **state)
{
    struct fixture *f = *state;
    struct error err;
    log_forwarder_stop(f->forwarder);
    log_set_level(LOG_LEVEL_INFO);
    fd_closep(&f->reader);
    fd_closep(&f->listener);
    int failed = tree_remove(AT_FDCWD, f->directory, &err) != STATUS_OK;
    free(f->text);
    free(f);
    return failed;
}

static enum status
ask(struct fixture *f, Gcs__V1__LogRpc type, bool with_settings)
{
    static char etw[] = "ETW", library[] = LIBRARY, own[] = OWN;
    Gcs__V1__LogForwardService service = GCS__V1__LOG_FORWARD_SERVICE__INIT;
    Gcs__V1__LogConfig config = GCS__V1__LOG_CONFIG__INIT;
    Gcs__V1__LogSource source = GCS__V1__LOG_SOURCE__INIT, *sources[] = {&source};
    Gcs__V1__LogProvider first = GCS__V1__LOG_PROVIDER__INIT, second = GCS__V1__LOG_PROVIDER__INIT;
    Gcs__V1__LogProvider *providers[] = {&first, &second};
    struct error err;
    first.name = library;
    second.name = own;
    source.type = etw;
    source.providers = providers;
    source.n_providers = 2;
    config.sources = sources;
    config.n_sources = 1;
    service.rpc_type = type;
    service.log_config = with_settings ? &config : NULL;
    return log_forwarder_serve(f->forwarder, &service, &err);
}

static void
must_start(struct fixture *f)
{
    assert_int_equal(ask(f, START, true), STATUS_OK);
}

/* -- the reader -- */

static void
listen_at_sink(struct fixture *f)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    memcpy(address.sun_path, f->path, strlen(f->path));
    f->listener = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    assert_true(f->listener >= 0);
    assert_int_equal(bind(f->listener, (struct sockaddr *)&address, sizeof address), 0);
    assert_int_equal(listen(f->listener, 8), 0);
}

/* Reads what has come, from whichever connection there is. */
static void
read_some(struct fixture *f)
{
    if (f->reader < 0)
        f->reader = accept4(f->listener, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
    if (f->reader < 0)
        return;
    struct pollfd readable = {.fd = f->reader, .events = POLLIN};
    if (poll(&readable, 1, 10) != 1)
        return;
    ssize_t got = read(f->reader, f->text + f->used, f->room - 1 - f->used);
    if (got > 0)
        f->used += (size_t)got;
    else if (got == 0)
        fd_closep(&f->reader); /* the forwarder gave it up, and will connect again */
    f->text[f->used] = '\0';
}

/* Logs short lines and reads until `wanted` has come; where it is in the text. */
static const char *
read_until(struct fixture *f, const char *wanted)
{
    int64_t deadline_ns = clock_now_ns() + GATE_PATIENCE_NS;
    while (clock_now_ns() < deadline_ns) {
        LOG_INFO("short");
        read_some(f);
        const char *found = strstr(f->text, wanted);
        if (found)
            return found;
    }
    fail_msg("'%s' did not come", wanted);
    return NULL;
}

/* -- what must hold -- */

static void
a_full_queue_drops_and_counts_and_whoever_logs_goes_on(void **state)
{
    struct fixture *f = *state;
    char text[LONG_TEXT + 1];
    memset(text, 'x', LONG_TEXT);
    text[LONG_TEXT] = '\0';
    listen_at_sink(f);
    must_start(f);

    /* Several times what queue, batch and socket hold together, and nobody reads meanwhile. */
    int64_t began_ns = clock_now_ns();
    for (int i = 0; i < LONG_LINES; i++)
        LOG_INFO("long", LOG_TEXT("text", text));
    uint64_t dropped = log_forwarder_dropped(f->forwarder);
    print_message("%d lines of %d bytes logged in %.0f ms, %" PRIu64 " dropped\n", LONG_LINES, LONG_TEXT,
                  (double)(clock_now_ns() - began_ns) / NS_PER_MS, dropped);

    assert_true(dropped >= LONG_LINES - 3 * LIMIT_LOG_QUEUE_BYTES / LONG_TEXT);
    const char *told = read_until(f, "\"message\":\"lines were dropped\",\"count\":");
    uint64_t count = strtoull(strstr(told, "\"count\":") + strlen("\"count\":"), NULL, 10);
    assert_true(count > 0);
    assert_true(count <= log_forwarder_dropped(f->forwarder));
    assert_memory_equal(f->text, "{\"provider\":\"" LIBRARY "\"", sizeof "{\"provider\":\"" LIBRARY "\"" - 1);
}

static void
a_reader_that_comes_back_at_another_socket_gets_lines_and_the_count_of_those_it_missed(void **state)
{
    struct fixture *f = *state;
    listen_at_sink(f);
    must_start(f);
    (void)read_until(f, "\"message\":\"short\"");
    assert_int_equal(log_forwarder_dropped(f->forwarder), 0);
    fd_closep(&f->reader);
    fd_closep(&f->listener);
    assert_int_equal(unlink(f->path), 0);

    int64_t deadline_ns = clock_now_ns() + GATE_PATIENCE_NS;
    while (log_forwarder_dropped(f->forwarder) == 0 && clock_now_ns() < deadline_ns)
        LOG_INFO("nobody hears");
    assert_true(log_forwarder_dropped(f->forwarder) > 0);
    assert_true(log_forwarder_runs(f->forwarder)); /* it was not stopped: it tries again */
    f->used = 0;
    f->text[0] = '\0';
    listen_at_sink(f);

    (void)read_until(f, "\"message\":\"lines were dropped\",\"count\":");
    (void)read_until(f, "\"message\":\"short\"");
}

static void
a_stop_writes_what_waits_and_nothing_comes_later(void **state)
{
    struct fixture *f = *state;
    char *text = NULL;
    size_t size, lines = 0;
    struct error err;
    must_start(f);
    for (int i = 0; i < 1000; i++)
        LOG_INFO("short");

    assert_int_equal(ask(f, STOP, false), STATUS_OK);
    LOG_INFO("too late");
    assert_int_equal(ask(f, STOP, false), STATUS_OK);

    assert_int_equal(fd_read_file(f->path, 1 << 20, &text, &size, &err), STATUS_OK);
    for (const char *line = text; (line = strstr(line, "\"message\":\"short\"")); line++)
        lines++;
    assert_int_equal(lines, 1000);
    assert_null(strstr(text, "too late"));
    assert_int_equal(log_forwarder_dropped(f->forwarder), 0);
    free(text);
}

static void
a_start_that_finds_no_sink_says_so_and_logging_goes_on(void **state)
{
    struct fixture *f = *state;

    assert_int_equal(ask(f, START, true), STATUS_FAILED_PRECONDITION);
    LOG_INFO("nobody hears");

    assert_false(log_forwarder_runs(f->forwarder));
    assert_int_equal(log_forwarder_dropped(f->forwarder), 0);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(a_full_queue_drops_and_counts_and_whoever_logs_goes_on, setup_socket,
                                        teardown),
        cmocka_unit_test_setup_teardown(
            a_reader_that_comes_back_at_another_socket_gets_lines_and_the_count_of_those_it_missed,
            setup_socket, teardown),
        cmocka_unit_test_setup_teardown(a_stop_writes_what_waits_and_nothing_comes_later, setup_file,
                                        teardown),
        cmocka_unit_test_setup_teardown(a_start_that_finds_no_sink_says_so_and_logging_goes_on, setup_socket,
                                        teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
