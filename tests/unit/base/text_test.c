#include "server/base/text.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

/* Where a sequence stands decides which path of the scanner sees it: each case is tried at every offset of a
 * word, alone and with ASCII behind it. */
static void
assert_utf8(const char *bytes, size_t length, bool valid)
{
    for (size_t before = 0; before <= 9; before++) {
        for (size_t after = 0; after <= 9; after += 3) {
            size_t total = before + length + after;
            char *text = malloc(total ? total : 1); /* exact, so that a sanitizer sees one byte too many */
            assert_non_null(text);
            memset(text, 'x', total);
            memcpy(text + before, bytes, length);
            assert_int_equal(text_is_utf8(text, total), valid);
            free(text);
        }
    }
}

static void
valid_sequences_are_accepted(void **state)
{
    (void)state;
    static const char *const cases[] = {
        "",
        "a",
        "\x7F",
        "\xC2\x80",         /* U+0080, the first of two bytes */
        "\xDF\xBF",         /* U+07FF, the last */
        "\xE0\xA0\x80",     /* U+0800, the first of three */
        "\xED\x9F\xBF",     /* U+D7FF, before the surrogates */
        "\xEE\x80\x80",     /* U+E000, after them */
        "\xEF\xBF\xBF",     /* U+FFFF: a noncharacter is valid */
        "\xF0\x90\x80\x80", /* U+10000, the first of four */
        "\xF4\x8F\xBF\xBF", /* U+10FFFF, the last there is */
        "\xEF\xBB\xBF",     /* a byte order mark */
        "gr\xC3\xBC\xC3\x9F \xE2\x82\xAC \xF0\x9F\x98\x80",
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++)
        assert_utf8(cases[i], strlen(cases[i]), true);
    assert_utf8("a\0b", 3, true);
}

static void
invalid_sequences_are_refused(void **state)
{
    (void)state;
    static const char *const cases[] = {
        "\x80", /* a continuation alone */
        "\xBF",
        "\xC0\x80",                 /* overlong NUL */
        "\xC1\xBF",                 /* overlong U+007F */
        "\xE0\x80\x80",             /* overlong */
        "\xE0\x9F\xBF",             /* overlong U+07FF */
        "\xF0\x80\x80\x80",         /* overlong */
        "\xF0\x8F\xBF\xBF",         /* overlong U+FFFF */
        "\xED\xA0\x80",             /* U+D800, the first surrogate */
        "\xED\xBF\xBF",             /* U+DFFF, the last */
        "\xED\xA0\x80\xED\xB0\x80", /* a pair of them */
        "\xF4\x90\x80\x80",         /* U+110000 */
        "\xF5\x80\x80\x80",
        "\xF8\x88\x80\x80\x80", /* five bytes */
        "\xFC\x84\x80\x80\x80\x80",
        "\xFE",
        "\xFF",
        "\xC3", /* cut short */
        "\xE2\x82",
        "\xF0\x9F\x98",
        "\xC3(", /* no continuation where one must be */
        "\xE2(\xAC",
        "\xE2\x82(",
        "\xF0\x9F\x98(",
        "\xC3\xBC\xBC", /* one continuation too many */
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++)
        assert_utf8(cases[i], strlen(cases[i]), false);
}

/* RFC 3629 said a second time, as plainly as possible: the number must be in range and need this many
 * bytes. */
static bool
is_one_character(const unsigned char *bytes, size_t length)
{
    static const unsigned char lead_bits[] = {0, 0x00, 0xC0, 0xE0, 0xF0};
    static const uint32_t least[] = {0, 0, 0x80, 0x800, 0x10000};
    uint32_t number = bytes[0] ^ lead_bits[length];
    if (number >= (length == 1 ? 0x80U : 1U << (7 - length)))
        return false;
    for (size_t i = 1; i < length; i++) {
        if ((bytes[i] & 0xC0) != 0x80)
            return false;
        number = number << 6 | (bytes[i] & 0x3F);
    }
    return number >= least[length] && number <= 0x10FFFF && (number < 0xD800 || number > 0xDFFF);
}

