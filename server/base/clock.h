/*
 * Time. Monotonic unless the name says wall; durations and points in time are nanoseconds in an int64_t.
 */
#ifndef SERVER_BASE_CLOCK_H
#define SERVER_BASE_CLOCK_H

#include <stdint.h>
#include <time.h>

#define NS_PER_US 1000LL
#define NS_PER_MS 1000000LL
#define NS_PER_S  1000000000LL

/* Room for the longest wall-clock text, NUL included. */
#define CLOCK_WALL_TEXT_MAX 32

/* CLOCK_MONOTONIC now. */
int64_t clock_now_ns(void);

/* The wall clock now: microseconds since the Unix epoch. */
uint64_t clock_wall_us(void);

/* A monotonic point in time as pthread_cond_timedwait() takes it (the condition must use CLOCK_MONOTONIC). */
struct timespec clock_timespec(int64_t at_ns);

/* The wall clock as RFC 3339 in UTC with microseconds, "2026-11-23T21:09:57.000123Z". */
void clock_wall_text(char text[CLOCK_WALL_TEXT_MAX]);

#endif
