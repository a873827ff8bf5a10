/*
 * The parser of the declarative profile: recursive descent over at most LIMIT_POLICY_DEPTH levels. Whatever
 * is outside the profile is refused whole, at its place; nothing is skipped and nothing is guessed.
 */
#include <stdio.h>
#include <stdlib.h>

#include "server/base/limits.h"
#include "server/policy/lex.h"
#include "server/policy/module.h"
#include "server/policy/policy.h"

/* Values and members of collections that are still open, moved to the arena when they close. */
struct stack {
    char *bytes;
    size_t size, room;
};

struct parser {
    struct module *module;
    enum module_kind kind;
    struct lexer lexer;
    struct stack open;
    struct rule *rules;
    size_t rules_count, rules_room;
    struct view *imports;
    size_t imports_count;
};

/* Where a value stands, which decides whether it may be a reference. */
enum place {
    PLACE_RULE,   /* the whole value of an enforcement point or of `reason` */
    PLACE_REASON, /* inside `reason` */
    PLACE_PLAIN,
};

static enum status
exhausted(const struct parser *parser, struct error *err)
{
    return error_set(err, STATUS_RESOURCE_EXHAUSTED, 0, "%s: too large to load", parser->module->file);
}

static enum status
expected(const struct parser *parser, struct error *err, const char *what)
{
    return lexer_refuse(&parser->lexer, parser->lexer.token.offset, err, "expected %s, found %s", what,
                        token_kind_text(parser->lexer.token.kind));
}

static enum status
advance(struct parser *parser, struct error *err)
{
    return lexer_next(&parser->lexer, err);
}

static bool
at(const struct parser *parser, enum token_kind kind)
{
    return parser->lexer.token.kind == kind;
}

static enum status
take(struct parser *parser, enum token_kind kind, const char *where, struct error *err)
{
    if (!at(parser, kind))
        return lexer_refuse(&parser->lexer, parser->lexer.token.offset, err, "expected %s %s, found %s",
                            token_kind_text(kind), where, token_kind_text(parser->lexer.token.kind));
    return advance(parser, err);
}

static bool
at_word(const struct parser *parser, const char *word)
{
    return at(parser, TOKEN_NAME) && view_equal(parser->lexer.token.view, view_of(word));
}

/* Strict refuses it, the reference does not: the first such place is kept. */
static void
note_strict(struct parser *parser, uint32_t offset, const char *text)
{
    if (parser->module->strict_text)
        return;
    parser->module->strict_text = text;
    parser->module->strict_offset = offset;
}

static enum status
push(struct parser *parser, const void *item, size_t size, struct error *err)
{
    struct stack *stack = &parser->open;
    if (stack->size + size > stack->room) {
        size_t room = stack->room ? stack->room * 2 : 4096;
        char *bytes = realloc(stack->bytes, room);
        if (!bytes)
            return exhausted(parser, err);
        stack->bytes = bytes;
        stack->room = room;
    }
    memcpy(stack->bytes + stack->size, item, size);
    stack->size += size;
    return STATUS_OK;
}

/* Moves what was pushed since `mark` to the arena. */
static enum status
pop(struct parser *parser, size_t mark, void **ret, struct error *err)
{
    size_t size = parser->open.size - mark;
    *ret = NULL;
    if (size == 0)
        return STATUS_OK;
    *ret = arena_alloc(&parser->module->arena, size);
    if (!*ret)
        return exhausted(parser, err);
    memcpy(*ret, parser->open.bytes + mark, size);
    parser->open.size = mark;
    return STATUS_OK;
}

static enum status parse_value(struct parser *parser, enum place place, struct view rule, unsigned depth,
                               struct value *ret, struct error *err);

static enum status
parse_array(struct parser *parser, enum place place, struct view rule, unsigned depth, struct value *ret,
            struct error *err)
{
    size_t mark = parser->open.size;
    void *items;

    TRY(advance(parser, err));
    while (!at(parser, TOKEN_CLOSE_BRACKET)) {
        struct value item;
        TRY(parse_value(parser, place, rule, depth + 1, &item, err));
        TRY(push(parser, &item, sizeof(item), err));
        if (at(parser, TOKEN_COMMA))
            TRY(advance(parser, err));
        else if (!at(parser, TOKEN_CLOSE_BRACKET))
            return expected(parser, err, "',' or ']'");
    }
    TRY(advance(parser, err));
    size_t count = (parser->open.size - mark) / sizeof(struct value);
    TRY(pop(parser, mark, &items, err));
    uint32_t offset = ret->offset;
    *ret = value_array(items, count);
    ret->offset = offset;
    return STATUS_OK;
}

