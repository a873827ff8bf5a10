#include "server/policy/lex.h"

#include <stdarg.h>
#include <stdio.h>

#include "server/base/text.h"

void
source_position(const char *source, size_t offset, size_t *line, size_t *column)
{
    size_t start = 0;
    *line = 1;
    for (size_t i = 0; i < offset; i++) {
        if (source[i] == '\n') {
            (*line)++;
            start = i + 1;
        }
    }
    *column = offset - start + 1;
}

enum status
lexer_refuse(const struct lexer *lexer, size_t offset, struct error *err, const char *format, ...)
{
    char text[512];
    size_t line, column;
    va_list args;

    va_start(args, format);
    vsnprintf(text, sizeof(text), format, args);
    va_end(args);
    source_position(lexer->source, offset, &line, &column);
    return error_set(err, STATUS_INVALID_ARGUMENT, 0, "%s:%zu:%zu: %s", lexer->file, line, column, text);
}

const char *
token_kind_text(enum token_kind kind)
{
    static const char *const texts[] = {
        [TOKEN_END] = "the end of the text",
        [TOKEN_NAME] = "a name",
        [TOKEN_STRING] = "a string",
        [TOKEN_NUMBER] = "a number",
        [TOKEN_ASSIGN] = "':='",
        [TOKEN_EQUAL] = "'='",
        [TOKEN_COMMA] = "','",
        [TOKEN_COLON] = "':'",
        [TOKEN_DOT] = "'.'",
        [TOKEN_OPEN_BRACKET] = "'['",
        [TOKEN_CLOSE_BRACKET] = "']'",
        [TOKEN_OPEN_BRACE] = "'{'",
        [TOKEN_CLOSE_BRACE] = "'}'",
        [TOKEN_OPEN_PAREN] = "'('",
        [TOKEN_CLOSE_PAREN] = "')'",
    };
    return texts[kind];
}

enum status
lexer_init(struct lexer *lexer, const char *file, const char *source, size_t size, struct arena *arena,
           struct error *err)
{
    static const char bom[] = "\xef\xbb\xbf";

    *lexer = (struct lexer){.file = file, .source = source, .size = size, .arena = arena};
    if (!text_is_utf8(source, size)) {
        size_t bad = 0; /* the longest valid beginning, by characters */
        for (size_t length = 1; bad + length <= size;) {
            if (text_is_utf8(source + bad, length)) {
                bad += length;
                length = 1;
            } else if (++length > 4) {
                break;
            }
        }
        return lexer_refuse(lexer, bad, err, "expected UTF-8");
    }
    const char *nul = size ? memchr(source, '\0', size) : NULL;
    if (nul)
        return lexer_refuse(lexer, (size_t)(nul - source), err, "expected no NUL byte");
    if (size >= 3 && memcmp(source, bom, 3) == 0)
        lexer->at = 3;
    const char *second = memmem(source + lexer->at, size - lexer->at, bom, 3);
    if (second)
        return lexer_refuse(lexer, (size_t)(second - source), err,
                            "expected no byte order mark after the first byte");
    return lexer_next(lexer, err);
}

static bool
is_name_start(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_';
}

static bool
is_digit(char c)
{
    return c >= '0' && c <= '9';
}

static char
peek(const struct lexer *lexer)
{
    return lexer->at < lexer->size ? lexer->source[lexer->at] : '\0';
}

static bool
is_blank(char c)
{
    return c == ' ' || c == '\t' || c == '\n' || c == '\r';
}

static void
skip_blanks(struct lexer *lexer)
{
    while (lexer->at < lexer->size) {
        if (peek(lexer) == '#') {
            const char *end = memchr(lexer->source + lexer->at, '\n', lexer->size - lexer->at);
            lexer->at = end ? (size_t)(end - lexer->source) : lexer->size;
        } else if (is_blank(peek(lexer))) {
            lexer->at++;
        } else {
            return;
        }
    }
}

/* Digits: at least one. */
static bool
skip_digits(struct lexer *lexer)
{
    size_t start = lexer->at;
    while (is_digit(peek(lexer)))
        lexer->at++;
    return lexer->at > start;
}

