/*
 * Sandbox paths: the sources of mounts that name a directory below the sandbox root.
 *
 * A source is written `sandbox:///a/b` or, the Windows way, `C:\SandboxMounts\a\b` with either slash; the
 * prefix may have any case (ASCII only). Both become one canonical text, `sandbox:///a/b`, which is what the
 * policy sees and what everything after the parser uses. Nothing is resolved away or decoded: a path either
 * is canonical but for its prefix and separators, or it is refused.
 *
 * Threads: no state; safe from any thread.
 */
#ifndef SERVER_MOUNTS_SANDBOX_PATH_H
#define SERVER_MOUNTS_SANDBOX_PATH_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "server/base/arena.h"
#include "server/base/error.h"
#include "server/base/limits.h"

struct sandbox_path {
    const char *text;                /* canonical, "sandbox:///a/b"; in the arena given to the parser */
    const char *relative;            /* "a/b", the end of `text`: the path below the root */
    unsigned depth;                  /* components, 1 to LIMIT_MOUNT_DEPTH */
    uint16_t end[LIMIT_MOUNT_DEPTH]; /* bytes of `relative` up to the end of component i */
};

/*
 * Whether `source` claims to be a sandbox source: it begins with `sandbox:` or with `C:`, a slash of either
 * kind and `SandboxMounts`, in any case, which ends there or goes on with a slash. True says nothing of
 * whether it is a good one: sandbox_path_parse() decides that. Every other source (a plain bind, a look-alike
 * such as `C:\SandboxMountsX\a`) is the caller's to refuse.
 */
bool sandbox_path_claimed(const char *source);

/*
 * Parses `length` bytes of mount source.
 *
 * arena  holds the canonical text; borrowed, must live as long as `ret` is used
 * ret    filled in on success, untouched on failure
 * err    names the source (control characters escaped, long ones cut) and what is wrong with it
 *
 * A caller may act on
 *   STATUS_INVALID_ARGUMENT    the source is refused: the wrong prefix (`sandbox://a`), nothing after it, a
 *                              slash at the end, a component that is empty, longer than
 *                              LIMIT_PATH_COMPONENT bytes or made of dots and spaces only (`.`, `..` and what
 *                              Windows takes for them), a control character or NUL, `:`, a backslash in the
 *                              sandbox:// form, invalid UTF-8, more than LIMIT_MOUNT_DEPTH components or
 *                              LIMIT_PATH_BYTES bytes
 *   STATUS_RESOURCE_EXHAUSTED  the arena is full
 */
MUST_CHECK enum status sandbox_path_parse(struct arena *arena, const char *source, size_t length,
                                          struct sandbox_path *ret, struct error *err);

#endif
