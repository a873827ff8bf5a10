/* The security context: what is in its files, whose they are, and what a container gets of them. */
#include "server/mounts/security_context.h"

#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "server/base/fd.h"
#include "tests/unit/mounts/sandbox_fixture.h"

#define TEXT(text_)                                                                                          \
    {                                                                                                        \
        (const uint8_t *)(text_), sizeof(text_) - 1                                                          \
    }

static const struct security_context_content all = {TEXT("package policy\n"), TEXT("uvm"), TEXT("envelope")};

static const char *
context_path(const struct sandbox_fixture *fixture)
{
    static char path[160];
    snprintf(path, sizeof path, "%s/context", fixture->base);
    return path;
}

/* Asserts that the file base/NAME has this text, or with NULL is not there. */
static void
assert_file(const struct sandbox_fixture *fixture, const char *name, const char *text)
{
    char path[200], *bytes = NULL;
    size_t size;
    struct error err;
    struct stat info;
    snprintf(path, sizeof path, "%s/%s", fixture->base, name);
    enum status status = fd_read_file(path, 1024, &bytes, &size, &err);
    assert_int_equal(text ? STATUS_OK : STATUS_NOT_FOUND, status);
    if (text) {
        assert_string_equal(text, bytes);
        assert_int_equal(0, stat(path, &info));
        assert_int_equal(0444, info.st_mode & 07777);
    }
    free(bytes);
}

static void
each_item_is_a_file_of_base64(void **state)
{
    struct sandbox_fixture *fixture = *state;

    assert_int_equal(STATUS_OK, security_context_write(context_path(fixture), &all, &fixture->err));

    assert_file(fixture, "context/security-policy-base64", "cGFja2FnZSBwb2xpY3kK");
    assert_file(fixture, "context/reference-info-base64", "dXZt");
    assert_file(fixture, "context/transparent-reference-info-base64", "ZW52ZWxvcGU=");
    assert_int_equal(geteuid() == 0 ? 0555 : 0755, fixture_mode(fixture, "../context"));
    security_context_remove(context_path(fixture));
    assert_int_equal(-1, access(context_path(fixture), F_OK));
}

static void
what_the_host_did_not_give_has_no_file(void **state)
{
    struct sandbox_fixture *fixture = *state;
    static const struct security_context_content policy_alone = {.policy = TEXT("p")};
    assert_int_equal(STATUS_OK, security_context_write(context_path(fixture), &all, &fixture->err));

    assert_int_equal(STATUS_OK, security_context_write(context_path(fixture), &policy_alone, &fixture->err));

    assert_file(fixture, "context/security-policy-base64", "cA==");
    assert_file(fixture, "context/reference-info-base64", NULL);
    assert_file(fixture, "context/transparent-reference-info-base64", NULL);
    security_context_remove(context_path(fixture));
}

static void
a_directory_that_others_can_write_to_is_refused(void **state)
{
    struct sandbox_fixture *fixture = *state;
    fixture_mkdir(fixture, "../context", 0777);

    assert_int_equal(STATUS_FAILED_PRECONDITION,
                     security_context_write(context_path(fixture), &all, &fixture->err));

    assert_file(fixture, "context/security-policy-base64", NULL);
    assert_int_equal(0777, fixture_mode(fixture, "../context"));
}

static void
a_link_is_not_followed(void **state)
{
    struct sandbox_fixture *fixture = *state;
    fixture_mkdir(fixture, "../elsewhere", 0755);
    fixture_link(fixture, "elsewhere", "../context");

    assert_int_equal(STATUS_FAILED_PRECONDITION,
                     security_context_write(context_path(fixture), &all, &fixture->err));

    assert_file(fixture, "elsewhere/security-policy-base64", NULL);
    security_context_remove(context_path(fixture)); /* what is not ours stays */
    assert_int_not_equal(0, fixture_mode(fixture, "../elsewhere"));
}

static void
a_place_without_a_directory_above_it_is_refused(void **state)
{
    struct sandbox_fixture *fixture = *state;
    char path[200];
    snprintf(path, sizeof path, "%s/missing/context", fixture->base);

    assert_int_equal(STATUS_NOT_FOUND, security_context_write(path, &all, &fixture->err));

    assert_non_null(strstr(fixture->err.text, path));
    security_context_remove(path);
    snprintf(path, sizeof path, "%s/missing", fixture->base);
    assert_int_equal(-1, access(path, F_OK));
}

static void
a_file_in_the_way_is_not_written_to(void **state)
{
    struct sandbox_fixture *fixture = *state;
    fixture_mkdir(fixture, "../context", 0755);
    fixture_mkdir(fixture, "../context/reference-info-base64", 0755); /* cannot be unlinked */

    assert_int_not_equal(STATUS_OK, security_context_write(context_path(fixture), &all, &fixture->err));

    assert_file(fixture, "context/security-policy-base64", NULL);
}

