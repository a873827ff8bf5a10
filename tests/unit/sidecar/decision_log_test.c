/*
 * The decision log: what its lines say, what its files are, and that nothing it meets changes a decision.
 */
#include <limits.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>
#include <fcntl.h>
#include <jansson.h>
#include <sched.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

#include "server/base/clock.h"
#include "server/base/fd.h"
#include "server/base/limits.h"
#include "server/sidecar/policy_gate.h"

#define POLICY "tests/fixtures/policy-seed/policy.rego"
#define ENTRY  "SECRET=hunter2"

struct fixture {
    char directory[64], path[80], old_path[96];
    struct decision_log_options options;
    struct decision_log *log;
    struct policy_gate *gate;
    char *policy;
    size_t policy_size;
};

static int
setup(void **state)
{
    struct fixture *f = calloc(1, sizeof *f);
    struct error err;
    assert_non_null(f);
    strcpy(f->directory, "/tmp/decision-log-XXXXXX");
    assert_non_null(mkdtemp(f->directory));
    snprintf(f->path, sizeof f->path, "%s/log", f->directory);
    snprintf(f->old_path, sizeof f->old_path, "%s.1", f->path);
    f->options = (struct decision_log_options){.path = f->path, .bytes_max = DECISION_LOG_BYTES_DEFAULT};
    assert_int_equal(STATUS_OK, fd_read_file(POLICY, LIMIT_POLICY_BYTES, &f->policy, &f->policy_size, &err));
    *state = f;
    return 0;
}

static int
teardown(void **state)
{
    struct fixture *f = *state;
    policy_gate_free(f->gate);
    decision_log_close(f->log);
    unlink(f->path);
    rmdir(f->path);
    unlink(f->old_path);
    rmdir(f->old_path);
    int result = rmdir(f->directory);
    free(f->policy);
    free(f);
    return result;
}

/* A log, and a gate with the seed's policy that writes to it. */
static void
start(struct fixture *f)
{
    struct error err = {0};
    enum status status = decision_log_open(&f->options, &f->log, &err);
    if (status != STATUS_OK)
        fail_msg("%s", err.text);
    f->gate = policy_gate_new(NULL);
    policy_gate_set_log(f->gate, f->log);
    assert_int_equal(STATUS_OK,
                     policy_gate_set(f->gate, "", (const uint8_t *)f->policy, f->policy_size, &err));
}

static void
stop(struct fixture *f)
{
    policy_gate_free(f->gate);
    decision_log_close(f->log);
    f->gate = NULL;
    f->log = NULL;
}

/* Asks whether `cmd` may run outside containers, with an environment of one entry; the record is ended. */
static enum status
ask_exec(struct fixture *f, const char *working_dir, const char *entry, bool commit)
{
    static const char *const args[] = {"cmd"};
    const struct policy_request request = {
        .point = POLICY_EXEC_EXTERNAL,
        .process = {.args = {.items = args, .count = 1},
                    .env = {.items = &entry, .count = 1},
                    .working_dir = working_dir},
    };
    CLEANUP(arena_done)
    struct arena arena;
    struct policy_verdict verdict;
    struct gate_record *record;
    struct error err;
    arena_init(&arena, LIMIT_REQUEST_ARENA_BYTES);
    enum status status = policy_gate_decide(f->gate, &request, &arena, &verdict, &record, &err);
    assert_true((status == STATUS_OK) == (record != NULL));
    if (commit)
        policy_gate_commit(record);
    else
        policy_gate_undo(record);
    return status;
}

/* The lines of a file as JSON values; the caller frees the array. */
static json_t *
read_lines(const char *path)
{
    char *text = NULL;
    size_t size;
    struct error err;
    json_t *lines = json_array();
    if (fd_read_file(path, DECISION_LOG_BYTES_DEFAULT, &text, &size, &err) != STATUS_OK)
        fail_msg("%s", err.text);
    for (char *line = text; *line;) {
        char *end = strchr(line, '\n');
        assert_non_null(end); /* every line is whole */
        json_t *json = json_loadb(line, (size_t)(end - line), JSON_REJECT_DUPLICATES, NULL);
        assert_non_null(json);
        json_array_append_new(lines, json);
        line = end + 1;
    }
    free(text);
    return lines;
}

