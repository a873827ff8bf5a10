/* Layers from a directory at rest: names, kinds, digests, limits, and what failures leave. */
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/un.h>
#include <unistd.h>

#include "server/base/clock.h"
#include "server/base/limits.h"
#include "tests/unit/base/gate.h"
#include "tests/unit/mounts/layer_store_fixture.h"

#define EMPTY_DIGEST "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
/* SHA-256 of 1,000,000 times 'a' (FIPS 180-2, appendix B.3). */
#define MILLION_DIGEST "cdc76e5c9914fb9281a1c7e284d73e67f1809a48a497200e046d39ccc7112cd0"
/* SHA-256 of the raw digests of "abc" and of nothing, in this order. */
#define ABC_EMPTY_DIGEST "6f1290896ee81a0349174d19f4473d267a10289c40480861d5c42affffbd79f9"

static void
known_content_has_its_known_digest(void **state)
{
    struct fixture *fixture = *state;
    char *million = malloc(1000000);
    memset(million, 'a', 1000000);
    scratch_write(&fixture->scratch, "abc", "abc", 3);
    scratch_write(&fixture->scratch, "empty", "", 0);
    scratch_write(&fixture->scratch, "million", million, 1000000);
    free(million);
    static const struct {
        const char *name, *digest;
        uint64_t size_bytes;
    } cases[] = {{"abc", ABC_DIGEST, 3}, {"empty", EMPTY_DIGEST, 0}, {"million", MILLION_DIGEST, 1000000}};
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct layer *layer = open_ok(fixture->store, cases[i].name);
        assert_string_equal(layer_digest(layer), cases[i].digest);
        assert_int_equal(layer_image(layer)->size_bytes, cases[i].size_bytes);
        assert_int_equal(layer_store_bytes(fixture->store), cases[i].size_bytes);
        layer_close(layer);
    }
    assert_int_equal(layer_store_bytes(fixture->store), 0);
    assert_int_equal(open_descriptors(), fixture->descriptors);
}

static void
the_image_holds_exactly_the_bytes_that_were_hashed(void **state)
{
    struct fixture *fixture = *state;
    static const size_t sizes[] = {1, 4095, 262143, 262144, 262145, 3 * 262144 + 17};
    for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++) {
        scratch_fill(&fixture->scratch, "layer", sizes[i], (unsigned)i);
        struct layer *layer = open_ok(fixture->store, "layer");
        char of_image[LAYER_DIGEST_TEXT], of_file[LAYER_DIGEST_TEXT], path[SCRATCH_PATH_MAX + 16];
        snprintf(path, sizeof path, "%s/layer", fixture->scratch.layers);
        int file = open(path, O_RDONLY | O_CLOEXEC);
        digest_of_descriptor(file, of_file);
        digest_of_descriptor(layer_image(layer)->fd, of_image);
        close(file);
        assert_string_equal(layer_digest(layer), of_file);
        assert_string_equal(of_image, of_file);
        layer_close(layer);
    }
}

static void
a_stack_of_one_has_the_digest_of_its_layer(void **state)
{
    struct fixture *fixture = *state;
    scratch_write(&fixture->scratch, "abc", "abc", 3);
    struct layer *layer = open_ok(fixture->store, "abc");
    char digest[LAYER_DIGEST_TEXT];
    struct error err;
    assert_int_equal(layer_stack_digest(&layer, 1, digest, &err), STATUS_OK);
    assert_string_equal(digest, ABC_DIGEST);
    layer_close(layer);
}

static void
a_stack_has_the_digest_of_its_raw_digests_base_first(void **state)
{
    struct fixture *fixture = *state;
    scratch_write(&fixture->scratch, "abc", "abc", 3);
    scratch_write(&fixture->scratch, "empty", "", 0);
    struct layer *layers[2] = {open_ok(fixture->store, "abc"), open_ok(fixture->store, "empty")};
    struct layer *turned[2] = {layers[1], layers[0]};
    char digest[LAYER_DIGEST_TEXT], other[LAYER_DIGEST_TEXT];
    struct error err;
    assert_int_equal(layer_stack_digest(layers, 2, digest, &err), STATUS_OK);
    assert_int_equal(layer_stack_digest(turned, 2, other, &err), STATUS_OK);
    assert_string_equal(digest, ABC_EMPTY_DIGEST);
    assert_string_not_equal(other, digest);
    layer_close(layers[0]);
    layer_close(layers[1]);
}

