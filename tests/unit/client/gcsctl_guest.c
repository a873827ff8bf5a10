#include "tests/unit/client/gcsctl_guest.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "server/base/clock.h"
#include "tests/unit/client/gcsctl_guest_state.h"

#define WAIT_NS (20 * NS_PER_S)

/* ---- log ---- */

void __attribute__((format(printf, 2, 3))) guest_record(struct guest *guest, const char *format, ...)
{
    mutex_lock(&guest->state.lock);
    char *end = guest->state.log + guest->state.log_length;
    size_t room = TEXT_MAX - guest->state.log_length;
    va_list arguments;
    va_start(arguments, format);
    int length = vsnprintf(end, room, format, arguments);
    va_end(arguments);
    if (length >= 0 && (size_t)length + 2 <= room) {
        guest->state.log_length += (size_t)length;
        guest->state.log[guest->state.log_length++] = '\n';
        guest->state.log[guest->state.log_length] = '\0';
    }
    pthread_cond_broadcast(&guest->state.changed);
    mutex_unlock(&guest->state.lock);
}

static bool
log_has_line(const char *log, const char *line)
{
    size_t length = strlen(line);
    for (const char *at = log; (at = strstr(at, line)) != NULL; at++)
        if ((at == log || at[-1] == '\n') && at[length] == '\n')
            return true;
    return false;
}

bool
guest_wait_for(struct guest *guest, const char *line)
{
    int64_t end_ns = clock_now_ns() + WAIT_NS;
    mutex_lock(&guest->state.lock);
    bool found;
    while (!(found = log_has_line(guest->state.log, line)))
        if (condition_wait_until(&guest->state.changed, &guest->state.lock, end_ns) != 0)
            break;
    mutex_unlock(&guest->state.lock);
    return found;
}

static char *
copy_locked(struct guest *guest, const char *text)
{
    mutex_lock(&guest->state.lock);
    char *copy = strdup(text);
    mutex_unlock(&guest->state.lock);
    return copy;
}

char *
guest_log(struct guest *guest)
{
    return copy_locked(guest, guest->state.log);
}

char *
guest_input(struct guest *guest)
{
    return copy_locked(guest, guest->state.input);
}

/* ---- life ---- */

struct guest *
guest_start(const struct guest_behaviour *behaviour)
{
    struct guest *guest = calloc(1, sizeof(*guest));
    struct error err;
    if (guest == NULL)
        return NULL;
    guest->behaviour = *behaviour;
    mutex_init(&guest->state.lock, RANK_APP);
    condition_init(&guest->state.changed);
    snprintf(guest->directory, sizeof(guest->directory), "/tmp/gcsctl_test.XXXXXX");
    if (mkdtemp(guest->directory) == NULL)
        return NULL;
    snprintf(guest->url, sizeof(guest->url), "ipc://%s/guest.sock", guest->directory);

    struct rpc_server_config config = {.methods = &guest_methods, .module_name = "test", .app = guest};
    if (pool_start(2, 64, &guest->pool, &err) != STATUS_OK || timers_start(&guest->timers, &err) != STATUS_OK)
        return NULL;
    config.pool = guest->pool;
    config.timers = guest->timers;
    if (rpc_server_start(&config, &guest->server, &err) != STATUS_OK ||
        rpc_server_listen(guest->server, guest->url, &err) != STATUS_OK) {
        fprintf(stderr, "%s\n", err.text);
        return NULL;
    }
    return guest;
}

void
guest_stop(struct guest *guest)
{
    if (guest == NULL)
        return;
    guest_release(guest);
    guest_process_end_all(guest, 137); /* answers all that is parked */
    rpc_server_stop(guest->server);
    pool_stop(guest->pool);
    timers_stop(guest->timers);
    mutex_done(&guest->state.lock);
    pthread_cond_destroy(&guest->state.changed);
    char path[128];
    static const char *const names[] = {"guest.sock", "stdin", "stdout", "stderr"};
    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
        snprintf(path, sizeof(path), "%s/%s", guest->directory, names[i]);
        unlink(path);
    }
    rmdir(guest->directory);
    free(guest);
}

const char *
guest_url(const struct guest *guest)
{
    return guest->url;
}

const char *
guest_directory(const struct guest *guest)
{
    return guest->directory;
}
