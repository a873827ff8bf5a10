#include "server/policy/semver.h"

static bool
is_digit(char c)
{
    return c >= '0' && c <= '9';
}

static bool
is_identifier_char(char c)
{
    return is_digit(c) || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '-';
}

/* One or more of the characters, dots only between them; the empty text is fine. */
static bool
identifiers_valid(struct view text)
{
    bool open = true; /* a dot, or the end, may not follow */
    for (size_t i = 0; i < text.length; i++) {
        if (text.text[i] == '.') {
            if (open)
                return false;
            open = true;
        } else if (is_identifier_char(text.text[i])) {
            open = false;
        } else {
            return false;
        }
    }
    return text.length == 0 || !open;
}

/* Cuts `text` at the first `sign`; what follows it goes to `rest`, empty when there is none. */
static void
cut(struct view *text, char sign, struct view *rest)
{
    const char *at = text->length ? memchr(text->text, sign, text->length) : NULL;
    *rest = (struct view){"", 0};
    if (!at)
        return;
    size_t before = (size_t)(at - text->text);
    *rest = (struct view){at + 1, text->length - before - 1};
    text->length = before;
}

static bool
number_parse(struct view text, int64_t *number)
{
    int64_t result = 0;
    if (text.length == 0)
        return false;
    for (size_t i = 0; i < text.length; i++) {
        if (!is_digit(text.text[i]) || __builtin_mul_overflow(result, 10, &result) ||
            __builtin_add_overflow(result, text.text[i] - '0', &result))
            return false;
    }
    *number = result;
    return true;
}

bool
semver_parse(struct view text, struct semver *version)
{
    struct view metadata, major = text, minor, patch;

    if (major.length && major.text[0] == 'v')
        major = (struct view){major.text + 1, major.length - 1};
    cut(&major, '+', &metadata);
    cut(&major, '-', &version->prerelease);
    cut(&major, '.', &minor);
    cut(&minor, '.', &patch);
    return identifiers_valid(metadata) && identifiers_valid(version->prerelease) &&
           number_parse(major, &version->major) && number_parse(minor, &version->minor) &&
           number_parse(patch, &version->patch);
}

static int
sign_of(int64_t a, int64_t b)
{
    return (a > b) - (a < b);
}

static bool
all_digits(struct view text)
{
    for (size_t i = 0; i < text.length; i++)
        if (!is_digit(text.text[i]))
            return false;
    return text.length > 0;
}

/* Numeric fields compare by value and come before the others. */
static int
field_compare(struct view a, struct view b)
{
    bool numeric_a = all_digits(a), numeric_b = all_digits(b);
    if (numeric_a != numeric_b)
        return numeric_a ? -1 : 1;
    if (!numeric_a)
        return view_compare(a, b);
    while (a.length > 1 && a.text[0] == '0')
        a = (struct view){a.text + 1, a.length - 1};
    while (b.length > 1 && b.text[0] == '0')
        b = (struct view){b.text + 1, b.length - 1};
    if (a.length != b.length)
        return a.length < b.length ? -1 : 1;
    return view_compare(a, b);
}

static int
prerelease_compare(struct view a, struct view b)
{
    if (a.length == 0 || b.length == 0) /* a release comes after its pre-releases */
        return (a.length == 0) - (b.length == 0);
    while (a.length && b.length) {
        struct view rest_a, rest_b;
        cut(&a, '.', &rest_a);
        cut(&b, '.', &rest_b);
        int order = field_compare(a, b);
        if (order != 0)
            return order;
        a = rest_a;
        b = rest_b;
    }
    return (a.length > 0) - (b.length > 0);
}

int
semver_compare(const struct semver *a, const struct semver *b)
{
    int order = sign_of(a->major, b->major);
    if (order == 0)
        order = sign_of(a->minor, b->minor);
    if (order == 0)
        order = sign_of(a->patch, b->patch);
    return order ? order : prerelease_compare(a->prerelease, b->prerelease);
}
