/*
 * Many requests at once on the same directories, and hostile hands that change them meanwhile. No outcome
 * depends on who wins: what is asserted holds for every order. Workers record, the test's thread asserts.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "server/base/clock.h"
#include "server/base/fd.h"
#include "server/mounts/directory_hold.h"
#include "server/mounts/sandbox_root_fields.h"
#include "tests/unit/mounts/sandbox_fixture.h"

#define THREADS    8
#define DEADLINE_S 40

/* Lets the next requests believe that the file system is slow, so that helpers are asked in. */
static void
pretend_slow(struct sandbox_root *root)
{
    atomic_store_explicit(&root->step_ns, NS_PER_S, memory_order_relaxed);
}

struct crew {
    struct sandbox_fixture *fixture;
    pthread_barrier_t barrier;
    atomic_uint makes, refusals, faults;
    atomic_bool stop;
    struct sandbox_path paths[32];
    size_t count;
};

struct member {
    struct crew *crew;
    unsigned number;
    char fault[256]; /* the first; empty: none */
    pthread_t thread;
};

static void
fault(struct member *member, const char *text)
{
    if (atomic_fetch_add(&member->crew->faults, 1) < 100 && !member->fault[0])
        snprintf(member->fault, sizeof member->fault, "%.255s", text);
}

static void
crew_run(struct crew *crew, void *(*work)(void *))
{
    struct member members[THREADS];
    assert_int_equal(pthread_barrier_init(&crew->barrier, NULL, THREADS), 0);
    for (unsigned i = 0; i < THREADS; i++) {
        members[i] = (struct member){.crew = crew, .number = i};
        assert_int_equal(pthread_create(&members[i].thread, NULL, work, &members[i]), 0);
    }
    for (unsigned i = 0; i < THREADS; i++)
        pthread_join(members[i].thread, NULL);
    pthread_barrier_destroy(&crew->barrier);
    for (unsigned i = 0; i < THREADS; i++)
        assert_string_equal(members[i].fault, "");
    assert_int_equal(atomic_load(&crew->faults), 0);
}

/* Every thread wants the same directories at the same moment, and gives them back at the same moment. */
static void *
want_the_same(void *arg)
{
    struct member *member = arg;
    struct crew *crew = member->crew;
    struct sandbox_root *root = crew->fixture->root;
    struct error err;
    for (unsigned round = 0; round < 150; round++) {
        if (member->number == 0 && round % 2 == 0)
            pretend_slow(root);
        pthread_barrier_wait(&crew->barrier);
        struct directory_hold *hold = NULL;
        if (directory_hold_make(root, member->number % 2 ? crew->fixture->pool : NULL, crew->paths,
                                crew->count, &hold, &err) != STATUS_OK) {
            fault(member, err.text);
            continue;
        }
        for (size_t i = 0; i < crew->count; i++) {
            CLEANUP(fd_closep)
            int fd = -1;
            if (sandbox_root_open_source(root, &crew->paths[i], &fd, &err) != STATUS_OK)
                fault(member, err.text);
        }
        /* Every second round they end while others still begin. */
        if (round % 2 == 0)
            pthread_barrier_wait(&crew->barrier);
        enum status status = (round + member->number) % 3 ? directory_hold_release(hold, &err)
                                                          : directory_hold_undo(hold, &err);
        if (status != STATUS_OK)
            fault(member, err.text);
    }
    return NULL;
}

static void
the_same_paths_wanted_by_all_at_once_are_there_for_all(void **state)
{
    struct sandbox_fixture *fixture = *state;
    struct crew crew = {.fixture = fixture};
    for (; crew.count < 16; crew.count++) {
        char source[64];
        snprintf(source, sizeof source, "sandbox:///tmp/atlas/%zu/vol%zu", crew.count % 5, crew.count);
        crew.paths[crew.count] = fixture_path(fixture, source);
    }

    crew_run(&crew, want_the_same);

    assert_string_equal(fixture_tree(fixture), "");
    assert_int_equal(sandbox_root_directories(fixture->root), 0);
}

/*
 * Twenty containers of one pod, created and deleted over and over by eight threads: their sources overlap in
 * whole and in part, and every third request runs into a file half-way.
 */
