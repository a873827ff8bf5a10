/*
 * The terminal as a page that is drawn over: its other screen, without a cursor, until it is given back as it
 * was. Plain ANSI: a table that is drawn anew needs five escape sequences, which every terminal of today has,
 * and no library.
 *
 * Threads: the main thread's. The signals that end it (stopper_signals()) and SIGWINCH are blocked before.
 */
#ifndef CLIENT_GCSCTL_SCREEN_H
#define CLIENT_GCSCTL_SCREEN_H

#include <stdbool.h>
#include <termios.h>

#include "server/base/error.h"

struct screen {
    int signal_fd;
    bool drawn; /* standard output is on its other screen */
    bool keys;  /* standard input is the terminal as well, and `before` is how it was */
    struct termios before;
};

/* Takes the terminal that is standard output. FAILED_PRECONDITION: it is none. */
MUST_CHECK enum status screen_open(struct screen *screen, struct error *err);

/* Takes no terminal, only the signals: for what is printed line by line. screen_close() ends it as well. */
MUST_CHECK enum status screen_watch(struct screen *screen, struct error *err);

/* Draws the text, cut to the terminal's size. */
void screen_draw(const char *text);

enum screen_word {
    SCREEN_AGAIN, /* the time is over, or the size has changed: draw anew */
    SCREEN_QUIT,  /* a signal, `q`, or the terminal is gone */
};

/* Waits up to `timeout_ms`. */
enum screen_word screen_wait(const struct screen *screen, int timeout_ms);

/* Gives the terminal back. */
void screen_close(struct screen *screen);

#endif
