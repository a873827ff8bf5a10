/*
 * A line between a client and a server on this machine: a unix socket whose connections are passed on, byte
 * by byte, to another one, until the line is cut. What a killed program looks like to its peer, without
 * killing one.
 */
#ifndef TESTS_INTEGRATION_SIDECAR_LINE_H
#define TESTS_INTEGRATION_SIDECAR_LINE_H

struct line;

/* Listens at `path` and passes on to `target`; both are socket paths, copied. Aborts when it cannot. */
struct line *line_new(const char *path, const char *target);
void line_free(struct line *line);

/* Closes every connection and stops listening. Returns when it is done. */
void line_cut(struct line *line);

/* Listens again. */
void line_mend(struct line *line);

#endif