static enum status
parse_object(struct parser *parser, enum place place, struct view rule, unsigned depth, struct value *ret,
             struct error *err)
{
    size_t mark = parser->open.size;
    void *members;

    TRY(advance(parser, err));
    while (!at(parser, TOKEN_CLOSE_BRACE)) {
        if (!at(parser, TOKEN_STRING))
            return expected(parser, err, "a string as the key, or '}'");
        struct token key = parser->lexer.token;
        struct member member = {
            .key = key.view.text, .key_length = (uint32_t)key.view.length, .key_offset = key.offset};
        if (key.has_control)
            note_strict(parser, key.offset, "expected no control character in a string");
        TRY(advance(parser, err));
        TRY(take(parser, TOKEN_COLON, "after the key", err));
        TRY(parse_value(parser, place, rule, depth + 1, &member.value, err));
        TRY(push(parser, &member, sizeof(member), err));
        if (at(parser, TOKEN_COMMA))
            TRY(advance(parser, err));
        else if (!at(parser, TOKEN_CLOSE_BRACE))
            return expected(parser, err, "',' or '}'");
    }
    TRY(advance(parser, err));
    size_t count = (parser->open.size - mark) / sizeof(struct member);
    TRY(pop(parser, mark, &members, err));
    uint32_t offset = ret->offset;
    *ret = value_object(members, count);
    ret->offset = offset;
    return STATUS_OK;
}

/* ".name", with no blank before or after the dot. */
static enum status
parse_dot_name(struct parser *parser, uint32_t end, struct view *name, uint32_t *name_end, struct error *err)
{
    if (!at(parser, TOKEN_DOT) || parser->lexer.token.offset != end)
        return expected(parser, err, "'.' without a blank before it");
    uint32_t dot_end = parser->lexer.token.end;
    TRY(advance(parser, err));
    if (!at(parser, TOKEN_NAME) || parser->lexer.token.offset != dot_end)
        return expected(parser, err, "a name right after '.'");
    *name = parser->lexer.token.view;
    *name_end = parser->lexer.token.end;
    return advance(parser, err);
}

static bool
is_reason_target(struct view name)
{
    static const char *const targets[] = {"reason",
                                          "errors",
                                          "error_objects",
                                          "candidate_containers",
                                          "candidate_external_processes",
                                          "candidate_fragments"};
    for (size_t i = 0; i < sizeof(targets) / sizeof(targets[0]); i++)
        if (view_equal(name, view_of(targets[i])))
            return true;
    return false;
}

static bool
is_point_name(struct view name)
{
    for (int point = 0; point < POLICY_POINTS; point++)
        if (view_equal(name, view_of(policy_point_name((enum policy_point)point))))
            return true;
    return false;
}

/* data.framework.NAME */
static enum status
parse_reference(struct parser *parser, enum place place, struct view rule, struct value *ret,
                struct error *err)
{
    uint32_t start = parser->lexer.token.offset, end = parser->lexer.token.end;
    struct view name;

    TRY(advance(parser, err));
    TRY(parse_dot_name(parser, end, &name, &end, err));
    if (!view_equal(name, view_of("framework")))
        return lexer_refuse(&parser->lexer, start, err, "expected data.framework.NAME");
    TRY(parse_dot_name(parser, end, &name, &end, err));
    if (at(parser, TOKEN_DOT) || at(parser, TOKEN_OPEN_PAREN) ||
        (at(parser, TOKEN_OPEN_BRACKET) && parser->lexer.token.offset == end))
        return expected(parser, err, "the end of the reference");

    bool is_reason = view_equal(rule, view_of("reason"));
    if (place == PLACE_PLAIN || (!is_reason && !is_point_name(rule)))
        return lexer_refuse(&parser->lexer, start, err,
                            "expected a literal: data.framework.NAME stands only for a whole enforcement "
                            "point and in 'reason'");
    if (is_reason && !is_reason_target(name))
        return lexer_refuse(&parser->lexer, start, err,
                            "expected data.framework.reason, .errors, .error_objects or .candidate_*");
    if (!is_reason && !view_equal(name, rule))
        return lexer_refuse(&parser->lexer, start, err, "expected data.framework.%.*s", (int)rule.length,
                            rule.text);
    *ret = value_string(name.text, name.length);
    ret->kind = VALUE_REFERENCE;
    ret->offset = start;
    return STATUS_OK;
}

