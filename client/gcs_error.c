/* Errors as the user sees them: owned texts, and the policy's decision decoded. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <jansson.h>
#include <openssl/evp.h>

#include "client/gcs_internal.h"

/* How the reference wraps a decision in an error message (spec/policy.md 1.5). */
#define DECISION_BEGIN "policyDecision< "
#define DECISION_END   " >policyDecision"

/* Texts a decision may have; more are left out, since a message has a few kilobytes anyway. */
#define TEXTS_MAX 256

static char *
copy(const char *text, size_t length)
{
    return strndup(text, length);
}

static void
texts_free(char **texts, size_t count)
{
    for (size_t i = 0; i < count; i++)
        free(texts[i]);
    free(texts);
}

static void
denial_free(struct gcs_denial *denial)
{
    if (!denial)
        return;
    free(denial->decision);
    free(denial->rule);
    texts_free(denial->errors, denial->errors_count);
    texts_free(denial->truncated, denial->truncated_count);
    free(denial->json);
    free(denial);
}

static void
denial_freep(struct gcs_denial **denial)
{
    denial_free(*denial);
}

void
gcs_error_clear(struct gcs_error *err)
{
    free(err->message);
    denial_free(err->denial);
    *err = (struct gcs_error){0};
}

const char *
gcs_status_name(enum gcs_status status)
{
    return status_name((enum status)status);
}

/* -- the decision -- */

/* A text of its own for a string; false without memory. Anything but a string leaves `*ret` alone. */
static bool
take_text(char **ret, const json_t *value)
{
    if (!json_is_string(value))
        return true;
    *ret = copy(json_string_value(value), json_string_length(value));
    return *ret != NULL;
}

/* Appends the text, or each text of the array. */
static bool
take_texts(char ***ret, size_t *ret_count, const json_t *value)
{
    size_t count = json_is_array(value) ? json_array_size(value) : json_is_string(value);
    if (count > TEXTS_MAX)
        count = TEXTS_MAX;
    char **texts = realloc(*ret, (*ret_count + count + 1) * sizeof *texts);
    if (!texts)
        return false;
    *ret = texts;
    for (size_t i = 0; i < count; i++) {
        const json_t *item = json_is_array(value) ? json_array_get(value, i) : value;
        if (!json_is_string(item))
            continue;
        if (!take_text(&texts[*ret_count], item))
            return false;
        ++*ret_count;
    }
    return true;
}

static bool
denial_fill(struct gcs_denial *denial, const json_t *decision)
{
    const json_t *reason = json_object_get(decision, "reason");
    const json_t *errors = json_is_object(reason) ? json_object_get(reason, "errors") : reason;
    if (!take_text(&denial->decision, json_object_get(decision, "decision")) ||
        !take_text(&denial->rule, json_object_get(json_object_get(decision, "input"), "rule")) ||
        !take_texts(&denial->errors, &denial->errors_count, json_object_get(decision, "policyError")) ||
        !take_texts(&denial->errors, &denial->errors_count, errors) ||
        !take_texts(&denial->truncated, &denial->truncated_count, json_object_get(decision, "truncated")))
        return false;
    if (!denial->decision)
        denial->decision = strdup("");
    if (!denial->rule)
        denial->rule = strdup("");
    return denial->decision && denial->rule;
}

/* Standard base64 with padding; malloc()ed text with a NUL behind it, or NULL. */
static char *
base64_decode(const char *text, size_t length, size_t *ret_length)
{
    if (length == 0 || length % 4 != 0 || length > GCS_MESSAGE_MAX)
        return NULL;
    char *bytes = malloc(length / 4 * 3 + 1);
    if (!bytes)
        return NULL;
    int decoded = EVP_DecodeBlock((unsigned char *)bytes, (const unsigned char *)text, (int)length);
    if (decoded < 0) {
        free(bytes);
        return NULL;
    }
    /* It counts what the padding stands for. */
    *ret_length = (size_t)decoded - (text[length - 1] == '=') - (text[length - 2] == '=');
    bytes[*ret_length] = '\0';
    return bytes;
}

static struct gcs_denial *
denial_decode(const char *base64, size_t length)
{
    CLEANUP(denial_freep)
    struct gcs_denial *denial = calloc(1, sizeof *denial);
    size_t json_length = 0;
    if (!denial)
        return NULL;
    denial->json = base64_decode(base64, length, &json_length);
    if (!denial->json)
        return NULL;
    json_t *decision = json_loadb(denial->json, json_length, JSON_REJECT_DUPLICATES, NULL);
    bool filled = json_is_object(decision) && denial_fill(denial, decision);
    json_decref(decision);
    return filled ? TAKE_PTR(denial) : NULL;
}

/* The text without the decision that ends it: "create container: denied by policy: policyDecision< ... "
 * keeps what stands before, less the colon. */
static char *
text_before(const char *message, const char *decision)
{
    size_t length = (size_t)(decision - message);
    while (length > 0 && (message[length - 1] == ' ' || message[length - 1] == ':'))
        length--;
    return length ? copy(message, length) : strdup("denied by policy");
}

/* -- filling in -- */

enum gcs_status
gcs_error_fill(struct gcs_error *err, enum status status, uint32_t hresult, const char *message)
{
    if (!err)
        return (enum gcs_status)status;
    gcs_error_clear(err);
    err->status = (enum gcs_status)status;
    err->hresult = hresult;
    const char *begin = strstr(message, DECISION_BEGIN), *end = NULL, *last = begin;
    while (last && (last = strstr(last + 1, DECISION_END))) /* the last one, as the reference's host looks */
        end = last;
    if (begin && end) {
        const char *base64 = begin + strlen(DECISION_BEGIN);
        if (end > base64)
            err->denial = denial_decode(base64, (size_t)(end - base64));
    }
    err->message = err->denial ? text_before(message, begin) : strdup(message);
    if (!err->message) /* never NULL after a failure, as promised: there is nothing else left to do */
        abort();
    return (enum gcs_status)status;
}

enum gcs_status
gcs_error_take(struct gcs_error *err, const struct error *from)
{
    return gcs_error_fill(err, from->status, from->hresult, from->text);
}

/* A status a server may send that is none would otherwise be taken for success or for something new. */
enum gcs_status
gcs_error_of_response(struct gcs_error *err, const Gcs__V1__Response *response)
{
    bool known = response->status <= STATUS_UNAUTHENTICATED;
    return gcs_error_fill(err, known ? (enum status)response->status : STATUS_UNKNOWN, response->hresult,
                          response->message);
}
