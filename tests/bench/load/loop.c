/* The load generator of the bench: a client that makes load and the target behind the gateway,
 * in one thread, so that no wake-up between the two costs anything on their core.
 *
 *     load CA.pem CERT.pem KEY.pem CIPHERSUITE GROUP
 *
 * It prints one line of JSON with the ports of its targets, then reads commands (see commands.c)
 * and answers each with one line of JSON. It ends when its standard input does.
 */
#include "load.h"

#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

unsigned char pattern[PATTERN];
unsigned char scratch[PATTERN];
int spinning;
double idle;
static int epoll = -1;
static struct end *first, **last = &first;

double now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

void die(const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    fputs("load: ", stderr);
    vfprintf(stderr, format, arguments);
    fputc('\n', stderr);
    va_end(arguments);
    exit(1);
}

void push(struct end *end)
{
    if (end->queued)
        return;
    end->queued = 1;
    end->next = NULL;
    *last = end;
    last = &end->next;
}

void watch(struct end *end)
{
    struct epoll_event event = {.events = EPOLLIN | EPOLLOUT | EPOLLRDHUP | EPOLLET,
                                .data.ptr = end};
    if (epoll_ctl(epoll, EPOLL_CTL_ADD, end->fd, &event))
        die("epoll_ctl: %s", strerror(errno));
}

void leave(struct end *end)
{
    if (end->closed)
        return;
    end->closed = 1;
    close(end->fd); /* its only descriptor, so epoll forgets it too */
    push(end);      /* the loop frees it when its turn comes */
}

void turn(double until)
{
    struct epoll_event events[256];
    double began = spinning ? now() : 0, wait = first || spinning ? 0 : until - now();
    int found = epoll_wait(epoll, events, 256, wait > 0 ? (int)(wait * 1000) + 1 : 0);
    if (found < 0 && errno != EINTR)
        die("epoll_wait: %s", strerror(errno));
    if (spinning && !found && !first)
        idle += now() - began;
    for (int i = 0; i < found; i++) {
        struct end *end = events[i].data.ptr;
        end->events |= events[i].events;
        push(end);
    }
    /* Only what is queued now: an end that queues itself again waits for the next pass. */
    struct end *end = first;
    first = NULL;
    last = &first;
    while (end) {
        struct end *after = end->next;
        end->queued = 0;
        if (!end->closed && end->ready(end))
            push(end);
        if (end->closed && !end->queued)
            free(end);
        end = after;
    }
}

int listening(int *port)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t length = sizeof address;
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0 || bind(fd, (struct sockaddr *)&address, sizeof address) || listen(fd, 4096)
        || getsockname(fd, (struct sockaddr *)&address, &length))
        die("cannot listen: %s", strerror(errno));
    *port = ntohs(address.sin_port);
    return fd;
}

int matches(const unsigned char *bytes, size_t length, uint64_t offset)
{
    while (length) {
        size_t start = offset % PATTERN, part = PATTERN - start;
        if (part > length)
            part = length;
        if (memcmp(bytes, pattern + start, part))
            return 0;
        bytes += part, length -= part, offset += part;
    }
    return 1;
}

static char line[8192];
static size_t filled;

/* Read commands; `main` runs them, outside of the loop's turn, because they turn it themselves. */
static int commands(struct end *end)
{
    if (filled == sizeof line - 1)
        die("a command is too long");
    ssize_t got = read(end->fd, line + filled, sizeof line - 1 - filled);
    if (got < 0 && errno == EAGAIN)
        return 0;
    if (got <= 0)
        exit(0);
    filled += (size_t)got;
    return 1;
}

static void run_commands(void)
{
    char *stop;
    while (filled && (stop = memchr(line, '\n', filled))) {
        static char one[sizeof line];
        size_t used = (size_t)(stop + 1 - line);
        memcpy(one, line, used - 1);
        one[used - 1] = 0;
        memmove(line, line + used, filled -= used);
        command(one);
    }
}

int main(int argc, char **argv)
{
    if (argc != 6)
        die("usage: load CA CERT KEY CIPHERSUITE GROUP");
    signal(SIGPIPE, SIG_IGN);
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    setvbuf(stdout, NULL, _IOLBF, 0);
    uint64_t x = 88172645463325252u;
    for (size_t i = 0; i < PATTERN; i++) {
        x ^= x << 13, x ^= x >> 7, x ^= x << 17;
        pattern[i] = (unsigned char)x;
    }
    if ((epoll = epoll_create1(EPOLL_CLOEXEC)) < 0)
        die("epoll_create1: %s", strerror(errno));
    prepare_client(argv + 1);
    start_target();
    struct end *input = calloc(1, sizeof *input);
    if (!input)
        die("no memory");
    input->fd = STDIN_FILENO;
    input->ready = commands;
    fcntl(STDIN_FILENO, F_SETFL, fcntl(STDIN_FILENO, F_GETFL) | O_NONBLOCK);
    watch(input);
    printf("{\"echo\": %d, \"source\": %d, \"sink\": %d, \"log\": %d}\n", target.echo,
           target.source, target.sink, target.log);
    for (;;) {
        turn(now() + 3600);
        run_commands();
    }
}
