/* What the three parts of the load generator share: one thread, one epoll, one run queue. */
#ifndef LOAD_H
#define LOAD_H

#define _GNU_SOURCE 1
#include <stddef.h>
#include <stdint.h>

/* A descriptor in the loop. It is registered once, edge-triggered; `ready` is called until it
 * returns 0 ("nothing to do before the next event") or the end was closed. */
struct end {
    int fd;
    int queued;
    int closed;
    uint32_t events; /* of epoll; whoever acts on some takes them out */
    int (*ready)(struct end *);
    struct end *next;
};

/* loop.c */
double now(void);
void die(const char *format, ...) __attribute__((format(printf, 1, 2), noreturn));
void watch(struct end *end);    /* takes ownership: freed with free() after `leave` */
void leave(struct end *end);    /* closes the descriptor; the end is freed by the loop */
void push(struct end *end);     /* run `ready` in this turn or the next */
void turn(double until);        /* one pass; waits for events until then at the latest */
/* Nobody sleeps while it is set: on one machine the gateway pays for each wake-up of a sleeping
 * client or target, with clients on a network it does not. */
extern int spinning;
extern double idle;             /* seconds spun without anything to do */
int listening(int *port);       /* a listening TCP socket on 127.0.0.1 */

/* Bytes that every bulk transfer repeats, so that what arrives can be compared. */
#define PATTERN ((size_t)1 << 20)
#define CHUNK ((size_t)256 << 10)
#define BUDGET ((size_t)1 << 20) /* bytes that one end moves before others have their turn */
#define CHECKED ((uint64_t)4 << 20) /* bytes of each transfer that are compared, then only counted */
extern unsigned char pattern[PATTERN];
extern unsigned char scratch[PATTERN];
int matches(const unsigned char *bytes, size_t length, uint64_t offset);

/* target.c */
struct target {
    int echo, source, sink, log; /* ports; `log` is UDP */
    uint64_t sent, received;     /* payload of source and sink */
    uint64_t lines;              /* datagrams that reached the log port */
    uint64_t open;               /* connections */
    uint64_t damaged;            /* compared bytes that were not the pattern */
};
extern struct target target;
void start_target(void);

/* client.c */
void prepare_client(char **arguments); /* CA CERT KEY CIPHERSUITE GROUP */

/* commands.c */
void command(char *line); /* runs it and prints one line of JSON */

#endif