/* parameter("name").field... */
static enum status
parse_parameter(struct parser *parser, struct value *ret, struct error *err)
{
    uint32_t start = parser->lexer.token.offset, end;
    size_t mark = parser->open.size;
    void *items;

    TRY(advance(parser, err));
    TRY(take(parser, TOKEN_OPEN_PAREN, "after 'parameter'", err));
    if (!at(parser, TOKEN_STRING))
        return expected(parser, err, "the parameter's name as a string");
    struct value name = value_string(parser->lexer.token.view.text, parser->lexer.token.view.length);
    TRY(push(parser, &name, sizeof(name), err));
    TRY(advance(parser, err));
    end = parser->lexer.token.end;
    TRY(take(parser, TOKEN_CLOSE_PAREN, "after the parameter's name", err));
    while (at(parser, TOKEN_DOT)) {
        struct view field;
        TRY(parse_dot_name(parser, end, &field, &end, err));
        name = value_string(field.text, field.length);
        TRY(push(parser, &name, sizeof(name), err));
    }
    size_t count = (parser->open.size - mark) / sizeof(struct value);
    TRY(pop(parser, mark, &items, err));
    *ret = value_array(items, count);
    ret->kind = VALUE_PARAMETER;
    ret->offset = start;
    return STATUS_OK;
}

static enum status
parse_word(struct parser *parser, enum place place, struct view rule, struct value *ret, struct error *err)
{
    static const struct {
        const char *word;
        enum value_kind kind;
    } literals[] = {{"null", VALUE_NULL}, {"true", VALUE_TRUE}, {"false", VALUE_FALSE}};

    for (size_t i = 0; i < sizeof(literals) / sizeof(literals[0]); i++) {
        if (at_word(parser, literals[i].word)) {
            ret->kind = literals[i].kind;
            return advance(parser, err);
        }
    }
    if (at_word(parser, "data"))
        return parse_reference(parser, place, rule, ret, err);
    if (parser->kind == MODULE_FRAGMENT && at_word(parser, "parameter"))
        return parse_parameter(parser, ret, err);
    return lexer_refuse(&parser->lexer, parser->lexer.token.offset, err,
                        "expected a literal value, found '%.*s'",
                        (int)(parser->lexer.token.view.length > 64 ? 64 : parser->lexer.token.view.length),
                        parser->lexer.token.view.text);
}

static enum status
parse_scalar(struct parser *parser, struct value *ret, struct error *err)
{
    const struct token *token = &parser->lexer.token;
    uint32_t offset = token->offset;

    *ret = value_string(token->view.text, token->view.length);
    ret->offset = offset;
    if (token->kind == TOKEN_NUMBER) {
        ret->kind = VALUE_NUMBER;
        if (!value_is_integer(ret))
            note_strict(parser, offset, "expected an integer: the reference compares fractions wrongly");
    } else if (token->has_control) {
        note_strict(parser, offset, "expected no control character in a string");
    }
    return advance(parser, err);
}

static enum status
parse_value(struct parser *parser, enum place place, struct view rule, unsigned depth, struct value *ret,
            struct error *err)
{
    *ret = (struct value){.offset = parser->lexer.token.offset};
    if (depth > LIMIT_POLICY_DEPTH)
        return lexer_refuse(&parser->lexer, parser->lexer.token.offset, err,
                            "expected at most %d levels of nesting", LIMIT_POLICY_DEPTH);
    enum place inner =
        place == PLACE_PLAIN || !view_equal(rule, view_of("reason")) ? PLACE_PLAIN : PLACE_REASON;
    switch (parser->lexer.token.kind) {
    case TOKEN_STRING:
    case TOKEN_NUMBER:
        return parse_scalar(parser, ret, err);
    case TOKEN_NAME:
        return parse_word(parser, place, rule, ret, err);
    case TOKEN_OPEN_BRACKET:
        return parse_array(parser, inner, rule, depth, ret, err);
    case TOKEN_OPEN_BRACE:
        return parse_object(parser, inner, rule, depth, ret, err);
    default:
        return expected(parser, err, "a value");
    }
}

