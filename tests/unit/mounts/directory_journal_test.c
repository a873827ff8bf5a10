/*
 * What a sandbox root knows after its predecessor was killed: a predecessor that ends by forgetting its holds
 * leaves the same file as one that was killed, and the rest is written by hand as the header of the journal
 * says.
 */
#include "server/mounts/directory_journal.h"

#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include "tests/unit/mounts/sandbox_fixture.h"

static char journal_path[128];

static int
setup(void **state)
{
    if (fixture_setup(state) != 0)
        return -1;
    struct sandbox_fixture *fixture = *state;
    snprintf(journal_path, sizeof journal_path, "%s/journal", fixture->base);
    return 0;
}

/* Opens the root again, with the journal. */
static void
reopen(struct sandbox_fixture *fixture)
{
    struct sandbox_root_options options = SANDBOX_ROOT_OPTIONS_DEFAULT;
    options.journal = journal_path;
    fixture_reopen(fixture, &options);
}

/* Ends the root, writes the journal by hand, and opens the root again; its status. */
static enum status
reopen_with(struct sandbox_fixture *fixture, const char *text)
{
    struct sandbox_root_options options = SANDBOX_ROOT_OPTIONS_DEFAULT;
    options.journal = journal_path;
    sandbox_root_free(fixture->root);
    fixture->root = NULL;
    int fd = open(journal_path, O_CREAT | O_TRUNC | O_WRONLY | O_CLOEXEC, 0600);
    assert_true(fd >= 0 && write(fd, text, strlen(text)) == (ssize_t)strlen(text));
    close(fd);
    return sandbox_root_open(fixture->root_path, &options, &fixture->root, &fixture->err);
}

static struct directory_hold *
adopt(struct sandbox_fixture *fixture, const char *source)
{
    struct sandbox_path path = fixture_path(fixture, source);
    struct directory_hold *hold = NULL;
    assert_int_equal(directory_hold_adopt(fixture->root, &path, 1, &hold, &fixture->err), STATUS_OK);
    return hold;
}

static size_t
sweep(struct sandbox_fixture *fixture)
{
    size_t count;
    assert_int_equal(directory_holds_sweep(fixture->root, &count, &fixture->err), STATUS_OK);
    return count;
}

static bool
journal_exists(void)
{
    return access(journal_path, F_OK) == 0;
}

static void
a_successor_keeps_what_living_containers_hold_and_sweeps_the_rest(void **state)
{
    struct sandbox_fixture *fixture = *state;
    reopen(fixture);
    struct directory_hold *lives = fixture_hold(fixture, "sandbox:///p/lives sandbox:///p/shared");
    struct directory_hold *died = fixture_hold(fixture, "sandbox:///p/shared sandbox:///q/died");
    fixture_file(fixture, "q/died/data", "of a container that is gone");
    fixture_file(fixture, "p/lives/data", "of a container that lives on");
    directory_hold_forget(lives);
    directory_hold_forget(died);

    reopen(fixture);
    assert_string_equal(fixture_tree(fixture), "p/ p/lives/ p/lives/data p/shared/ q/ q/died/ q/died/data");
    lives = adopt(fixture, "sandbox:///p/lives");
    assert_int_equal(sweep(fixture), 3); /* p/shared, q, q/died */

    assert_string_equal(fixture_tree(fixture), "p/ p/lives/ p/lives/data");
    fixture_release(fixture, lives);
    assert_string_equal(fixture_tree(fixture), "");
    assert_int_equal(sandbox_root_directories(fixture->root), 0);
}

