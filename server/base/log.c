#include "server/base/log.h"

#include <errno.h>
#include <inttypes.h>
#include <limits.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "server/base/clock.h"
#include "server/base/fd.h"
#include "server/base/text.h"

/* A write(2) of at most PIPE_BUF bytes to a pipe is never mixed with another. A longer line is cut inside its
 * last text and still closed properly. */
enum { LINE_MAX_BYTES = PIPE_BUF, LINE_TAIL_BYTES = 8 };

struct line {
    char bytes[LINE_MAX_BYTES];
    size_t used;
};

static atomic_int level_max = LOG_LEVEL_INFO;
static atomic_int tap_level_max = -1;
static log_tap_fn *tap;
static void *tap_arg;
static const char *program = "gcs";

static const char *const level_names[] = {
    [LOG_LEVEL_ERROR] = "error",
    [LOG_LEVEL_WARNING] = "warning",
    [LOG_LEVEL_INFO] = "info",
    [LOG_LEVEL_DEBUG] = "debug",
};

void
log_set_level(enum log_level level)
{
    atomic_store_explicit(&level_max, (int)level, memory_order_relaxed);
}

enum status
log_level_parse(const char *name, enum log_level *level)
{
    for (size_t i = 0; i < sizeof level_names / sizeof level_names[0]; i++) {
        if (strcmp(name, level_names[i]) == 0) {
            *level = (enum log_level)i;
            return STATUS_OK;
        }
    }
    return STATUS_INVALID_ARGUMENT;
}

void
log_set_tap(log_tap_fn *fn, void *arg)
{
    tap = fn;
    tap_arg = arg;
}

void
log_set_tap_level(int level)
{
    atomic_store_explicit(&tap_level_max, level, memory_order_relaxed);
}

void
log_set_program(const char *name)
{
    program = name;
}

static void
put(struct line *line, const char *bytes, size_t size)
{
    size_t room = sizeof line->bytes - LINE_TAIL_BYTES - line->used;
    if (size > room)
        size = room;
    memcpy(line->bytes + line->used, bytes, size);
    line->used += size;
}

/* A JSON string. UTF-8 stays as it is; a byte that is none is written as the character of its number, so a
 * line is valid JSON whatever comes in. */
static void
put_string(struct line *line, const char *text)
{
    put(line, "\"", 1);
    while (*text && line->used < sizeof line->bytes - 2 * LINE_TAIL_BYTES) {
        unsigned char byte = (unsigned char)*text;
        size_t length = text_utf8_length(text, strnlen(text, 4));
        char escaped[8];
        if (byte == '"' || byte == '\\')
            put(line, escaped, (size_t)snprintf(escaped, sizeof escaped, "\\%c", byte));
        else if (byte < 0x20 || byte == 0x7F || length == 0)
            put(line, escaped, (size_t)snprintf(escaped, sizeof escaped, "\\u%04x", byte));
        else
            put(line, text, length);
        text += length ? length : 1;
    }
    line->bytes[line->used++] = '"'; /* the tail is reserved for this and the line's end */
}

static void
put_name(struct line *line, const char *name)
{
    put(line, ",\"", 2);
    put(line, name, strlen(name));
    put(line, "\":", 2);
}

void
log_write(enum log_level level, const char *message, const struct log_field *fields, size_t count)
{
    bool written = (int)level <= atomic_load_explicit(&level_max, memory_order_relaxed);
    bool tapped = (int)level <= atomic_load_explicit(&tap_level_max, memory_order_relaxed);
    if (!written && !tapped)
        return;
    int saved = errno;
    struct line line;
    line.used = 0; /* and 4 KiB that need no zeroes */
    char text[CLOCK_WALL_TEXT_MAX];
    clock_wall_text(text);
    put(&line, "{\"time\":", 8);
    put_string(&line, text);
    put_name(&line, "level");
    put_string(&line, level_names[level]);
    put_name(&line, "program");
    put_string(&line, program);
    put_name(&line, "message");
    put_string(&line, message);
    for (size_t i = 0; i < count && line.used < sizeof line.bytes - 512; i++) {
        put_name(&line, fields[i].name);
        if (fields[i].text)
            put_string(&line, fields[i].text);
        else
            put(&line, text, (size_t)snprintf(text, sizeof text, "%" PRId64, fields[i].number));
    }
    line.bytes[line.used++] = '}';
    line.bytes[line.used++] = '\n';
    if (written)
        (void)fd_write_full(STDERR_FILENO, line.bytes, line.used); /* nobody is left to tell of a failure */
    if (tapped && tap)
        tap(tap_arg, level, fields, count, line.bytes, line.used);
    errno = saved;
}
