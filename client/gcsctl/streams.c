#include "client/gcsctl/streams.h"

#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <termios.h>
#include <unistd.h>

#include "server/base/fd.h"

/* One parked read. Short, so that the end of a process whose output stays open is soon seen. */
#define READ_WAIT_MS 2000
/* How long to wait before input is offered again to a process that does not read. */
#define INPUT_RETRY_MS 50
#define INPUT_CHUNK    (64 * 1024)

struct output {
    struct streams *streams;
    Gcs__V1__Stream stream;
    int fd;
    pthread_t thread;
    bool running;
    int outcome; /* exit status; the thread writes it, streams_finish() reads it after the join */
};

struct streams {
    struct streams_config config;
    struct output outputs[2];
    pthread_t input_thread;
    bool input_running;
    int stop_fd;     /* readable: the input thread ends */
    atomic_bool cut; /* outputs end as soon as nothing is there */
    bool was_terminal;
    struct termios terminal; /* to restore */
};

/* Says why a stream ends early; returns the exit status. */
static int
output_failed(struct output *output, struct gcs_error *err)
{
    struct tool *tool = output->streams->config.tool;
    const char *name = output->fd == STDOUT_FILENO ? "stdout" : "stderr";
    if (err->status != GCS_PERMISSION_DENIED)
        return tool_fail(tool, name, err);
    /* The process itself is allowed and runs; that its output is private is no failure. */
    tool_progress(tool, name, "the policy keeps this output in the guest");
    gcs_error_clear(err);
    return EXIT_STATUS_OK;
}

/* Writes what came. When nobody reads our output any more the process is asked to end, as a pipe's writer
 * would be; its output is still read, so that it can end. */
static void
output_write(struct output *output, const ProtobufCBinaryData *data, bool *closed)
{
    if (*closed || fd_write_full(output->fd, data->data, data->len) == 0)
        return;
    *closed = true;
    stopper_raise(output->streams->config.stopper, SIGTERM);
}

static void *
output_run(void *arg)
{
    struct output *output = arg;
    struct streams *streams = output->streams;
    const struct streams_config *config = &streams->config;
    uint64_t offset = 0;
    bool closed = false, ended = false;

    while (!ended) {
        bool cut = atomic_load(&streams->cut); /* before the read: what it then finds is all there was */
        struct gcs_error err = {0};
        Gcs__V1__Response *response = NULL;
        if (gcs_read(config->tool->conn, config->container_id, config->process_id, output->stream, offset,
                     cut ? 0 : READ_WAIT_MS, &response, &err) != GCS_OK) {
            output->outcome = output_failed(output, &err);
            break;
        }
        const Gcs__V1__ReadStreamResponse *read_stream = response->read_stream;
        output_write(output, &read_stream->data, &closed);
        offset += read_stream->data.len;
        ended = read_stream->eof || (cut && read_stream->data.len == 0);
        gcs_response_free(response);
    }
    return NULL;
}

/* True: time to go on; false: the input is over. */
static bool
pause_for(struct streams *streams, int timeout_ms)
{
    struct pollfd stop = {.fd = streams->stop_fd, .events = POLLIN};
    return poll(&stop, 1, timeout_ms) == 0;
}

/* Writes a chunk to the process, or the end of input with size 0. False: nobody will read the rest. */
static bool
input_send(struct streams *streams, const char *bytes, size_t size, uint64_t *offset)
{
    const struct streams_config *config = &streams->config;
    for (;;) {
        uint64_t before = *offset;
        struct gcs_error err = {0};
        if (gcs_write(config->tool->conn, config->container_id, config->process_id, bytes, size, size == 0,
                      offset, &err) != GCS_OK) {
            gcs_error_clear(&err); /* the process has closed its input or has ended, which its end tells */
            return false;
        }
        size_t accepted = (size_t)(*offset - before);
        if (accepted >= size)
            return true;
        bytes += accepted;
        size -= accepted;
        if (accepted == 0 && !pause_for(streams, INPUT_RETRY_MS))
            return false;
    }
}

