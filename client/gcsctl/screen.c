#include "client/gcsctl/screen.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/signalfd.h>
#include <unistd.h>

#include "client/gcsctl/stopper.h"
#include "server/base/fd.h"

#define ENTER "\033[?1049h\033[?25l"
#define LEAVE "\033[?25h\033[?1049l"

static void
put(const char *text)
{
    (void)fd_write_full(STDOUT_FILENO, text, strlen(text)); /* a terminal that is gone ends the wait */
}

enum status
screen_watch(struct screen *screen, struct error *err)
{
    sigset_t set;
    stopper_signals(&set);
    sigaddset(&set, SIGWINCH);
    *screen = (struct screen){.signal_fd = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK)};
    if (screen->signal_fd < 0)
        return error_set(err, STATUS_RESOURCE_EXHAUSTED, errno, "wait for signals");
    return STATUS_OK;
}

enum status
screen_open(struct screen *screen, struct error *err)
{
    if (!isatty(STDOUT_FILENO))
        return error_set(
            err, STATUS_FAILED_PRECONDITION, 0,
            "standard output is no terminal: --once prints the table, --json lines for a program");
    TRY(screen_watch(screen, err));
    screen->keys = tcgetattr(STDIN_FILENO, &screen->before) == 0;
    if (screen->keys) {
        struct termios raw = screen->before;
        raw.c_lflag &= ~(tcflag_t)(ICANON | ECHO);
        raw.c_cc[VSUSP] = _POSIX_VDISABLE; /* stopped, it would leave the terminal as it is now */
        tcsetattr(STDIN_FILENO, TCSANOW, &raw);
    }
    screen->drawn = true;
    put(ENTER);
    return STATUS_OK;
}

/* One line, cut at the width; what was behind it goes. */
static void
draw_line(FILE *out, const char *line, size_t length, size_t width)
{
    fwrite(line, 1, length < width ? length : width, out);
    fputs("\033[K", out);
}

void
screen_draw(const char *text)
{
    struct winsize size;
    if (ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) != 0 || size.ws_row == 0 || size.ws_col == 0)
        size = (struct winsize){.ws_row = 24, .ws_col = 80};
    char *page = NULL;
    size_t bytes;
    FILE *out = open_memstream(&page, &bytes);
    if (out == NULL)
        return;
    fputs("\033[H", out);
    for (unsigned row = 0; row < size.ws_row && *text != '\0'; row++) {
        size_t length = strcspn(text, "\n");
        if (row > 0)
            fputs("\r\n", out);
        draw_line(out, text, length, size.ws_col);
        text += length + (text[length] == '\n');
    }
    fputs("\033[J", out);
    if (fclose(out) == 0)
        put(page);
    free(page);
}

/* Whether a signal that ends it has come; changes of the size are taken out. */
static bool
is_told_to_end(const struct screen *screen)
{
    struct signalfd_siginfo info;
    while (read(screen->signal_fd, &info, sizeof(info)) == (ssize_t)sizeof(info))
        if (info.ssi_signo != SIGWINCH)
            return true;
    return false;
}

enum screen_word
screen_wait(const struct screen *screen, int timeout_ms)
{
    struct pollfd fds[] = {{.fd = screen->signal_fd, .events = POLLIN},
                           {.fd = screen->keys ? STDIN_FILENO : -1, .events = POLLIN}};
    if (poll(fds, 2, timeout_ms) <= 0)
        return SCREEN_AGAIN;
    if ((fds[0].revents & POLLIN) && is_told_to_end(screen))
        return SCREEN_QUIT;
    if (fds[1].revents == 0)
        return SCREEN_AGAIN;
    char key;
    return read(STDIN_FILENO, &key, 1) == 1 && key != 'q' ? SCREEN_AGAIN : SCREEN_QUIT;
}

void
screen_close(struct screen *screen)
{
    if (screen->drawn)
        put(LEAVE);
    if (screen->keys)
        tcsetattr(STDIN_FILENO, TCSANOW, &screen->before);
    fd_closep(&screen->signal_fd);
}
