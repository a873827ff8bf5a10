/*
 * The lexer of the declarative profile (spec/policy.md 2.2): bytes to tokens, one at a time.
 *
 * Threads: a lexer belongs to one thread.
 */
#ifndef SERVER_POLICY_LEX_H
#define SERVER_POLICY_LEX_H

#include "server/base/error.h"
#include "server/policy/document.h"

enum token_kind {
    TOKEN_END,
    TOKEN_NAME,   /* a name or a literal word; `view` */
    TOKEN_STRING, /* either kind of string, escapes resolved; `view` */
    TOKEN_NUMBER, /* `view` */
    TOKEN_ASSIGN, /* := */
    TOKEN_EQUAL,  /* = */
    TOKEN_COMMA,
    TOKEN_COLON,
    TOKEN_DOT,
    TOKEN_OPEN_BRACKET,
    TOKEN_CLOSE_BRACKET,
    TOKEN_OPEN_BRACE,
    TOKEN_CLOSE_BRACE,
    TOKEN_OPEN_PAREN,
    TOKEN_CLOSE_PAREN,
};

struct token {
    enum token_kind kind;
    uint32_t offset;
    uint32_t end;     /* offset of the first byte after it */
    struct view view; /* into the source or the arena */
    bool has_control; /* a string that holds a raw control character other than TAB and LF of a raw string */
};

struct lexer {
    const char *file; /* for error texts: "policy.rego" */
    const char *source;
    size_t size;
    size_t at;
    struct arena *arena; /* for strings with escapes */
    struct token token;  /* the current one */
};

/*
 * Starts at the first token of `source`, which the tokens point into.
 *
 * STATUS_INVALID_ARGUMENT: invalid UTF-8, NUL, a BOM that is not at the start, or no token.
 */
MUST_CHECK enum status lexer_init(struct lexer *lexer, const char *file, const char *source, size_t size,
                                  struct arena *arena, struct error *err);

/* Goes on to the next token; past the end it stays at TOKEN_END. */
MUST_CHECK enum status lexer_next(struct lexer *lexer, struct error *err);

/* Fills in `err` with "FILE:LINE:COLUMN: " and the formatted text; returns STATUS_INVALID_ARGUMENT. */
enum status lexer_refuse(const struct lexer *lexer, size_t offset, struct error *err, const char *format, ...)
    __attribute__((format(printf, 4, 5)));

/* Line and column of an offset, from 1, columns in bytes. */
void source_position(const char *source, size_t offset, size_t *line, size_t *column);

/* How a token reads in an error text: "','", "a name". Static text. */
const char *token_kind_text(enum token_kind kind);

#endif