static void *
input_run(void *arg)
{
    struct streams *streams = arg;
    uint64_t offset = 0;
    char *bytes = malloc(INPUT_CHUNK);
    struct pollfd fds[] = {{.fd = STDIN_FILENO, .events = POLLIN},
                           {.fd = streams->stop_fd, .events = POLLIN}};

    while (bytes != NULL) {
        if (poll(fds, 2, -1) < 0 && errno != EINTR)
            break;
        if (fds[1].revents != 0)
            break;
        if (fds[0].revents == 0)
            continue;
        ssize_t count = read(STDIN_FILENO, bytes, INPUT_CHUNK);
        if (count < 0 && (errno == EINTR || errno == EAGAIN))
            continue;
        if (count <= 0) {
            (void)input_send(streams, "", 0, &offset);
            break;
        }
        if (!input_send(streams, bytes, (size_t)count, &offset))
            break;
    }
    free(bytes);
    return NULL;
}

static void
terminal_raw(struct streams *streams)
{
    if (!streams->config.terminal || !streams->config.input ||
        tcgetattr(STDIN_FILENO, &streams->terminal) != 0)
        return;
    struct termios raw = streams->terminal;
    cfmakeraw(&raw);
    streams->was_terminal = tcsetattr(STDIN_FILENO, TCSADRAIN, &raw) == 0;
}

static enum status
output_start(struct streams *streams, size_t index, Gcs__V1__Stream stream, int fd, struct error *err)
{
    struct output *output = &streams->outputs[index];
    *output = (struct output){.streams = streams, .stream = stream, .fd = fd};
    int failed = pthread_create(&output->thread, NULL, output_run, output);
    if (failed != 0)
        return error_set(err, STATUS_RESOURCE_EXHAUSTED, failed, "a thread for the output");
    output->running = true;
    return STATUS_OK;
}

static enum status
threads_start(struct streams *streams, struct error *err)
{
    TRY(output_start(streams, 0, GCS__V1__STREAM__STREAM_STDOUT, STDOUT_FILENO, err));
    if (!streams->config.terminal)
        TRY(output_start(streams, 1, GCS__V1__STREAM__STREAM_STDERR, STDERR_FILENO, err));
    if (!streams->config.input)
        return STATUS_OK;
    int failed = pthread_create(&streams->input_thread, NULL, input_run, streams);
    if (failed != 0)
        return error_set(err, STATUS_RESOURCE_EXHAUSTED, failed, "a thread for the input");
    streams->input_running = true;
    return STATUS_OK;
}

enum status
streams_start(const struct streams_config *config, struct streams **ret, struct error *err)
{
    struct streams *streams = calloc(1, sizeof(*streams));
    if (streams == NULL)
        return error_set(err, STATUS_RESOURCE_EXHAUSTED, 0, "no memory");
    streams->config = *config;
    streams->stop_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    terminal_raw(streams); /* before the first output, which is laid out for a raw terminal */
    enum status status = streams->stop_fd < 0
                             ? error_set(err, STATUS_RESOURCE_EXHAUSTED, errno, "a descriptor for the input")
                             : threads_start(streams, err);
    if (status != STATUS_OK) {
        (void)streams_finish(streams, false);
        return status;
    }
    *ret = streams;
    return STATUS_OK;
}

int
streams_finish(struct streams *streams, bool drain)
{
    if (streams == NULL)
        return EXIT_STATUS_OK;
    if (!drain)
        atomic_store(&streams->cut, true);
    uint64_t one = 1;
    (void)!write(streams->stop_fd, &one, sizeof(one));
    if (streams->input_running)
        pthread_join(streams->input_thread, NULL);

    int worst = EXIT_STATUS_OK;
    for (size_t i = 0; i < 2; i++) {
        if (!streams->outputs[i].running)
            continue;
        pthread_join(streams->outputs[i].thread, NULL);
        if (streams->outputs[i].outcome != EXIT_STATUS_OK)
            worst = streams->outputs[i].outcome;
    }
    if (streams->was_terminal)
        (void)tcsetattr(STDIN_FILENO, TCSADRAIN, &streams->terminal);
    fd_closep(&streams->stop_fd);
    free(streams);
    return worst;
}
