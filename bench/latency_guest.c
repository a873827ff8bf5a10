#include "bench/latency_guest.h"

#include <errno.h>
#include <fcntl.h>
#include <openssl/evp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "bench/latency_flight.h"
#include "bench/latency_policy.h"
#include "server/base/clock.h"
#include "server/base/fd.h"
#include "server/base/text.h"

enum { PATIENCE_MS = 10000, PING_BYTES = 64, CREATE_SLICE_MAX = 128 };

#define VOLUME "bench-volume"
#define LAYER  "bench.layer"

/* What goes into one create; rewritten for each request. */
struct create_fill {
    struct guest *guest;
    unsigned first; /* number of the slice's first container */
    char id[65], hostname[32];
    char sources[LATENCY_POLICY_MOUNTS][96], destinations[LATENCY_POLICY_MOUNTS][32];
    char *args[1], *options[3];
    Gcs__V1__Mount mounts[LATENCY_POLICY_MOUNTS], *mount_list[LATENCY_POLICY_MOUNTS];
    Gcs__V1__Process process;
    Gcs__V1__Spec spec;
    Gcs__V1__CreateContainer create;
};

static void
container_id(char id[65], unsigned number)
{
    snprintf(id, 65, "%064x", number);
}

static void
scratch_name(char name[32], unsigned number)
{
    snprintf(name, 32, "scratch-%u", number);
}

static void
create_fill_init(struct create_fill *fill, struct guest *guest, unsigned mounts)
{
    static char command[] = LATENCY_POLICY_COMMAND, cwd[] = "C:\\", type[] = "bind";
    static char rbind[] = "rbind", rshared[] = "rshared", rw[] = "rw";
    *fill = (struct create_fill){.guest = guest, .args = {command}, .options = {rbind, rshared, rw}};
    gcs__v1__process__init(&fill->process);
    fill->process.args = fill->args;
    fill->process.n_args = 1;
    fill->process.cwd = cwd;
    gcs__v1__spec__init(&fill->spec);
    fill->spec.process = &fill->process;
    fill->spec.mounts = fill->mount_list;
    fill->spec.n_mounts = mounts;
    gcs__v1__create_container__init(&fill->create);
    fill->create.spec = &fill->spec;
    for (unsigned i = 0; i < mounts; i++) {
        snprintf(fill->destinations[i], sizeof fill->destinations[i], LATENCY_POLICY_MOUNT, i);
        gcs__v1__mount__init(&fill->mounts[i]);
        fill->mounts[i].destination = fill->destinations[i];
        fill->mounts[i].source = fill->sources[i];
        fill->mounts[i].type = type;
        fill->mounts[i].options = fill->options;
        fill->mounts[i].n_options = 3;
        fill->mount_list[i] = &fill->mounts[i];
    }
}

/* Directories of a container's own: an existing one would be another, cheaper case. */
static void
fill_create(void *arg, size_t number, Gcs__V1__Request *request)
{
    struct create_fill *fill = arg;
    unsigned container = fill->first + (unsigned)number;
    container_id(fill->id, container);
    for (size_t i = 0; i < fill->spec.n_mounts; i++)
        snprintf(fill->sources[i], sizeof fill->sources[i], "sandbox:///bench/c%u/m%zu", container, i);
    request->container_id = fill->id;
    request->body_case = GCS__V1__REQUEST__BODY_CREATE_CONTAINER;
    request->create_container = &fill->create;
}

static void
fill_ping(void *arg, size_t number, Gcs__V1__Request *request)
{
    static uint8_t payload[PING_BYTES];
    static Gcs__V1__Ping ping = GCS__V1__PING__INIT;
    (void)arg;
    (void)number;
    ping.payload = (ProtobufCBinaryData){.len = sizeof payload, .data = payload};
    request->body_case = GCS__V1__REQUEST__BODY_PING;
    request->ping = &ping;
}

static void
fill_get_properties(void *arg, size_t number, Gcs__V1__Request *request)
{
    static Gcs__V1__PropertyType types[] = {GCS__V1__PROPERTY_TYPE__PROPERTY_TYPE_SYSTEM_GUID};
    static Gcs__V1__GetProperties get = GCS__V1__GET_PROPERTIES__INIT;
    struct guest *guest = arg;
    (void)number;
    get.types = types;
    get.n_types = 1;
    request->container_id = guest->running;
    request->body_case = GCS__V1__REQUEST__BODY_GET_PROPERTIES;
    request->get_properties = &get;
}

static enum status
ping_run(void *context, unsigned in_flight, size_t count, struct samples *samples, struct error *err)
{
    struct guest *guest = context;
    return flight_run(guest->connection, in_flight, count, fill_ping, guest, samples, err);
}

