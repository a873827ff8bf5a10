/*
 * ModifyServiceSettings with real programs: what the policy keeps, what is refused, and the lines that reach
 * the inbox's own sink. The first half are the expectations of the reference's TestModifyServiceSettings_*.
 */
#include <errno.h>
#include <fcntl.h>
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
#include "tests/faults/guest.h"
#include "tests/unit/service/http_get.h"

#define COMPUTE "microsoft.windows.hyperv.compute"
#define LIBRARY "microsoft.windows.containers.library"
#define CIMFS   "microsoft.windows.filesystem.cimfs"
#define OWN     "microsoft.windows.logforwardservice.provider"
#define KEYS    "microsoft.windows.security.keyguard" /* not among those that the policies below allow */

#define MODIFY  GCS__V1__LOG_RPC__LOG_RPC_MODIFY_SERVICE_SETTINGS
#define START   GCS__V1__LOG_RPC__LOG_RPC_START_LOG_FORWARDING
#define STOP    GCS__V1__LOG_RPC__LOG_RPC_STOP_LOG_FORWARDING

static void
set_policy(struct guest *guest, bool dropping)
{
    char text[1024];
    snprintf(text, sizeof text,
             "package policy\n\napi_version := \"0.11.0\"\nframework_version := \"0.4.0\"\n\n"
             "allowed_log_providers := [\"Microsoft.Windows.HyperV.Compute\", \"" LIBRARY "\", \"" CIMFS
             "\", \"" OWN "\"]\n"
             "allow_log_provider_dropping := %s\nlog_provider := data.framework.log_provider\nreason := "
             "data.framework.reason\n",
             dropping ? "true" : "false");
    assert_int_equal(GCS_OK, policy_set(guest->host, strdup(text)));
}

/* One source of these providers ("NAME" or "NAME guid"), NULL at the end. */
struct settings {
    Gcs__V1__LogConfig config;
    Gcs__V1__LogSource source, *sources[1];
    Gcs__V1__LogProvider providers[8], *list[8];
};

static struct settings *
settings_of(struct settings *settings, Gcs__V1__LogLevel level, const char *const *names)
{
    static char type[] = "ETW";
    gcs__v1__log_config__init(&settings->config);
    gcs__v1__log_source__init(&settings->source);
    settings->source.type = type;
    settings->source.providers = settings->list;
    for (; names && *names; names++) {
        Gcs__V1__LogProvider *provider = &settings->providers[settings->source.n_providers];
        gcs__v1__log_provider__init(provider);
        provider->name = (char *)(uintptr_t)*names;
        provider->level = level;
        settings->list[settings->source.n_providers++] = provider;
    }
    settings->sources[0] = &settings->source;
    settings->config.sources = settings->sources;
    settings->config.n_sources = 1;
    return settings;
}

static enum gcs_status
ask(struct guest *guest, Gcs__V1__LogRpc type, Gcs__V1__LogConfig *config, Gcs__V1__Response **ret,
    struct gcs_error *err)
{
    return gcs_log_forwarding(guest->host, type, config, ret, err);
}

static void
must_ask(struct guest *guest, Gcs__V1__LogRpc type, Gcs__V1__LogLevel level, const char *const *names)
{
    struct settings settings = {0};
    struct gcs_error err = {0};
    if (names)
        settings_of(&settings, level, names);
    if (ask(guest, type, names ? &settings.config : NULL, NULL, &err) != GCS_OK)
        fail_msg("%s", err.message);
}

#define NAMES(...) ((const char *const[]){__VA_ARGS__, NULL})

