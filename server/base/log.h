/*
 * JSON lines on standard error: one object a line, one write(2) of at most PIPE_BUF bytes a line, so lines of
 * several threads and programs never mix; text beyond that is cut.
 *
 *     LOG_INFO("request", LOG_TEXT("method", name), LOG_NUMBER("duration_us", us));
 *
 * Library code never logs a failure it returns; the reply step logs each once, with the request id. No
 * environment, argument or policy text goes into a line. Any thread may log, and errno is kept;
 * log_set_level() is for start-up.
 */
#ifndef SERVER_BASE_LOG_H
#define SERVER_BASE_LOG_H

#include <stddef.h>
#include <stdint.h>

#include "server/base/status.h"

enum log_level { LOG_LEVEL_ERROR, LOG_LEVEL_WARNING, LOG_LEVEL_INFO, LOG_LEVEL_DEBUG };

struct log_field {
    const char *name;
    const char *text; /* NULL: the field is the number */
    int64_t number;
};

/* Lines above this level are dropped. INFO at start. */
void log_set_level(enum log_level level);

/* Sets `level` from "error", "warning", "info" or "debug"; INVALID_ARGUMENT otherwise. */
MUST_CHECK enum status log_level_parse(const char *name, enum log_level *level);

/* A short name that every line carries as "program". Static text; called once, before the first line. */
void log_set_program(const char *name);

/*
 * Gets each line that log_write() makes, up to the level of log_set_tap_level(), whether standard error gets
 * it or not.
 *
 * line    as it is written, its end included; borrowed
 * fields  what it was made of
 *
 * Runs on the thread that logs, with whatever locks it holds: must not block, and must not log.
 */
typedef void log_tap_fn(void *arg, enum log_level level, const struct log_field *fields, size_t count,
                        const char *line, size_t size);

/* One tap in a program. Set and taken away (NULL) while no other thread logs. */
void log_set_tap(log_tap_fn *tap, void *arg);

/* Lines above this level do not reach the tap; -1, as at first: none does. Any time, from any thread. */
void log_set_tap_level(int level);

void log_write(enum log_level level, const char *message, const struct log_field *fields, size_t count);

/* A function, so that `text` may be an array as well as a pointer that can be NULL. */
static inline struct log_field
log_text(const char *name, const char *text)
{
    return (struct log_field){.name = name, .text = text ? text : ""};
}

#define LOG_TEXT(name_, text_)     log_text((name_), (text_))
#define LOG_NUMBER(name_, number_) ((struct log_field){.name = (name_), .number = (number_)})

#define LOG_LINE(level, message, ...)                                                                        \
    log_write((level), (message), (struct log_field[]){{0}, ##__VA_ARGS__} + 1,                              \
              sizeof((struct log_field[]){{0}, ##__VA_ARGS__}) / sizeof(struct log_field) - 1)
#define LOG_ERROR(message, ...)   LOG_LINE(LOG_LEVEL_ERROR, message, ##__VA_ARGS__)
#define LOG_WARNING(message, ...) LOG_LINE(LOG_LEVEL_WARNING, message, ##__VA_ARGS__)
#define LOG_INFO(message, ...)    LOG_LINE(LOG_LEVEL_INFO, message, ##__VA_ARGS__)
#define LOG_DEBUG(message, ...)   LOG_LINE(LOG_LEVEL_DEBUG, message, ##__VA_ARGS__)

#endif
