/* Health of the inbox: each reason that it has. */
#include "server/inbox/health.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>

#include <cmocka.h>

#include "server/inbox/state.h"
#include "server/service/watchdog.h"

static void
report_nothing(void *arg, const char *stuck, size_t count)
{
    (void)arg;
    (void)stuck;
    (void)count;
}

/* Asserts what is said, line by line; "" for a healthy one. */
static void
assert_said(struct inbox *inbox, const char *expected)
{
    char *text = NULL;
    size_t size;
    FILE *file = open_memstream(&text, &size);
    assert_non_null(file);
    bool healthy = inbox_health_write(inbox, file);
    fclose(file);
    assert_string_equal(text, expected);
    assert_int_equal(healthy, expected[0] == '\0');
    free(text);
}

static void
each_reason_is_said_as_long_as_it_holds(void **state)
{
    static struct inbox inbox; /* as far as health looks at it */
    struct heartbeat heartbeat = {0};
    (void)state;
    mutex_init(&inbox.table.lock, RANK_APP);
    assert_said(&inbox, "");
    inbox.watchdog = watchdog_new(report_nothing, NULL);
    watchdog_add(inbox.watchdog, &heartbeat, "a worker of the test's");

    heartbeat_work(&heartbeat);
    watchdog_look(inbox.watchdog);
    assert_said(&inbox, "");
    watchdog_look(inbox.watchdog);
    assert_said(&inbox, "a thread does not move\n");
    mutex_lock(&inbox.table.lock);
    inbox.table.stopping = true;
    mutex_unlock(&inbox.table.lock);
    assert_said(&inbox, "the inbox is ending\na thread does not move\n");
    heartbeat_rest(&heartbeat);
    watchdog_look(inbox.watchdog);
    assert_said(&inbox, "the inbox is ending\n");

    watchdog_free(inbox.watchdog);
    mutex_done(&inbox.table.lock);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(each_reason_is_said_as_long_as_it_holds),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
