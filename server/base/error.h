/*
 * The one error idiom of the project.
 *
 * A function that can fail returns `enum status` and is marked MUST_CHECK. The text is written once, where
 * the failure is known, into the caller's `struct error`; every caller above passes both up unchanged. A
 * caller acts only on the statuses that the header of what it called names.
 */
#ifndef SERVER_BASE_ERROR_H
#define SERVER_BASE_ERROR_H

#include <stdint.h>

#include "server/base/status.h"

/* Bytes of an error's text, NUL included: a policy denial (3,072 bytes, spec/policy.md 1.6) and its prefix
 * fit. */
#define ERROR_TEXT_MAX 4096

struct error {
    enum status status;        /* the status the failing function returned */
    uint32_t hresult;          /* the reference's code (spec/bridge.md section 7); 0: that of `status` */
    char text[ERROR_TEXT_MAX]; /* what failed, on what, and why; UTF-8 if its inputs were; never secret */
};

/*
 * Fills in `err`: the formatted text and, when `os_error` is not 0, ": " and the system's text for that
 * errno. Over-long text is cut at a character boundary. Returns `status`, so that a function can end in
 * `return error_set(...)`.
 */
enum status error_set(struct error *err, enum status status, int os_error, const char *format, ...)
    __attribute__((format(printf, 4, 5)));

/* As error_set(), with the HRESULT the reference would have sent. */
enum status error_set_hresult(struct error *err, enum status status, uint32_t hresult, const char *format,
                              ...) __attribute__((format(printf, 4, 5)));

/* Puts the formatted text before the text that is there already: "mount 3: " before "path is too long". */
void error_prefix(struct error *err, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* The status for an errno that the kernel gave for a path or a resource; INTERNAL when nothing closer
 * fits. */
enum status status_of_errno(int os_error);

/* Returns from the enclosing function when `call` is not STATUS_OK. The only macro that hides a return. */
#define TRY(call)                                                                                            \
    do {                                                                                                     \
        enum status try_status_ = (call);                                                                    \
        if (try_status_ != STATUS_OK)                                                                        \
            return try_status_;                                                                              \
    } while (0)

/* Runs fn(&variable) when the variable leaves its scope. Give the variable its empty value where it is
 * declared. */
#define CLEANUP(fn) __attribute__((cleanup(fn)))

/* Hands a pointer or a descriptor out and leaves the empty value behind. */
#define TAKE_PTR(variable)                                                                                   \
    __extension__({                                                                                          \
        __typeof__(variable) taken_ = (variable);                                                            \
        (variable) = NULL;                                                                                   \
        taken_;                                                                                              \
    })
#define TAKE_FD(variable)                                                                                    \
    __extension__({                                                                                          \
        int taken_ = (variable);                                                                             \
        (variable) = -1;                                                                                     \
        taken_;                                                                                              \
    })

#endif
