#include "bench/policy_subject.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "server/base/clock.h"
#include "server/base/limits.h"

static const char asked[] = "asked";

static void
fail(const struct policy_subject *subject, const char *what, const struct error *err)
{
    fprintf(stderr, "gcs-bench policy: %s: %s: %s\n", subject->label, what, err->text);
    exit(EXIT_FAILURE);
}

/* Decides and commits; the request must be allowed. */
static void
allow(struct policy_subject *subject, const struct policy_request *request)
{
    struct policy_verdict verdict;
    struct arena arena;
    struct error err;

    arena_init(&arena, LIMIT_REQUEST_ARENA_BYTES);
    if (policy_decide(subject->state, request, &arena, &verdict, &err) != STATUS_OK)
        fail(subject, policy_point_name(request->point), &err);
    policy_record_commit(verdict.record);
    arena_done(&arena);
}

static void
bring_up(struct policy_subject *subject, unsigned container, const char *id, bool create)
{
    struct policy_texts texts;
    policy_texts_init(&texts, &subject->shape, container);
    struct policy_request mount = policy_text_mount(&texts, id);
    struct policy_request made = policy_text_create(&texts, id);
    allow(subject, &mount);
    if (create)
        allow(subject, &made);
}

static void
load(struct policy_subject *subject)
{
    struct policy *policy = NULL;
    struct error err = {0};
    size_t size = 0;

    char *text = policy_text(&subject->shape, &size);
    if (!text || policy_load(text, size, POLICY_WINDOWS, &policy, &err) != STATUS_OK ||
        policy_state_new(policy, POLICY_STRICT, &subject->state, &err) != STATUS_OK)
        fail(subject, "load", &err);
    policy_unref(policy);
    free(text);
}

void
policy_subject_try(struct policy_subject *subject, struct policy *policy, unsigned container)
{
    struct error err;

    if (policy_state_new(policy, POLICY_STRICT, &subject->state, &err) != STATUS_OK)
        fail(subject, "state", &err);
    bring_up(subject, container, asked, true);
    policy_state_free(subject->state);
    subject->state = NULL;
}

static void
request_make(struct policy_subject *subject)
{
    static const char *const unlisted[] = {"server", "--shell"};

    switch (subject->kind) {
    case KIND_CREATE:
        subject->request = policy_text_create(&subject->texts, asked);
        return;
    case KIND_CREATE_DENIED:
        snprintf(subject->texts.env[0], sizeof subject->texts.env[0], "UNKNOWN=value");
        subject->request = policy_text_create(&subject->texts, asked);
        return;
    case KIND_EXEC:
        subject->request = policy_text_exec(&subject->texts, asked);
        return;
    case KIND_EXEC_DENIED:
        subject->request = policy_text_exec(&subject->texts, asked);
        subject->request.process.args.items = unlisted;
        return;
    case KIND_PROPERTIES:
        subject->request = (struct policy_request){.point = POLICY_GET_PROPERTIES};
        return;
    }
}

void
policy_subject_start(struct policy_subject *subject, unsigned decisions)
{
    unsigned container = subject->shape.containers / 2;
    bool create = subject->kind == KIND_EXEC || subject->kind == KIND_EXEC_DENIED;

    load(subject);
    for (unsigned i = 0; i < subject->live; i++) {
        char id[65];
        snprintf(id, sizeof id, "%064x", i);
        bring_up(subject, i % subject->shape.containers, id, true);
    }
    bring_up(subject, container, asked, create);
    policy_texts_init(&subject->texts, &subject->shape, container);
    request_make(subject);
    samples_init(&subject->samples, decisions);
}

void
policy_subject_run(struct policy_subject *subject, unsigned count, bool keep)
{
    enum status expected = subject->kind == KIND_CREATE_DENIED || subject->kind == KIND_EXEC_DENIED
                               ? STATUS_PERMISSION_DENIED
                               : STATUS_OK;
    for (unsigned i = 0; i < count; i++) {
        struct policy_verdict verdict;
        struct arena arena;
        struct error err;

        int64_t begin_ns = clock_now_ns();
        arena_init(&arena, LIMIT_REQUEST_ARENA_BYTES);
        enum status status = policy_decide(subject->state, &subject->request, &arena, &verdict, &err);
        policy_record_undo(verdict.record);
        arena_done(&arena);
        int64_t end_ns = clock_now_ns();

        if (status != expected)
            fail(subject, "unexpected answer", &err);
        if (keep)
            samples_add(&subject->samples, end_ns - begin_ns);
    }
}

void
policy_subject_done(struct policy_subject *subject)
{
    policy_state_free(subject->state);
    samples_done(&subject->samples);
}