/* Opens base/. */
static int
base_open(const struct sandbox_fixture *fixture)
{
    int fd = open(fixture->base, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    assert_true(fd >= 0);
    return fd;
}

static void
a_container_gets_the_files_and_its_own_certificate(void **state)
{
    struct sandbox_fixture *fixture = *state;
    const struct security_context_source source = {context_path(fixture), TEXT("chain")};
    struct stat shared, linked;
    char path[200];
    int fd = base_open(fixture);
    assert_int_equal(STATUS_OK, security_context_write(source.directory, &all, &fixture->err));

    assert_int_equal(STATUS_OK, security_context_place(&source, fd, "mine", &fixture->err));

    assert_file(fixture, "mine/security-policy-base64", "cGFja2FnZSBwb2xpY3kK");
    assert_file(fixture, "mine/reference-info-base64", "dXZt");
    assert_file(fixture, "mine/transparent-reference-info-base64", "ZW52ZWxvcGU=");
    assert_file(fixture, "mine/host-amd-cert-base64", "Y2hhaW4=");
    assert_file(fixture, "context/host-amd-cert-base64", NULL);
    assert_int_equal(geteuid() == 0 ? 0555 : 0755, fixture_mode(fixture, "../mine"));
    /* One copy in memory, however many containers there are. */
    snprintf(path, sizeof path, "%s/context/security-policy-base64", fixture->base);
    assert_int_equal(0, stat(path, &shared));
    snprintf(path, sizeof path, "%s/mine/security-policy-base64", fixture->base);
    assert_int_equal(0, stat(path, &linked));
    assert_true(shared.st_ino == linked.st_ino);
    /* A successor's files are others: the container keeps what it was started with. */
    static const struct security_context_content other = {.policy = TEXT("other")};
    assert_int_equal(STATUS_OK, security_context_write(source.directory, &other, &fixture->err));
    assert_file(fixture, "mine/security-policy-base64", "cGFja2FnZSBwb2xpY3kK");
    security_context_remove(source.directory);
    close(fd);
}

static void
between_file_systems_files_are_copied(void **state)
{
    struct sandbox_fixture *fixture = *state;
    struct stat here, there;
    char directory[] = "/dev/shm/gcs-context-XXXXXX", path[80];
    if (!mkdtemp(directory) || stat(directory, &there) < 0 || stat(fixture->base, &here) < 0 ||
        here.st_dev == there.st_dev) {
        print_message("skipped: /dev/shm is no file system of its own here\n");
        skip();
    }
    snprintf(path, sizeof path, "%s/context", directory);
    const struct security_context_source source = {.directory = path};
    int fd = base_open(fixture);
    assert_int_equal(STATUS_OK, security_context_write(path, &all, &fixture->err));

    assert_int_equal(STATUS_OK, security_context_place(&source, fd, "mine", &fixture->err));

    assert_file(fixture, "mine/security-policy-base64", "cGFja2FnZSBwb2xpY3kK");
    assert_file(fixture, "mine/transparent-reference-info-base64", "ZW52ZWxvcGU=");
    assert_file(fixture, "mine/host-amd-cert-base64", NULL);
    security_context_remove(path);
    assert_int_equal(0, rmdir(directory));
    close(fd);
}

static void
without_a_context_or_over_another_one_nothing_is_placed(void **state)
{
    struct sandbox_fixture *fixture = *state;
    const struct security_context_source source = {.directory = context_path(fixture)};
    int fd = base_open(fixture);

    assert_int_equal(STATUS_FAILED_PRECONDITION, security_context_place(&source, fd, "mine", &fixture->err));
    assert_int_equal(-1, faccessat(fd, "mine", F_OK, 0));
    assert_int_equal(STATUS_OK, security_context_write(source.directory, &all, &fixture->err));
    fixture_mkdir(fixture, "../mine", 0755);
    assert_int_equal(STATUS_ALREADY_EXISTS, security_context_place(&source, fd, "mine", &fixture->err));

    assert_file(fixture, "mine/security-policy-base64", NULL);
    security_context_remove(source.directory);
    close(fd);
}

int
main(void)
{
#define CASE(name) cmocka_unit_test_setup_teardown(name, fixture_setup, fixture_teardown)
    const struct CMUnitTest tests[] = {
        CASE(each_item_is_a_file_of_base64),
        CASE(what_the_host_did_not_give_has_no_file),
        CASE(a_directory_that_others_can_write_to_is_refused),
        CASE(a_link_is_not_followed),
        CASE(a_place_without_a_directory_above_it_is_refused),
        CASE(a_file_in_the_way_is_not_written_to),
        CASE(a_container_gets_the_files_and_its_own_certificate),
        CASE(between_file_systems_files_are_copied),
        CASE(without_a_context_or_over_another_one_nothing_is_placed),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
