/*
 * What the service manager is told (sd_notify(3)): readiness, the end, and a word of life while every thread
 * moves. Without a manager, in the environment as NOTIFY_SOCKET, nobody is told, and the watchdog looks all
 * the same: a stuck thread is logged, and is a reason of Health.
 *
 * Threads: the main thread's.
 */
#ifndef SERVER_SERVICE_MANAGER_H
#define SERVER_SERVICE_MANAGER_H

#include "server/service/watchdog.h"

/* A watchdog that logs what is stuck and, when the manager asked for it (WATCHDOG_USEC, for this process),
 * feeds the manager's while nothing is. */
struct watchdog *manager_watchdog_new(void);

/* Starts it at half the manager's interval, or at 30 s; then says READY=1. */
MUST_CHECK enum status manager_ready(struct watchdog *watchdog, struct error *err);

/* STOPPING=1: from here on the manager's stop timeout counts. */
void manager_stopping(void);

#endif