/* Asserts what is in effect: the names, separated by blanks, and those that are silent. */
static void
assert_in_effect(struct guest *guest, const char *names, const char *silent)
{
    char all[1024] = "", quiet[1024] = "";
    struct gcs_error err = {0};
    Gcs__V1__Response *response = NULL;
    if (ask(guest, STOP, NULL, &response, &err) != GCS_OK) /* changes nothing: it is stopped */
        fail_msg("%s", err.message);
    const Gcs__V1__ModifyServiceSettingsResponse *told = response->modify_service_settings;
    for (size_t i = 0; i < told->n_providers; i++)
        snprintf(all + strlen(all), sizeof all - strlen(all), "%s%s", i ? " " : "", told->providers[i]);
    for (size_t i = 0; i < told->n_silent_providers; i++)
        snprintf(quiet + strlen(quiet), sizeof quiet - strlen(quiet), "%s%s", i ? " " : "",
                 told->silent_providers[i]);
    assert_string_equal(names, all);
    assert_string_equal(silent, quiet);
    assert_false(told->forwarding);
    gcs_response_free(response);
}

/* -- the policy's word -- */

static void
allowed_providers_take_effect_in_their_order(void **state)
{
    struct guest *guest = *state;
    set_policy(guest, false);
    assert_in_effect(guest, "", "");

    must_ask(guest, MODIFY, 0, NAMES(CIMFS, "MICROSOFT.Windows.HyperV.Compute", LIBRARY));

    assert_in_effect(guest, CIMFS " " COMPUTE " " LIBRARY, CIMFS);
}

static void
a_denied_provider_denies_the_whole(void **state)
{
    struct guest *guest = *state;
    struct settings settings = {0};
    struct gcs_error err = {0};
    set_policy(guest, false);
    must_ask(guest, MODIFY, 0, NAMES(LIBRARY));
    settings_of(&settings, 0, NAMES(COMPUTE, KEYS));

    enum gcs_status status = ask(guest, MODIFY, &settings.config, NULL, &err);

    assert_denied(&err, status, "log provider not allowed by policy");
    assert_in_effect(guest, LIBRARY, "");
}

static void
a_policy_that_drops_keeps_the_others(void **state)
{
    struct guest *guest = *state;
    set_policy(guest, true);

    must_ask(guest, MODIFY, 0, NAMES(KEYS, COMPUTE, KEYS, CIMFS));
    assert_in_effect(guest, COMPUTE " " CIMFS, CIMFS);
    must_ask(guest, MODIFY, 0, NAMES(KEYS));

    assert_in_effect(guest, "", "");
}

static void
a_name_that_stands_twice_is_one_provider(void **state)
{
    struct guest *guest = *state;
    set_policy(guest, false);

    must_ask(guest, MODIFY, 0, NAMES(COMPUTE, LIBRARY, COMPUTE));

    assert_in_effect(guest, COMPUTE " " LIBRARY, "");
}

static void
a_guid_must_be_its_names(void **state)
{
    static const struct {
        const char *name, *guid, *keywords, *reason; /* reason NULL: fine */
    } cases[] = {
        {COMPUTE, "80ce50de-d264-4581-950d-abadeee0d340", "", NULL},
        {COMPUTE, " {80CE50DE-D264-4581-950D-ABADEEE0D340} ", "", NULL},
        {COMPUTE, "{80ce50de-d264-4581-950d-abadeee0d340", "", ".guid: not the GUID of"},
        {COMPUTE, "{{80ce50de-d264-4581-950d-abadeee0d340}}", "", ".guid: not the GUID of"},
        {COMPUTE, "67eb0417-9297-42ae-a1d9-98bfeb359059", "", ".guid: not the GUID of"},
        {COMPUTE, "no guid", "", ".guid: not the GUID of"},
        {"", "80ce50de-d264-4581-950d-abadeee0d340", "", ".name: missing"},
        {"", "", "", ".name: missing"},
        {"contoso.provider", "", "", ".name: this guest knows no such provider"},
        {"contoso.provider", "80ce50de-d264-4581-950d-abadeee0d340", "",
         ".name: this guest knows no such provider"},
        {COMPUTE, "", "0x1", ".keywords: an ETW mask; lines have no keywords here"},
    };
    struct guest *guest = *state;
    set_policy(guest, true); /* dropping does not make up for what is malformed */
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct settings settings = {0};
        struct gcs_error err = {0};
        settings_of(&settings, 0, NAMES(cases[i].name));
        settings.providers[0].guid = (char *)(uintptr_t)cases[i].guid;
        settings.providers[0].keywords = (char *)(uintptr_t)cases[i].keywords;

        enum gcs_status status = ask(guest, MODIFY, &settings.config, NULL, &err);

        assert_int_equal(cases[i].reason ? GCS_INVALID_ARGUMENT : GCS_OK, status);
        if (cases[i].reason && !strstr(err.message, cases[i].reason))
            fail_msg("'%s' does not say '%s'", err.message, cases[i].reason);
        gcs_error_clear(&err);
    }
    assert_in_effect(guest, COMPUTE, "");
}

