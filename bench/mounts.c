/*
 * `gcs-bench mounts`: making a container's mount directories, ours beside plainer ways, on three kinds of
 * file system.
 *
 * One interleaved run: in every round each way makes the same directories once, in an order that rotates, and
 * takes them away again outside the measured time. What is compared are medians over all rounds.
 */
#include <argp.h>
#include <jansson.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "bench/bench.h"
#include "bench/mounts_place.h"
#include "bench/mounts_ways.h"
#include "server/base/clock.h"

#define WARM_ROUNDS    8
#define SLOW_DELAY_US  1000
#define ROUNDS_DEFAULT 200
#define NO_KIND        (-1)

struct arguments {
    bool json;
    unsigned rounds;
    const char *dir;
    int place;    /* NO_KIND: all */
    size_t count; /* 0: 16 and 64 */
    bool once;
    int shape; /* NO_KIND: all */
    int way;   /* of --once; NO_KIND: nothing at all */
};

struct result {
    enum mounts_place_kind place;
    enum mounts_shape shape;
    size_t count;
    double median_us[WAYS];
};

/* The only state that a signal handler can reach. */
static volatile sig_atomic_t interrupted;

static void
interrupt(int number)
{
    (void)number;
    interrupted = 1;
}

static int
number_compare(const void *left, const void *right)
{
    int64_t a = *(const int64_t *)left, b = *(const int64_t *)right;
    return (a > b) - (a < b);
}

static double
median_us(int64_t *samples_ns, unsigned count)
{
    qsort(samples_ns, count, sizeof *samples_ns, number_compare);
    int64_t middle = samples_ns[count / 2];
    if (count % 2 == 0)
        middle = (middle + samples_ns[count / 2 - 1]) / 2;
    return (double)middle / NS_PER_US;
}

/* One way, once; the time it took, or -1. */
static int64_t
way_measure(const struct mounts_place *place, struct mounts_work *work, enum mounts_way way, bool check)
{
    mounts_place_slow(place, SLOW_DELAY_US);
    int64_t begin_ns = clock_now_ns();
    bool good = mounts_work_run(work, way);
    int64_t end_ns = clock_now_ns();
    mounts_place_slow(place, 0);
    if (good && check)
        good = mounts_work_check(work);
    mounts_work_undo(work, way);
    return good ? end_ns - begin_ns : -1;
}

/* All ways on one set of directories; false when one fails or the run is interrupted. */
static bool
shape_measure(const struct mounts_place *place, enum mounts_shape shape, size_t count, unsigned rounds,
              struct result *result)
{
    *result = (struct result){.place = place->kind, .shape = shape, .count = count};
    struct mounts_work work;
    int64_t *samples_ns[WAYS];
    bool good = mounts_work_init(&work, shape, count, place->root_path, place->root, place->pool);
    for (size_t way = 0; way < WAYS; way++) {
        samples_ns[way] = calloc(rounds, sizeof *samples_ns[way]);
        good = good && samples_ns[way];
    }
    for (unsigned round = 0; good && round < rounds + WARM_ROUNDS; round++) {
        for (unsigned turn = 0; good && turn < WAYS; turn++) {
            enum mounts_way way = (round + turn) % WAYS;
            int64_t took_ns = way_measure(place, &work, way, round < WARM_ROUNDS);
            good = took_ns >= 0 && !interrupted;
            if (round >= WARM_ROUNDS)
                samples_ns[way][round - WARM_ROUNDS] = took_ns;
        }
    }
    for (size_t way = 0; way < WAYS; way++) {
        if (good)
            result->median_us[way] = median_us(samples_ns[way], rounds);
        free(samples_ns[way]);
    }
    mounts_work_done(&work);
    return good;
}

/* What the project promises for a row: `ratio` against `bound`, from above or from below. */
struct target {
    const char *what;
    double ratio, bound;
    bool at_least; /* else at most */
};

