/*
 * A host that is there to be killed: asks the same of a guest over and over, until it is.
 *
 *     fault_client URL wait ID PROCESS WAIT_MS     waits for the process, WAIT_MS at a time
 *     fault_client URL read ID PROCESS WAIT_MS     reads its output likewise
 *     fault_client URL create ID                   creates the seed's container, once, with a mount
 *
 * Ends with 1 when the guest refuses or does not answer.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "client/gcs.h"
#include "tests/host/test_spec.h"

static enum gcs_status
ask(struct gcs_connection *host, char **argv, struct gcs_error *err)
{
    const char *id = argv[3];
    if (strcmp(argv[2], "create") == 0) {
        struct test_spec spec;
        spec_init(&spec);
        spec_add_mount(&spec, "sandbox:///tmp/atlas/emptydir/vol", "/volumemountscratch");
        return gcs_create(host, id, &spec.spec, err);
    }
    uint32_t process = (uint32_t)strtoul(argv[4], NULL, 10), wait_ms = (uint32_t)strtoul(argv[5], NULL, 10);
    enum gcs_status status;
    do {
        struct gcs_exit ended;
        Gcs__V1__Response *output = NULL;
        if (strcmp(argv[2], "wait") == 0)
            status = gcs_wait(host, id, process, wait_ms, &ended, err);
        else
            status = gcs_read(host, id, process, GCS__V1__STREAM__STREAM_STDOUT, 0, wait_ms, &output, err);
        gcs_response_free(output);
    } while (status == GCS_OK || status == GCS_DEADLINE_EXCEEDED);
    return status;
}

int
main(int argc, char **argv)
{
    struct gcs_connection *host = NULL;
    struct gcs_error err = {0};
    if (argc < 4 || (strcmp(argv[2], "create") != 0 && argc < 6))
        return 2;
    enum gcs_status status = gcs_connect(argv[1], NULL, &host, &err);
    if (status == GCS_OK)
        status = ask(host, argv, &err);
    if (status != GCS_OK)
        fprintf(stderr, "%s\n", err.message);
    gcs_error_clear(&err);
    gcs_disconnect(host);
    return status != GCS_OK;
}
