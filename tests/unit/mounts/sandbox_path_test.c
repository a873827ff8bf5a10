#include "server/mounts/sandbox_path.h"

#include <stdlib.h>
#include <string.h>

#include "tests/unit/mounts/sandbox_fixture.h"

static struct error err;

static enum status
parse(struct arena *arena, const char *source, size_t length, struct sandbox_path *path)
{
    return sandbox_path_parse(arena, source, length, path, &err);
}

static void
every_accepted_spelling_becomes_one_canonical_text(void **state)
{
    (void)state;
    static const struct {
        const char *source, *text;
        unsigned depth;
    } cases[] = {
        {"sandbox:///a", "sandbox:///a", 1},
        {"sandbox:///tmp/atlas/emptydir/vol1", "sandbox:///tmp/atlas/emptydir/vol1", 4},
        {"SandBox:///a/b", "sandbox:///a/b", 2},
        {"C:\\SandboxMounts\\a\\b", "sandbox:///a/b", 2},
        {"C:/SandboxMounts/a/b", "sandbox:///a/b", 2},
        {"c:\\sandboxmounts\\a/b", "sandbox:///a/b", 2},
        {"C:/SANDBOXMOUNTS\\a", "sandbox:///a", 1},
        /* The path itself keeps its case, its spaces, and whatever looks like an escape. */
        {"C:\\SandboxMounts\\TMP\\Vol 1", "sandbox:///TMP/Vol 1", 2},
        {"sandbox:///%2e%2e/..a/a../.hidden/~", "sandbox:///%2e%2e/..a/a../.hidden/~", 5},
        {"sandbox:///\xC3\xA9/\xE2\x80\xA5", "sandbox:///\xC3\xA9/\xE2\x80\xA5", 2},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct arena arena;
        arena_init(&arena, 65536);
        struct sandbox_path path;
        assert_int_equal(parse(&arena, cases[i].source, strlen(cases[i].source), &path), STATUS_OK);
        assert_string_equal(path.text, cases[i].text);
        assert_string_equal(path.relative, cases[i].text + strlen("sandbox:///"));
        assert_int_equal(path.depth, cases[i].depth);
        assert_int_equal(path.end[path.depth - 1], strlen(path.relative));
        for (unsigned j = 0; j + 1 < path.depth; j++)
            assert_int_equal(path.relative[path.end[j]], '/');
        assert_true(sandbox_path_claimed(cases[i].source));
        arena_done(&arena);
    }
}

static void
everything_else_is_refused_with_its_name_and_the_reason(void **state)
{
    (void)state;
    static const struct {
        const char *source, *reason;
    } cases[] = {
        {"sandbox://", "begins neither"},
        {"sandbox:///", "the sandbox root itself"},
        {"sandbox://a", "begins neither"},
        {"sandbox:/a", "begins neither"},
        {"sandbox:a", "begins neither"},
        {"sandbox:\\\\\\a", "begins neither"},
        {" sandbox:///a", "begins neither"},
        {"", "begins neither"},
        {"/a", "begins neither"},
        {"a", "begins neither"},
        {"C:\\SandboxMounts", "the sandbox root itself"},
        {"C:\\SandboxMounts\\", "the sandbox root itself"},
        {"C:\\SandboxMountsX\\a", "begins neither"},
        {"C:\\SandboxMount\\a", "begins neither"},
        {"C:SandboxMounts\\a", "begins neither"},
        {"C:\\\\SandboxMounts\\a", "begins neither"},
        {"D:\\SandboxMounts\\a", "begins neither"},
        {"\\\\?\\C:\\SandboxMounts\\a", "begins neither"},
        {"C:\\.\\SandboxMounts\\a", "begins neither"},
        {"C:\\\xC5\xBF"
         "andboxMounts\\a",
         "begins neither"}, /* U+017F folds to s in Unicode */
        {"C:\\Windows", "begins neither"},
        {"sandbox:///..", "dots and spaces"},
        {"sandbox:///../a", "dots and spaces"},
        {"sandbox:///a/../b", "dots and spaces"},
        {"sandbox:///a/..", "dots and spaces"},
        {"sandbox:///a/./b", "dots and spaces"},
        {"sandbox:///.", "dots and spaces"},
        {"sandbox:///a/.. /b", "dots and spaces"},
        {"sandbox:///a/ ../b", "dots and spaces"},
        {"sandbox:///a/.../b", "dots and spaces"},
        {"sandbox:///a/ /b", "dots and spaces"},
        {"C:\\SandboxMounts\\..\\Windows\\x", "dots and spaces"},
        {"C:\\SandboxMounts\\a\\../b", "dots and spaces"},
        {"C:/SandboxMounts/..", "dots and spaces"},
        {"sandbox:///a\\..\\b", "backslash"},
        {"sandbox:///..\\b", "backslash"},
        {"sandbox:///a\\b", "backslash"},
        {"sandbox:///a/", "empty component"},
        {"sandbox:///a//b", "empty component"},
        {"sandbox:////a", "empty component"},
        {"C:\\SandboxMounts\\a\\", "empty component"},
        {"C:\\SandboxMounts\\\\a", "empty component"},
        {"C:\\SandboxMounts\\a\\/b", "empty component"},
        {"sandbox:///C:/Windows", "colon"},
        {"sandbox:///a:stream", "colon"},
        {"C:\\SandboxMounts\\C:\\x", "colon"},
        {"sandbox:///a\nb", "control character"},
        {"sandbox:///a\x7F", "control character"},
        {"sandbox:///a\xC2\x85", "control character"},
        {"sandbox:///a\xFF", "not UTF-8"},
        {"sandbox:///\xC0\xAE\xC0\xAE/a", "not UTF-8"}, /* overlong ".." */
    };
    struct arena arena;
    arena_init(&arena, 65536);
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct sandbox_path path;
        memset(&path, 0x5A, sizeof path);
        enum status status = parse(&arena, cases[i].source, strlen(cases[i].source), &path);
        if (status != STATUS_INVALID_ARGUMENT || !strstr(err.text, cases[i].reason))
            fail_msg("'%s': status %d, '%s'", cases[i].source, status,
                     status == STATUS_OK ? path.text : err.text);
        assert_int_equal(path.depth, 0x5A5A5A5A); /* untouched */
    }
    assert_int_equal(arena.taken_bytes, 0);
    arena_done(&arena);
}

