#include "server/base/stacks.h"

#include <assert.h>
#include <dirent.h>
#include <errno.h>
#include <execinfo.h>
#include <fcntl.h>
#include <poll.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/syscall.h>
#include <ucontext.h>
#include <unistd.h>

#include "server/base/fd.h"
#include "server/base/symbols.h"

/* Threads of one page. */
enum { SLOTS = 16, SKIPPED_MAX = 8, LINE_BYTES = SYMBOL_TEXT_BYTES + 16, HEADER_BYTES = 512 };

static_assert(HEADER_BYTES + STACKS_FRAMES * LINE_BYTES <= STACKS_THREAD_BYTES, "a thread is shown whole");

/* Whose turn a slot is: the collector's when it is free or done, the asked thread's while it writes. A thread
 * that comes too late finds the slot free and leaves it alone; one that is stopped in the middle of writing
 * keeps it, so that its frames never appear under another thread's name. */
enum slot_state { SLOT_FREE, SLOT_ASKED, SLOT_WRITING, SLOT_DONE };

struct slot {
    atomic_int state;
    atomic_int thread;
    int count;
    const void *interrupted; /* where the thread was; NULL: not known on this machine */
    void *frames[STACKS_FRAMES + SKIPPED_MAX];
};

/* A signal handler has no argument of its own: what it needs is global, and written by nobody else. */
static struct {
    atomic_bool started;
    atomic_bool busy; /* a collection runs; whoever turned it true owns the slots that are free */
    int answered_fd;  /* an eventfd: a slot was done; constant once started */
    struct slot slots[SLOTS];
} stacks = {.answered_fd = -1};

/* The C library takes the first ones, from below, for itself. */
static int
stacks_signal(void)
{
    return SIGRTMAX - 3;
}

/* -- the asked thread's side: nothing here allocates or takes a lock -- */

static const void *
interrupted_at(const void *context)
{
#if defined(__x86_64__)
    return (const void *)((const ucontext_t *)context)->uc_mcontext.gregs[REG_RIP];
#elif defined(__aarch64__)
    return (const void *)((const ucontext_t *)context)->uc_mcontext.pc;
#else
    (void)context;
    return NULL;
#endif
}

static void
slot_write(struct slot *slot, const void *interrupted)
{
    slot->interrupted = interrupted;
    slot->count = backtrace(slot->frames, STACKS_FRAMES + SKIPPED_MAX);
    atomic_store(&slot->state, SLOT_DONE);
}

static void
on_signal(int number, siginfo_t *info, void *context)
{
    (void)number;
    (void)info;
    int saved = errno, self = (int)syscall(SYS_gettid);
    for (size_t i = 0; i < SLOTS; i++) {
        struct slot *slot = &stacks.slots[i];
        int expected = SLOT_ASKED;
        if (atomic_load(&slot->thread) != self ||
            !atomic_compare_exchange_strong(&slot->state, &expected, SLOT_WRITING))
            continue;
        slot_write(slot, interrupted_at(context));
        const uint64_t one = 1;
        ssize_t written = write(stacks.answered_fd, &one, sizeof one);
        (void)written; /* a full counter is not empty either, and that is all that counts */
        break;
    }
    errno = saved;
}

void
stacks_start(void)
{
    void *first[1];
    (void)backtrace(first, 1); /* the first call loads the unwinder, which allocates */
    stacks.answered_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    /* Nothing is blocked while the handler runs: a thread that has answered one page and not returned yet
     * answers the next one as well. */
    struct sigaction action = {.sa_sigaction = on_signal, .sa_flags = SA_SIGINFO | SA_RESTART | SA_NODEFER};
    sigemptyset(&action.sa_mask);
    if (stacks.answered_fd < 0 || sigaction(stacks_signal(), &action, NULL) < 0)
        abort();
    atomic_store(&stacks.started, true);
}

void
stacks_allow(sigset_t *blocked)
{
    if (atomic_load(&stacks.started))
        sigdelset(blocked, stacks_signal());
}

/* -- the collector's side -- */

/* One thread of the page. */
struct subject {
    pid_t id;
    struct slot *slot; /* NULL: not asked */
    bool blocks;       /* it blocks the signal */
    bool asked;        /* a signal for it waits already: realtime signals queue up, and one is enough */
    bool gone;
    char name[32], state[32], waits_in[64];
};

struct page {
    struct subject subjects[SLOTS]; /* by id */
    size_t count;
    bool more; /* there are threads with higher ids */
};

/* The file's text, or "". */
static void
text_of(pid_t thread, const char *file, char *text, size_t size)
{
    char path[64];
    snprintf(path, sizeof path, "/proc/self/task/%d/%s", (int)thread, file);
    CLEANUP(fd_closep)
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    ssize_t got = fd < 0 ? -1 : fd_read_full(fd, text, size - 1);
    text[got > 0 ? got : 0] = '\0';
}

