/*
 * The `ping` of the test layer: takes the Windows form `ping -t ADDRESS`, so that the command of a container
 * made for Windows runs word for word. It depends on nothing but the kernel (linked static), and keeps its
 * promise where a container gives it little: without an ICMP socket or a route it says so once a second and
 * goes on. As PID 1 the kernel ignores for it every signal it has no handler for, so it has them.
 *
 *     ping [-t | -n COUNT] ADDRESS    IPv4 in digits, or localhost; 4 times without -t or -n
 *
 * Exit status: 0 when a reply came, 1 when none did, 2 for a bad command line, 128 + N when signal N ended
 * it.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/ip.h>
#include <netinet/ip_icmp.h>
#include <poll.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define DATA_BYTES    32 /* as Windows sends */
#define INTERVAL_NS   1000000000LL
#define COUNT_DEFAULT 4

struct options {
    const char *address_text;
    struct sockaddr_in address;
    bool forever;
    unsigned long count;
};

struct ping {
    int fd;       /* -1: no socket could be had */
    int fd_error; /* why */
    bool raw;     /* replies begin with their IP header, and those of others come too */
    uint16_t id;  /* ours; the kernel replaces it on a datagram socket */
    uint16_t sequence;
    unsigned long sent, received;
};

struct echo {
    struct icmphdr header;
    unsigned char data[DATA_BYTES];
};

static volatile sig_atomic_t ended_by;

static void
signal_note(int number)
{
    ended_by = number;
}

/* Blocks the ending signals except inside ppoll(), so that none is lost between a look and the wait. */
static void
signals_prepare(sigset_t *while_waiting)
{
    static const int numbers[] = {SIGINT, SIGTERM, SIGQUIT, SIGHUP};
    struct sigaction action = {.sa_handler = signal_note};
    sigset_t ours;
    sigemptyset(&ours);
    for (size_t i = 0; i < sizeof numbers / sizeof numbers[0]; i++) {
        sigaction(numbers[i], &action, NULL);
        sigaddset(&ours, numbers[i]);
    }
    sigprocmask(SIG_BLOCK, &ours, while_waiting);
    for (size_t i = 0; i < sizeof numbers / sizeof numbers[0]; i++)
        sigdelset(while_waiting, numbers[i]);
}

static int64_t
now_ns(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return now.tv_sec * 1000000000LL + now.tv_nsec;
}

static bool
options_parse(int argc, char **argv, struct options *options)
{
    *options = (struct options){.count = COUNT_DEFAULT};
    for (int i = 1; i < argc; i++) {
        char *end = NULL;
        if (strcmp(argv[i], "-t") == 0)
            options->forever = true;
        else if (strcmp(argv[i], "-n") == 0 && i + 1 < argc) {
            options->count = strtoul(argv[++i], &end, 10);
            if (*end != '\0' || options->count == 0)
                return false;
        } else if (argv[i][0] != '-' && !options->address_text)
            options->address_text = argv[i];
        else
            return false;
    }
    if (!options->address_text)
        return false;
    const char *digits =
        strcmp(options->address_text, "localhost") == 0 ? "127.0.0.1" : options->address_text;
    options->address.sin_family = AF_INET;
    return inet_pton(AF_INET, digits, &options->address.sin_addr) == 1;
}

/* A datagram socket needs a group within net.ipv4.ping_group_range, a raw one CAP_NET_RAW: try both. */
static void
socket_open(struct ping *ping)
{
    ping->fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, IPPROTO_ICMP);
    ping->raw = ping->fd < 0;
    if (ping->raw)
        ping->fd = socket(AF_INET, SOCK_RAW | SOCK_CLOEXEC | SOCK_NONBLOCK, IPPROTO_ICMP);
    ping->fd_error = ping->fd < 0 ? errno : 0;
}

static uint16_t
checksum(const void *bytes, size_t size)
{
    const unsigned char *in = bytes;
    uint32_t sum = 0;
    for (size_t i = 0; i + 1 < size; i += 2)
        sum += (uint32_t)(in[i] << 8 | in[i + 1]);
    sum = (sum >> 16) + (sum & 0xFFFF);
    sum += sum >> 16;
    return htons((uint16_t)~sum);
}