static bool
is_reserved(struct view name)
{
    static const char *const words[] = {"not",  "package", "import", "as",    "default",  "else",
                                        "with", "null",    "true",   "false", "some",     "if",
                                        "in",   "every",   "input",  "data",  "contains", "parameter"};
    for (size_t i = 0; i < sizeof(words) / sizeof(words[0]); i++)
        if (view_equal(name, view_of(words[i])))
            return true;
    return false;
}

static enum status
rule_add(struct parser *parser, const struct rule *rule, struct error *err)
{
    if (parser->rules_count == parser->rules_room) {
        size_t room = parser->rules_room ? parser->rules_room * 2 : 64;
        struct rule *rules = realloc(parser->rules, room * sizeof(*rules));
        if (!rules)
            return exhausted(parser, err);
        parser->rules = rules;
        parser->rules_room = room;
    }
    parser->rules[parser->rules_count++] = *rule;
    return STATUS_OK;
}

static bool
holds_reference(const struct value *value)
{
    if (value->kind == VALUE_REFERENCE || value->kind == VALUE_PARAMETER)
        return true;
    for (size_t i = 0; i < value_length(value); i++)
        if (holds_reference(value_at(value, i)))
            return true;
    return false;
}

static enum status
parse_rule(struct parser *parser, struct error *err)
{
    struct rule rule = {.is_default = at_word(parser, "default")};

    if (rule.is_default)
        TRY(advance(parser, err));
    if (!at(parser, TOKEN_NAME))
        return expected(parser, err, "a rule's name");
    rule.name = parser->lexer.token.view;
    rule.offset = parser->lexer.token.offset;
    if (is_reserved(rule.name))
        return lexer_refuse(&parser->lexer, rule.offset, err, "expected a rule's name, found the word '%.*s'",
                            (int)rule.name.length, rule.name.text);
    if (view_equal(rule.name, view_of("_")))
        note_strict(parser, rule.offset, "expected a rule's name, found '_'");
    TRY(advance(parser, err));
    if (!at(parser, TOKEN_ASSIGN) && !at(parser, TOKEN_EQUAL))
        return expected(parser, err, "':=' after the rule's name");
    TRY(advance(parser, err));
    TRY(parse_value(parser, PLACE_RULE, rule.name, 0, &rule.value, err));
    if (rule.is_default && holds_reference(&rule.value))
        return lexer_refuse(&parser->lexer, rule.value.offset, err, "expected a literal as the default");
    return rule_add(parser, &rule, err);
}

static enum status
import_add(struct parser *parser, struct view import, uint32_t offset, struct error *err)
{
    for (size_t i = 0; i < parser->imports_count; i++)
        if (view_equal(parser->imports[i], import))
            return lexer_refuse(&parser->lexer, offset, err, "expected no second import of '%.*s'",
                                (int)import.length, import.text);
    /* There are seven different ones; parse_import() lets no other through. */
    parser->imports[parser->imports_count++] = import;
    return STATUS_OK;
}

enum { IMPORTS_MAX = 8 };

/* import future.keywords, future.keywords.KEYWORD or rego.v1 */
static enum status
parse_import(struct parser *parser, struct error *err)
{
    static const char *const known[] = {"future.keywords",
                                        "future.keywords.every",
                                        "future.keywords.in",
                                        "future.keywords.if",
                                        "future.keywords.contains",
                                        "future.keywords.not",
                                        "rego.v1"};
    TRY(advance(parser, err));
    if (!at(parser, TOKEN_NAME))
        return expected(parser, err, "what to import");
    uint32_t start = parser->lexer.token.offset, end = parser->lexer.token.end;
    TRY(advance(parser, err));
    while (at(parser, TOKEN_DOT)) {
        struct view name;
        TRY(parse_dot_name(parser, end, &name, &end, err));
    }
    struct view import = {parser->lexer.source + start, end - start};
    for (size_t i = 0; i < sizeof(known) / sizeof(known[0]); i++) {
        if (!view_equal(import, view_of(known[i])))
            continue;
        if (at_word(parser, "as"))
            return expected(parser, err, "no alias of an import");
        return import_add(parser, import, start, err);
    }
    return lexer_refuse(&parser->lexer, start, err,
                        "expected future.keywords, one of its keywords, or rego.v1");
}

