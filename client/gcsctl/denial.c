#include "client/gcsctl/denial.h"

#include <string.h>

/* What the framework's reasons mean to somebody who has not written it. Compared as prefixes, since one of
 * them goes on with names. */
static const struct {
    const char *reason, *meaning;
} meanings[] = {
    {"invalid command", "no entry allows this command with these arguments"},
    {"invalid env list", "these environment variables match no rule"},
    {"missing required environment variable", "the policy asks for a variable that was not given"},
    {"invalid working directory", "no entry allows this directory"},
    {"invalid user", "no entry allows this user"},
    {"container already started", "an id is used once; take another"},
    {"container not started", "no container of this id was created, or it was shut down"},
    {"containers only distinguishable by allow_stdio_access", "two entries fit and disagree about output"},
    {"target isn't allowed to receive the signal", "the entry of this process does not list the signal"},
    {"scratch already mounted at path", "this scratch is in use"},
    {"unencrypted scratch not allowed", "scratch must be in encrypted memory"},
    {"no scratch at path to unmount", "this scratch is not in use"},
    {"framework_version", "the policy was written for another version"},
};

static const char *
meaning_of(const char *reason)
{
    for (size_t i = 0; i < sizeof(meanings) / sizeof(meanings[0]); i++)
        if (strncmp(reason, meanings[i].reason, strlen(meanings[i].reason)) == 0)
            return meanings[i].meaning;
    return NULL;
}

/* Text of a server, on a terminal: control characters could do anything there. */
static void
print_safely(FILE *file, const char *text)
{
    for (; *text != '\0'; text++) {
        unsigned char c = (unsigned char)*text;
        if ((c < 0x20 && c != '\t') || c == 0x7f)
            fprintf(file, "\\x%02x", c);
        else
            fputc(c, file);
    }
}

static void
print_denial(FILE *file, const struct gcs_denial *denial)
{
    if (denial->rule[0] != '\0') {
        fputs("  denied by the policy's rule ", file);
        print_safely(file, denial->rule);
    } else {
        fputs("  denied by the policy", file);
    }
    fputs(denial->errors_count > 0 ? ":\n" : ", which gives no reason\n", file);
    for (size_t i = 0; i < denial->errors_count; i++) {
        fputs("  - ", file);
        print_safely(file, denial->errors[i]);
        const char *meaning = meaning_of(denial->errors[i]);
        if (meaning != NULL)
            fprintf(file, ": %s", meaning);
        fputc('\n', file);
    }
    if (denial->truncated_count > 0)
        fputs("  (the guest left out parts of its answer to keep it short)\n", file);
}

void
denial_print(FILE *file, const char *step, const struct gcs_error *err)
{
    flockfile(file);
    fprintf(file, "gcsctl: %s failed: ", step);
    print_safely(file, err->message);
    fprintf(file, " (%s)\n", gcs_status_name(err->status));
    if (err->denial != NULL)
        print_denial(file, err->denial);
    funlockfile(file);
}

static json_t *
string_array(char *const *items, size_t count)
{
    json_t *array = json_array();
    for (size_t i = 0; i < count; i++)
        json_array_append_new(array, json_string(items[i]));
    return array;
}

json_t *
denial_json(const char *step, const struct gcs_error *err)
{
    char hresult[sizeof("0x00000000")];
    snprintf(hresult, sizeof(hresult), "0x%08x", err->hresult);
    json_t *object = json_pack("{s:s, s:s, s:s, s:s}", "failed", step, "status", gcs_status_name(err->status),
                               "hresult", hresult, "message", err->message);
    const struct gcs_denial *denial = err->denial;
    if (denial != NULL)
        json_object_set_new(object, "denial",
                            json_pack("{s:s, s:o, s:o}", "rule", denial->rule, "errors",
                                      string_array(denial->errors, denial->errors_count), "truncated",
                                      string_array(denial->truncated, denial->truncated_count)));
    return object;
}