/* What follows "NAME:\t" in its line. */
static void
field_of(const char *text, const char *name, char *ret, size_t size)
{
    const char *line = strstr(text, name);
    const char *value = line ? line + strlen(name) : "";
    int length = (int)strcspn(value, "\n");
    snprintf(ret, size, "%.*s", length, value);
    for (char *c = ret; *c; c++)
        if (*c < ' ' || *c > '~')
            *c = '?';
}

/* Whether a mask, as /proc has it, holds the signal. */
static bool
mask_has_signal(const char *text, const char *name)
{
    char mask[32];
    field_of(text, name, mask, sizeof mask);
    return (strtoull(mask, NULL, 16) >> (stacks_signal() - 1) & 1) != 0;
}

static void
subject_read(struct subject *subject)
{
    char text[4096];
    text_of(subject->id, "status", text, sizeof text);
    subject->gone = text[0] == '\0';
    field_of(text, "Name:\t", subject->name, sizeof subject->name);
    field_of(text, "\nState:\t", subject->state, sizeof subject->state);
    subject->blocks = mask_has_signal(text, "\nSigBlk:\t");
    subject->asked = mask_has_signal(text, "\nSigPnd:\t");
    text_of(subject->id, "wchan", text, sizeof text);
    snprintf(subject->waits_in, sizeof subject->waits_in, "%.48s", strcmp(text, "0") == 0 ? "" : text);
}

/* Keeps the lowest ids above `after`, in order. */
static void
page_add(struct page *page, pid_t after, pid_t id)
{
    if (id <= after)
        return;
    if (page->count == SLOTS) {
        page->more = true;
        if (id > page->subjects[SLOTS - 1].id)
            return;
        page->count--;
    }
    size_t place = page->count++;
    for (; place > 0 && page->subjects[place - 1].id > id; place--)
        page->subjects[place] = page->subjects[place - 1];
    page->subjects[place] = (struct subject){.id = id};
}

static enum status
page_list(struct page *page, pid_t after, struct error *err)
{
    DIR *directory = opendir("/proc/self/task");
    if (!directory)
        return error_set(err, STATUS_INTERNAL, errno, "open '/proc/self/task'");
    const struct dirent *entry;
    while ((entry = readdir(directory))) /* "." and ".." are 0 */
        page_add(page, after, (pid_t)strtol(entry->d_name, NULL, 10));
    closedir(directory);
    for (size_t i = 0; i < page->count; i++)
        subject_read(&page->subjects[i]);
    return STATUS_OK;
}

static struct slot *
slot_take(pid_t thread)
{
    for (size_t i = 0; i < SLOTS; i++) {
        struct slot *slot = &stacks.slots[i];
        if (atomic_load(&slot->state) != SLOT_FREE)
            continue;
        atomic_store(&slot->thread, thread);
        atomic_store(&slot->state, SLOT_ASKED);
        return slot;
    }
    return NULL; /* threads that stopped in the middle of writing have the rest */
}

static void
subject_ask(struct subject *subject)
{
    if (subject->gone || subject->blocks)
        return;
    subject->slot = slot_take(subject->id);
    if (!subject->slot)
        return;
    if (subject->id == (pid_t)syscall(SYS_gettid))
        slot_write(subject->slot, NULL); /* this thread is where it says it is */
    else if (!subject->asked && syscall(SYS_tgkill, getpid(), subject->id, stacks_signal()) < 0)
        subject->gone = errno == ESRCH;
}

static bool
all_answered(const struct page *page)
{
    for (size_t i = 0; i < page->count; i++) {
        const struct subject *subject = &page->subjects[i];
        if (subject->slot && !subject->gone && atomic_load(&subject->slot->state) != SLOT_DONE)
            return false;
    }
    return true;
}

static void
page_wait(const struct page *page)
{
    int64_t deadline_ns = clock_now_ns() + STACKS_PATIENCE_NS, now_ns;
    while (!all_answered(page) && (now_ns = clock_now_ns()) < deadline_ns) {
        struct pollfd answered = {.fd = stacks.answered_fd, .events = POLLIN};
        (void)poll(&answered, 1, (int)((deadline_ns - now_ns) / NS_PER_MS) + 1);
        uint64_t count;
        ssize_t drained = read(stacks.answered_fd, &count, sizeof count);
        (void)drained; /* nothing to read: the deadline, or a signal for this thread */
    }
}

/* Whether the thread has answered; from here on it cannot any more. */
static bool
slot_settle(struct slot *slot)
{
    int expected = SLOT_ASKED;
    return !atomic_compare_exchange_strong(&slot->state, &expected, SLOT_FREE) && expected == SLOT_DONE;
}

