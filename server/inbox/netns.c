#include "server/inbox/netns.h"

#include <errno.h>
#include <fcntl.h>
#include <net/if.h>
#include <pthread.h>
#include <sched.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/socket.h>
#include <unistd.h>

#include <netlink/netlink.h>
#include <netlink/route/addr.h>
#include <netlink/route/link.h>
#include <netlink/route/link/veth.h>
#include <netlink/route/nexthop.h>
#include <netlink/route/route.h>

#include "server/base/fd.h"

/* libnl counts bytes of a link's name and of nothing else that we give it; addresses were checked before. */

static void
nl_socket_freep(struct nl_sock **sock)
{
    nl_socket_free(*sock);
}

static void
nl_addr_putp(struct nl_addr **addr)
{
    nl_addr_put(*addr);
}

static void
link_putp(struct rtnl_link **link)
{
    rtnl_link_put(*link);
}

static void
addr_putp(struct rtnl_addr **addr)
{
    rtnl_addr_put(*addr);
}

static void
route_putp(struct rtnl_route **route)
{
    rtnl_route_put(*route);
}

static enum status
no_memory(struct error *err)
{
    return error_set(err, STATUS_RESOURCE_EXHAUSTED, 0, "no memory for a netlink message");
}

/* A negative code of libnl. */
static enum status
refused(int code, const char *what, const char *name, struct error *err)
{
    enum status status = STATUS_INTERNAL;
    if (code == -NLE_EXIST)
        status = STATUS_ALREADY_EXISTS;
    else if (code == -NLE_OBJ_NOTFOUND || code == -NLE_NODEV)
        status = STATUS_NOT_FOUND;
    else if (code == -NLE_NOMEM)
        status = STATUS_RESOURCE_EXHAUSTED;
    return error_set(err, status, 0, "%s '%.100s': %s", what, name, nl_geterror(code));
}

/* -- threads that enter a namespace -- */

struct visit {
    const char *path; /* make: where to keep the new one */
    int ns_fd;        /* enter: the namespace */
    int socket_fd;    /* enter: of netlink, the caller's */
    int failure;      /* an errno; 0: done */
    const char *what; /* that failed */
};

static int
loopback_up(void)
{
    CLEANUP(fd_closep)
    int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    struct ifreq request = {.ifr_name = "lo"};
    if (fd < 0 || ioctl(fd, SIOCGIFFLAGS, &request) < 0)
        return -1;
    request.ifr_flags |= IFF_UP;
    return ioctl(fd, SIOCSIFFLAGS, &request);
}

static void *
make_main(void *arg)
{
    struct visit *visit = arg;
    if (unshare(CLONE_NEWNET) < 0)
        visit->what = "make a network namespace";
    else if (loopback_up() < 0)
        visit->what = "bring the loopback up";
    else if (mount("/proc/thread-self/ns/net", visit->path, NULL, MS_BIND, NULL) < 0)
        visit->what = "keep a network namespace";
    visit->failure = visit->what ? errno : 0;
    return NULL;
}

static void *
enter_main(void *arg)
{
    struct visit *visit = arg;
    if (setns(visit->ns_fd, CLONE_NEWNET) < 0)
        visit->what = "enter a network namespace";
    else if ((visit->socket_fd = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_ROUTE)) < 0)
        visit->what = "open a netlink socket";
    visit->failure = visit->what ? errno : 0;
    return NULL;
}

static enum status
visit_run(struct visit *visit, void *(*thread_main)(void *), struct error *err)
{
    pthread_t thread;
    int failure = pthread_create(&thread, NULL, thread_main, visit);
    if (failure != 0)
        return error_set(err, STATUS_RESOURCE_EXHAUSTED, failure, "start a thread");
    pthread_join(thread, NULL);
    if (visit->what)
        return error_set(err, STATUS_INTERNAL, visit->failure, "%s", visit->what);
    return STATUS_OK;
}

enum status
netns_make(const char *path, struct error *err)
{
    struct visit visit = {.path = path};
    return visit_run(&visit, make_main, err);
}

enum status
netns_drop(const char *path, struct error *err)
{
    if (umount2(path, UMOUNT_NOFOLLOW | MNT_DETACH) < 0 && errno != EINVAL)
        return error_set(err, STATUS_INTERNAL, errno, "let go of a network namespace");
    return STATUS_OK;
}

