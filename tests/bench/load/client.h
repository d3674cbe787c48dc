/* A client connection and the run it belongs to; one run at a time. */
#ifndef CLIENT_H
#define CLIENT_H

#include "load.h"

#include <openssl/ssl.h>

#define FIRSTS 65536 /* the latest that are kept */

enum mode { DOWN, UP, PASS, CONNECT, PINGPONG, HOLD, PROBE, RELEASE };
enum stage { DIALLING, SHAKING, ASKING, WORKING, ENDING };

struct client {
    struct end end;
    SSL *ssl;
    enum stage stage;
    int slot;
    int settled;     /* no longer counted in run.opening */
    int asked;       /* a byte or a message is on its way */
    uint64_t offset; /* bytes of the pattern moved so far */
    size_t kept;     /* bytes of the answer that are here */
    double said;     /* when its first bytes went out */
    char head[512];  /* the answer to CONNECT */
};

struct run {
    enum mode mode;
    int port, connections, pid_count, pids[64];
    double seconds, warm;
    char sni[256], alpn[256];
    char node[256];  /* HOST:PORT to CONNECT to first, or nothing */
    struct client **slots;
    int started, open, opening, established, going, stopping;
    uint64_t count, bytes, failures;
    float first[FIRSTS]; /* seconds from a connection's first bytes to the first answer */
    unsigned firsts;
    char failure[400];
};
extern struct run run;

/* client.c */
void start(int slot);                /* dial; the connection goes on by itself */
int finish(struct client *client);   /* say close_notify and FIN, then wait for the gateway's */
void drop(struct client *client);    /* close at once */
void fail_run(const char *format, ...) __attribute__((format(printf, 1, 2)));
void write_hello(void);              /* make the ClientHello of pass-through runs */

#endif
