#include "server/policy/regex.h"

#include <re2/re2.h>

#include <new>

struct regex {
    RE2 expression;

    regex(const re2::StringPiece &text, const RE2::Options &options) : expression(text, options)
    {
    }
};

struct regex *
regex_new(const char *expression, size_t length, size_t memory_max_bytes)
{
    RE2::Options options;
    options.set_log_errors(false);
    options.set_max_mem(static_cast<int64_t>(memory_max_bytes));
    struct regex *made = new (std::nothrow) regex(re2::StringPiece(expression, length), options);
    if (made && !made->expression.ok()) {
        delete made;
        made = nullptr;
    }
    return made;
}

void
regex_free(struct regex *regex)
{
    delete regex;
}

bool
regex_search(const struct regex *regex, const char *text, size_t length)
{
    re2::StringPiece piece(text, length);
    return regex->expression.Match(piece, 0, length, RE2::UNANCHORED, nullptr, 0);
}

size_t
regex_operations(const struct regex *regex)
{
    int size = regex->expression.ProgramSize();
    return size > 0 ? static_cast<size_t>(size) : 0;
}
