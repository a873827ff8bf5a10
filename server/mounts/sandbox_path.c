#include "server/mounts/sandbox_path.h"

#include <string.h>
#include <strings.h>

#include "server/base/text.h"

#define SCHEME         "sandbox:"
#define SCHEME_PREFIX  "sandbox:///"
#define WINDOWS_FOLDER "SandboxMounts"

/* Bytes of a refused source that an error shows; each may take four characters. */
#define SHOWN_BYTES 160

/* A limit as text, for messages. */
#define TEXT_OF(limit)  TEXT_OF_(limit)
#define TEXT_OF_(limit) #limit

/* A source as an error shows it: what could garble a terminal or a log is escaped, what is long is cut. */
struct shown {
    char text[4 * SHOWN_BYTES + sizeof "..."];
};

static const char *
show(struct shown *shown, const char *source, size_t length)
{
    static const char digits[] = "0123456789abcdef";
    bool cut = length > SHOWN_BYTES;
    bool utf8 = !cut && text_is_utf8(source, length);
    size_t count = cut ? SHOWN_BYTES : length;
    char *to = shown->text;
    for (size_t i = 0; i < count; i++) {
        unsigned char byte = (unsigned char)source[i];
        if (byte >= 0x20 && byte != 0x7F && (byte < 0x80 || utf8)) {
            *to++ = (char)byte;
        } else {
            *to++ = '\\';
            *to++ = 'x';
            *to++ = digits[byte >> 4];
            *to++ = digits[byte & 15];
        }
    }
    const char *end = cut ? "..." : "";
    memcpy(to, end, strlen(end) + 1);
    return shown->text;
}

static enum status
refuse(struct error *err, const char *source, size_t length, const char *why)
{
    struct shown shown;
    return error_set(err, STATUS_INVALID_ARGUMENT, 0, "mount source '%s': %s", show(&shown, source, length),
                     why);
}

static bool
is_slash(char byte)
{
    return byte == '/' || byte == '\\';
}

/* Bytes of `C:\SandboxMounts` at the start of `source`, 0 when it is not there as a whole component. */
static size_t
windows_prefix(const char *source, size_t length)
{
    const size_t folder = strlen(WINDOWS_FOLDER);
    const size_t size = 3 + folder;
    if (length < size || (source[0] != 'C' && source[0] != 'c') || source[1] != ':' || !is_slash(source[2]))
        return 0;
    if (strncasecmp(source + 3, WINDOWS_FOLDER, folder) != 0)
        return 0;
    return length == size || is_slash(source[size]) ? size : 0;
}

bool
sandbox_path_claimed(const char *source)
{
    return strncasecmp(source, SCHEME, strlen(SCHEME)) == 0 || windows_prefix(source, strlen(source)) > 0;
}

/*
 * What is wrong with one component, or NULL. Dots and spaces alone are refused whatever their number: Linux
 * gives only `.` and `..` a meaning, but Windows strips what trails, so that `.. ` would be `..` to those who
 * wrote the policy.
 */
static const char *
component_fault(const char *name, size_t length)
{
    if (length == 0)
        return "an empty component, or a slash at the end";
    if (length > LIMIT_PATH_COMPONENT)
        return "a component of more than " TEXT_OF(LIMIT_PATH_COMPONENT) " bytes";
    bool only_dots = true;
    for (size_t i = 0; i < length; i++) {
        unsigned char byte = (unsigned char)name[i];
        if (byte < 0x20 || byte == 0x7F)
            return "a control character";
        if (byte == 0xC2 && i + 1 < length && (unsigned char)name[i + 1] < 0xA0)
            return "a control character"; /* U+0080 to U+009F */
        if (byte == ':' || byte == '\\')
            return byte == ':' ? "a colon" : "a backslash";
        only_dots = only_dots && (byte == '.' || byte == ' ');
    }
    return only_dots ? "a component of dots and spaces only, such as '.' or '..'" : NULL;
}

/* Where the components begin; the separators they have go to `*windows`. */
static enum status
prefix_parse(const char *source, size_t length, size_t *start, bool *windows, struct error *err)
{
    const size_t scheme = strlen(SCHEME_PREFIX);
    size_t folder = windows_prefix(source, length);
    if (folder == 0 && (length < scheme || strncasecmp(source, SCHEME_PREFIX, scheme) != 0))
        return refuse(err, source, length,
                      "it begins neither with 'sandbox:///' nor with 'C:\\SandboxMounts\\'");
    *windows = folder > 0;
    *start = folder > 0 ? folder + 1 : scheme;
    if (length <= *start)
        return refuse(err, source, length, "it names the sandbox root itself");
    return STATUS_OK;
}

enum status
sandbox_path_parse(struct arena *arena, const char *source, size_t length, struct sandbox_path *ret,
                   struct error *err)
{
    size_t start = 0;
    bool windows = false;
    TRY(prefix_parse(source, length, &start, &windows, err));
    const size_t prefix = strlen(SCHEME_PREFIX);
    const size_t size = length - start;
    if (size > LIMIT_PATH_BYTES - prefix)
        return refuse(err, source, length, "it has more than " TEXT_OF(LIMIT_PATH_BYTES) " bytes");
    if (!text_is_utf8(source, length))
        return refuse(err, source, length, "it is not UTF-8");

    struct sandbox_path path = {0};
    for (size_t from = 0, at = 0; at <= size; at++) {
        if (at < size && source[start + at] != '/' && !(windows && source[start + at] == '\\'))
            continue;
        const char *fault = component_fault(source + start + from, at - from);
        if (fault)
            return refuse(err, source, length, fault);
        if (path.depth == LIMIT_MOUNT_DEPTH)
            return refuse(err, source, length, "it has more than " TEXT_OF(LIMIT_MOUNT_DEPTH) " components");
        path.end[path.depth++] = (uint16_t)at;
        from = at + 1;
    }

    char *text = arena_alloc(arena, prefix + size + 1);
    if (!text)
        return error_set(err, STATUS_RESOURCE_EXHAUSTED, 0, "no room for a mount source of %zu bytes", size);
    memcpy(text, SCHEME_PREFIX, prefix);
    memcpy(text + prefix, source + start, size);
    text[prefix + size] = '\0';
    for (unsigned i = 0; i + 1 < path.depth; i++)
        text[prefix + path.end[i]] = '/';
    path.text = text;
    path.relative = text + prefix;
    *ret = path;
    return STATUS_OK;
}