static void
calls_that_say_too_little_are_refused(void **state)
{
    struct guest *guest = *state;
    struct settings settings = {0};
    struct gcs_error err = {0};
    Gcs__V1__Request request = GCS__V1__REQUEST__INIT;
    Gcs__V1__ModifyServiceSettings nothing = GCS__V1__MODIFY_SERVICE_SETTINGS__INIT;
    char uvm[] = GCS_UVM_ID, empty[] = "", id[65];
    set_policy(guest, true);
    request.container_id = uvm;
    request.body_case = GCS__V1__REQUEST__BODY_MODIFY_SERVICE_SETTINGS;
    request.modify_service_settings = &nothing;

    assert_int_equal(GCS_INVALID_ARGUMENT, gcs_call(guest->host, &request, NULL, &err)); /* no service */
    request.container_id = container_id(id, 0);
    assert_int_equal(GCS_INVALID_ARGUMENT, gcs_call(guest->host, &request, NULL, &err)); /* a container */
    assert_int_equal(GCS_INVALID_ARGUMENT, ask(guest, 0, NULL, NULL, &err));             /* no kind of call */
    assert_int_equal(GCS_INVALID_ARGUMENT, ask(guest, 7, NULL, NULL, &err));             /* an unknown one */
    assert_int_equal(GCS_INVALID_ARGUMENT, ask(guest, MODIFY, NULL, NULL, &err));        /* no settings */
    settings_of(&settings, 0, NAMES(COMPUTE));
    settings.source.type = empty;
    assert_int_equal(GCS_INVALID_ARGUMENT, ask(guest, MODIFY, &settings.config, NULL, &err)); /* no type */
    gcs_error_clear(&err);

    assert_in_effect(guest, "", "");
}

/* -- the sink -- */

static char sink_path[160], sink_option[200], metrics_address[200];

