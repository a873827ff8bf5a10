#include "tests/integration/sidecar_fixture.h"

#include <dirent.h>
#include <ftw.h>
#include <openssl/evp.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "server/base/fd.h"
#include "server/base/log.h"
#include "server/base/text.h"
#include "server/rpc/method.h"

#define SEED_POLICY "tests/fixtures/policy-seed/policy.rego"

/* What the seed's policy says of the reference's own layers. */
#define SEED_BASE "1aba71bb6a4b4c6df1dee7c37607c8e1da4eb6b93de103b6509daf8efd663a7d"
#define SEED_TOP  "8f05ecc2618a5410c5f5360d1bfe5f4b413dd18e3d7ba0bbc724d77e8d6e4628"
#define SEED_CIM  "0b1bdf3036da10b119eb0f656d67f59a87e54bdaa932c3f9dbd1ace1a1738743"

/* -- the run directory -- */

static void
digest_of(const void *bytes, size_t size, unsigned char raw[32], char text[65])
{
    assert_int_equal(1, EVP_Digest(bytes, size, raw, NULL, EVP_sha256(), NULL));
    text_hex(text, raw, 32);
}

static void
make_layer(struct sidecar_fixture *f, const char *name, unsigned char raw[32], char digest[65])
{
    char path[200], bytes[64];
    int size = snprintf(bytes, sizeof bytes, "the layer %s", name);
    snprintf(path, sizeof path, "%s/%s", f->layers, name);
    FILE *file = fopen(path, "we");
    assert_non_null(file);
    assert_int_equal((size_t)size, fwrite(bytes, 1, (size_t)size, file));
    assert_int_equal(0, fclose(file));
    digest_of(bytes, (size_t)size, raw, digest);
}

