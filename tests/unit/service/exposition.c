#include "tests/unit/service/exposition.h"

#include <ctype.h>
#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { NAME_MAX_BYTES = 128, LABELS_MAX_BYTES = 512, SAMPLES_MAX = 20000, FAMILIES_MAX = 256 };

struct histogram {
    bool open; /* buckets have come, _count has not */
    char labels[LABELS_MAX_BYTES];
    double bound, count;
    bool has_infinity, has_sum;
};

struct reading {
    char *why;
    size_t why_size;
    unsigned line;
    char family[NAME_MAX_BYTES], type[16];
    bool has_help, has_type;
    char *families[FAMILIES_MAX], *samples[SAMPLES_MAX];
    size_t family_count, sample_count;
    struct histogram histogram;
};

__attribute__((format(printf, 2, 3))) static bool
wrong(struct reading *reading, const char *format, ...)
{
    va_list arguments;
    int used = snprintf(reading->why, reading->why_size, "line %u: ", reading->line);
    va_start(arguments, format);
    vsnprintf(reading->why + used, reading->why_size - (size_t)used, format, arguments);
    va_end(arguments);
    return false;
}

/* Takes a name at `*at`; false when there is none or it is too long. */
static bool
take_name(const char **at, const char *more, char *name)
{
    size_t length = 0;
    while (isalpha((unsigned char)(*at)[length]) || (length > 0 && isdigit((unsigned char)(*at)[length])) ||
           ((*at)[length] && strchr(more, (*at)[length])))
        length++;
    if (length == 0 || length >= NAME_MAX_BYTES)
        return false;
    memcpy(name, *at, length);
    name[length] = '\0';
    *at += length;
    return true;
}

static bool
take_number(const char **at, double *number)
{
    char *end;
    if (strncmp(*at, "+Inf", 4) == 0) {
        *number = INFINITY;
        *at += 4;
        return true;
    }
    if (!isdigit((unsigned char)**at) && **at != '-')
        return false;
    *number = strtod(*at, &end);
    bool taken = end != *at;
    *at = end;
    return taken;
}

/* A quoted label value; only three escapes exist. */
static bool
take_value(const char **at, char *value, size_t size)
{
    size_t used = 0;
    if (*(*at)++ != '"')
        return false;
    while (**at != '"') {
        if (!**at || **at == '\n' || used + 1 >= size)
            return false;
        if (**at == '\\' && !strchr("\\\"n", *++*at))
            return false;
        value[used++] = *(*at)++;
    }
    value[used] = '\0';
    ++*at;
    return true;
}

/* {name="value",...}: gives back the labels but `le`, and `le` by itself. */
static bool
take_labels(struct reading *reading, const char **at, char *labels, double *le)
{
    char name[NAME_MAX_BYTES], value[LABELS_MAX_BYTES];
    labels[0] = '\0';
    *le = NAN;
    if (**at != '{')
        return true;
    do {
        ++*at;
        if (!take_name(at, "_", name) || *(*at)++ != '=' || !take_value(at, value, sizeof value))
            return wrong(reading, "a label is malformed");
        if (strcmp(name, "le") == 0) {
            const char *number = value;
            if (!take_number(&number, le) || *number)
                return wrong(reading, "le=\"%s\" is no number", value);
            continue;
        }
        size_t used = strlen(labels);
        if (snprintf(labels + used, LABELS_MAX_BYTES - used, "%s=\"%s\",", name, value) >=
            (int)(LABELS_MAX_BYTES - used))
            return wrong(reading, "labels are too long for this reader");
    } while (**at == ',');
    if (*(*at)++ != '}')
        return wrong(reading, "labels do not end");
    return true;
}

static bool
remember(struct reading *reading, char **list, size_t *count, size_t max, const char *text)
{
    for (size_t i = 0; i < *count; i++)
        if (strcmp(list[i], text) == 0)
            return wrong(reading, "%s comes twice", text);
    if (*count == max)
        return wrong(reading, "too much for this reader");
    list[(*count)++] = strdup(text);
    return true;
}

static bool
family_end(struct reading *reading)
{
    if (reading->histogram.open)
        return wrong(reading, "histogram %s{%s} has no _count", reading->family, reading->histogram.labels);
    reading->histogram = (struct histogram){0};
    return true;
}

static bool
read_help(struct reading *reading, const char *at)
{
    char name[NAME_MAX_BYTES];
    if (!take_name(&at, "_:", name) || at[0] != ' ' || at[1] == '\n')
        return wrong(reading, "HELP is malformed");
    if (!family_end(reading) ||
        !remember(reading, reading->families, &reading->family_count, FAMILIES_MAX, name))
        return false;
    memcpy(reading->family, name, sizeof name);
    reading->has_help = true;
    reading->has_type = false;
    return true;
}

