/* A trace through real processes: what a host sends is in the sidecar's line, and the sidecar's span is the
 * parent in the inbox's. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>
#include <jansson.h>

#include "server/base/fd.h"
#include "tests/faults/guest.h"

#define TRACE_ID "4bf92f3577b34da6a3ce929d0e0e4736"
#define SPAN_ID  "00f067aa0ba902b7"
#define STATE    "rojo=1,congo=2"

/* The last line of the program's log about the method; the caller gives it back. */
static json_t *
last_line(const struct program *program, const char *method)
{
    char *text = NULL, *saved = NULL;
    size_t size;
    struct error err;
    json_t *found = NULL;
    if (fd_read_file(program->log, 64 * 1024 * 1024, &text, &size, &err) != STATUS_OK)
        fail_msg("%s", err.text);
    for (char *line = strtok_r(text, "\n", &saved); line; line = strtok_r(NULL, "\n", &saved)) {
        json_t *object = json_loads(line, 0, NULL);
        const char *name = json_string_value(json_object_get(object, "method"));
        if (name && strcmp(name, method) == 0) {
            json_decref(found);
            found = json_incref(object);
        }
        json_decref(object);
    }
    free(text);
    if (!found)
        fail_msg("no line about %s in %s", method, program->log);
    return found;
}

static const char *
field(const json_t *line, const char *name)
{
    const char *text = json_string_value(json_object_get(line, name));
    return text ? text : "(none)";
}

static void
a_trace_goes_through_the_sidecar_to_the_inbox(void **state)
{
    struct guest *guest = *state;

    host_run_traced(guest->host, 0, "00-" TRACE_ID "-" SPAN_ID "-01", STATE);

    json_t *outer = last_line(&guest->sidecar, "StartContainer");
    json_t *inner = last_line(&guest->inbox, "StartContainer");
    assert_string_equal(TRACE_ID, field(outer, "trace_id"));
    assert_string_equal(SPAN_ID, field(outer, "parent_id"));
    assert_string_equal(TRACE_ID, field(inner, "trace_id"));
    assert_string_equal(field(outer, "span_id"), field(inner, "parent_id"));
    assert_string_not_equal(field(outer, "span_id"), field(inner, "span_id"));
    assert_int_equal(16, strlen(field(inner, "span_id")));
    json_decref(outer);
    json_decref(inner);
}

static void
a_malformed_trace_is_no_error_and_goes_nowhere(void **state)
{
    struct guest *guest = *state;

    host_run_traced(guest->host, 0, "00-" TRACE_ID "-0000000000000000-01", STATE);

    json_t *outer = last_line(&guest->sidecar, "StartContainer");
    json_t *inner = last_line(&guest->inbox, "StartContainer");
    assert_string_equal("", field(outer, "trace_id"));
    assert_string_equal("", field(inner, "trace_id"));
    assert_string_equal("", field(inner, "parent_id"));
    json_decref(outer);
    json_decref(inner);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(a_trace_goes_through_the_sidecar_to_the_inbox, guest_setup,
                                        guest_teardown),
        cmocka_unit_test_setup_teardown(a_malformed_trace_is_no_error_and_goes_nowhere, guest_setup,
                                        guest_teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
