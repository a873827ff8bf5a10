/*
 * The text of a policy that allows exactly the containers it was generated for, in the form that the
 * reference's authors write.
 *
 * Nothing in it is wider than what was asked for: commands and directories are literal, sources of mounts are
 * quoted patterns that match themselves alone, every environment variable is required with its value, nothing
 * may be dropped. Two spellings deserve a word:
 *   - A command is written as its list of arguments. The reference's host sends a command line instead, one
 *     joined text, and its policies therefore hold one-element lists; such an entry would also allow a
 * program whose name is the whole line. A command of one word is the same in both forms.
 *   - An exec of one word that holds a blank, a tab or a quote is refused: read as a command line, its entry
 *     would also allow other argument vectors.
 */
#ifndef CLIENT_GCS_POLICY_GENERATE_H
#define CLIENT_GCS_POLICY_GENERATE_H

#include <stdbool.h>
#include <stddef.h>

#include "client/spec/container.h"
#include "server/base/error.h"

struct generate_exec {
    struct cri_strings argv;    /* at least one element */
    struct cri_strings signals; /* it may be sent: "CtrlC" and so on */
};

struct generate_execs {
    const struct generate_exec *items;
    size_t count;
};

struct generate_container {
    struct cri_container config;
    struct cri_strings layers;  /* SHA-256 in lower-case hexadecimal, base first; 1 to LIMIT_LAYERS */
    struct cri_strings signals; /* init may be sent */
    struct generate_execs execs;
    bool deny_stdio; /* the host may not read or write its streams */
};

struct generate_input {
    const struct generate_container *containers;
    size_t containers_count;
    struct generate_execs guest_execs; /* processes outside of containers, in C:\ with the default PATH */
    bool allow_dump_stacks;
};

/*
 * ret       the text, malloc()ed and NUL-terminated, which the caller frees; untouched on failure
 * ret_size  its bytes, without the NUL
 *
 * A caller may act on
 *   STATUS_INVALID_ARGUMENT    no layers, a digest or signal name that is none, an exec that cannot be
 *                              written exactly, a configuration that spec_from_cri() refuses
 *   STATUS_RESOURCE_EXHAUSTED  no memory, or more text than a policy may have
 */
MUST_CHECK enum status generate_policy(const struct generate_input *input, char **ret, size_t *ret_size,
                                       struct error *err);

#endif