static const char *
text_at(json_t *lines, size_t line, const char *key)
{
    const char *text = json_string_value(json_object_get(json_array_get(lines, line), key));
    return text ? text : "";
}

static json_int_t
number_at(json_t *lines, size_t line, const char *key)
{
    return json_integer_value(json_object_get(json_array_get(lines, line), key));
}

/* -- what the lines say -- */

static void
a_decision_is_written_with_its_input_its_answer_and_its_end(void **state)
{
    struct fixture *f = *state;
    start(f);
    assert_int_equal(STATUS_OK, ask_exec(f, "C:\\", ENTRY, true));
    assert_int_equal(STATUS_OK, ask_exec(f, "C:\\", ENTRY, false));
    assert_int_equal(STATUS_PERMISSION_DENIED, ask_exec(f, "c:\\", ENTRY, true));
    stop(f);

    json_t *lines = read_lines(f->path);

    assert_int_equal(8, json_array_size(lines));
    assert_int_equal(DECISION_LOG_FORMAT, number_at(lines, 0, "decision_log"));
    assert_int_equal(1, number_at(lines, 0, "part"));
    assert_int_equal(64, strlen(text_at(lines, 0, "policy_sha256")));
    assert_string_equal("runtime_logging", text_at(lines, 1, "point")); /* asked by setting the policy */
    assert_int_equal(1, number_at(lines, 2, "committed"));
    assert_string_equal("exec_external", text_at(lines, 3, "point"));
    assert_int_equal(2, number_at(lines, 3, "record"));
    json_t *input = json_object_get(json_array_get(lines, 3), "input");
    json_t *decision = json_object_get(json_array_get(lines, 3), "decision");
    assert_string_equal("C:\\", json_string_value(json_object_get(input, "working_dir")));
    assert_true(json_is_true(json_object_get(decision, "allowed")));
    assert_true(json_is_true(json_object_get(decision, "allow_stdio_access")));
    assert_int_equal(2, number_at(lines, 4, "committed"));
    assert_int_equal(3, number_at(lines, 6, "undone"));
    decision = json_object_get(json_array_get(lines, 7), "decision"); /* denied: no further line */
    assert_true(json_is_false(json_object_get(decision, "allowed")));
    assert_true(json_is_null(json_object_get(decision, "env")));
    assert_string_equal("invalid working directory",
                        json_string_value(json_array_get(json_object_get(decision, "errors"), 0)));
    json_decref(lines);
}

static void
environment_values_are_written_only_when_asked_for(void **state)
{
    struct fixture *f = *state;
    for (int shown = 0; shown < 2; shown++) {
        f->options.with_env = shown;
        start(f);
        assert_int_equal(STATUS_OK, ask_exec(f, "C:\\", ENTRY, true));
        stop(f);

        json_t *lines = read_lines(f->path);
        json_t *line = json_array_get(lines, 3);
        const char *expected = shown ? ENTRY : "SECRET=[redacted]";
        json_t *asked = json_object_get(json_object_get(line, "input"), "env");
        json_t *kept = json_object_get(json_object_get(line, "decision"), "env");
        char *text = json_dumps(lines, 0);

        assert_string_equal(expected, json_string_value(json_array_get(asked, 0)));
        assert_string_equal(expected, json_string_value(json_array_get(kept, 0)));
        assert_int_equal(!shown, json_is_true(json_object_get(line, "env_hidden")));
        assert_string_equal(shown ? "shown" : "hidden", text_at(lines, 0, "env"));
        assert_int_equal(shown, strstr(text, "hunter2") != NULL);
        free(text);
        json_decref(lines);
        unlink(f->path);
    }
}

static void
before_a_policy_is_set_nothing_is_written(void **state)
{
    struct fixture *f = *state;
    struct error err;
    struct stat info;
    assert_int_equal(STATUS_OK, decision_log_open(&f->options, &f->log, &err));
    f->gate = policy_gate_new(NULL);
    policy_gate_set_log(f->gate, f->log);

    assert_int_equal(STATUS_PERMISSION_DENIED, ask_exec(f, "C:\\", ENTRY, true));
    stop(f);

    assert_int_equal(0, stat(f->path, &info));
    assert_int_equal(0, info.st_size);
}

