#include "tests/e2e/inbox_fixture.h"

#include <fcntl.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

#include "server/base/fd.h"

#define GROUPS "/sys/fs/cgroup"
#define HYBRID GROUPS "/unified"

enum { HIERARCHIES_MAX = 32 };

struct guest_options guest_real = {.runtime = "runc"};
const struct guest_options guest_fake = {.runtime = "fake", .unprivileged = true};

static bool
is_installed(const char *name)
{
    static const char *const directories[] = {"/usr/sbin", "/usr/bin", "/sbin", "/bin"};
    char path[128];
    for (size_t i = 0; i < sizeof directories / sizeof directories[0]; i++) {
        snprintf(path, sizeof path, "%s/%s", directories[i], name);
        if (access(path, X_OK) == 0)
            return true;
    }
    return false;
}

/* Puts a mount of each hierarchy of version 1 into a new directory in the place of GROUPS. */
static bool
hierarchies_move(void)
{
    char names[HIERARCHIES_MAX][64];
    int mounts[HIERARCHIES_MAX];
    size_t count = 0;
    bool done = true;
    char line[4096];
    FILE *file = fopen("/proc/self/mountinfo", "re");
    while (file && count < HIERARCHIES_MAX && fgets(line, sizeof line, file)) {
        char point[128];
        if (!strstr(line, " - cgroup ") ||
            sscanf(line, "%*s %*s %*s %*s " GROUPS "/%63[^/ ] ", names[count]) != 1)
            continue;
        snprintf(point, sizeof point, GROUPS "/%.63s", names[count]);
        mounts[count] = open_tree(AT_FDCWD, point, OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC);
        done = done && mounts[count] >= 0;
        count++;
    }
    if (file)
        fclose(file);
    done = done && mount("none", GROUPS, "tmpfs", 0, "mode=755") == 0;
    for (size_t i = 0; i < count; i++) {
        char point[128];
        snprintf(point, sizeof point, GROUPS "/%.63s", names[i]);
        done = done && mkdir(point, 0755) == 0 &&
               move_mount(mounts[i], "", AT_FDCWD, point, MOVE_MOUNT_F_EMPTY_PATH) == 0;
        fd_closep(&mounts[i]);
    }
    return done && count > 0;
}

/* Takes version 2 away from beside version 1, for this process and what it starts. Only unmounting it would not do: crun
 * would make directories in what is below, which all mount namespaces share. */
static bool
hybrid_leave(void)
{
    if (access(HYBRID, F_OK) != 0)
        return true;
    return unshare(CLONE_NEWNS) == 0 && mount("none", "/", NULL, MS_REC | MS_PRIVATE, NULL) == 0 &&
           hierarchies_move();
}

const char *
guest_use_runtime(const char *name)
{
    bool is_crun = strcmp(name, "crun") == 0;
    if (geteuid() != 0)
        return "real containers need root";
    if (!is_installed(name))
        return is_crun ? "crun is not installed" : "runc is not installed";
    if (is_crun && !hybrid_leave())
        return "crun does not work beside a version 2 of control groups that stays";
    guest_real.runtime = is_crun ? "crun" : "runc";
    return NULL;
}

static int
setup(void **state, const struct guest_options *options)
{
    struct guest *guest = calloc(1, sizeof *guest);
    *state = guest;
    guest_start(guest, options);
    return 0;
}

int
guest_setup_real(void **state)
{
    return setup(state, &guest_real);
}

int
guest_setup_fake(void **state)
{
    return setup(state, &guest_fake);
}

int
guest_teardown(void **state)
{
    guest_remove(*state);
    free(*state);
    return 0;
}