static void
what_was_renamed_to_be_removed_and_is_still_there_goes(void **state)
{
    struct sandbox_fixture *fixture = *state;
    reopen(fixture);
    directory_hold_forget(fixture_hold(fixture, "sandbox:///p/lives"));
    fixture_mkdir(fixture, ":removed-0123456789abcdef", 0777);
    fixture_file(fixture, ":removed-0123456789abcdef/data", "of a container that is gone");
    fixture_mkdir(fixture, "p/:removed-fedcba9876543210", 0777);
    fixture_mkdir(fixture, "p/:removed-fedcba9876543210/deep", 0777);
    fixture_file(fixture, "p/:removed-fedcba9876543210/deep/data", "of another");
    fixture_file(fixture, ":removed-0123", "not of ours");
    fixture_mkdir(fixture, "p/lives/:removed-00000000000000ff", 0777); /* the container's own */

    reopen(fixture);
    struct directory_hold *lives = adopt(fixture, "sandbox:///p/lives");
    assert_int_equal(sweep(fixture), 0);

    assert_string_equal(fixture_tree(fixture),
                        ":removed-0123 p/ p/lives/ p/lives/:removed-00000000000000ff/");
    fixture_release(fixture, lives);
    assert_string_equal(fixture_tree(fixture), ":removed-0123");
}

static void
what_was_renamed_stays_for_the_next_successor_when_descriptors_are_short(void **state)
{
    struct sandbox_fixture *fixture = *state;
    struct rlimit limits, none;
    size_t count;
    reopen(fixture);
    fixture_mkdir(fixture, ":removed-0123456789abcdef", 0777);
    reopen(fixture);
    assert_int_equal(getrlimit(RLIMIT_NOFILE, &limits), 0);
    none = (struct rlimit){.rlim_cur = 0, .rlim_max = limits.rlim_max};
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &none), 0);

    enum status status = directory_holds_sweep(fixture->root, &count, &fixture->err);

    assert_int_equal(setrlimit(RLIMIT_NOFILE, &limits), 0);
    assert_int_equal(status, STATUS_ABORTED); /* and not inconsistent for the moment's sake */
    assert_int_equal(sweep(fixture), 0);
    assert_string_equal(fixture_tree(fixture), "");
}

static void
what_was_adopted_is_known_to_the_next_successor_too(void **state)
{
    struct sandbox_fixture *fixture = *state;
    reopen(fixture);
    directory_hold_forget(fixture_hold(fixture, "sandbox:///p/a"));
    reopen(fixture);
    directory_hold_forget(adopt(fixture, "sandbox:///p/a"));
    reopen(fixture);
    struct directory_hold *hold = adopt(fixture, "sandbox:///p/a");
    assert_int_equal(sweep(fixture), 0);

    fixture_release(fixture, hold);

    assert_string_equal(fixture_tree(fixture), "");
}

static void
what_may_have_been_made_goes_only_when_it_is_empty(void **state)
{
    struct sandbox_fixture *fixture = *state;
    fixture_mkdir(fixture, "half", 0755);
    fixture_mkdir(fixture, "half/made", 0777);
    fixture_mkdir(fixture, "older", 0755);
    fixture_file(fixture, "older/file", "somebody's");

    assert_int_equal(reopen_with(fixture, "?half\t?half/made\t?half/never\t?older\n"), STATUS_OK);
    assert_int_equal(sweep(fixture), 4);

    assert_string_equal(fixture_tree(fixture), "older/ older/file");
}

static void
what_was_found_or_is_gone_is_nobodys_to_remove(void **state)
{
    struct sandbox_fixture *fixture = *state;
    fixture_mkdir(fixture, "found", 0755);
    fixture_mkdir(fixture, "again", 0755);

    assert_int_equal(reopen_with(fixture, "?found\t?again\n=found\t*again\n-again\n"), STATUS_OK);

    assert_int_equal(sandbox_root_directories(fixture->root), 0);
    assert_int_equal(sweep(fixture), 0);
    assert_string_equal(fixture_tree(fixture), "again/ found/");
}

static void
a_found_directory_stays_whatever_becomes_of_the_program(void **state)
{
    struct sandbox_fixture *fixture = *state;
    reopen(fixture);
    fixture_mkdir(fixture, "there", 0700);
    directory_hold_forget(fixture_hold(fixture, "sandbox:///there sandbox:///there/new"));

    reopen(fixture);
    assert_int_equal(sweep(fixture), 1);

    assert_string_equal(fixture_tree(fixture), "there/");
}