/* -- the files -- */

static void
the_file_is_ours_alone_whatever_the_umask_and_its_mode_before(void **state)
{
    struct fixture *f = *state;
    struct stat info;
    mode_t before = umask(0);
    start(f);
    stop(f);
    assert_int_equal(0, stat(f->path, &info));
    assert_int_equal(0600, info.st_mode & 07777);
    assert_int_equal(0, chmod(f->path, 0666));

    start(f);
    stop(f);

    umask(before);
    assert_int_equal(0, stat(f->path, &info));
    assert_int_equal(0600, info.st_mode & 07777);
}

static void
a_second_run_goes_on_in_the_file_with_a_header_of_its_own(void **state)
{
    struct fixture *f = *state;
    for (int run = 0; run < 2; run++) {
        start(f);
        stop(f);
    }

    json_t *lines = read_lines(f->path);

    assert_int_equal(6, json_array_size(lines));
    assert_int_equal(1, number_at(lines, 0, "part"));
    assert_int_equal(1, number_at(lines, 3, "part"));
    assert_int_equal(1, number_at(lines, 4, "record"));
    json_decref(lines);
}

static void
a_line_that_a_crash_has_cut_is_kept_apart(void **state)
{
    struct fixture *f = *state;
    char *text;
    size_t size;
    struct error err;
    start(f);
    stop(f);
    int file = open(f->path, O_WRONLY | O_APPEND | O_CLOEXEC);
    assert_int_equal(9, write(file, "{\"record\"", 9));
    close(file);

    start(f);
    stop(f);

    assert_int_equal(STATUS_OK, fd_read_file(f->path, DECISION_LOG_BYTES_DEFAULT, &text, &size, &err));
    assert_non_null(strstr(text, "\n{\"record\"\n{\"decision_log\":"));
    free(text);
}

/* Plays decisions with `size` bytes of environment until the log has been rotated twice. */
static void
fill(struct fixture *f, size_t size, int count)
{
    char *entry = malloc(size);
    assert_non_null(entry);
    memset(entry, 'x', size);
    memcpy(entry, "NAME=", 5);
    entry[size - 1] = '\0';
    for (int i = 0; i < count; i++)
        assert_int_equal(STATUS_OK, ask_exec(f, "C:\\", entry, true));
    free(entry);
}

static void
at_the_bound_the_file_becomes_the_one_older_file(void **state)
{
    struct fixture *f = *state;
    struct stat info;
    f->options.bytes_max = DECISION_LOG_BYTES_MIN;
    f->options.with_env = true;
    start(f);
    fill(f, 1000, 200); /* 2,000 bytes a decision: six files' worth */
    stop(f);

    json_t *older = read_lines(f->old_path), *newer = read_lines(f->path);

    json_int_t last_part = number_at(newer, 0, "part");
    assert_true(last_part >= 3);
    assert_int_equal(last_part - 1, number_at(older, 0, "part"));
    assert_string_equal(text_at(older, 0, "policy_sha256"), text_at(newer, 0, "policy_sha256"));
    assert_int_equal(201, number_at(newer, json_array_size(newer) - 1, "committed"));
    /* Nothing between the two files is lost. */
    size_t last = json_array_size(older) - 1;
    json_int_t before = number_at(older, last, "record") + number_at(older, last, "committed");
    json_int_t after = number_at(newer, 1, "record") + number_at(newer, 1, "committed");
    assert_true(after == before || after == before + 1);
    const char *const paths[] = {f->path, f->old_path};
    for (int i = 0; i < 2; i++) {
        assert_int_equal(0, stat(paths[i], &info));
        assert_true(info.st_size <= DECISION_LOG_BYTES_MIN);
        assert_int_equal(0600, info.st_mode & 07777);
    }
    json_decref(older);
    json_decref(newer);
}