static enum status
lex_number(struct lexer *lexer, struct error *err)
{
    size_t start = lexer->at, digits;

    if (peek(lexer) == '-') {
        lexer->at++;
        while (is_blank(peek(lexer)))
            lexer->at++;
    }
    digits = lexer->at;
    if (!skip_digits(lexer))
        return lexer_refuse(lexer, lexer->at, err, "expected a digit after '-'");
    if (lexer->source[digits] == '0' && lexer->at - digits > 1)
        return lexer_refuse(lexer, digits, err, "expected a number without leading zeros");
    if (peek(lexer) == '.') {
        lexer->at++;
        if (!skip_digits(lexer))
            return lexer_refuse(lexer, lexer->at, err, "expected a digit after '.'");
    }
    if (peek(lexer) == 'e' || peek(lexer) == 'E') {
        lexer->at++;
        if (peek(lexer) == '+' || peek(lexer) == '-')
            lexer->at++;
        if (!skip_digits(lexer))
            return lexer_refuse(lexer, lexer->at, err, "expected a digit in the exponent");
    }
    if (is_name_start(peek(lexer)))
        return lexer_refuse(lexer, lexer->at, err, "expected the number to end here");

    struct view view = {lexer->source + start, lexer->at - start};
    if (digits > start + 1) { /* blanks between sign and digits: spelled without them */
        char *text = arena_alloc(lexer->arena, lexer->at - digits + 1);
        if (!text)
            return error_set(err, STATUS_RESOURCE_EXHAUSTED, 0, "%s: too large to load", lexer->file);
        text[0] = '-';
        memcpy(text + 1, lexer->source + digits, lexer->at - digits);
        view = (struct view){text, lexer->at - digits + 1};
    }
    lexer->token.kind = TOKEN_NUMBER;
    lexer->token.view = view;
    return STATUS_OK;
}

static int
hex_digit(char c)
{
    if (is_digit(c))
        return c - '0';
    if (c >= 'a' && c <= 'f')
        return c - 'a' + 10;
    return c >= 'A' && c <= 'F' ? c - 'A' + 10 : -1;
}

/* The four digits at `at`; -1 when they are not there. */
static int
hex_quad(const struct lexer *lexer, size_t at)
{
    int code = 0;
    if (at + 4 > lexer->size)
        return -1;
    for (size_t i = 0; i < 4; i++) {
        int digit = hex_digit(lexer->source[at + i]);
        if (digit < 0)
            return -1;
        code = code * 16 + digit;
    }
    return code;
}

static size_t
utf8_put(char *out, uint32_t code)
{
    if (code < 0x80) {
        out[0] = (char)code;
        return 1;
    }
    if (code < 0x800) {
        out[0] = (char)(0xc0 | code >> 6);
        out[1] = (char)(0x80 | (code & 0x3f));
        return 2;
    }
    if (code < 0x10000) {
        out[0] = (char)(0xe0 | code >> 12);
        out[1] = (char)(0x80 | (code >> 6 & 0x3f));
        out[2] = (char)(0x80 | (code & 0x3f));
        return 3;
    }
    out[0] = (char)(0xf0 | code >> 18);
    out[1] = (char)(0x80 | (code >> 12 & 0x3f));
    out[2] = (char)(0x80 | (code >> 6 & 0x3f));
    out[3] = (char)(0x80 | (code & 0x3f));
    return 4;
}

/* The escape whose backslash is at `*at`, which moves behind it; writes up to 4 bytes. 0: no such escape. */
static size_t
escape_put(const struct lexer *lexer, size_t *at, char *out)
{
    static const char names[] = "\"\\/bfnrt", meanings[] = "\"\\/\b\f\n\r\t";
    char name = *at + 1 < lexer->size ? lexer->source[*at + 1] : '\0';

    if (name != 'u') {
        const char *found = name ? strchr(names, name) : NULL;
        *at += 2;
        if (found)
            *out = meanings[found - names];
        return found ? 1 : 0;
    }
    int code = hex_quad(lexer, *at + 2);
    if (code < 0)
        return 0;
    *at += 6;
    if (code >= 0xd800 && code <= 0xdfff) {
        int low = *at + 1 < lexer->size && lexer->source[*at] == '\\' && lexer->source[*at + 1] == 'u'
                      ? hex_quad(lexer, *at + 2)
                      : -1;
        if (code >= 0xdc00 || low < 0xdc00 || low > 0xdfff)
            return utf8_put(out, 0xfffd); /* a lone surrogate */
        *at += 6;
        return utf8_put(out, 0x10000 + ((uint32_t)(code - 0xd800) << 10) + (uint32_t)(low - 0xdc00));
    }
    return utf8_put(out, (uint32_t)code);
}