static void
with_keep_nothing_is_swept_and_nothing_is_left_to_a_successor(void **state)
{
    struct sandbox_fixture *fixture = *state;
    struct sandbox_root_options options = SANDBOX_ROOT_OPTIONS_DEFAULT;
    options.journal = journal_path;
    options.keep = true;
    reopen(fixture);
    directory_hold_forget(fixture_hold(fixture, "sandbox:///p/a"));
    fixture_reopen(fixture, &options);

    assert_int_equal(sweep(fixture), 2);
    fixture_release(fixture, fixture_hold(fixture, "sandbox:///p/b"));

    assert_string_equal(fixture_tree(fixture), "p/ p/a/ p/b/");
    assert_int_equal(sandbox_root_directories(fixture->root), 0);
    reopen(fixture);
    assert_int_equal(sandbox_root_directories(fixture->root), 0);
}

static void
a_root_that_ends_with_nothing_made_leaves_no_journal(void **state)
{
    struct sandbox_fixture *fixture = *state;
    struct sandbox_root_options without = SANDBOX_ROOT_OPTIONS_DEFAULT;
    reopen(fixture);
    fixture_mkdir(fixture, "there", 0700);
    fixture_release(fixture, fixture_hold(fixture, "sandbox:///p/a sandbox:///there"));
    fixture_undo(fixture, fixture_hold(fixture, "sandbox:///p/a"));
    assert_true(journal_exists());

    fixture_reopen(fixture, &without);

    assert_false(journal_exists());
}

static void
a_failed_request_leaves_no_note(void **state)
{
    struct sandbox_fixture *fixture = *state;
    struct sandbox_root_options without = SANDBOX_ROOT_OPTIONS_DEFAULT;
    struct directory_hold *hold = NULL;
    reopen(fixture);
    fixture_file(fixture, "file", "in the way");

    assert_int_equal(fixture_make(fixture, "sandbox:///a/b sandbox:///file/c", &hold),
                     STATUS_FAILED_PRECONDITION);

    assert_string_equal(fixture_tree(fixture), "file");
    fixture_reopen(fixture, &without);
    assert_false(journal_exists());
}

static void
half_a_line_of_a_killed_writer_counts_for_nothing(void **state)
{
    struct sandbox_fixture *fixture = *state;
    fixture_mkdir(fixture, "a", 0755);
    assert_int_equal(reopen_with(fixture, "*a\n?b\t?c"), STATUS_OK);
    assert_int_equal(sandbox_root_directories(fixture->root), 1);
    directory_hold_forget(fixture_hold(fixture, "sandbox:///d"));

    reopen(fixture);

    assert_int_equal(sandbox_root_directories(fixture->root), 2);
    assert_int_equal(sweep(fixture), 2);
    assert_string_equal(fixture_tree(fixture), "");
}

static void
what_is_no_journal_is_refused_with_its_line(void **state)
{
    struct sandbox_fixture *fixture = *state;
    static const struct {
        const char *text, *told;
    } cases[] = {
        {"*a\nb\n", "line 2: 'b' is no note"},   {"*a\n*a/../b\n", "line 2: "}, {"*a\n*b\n*\n", "line 3: "},
        {"*a\t+b\n", "line 1: '+b' is no note"}, {"*a:removed\n", "line 1: "},  {"*/etc\n", "line 1: "},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        assert_int_equal(reopen_with(fixture, cases[i].text), STATUS_FAILED_PRECONDITION);
        assert_null(fixture->root);
        assert_non_null(strstr(fixture->err.text, "journal"));
        assert_non_null(strstr(fixture->err.text, cases[i].told));
    }
}