void
fixture_init(struct sidecar_fixture *f)
{
    const char *base = getenv("TMPDIR");
    unsigned char raw[64];
    log_set_level(LOG_LEVEL_ERROR);
    *f = (struct sidecar_fixture){0};
    snprintf(f->directory, sizeof f->directory, "%.40s/gcs-sidecar-test-XXXXXX", base ? base : "/tmp");
    assert_non_null(mkdtemp(f->directory));
    umask(0); /* as main() does */
    snprintf(f->url, sizeof f->url, "ipc://%s/sidecar.sock", f->directory);
    snprintf(f->sandbox, sizeof f->sandbox, "%s/sandbox", f->directory);
    snprintf(f->layers, sizeof f->layers, "%s/layers", f->directory);
    snprintf(f->volumes, sizeof f->volumes, "%s/volumes", f->directory);
    assert_int_equal(0, mkdir(f->layers, 0755));
    assert_int_equal(0, mkdir(f->volumes, 0700));
    make_layer(f, "base", raw, f->layer_digests[0]);
    make_layer(f, "top", raw + 32, f->layer_digests[1]);
    digest_of(raw, sizeof raw, raw, f->mounted_cim);
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
    assert_true(host_wait_connected(f, true));
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

static int
entry_remove(const char *path, const struct stat *info, int kind, struct FTW *walk)
{
    (void)info, (void)kind, (void)walk;
    return remove(path);
}

void
fixture_done(struct sidecar_fixture *f)
{
    inbox_release(f->inbox, INBOX_ANY); /* nothing that is held may hold up the end */
    fixture_stop(f);
    inbox_free(f->inbox);
    nftw(f->directory, entry_remove, 16, FTW_DEPTH | FTW_PHYS | FTW_MOUNT);
}

int
fixture_setup(void **state)
{
    struct sidecar_fixture *f = calloc(1, sizeof *f);
    assert_non_null(f);
    fixture_init(f);
    fixture_start(f);
    *state = f;
    return 0;
}

int
fixture_setup_policy(void **state)
{
    fixture_setup(state);
    struct sidecar_fixture *f = *state;
    assert_int_equal(GCS_OK, policy_set(f, policy_text(f)));
    return 0;
}

int
fixture_teardown(void **state)
{
    fixture_done(*state);
    free(*state);
    return 0;
}

/* -- policies -- */

char *
policy_replace(char *text, const char *from, const char *to)
{
    char *replaced = NULL;
    size_t size, count = 0;
    FILE *out = open_memstream(&replaced, &size);
    assert_non_null(out);
    const char *rest = text;
    for (const char *found; (found = strstr(rest, from)) != NULL; rest = found + strlen(from), count++)
        fprintf(out, "%.*s%s", (int)(found - rest), rest, to);
    fputs(rest, out);
    assert_int_equal(0, fclose(out));
    free(text);
    assert_true(count > 0);
    return replaced;
}

char *
policy_text(const struct sidecar_fixture *f)
{
    char *text = NULL;
    size_t size;
    struct error err;
    assert_int_equal(STATUS_OK, fd_read_file(SEED_POLICY, 1 << 20, &text, &size, &err));
    char *copy = strndup(text, size);
    free(text);
    copy = policy_replace(copy, SEED_TOP, f->layer_digests[1]);
    copy = policy_replace(copy, SEED_BASE, f->layer_digests[0]);
    return policy_replace(copy, SEED_CIM, f->mounted_cim);
}

enum gcs_status
policy_set(struct sidecar_fixture *f, char *text)
{
    struct gcs_error err = {0};
    enum gcs_status status = gcs_set_policy(f->host, text, strlen(text), &err);
    if (status != GCS_OK)
        print_message("policy: %s\n", err.message);
    gcs_error_clear(&err);
    free(text);
    return status;
}

/* -- specs -- */

static char *
text(const char *constant)
{
    return (char *)(uintptr_t)constant;
}

static void
process_fill(Gcs__V1__Process *process, char **args, char **env)
{
    gcs__v1__process__init(process);
    process->args = args;
    process->env = env;
    process->cwd = text("C:\\");
    process->stdin = process->stdout = process->stderr = true;
}

void
spec_init(struct test_spec *spec)
{
    *spec = (struct test_spec){.args = {text("ping"), text("-t"), text("127.0.0.1")},
                               .env = {text("PATH=/bin")},
                               .options = {text("rbind"), text("rshared"), text("rw")}};
    gcs__v1__spec__init(&spec->spec);
    process_fill(&spec->process, spec->args, spec->env);
    spec->process.n_args = 3;
    spec->process.n_env = 1;
    spec->spec.process = &spec->process;
    spec->spec.mounts = spec->mount_list;
}

void
spec_add_mount(struct test_spec *spec, const char *source, const char *destination)
{
    size_t number = spec->spec.n_mounts++;
    Gcs__V1__Mount *mount = &spec->mounts[number];
    gcs__v1__mount__init(mount);
    mount->source = text(source);
    mount->destination = text(destination);
    mount->type = text("bind");
    mount->options = spec->options;
    mount->n_options = 3;
    spec->mount_list[number] = mount;
}

void
process_init(struct test_process *process, const char *const *args)
{
    *process = (struct test_process){.env = {text("PATH=/bin")}};
    process_fill(&process->process, process->args, process->env);
    for (; args[process->process.n_args]; process->process.n_args++)
        process->args[process->process.n_args] = text(args[process->process.n_args]);
    process->process.n_env = 1;
}

/* -- what hosts do -- */

char *
container_id(char id[65], unsigned number)
{
    snprintf(id, 65, "%064x", number + 1);
    return id;
}

static char *
scratch_name(char name[32], unsigned number)
{
    snprintf(name, 32, "scratch-%u", number);
    return name;
}

static void
must(enum gcs_status status, struct gcs_error *err)
{
    if (status != GCS_OK)
        fail_msg("%s: %s", gcs_status_name(status), err->message);
}

void
host_add_volume(struct sidecar_fixture *f)
{
    static const char *const files[] = {"base", "top"};
    struct gcs_error err = {0};
    char id[65];
    must(gcs_add_volume(f->host, container_id(id, 0), VOLUME_ID, files, 2, NULL, &err), &err);
}

void
host_prepare(struct sidecar_fixture *f, unsigned number)
{
    struct gcs_error err = {0};
    char id[65], scratch[32];
    must(gcs_add_scratch(f->host, scratch_name(scratch, number), 0, &err), &err);
    must(gcs_combine_layers(f->host, container_id(id, number), scratch, VOLUME_ID, &err), &err);
}

uint32_t
host_run(struct sidecar_fixture *f, unsigned number)
{
    struct gcs_error err = {0};
    struct test_spec spec;
    char id[65];
    uint32_t process_id = 0;
    host_prepare(f, number);
    spec_init(&spec);
    must(gcs_create(f->host, container_id(id, number), &spec.spec, &err), &err);
    must(gcs_start(f->host, id, &process_id, &err), &err);
    return process_id;
}

static void
on_answer(void *arg, const Gcs__V1__Response *response, const struct gcs_error *err)
{
    struct host_call *call = arg;
    if (response) {
        size_t size = gcs__v1__response__get_packed_size(response);
        uint8_t *bytes = malloc(size + 1);
        gcs__v1__response__pack(response, bytes);
        call->response = gcs__v1__response__unpack(NULL, size, bytes);
        free(bytes);
    } else {
        call->status = err->status;
        call->message = strdup(err->message);
    }
    gate_raise(&call->done, 1);
}

struct host_call *
host_begin(struct sidecar_fixture *f, Gcs__V1__Request *request)
{
    struct gcs_error err = {0};
    struct host_call *call = calloc(1, sizeof *call);
    assert_non_null(call);
    gate_init(&call->done);
    must(gcs_call_async(f->host, request, on_answer, call, &err), &err);
    return call;
}

bool
host_wait(struct host_call *call)
{
    return gate_wait(&call->done, 1);
}

bool
host_has_ended(struct host_call *call)
{
    return gate_count(&call->done) > 0;
}

enum gcs_status
host_end(struct host_call *call)
{
    if (!host_wait(call))
        return GCS_ABORTED; /* the call stays: its callback may still come */
    enum gcs_status status = call->status;
    gate_done(&call->done);
    free(call->message);
    gcs_response_free(call->response);
    free(call);
    return status;
}

struct host_call *
host_begin_create(struct sidecar_fixture *f, const char *id, const struct test_spec *spec,
                  uint32_t timeout_ms)
{
    Gcs__V1__Request request = GCS__V1__REQUEST__INIT;
    Gcs__V1__CreateContainer create = GCS__V1__CREATE_CONTAINER__INIT;
    create.spec = (Gcs__V1__Spec *)(uintptr_t)&spec->spec;
    request.container_id = text(id);
    request.timeout_ms = timeout_ms;
    request.body_case = GCS__V1__REQUEST__BODY_CREATE_CONTAINER;
    request.create_container = &create;
    return host_begin(f, &request);
}

struct host_call *
host_begin_exec(struct sidecar_fixture *f, const char *id, const struct test_process *process,
                uint32_t timeout_ms)
{
    Gcs__V1__Request request = GCS__V1__REQUEST__INIT;
    Gcs__V1__ExecuteProcess execute = GCS__V1__EXECUTE_PROCESS__INIT;
    execute.process = (Gcs__V1__Process *)(uintptr_t)&process->process;
    request.container_id = text(id);
    request.timeout_ms = timeout_ms;
    request.body_case = GCS__V1__REQUEST__BODY_EXECUTE_PROCESS;
    request.execute_process = &execute;
    return host_begin(f, &request);
}

struct host_call *
host_begin_empty(struct sidecar_fixture *f, const char *id, int kind)
{
    Gcs__V1__Request request = GCS__V1__REQUEST__INIT;
    Gcs__V1__StartContainer start = GCS__V1__START_CONTAINER__INIT;
    Gcs__V1__ShutdownGraceful graceful = GCS__V1__SHUTDOWN_GRACEFUL__INIT;
    Gcs__V1__ShutdownForced forced = GCS__V1__SHUTDOWN_FORCED__INIT;
    Gcs__V1__DeleteContainerState delete = GCS__V1__DELETE_CONTAINER_STATE__INIT;
    request.container_id = text(id);
    request.body_case = (Gcs__V1__Request__BodyCase)kind;
    switch (kind) {
    case INBOX_START:
        request.start_container = &start;
        break;
    case INBOX_GRACEFUL:
        request.shutdown_graceful = &graceful;
        break;
    case INBOX_FORCED:
        request.shutdown_forced = &forced;
        break;
    default:
        request.delete_container_state = &delete;
        break;
    }
    return host_begin(f, &request);
}

enum gcs_status
host_call_row(struct sidecar_fixture *f, const struct rpc_method *row, Gcs__V1__RequestType type,
              const char *container_id, struct gcs_error *err)
{
    union {
        ProtobufCMessage base;
        Gcs__V1__CreateContainer create;
        Gcs__V1__WriteStream write;
        Gcs__V1__Ping ping;
        uint8_t room[512];
    } body;
    union {
        ProtobufCMessage base;
        uint8_t room[512];
    } resource;
    const ProtobufCFieldDescriptor *arm =
        protobuf_c_message_descriptor_get_field(&gcs__v1__request__descriptor, row->arm);
    const ProtobufCMessageDescriptor *shape = arm->descriptor;
    assert_true(shape->sizeof_message <= sizeof body);
    protobuf_c_message_init(shape, &body);
    if (row->resource != 0) {
        const ProtobufCFieldDescriptor *part = protobuf_c_message_descriptor_get_field(shape, row->resource);
        const ProtobufCMessageDescriptor *part_shape = part->descriptor;
        assert_true(part_shape->sizeof_message <= sizeof resource);
        protobuf_c_message_init(part_shape, &resource);
        Gcs__V1__ModifySettings *settings = (Gcs__V1__ModifySettings *)&body;
        settings->request_type = type;
        settings->resource_case = (Gcs__V1__ModifySettings__ResourceCase)row->resource;
        settings->block_cims = (Gcs__V1__BlockCims *)&resource; /* any member: they are all pointers */
    }
    Gcs__V1__Request request = GCS__V1__REQUEST__INIT;
    request.container_id = (char *)(uintptr_t)container_id;
    request.timeout_ms = 2000;
    request.body_case = (Gcs__V1__Request__BodyCase)row->arm;
    request.ping = &body.ping;
    return gcs_call(f->host, &request, NULL, err);
}

struct host_health
host_health(struct sidecar_fixture *f)
{
    struct gcs_error err = {0};
    Gcs__V1__Response *response = NULL;
    must(gcs_health(f->host, &response, &err), &err);
    struct host_health health = {
        .ready = response->health->ready,
        .inbox_connected = response->health->inbox_connected,
        .inconsistent = response->health->inconsistent,
        .containers = response->health->containers,
    };
    gcs_response_free(response);
    return health;
}

bool
host_wait_connected(struct sidecar_fixture *f, bool connected)
{
    int64_t deadline_ns = clock_now_ns() + GATE_PATIENCE_NS;
    while (host_health(f).inbox_connected != connected)
        if (clock_now_ns() > deadline_ns)
            return false;
    return true;
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

void
assert_denied(struct gcs_error *err, enum gcs_status status, const char *reason)
{
    bool found = false;
    assert_int_equal(GCS_PERMISSION_DENIED, status);
    assert_int_equal(0x80004005, err->hresult);
    assert_non_null(err->denial);
    assert_string_equal("deny", err->denial->decision);
    for (size_t i = 0; i < err->denial->errors_count; i++)
        found = found || strstr(err->denial->errors[i], reason) != NULL;
    if (!found)
        fail_msg("'%s' is not among the reasons: %s", reason, err->denial->json);
    gcs_error_clear(err);
}
