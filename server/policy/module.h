/*
 * Modules: the parsed text of a policy or of a fragment, its rules by name (spec/policy.md 2.3).
 *
 * Threads: a finished module is read-only and may be shared; one thread frees it.
 */
#ifndef SERVER_POLICY_MODULE_H
#define SERVER_POLICY_MODULE_H

#include "server/base/error.h"
#include "server/policy/document.h"

enum module_kind {
    MODULE_POLICY,   /* package "policy"; no parameters */
    MODULE_FRAGMENT, /* any package; parameter("name") is a value */
};

struct rule {
    struct view name;
    uint32_t offset; /* of the name */
    bool is_default;
    struct value value;
};

struct module {
    struct arena arena;
    char *file;   /* "policy.rego": for error texts */
    char *source; /* our copy; values point into it */
    size_t size;
    struct view package;
    uint32_t package_offset;
    struct rule *rules; /* sorted by name, each name once; a default only where nothing else defines it */
    size_t rules_count;

    /* The first thing the reference loads and strict does not; NULL: none found by the parser. */
    const char *strict_text;
    uint32_t strict_offset;
};

/*
 * Parses `size` bytes.
 *
 * file  starts the error texts, "FILE:LINE:COLUMN: what was expected"; copied
 * ret   the module, freed with module_free(); untouched on failure
 *
 * A caller may act on STATUS_INVALID_ARGUMENT (outside the profile) and STATUS_RESOURCE_EXHAUSTED.
 */
MUST_CHECK enum status module_parse(const char *file, const char *text, size_t size, enum module_kind kind,
                                    struct module **ret, struct error *err);

void module_free(struct module *module); /* NULL is fine */
void module_freep(struct module **module);

/* The value of the rule of that name; NULL when there is none. */
const struct value *module_rule(const struct module *module, const char *name);

/* Two spellings of one thing may be there only with one value: the reference could not answer at all.
 * STATUS_INVALID_ARGUMENT: they differ. */
MUST_CHECK enum status module_check_spellings(const struct module *module, const char *name,
                                              const char *former, struct error *err);

/* RESOURCE_EXHAUSTED: what a module is compiled to has no room. */
enum status module_too_large(struct error *err);

/* "FILE:LINE:COLUMN: " and the formatted text; returns STATUS_INVALID_ARGUMENT. */
enum status module_refuse(const struct module *module, size_t offset, struct error *err, const char *format,
                          ...) __attribute__((format(printf, 4, 5)));

#endif