static void
only_a_file_of_ours_alone_is_taken(void **state)
{
    struct sandbox_fixture *fixture = *state;
    struct sandbox_root_options options = SANDBOX_ROOT_OPTIONS_DEFAULT;
    struct sandbox_root *root = NULL;
    char other[128];
    options.journal = journal_path;
    snprintf(other, sizeof other, "%s/other", fixture->base);
    close(open(other, O_CREAT | O_WRONLY | O_CLOEXEC, 0600));

    assert_int_equal(symlink(other, journal_path), 0);
    assert_int_equal(sandbox_root_open(fixture->root_path, &options, &root, &fixture->err),
                     STATUS_FAILED_PRECONDITION);
    assert_int_equal(unlink(journal_path), 0);
    assert_int_equal(link(other, journal_path), 0);
    assert_int_equal(sandbox_root_open(fixture->root_path, &options, &root, &fixture->err),
                     STATUS_FAILED_PRECONDITION);
    assert_int_equal(unlink(journal_path), 0);
    assert_int_equal(mkfifo(journal_path, 0600), 0);
    assert_int_equal(sandbox_root_open(fixture->root_path, &options, &root, &fixture->err),
                     STATUS_FAILED_PRECONDITION);
    assert_int_equal(unlink(journal_path), 0);
    close(open(journal_path, O_CREAT | O_WRONLY | O_CLOEXEC, 0644));
    assert_int_equal(sandbox_root_open(fixture->root_path, &options, &root, &fixture->err),
                     STATUS_FAILED_PRECONDITION);
    assert_int_equal(unlink(journal_path), 0);
    options.journal = "relative/journal";
    assert_int_equal(sandbox_root_open(fixture->root_path, &options, &root, &fixture->err),
                     STATUS_INVALID_ARGUMENT);
    options.journal = "/nowhere/at/all/journal";
    assert_int_equal(sandbox_root_open(fixture->root_path, &options, &root, &fixture->err), STATUS_NOT_FOUND);
    assert_null(root);
}

static void
one_journal_has_one_writer(void **state)
{
    struct sandbox_fixture *fixture = *state;
    struct sandbox_root_options options = SANDBOX_ROOT_OPTIONS_DEFAULT;
    struct sandbox_root *second = NULL;
    options.journal = journal_path;
    reopen(fixture);

    enum status status = sandbox_root_open(fixture->root_path, &options, &second, &fixture->err);

    assert_int_equal(status, STATUS_FAILED_PRECONDITION);
    assert_non_null(strstr(fixture->err.text, "another process uses it"));
    fixture_release(fixture, fixture_hold(fixture, "sandbox:///a")); /* the first is none the worse */
}

static void
a_long_life_does_not_fill_the_disk(void **state)
{
    struct sandbox_fixture *fixture = *state;
    char name[LIMIT_PATH_COMPONENT + 1], source[512];
    struct stat info;
    off_t largest = 0;
    memset(name, 'n', LIMIT_PATH_COMPONENT);
    name[LIMIT_PATH_COMPONENT] = '\0';
    snprintf(source, sizeof source, "sandbox:///%s/a", name);
    reopen(fixture);
    struct directory_hold *lives = fixture_hold(fixture, "sandbox:///p/lives");

    for (unsigned i = 0; i < 4000; i++) { /* more than 1,000 bytes of notes each */
        fixture_release(fixture, fixture_hold(fixture, source));
        arena_reset(&fixture->arena);
        assert_int_equal(stat(journal_path, &info), 0);
        largest = info.st_size > largest ? info.st_size : largest;
    }

    assert_true(largest <= 1024 * 1024);
    directory_hold_forget(lives);
    reopen(fixture);
    assert_int_equal(sandbox_root_directories(fixture->root), 2);
    assert_int_equal(sweep(fixture), 2);
}

static void
a_journal_that_cannot_be_written_refuses_and_leaves_nothing(void **state)
{
    struct sandbox_fixture *fixture = *state;
    struct sandbox_root_options options = SANDBOX_ROOT_OPTIONS_DEFAULT;
    struct directory_hold *hold = NULL;
    char small[128], path[160], filler[160];
    static const char block[4096];
    if (geteuid() != 0) {
        print_message("mounting a small file system needs root\n");
        skip();
    }
    snprintf(small, sizeof small, "%s/small", fixture->base);
    snprintf(path, sizeof path, "%s/journal", small);
    snprintf(filler, sizeof filler, "%s/filler", small);
    assert_int_equal(mkdir(small, 0700), 0);
    assert_int_equal(mount("tmpfs", small, "tmpfs", 0, "size=16k,mode=0700"), 0);
    options.journal = path;
    fixture_reopen(fixture, &options);
    int fd = open(filler, O_CREAT | O_WRONLY | O_CLOEXEC, 0600);
    while (write(fd, block, sizeof block) > 0)
        ;

    enum status status = fixture_make(fixture, "sandbox:///p/a", &hold);

    assert_int_equal(status, STATUS_RESOURCE_EXHAUSTED);
    assert_non_null(strstr(fixture->err.text, "journal"));
    assert_string_equal(fixture_tree(fixture), "");
    assert_int_equal(ftruncate(fd, 0), 0);
    close(fd);
    fixture_release(fixture, fixture_hold(fixture, "sandbox:///p/a")); /* it recovers by itself */
    sandbox_root_free(fixture->root);
    fixture->root = NULL;
    assert_int_equal(umount2(small, MNT_DETACH), 0);
}

