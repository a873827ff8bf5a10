#include "tests/integration/sidecar_fixture.h"

#include <dirent.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "server/base/log.h"

void
fixture_init(struct sidecar_fixture *f)
{
    log_set_level(LOG_LEVEL_ERROR);
    *f = (struct sidecar_fixture){0};
    run_directory_make(f->directory, "gcs-sidecar-test");
    umask(0); /* as main() does */
    snprintf(f->url, sizeof f->url, "ipc://%s/sidecar.sock", f->directory);
    snprintf(f->sandbox, sizeof f->sandbox, "%s/sandbox", f->directory);
    snprintf(f->layers, sizeof f->layers, "%s/layers", f->directory);
    snprintf(f->volumes, sizeof f->volumes, "%s/volumes", f->directory);
    assert_int_equal(0, mkdir(f->layers, 0755));
    assert_int_equal(0, mkdir(f->volumes, 0700));
    seed_layers_make(f->layers, &f->seed);
    f->inbox = inbox_new(f->directory);
    f->listen_urls[0] = f->url;
    f->config = (struct sidecar_config){
        .listen_urls = f->listen_urls,
        .listen_count = 1,
        .inbox_url = inbox_url(f->inbox),
        .sandbox_root = f->sandbox,
        .sandbox = SANDBOX_ROOT_OPTIONS_DEFAULT,
        .layer_dir = f->layers,
        .volume_dir = f->volumes,
        .fake_volumes = true,
        .workers = 2,
        .drain_ns = 10 * NS_PER_S,
    };
}

void
fixture_start(struct sidecar_fixture *f)
{
    struct error err;
    struct gcs_error failure = {0};
    if (sidecar_start(&f->config, &f->sidecar, &err) != STATUS_OK)
        fail_msg("%s", err.text);
    if (gcs_connect(f->url, NULL, &f->host, &failure) != GCS_OK)
        fail_msg("%s", failure.message);
    assert_true(host_wait_connected(f->host, true));
}

void
fixture_start_with_endpoint(struct sidecar_fixture *f, char *address, size_t size)
{
    snprintf(address, size, "unix:%s/metrics.sock", f->directory);
    f->config.metrics_listen = address;
    fixture_start(f);
}

void
fixture_stop(struct sidecar_fixture *f)
{
    gcs_disconnect(f->host);
    f->host = NULL;
    if (f->sidecar)
        sidecar_stop(f->sidecar);
    f->sidecar = NULL;
}

void
fixture_done(struct sidecar_fixture *f)
{
    inbox_release(f->inbox, INBOX_ANY); /* nothing that is held may hold up the end */
    fixture_stop(f);
    inbox_free(f->inbox);
    run_directory_remove(f->directory);
}

int
fixture_setup_files(void **state)
{
    struct sidecar_fixture *f = calloc(1, sizeof *f);
    assert_non_null(f);
    fixture_init(f);
    *state = f;
    return 0;
}

int
fixture_setup(void **state)
{
    fixture_setup_files(state);
    fixture_start(*state);
    return 0;
}

int
fixture_setup_policy(void **state)
{
    fixture_setup(state);
    struct sidecar_fixture *f = *state;
    assert_int_equal(GCS_OK, policy_set(f->host, seed_policy_text(&f->seed)));
    return 0;
}

int
fixture_setup_volume(void **state)
{
    fixture_setup_policy(state);
    struct sidecar_fixture *f = *state;
    host_add_volume(f->host);
    return 0;
}

int
fixture_teardown(void **state)
{
    fixture_done(*state);
    free(*state);
    return 0;
}

/* -- what is on disk -- */

mode_t
sandbox_mode(const struct sidecar_fixture *f, const char *relative)
{
    char path[300];
    struct stat info;
    snprintf(path, sizeof path, "%s/%s", f->sandbox, relative);
    return lstat(path, &info) == 0 ? info.st_mode & 07777 : 0;
}

size_t
sandbox_entries(const struct sidecar_fixture *f)
{
    DIR *directory = opendir(f->sandbox);
    assert_non_null(directory);
    size_t count = 0;
    for (const struct dirent *entry; (entry = readdir(directory)) != NULL;)
        if (strcmp(entry->d_name, ".") != 0 && strcmp(entry->d_name, "..") != 0)
            count++;
    closedir(directory);
    return count;
}
