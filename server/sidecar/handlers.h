/*
 * The handlers, by family; each is an rpc_handler_fn (see server/rpc/method.h) whose row stands in methods.c.
 */
#ifndef SERVER_SIDECAR_HANDLERS_H
#define SERVER_SIDECAR_HANDLERS_H

struct request;

/* handle_service.c */
void handle_negotiate(struct request *req);
void handle_health(struct request *req);
void handle_watch_events(struct request *req);
void handle_set_policy(struct request *req);

/* handle_stacks.c */
void handle_dump_stacks(struct request *req);

/* handle_logging.c */
void handle_modify_service_settings(struct request *req);

/* handle_layers.c */
void handle_block_cims(struct request *req);

/* handle_root.c */
void handle_container_scratch(struct request *req);
void handle_combined_layers(struct request *req);

/* handle_container_mount.c */
void handle_container_mount(struct request *req);

/* handle_network.c */
void handle_network_namespace(struct request *req);
void handle_network(struct request *req);

/* handle_create.c */
void handle_create_container(struct request *req);

/* handle_lifecycle.c */
void handle_start_container(struct request *req);
void handle_shutdown_graceful(struct request *req);
void handle_shutdown_forced(struct request *req);
void handle_delete_container_state(struct request *req);
void handle_get_properties(struct request *req);

/* handle_process.c */
void handle_execute_process(struct request *req);
void handle_wait_for_process(struct request *req);
void handle_signal_process(struct request *req);
void handle_read_stream(struct request *req);
void handle_write_stream(struct request *req);
void handle_close_stream(struct request *req);
void handle_resize_console(struct request *req);

/* handle_refused.c */
void handle_refused(struct request *req);

#endif