/* -- netlink -- */

/* A socket of the namespace, or of the guest (ns_fd -1). */
static enum status
connect_in(int ns_fd, struct nl_sock **ret, struct error *err)
{
    struct nl_sock *sock = nl_socket_alloc();
    if (!sock)
        return no_memory(err);
    enum status status = STATUS_OK;
    int code = 0;
    if (ns_fd >= 0) {
        struct visit visit = {.ns_fd = ns_fd, .socket_fd = -1};
        status = visit_run(&visit, enter_main, err);
        if (status == STATUS_OK && (code = nl_socket_set_fd(sock, NETLINK_ROUTE, visit.socket_fd)) < 0)
            close(visit.socket_fd);
    } else {
        code = nl_connect(sock, NETLINK_ROUTE);
    }
    if (status == STATUS_OK && code < 0)
        status = refused(code, "connect to", "netlink", err);
    if (status == STATUS_OK)
        *ret = sock;
    else
        nl_socket_free(sock);
    return status;
}

static enum status
address_parse(const char *text, struct nl_addr **ret, struct error *err)
{
    int code = nl_addr_parse(text, AF_UNSPEC, ret);
    return code < 0 ? refused(code, "address", text, err) : STATUS_OK;
}

static enum status
address_add(struct nl_sock *sock, int index, const Gcs__V1__IpConfiguration *configuration, struct error *err)
{
    CLEANUP(nl_addr_putp)
    struct nl_addr *local = NULL;
    CLEANUP(addr_putp)
    struct rtnl_addr *addr = rtnl_addr_alloc();
    if (!addr)
        return no_memory(err);
    TRY(address_parse(configuration->ip_address, &local, err));
    nl_addr_set_prefixlen(local, (int)configuration->prefix_length);
    rtnl_addr_set_ifindex(addr, index);
    if (rtnl_addr_set_local(addr, local) < 0)
        return no_memory(err);
    if (nl_addr_get_family(local) == AF_INET6)
        rtnl_addr_set_flags(addr, 0x02); /* IFA_F_NODAD: a wire of two ends has nobody else's address on it */
    int code = rtnl_addr_add(sock, addr, NLM_F_EXCL);
    return code < 0 ? refused(code, "address", configuration->ip_address, err) : STATUS_OK;
}

static enum status
route_add(struct nl_sock *sock, int index, const Gcs__V1__Route *asked, struct error *err)
{
    CLEANUP(nl_addr_putp)
    struct nl_addr *destination = NULL;
    CLEANUP(nl_addr_putp)
    struct nl_addr *gateway = NULL;
    CLEANUP(route_putp)
    struct rtnl_route *route = rtnl_route_alloc();
    struct rtnl_nexthop *hop = rtnl_route_nh_alloc();
    if (!route || !hop) {
        if (hop)
            rtnl_route_nh_free(hop);
        return no_memory(err);
    }
    rtnl_route_nh_set_ifindex(hop, index);
    rtnl_route_add_nexthop(route, hop); /* the route's from here on */
    TRY(address_parse(asked->destination_prefix, &destination, err));
    rtnl_route_set_family(route, (uint8_t)nl_addr_get_family(destination));
    rtnl_route_set_scope(route, asked->next_hop[0] ? RT_SCOPE_UNIVERSE : RT_SCOPE_LINK);
    rtnl_route_set_priority(route, asked->metric);
    if (rtnl_route_set_dst(route, destination) < 0)
        return no_memory(err);
    if (asked->next_hop[0]) {
        TRY(address_parse(asked->next_hop, &gateway, err));
        rtnl_route_nh_set_gateway(hop, gateway);
    }
    int code = rtnl_route_add(sock, route, NLM_F_CREATE | NLM_F_EXCL);
    return code < 0 ? refused(code, "route to", asked->destination_prefix, err) : STATUS_OK;
}

