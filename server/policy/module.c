#include "server/policy/module.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include "server/policy/lex.h"

void
module_free(struct module *module)
{
    if (!module)
        return;
    arena_done(&module->arena);
    free(module);
}

void
module_freep(struct module **module)
{
    module_free(*module);
}

const struct value *
module_rule(const struct module *module, const char *name)
{
    struct view wanted = view_of(name);
    size_t low = 0, high = module->rules_count;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        int order = view_compare(module->rules[middle].name, wanted);
        if (order == 0)
            return &module->rules[middle].value;
        if (order < 0)
            low = middle + 1;
        else
            high = middle;
    }
    return NULL;
}

enum status
module_check_spellings(const struct module *module, const char *name, const char *former, struct error *err)
{
    const struct value *a = module_rule(module, name), *b = module_rule(module, former);
    if (a && b && !value_equal(a, b))
        return module_refuse(module, b->offset, err, "expected '%s' to equal '%s'", former, name);
    return STATUS_OK;
}

enum status
module_too_large(struct error *err)
{
    return error_set(err, STATUS_RESOURCE_EXHAUSTED, 0, "the policy is too large to compile");
}

enum status
module_refuse(const struct module *module, size_t offset, struct error *err, const char *format, ...)
{
    char text[512];
    struct lexer lexer = {.file = module->file, .source = module->source, .size = module->size};
    va_list args;

    va_start(args, format);
    vsnprintf(text, sizeof(text), format, args);
    va_end(args);
    return lexer_refuse(&lexer, offset, err, "%s", text);
}
