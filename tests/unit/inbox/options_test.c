#include "server/inbox/options.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

/* Parses and completes a command line that names every directory. */
static enum status
complete(const char *url, struct error *err)
{
    static struct options options; /* too large for a stack */
    char text[128];
    snprintf(text, sizeof text, "%s", url);
    char *argv[] = {(char[]){"gcs-inbox"},
                    (char[]){"--runtime=fake"},
                    (char[]){"--run-dir=/run/a"},
                    (char[]){"--sandbox-root=/run/b"},
                    (char[]){"--listen"},
                    text,
                    NULL};
    options_parse(6, argv, &options);
    return options_complete(&options, err);
}

static void
a_place_that_other_users_can_reach_is_refused(void **state)
{
    (void)state;
    static const char *const urls[] = {"tcp://127.0.0.1:5000", "tcp://0.0.0.0:5000", "inproc://inbox", ""};
    struct error err;
    for (size_t i = 0; i < sizeof urls / sizeof urls[0]; i++) {
        assert_int_equal(complete(urls[i], &err), STATUS_INVALID_ARGUMENT);
        assert_non_null(strstr(err.text, "--listen"));
        assert_non_null(strstr(err.text, urls[i]));
    }
}

static void
a_socket_of_ours_is_accepted(void **state)
{
    (void)state;
    struct error err;
    assert_int_equal(complete("ipc:///run/a/inbox.sock", &err), STATUS_OK);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_place_that_other_users_can_reach_is_refused),
        cmocka_unit_test(a_socket_of_ours_is_accepted),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