static void
a_name_that_is_no_single_component_is_refused(void **state)
{
    struct fixture *fixture = *state;
    char longest[LIMIT_NAME_BYTES + 1], over_long[LIMIT_NAME_BYTES + 2];
    memset(longest, 'a', sizeof longest - 1);
    longest[sizeof longest - 1] = '\0';
    memset(over_long, 'a', sizeof over_long - 1);
    over_long[sizeof over_long - 1] = '\0';
    scratch_write(&fixture->scratch, "abc", "abc", 3);
    scratch_write(&fixture->scratch, longest, "abc", 3);
    const char *const names[] = {
        "",         ".",           "..",     "/", "/abc", "abc/", "./abc", "../abc", "../layers/abc",
        "a/../abc", "/etc/passwd", over_long};
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++)
        assert_refused(fixture, names[i], STATUS_INVALID_ARGUMENT);
    layer_close(open_ok(fixture->store, longest));
}

static void
a_missing_file_is_not_found(void **state)
{
    assert_refused(*state, "missing", STATUS_NOT_FOUND);
}

static void
what_is_no_regular_file_is_refused_without_waiting(void **state)
{
    struct fixture *fixture = *state;
    scratch_write(&fixture->scratch, "abc", "abc", 3);
    int dir = open(fixture->scratch.layers, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    assert_int_equal(symlinkat("abc", dir, "symlink"), 0);
    assert_int_equal(symlinkat("nowhere", dir, "dangling"), 0);
    assert_int_equal(symlinkat("/etc/passwd", dir, "outside"), 0);
    assert_int_equal(mkfifoat(dir, "fifo", 0600), 0); /* nobody will ever open its other end */
    assert_int_equal(mkdirat(dir, "directory", 0700), 0);
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    snprintf(address.sun_path, sizeof address.sun_path, "%.90s/socket", fixture->scratch.layers);
    int socket_fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_int_equal(bind(socket_fd, (const struct sockaddr *)&address, sizeof address), 0);
    static const char *const names[] = {"symlink", "dangling", "outside", "fifo", "directory", "socket"};
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++)
        assert_refused(fixture, names[i], STATUS_FAILED_PRECONDITION);
    if (mknodat(dir, "device", S_IFCHR | 0600, makedev(1, 5)) == 0) /* /dev/zero: endless */
        assert_refused(fixture, "device", STATUS_FAILED_PRECONDITION);
    else
        print_message("no device was tried: making one needs root\n");
    close(socket_fd);
    close(dir);
}

static void
a_layer_over_the_limit_is_refused(void **state)
{
    struct fixture *fixture = *state;
    store_replace(fixture, &layer_source_memfd, 1000, 5000);
    scratch_fill(&fixture->scratch, "fits", 1000, 1);
    scratch_fill(&fixture->scratch, "over", 1001, 1);
    assert_refused(fixture, "over", STATUS_RESOURCE_EXHAUSTED);
    layer_close(open_ok(fixture->store, "fits"));
}

static void
layers_together_stay_under_the_total(void **state)
{
    struct fixture *fixture = *state;
    store_replace(fixture, &layer_source_memfd, 1000, 1000);
    scratch_fill(&fixture->scratch, "a", 600, 1);
    scratch_fill(&fixture->scratch, "b", 400, 2);
    scratch_fill(&fixture->scratch, "c", 401, 3);
    struct layer *a = open_ok(fixture->store, "a");
    assert_refused(fixture, "c", STATUS_RESOURCE_EXHAUSTED);
    struct layer *b = open_ok(fixture->store, "b");
    assert_int_equal(layer_store_bytes(fixture->store), 1000);
    layer_close(a);
    layer_close(open_ok(fixture->store, "c"));
    layer_close(b);
    assert_int_equal(layer_store_bytes(fixture->store), 0);
}

