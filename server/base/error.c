#include "server/base/error.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

/* Cuts `text` so that it does not end inside a UTF-8 sequence; only called when vsnprintf() had to cut. */
static void
cut_at_character(char *text)
{
    size_t end = strlen(text);
    size_t start = end;
    while (start > 0 && ((unsigned char)text[start - 1] & 0xC0) == 0x80)
        start--;
    if (start == 0)
        return;
    unsigned char lead = (unsigned char)text[start - 1];
    size_t need = lead >= 0xF0 ? 3 : lead >= 0xE0 ? 2 : lead >= 0xC0 ? 1 : 0;
    if (end - start < need)
        text[start - 1] = '\0';
}

static void __attribute__((format(printf, 2, 0)))
write_text(struct error *err, const char *format, va_list args, int os_error)
{
    int length = vsnprintf(err->text, sizeof err->text, format, args);
    if (length < 0)
        err->text[0] = '\0';
    else if ((size_t)length >= sizeof err->text)
        cut_at_character(err->text);
    if (os_error == 0)
        return;
    char buffer[128];
    size_t used = strlen(err->text);
    snprintf(err->text + used, sizeof err->text - used, ": %s", strerror_r(os_error, buffer, sizeof buffer));
}

enum status
error_set(struct error *err, enum status status, int os_error, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    err->status = status;
    err->hresult = 0;
    write_text(err, format, args, os_error);
    va_end(args);
    return status;
}

enum status
error_set_hresult(struct error *err, enum status status, uint32_t hresult, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    err->status = status;
    err->hresult = hresult;
    write_text(err, format, args, 0);
    va_end(args);
    return status;
}

void
error_prefix(struct error *err, const char *format, ...)
{
    char old[ERROR_TEXT_MAX];
    memcpy(old, err->text, sizeof old);
    va_list args;
    va_start(args, format);
    write_text(err, format, args, 0);
    va_end(args);
    size_t used = strlen(err->text);
    int length = snprintf(err->text + used, sizeof err->text - used, "%s", old);
    if (length >= 0 && (size_t)length >= sizeof err->text - used)
        cut_at_character(err->text);
}

enum status
status_of_errno(int os_error)
{
    switch (os_error) {
    case ENOENT:
    case ESRCH:
        return STATUS_NOT_FOUND;
    case EEXIST:
        return STATUS_ALREADY_EXISTS;
    case EINVAL:
    case ENAMETOOLONG:
        return STATUS_INVALID_ARGUMENT;
    case EPERM:
    case EACCES:
    case EROFS:
        return STATUS_FAILED_PRECONDITION;
    case ENOTDIR:
    case EISDIR:
    case ELOOP:
    case EXDEV:
    case EBUSY:
    case ENOTEMPTY:
        return STATUS_FAILED_PRECONDITION;
    case ENOSPC:
    case EDQUOT:
    case EMFILE:
    case ENFILE:
    case ENOMEM:
    case EMLINK:
        return STATUS_RESOURCE_EXHAUSTED;
    case ETIMEDOUT:
        return STATUS_DEADLINE_EXCEEDED;
    case ECONNREFUSED:
    case ECONNRESET:
    case EPIPE:
        return STATUS_UNAVAILABLE;
    case ENOSYS:
        return STATUS_UNIMPLEMENTED;
    default:
        return STATUS_INTERNAL;
    }
}