static struct target
target_of(const struct result *result)
{
    static const double slow_bounds[SHAPES] = {
        [SHAPE_SIBLINGS] = 1.7, [SHAPE_PARENTS] = 2.5, [SHAPE_BELOW] = 6, [SHAPE_EXISTING] = 6};
    const double *median = result->median_us;
    if (result->place == PLACE_SLOW)
        return (struct target){"reference/plan", median[WAY_REFERENCE] / median[WAY_PLAN],
                               slow_bounds[result->shape], true};
    if (result->shape == SHAPE_EXISTING)
        return (struct target){"plan/walk", median[WAY_PLAN] / median[WAY_WALK], 1.10, false};
    double best = median[WAY_LOOP] < median[WAY_REFERENCE] ? median[WAY_LOOP] : median[WAY_REFERENCE];
    return (struct target){"plan/best", median[WAY_PLAN] / best, 1.15, false};
}

static bool
target_met(const struct target *target)
{
    return target->at_least ? target->ratio >= target->bound : target->ratio <= target->bound;
}

static void
row_print(const struct result *result)
{
    const double *median = result->median_us;
    struct target target = target_of(result);
    printf("%-6s %6zu %-9s %10.1f %10.1f %10.1f %10.1f   %6.2f   %-14s %6.2f %s %.2f %s\n",
           mounts_place_names[result->place], result->count, mounts_shape_names[result->shape],
           median[WAY_LOOP], median[WAY_REFERENCE], median[WAY_WALK], median[WAY_PLAN],
           median[WAY_REFERENCE] / median[WAY_PLAN], target.what, target.ratio,
           target.at_least ? ">=" : "<=", target.bound, target_met(&target) ? "met" : "MISSED");
    fflush(stdout);
}

static json_t *
row_json(const struct result *result)
{
    struct target target = target_of(result);
    json_t *row = json_pack("{s:s, s:I, s:s}", "place", mounts_place_names[result->place], "mounts",
                            (json_int_t)result->count, "shape", mounts_shape_names[result->shape]);
    for (size_t way = 0; way < WAYS; way++) {
        char name[32];
        snprintf(name, sizeof name, "%s_us", mounts_way_names[way]);
        json_object_set_new(row, name, json_real(result->median_us[way]));
    }
    json_object_set_new(row, "reference_over_plan",
                        json_real(result->median_us[WAY_REFERENCE] / result->median_us[WAY_PLAN]));
    json_object_set_new(row, "target",
                        json_pack("{s:s, s:f, s:s, s:f, s:b}", "ratio", target.what, "value", target.ratio,
                                  "must_be", target.at_least ? "at least" : "at most", "bound", target.bound,
                                  "met", target_met(&target)));
    return row;
}

static bool
place_measure(enum mounts_place_kind kind, const struct arguments *arguments, json_t *rows)
{
    static const size_t counts[] = {16, 64};
    struct mounts_place place;
    bool good = mounts_place_init(&place, kind, arguments->dir, SLOW_DELAY_US);
    for (size_t i = 0; good && i < sizeof counts / sizeof counts[0]; i++) {
        for (enum mounts_shape shape = 0; good && shape < SHAPES; shape++) {
            if (arguments->count > 0 && arguments->count != counts[i])
                continue;
            if (arguments->shape != NO_KIND && arguments->shape != (int)shape)
                continue;
            struct result result;
            good = shape_measure(&place, shape, counts[i], arguments->rounds, &result);
            if (!good)
                break;
            if (!arguments->json)
                row_print(&result);
            json_array_append_new(rows, row_json(&result));
        }
    }
    mounts_place_done(&place);
    return good;
}

/* For `strace -c -f`: one way, once, and then the end, with nothing cleaned up. */
static int
run_once(const struct arguments *arguments)
{
    struct mounts_place place;
    if (!mounts_place_init(&place, PLACE_DISK, arguments->dir, 0))
        return 1;
    struct mounts_work work;
    if (!mounts_work_init(&work, (enum mounts_shape)arguments->shape,
                          arguments->count ? arguments->count : 16, place.root_path, place.root, place.pool))
        return 1;
    if (arguments->way != NO_KIND && !mounts_work_run(&work, (enum mounts_way)arguments->way))
        return 1;
    _exit(0);
}

/* The place of `name` in `names`, or NO_KIND. */
static int
name_find(const char *name, const char *const *names, int count)
{
    for (int i = 0; i < count; i++) {
        if (strcmp(name, names[i]) == 0)
            return i;
    }
    return NO_KIND;
}

static unsigned
number_parse(struct argp_state *state, const char *value, const char *option)
{
    char *end;
    unsigned long number = strtoul(value, &end, 10);
    if (*end != '\0' || end == value || number == 0 || number > 1000000)
        argp_error(state, "%s takes a number from 1 to 1000000, not '%s'", option, value);
    return (unsigned)number;
}

