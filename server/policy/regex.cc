#include "server/policy/regex.h"

#include <re2/re2.h>
#include <re2/set.h>

#include <new>
#include <vector>

namespace
{

RE2::Options
options_of(size_t memory_max_bytes)
{
    RE2::Options options;
    options.set_log_errors(false);
    options.set_max_mem(static_cast<int64_t>(memory_max_bytes));
    return options;
}

} // namespace

struct regex {
    RE2 expression;

    regex(const re2::StringPiece &text, const RE2::Options &options) : expression(text, options)
    {
    }
};

struct regex_set {
    RE2::Set expressions;

    explicit regex_set(const RE2::Options &options) : expressions(options, RE2::ANCHOR_BOTH)
    {
    }
};

struct regex *
regex_new(const char *expression, size_t length, size_t memory_max_bytes)
{
    struct regex *made =
        new (std::nothrow) regex(re2::StringPiece(expression, length), options_of(memory_max_bytes));
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

struct regex_set *
regex_set_new(const struct regex_text *expressions, size_t count, size_t memory_max_bytes)
{
    struct regex_set *made = new (std::nothrow) regex_set(options_of(memory_max_bytes));
    bool fine = made != nullptr;

    for (size_t i = 0; i < count && fine; i++)
        fine =
            made->expressions.Add(re2::StringPiece(expressions[i].text, expressions[i].length), nullptr) >= 0;
    if (!fine || !made->expressions.Compile()) {
        delete made;
        return nullptr;
    }
    return made;
}

void
regex_set_free(struct regex_set *set)
{
    delete set;
}

bool
regex_set_match(const struct regex_set *set, const char *text, size_t length, regex_found_fn *found,
                void *arg)
{
    std::vector<int> places;
    RE2::Set::ErrorInfo info;

    /* "No match" and "could not tell" are both false; the kind of error says which. */
    info.kind = RE2::Set::kNoError;
    if (!set->expressions.Match(re2::StringPiece(text, length), &places, &info))
        return info.kind == RE2::Set::kNoError;
    for (int place : places)
        found(static_cast<size_t>(place), arg);
    return true;
}
