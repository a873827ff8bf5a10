/*
 * One handler for each RPC the inbox answers; methods.c has the table. Each runs once its keys are its own
 * and ends its request exactly once, now or in a continuation (server/rpc/method.h). `req->app` is the struct
 * inbox.
 */
#ifndef SERVER_INBOX_HANDLERS_H
#define SERVER_INBOX_HANDLERS_H

#include "server/inbox/state.h"
#include "server/rpc/request.h"

/* handle_create.c, handle_start.c, handle_stop.c */
void handle_create_container(struct request *req);
void handle_start_container(struct request *req);
void handle_shutdown_graceful(struct request *req);
void handle_shutdown_forced(struct request *req);
void handle_delete_container_state(struct request *req);

/* handle_process.c */
void handle_execute_process(struct request *req);
void handle_wait_for_process(struct request *req);
void handle_signal_process(struct request *req);

/* handle_stream.c */
void handle_read_stream(struct request *req);
void handle_write_stream(struct request *req);
void handle_close_stream(struct request *req);
void handle_resize_console(struct request *req);

/* handle_properties.c */
void handle_get_properties(struct request *req);

/* handle_inventory.c */
void handle_list_objects(struct request *req);

/* handle_settings.c */
void handle_block_cims(struct request *req);
void handle_container_scratch(struct request *req);
void handle_combined_layers(struct request *req);

/* handle_mount.c */
void handle_container_mount(struct request *req);

/* handle_network.c */
void handle_network_namespace(struct request *req);
void handle_network(struct request *req);
/* handle_logging.c */
void handle_modify_service_settings(struct request *req);

/* handle_service.c */
void handle_negotiate(struct request *req);
void handle_health(struct request *req);
void handle_dump_stacks(struct request *req);
void handle_watch_events(struct request *req);

/* The inbox a request is for. */
static inline struct inbox *
inbox_of(const struct request *req)
{
    return req->app;
}

/* Whether the host may use the standard streams: what the sidecar approved; without one, in standalone mode,
 * always. */
bool stdio_allowed(const struct request *req);

/* Appends an event about a container (and a process; 0: none). */
void event_append(struct container *container, Gcs__V1__EventType type, uint32_t process_id);

/* Copies the object's tag, or the one for its container, from the request's approval; none came: empty. */
MUST_CHECK enum status tag_of_object(const struct request *req, struct tag *ret, struct error *err);
MUST_CHECK enum status tag_of_container(const struct request *req, struct tag *ret, struct error *err);

/* Success of a ModifySettings that has nothing to tell. Ends the request. */
void reply_modified(struct request *req);

/* For requests that failed before they held anything: no memory in the arena. */
void reject_no_memory(struct request *req);

#endif