static int
setup_with(void **state, const char *kind)
{
    static const char *args[] = {"--log-sink", sink_option, "--metrics-listen", metrics_address, NULL};
    guest_setup_files(state);
    struct guest *guest = *state;
    snprintf(sink_path, sizeof sink_path, "%s/sink", guest->directory);
    snprintf(sink_option, sizeof sink_option, "%s:%s", kind, sink_path);
    snprintf(metrics_address, sizeof metrics_address, "unix:%s/metrics", guest->directory);
    guest->inbox_args = args;
    guest_start_inbox(guest);
    guest_start_sidecar(guest);
    guest_reconnect(guest);
    return 0;
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

/* A figure of the inbox. */
static unsigned long
metric(const char *name)
{
    char line[128];
    char *answer = http_get(metrics_address, "/metrics");
    assert_non_null(answer);
    snprintf(line, sizeof line, "\n%s ", name);
    const char *found = strstr(answer, line);
    if (!found)
        fail_msg("no %s in: %s", name, answer);
    unsigned long value = strtoul(found + strlen(line), NULL, 10);
    free(answer);
    return value;
}

/* What is in the sink's file; the caller frees. */
static char *
sink_text(void)
{
    char *text = NULL;
    size_t size;
    struct error err;
    if (fd_read_file(sink_path, 1 << 20, &text, &size, &err) != STATUS_OK)
        fail_msg("%s", err.text);
    return text;
}

static void
lines_reach_the_file_from_start_to_stop(void **state)
{
    struct guest *guest = *state;
    set_policy(guest, false);
    must_ask(guest, MODIFY, GCS__V1__LOG_LEVEL__LOG_LEVEL_VERBOSE, NAMES(LIBRARY));
    assert_int_equal(-1, access(sink_path, F_OK)); /* settings alone open nothing */

    assert_int_equal(0, metric("gcs_log_forwarding"));
    must_ask(guest, START, 0, NULL);
    must_ask(guest, START, 0, NULL);
    assert_int_equal(1, metric("gcs_log_forwarding"));
    must_ask(guest, STOP, 0, NULL);
    assert_int_equal(0, metric("gcs_log_forwarding"));
    char *text = sink_text();
    must_ask(guest, MODIFY, GCS__V1__LOG_LEVEL__LOG_LEVEL_VERBOSE, NAMES(LIBRARY));
    char *later = sink_text();

    static const char first[] = "{\"provider\":\"" LIBRARY "\",\"time\":\"";
    assert_memory_equal(first, text, sizeof first - 1);
    assert_non_null(strstr(text, "\"method\":\"ModifyServiceSettings\""));
    assert_int_equal('\n', text[strlen(text) - 1]);
    assert_string_equal(text, later); /* nothing after the stop */
    assert_int_equal(0, metric("gcs_log_dropped_lines_total"));
    free(text);
    free(later);
}

static void
settings_take_effect_while_lines_are_forwarded(void **state)
{
    struct guest *guest = *state;
    set_policy(guest, false);
    must_ask(guest, START, GCS__V1__LOG_LEVEL__LOG_LEVEL_ERROR, NAMES(LIBRARY)); /* information is too much */
    must_ask(guest, START, 0, NULL);
    must_ask(guest, MODIFY, GCS__V1__LOG_LEVEL__LOG_LEVEL_INFORMATION, NAMES(LIBRARY));
    must_ask(guest, START, 0, NULL);
    must_ask(guest, MODIFY, 0, NAMES(COMPUTE)); /* of another provider, which has nothing to tell */
    must_ask(guest, START, 0, NULL);
    must_ask(guest, STOP, 0, NULL);

    char *text = sink_text();
    unsigned lines = 0;
    for (const char *at = text; (at = strstr(at, "\"method\":\"ModifyServiceSettings\"")); at++)
        lines++;

    /* A request is logged when it is answered: the change to INFORMATION itself, and the start after it. */
    assert_int_equal(2, lines);
    free(text);
}

static void
a_containers_life_is_told_by_the_compute_provider(void **state)
{
    struct guest *guest = *state;
    char *text = policy_replace(guest_policy_text(guest), "allow_dump_stacks := true",
                                "allow_dump_stacks := true\nallowed_log_providers := [\"" COMPUTE "\"]\n"
                                "log_provider := data.framework.log_provider");
    assert_int_equal(GCS_OK, policy_set(guest->host, text));
    host_add_volume(guest->host);
    must_ask(guest, START, 0, NAMES(COMPUTE));
    uint32_t init = host_run(guest->host, 0);
    host_stop(guest->host, 0, init);
    host_clear(guest->host, 0);
    must_ask(guest, STOP, 0, NULL);

    text = sink_text();
    const char *create = strstr(text, "\"method\":\"CreateContainer\"");
    const char *ended = strstr(text, "\"message\":\"process ended\"");

    assert_non_null(create);
    assert_non_null(ended);
    assert_true(create < ended);
    assert_null(strstr(text, "ContainerScratch")); /* that is another provider's */
    assert_null(strstr(text, "ping"));             /* no line has an argument */
    free(text);
}

/* Listens where the sink connects to. */
static int
sink_listen(void)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    memcpy(address.sun_path, sink_path, strlen(sink_path));
    assert_true(fd >= 0);
    assert_int_equal(0, bind(fd, (struct sockaddr *)&address, sizeof address));
    assert_int_equal(0, listen(fd, 1));
    return fd;
}

