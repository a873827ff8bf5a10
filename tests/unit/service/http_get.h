/* An HTTP client for tests of the endpoint: one request a connection, the whole answer as text. */
#ifndef TESTS_UNIT_SERVICE_HTTP_GET_H
#define TESTS_UNIT_SERVICE_HTTP_GET_H

/*
 * Connects to unix:PATH or tcp:127.0.0.1:PORT, sends `request` as it is (with "Connection: close" in it,
 * unless the answer is to be waited for) and reads until the other side closes.
 *
 * Returns the answer, head and body, which the caller frees; NULL when nobody listens.
 */
char *http_exchange(const char *address, const char *request);

/* The same for GET `path`. */
char *http_get(const char *address, const char *path);

/* The connected socket itself, or -1. */
int http_connect(const char *address);

/* The body of an answer; "" without one. */
const char *http_body(const char *answer);

#endif