/* Valid text of up to three bytes: one character, or shorter ones in a row. */
static bool
is_valid(const unsigned char *bytes, size_t length)
{
    if (length == 0)
        return true;
    for (size_t first = 1; first <= length; first++)
        if (is_one_character(bytes, first) && is_valid(bytes + first, length - first))
            return true;
    return false;
}

static void
all_texts_of_three_bytes_are_judged_as_the_rfc_says(void **state)
{
    (void)state;
    for (unsigned number = 0; number < 1U << 24; number++) {
        unsigned char bytes[] = {(unsigned char)(number >> 16), (unsigned char)(number >> 8),
                                 (unsigned char)number};
        if (text_is_utf8((const char *)bytes, sizeof bytes) != is_valid(bytes, sizeof bytes))
            fail_msg("%02x %02x %02x", bytes[0], bytes[1], bytes[2]);
    }
}

static void
the_length_of_a_character_is_told_and_none_for_what_is_none(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        size_t length, expected;
    } cases[] = {
        {"", 0, 0},
        {"ab", 2, 1},
        {"\0", 1, 1},
        {"\xC3\xBCx", 3, 2},
        {"\xE2\x82\xAC", 3, 3},
        {"\xF0\x9F\x98\x80", 4, 4},
        {"\xF0\x9F\x98\x80", 3, 0}, /* cut short */
        {"\xC3", 1, 0},
        {"\x80", 1, 0},
        {"\xED\xA0\x80", 3, 0},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++)
        assert_int_equal(text_utf8_length(cases[i].text, cases[i].length), cases[i].expected);
}

static void
hex_digits_are_lower_case_and_counted(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        size_t length;
        bool is_hex;
    } cases[] = {
        {"", 0, true},          {"0", 1, true},    {"0123456789abcdef", 16, true},
        {"a", 2, false},        {"abc", 2, false}, {"AB", 2, false},
        {"g0", 2, false},       {"0x", 2, false},  {" 0", 2, false},
        {"/0", 2, false},       {":0", 2, false},  {"`0", 2, false},
        {"\xC3\xBC", 2, false},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++)
        assert_int_equal(text_is_hex(cases[i].text, cases[i].length), cases[i].is_hex);
}

static void
hex_and_back_is_the_same(void **state)
{
    (void)state;
    unsigned char bytes[256], back[256];
    char text[2 * sizeof bytes + 1];
    for (size_t i = 0; i < sizeof bytes; i++)
        bytes[i] = (unsigned char)i;

    text_hex(text, bytes, sizeof bytes);

    assert_int_equal(strlen(text), 2 * sizeof bytes);
    assert_true(text_is_hex(text, 2 * sizeof bytes));
    assert_memory_equal(text, "000102", 6);
    assert_memory_equal(text + 506, "fdfeff", 6);
    assert_true(text_unhex(back, sizeof back, text));
    assert_memory_equal(back, bytes, sizeof bytes);
}

static void
unhex_takes_either_case_and_refuses_what_is_no_digit_or_another_length(void **state)
{
    (void)state;
    unsigned char bytes[2];
    assert_true(text_unhex(bytes, 2, "aBCd"));
    assert_int_equal(bytes[0], 0xAB);
    assert_int_equal(bytes[1], 0xCD);
    static const char *const refused[] = {"", "a", "abc", "abcde", "abcg", "ab d", "0xab", "ab\xC3\xBC"};
    for (size_t i = 0; i < sizeof refused / sizeof refused[0]; i++)
        assert_false(text_unhex(bytes, 2, refused[i]));
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(valid_sequences_are_accepted),
        cmocka_unit_test(invalid_sequences_are_refused),
        cmocka_unit_test(all_texts_of_three_bytes_are_judged_as_the_rfc_says),
        cmocka_unit_test(the_length_of_a_character_is_told_and_none_for_what_is_none),
        cmocka_unit_test(hex_digits_are_lower_case_and_counted),
        cmocka_unit_test(hex_and_back_is_the_same),
        cmocka_unit_test(unhex_takes_either_case_and_refuses_what_is_no_digit_or_another_length),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
