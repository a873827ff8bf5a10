#include "tests/faults/real_guest.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "tests/faults/guest.h"

#define BASH    "/bin/bash"
#define MKFS    "/usr/bin/mkfs.erofs"
#define RUNC    "/usr/sbin/runc"
#define BUSYBOX "/bin/busybox"
#define LOOP    "/dev/loop-control"
#define LAYER   "scripts/layer"

bool
real_guest_is_possible(void)
{
    static const char *const needed[] = {BASH, MKFS, RUNC, BUSYBOX, LOOP, LAYER};
    if (geteuid() != 0) {
        print_message("skipped: mounts and containers need root\n");
        return false;
    }
    for (size_t i = 0; i < sizeof needed / sizeof needed[0]; i++)
        if (access(needed[i], R_OK) != 0) {
            print_message("skipped: there is no %s\n", needed[i]);
            return false;
        }
    return true;
}

static void
run(const struct guest *guest, const char *path, const char *const *argv)
{
    struct program program;
    char log[128];
    snprintf(log, sizeof log, "%s/images.log", guest->directory);
    program_start(&program, path, argv, log);
    int code = program_end(&program);
    if (code != 0)
        program_print_log(&program);
    assert_int_equal(0, code);
}

static void
images_make(struct guest *guest)
{
    char base[200], top[200], content[200];
    snprintf(base, sizeof base, "%s/base", guest->layers);
    snprintf(top, sizeof top, "%s/top", guest->layers);
    snprintf(content, sizeof content, "%s/content", guest->directory);
    unlink(base);
    unlink(top);
    assert_int_equal(0, mkdir(content, 0755)); /* an image with nothing in it is a layer as well */
    run(guest, BASH, (const char *const[]){"bash", LAYER, "--ping", LAYER_PING, base, NULL});
    run(guest, MKFS, (const char *const[]){"mkfs.erofs", top, content, NULL});
    seed_layers_read(guest->layers, &guest->seed);
}

void
real_guest_setup_files(struct guest **ret)
{
    static const char *const sidecar_args[] = {"--volumes", "real", NULL};
    static const char *const inbox_args[] = {"--runtime", "runc", NULL};
    void *state = NULL;
    guest_setup_files(&state);
    struct guest *guest = state;
    *ret = guest;
    guest->sidecar_args = sidecar_args;
    guest->inbox_args = inbox_args;
    images_make(guest);
}