#define RACERS      6
#define RACER_OPENS 40

struct racer {
    pthread_t thread;
    struct layer_store *store;
    int64_t deadline_ns;
    unsigned over, odd, opened; /* totals seen over the cap; unexpected statuses; successes */
};

/* Until it has had its share: how often a racer is refused meanwhile is up to the scheduler. */
static void *
racer_run(void *arg)
{
    struct racer *racer = arg;
    while (racer->opened < RACER_OPENS && clock_now_ns() < racer->deadline_ns) {
        struct layer *layer = NULL;
        struct error err;
        enum status status = layer_open(racer->store, "a", &layer, &err);
        racer->over += layer_store_bytes(racer->store) > 1000;
        racer->odd += status != STATUS_OK && status != STATUS_RESOURCE_EXHAUSTED;
        racer->opened += status == STATUS_OK;
        layer_close(layer);
    }
    return NULL;
}

static void
the_total_holds_when_many_threads_open_at_once(void **state)
{
    struct fixture *fixture = *state;
    store_replace(fixture, &layer_source_memfd, 1000, 1000);
    scratch_fill(&fixture->scratch, "a", 400, 1); /* two fit, a third never */
    struct racer racers[RACERS];
    unsigned opened = 0, odd = 0, over = 0;
    for (size_t i = 0; i < RACERS; i++) {
        racers[i] = (struct racer){.store = fixture->store, .deadline_ns = clock_now_ns() + GATE_PATIENCE_NS};
        assert_int_equal(pthread_create(&racers[i].thread, NULL, racer_run, &racers[i]), 0);
    }
    for (size_t i = 0; i < RACERS; i++) {
        pthread_join(racers[i].thread, NULL);
        opened += racers[i].opened;
        odd += racers[i].odd;
        over += racers[i].over;
    }
    assert_int_equal(over, 0);
    assert_int_equal(odd, 0);
    assert_int_equal(opened, RACERS * RACER_OPENS);
    assert_int_equal(layer_store_bytes(fixture->store), 0);
}

static void
an_image_cannot_be_changed_by_anybody(void **state)
{
    struct fixture *fixture = *state;
    scratch_write(&fixture->scratch, "abc", "abc", 3);
    struct layer *layer = open_ok(fixture->store, "abc");
    int fd = layer_image(layer)->fd;
    assert_int_equal(pwrite(fd, "x", 1, 0), -1);
    assert_int_equal(errno, EPERM);
    assert_int_equal(ftruncate(fd, 1), -1);
    assert_int_equal(errno, EPERM);
    assert_int_equal(ftruncate(fd, 100), -1);
    assert_int_equal(errno, EPERM);
    assert_ptr_equal(mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0), MAP_FAILED);
    assert_int_equal(errno, EPERM);
    assert_int_equal(fcntl(fd, F_ADD_SEALS, F_SEAL_FUTURE_WRITE), -1);
    assert_int_equal(errno, EPERM);
    assert_int_equal(fcntl(fd, F_GET_SEALS), F_SEAL_WRITE | F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL);
    assert_int_equal(fcntl(fd, F_GETFD), FD_CLOEXEC);
    layer_close(layer);
}

static void
memory_that_is_refused_half_way_leaves_nothing(void **state)
{
    struct fixture *fixture = *state;
    scratch_fill(&fixture->scratch, "layer", 1000000, 1);
    struct rlimit old, small = {.rlim_cur = 300000, .rlim_max = RLIM_INFINITY};
    assert_int_equal(getrlimit(RLIMIT_FSIZE, &old), 0);
    small.rlim_max = old.rlim_max;
    signal(SIGXFSZ, SIG_IGN);
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &small), 0); /* memfds obey it, too */
    struct layer *layer = NULL;
    struct error err;
    enum status status = layer_open(fixture->store, "layer", &layer, &err);
    setrlimit(RLIMIT_FSIZE, &old);
    signal(SIGXFSZ, SIG_DFL);
    assert_int_equal(status, STATUS_INTERNAL);
    assert_null(layer);
    assert_int_equal(layer_store_bytes(fixture->store), 0);
    assert_int_equal(open_descriptors(), fixture->descriptors);
}