static enum status
get_properties_run(void *context, unsigned in_flight, size_t count, struct samples *samples,
                   struct error *err)
{
    struct guest *guest = context;
    return flight_run(guest->connection, in_flight, count, fill_get_properties, guest, samples, err);
}

/* Gives `count` containers from `first` on their root file system, as a host does before it creates them. */
static enum status
prepare(struct guest *guest, unsigned first, size_t count, struct error *err)
{
    for (unsigned i = first; i < first + count; i++) {
        char id[65], scratch[32];
        container_id(id, i);
        scratch_name(scratch, i);
        struct gcs_error failure = {0};
        if (gcs_add_scratch(guest->connection, scratch, 1 << 20, &failure) != GCS_OK)
            return flight_error(err, &failure, "add a scratch");
        if (gcs_combine_layers(guest->connection, id, scratch, VOLUME, &failure) != GCS_OK)
            return flight_error(err, &failure, "combine layers");
    }
    return STATUS_OK;
}

static enum status
clear_away(struct guest *guest, unsigned first, size_t count, struct error *err)
{
    for (unsigned i = first; i < first + count; i++) {
        char id[65], scratch[32];
        container_id(id, i);
        scratch_name(scratch, i);
        struct gcs_error failure = {0};
        if (gcs_delete(guest->connection, id, &failure) != GCS_OK)
            return flight_error(err, &failure, "delete a container");
        if (gcs_separate_layers(guest->connection, id, scratch, VOLUME, &failure) != GCS_OK)
            return flight_error(err, &failure, "separate layers");
        if (gcs_remove_scratch(guest->connection, scratch, &failure) != GCS_OK)
            return flight_error(err, &failure, "remove a scratch");
    }
    return STATUS_OK;
}

static enum status
create_run(void *context, unsigned in_flight, size_t count, struct samples *samples, struct error *err)
{
    struct guest_create *create = context;
    struct guest *guest = create->guest;
    struct create_fill fill;
    create_fill_init(&fill, guest, create->mounts);
    fill.first = guest->containers + 1;
    guest->containers += (unsigned)count;
    TRY(prepare(guest, fill.first, count, err));
    TRY(flight_run(guest->connection, in_flight, count, fill_create, &fill, samples, err));
    return clear_away(guest, fill.first, count, err);
}

/* The directories of both programs and the one layer. */
static enum status
make_tree(const char *directory, char digest[65], struct error *err)
{
    static const char *const names[] = {"sandbox", "layers", "volumes", "inbox"};
    char path[128];
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        snprintf(path, sizeof path, "%s/%s", directory, names[i]);
        if (mkdir(path, 0700) < 0)
            return error_set(err, STATUS_INTERNAL, errno, "make '%s'", path);
    }
    static unsigned char layer[4096];
    snprintf(path, sizeof path, "%s/layers/" LAYER, directory);
    CLEANUP(fd_closep)
    int fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0644);
    if (fd < 0 || fd_write_full(fd, layer, sizeof layer) < 0)
        return error_set(err, STATUS_INTERNAL, errno, "write '%s'", path);
    unsigned char hash[32];
    if (EVP_Digest(layer, sizeof layer, hash, NULL, EVP_sha256(), NULL) != 1)
        return error_set(err, STATUS_INTERNAL, 0, "hash the layer");
    text_hex(digest, hash, sizeof hash);
    return STATUS_OK;
}

static enum status
start_programs(struct children *children, unsigned workers, const char *host_data, struct error *err)
{
    const char *directory = children->directory;
    char run_dir[96], inbox_url[96], url[96], sandbox[96], layers[96], volumes[96], worker_count[16];
    snprintf(run_dir, sizeof run_dir, "%s/inbox", directory);
    snprintf(inbox_url, sizeof inbox_url, "ipc://%s/inbox.sock", directory);
    snprintf(url, sizeof url, "ipc://%s/sidecar.sock", directory);
    snprintf(sandbox, sizeof sandbox, "%s/sandbox", directory);
    snprintf(layers, sizeof layers, "%s/layers", directory);
    snprintf(volumes, sizeof volumes, "%s/volumes", directory);
    snprintf(worker_count, sizeof worker_count, "%u", workers);
    const char *const inbox_argv[] = {"gcs-inbox", "--runtime",   "fake",    "--run-dir",
                                      run_dir,     "--listen",    inbox_url, "--sandbox-root",
                                      sandbox,     "--log-level", "warning", NULL};
    const char *const sidecar_argv[] = {"gcs-sidecar", "--trusted-listen", url,       "--inbox",
                                        inbox_url,     "--sandbox-root",   sandbox,   "--layer-dir",
                                        layers,        "--volume-dir",     volumes,   "--volumes",
                                        "fake",        "--host-data",      host_data, "--workers",
                                        worker_count,  "--log-level",      "warning", NULL};
    TRY(children_start(children, "inbox", "gcs-inbox", inbox_argv, err));
    return children_start(children, "sidecar", "gcs-sidecar", sidecar_argv, err);
}