/* Slots that a late thread has finished since are free again. */
static void
slots_free_done(void)
{
    for (size_t i = 0; i < SLOTS; i++) {
        int expected = SLOT_DONE;
        atomic_compare_exchange_strong(&stacks.slots[i].state, &expected, SLOT_FREE);
    }
}

/* -- text -- */

static size_t
frames_text(const struct symbols *symbols, const struct slot *slot, char *text, size_t size)
{
    int first = 0;
    while (first < slot->count && slot->interrupted && slot->frames[first] != slot->interrupted)
        first++;
    if (first == slot->count) /* not found: the handler's own frames are shown as well */
        first = 0;
    size_t used = 0;
    for (int i = first; i < slot->count && i - first < STACKS_FRAMES; i++) {
        char frame[SYMBOL_TEXT_BYTES];
        bool returns = i != first || !slot->interrupted;
        symbol_text(symbols, slot->frames[i], returns, frame);
        used += (size_t)snprintf(text + used, size - used, "  #%-2d %s\n", i - first, frame);
    }
    return used;
}

static size_t
subject_text(const struct symbols *symbols, const struct subject *subject, char *text, size_t size)
{
    if (subject->gone)
        return 0;
    size_t used = (size_t)snprintf(text, size, "thread %d \"%s\", %s%s%s\n", (int)subject->id, subject->name,
                                   subject->state, subject->waits_in[0] ? ", in " : "", subject->waits_in);
    if (subject->blocks)
        used +=
            (size_t)snprintf(text + used, size - used, "  no stack: it blocks the signal that asks for it\n");
    else if (!subject->slot || !slot_settle(subject->slot))
        used += (size_t)snprintf(text + used, size - used, "  no stack: it did not answer within %lld ms\n",
                                 STACKS_PATIENCE_NS / NS_PER_MS);
    else
        used += frames_text(symbols, subject->slot, text + used, size - used);
    return used + (size_t)snprintf(text + used, size - used, "\n");
}

static size_t
program_text(const char *program, char *text, size_t size)
{
    char build_id[65];
    symbols_build_id(build_id, sizeof build_id);
    return (size_t)snprintf(text, size, "%s, process %d%s%s\n\n", program, (int)getpid(),
                            build_id[0] ? ", build id " : "", build_id);
}

/* Whole threads, as many as fit, but at least one; tells the last of them. */
static pid_t
page_text(const struct page *page, const char *program, pid_t after, size_t bytes_max, char *text)
{
    struct symbols *symbols = symbols_open();
    char one[STACKS_THREAD_BYTES];
    size_t used = after == 0 ? program_text(program, text, STACKS_THREAD_BYTES) : 0;
    pid_t last = 0;
    for (size_t i = 0; i < page->count; i++) {
        size_t length = subject_text(symbols, &page->subjects[i], one, sizeof one);
        if (last != 0 && used + length > bytes_max)
            break;
        memcpy(text + used, one, length);
        used += length;
        last = page->subjects[i].id;
    }
    text[used] = '\0';
    symbols_close(symbols);
    return last;
}

static enum status
collect(const char *program, pid_t after, size_t bytes_max, pid_t *ret_after, char **ret, struct error *err)
{
    struct page page = {.count = 0};
    slots_free_done();
    TRY(page_list(&page, after, err));
    char *text = malloc((page.count + 1) * STACKS_THREAD_BYTES + 1);
    if (!text)
        return error_set(err, STATUS_RESOURCE_EXHAUSTED, 0, "no memory for the stacks of %zu threads",
                         page.count);
    for (size_t i = 0; i < page.count; i++)
        subject_ask(&page.subjects[i]);
    page_wait(&page);
    pid_t last = page_text(&page, program, after, bytes_max, text);
    for (size_t i = 0; i < page.count; i++) {
        if (page.subjects[i].slot)
            (void)slot_settle(page.subjects[i].slot); /* those that had no room */
    }
    bool more = page.more || (page.count > 0 && last != page.subjects[page.count - 1].id);
    *ret_after = more ? last : 0;
    *ret = text;
    return STATUS_OK;
}

enum status
stacks_text(const char *program, pid_t after, size_t bytes_max, pid_t *ret_after, char **ret,
            struct error *err)
{
    if (!atomic_load(&stacks.started))
        return error_set(err, STATUS_FAILED_PRECONDITION, 0, "this program does not collect stacks");
    if (atomic_exchange(&stacks.busy, true))
        return error_set(err, STATUS_ABORTED, 0, "stacks are being collected for another request: ask again");
    enum status status = collect(program, after, bytes_max, ret_after, ret, err);
    atomic_store(&stacks.busy, false);
    return status;
}