static void *
live_and_fail(void *arg)
{
    struct member *member = arg;
    struct crew *crew = member->crew;
    struct sandbox_root *root = crew->fixture->root;
    struct error err;
    pthread_barrier_wait(&crew->barrier);
    for (unsigned round = 0; round < 400; round++) {
        unsigned seed = (member->number * 7919 + round) * 2654435761U;
        struct sandbox_path wanted[8];
        size_t count = 0;
        for (; count < 6; count++)
            wanted[count] = crew->paths[(seed >> (count * 4)) % (crew->count - 1)];
        bool bad = round % 3 == 0;
        if (bad)
            wanted[count++] = crew->paths[crew->count - 1];
        if (round % 16 == 0)
            pretend_slow(root);

        struct directory_hold *hold = NULL;
        enum status status = directory_hold_make(root, crew->fixture->pool, wanted, count, &hold, &err);
        if (status != (bad ? STATUS_FAILED_PRECONDITION : STATUS_OK))
            fault(member, status == STATUS_OK ? "a file in the way was not noticed" : err.text);
        atomic_fetch_add(status == STATUS_OK ? &crew->makes : &crew->refusals, 1);
        if (status != STATUS_OK)
            continue;
        for (size_t i = 0; i < count; i++) {
            CLEANUP(fd_closep)
            int fd = -1;
            if (sandbox_root_open_source(root, &wanted[i], &fd, &err) != STATUS_OK)
                fault(member, err.text); /* held, and yet it is gone */
        }
        status = round % 2 ? directory_hold_release(hold, &err) : directory_hold_undo(hold, &err);
        if (status != STATUS_OK)
            fault(member, err.text);
    }
    return NULL;
}

static void
requests_that_overlap_and_fail_never_take_a_held_directory_away(void **state)
{
    struct sandbox_fixture *fixture = *state;
    struct crew crew = {.fixture = fixture};
    fixture_mkdir(fixture, "pod", 0755);
    fixture_mkdir(fixture, "pod/1", 0755);
    fixture_file(fixture, "pod/1/file", "in the way");
    for (; crew.count < 20; crew.count++) {
        char source[64];
        snprintf(source, sizeof source,
                 crew.count % 4 ? "sandbox:///pod/%zu/v%zu" : "sandbox:///pod/%zu/v%zu/deep/er",
                 crew.count % 5, crew.count % 7);
        crew.paths[crew.count] = fixture_path(fixture, source);
    }
    crew.paths[crew.count++] = fixture_path(fixture, "sandbox:///pod/1/file/below");

    crew_run(&crew, live_and_fail);

    assert_int_equal(atomic_load(&crew.makes) + atomic_load(&crew.refusals), THREADS * 400);
    assert_string_equal(fixture_tree(fixture), "pod/ pod/1/ pod/1/file");
    assert_int_equal(sandbox_root_directories(fixture->root), 0);
}

/* Swaps root/p, a directory, with root/t, a link out of the root, as fast as it can. */
static void *
swap_directory_and_link(void *arg)
{
    struct crew *crew = arg;
    int root = open(crew->fixture->root_path, O_PATH | O_DIRECTORY | O_CLOEXEC);
    while (!atomic_load(&crew->stop))
        renameat2(root, "p", root, "t", RENAME_EXCHANGE);
    close(root);
    return NULL;
}

/* Plants a link where a request is about to make a directory, and takes it away again. */
static void *
plant_link(void *arg)
{
    struct crew *crew = arg;
    int root = open(crew->fixture->root_path, O_PATH | O_DIRECTORY | O_CLOEXEC);
    while (!atomic_load(&crew->stop)) {
        if (symlinkat("../outside", root, "n") == 0)
            unlinkat(root, "n", 0);
    }
    close(root);
    return NULL;
}

/*
 * Makes and gives back directories below root/NAME, until 1,000 requests have run and both outcomes have been
 * seen. Returns what went wrong, or NULL: the caller asserts once the hostile thread has ended.
 */