/* Finds the interface, gives it its addresses and brings it up; its index in `*ret`. */
static enum status
end_up(struct nl_sock *sock, const char *name, Gcs__V1__IpConfiguration *const *addresses, size_t count,
       int *ret, struct error *err)
{
    CLEANUP(link_putp)
    struct rtnl_link *link = NULL;
    CLEANUP(link_putp)
    struct rtnl_link *change = rtnl_link_alloc();
    if (!change)
        return no_memory(err);
    int code = rtnl_link_get_kernel(sock, 0, name, &link);
    if (code < 0)
        return refused(code, "find interface", name, err);
    *ret = rtnl_link_get_ifindex(link);
    for (size_t i = 0; i < count; i++)
        TRY(address_add(sock, *ret, addresses[i], err));
    rtnl_link_set_flags(change, IFF_UP);
    code = rtnl_link_change(sock, link, change, 0);
    return code < 0 ? refused(code, "bring up interface", name, err) : STATUS_OK;
}

static enum status
pair_make(struct nl_sock *sock, int ns_fd, const char *guest_name, const char *name,
          const Gcs__V1__Network *network, struct error *err)
{
    CLEANUP(link_putp)
    struct rtnl_link *link = rtnl_link_veth_alloc();
    CLEANUP(nl_addr_putp)
    struct nl_addr *mac = NULL;
    if (!link)
        return no_memory(err);
    struct rtnl_link *peer = rtnl_link_veth_get_peer(link);
    rtnl_link_set_name(link, guest_name);
    rtnl_link_set_name(peer, name);
    rtnl_link_set_ns_fd(peer, ns_fd);
    int code = 0;
    if (network->mac_address[0]) {
        code = nl_addr_parse(network->mac_address, AF_LLC, &mac);
        if (code >= 0)
            rtnl_link_set_addr(peer, mac);
    }
    if (code >= 0)
        code = rtnl_link_add(sock, link, NLM_F_CREATE | NLM_F_EXCL);
    rtnl_link_put(peer); /* the getter's */
    return code < 0 ? refused(code, "make adapter", guest_name, err) : STATUS_OK;
}

static enum status
ends_set_up(struct nl_sock *guest, int ns_fd, const char *guest_name, const char *name,
            const Gcs__V1__Network *network, struct error *err)
{
    CLEANUP(nl_socket_freep)
    struct nl_sock *inside = NULL;
    int index;
    TRY(connect_in(ns_fd, &inside, err));
    TRY(end_up(guest, guest_name, network->guest_ip_configurations, network->n_guest_ip_configurations,
               &index, err));
    TRY(end_up(inside, name, network->ip_configurations, network->n_ip_configurations, &index, err));
    for (size_t i = 0; i < network->n_routes; i++)
        TRY(route_add(inside, index, network->routes[i], err));
    return STATUS_OK;
}

static int
pair_remove(struct nl_sock *sock, const char *guest_name)
{
    CLEANUP(link_putp)
    struct rtnl_link *link = NULL;
    int code = rtnl_link_get_kernel(sock, 0, guest_name, &link);
    return code < 0 ? code : rtnl_link_delete(sock, link);
}

enum status
netns_adapter_add(const char *path, const char *guest_name, const char *name, const Gcs__V1__Network *network,
                  struct error *err)
{
    CLEANUP(fd_closep)
    int ns_fd = open(path, O_RDONLY | O_CLOEXEC);
    CLEANUP(nl_socket_freep)
    struct nl_sock *guest = NULL;
    if (ns_fd < 0)
        return error_set(err, STATUS_INTERNAL, errno, "open a network namespace");
    TRY(connect_in(-1, &guest, err));
    TRY(pair_make(guest, ns_fd, guest_name, name, network, err));
    enum status status = ends_set_up(guest, ns_fd, guest_name, name, network, err);
    if (status == STATUS_OK)
        return STATUS_OK;
    int code = pair_remove(guest, guest_name);
    if (code < 0)
        error_prefix(err, "(undoing failed as well: %s) ", nl_geterror(code));
    return status;
}

enum status
netns_adapter_remove(const char *guest_name, struct error *err)
{
    CLEANUP(nl_socket_freep)
    struct nl_sock *guest = NULL;
    TRY(connect_in(-1, &guest, err));
    int code = pair_remove(guest, guest_name);
    return code < 0 ? refused(code, "take away adapter", guest_name, err) : STATUS_OK;
}