static error_t
option_parse(int key, char *value, struct argp_state *state)
{
    struct arguments *arguments = state->input;
    switch (key) {
    case 'j':
        arguments->json = true;
        return 0;
    case 'r':
        arguments->rounds = number_parse(state, value, "--rounds");
        return 0;
    case 'd':
        arguments->dir = value;
        return 0;
    case 'p':
        arguments->place = name_find(value, mounts_place_names, PLACES);
        if (arguments->place == NO_KIND)
            argp_error(state, "--place is tmpfs, disk or slow, not '%s'", value);
        return 0;
    case 'm':
        arguments->count = number_parse(state, value, "--mounts");
        if (arguments->count != 16 && arguments->count != 64)
            argp_error(state, "--mounts is 16 or 64, not '%s'", value);
        return 0;
    case 'o':
        arguments->once = true;
        return 0;
    case 's':
        arguments->shape = name_find(value, mounts_shape_names, SHAPES);
        if (arguments->shape == NO_KIND)
            argp_error(state, "--shape is siblings, parents, below or existing, not '%s'", value);
        return 0;
    case 'w':
        arguments->way = name_find(value, mounts_way_names, WAYS);
        if (arguments->way == NO_KIND && strcmp(value, "nothing") != 0)
            argp_error(state, "--way is loop, reference, walk, plan or nothing, not '%s'", value);
        return 0;
    case ARGP_KEY_END:
        if (arguments->once && arguments->shape == NO_KIND)
            argp_error(state, "--once needs --shape");
        return 0;
    default:
        return ARGP_ERR_UNKNOWN;
    }
}

int
bench_mounts(int argc, char **argv)
{
    static const struct argp_option options[] = {
        {"json", 'j', 0, 0, "Print JSON instead of a table", 0},
        {"rounds", 'r', "N", 0, "Rounds (200); figures are medians over all of them", 0},
        {"dir", 'd', "PATH", 0, "Where the local disk is (/var/tmp)", 0},
        {"place", 'p', "NAME", 0, "Only tmpfs, disk or slow", 0},
        {"mounts", 'm', "N", 0, "Only 16 or 64 mounts", 0},
        {"shape", 's', "NAME", 0, "Only siblings, parents, below or existing", 0},
        {"once", 'o', 0, 0, "Make the directories of --shape in --dir once, and leave them (for strace)", 0},
        {"way", 'w', "WAY", 0, "With --once: loop, reference, walk, plan or nothing (nothing)", 0},
        {0},
    };
    static const struct argp argp = {
        .options = options,
        .parser = option_parse,
        .doc = "Makes 16 and 64 mount directories in four shapes on tmpfs, the local disk (2 workers) and a "
               "file "
               "system of 1 ms per operation (8 workers), in four ways: a plain mkdir loop, the reference's "
               "stat "
               "and mkdir -p, our walk alone, and our plan with the pool.",
    };
    struct arguments arguments = {
        .rounds = ROUNDS_DEFAULT, .place = NO_KIND, .shape = NO_KIND, .way = NO_KIND};
    argp_parse(&argp, argc, argv, 0, NULL, &arguments);
    if (arguments.once)
        return run_once(&arguments);

    struct sigaction action = {.sa_handler = interrupt};
    sigaction(SIGINT, &action, NULL);
    sigaction(SIGTERM, &action, NULL);
    if (!arguments.json)
        printf("%-6s %6s %-9s %10s %10s %10s %10s   %6s   %s\n", "place", "mounts", "shape", "loop us",
               "ref us", "walk us", "plan us", "ref/pl", "target");
    json_t *rows = json_array();
    bool good = true;
    for (enum mounts_place_kind kind = 0; good && kind < PLACES; kind++) {
        if (arguments.place == NO_KIND || arguments.place == (int)kind)
            good = place_measure(kind, &arguments, rows);
    }
    if (arguments.json && good) {
        json_t *report = json_pack("{s:i, s:O}", "rounds", (int)arguments.rounds, "rows", rows);
        json_dumpf(report, stdout, JSON_INDENT(2) | JSON_REAL_PRECISION(6));
        printf("\n");
        json_decref(report);
    }
    json_decref(rows);
    return good ? 0 : 1;
}
