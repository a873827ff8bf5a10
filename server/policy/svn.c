#include "server/policy/svn.h"

#include <stdlib.h>

#include "server/policy/semver.h"

/* Sign, digits, fraction, exponent: what Go reads as a decimal number, and strtold() more of. */
static bool
is_decimal(struct view text)
{
    size_t at = 0, digits = 0;

    if (at < text.length && (text.text[at] == '+' || text.text[at] == '-'))
        at++;
    for (; at < text.length && text.text[at] >= '0' && text.text[at] <= '9'; at++)
        digits++;
    if (at < text.length && text.text[at] == '.')
        for (at++; at < text.length && text.text[at] >= '0' && text.text[at] <= '9'; at++)
            digits++;
    if (digits == 0)
        return false;
    if (at < text.length && (text.text[at] == 'e' || text.text[at] == 'E')) {
        at++;
        if (at < text.length && (text.text[at] == '+' || text.text[at] == '-'))
            at++;
        size_t start = at;
        while (at < text.length && text.text[at] >= '0' && text.text[at] <= '9')
            at++;
        if (at == start)
            return false;
    }
    return at == text.length;
}

bool
svn_number(const struct value *value, long double *number)
{
    char text[128];

    if (!value)
        return false;
    *number = value->kind == VALUE_TRUE ? 1 : 0;
    if (value->kind == VALUE_NULL || value->kind == VALUE_TRUE || value->kind == VALUE_FALSE)
        return true;
    if ((value->kind != VALUE_NUMBER && value->kind != VALUE_STRING) || value->count >= sizeof(text) ||
        !is_decimal(value_view(value)))
        return false;
    memcpy(text, value->text, value->count);
    text[value->count] = '\0';
    *number = strtold(text, NULL); /* 64 bits of mantissa: exact for every int64_t */
    return true;
}

bool
svn_is_semver(const struct value *value)
{
    struct semver version;
    return value_is(value, VALUE_STRING) && semver_parse(value_view(value), &version);
}

bool
svn_ok(const struct value *svn, const struct value *minimum)
{
    struct semver a, b;
    long double x, y;

    if (value_is(svn, VALUE_STRING) && value_is(minimum, VALUE_STRING) && semver_parse(value_view(svn), &a) &&
        semver_parse(value_view(minimum), &b) && semver_compare(&a, &b) >= 0)
        return true;
    return svn_number(svn, &x) && svn_number(minimum, &y) && x >= y;
}