static void
descriptors_that_run_out_leave_nothing(void **state)
{
    struct fixture *fixture = *state;
    scratch_write(&fixture->scratch, "abc", "abc", 3);
    struct rlimit old, few;
    assert_int_equal(getrlimit(RLIMIT_NOFILE, &old), 0);
    int next = open("/", O_PATH | O_CLOEXEC); /* the lowest free number */
    close(next);
    for (unsigned spare = 0; spare < 2; spare++) { /* the file needs one, the memfd another */
        struct layer *layer = NULL;
        struct error err;
        few = (struct rlimit){.rlim_cur = (rlim_t)next + spare, .rlim_max = old.rlim_max};
        assert_int_equal(setrlimit(RLIMIT_NOFILE, &few), 0);
        enum status status = layer_open(fixture->store, "abc", &layer, &err);
        setrlimit(RLIMIT_NOFILE, &old);
        assert_int_equal(status, STATUS_RESOURCE_EXHAUSTED);
        assert_null(layer);
        assert_int_equal(layer_store_bytes(fixture->store), 0);
        assert_int_equal(open_descriptors(), fixture->descriptors);
    }
    layer_close(open_ok(fixture->store, "abc"));
}

static void
a_store_stays_with_the_directory_it_was_opened_on(void **state)
{
    struct fixture *fixture = *state;
    scratch_write(&fixture->scratch, "abc", "abc", 3);
    char moved[SCRATCH_PATH_MAX + 16];
    snprintf(moved, sizeof moved, "%s/moved", fixture->scratch.path);
    assert_int_equal(rename(fixture->scratch.layers, moved), 0);
    assert_int_equal(mkdir(fixture->scratch.layers, 0755), 0);
    scratch_write(&fixture->scratch, "abc", "xyz", 3);
    struct layer *layer = open_ok(fixture->store, "abc");
    assert_string_equal(layer_digest(layer), ABC_DIGEST);
    layer_close(layer);
}

static void
a_layer_directory_that_is_none_is_refused(void **state)
{
    struct fixture *fixture = *state;
    struct layer_store *store = NULL;
    struct error err;
    char path[SCRATCH_PATH_MAX + 16];
    scratch_write(&fixture->scratch, "abc", "abc", 3);
    snprintf(path, sizeof path, "%s/abc", fixture->scratch.layers);
    assert_int_equal(layer_store_open(path, &layer_source_memfd, &layer_limits_default, &store, &err),
                     STATUS_FAILED_PRECONDITION);
    snprintf(path, sizeof path, "%s/missing", fixture->scratch.layers);
    assert_int_equal(layer_store_open(path, &layer_source_memfd, &layer_limits_default, &store, &err),
                     STATUS_NOT_FOUND);
    assert_null(store);
    assert_int_equal(open_descriptors(), fixture->descriptors);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(known_content_has_its_known_digest),
        TEST(the_image_holds_exactly_the_bytes_that_were_hashed),
        TEST(a_stack_of_one_has_the_digest_of_its_layer),
        TEST(a_stack_has_the_digest_of_its_raw_digests_base_first),
        TEST(a_name_that_is_no_single_component_is_refused),
        TEST(a_missing_file_is_not_found),
        TEST(what_is_no_regular_file_is_refused_without_waiting),
        TEST(a_layer_over_the_limit_is_refused),
        TEST(layers_together_stay_under_the_total),
        TEST(the_total_holds_when_many_threads_open_at_once),
        TEST(an_image_cannot_be_changed_by_anybody),
        TEST(memory_that_is_refused_half_way_leaves_nothing),
        TEST(descriptors_that_run_out_leave_nothing),
        TEST(a_store_stays_with_the_directory_it_was_opened_on),
        TEST(a_layer_directory_that_is_none_is_refused),
    };
    return cmocka_run_group_tests_name("layer", tests, NULL, NULL);
}