enum { RACERS = 4, RACE_ROUNDS = 300 };

struct racer {
    struct sandbox_fixture *fixture;
    const struct sandbox_path *paths;
    unsigned number, failures;
};

static void *
race(void *arg)
{
    struct racer *racer = arg;
    struct error err;
    for (unsigned i = 0; i < RACE_ROUNDS; i++) {
        struct directory_hold *hold = NULL;
        const struct sandbox_path sources[2] = {racer->paths[(i + racer->number) % 3], racer->paths[i % 3]};
        if (directory_hold_make(racer->fixture->root, racer->fixture->pool, sources, 2, &hold, &err) !=
            STATUS_OK)
            racer->failures++;
        else if ((i % 2 ? directory_hold_undo : directory_hold_release)(hold, &err) != STATUS_OK)
            racer->failures++;
    }
    return NULL;
}

static void
overlapping_requests_leave_a_journal_that_is_true(void **state)
{
    struct sandbox_fixture *fixture = *state;
    struct sandbox_root_options without = SANDBOX_ROOT_OPTIONS_DEFAULT;
    reopen(fixture);
    const struct sandbox_path paths[3] = {fixture_path(fixture, "sandbox:///p/a/b"),
                                          fixture_path(fixture, "sandbox:///p/a"),
                                          fixture_path(fixture, "sandbox:///p/c")};
    struct racer racers[RACERS];
    pthread_t threads[RACERS];
    struct directory_hold *lives = fixture_hold(fixture, "sandbox:///p/lives");

    for (unsigned i = 0; i < RACERS; i++) {
        racers[i] = (struct racer){.fixture = fixture, .paths = paths, .number = i};
        assert_int_equal(pthread_create(&threads[i], NULL, race, &racers[i]), 0);
    }
    for (unsigned i = 0; i < RACERS; i++) {
        pthread_join(threads[i], NULL);
        assert_int_equal(racers[i].failures, 0);
    }

    directory_hold_forget(lives);
    reopen(fixture); /* what the lines say, not what the table knew */
    assert_int_equal(sandbox_root_directories(fixture->root), 2);
    assert_int_equal(sweep(fixture), 2);
    assert_string_equal(fixture_tree(fixture), "");
    fixture_reopen(fixture, &without);
    assert_false(journal_exists());
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, fixture_teardown)
        TEST(a_successor_keeps_what_living_containers_hold_and_sweeps_the_rest),
        TEST(what_was_renamed_to_be_removed_and_is_still_there_goes),
        TEST(what_was_renamed_stays_for_the_next_successor_when_descriptors_are_short),
        TEST(what_was_adopted_is_known_to_the_next_successor_too),
        TEST(what_may_have_been_made_goes_only_when_it_is_empty),
        TEST(what_was_found_or_is_gone_is_nobodys_to_remove),
        TEST(a_found_directory_stays_whatever_becomes_of_the_program),
        TEST(with_keep_nothing_is_swept_and_nothing_is_left_to_a_successor),
        TEST(a_root_that_ends_with_nothing_made_leaves_no_journal),
        TEST(a_failed_request_leaves_no_note),
        TEST(half_a_line_of_a_killed_writer_counts_for_nothing),
        TEST(what_is_no_journal_is_refused_with_its_line),
        TEST(only_a_file_of_ours_alone_is_taken),
        TEST(one_journal_has_one_writer),
        TEST(a_long_life_does_not_fill_the_disk),
        TEST(a_journal_that_cannot_be_written_refuses_and_leaves_nothing),
        TEST(overlapping_requests_leave_a_journal_that_is_true),
#undef TEST
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
