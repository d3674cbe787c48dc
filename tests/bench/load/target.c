/* The target behind the gateway: echo, source and sink, each on its own port, and a port that
 * swallows syslog datagrams. */
#include "load.h"

#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

struct target target;

struct served {
    struct end end;
    uint64_t offset;   /* bytes of the pattern moved so far */
    size_t kept, sent; /* echo: bytes read, bytes of them written back */
    int ended;         /* echo: the client's side is done */
    unsigned char bytes[4096];
};

static int gone(struct served *served)
{
    target.open--;
    leave(&served->end);
    return 0;
}

static int echo(struct end *end)
{
    struct served *served = (struct served *)end;
    int over = end->events & (EPOLLRDHUP | EPOLLHUP | EPOLLERR);
    for (;;) {
        while (served->sent < served->kept) {
            ssize_t put = send(end->fd, served->bytes + served->sent,
                               served->kept - served->sent, 0);
            if (put < 0)
                return errno == EAGAIN ? 0 : gone(served);
            served->sent += (size_t)put;
        }
        if (served->ended)
            return gone(served);
        /* A short read took all there was: what comes later brings another event. */
        if (served->kept && served->kept < sizeof served->bytes && !over) {
            served->kept = served->sent = 0;
            return 0;
        }
        ssize_t got = recv(end->fd, served->bytes, sizeof served->bytes, 0);
        if (got < 0)
            return errno == EAGAIN ? 0 : gone(served);
        served->kept = (size_t)got;
        served->sent = 0;
        served->ended = got == 0;
    }
}

/* Send the pattern for ever; what comes in (a pass-through route's hello) is dropped. */
static int source(struct end *end)
{
    struct served *served = (struct served *)end;
    if (end->events & ~(uint32_t)EPOLLOUT) {
        end->events = 0;
        ssize_t got = recv(end->fd, NULL, PATTERN, MSG_TRUNC);
        if (got == 0 || (got < 0 && errno != EAGAIN))
            return gone(served);
    }
    for (size_t moved = 0; moved < BUDGET;) {
        size_t start = served->offset % PATTERN;
        size_t part = PATTERN - start < CHUNK ? PATTERN - start : CHUNK;
        ssize_t put = send(end->fd, pattern + start, part, 0);
        if (put < 0)
            return errno == EAGAIN ? 0 : gone(served);
        served->offset += (uint64_t)put;
        target.sent += (uint64_t)put;
        moved += (size_t)put;
    }
    return 1;
}

/* Compare the first bytes with the pattern, count the others without copying them. */
static int sink(struct end *end)
{
    struct served *served = (struct served *)end;
    for (size_t moved = 0; moved < BUDGET;) {
        int check = served->offset < CHECKED;
        ssize_t got = recv(end->fd, scratch, CHUNK, check ? 0 : MSG_TRUNC);
        if (got == 0 || (got < 0 && errno != EAGAIN))
            return gone(served);
        if (got < 0)
            return 0;
        if (check && !matches(scratch, (size_t)got, served->offset))
            target.damaged++;
        served->offset += (uint64_t)got;
        target.received += (uint64_t)got;
        moved += (size_t)got;
    }
    return 1;
}

static int accepting(struct end *end, int (*ready)(struct end *))
{
    for (int i = 0; i < 64; i++) {
        int fd = accept4(end->fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC), on = 1;
        if (fd < 0) {
            if (errno == EAGAIN)
                return 0;
            if (errno == ECONNABORTED || errno == EINTR)
                continue;
            die("the target cannot accept: %s", strerror(errno));
        }
        setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
        struct served *served = calloc(1, sizeof *served);
        if (!served)
            die("no memory");
        served->end.fd = fd;
        served->end.ready = ready;
        target.open++;
        watch(&served->end);
    }
    return 1;
}

static int accept_echo(struct end *end) { return accepting(end, echo); }
static int accept_source(struct end *end) { return accepting(end, source); }
static int accept_sink(struct end *end) { return accepting(end, sink); }

/* Many datagrams a call, and nothing of them copied but one byte. */
static int logged(struct end *end)
{
    static struct mmsghdr messages[64];
    static struct iovec parts[64];
    for (int i = 0; i < 64; i++) {
        parts[i] = (struct iovec){scratch, 1};
        messages[i].msg_hdr = (struct msghdr){.msg_iov = &parts[i], .msg_iovlen = 1};
    }
    int got = recvmmsg(end->fd, messages, 64, MSG_TRUNC, NULL);
    if (got > 0)
        target.lines += (uint64_t)got;
    return got == 64;
}

static void serve(int fd, int (*ready)(struct end *))
{
    struct end *end = calloc(1, sizeof *end);
    if (!end)
        die("no memory");
    end->fd = fd;
    end->ready = ready;
    watch(end);
}

void start_target(void)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t length = sizeof address;
    int log = socket(AF_INET, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0), room = 8 << 20;
    if (log < 0 || bind(log, (struct sockaddr *)&address, sizeof address)
        || getsockname(log, (struct sockaddr *)&address, &length))
        die("cannot open the log port: %s", strerror(errno));
    if (setsockopt(log, SOL_SOCKET, SO_RCVBUFFORCE, &room, sizeof room))
        setsockopt(log, SOL_SOCKET, SO_RCVBUF, &room, sizeof room);
    target.log = ntohs(address.sin_port);
    serve(log, logged);
    serve(listening(&target.echo), accept_echo);
    serve(listening(&target.source), accept_source);
    serve(listening(&target.sink), accept_sink);
}