static const char *
creates_against(struct crew *crew, const char *name)
{
    struct sandbox_fixture *fixture = crew->fixture;
    int64_t deadline_ns = clock_now_ns() + DEADLINE_S * NS_PER_S;
    for (unsigned i = 0; i < 1000 || atomic_load(&crew->makes) == 0 || atomic_load(&crew->refusals) == 0;
         i++) {
        if (clock_now_ns() > deadline_ns)
            return "one of the outcomes was never seen";
        char sources[128];
        snprintf(sources, sizeof sources, "sandbox:///%s/%u/x sandbox:///%s/y sandbox:///%s", name, i, name,
                 name);
        if (i % 2)
            pretend_slow(fixture->root);
        struct directory_hold *hold = NULL;
        enum status status = fixture_make(fixture, sources, &hold);
        atomic_fetch_add(status == STATUS_OK ? &crew->makes : &crew->refusals, 1);
        if (status == STATUS_OK)
            status = directory_hold_release(hold, &fixture->err);
        else if (hold)
            return "a failed request gave a hold";
        /* A parent that is a link when we come to undo is not followed either, and is no loss: it is not
         * ours. */
        if (status != STATUS_OK && status != STATUS_FAILED_PRECONDITION && status != STATUS_ABORTED)
            return fixture->err.text;
        arena_reset(&fixture->arena);
    }
    return NULL;
}

static void
a_racing_link_never_leads_outside(void **state)
{
    struct sandbox_fixture *fixture = *state;
    static const struct {
        void *(*work)(void *);
        const char *name; /* of what it changes */
    } hands[] = {{swap_directory_and_link, "p"}, {plant_link, "n"}};
    fixture_mkdir(fixture, "../outside", 0777);
    fixture_mkdir(fixture, "p", 0777);
    fixture_link(fixture, "../outside", "t");
    for (size_t i = 0; i < sizeof hands / sizeof hands[0]; i++) {
        struct crew crew = {.fixture = fixture};
        pthread_t thread;
        assert_int_equal(pthread_create(&thread, NULL, hands[i].work, &crew), 0);
        const char *wrong = creates_against(&crew, hands[i].name);
        atomic_store(&crew.stop, true);
        pthread_join(thread, NULL);
        if (wrong)
            fail_msg("%s: %s", hands[i].name, wrong);
    }
    char outside[128];
    snprintf(outside, sizeof outside, "%s/outside", fixture->base);
    assert_int_equal(rmdir(outside), 0); /* nothing was ever made in it */
    assert_int_equal(sandbox_root_directories(fixture->root), 0);
}

/* What a container can do that has root/p mounted while directories below it are removed: renames whatever it
 * finds there, and puts a link and something new in its place. */