static bool
read_type(struct reading *reading, const char *at)
{
    char name[NAME_MAX_BYTES], type[NAME_MAX_BYTES];
    if (!take_name(&at, "_:", name) || *at++ != ' ' || !take_name(&at, "", type) || *at != '\n')
        return wrong(reading, "TYPE is malformed");
    if (!reading->has_help || reading->has_type || strcmp(name, reading->family) != 0)
        return wrong(reading, "TYPE of %s is not behind its HELP", name);
    if (strcmp(type, "counter") != 0 && strcmp(type, "gauge") != 0 && strcmp(type, "histogram") != 0)
        return wrong(reading, "there is no type %s", type);
    snprintf(reading->type, sizeof reading->type, "%.15s", type);
    reading->has_type = true;
    return true;
}

static bool
check_bucket(struct reading *reading, const char *labels, double le, double value)
{
    struct histogram *histogram = &reading->histogram;
    if (isnan(le))
        return wrong(reading, "a bucket without le");
    if (!histogram->open) {
        *histogram = (struct histogram){.open = true, .bound = -INFINITY};
        memcpy(histogram->labels, labels, sizeof histogram->labels);
    } else if (strcmp(labels, histogram->labels) != 0) {
        return wrong(reading, "buckets of {%s} among those of {%s}", labels, histogram->labels);
    }
    if (!(le > histogram->bound))
        return wrong(reading, "bounds do not rise");
    if (value < histogram->count)
        return wrong(reading, "a bucket holds less than a smaller one");
    histogram->bound = le;
    histogram->count = value;
    histogram->has_infinity = isinf(le);
    return true;
}

static bool
check_histogram(struct reading *reading, const char *suffix, const char *labels, double le, double value)
{
    struct histogram *histogram = &reading->histogram;
    if (strcmp(suffix, "_bucket") == 0)
        return check_bucket(reading, labels, le, value);
    if (!histogram->open || strcmp(labels, histogram->labels) != 0)
        return wrong(reading, "%s before its buckets", suffix);
    if (!histogram->has_infinity)
        return wrong(reading, "the last bucket is not +Inf");
    if (strcmp(suffix, "_sum") == 0) {
        histogram->has_sum = true;
        return true;
    }
    if (strcmp(suffix, "_count") != 0)
        return wrong(reading, "a histogram has no '%s'", suffix);
    if (value != histogram->count)
        return wrong(reading, "_count is not the last bucket");
    if (!histogram->has_sum)
        return wrong(reading, "no _sum");
    histogram->open = false;
    return true;
}

static bool
read_sample(struct reading *reading, const char *at)
{
    char name[NAME_MAX_BYTES], labels[LABELS_MAX_BYTES], whole[LABELS_MAX_BYTES + 2 * NAME_MAX_BYTES];
    double le, value;
    if (!take_name(&at, "_:", name))
        return wrong(reading, "neither a comment nor a sample");
    size_t length = strlen(reading->family);
    if (!reading->has_type || strncmp(name, reading->family, length) != 0)
        return wrong(reading, "%s is not behind its own TYPE", name);
    if (!take_labels(reading, &at, labels, &le))
        return false;
    if (*at++ != ' ' || !take_number(&at, &value) || *at != '\n')
        return wrong(reading, "the value of %s is malformed", name);
    snprintf(whole, sizeof whole, "%s{%s}%g", name, labels, le);
    if (!remember(reading, reading->samples, &reading->sample_count, SAMPLES_MAX, whole))
        return false;
    if (strcmp(reading->type, "histogram") == 0)
        return check_histogram(reading, name + length, labels, le, value);
    if (name[length] || !isnan(le))
        return wrong(reading, "%s belongs to another family", name);
    if (strcmp(reading->type, "counter") == 0 && value < 0)
        return wrong(reading, "the counter %s is negative", name);
    return true;
}

static bool
read_line(struct reading *reading, const char *at)
{
    static const char help[] = "# HELP ", type[] = "# TYPE ";
    if (strncmp(at, help, strlen(help)) == 0)
        return read_help(reading, at + strlen(help));
    if (strncmp(at, type, strlen(type)) == 0)
        return read_type(reading, at + strlen(type));
    return read_sample(reading, at);
}

bool
exposition_check(const char *text, char *why, size_t size)
{
    struct reading *reading = calloc(1, sizeof *reading);
    if (!reading)
        abort();
    reading->why = why;
    reading->why_size = size;
    bool good = true;
    while (good && *text) {
        const char *newline = strchr(text, '\n');
        reading->line++;
        good = newline ? read_line(reading, text) : wrong(reading, "no newline at the end");
        text = newline ? newline + 1 : text;
    }
    good = good && family_end(reading);
    for (size_t i = 0; i < reading->family_count; i++)
        free(reading->families[i]);
    for (size_t i = 0; i < reading->sample_count; i++)
        free(reading->samples[i]);
    free(reading);
    return good;
}