static enum status
connect_to(struct guest *guest, struct children *children, struct error *err)
{
    char url[96];
    snprintf(url, sizeof url, "ipc://%s/sidecar.sock", children->directory);
    struct gcs_options options = {.connect_timeout_ms = PATIENCE_MS};
    struct gcs_error failure = {0};
    if (gcs_connect(url, &options, &guest->connection, &failure) != GCS_OK) {
        TRY(children_check(children, err)); /* says more than "nobody answers" */
        return flight_error(err, &failure, "connect to gcs-sidecar");
    }
    return STATUS_OK;
}

/* The sidecar connects to the inbox in its own time. */
static enum status
await_inbox(struct guest *guest, struct children *children, struct error *err)
{
    int64_t deadline_ns = clock_now_ns() + PATIENCE_MS * NS_PER_MS;
    for (bool connected = false; !connected;) {
        struct gcs_error failure = {0};
        Gcs__V1__Response *response = NULL;
        if (gcs_health(guest->connection, &response, &failure) != GCS_OK)
            return flight_error(err, &failure, "ask gcs-sidecar how it is");
        connected = response->health->inbox_connected;
        gcs_response_free(response);
        TRY(children_check(children, err));
        if (!connected && clock_now_ns() > deadline_ns)
            return error_set(err, STATUS_UNAVAILABLE, 0, "gcs-sidecar does not reach gcs-inbox");
        nanosleep(&(struct timespec){.tv_nsec = NS_PER_MS}, NULL);
    }
    return STATUS_OK;
}

/* Brings up the container that GetProperties asks about. */
static enum status
start_container(struct guest *guest, struct error *err)
{
    struct create_fill fill;
    create_fill_init(&fill, guest, 0);
    container_id(guest->running, 0);
    TRY(prepare(guest, 0, 1, err));
    struct gcs_error failure = {0};
    uint32_t process;
    if (gcs_create(guest->connection, guest->running, &fill.spec, &failure) != GCS_OK)
        return flight_error(err, &failure, "create a container");
    if (gcs_start(guest->connection, guest->running, &process, &failure) != GCS_OK)
        return flight_error(err, &failure, "start a container");
    return STATUS_OK;
}

static void
free_textp(char **text)
{
    free(*text);
}

enum status
guest_init(struct guest *guest, struct children *children, unsigned workers, struct error *err)
{
    *guest = (struct guest){.creates = {{guest, 0}, {guest, 1}, {guest, LATENCY_POLICY_MOUNTS}}};
    char digest[65], host_data[65];
    TRY(make_tree(children->directory, digest, err));
    size_t size;
    CLEANUP(free_textp)
    char *policy = latency_policy(digest, &size);
    unsigned char hash[32];
    if (!policy || EVP_Digest(policy, size, hash, NULL, EVP_sha256(), NULL) != 1)
        return error_set(err, STATUS_RESOURCE_EXHAUSTED, 0, "make the policy");
    text_hex(host_data, hash, sizeof hash);
    TRY(start_programs(children, workers, host_data, err));
    TRY(connect_to(guest, children, err));
    TRY(await_inbox(guest, children, err));
    struct gcs_error failure = {0};
    if (gcs_set_policy(guest->connection, policy, size, &failure) != GCS_OK)
        return flight_error(err, &failure, "set the policy");
    const char *const files[] = {LAYER};
    char id[65];
    container_id(id, 0);
    if (gcs_add_volume(guest->connection, id, VOLUME, files, 1, NULL, &failure) != GCS_OK)
        return flight_error(err, &failure, "add the volume");
    return start_container(guest, err);
}

void
guest_done(struct guest *guest)
{
    gcs_disconnect(guest->connection);
    guest->connection = NULL;
}

void
guest_targets(struct guest *guest, struct latency_target targets[GUEST_TARGETS])
{
    targets[0] = (struct latency_target){
        .name = "Ping, answered by gcs-sidecar", .share = 1, .context = guest, .run = ping_run};
    targets[1] = (struct latency_target){
        .name = "GetProperties, through gcs-inbox", .share = 1, .context = guest, .run = get_properties_run};
    static const char *const names[] = {"CreateContainer, no mount", "CreateContainer, 1 mount",
                                        "CreateContainer, 16 mounts"};
    for (size_t i = 0; i < 3; i++)
        targets[2 + i] = (struct latency_target){.name = names[i],
                                                 .share = 5,
                                                 .slice_max = CREATE_SLICE_MAX,
                                                 .context = &guest->creates[i],
                                                 .run = create_run};
}