static void *
move_what_is_removed(void *arg)
{
    struct crew *crew = arg;
    int p = openat(AT_FDCWD, crew->paths[0].text, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    DIR *dir = fdopendir(p);
    for (unsigned i = 0; !atomic_load(&crew->stop); i++) {
        const struct dirent *entry = readdir(dir);
        if (!entry) {
            rewinddir(dir);
            continue;
        }
        char name[300], gone[32];
        snprintf(gone, sizeof gone, "gone%u", i);
        snprintf(name, sizeof name, "%s/new", entry->d_name);
        bool removed = strncmp(entry->d_name, ":removed", 8) == 0;
        if (removed && i % 3 == 0)
            mkdirat(p, name, 0700);
        else if ((removed || strcmp(entry->d_name, "x") == 0) &&
                 renameat2(p, entry->d_name, p, gone, RENAME_NOREPLACE) == 0)
            atomic_fetch_add(&crew->makes, symlinkat("../../outside", p, entry->d_name) == 0);
        if (entry->d_name[0] == 'x')
            unlinkat(p, entry->d_name, 0);
    }
    closedir(dir);
    return NULL;
}

/* Leaves something in root/p/x, as a container does, and gives the directory back. */
static enum status
live_and_release(struct sandbox_fixture *fixture)
{
    struct directory_hold *hold = NULL;
    enum status status = fixture_make(fixture, "sandbox:///p/x", &hold);
    if (status != STATUS_OK)
        return status == STATUS_FAILED_PRECONDITION ? STATUS_ABORTED : status;
    int root = open(fixture->root_path, O_PATH | O_DIRECTORY | O_CLOEXEC);
    mkdirat(root, "p/x/y", 0700);
    mkdirat(root, "p/x/y/deep", 0700);
    close(root);
    return directory_hold_release(hold, &fixture->err);
}

/* How often the container has to have struck. */
enum { MOVES_MIN = 20 };

static void
a_container_that_moves_what_is_removed_makes_no_release_fail(void **state)
{
    struct sandbox_fixture *fixture = *state;
    struct crew crew = {.fixture = fixture};
    char p[128];
    pthread_t thread;
    fixture_mkdir(fixture, "../outside", 0777);
    fixture_file(fixture, "../outside/precious", "kept");
    fixture_mkdir(fixture, "p", 0777);
    snprintf(p, sizeof p, "%s/p", fixture->root_path);
    crew.paths[0].text = p;
    int64_t deadline_ns = clock_now_ns() + DEADLINE_S * NS_PER_S;
    assert_int_equal(pthread_create(&thread, NULL, move_what_is_removed, &crew), 0);
    enum status odd = STATUS_OK;
    for (unsigned i = 0; odd == STATUS_OK && clock_now_ns() < deadline_ns; i++) {
        if (i >= 500 && atomic_load(&crew.makes) >= MOVES_MIN)
            break;
        enum status status = live_and_release(fixture);
        if (status != STATUS_OK && status != STATUS_ABORTED)
            odd = status;
        arena_reset(&fixture->arena);
    }
    atomic_store(&crew.stop, true);
    pthread_join(thread, NULL);
    if (odd != STATUS_OK)
        fail_msg("status %d: %s", odd, fixture->err.text);
    assert_true(atomic_load(&crew.makes) >= MOVES_MIN);
    char precious[128];
    snprintf(precious, sizeof precious, "%s/outside/precious", fixture->base);
    assert_int_equal(access(precious, F_OK), 0);
    assert_int_equal(sandbox_root_directories(fixture->root), 0);
}

/* Takes away and puts back the directory that requests want, as an administrator's clean-up might. */
static void *
remove_and_make(void *arg)
{
    struct crew *crew = arg;
    int root = open(crew->fixture->root_path, O_PATH | O_DIRECTORY | O_CLOEXEC);
    while (!atomic_load(&crew->stop)) {
        unlinkat(root, "e", AT_REMOVEDIR);
        mkdirat(root, "e", 0700);
    }
    close(root);
    return NULL;
}

static void
a_directory_that_comes_and_goes_is_found_or_made_or_refused(void **state)
{
    struct sandbox_fixture *fixture = *state;
    struct crew crew = {.fixture = fixture};
    pthread_t thread;
    assert_int_equal(pthread_create(&thread, NULL, remove_and_make, &crew), 0);
    enum status odd = STATUS_OK;
    for (unsigned i = 0; i < 1000 && odd == STATUS_OK; i++) {
        struct directory_hold *hold = NULL;
        enum status status = fixture_make(fixture, i % 2 ? "sandbox:///e" : "sandbox:///e/a/b", &hold);
        if (status != STATUS_OK && status != STATUS_ABORTED)
            odd = status;
        atomic_fetch_add(&crew.makes, status == STATUS_OK);
        status = directory_hold_undo(hold, &fixture->err);
        if (status != STATUS_OK)
            odd = status;
        arena_reset(&fixture->arena);
    }
    atomic_store(&crew.stop, true);
    pthread_join(thread, NULL);
    if (odd != STATUS_OK)
        fail_msg("status %d: %s", odd, fixture->err.text);
    assert_true(atomic_load(&crew.makes) > 0);
    assert_int_equal(sandbox_root_directories(fixture->root), 0);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, fixture_setup, fixture_teardown)

int
main(void)
{
    static const struct CMUnitTest tests[] = {
        TEST(the_same_paths_wanted_by_all_at_once_are_there_for_all),
        TEST(requests_that_overlap_and_fail_never_take_a_held_directory_away),
        TEST(a_racing_link_never_leads_outside),
        TEST(a_container_that_moves_what_is_removed_makes_no_release_fail),
        TEST(a_directory_that_comes_and_goes_is_found_or_made_or_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