static void
a_line_longer_than_a_file_is_counted_and_marked(void **state)
{
    struct fixture *f = *state;
    f->options.bytes_max = DECISION_LOG_BYTES_MIN;
    f->options.with_env = true;
    start(f);
    fill(f, DECISION_LOG_BYTES_MIN, 1);
    assert_int_equal(STATUS_OK, ask_exec(f, "C:\\", ENTRY, true));
    assert_int_equal(1, decision_log_lost(f->log));
    stop(f);

    json_t *lines = read_lines(f->path);

    assert_int_equal(6, json_array_size(lines));
    assert_int_equal(1, number_at(lines, 3, "lost"));
    assert_int_equal(3, number_at(lines, 4, "record"));
    json_decref(lines);
}

/* -- refusals -- */

static void
expect_refusal(struct fixture *f, const char *why)
{
    struct error err = {0};
    struct decision_log *log = NULL;
    assert_int_equal(STATUS_FAILED_PRECONDITION, decision_log_open(&f->options, &log, &err));
    assert_null(log);
    if (!strstr(err.text, why))
        fail_msg("'%s' does not say '%s'", err.text, why);
}

static void
what_is_not_a_file_of_ours_is_refused_and_left_alone(void **state)
{
    struct fixture *f = *state;
    char other[96];
    struct stat info;
    snprintf(other, sizeof other, "%s/other", f->directory);

    assert_int_equal(0, symlink(other, f->path));
    expect_refusal(f, "symbolic link");
    assert_int_equal(-1, stat(other, &info)); /* was not made through it */
    unlink(f->path);

    assert_int_equal(0, mkdir(f->path, 0700));
    expect_refusal(f, "no regular file");
    rmdir(f->path);

    assert_int_equal(0, mkfifo(f->path, 0600));
    expect_refusal(f, "no regular file");
    unlink(f->path);

    int file = open(f->path, O_WRONLY | O_CREAT | O_CLOEXEC, 0644);
    assert_int_equal(5, write(file, "notes", 5));
    expect_refusal(f, "is no decision log");
    assert_int_equal(0, fstat(file, &info));
    assert_int_equal(5, info.st_size);
    assert_int_equal(0644, info.st_mode & 07777);
    assert_int_equal(0, ftruncate(file, 0));
    assert_int_equal(0, link(f->path, other));
    expect_refusal(f, "other names");
    unlink(other);
    if (geteuid() == 0) {
        assert_int_equal(0, fchown(file, 65534, 65534));
        expect_refusal(f, "another user");
    }
    close(file);
}

static void
two_logs_on_one_file_are_refused(void **state)
{
    struct fixture *f = *state;
    start(f);
    expect_refusal(f, "another process writes it");
}

static void
a_path_that_names_no_file_is_refused(void **state)
{
    struct fixture *f = *state;
    char long_name[NAME_MAX + 8];
    memset(long_name, 'n', sizeof long_name - 1);
    long_name[sizeof long_name - 1] = '\0';
    const char *const paths[] = {"", "/tmp/", long_name};
    for (size_t i = 0; i < sizeof paths / sizeof paths[0]; i++) {
        struct error err = {0};
        f->options.path = paths[i];
        assert_int_equal(STATUS_INVALID_ARGUMENT, decision_log_open(&f->options, &f->log, &err));
        assert_null(f->log);
        assert_non_null(strstr(err.text, "no name of a file"));
    }
}

static void
a_missing_directory_is_named(void **state)
{
    struct fixture *f = *state;
    struct error err = {0};
    f->options.path = "/nowhere/at/all/log";
    assert_int_equal(STATUS_NOT_FOUND, decision_log_open(&f->options, &f->log, &err));
    assert_non_null(strstr(err.text, "/nowhere/at/all"));
}

/* -- trouble -- */