/* Reads from the connection until the text has come; false: it does not come. */
static bool
read_until(int fd, const char *wanted)
{
    static char text[64 * 1024];
    size_t used = 0;
    while (used < sizeof text - 1) {
        struct pollfd readable = {.fd = fd, .events = POLLIN};
        if (poll(&readable, 1, (int)(GATE_PATIENCE_NS / NS_PER_MS)) != 1)
            return false;
        ssize_t got = read(fd, text + used, sizeof text - 1 - used);
        if (got <= 0)
            return false;
        used += (size_t)got;
        text[used] = '\0';
        if (strstr(text, wanted))
            return true;
    }
    return false;
}

static void
a_reader_at_a_socket_gets_lines_and_the_next_one_is_told_what_it_missed(void **state)
{
    struct guest *guest = *state;
    struct gcs_error err = {0};
    set_policy(guest, false);

    assert_int_equal(GCS_FAILED_PRECONDITION, ask(guest, START, NULL, NULL, &err)); /* nobody listens */
    gcs_error_clear(&err);
    int listener = sink_listen();
    must_ask(guest, START, GCS__V1__LOG_LEVEL__LOG_LEVEL_INFORMATION, NAMES(LIBRARY, OWN));
    int reader = accept4(listener, NULL, NULL, SOCK_CLOEXEC);
    assert_true(reader >= 0);
    assert_true(read_until(reader, "\"method\":\"ModifyServiceSettings\""));
    close(reader); /* the next lines have no reader, until the sink is tried again */
    struct pollfd coming = {.fd = listener, .events = POLLIN};
    int64_t deadline_ns = clock_now_ns() + GATE_PATIENCE_NS;
    while (poll(&coming, 1, 10) == 0 && clock_now_ns() < deadline_ns)
        must_ask(guest, START, 0, NULL);
    reader = accept4(listener, NULL, NULL, SOCK_CLOEXEC);
    assert_true(reader >= 0);
    must_ask(guest, START, 0, NULL);

    assert_true(read_until(reader, "\"message\":\"lines were dropped\",\"count\":"));
    assert_true(metric("gcs_log_dropped_lines_total") > 0);
    must_ask(guest, STOP, 0, NULL);
    close(reader);
    close(listener);
}

static void
without_a_sink_there_is_no_start(void **state)
{
    struct guest *guest = *state;
    struct gcs_error err = {0};
    set_policy(guest, false);

    assert_int_equal(GCS_FAILED_PRECONDITION, ask(guest, START, NULL, NULL, &err));

    assert_non_null(strstr(err.message, "no log sink"));
    gcs_error_clear(&err);
}

static void
a_sink_that_is_no_file_is_not_written_to(void **state)
{
    struct guest *guest = *state;
    struct gcs_error err = {0};
    set_policy(guest, false);
    assert_int_equal(0, symlink("/dev/null", sink_path));

    assert_int_equal(GCS_FAILED_PRECONDITION, ask(guest, START, NULL, NULL, &err));
    gcs_error_clear(&err);
    assert_int_equal(0, unlink(sink_path));

    must_ask(guest, START, 0, NULL); /* a failure is not for good */
}

int
main(void)
{
#define CASE(name, setup) cmocka_unit_test_setup_teardown(name, setup, guest_teardown)
    const struct CMUnitTest tests[] = {
        CASE(allowed_providers_take_effect_in_their_order, guest_setup_programs),
        CASE(a_denied_provider_denies_the_whole, guest_setup_programs),
        CASE(a_policy_that_drops_keeps_the_others, guest_setup_programs),
        CASE(a_name_that_stands_twice_is_one_provider, guest_setup_programs),
        CASE(a_guid_must_be_its_names, guest_setup_programs),
        CASE(calls_that_say_too_little_are_refused, guest_setup_programs),
        CASE(lines_reach_the_file_from_start_to_stop, setup_file),
        CASE(settings_take_effect_while_lines_are_forwarded, setup_file),
        CASE(a_containers_life_is_told_by_the_compute_provider, setup_file),
        CASE(a_reader_at_a_socket_gets_lines_and_the_next_one_is_told_what_it_missed, setup_socket),
        CASE(without_a_sink_there_is_no_start, guest_setup_programs),
        CASE(a_sink_that_is_no_file_is_not_written_to, setup_file),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
