/*
 * A completion: for the main thread alone, at start and at the end, to wait for something that ends
 * elsewhere.
 */
#ifndef SERVER_INBOX_COMPLETION_H
#define SERVER_INBOX_COMPLETION_H

#include <semaphore.h>

struct completion {
    sem_t semaphore;
};

void completion_init(struct completion *completion);

/* Once for each wait. Any thread. */
void completion_signal(struct completion *completion);

/* Waits; for ever only where what is waited for has a time limit of its own, as a command has. */
void completion_wait(struct completion *completion);

#endif