static void
nul_and_control_characters_are_escaped_in_the_refusal(void **state)
{
    (void)state;
    struct arena arena;
    arena_init(&arena, 65536);
    struct sandbox_path path;
    static const char nul[] = "sandbox:///a\0b";

    assert_int_equal(parse(&arena, nul, sizeof nul - 1, &path), STATUS_INVALID_ARGUMENT);
    assert_non_null(strstr(err.text, "'sandbox:///a\\x00b': a control character"));
    assert_int_equal(parse(&arena, "sandbox:///\x1b[2J", 15, &path), STATUS_INVALID_ARGUMENT);
    assert_non_null(strstr(err.text, "'sandbox:///\\x1b[2J'"));

    arena_done(&arena);
}

/* `count` components of `size` bytes after `prefix`, malloc()ed. */
static char *
long_source(const char *prefix, unsigned count, size_t size)
{
    size_t start = strlen(prefix);
    char *text = malloc(start + count * (size + 1) + 1);
    assert_non_null(text);
    memcpy(text, prefix, start);
    char *to = text + start;
    for (unsigned i = 0; i < count; i++) {
        memset(to, 'a', size);
        to[size] = '/';
        to += size + 1;
    }
    to[-1] = '\0';
    return text;
}

static void
limits_hold_to_the_byte(void **state)
{
    (void)state;
    static const struct {
        unsigned count;
        size_t size;
        const char *reason; /* NULL: accepted */
    } cases[] = {
        {1, 255, NULL},
        {1, 256, "more than 255 bytes"},
        {32, 1, NULL},
        {33, 1, "more than 32 components"},
        {31, 130, NULL}, /* 4,060 bytes and the prefix */
        {31, 131, "more than 4095 bytes"},
        {1000, 255, "more than 4095 bytes"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct arena arena;
        arena_init(&arena, 65536);
        char *source = long_source("sandbox:///", cases[i].count, cases[i].size);
        struct sandbox_path path;
        enum status status = parse(&arena, source, strlen(source), &path);
        if (cases[i].reason) {
            assert_int_equal(status, STATUS_INVALID_ARGUMENT);
            assert_non_null(strstr(err.text, cases[i].reason));
        } else {
            assert_int_equal(status, STATUS_OK);
            assert_string_equal(path.text, source);
        }
        free(source);
        arena_done(&arena);
    }
}

static void
a_full_arena_is_resource_exhausted(void **state)
{
    (void)state;
    struct arena arena;
    arena_init(&arena, 8);
    struct sandbox_path path;
    assert_int_equal(parse(&arena, "sandbox:///a", 12, &path), STATUS_RESOURCE_EXHAUSTED);
    arena_done(&arena);
}

static void
only_sandbox_sources_are_claimed(void **state)
{
    (void)state;
    static const struct {
        const char *source;
        bool claimed;
    } cases[] = {
        {"sandbox:///a", true},
        {"sandbox://a", true},
        {"SANDBOX:", true},
        {"C:\\SandboxMounts", true},
        {"c:/sandboxmounts/..", true},
        {"C:\\SandboxMountsX\\a", false},
        {"sandboxes:///a", false},
        {"/run/sandbox:///a", false},
        {"C:\\Windows", false},
        {"\\\\?\\C:\\SandboxMounts\\a", false},
        {"", false},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++)
        assert_int_equal(sandbox_path_claimed(cases[i].source), cases[i].claimed);
}

int
main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_accepted_spelling_becomes_one_canonical_text),
        cmocka_unit_test(everything_else_is_refused_with_its_name_and_the_reason),
        cmocka_unit_test(nul_and_control_characters_are_escaped_in_the_refusal),
        cmocka_unit_test(limits_hold_to_the_byte),
        cmocka_unit_test(a_full_arena_is_resource_exhausted),
        cmocka_unit_test(only_sandbox_sources_are_claimed),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