/* Resolves the escapes of the string from `start` to `end`, quotes excluded. Escapes only shrink. */
static enum status
unescape(struct lexer *lexer, size_t start, size_t end, struct error *err)
{
    char *text = arena_alloc(lexer->arena, end - start);
    size_t length = 0;

    if (!text)
        return error_set(err, STATUS_RESOURCE_EXHAUSTED, 0, "%s: too large to load", lexer->file);
    for (size_t at = start; at < end;) {
        char c = lexer->source[at];
        if ((unsigned char)c < 0x20)
            return lexer_refuse(lexer, at, err,
                                "expected no control character in a string that has a backslash");
        if (c != '\\') {
            text[length++] = c;
            at++;
            continue;
        }
        size_t escape = at;
        size_t put = escape_put(lexer, &at, text + length);
        if (put == 0)
            return lexer_refuse(lexer, escape, err,
                                "expected one of the escapes \\\" \\\\ \\/ \\b \\f \\n \\r \\t \\uXXXX");
        length += put;
    }
    lexer->token.view = (struct view){text, length};
    return STATUS_OK;
}

static enum status
lex_string(struct lexer *lexer, struct error *err)
{
    size_t start = lexer->at + 1, end = start;
    bool escaped = false;

    lexer->token.kind = TOKEN_STRING;
    for (; end < lexer->size && lexer->source[end] != '"'; end++) {
        unsigned char c = (unsigned char)lexer->source[end];
        if (c == '\n')
            return lexer_refuse(lexer, end, err, "expected '\"' before the end of the line");
        if (c < 0x20 && c != '\t')
            lexer->token.has_control = true;
        if (c == '\\') {
            escaped = true;
            end++;
            if (end < lexer->size && lexer->source[end] == '\n')
                return lexer_refuse(lexer, end, err, "expected '\"' before the end of the line");
        }
    }
    if (end >= lexer->size)
        return lexer_refuse(lexer, start - 1, err, "expected the string that begins here to end");
    lexer->at = end + 1;
    lexer->token.view = (struct view){lexer->source + start, end - start};
    return escaped ? unescape(lexer, start, end, err) : STATUS_OK;
}

static enum status
lex_raw_string(struct lexer *lexer, struct error *err)
{
    size_t start = lexer->at + 1;
    const char *end = memchr(lexer->source + start, '`', lexer->size - start);

    if (!end)
        return lexer_refuse(lexer, start - 1, err, "expected the raw string that begins here to end");
    lexer->token.kind = TOKEN_STRING;
    lexer->token.view = (struct view){lexer->source + start, (size_t)(end - lexer->source) - start};
    lexer->at = (size_t)(end - lexer->source) + 1;
    return STATUS_OK;
}

static enum status
lex_sign(struct lexer *lexer, struct error *err)
{
    static const char signs[] = "=,:.[]{}()";
    static const enum token_kind kinds[] = {
        TOKEN_EQUAL,         TOKEN_COMMA,      TOKEN_COLON,       TOKEN_DOT,        TOKEN_OPEN_BRACKET,
        TOKEN_CLOSE_BRACKET, TOKEN_OPEN_BRACE, TOKEN_CLOSE_BRACE, TOKEN_OPEN_PAREN, TOKEN_CLOSE_PAREN,
    };
    char c = peek(lexer);
    const char *found = strchr(signs, c);

    if (!found)
        return lexer_refuse(lexer, lexer->at, err, "expected a name, a value or one of := = , : [ ] { }");
    lexer->at++;
    lexer->token.kind = kinds[found - signs];
    if (c == ':' && peek(lexer) == '=') {
        lexer->at++;
        lexer->token.kind = TOKEN_ASSIGN;
    } else if (c == '=' && peek(lexer) == '=') {
        return lexer_refuse(lexer, lexer->at - 1, err, "expected ':=', not a comparison");
    }
    return STATUS_OK;
}

enum status
lexer_next(struct lexer *lexer, struct error *err)
{
    skip_blanks(lexer);
    lexer->token = (struct token){.kind = TOKEN_END, .offset = (uint32_t)lexer->at};
    if (lexer->at >= lexer->size) {
        lexer->token.end = lexer->token.offset;
        return STATUS_OK;
    }
    char c = peek(lexer);
    if (is_name_start(c)) {
        size_t start = lexer->at;
        while (is_name_start(peek(lexer)) || is_digit(peek(lexer)))
            lexer->at++;
        lexer->token.kind = TOKEN_NAME;
        lexer->token.view = (struct view){lexer->source + start, lexer->at - start};
    } else if (is_digit(c) || c == '-') {
        TRY(lex_number(lexer, err));
    } else if (c == '"') {
        TRY(lex_string(lexer, err));
    } else if (c == '`') {
        TRY(lex_raw_string(lexer, err));
    } else {
        TRY(lex_sign(lexer, err));
    }
    lexer->token.end = (uint32_t)lexer->at;
    return STATUS_OK;
}
