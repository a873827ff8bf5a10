#include "client/gcsctl/init_process.h"

#include <errno.h>
#include <stdlib.h>

static int
init_process(struct tool *tool, const char *step, const char *container_id, uint32_t *ret)
{
    const Gcs__V1__PropertyType type = GCS__V1__PROPERTY_TYPE__PROPERTY_TYPE_PROCESS_LIST;
    struct gcs_error err = {0};
    Gcs__V1__Response *response = NULL;
    if (gcs_get_properties(tool->conn, container_id, &type, 1, &response, &err) != GCS_OK)
        return tool_fail(tool, step, &err);

    const Gcs__V1__GetPropertiesResponse *properties = response->get_properties;
    uint32_t found = 0;
    for (size_t i = 0; i < properties->n_processes; i++)
        if (properties->processes[i]->is_init)
            found = properties->processes[i]->process_id;
    gcs_response_free(response);
    if (found == 0) {
        struct error local;
        (void)error_set(&local, STATUS_NOT_FOUND, 0, "the container has no init process: it was not started");
        return tool_fail_local(tool, step, &local);
    }
    *ret = found;
    return EXIT_STATUS_OK;
}

int
process_of_arguments(struct tool *tool, const char *step, const struct arguments *arguments, uint32_t *ret)
{
    if (arguments->count < 2)
        return init_process(tool, step, arguments->items[0], ret);

    const char *text = arguments->items[1];
    char *end;
    errno = 0;
    unsigned long number = strtoul(text, &end, 10);
    if (text[0] < '0' || text[0] > '9' || *end != '\0' || errno != 0 || number == 0 || number > UINT32_MAX) {
        struct error local;
        (void)error_set(&local, STATUS_INVALID_ARGUMENT, 0, "'%s' is no process id", text);
        return tool_fail_local(tool, step, &local);
    }
    *ret = (uint32_t)number;
    return EXIT_STATUS_OK;
}