static enum status
parse_package(struct parser *parser, struct error *err)
{
    if (!at_word(parser, "package"))
        return expected(parser, err, "'package'");
    TRY(advance(parser, err));
    if (!at(parser, TOKEN_NAME) || is_reserved(parser->lexer.token.view))
        return expected(parser, err, "the package's name");
    parser->module->package = parser->lexer.token.view;
    parser->module->package_offset = parser->lexer.token.offset;
    TRY(advance(parser, err));
    if (at(parser, TOKEN_DOT) || at(parser, TOKEN_OPEN_BRACKET))
        return expected(parser, err, "a package name of one word");
    return STATUS_OK;
}

/* By name; among equal names defaults last, then by place. */
static int
rule_compare(const void *a, const void *b)
{
    const struct rule *x = a, *y = b;
    int order = view_compare(x->name, y->name);
    if (order == 0)
        order = x->is_default - y->is_default;
    return order ? order : (x->offset > y->offset) - (x->offset < y->offset);
}

/* Leaves each name once: the rule, or the default where there is no rule (spec 2.3, 5 and 6). */
static enum status
resolve_names(struct parser *parser, struct error *err)
{
    size_t kept = 0;
    struct rule *rules = parser->rules;

    if (parser->rules_count > 1)
        qsort(rules, parser->rules_count, sizeof(*rules), rule_compare);
    for (size_t i = 0; i < parser->rules_count; i++) {
        bool same = i > 0 && view_equal(rules[i].name, rules[i - 1].name);
        if (!same) {
            rules[kept++] = rules[i];
            continue;
        }
        if (rules[i].is_default && rules[i - 1].is_default)
            return lexer_refuse(&parser->lexer, rules[i].offset, err, "expected no second default of '%.*s'",
                                (int)rules[i].name.length, rules[i].name.text);
        if (!rules[i].is_default && !value_equal(&rules[kept - 1].value, &rules[i].value))
            return lexer_refuse(&parser->lexer, rules[i].offset, err,
                                "expected no second value of '%.*s' that differs from the first",
                                (int)rules[i].name.length, rules[i].name.text);
    }
    parser->module->rules = arena_calloc(&parser->module->arena, kept ? kept : 1, sizeof(*rules));
    if (!parser->module->rules)
        return exhausted(parser, err);
    if (kept)
        memcpy(parser->module->rules, rules, kept * sizeof(*rules));
    parser->module->rules_count = kept;
    return STATUS_OK;
}

static enum status
parse_module(struct parser *parser, struct error *err)
{
    struct module *module = parser->module;
    struct view imports[IMPORTS_MAX];

    parser->imports = imports;
    TRY(lexer_init(&parser->lexer, module->file, module->source, module->size, &module->arena, err));
    TRY(parse_package(parser, err));
    while (!at(parser, TOKEN_END)) {
        if (at_word(parser, "import"))
            TRY(parse_import(parser, err));
        else
            TRY(parse_rule(parser, err));
    }
    return resolve_names(parser, err);
}

static void
parser_done(struct parser *parser)
{
    free(parser->open.bytes);
    free(parser->rules);
}

enum status
module_parse(const char *file, const char *text, size_t size, enum module_kind kind, struct module **ret,
             struct error *err)
{
    if (size > LIMIT_POLICY_BYTES)
        return error_set(err, STATUS_RESOURCE_EXHAUSTED, 0, "%s: %zu bytes, more than %d", file, size,
                         LIMIT_POLICY_BYTES);
    CLEANUP(module_freep)
    struct module *module = calloc(1, sizeof(*module));
    if (!module)
        return error_set(err, STATUS_RESOURCE_EXHAUSTED, 0, "%s: too large to load", file);
    /* Collections take at most 8 bytes a byte of text (a member: 32 bytes for `"":0,`), one copy beside. */
    arena_init(&module->arena, size * 12 + 65536);
    module->size = size;
    module->file = arena_strndup(&module->arena, file, strlen(file));
    module->source = arena_alloc(&module->arena, size + 1);
    if (!module->file || !module->source)
        return error_set(err, STATUS_RESOURCE_EXHAUSTED, 0, "%s: too large to load", file);
    if (size)
        memcpy(module->source, text, size);
    module->source[size] = '\0';

    CLEANUP(parser_done)
    struct parser parser = {.module = module, .kind = kind};
    TRY(parse_module(&parser, err));
    *ret = TAKE_PTR(module);
    return STATUS_OK;
}
