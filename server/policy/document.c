#include "server/policy/document.h"

#include <stdlib.h>

int
view_compare(struct view a, struct view b)
{
    size_t shorter = a.length < b.length ? a.length : b.length;
    int order = shorter ? memcmp(a.text, b.text, shorter) : 0;
    if (order != 0)
        return order;
    return (a.length > b.length) - (a.length < b.length);
}

bool
value_is_text(const struct value *value, struct view text)
{
    return value_is(value, VALUE_STRING) && view_equal(value_view(value), text);
}

static struct view
member_key(const struct member *member)
{
    return (struct view){member->key, member->key_length};
}

const struct value *
value_member(const struct value *value, const char *key)
{
    if (!value_is(value, VALUE_OBJECT))
        return NULL;
    struct view wanted = view_of(key);
    size_t low = 0, high = value->count;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        int order = view_compare(member_key(&value->members[middle]), wanted);
        if (order == 0)
            return &value->members[middle].value;
        if (order < 0)
            low = middle + 1;
        else
            high = middle;
    }
    return NULL;
}

bool
value_is_iterable(const struct value *value)
{
    return value_is(value, VALUE_ARRAY) || value_is(value, VALUE_OBJECT);
}

size_t
value_length(const struct value *value)
{
    return value_is_iterable(value) ? value->count : 0;
}

const struct value *
value_at(const struct value *value, size_t index)
{
    return value->kind == VALUE_ARRAY ? &value->items[index] : &value->members[index].value;
}

bool
value_is_integer(const struct value *value)
{
    if (!value_is(value, VALUE_NUMBER))
        return false;
    for (size_t i = 0; i < value->count; i++)
        if (strchr(".eE", value->text[i]))
            return false;
    return true;
}

/* Integers of any size by their digits, all else as doubles. */
static bool
number_equal(const struct value *a, const struct value *b)
{
    struct view x = value_view(a), y = value_view(b);
    if (view_equal(x, y))
        return true;
    if (value_is_integer(a) && value_is_integer(b)) /* no leading zeros: only -0 has a second spelling */
        return (view_equal(x, view_of("-0")) && view_equal(y, view_of("0"))) ||
               (view_equal(x, view_of("0")) && view_equal(y, view_of("-0")));
    char left[64], right[64];
    if (x.length >= sizeof(left) || y.length >= sizeof(right))
        return false;
    memcpy(left, x.text, x.length);
    left[x.length] = '\0';
    memcpy(right, y.text, y.length);
    right[y.length] = '\0';
    return strtod(left, NULL) == strtod(right, NULL);
}

bool
value_equal(const struct value *a, const struct value *b)
{
    if (!a || !b || a->kind != b->kind)
        return false;
    switch ((enum value_kind)a->kind) {
    case VALUE_NULL:
    case VALUE_FALSE:
    case VALUE_TRUE:
        return true;
    case VALUE_NUMBER:
        return number_equal(a, b);
    case VALUE_STRING:
    case VALUE_REFERENCE:
        return view_equal(value_view(a), value_view(b));
    case VALUE_ARRAY:
    case VALUE_PARAMETER:
        if (a->count != b->count)
            return false;
        for (size_t i = 0; i < a->count; i++)
            if (!value_equal(&a->items[i], &b->items[i]))
                return false;
        return true;
    case VALUE_OBJECT:
        if (a->count != b->count)
            return false;
        for (size_t i = 0; i < a->count; i++)
            if (!view_equal(member_key(&a->members[i]), member_key(&b->members[i])) ||
                !value_equal(&a->members[i].value, &b->members[i].value))
                return false;
        return true;
    }
    return false;
}

bool
value_is_list(const struct value *value, const struct view *texts, size_t count)
{
    if (!value_is(value, VALUE_ARRAY) || value->count != count)
        return false;
    for (size_t i = 0; i < count; i++)
        if (!value_is_text(&value->items[i], texts[i]))
            return false;
    return true;
}

struct value
value_string(const char *text, size_t length)
{
    return (struct value){.kind = VALUE_STRING, .count = (uint32_t)length & 0xffffff, .text = text};
}

struct value
value_number(const char *literal)
{
    return (struct value){
        .kind = VALUE_NUMBER, .count = (uint32_t)strlen(literal) & 0xffffff, .text = literal};
}

struct value
value_kind_only(enum value_kind kind)
{
    return (struct value){.kind = kind};
}

struct value
value_array(const struct value *items, size_t count)
{
    return (struct value){.kind = VALUE_ARRAY, .count = (uint32_t)count & 0xffffff, .items = items};
}

struct member
member_of(const char *key, struct value value)
{
    return (struct member){.key = key, .key_length = (uint32_t)strlen(key), .value = value};
}

/* By key, then by place in the source, so that the last of equal keys comes last. */
static int
member_compare(const void *a, const void *b)
{
    const struct member *x = a, *y = b;
    int order = view_compare(member_key(x), member_key(y));
    if (order != 0)
        return order;
    return (x->key_offset > y->key_offset) - (x->key_offset < y->key_offset);
}

struct value
value_object(struct member *members, size_t count)
{
    size_t kept = 0;
    if (count > 1)
        qsort(members, count, sizeof(*members), member_compare);
    for (size_t i = 0; i < count; i++) {
        if (i + 1 < count && view_equal(member_key(&members[i]), member_key(&members[i + 1])))
            continue;
        members[kept++] = members[i];
    }
    return (struct value){.kind = VALUE_OBJECT, .count = (uint32_t)kept & 0xffffff, .members = members};
}