static void
a_full_disk_changes_no_decision_and_is_marked_when_there_is_room_again(void **state)
{
    struct fixture *f = *state;
    char filler[96];
    static const char block[4096];
    if (mount("none", f->directory, "tmpfs", 0, "size=128k") < 0) {
        print_message("mount(2) is not allowed here: root is needed\n");
        skip();
    }
    snprintf(filler, sizeof filler, "%s/filler", f->directory);
    f->options.with_env = true;
    start(f);
    assert_int_equal(STATUS_OK, ask_exec(f, "C:\\", ENTRY, true));
    int file = open(filler, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
    while (write(file, block, sizeof block) > 0)
        ;
    close(file);

    fill(f, 1000, 20); /* every answer is as before */
    int64_t deadline = clock_now_ns() + 10 * NS_PER_S;
    while (decision_log_lost(f->log) == 0 && clock_now_ns() < deadline)
        sched_yield();
    uint64_t lost = decision_log_lost(f->log);
    unlink(filler);
    fill(f, 1000, 20);
    stop(f);

    assert_true(lost > 0);
    json_t *lines = read_lines(f->path); /* whole lines only */
    json_int_t marked = 0;
    for (size_t i = 0; i < json_array_size(lines); i++)
        marked += number_at(lines, i, "lost");
    assert_true(marked >= (json_int_t)lost);
    unlink(f->path);
    assert_int_equal(0, umount2(f->directory, MNT_DETACH));
    json_decref(lines);
}

static void
a_log_that_cannot_be_rotated_changes_no_decision(void **state)
{
    struct fixture *f = *state;
    struct stat info;
    char inside[112];
    f->options.bytes_max = DECISION_LOG_BYTES_MIN;
    f->options.with_env = true;
    snprintf(inside, sizeof inside, "%s/x", f->old_path);
    assert_int_equal(0, mkdir(f->old_path, 0700)); /* in the place of the older file */
    assert_int_equal(0, mkdir(inside, 0700));
    start(f);

    fill(f, 1000, 200);

    stop(f);
    assert_int_equal(0, stat(f->path, &info));
    assert_true(info.st_size <= DECISION_LOG_BYTES_MIN);
    rmdir(inside);
}

static void
each_line_of_a_flood_is_written_or_counted(void **state)
{
    struct fixture *f = *state;
    json_int_t records = 0, ends = 0, marked = 0, last = 0;
    f->options.with_env = true;
    f->options.bytes_max = 1LL << 30;
    start(f);
    fill(f, 100000, 100); /* 20 MB of lines, many times what is queued */
    json_int_t lost = (json_int_t)decision_log_lost(f->log);
    stop(f);

    json_t *lines = read_lines(f->path);

    for (size_t i = 1; i < json_array_size(lines); i++) {
        json_int_t number = number_at(lines, i, "record");
        assert_true(number == 0 || number > last);
        last = number ? number : last;
        records += number > 0;
        ends += number_at(lines, i, "committed") > 0;
        marked += number_at(lines, i, "lost");
    }
    assert_int_equal(lost, marked);
    /* A decision has a line and, when that was written, one for its end. */
    assert_int_equal(101 - records + records - ends, marked);
    json_decref(lines);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(a_decision_is_written_with_its_input_its_answer_and_its_end, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(environment_values_are_written_only_when_asked_for, setup, teardown),
        cmocka_unit_test_setup_teardown(before_a_policy_is_set_nothing_is_written, setup, teardown),
        cmocka_unit_test_setup_teardown(the_file_is_ours_alone_whatever_the_umask_and_its_mode_before, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(a_second_run_goes_on_in_the_file_with_a_header_of_its_own, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(a_line_that_a_crash_has_cut_is_kept_apart, setup, teardown),
        cmocka_unit_test_setup_teardown(at_the_bound_the_file_becomes_the_one_older_file, setup, teardown),
        cmocka_unit_test_setup_teardown(a_line_longer_than_a_file_is_counted_and_marked, setup, teardown),
        cmocka_unit_test_setup_teardown(what_is_not_a_file_of_ours_is_refused_and_left_alone, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(two_logs_on_one_file_are_refused, setup, teardown),
        cmocka_unit_test_setup_teardown(a_path_that_names_no_file_is_refused, setup, teardown),
        cmocka_unit_test_setup_teardown(a_missing_directory_is_named, setup, teardown),
        cmocka_unit_test_setup_teardown(
            a_full_disk_changes_no_decision_and_is_marked_when_there_is_room_again, setup, teardown),
        cmocka_unit_test_setup_teardown(a_log_that_cannot_be_rotated_changes_no_decision, setup, teardown),
        cmocka_unit_test_setup_teardown(each_line_of_a_flood_is_written_or_counted, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