/* Sends one request; says why when it cannot. */
static bool
request_send(struct ping *ping, const struct options *options)
{
    struct echo echo = {.header.type = ICMP_ECHO};
    ping->sent++;
    ping->sequence++;
    echo.header.un.echo.id = htons(ping->id);
    echo.header.un.echo.sequence = htons(ping->sequence);
    for (size_t i = 0; i < sizeof echo.data; i++)
        echo.data[i] = (unsigned char)('a' + i % 23);
    echo.header.checksum = checksum(&echo, sizeof echo);
    if (ping->fd < 0) {
        printf("Request to %s not sent: no ICMP socket: %s\n", options->address_text,
               strerror(ping->fd_error));
        return false;
    }
    if (sendto(ping->fd, &echo, sizeof echo, 0, (const struct sockaddr *)&options->address,
               sizeof options->address) < 0) {
        printf("Destination %s unreachable: %s\n", options->address_text, strerror(errno));
        return false;
    }
    return true;
}

/* Whether what lies in the socket is the reply to the last request. */
static bool
reply_receive(const struct ping *ping)
{
    unsigned char packet[1500];
    ssize_t size = recv(ping->fd, packet, sizeof packet, 0);
    size_t offset = 0;
    if (size > 0 && ping->raw)
        offset = (size_t)(packet[0] & 0x0F) * 4;
    struct icmphdr header;
    if (size < 0 || (size_t)size < offset + sizeof header)
        return false;
    memcpy(&header, packet + offset, sizeof header);
    return header.type == ICMP_ECHOREPLY && ntohs(header.un.echo.sequence) == ping->sequence &&
           (!ping->raw || ntohs(header.un.echo.id) == ping->id);
}

static void
reply_print(const struct options *options, int64_t took_ns)
{
    long long ms = took_ns / 1000000;
    if (ms == 0)
        printf("Reply from %s: bytes=%d time<1ms\n", options->address_text, DATA_BYTES);
    else
        printf("Reply from %s: bytes=%d time=%lldms\n", options->address_text, DATA_BYTES, ms);
}

/* Waits out the interval, or until a signal; prints the reply when it comes. */
static void
interval_wait(struct ping *ping, const struct options *options, bool waiting, int64_t began_ns,
              const sigset_t *while_waiting)
{
    bool asked = waiting;
    while (!ended_by) {
        int64_t left_ns = began_ns + INTERVAL_NS - now_ns();
        if (left_ns <= 0)
            break;
        struct timespec left = {.tv_sec = left_ns / 1000000000LL, .tv_nsec = left_ns % 1000000000LL};
        struct pollfd entry = {.fd = ping->fd, .events = POLLIN}; /* poll ignores a negative descriptor */
        if (ppoll(&entry, 1, &left, while_waiting) > 0 && reply_receive(ping) && waiting) {
            waiting = false;
            ping->received++;
            reply_print(options, now_ns() - began_ns);
        }
    }
    if (asked && waiting && !ended_by)
        printf("Request timed out.\n");
}

int
main(int argc, char **argv)
{
    struct options options;
    if (!options_parse(argc, argv, &options)) {
        fprintf(stderr, "usage: ping [-t | -n COUNT] ADDRESS\n");
        return 2;
    }
    sigset_t while_waiting;
    signals_prepare(&while_waiting);
    setvbuf(stdout, NULL, _IOLBF, 0);

    struct ping ping = {.id = (uint16_t)getpid()};
    socket_open(&ping);
    printf("Pinging %s with %d bytes of data:\n", options.address_text, DATA_BYTES);
    while (!ended_by && (options.forever || ping.sent < options.count)) {
        int64_t began_ns = now_ns();
        bool waiting = request_send(&ping, &options);
        interval_wait(&ping, &options, waiting, began_ns, &while_waiting);
    }
    printf("Packets: Sent = %lu, Received = %lu, Lost = %lu\n", ping.sent, ping.received,
           ping.sent - ping.received);
    if (ended_by)
        return 128 + ended_by;
    return ping.received > 0 ? 0 : 1;
}
