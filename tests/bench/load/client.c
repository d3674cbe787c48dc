/* One client connection, from dial to close: what it does at work is the run's mode. */
#include "client.h"

#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <openssl/err.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#ifndef IP_BIND_ADDRESS_NO_PORT
#define IP_BIND_ADDRESS_NO_PORT 24
#endif

#define MESSAGE 64    /* bytes of a round trip */
#define ADDRESSES 1000 /* client addresses, so that limits per address see many clients */

struct run run;

static SSL_CTX *quick, *strict;
static unsigned char hello[4096];
static size_t hello_length;

/* -- TLS contexts ------------------------------------------------------------------------- */

static int believe(X509_STORE_CTX *store, void *unused)
{
    (void)store, (void)unused;
    return 1; /* `probe` verifies; to do so on each connection would only slow the load down */
}

static const char *tls_reason(void)
{
    unsigned long code = ERR_get_error();
    ERR_clear_error();
    const char *text = code ? ERR_reason_error_string(code) : NULL;
    return text ? text : "no reason given";
}

static SSL_CTX *context(char **arguments)
{
    SSL_CTX *made = SSL_CTX_new(TLS_client_method());
    if (!made || !SSL_CTX_set_min_proto_version(made, TLS1_3_VERSION)
        || !SSL_CTX_load_verify_file(made, arguments[0])
        || SSL_CTX_use_certificate_chain_file(made, arguments[1]) != 1
        || SSL_CTX_use_PrivateKey_file(made, arguments[2], SSL_FILETYPE_PEM) != 1
        || SSL_CTX_set_ciphersuites(made, arguments[3]) != 1
        || SSL_CTX_set1_groups_list(made, arguments[4]) != 1)
        die("cannot make a TLS context: %s", tls_reason());
    SSL_CTX_set_read_ahead(made, 1); /* a record in one read instead of two */
    SSL_CTX_set_session_cache_mode(made, SSL_SESS_CACHE_OFF);
    SSL_CTX_set_mode(made, SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER
                               | SSL_MODE_RELEASE_BUFFERS);
    return made;
}

void prepare_client(char **arguments)
{
    strict = context(arguments);
    SSL_CTX_set_verify(strict, SSL_VERIFY_PEER, NULL);
    quick = context(arguments);
    SSL_CTX_set_cert_verify_callback(quick, believe, NULL);
}

/* Give *ssl* the names of the current run. */
static void name(SSL *ssl)
{
    if (run.sni[0] && (!SSL_set_tlsext_host_name(ssl, run.sni) || !SSL_set1_host(ssl, run.sni)))
        die("bad server name");
    if (run.alpn[0]) {
        unsigned char wire[257];
        size_t length = strlen(run.alpn);
        wire[0] = (unsigned char)length;
        memcpy(wire + 1, run.alpn, length);
        if (SSL_set_alpn_protos(ssl, wire, (unsigned)length + 1))
            die("bad ALPN token");
    }
}

/* Keep the ClientHello that a real client would send, for routes that look no further. */
void write_hello(void)
{
    SSL *ssl = SSL_new(quick);
    BIO *in = BIO_new(BIO_s_mem()), *out = BIO_new(BIO_s_mem());
    if (!ssl || !in || !out)
        die("no memory");
    SSL_set_bio(ssl, in, out);
    name(ssl);
    SSL_connect(ssl);
    int length = BIO_read(out, hello, sizeof hello);
    if (length <= 0)
        die("no ClientHello");
    hello_length = (size_t)length;
    SSL_free(ssl);
    ERR_clear_error();
}

/* -- one connection ----------------------------------------------------------------------- */

static void settle(struct client *client)
{
    if (!client->settled)
        run.opening--;
    client->settled = 1;
}

void drop(struct client *client)
{
    settle(client);
    run.open--;
    run.slots[client->slot] = NULL;
    SSL_free(client->ssl);
    leave(&client->end);
}

void fail_run(const char *format, ...)
{
    va_list arguments;
    if (run.failures++)
        return; /* the first one tells most */
    va_start(arguments, format);
    vsnprintf(run.failure, sizeof run.failure, format, arguments);
    va_end(arguments);
}

static void fail(struct client *client, const char *what)
{
    static const char *const stages[] = {"dialling", "in the handshake", "asking", "at work", "at the end"};
    fail_run("%s: %s", stages[client->stage], what);
    drop(client);
}

/* What an SSL call that moved nothing means: 0 "not yet", -1 the connection is over. */
static int stuck(struct client *client, int result)
{
    int error = SSL_get_error(client->ssl, result);
    if (error == SSL_ERROR_WANT_READ || error == SSL_ERROR_WANT_WRITE)
        return 0;
    if (error == SSL_ERROR_ZERO_RETURN)
        fail(client, "the gateway ended the connection");
    else if (error == SSL_ERROR_SYSCALL)
        fail(client, errno ? strerror(errno) : "the gateway cut the connection");
    else
        fail(client, tls_reason());
    return -1;
}

/* Everything before the work itself is done. */
static int work(struct client *client)
{
    if (run.mode == DOWN || run.mode == UP || run.mode == PINGPONG) {
        settle(client);
        run.established++;
    }
    return 1;
}

/* Say close_notify and FIN, then wait for the gateway's. */
int finish(struct client *client)
{
    client->stage = ENDING;
    SSL_shutdown(client->ssl);
    shutdown(client->end.fd, SHUT_WR);
    return 1;
}

static int ending(struct client *client)
{
    ssize_t got = recv(client->end.fd, NULL, PATTERN, MSG_TRUNC);
    if (got > 0)
        return 1;
    if (got < 0 && errno == EAGAIN)
        return 0;
    int slot = client->slot;
    drop(client);
    if (run.mode == CONNECT) {
        run.count++;
        if (!run.stopping)
            start(slot);
    }
    return 0;
}

static void note_first(struct client *client)
{
    if (client->said > 0)
        run.first[run.firsts++ % FIRSTS] = (float)(now() - client->said);
    client->said = -1;
}

/* Say CONNECT and read the answer's head, never a byte past it; what follows is the target's. */
static int asking(struct client *client)
{
    ERR_clear_error();
    errno = 0;
    if (!client->asked) {
        char line[700];
        int length = snprintf(line, sizeof line, "CONNECT %s HTTP/1.1\r\nHost: %s\r\n\r\n", run.node,
                              run.node);
        client->said = now();
        int put = SSL_write(client->ssl, line, length);
        if (put <= 0) {
            stuck(client, put);
            return 0;
        }
        client->asked = 1;
    }
    while (client->kept < 4 || memcmp(client->head + client->kept - 4, "\r\n\r\n", 4)) {
        if (client->kept == sizeof client->head) {
            fail(client, "the answer to CONNECT is too long");
            return 0;
        }
        int got = SSL_read(client->ssl, client->head + client->kept, 1);
        if (got <= 0) {
            stuck(client, got);
            return 0;
        }
        client->kept++;
    }
    note_first(client);
    if (memcmp(client->head, "HTTP/1.1 200", 12)) {
        client->head[40] = 0;
        fail(client, client->head);
        return 0;
    }
    client->asked = 0;
    client->kept = 0;
    client->stage = WORKING;
    return work(client);
}

/* Send *length* bytes and wait for their echo. 1: it is here, 0: not yet, -1: over. */
static int ask(struct client *client, size_t length)
{
    unsigned char answer[MESSAGE];
    if (!client->asked) {
        ERR_clear_error();
        if (!client->said)
            client->said = now();
        int put = SSL_write(client->ssl, pattern, (int)length);
        if (put <= 0)
            return stuck(client, put);
        client->asked = 1;
        client->kept = 0;
        return 0; /* no answer can be here yet; its arrival is an event */
    }
    ERR_clear_error();
    errno = 0;
    int got = SSL_read(client->ssl, answer, (int)(length - client->kept));
    if (got <= 0)
        return stuck(client, got);
    if (!matches(answer, (size_t)got, client->kept)) {
        fail(client, "the echo is damaged");
        return -1;
    }
    client->kept += (size_t)got;
    if (client->kept < length)
        return 0;
    client->asked = 0;
    note_first(client);
    return 1;
}

static int down(struct client *client)
{
    for (size_t moved = 0; moved < BUDGET;) {
        int got;
        if (run.mode == DOWN && client->offset < CHECKED) {
            ERR_clear_error();
            errno = 0;
            got = SSL_read(client->ssl, scratch, (int)CHUNK);
            if (got <= 0) {
                stuck(client, got);
                return 0;
            }
            if (!matches(scratch, (size_t)got, client->offset)) {
                fail(client, "the bytes are damaged");
                return 0;
            }
        } else {
            /* Not decrypted: it would make the load dearer than the gateway. The target
             * counts the payload. */
            int check = client->offset < CHECKED;
            got = (int)recv(client->end.fd, scratch, CHUNK, check ? 0 : MSG_TRUNC);
            if (got < 0 && errno == EAGAIN)
                return 0;
            if (got <= 0) {
                fail(client, got ? strerror(errno) : "the gateway ended the connection");
                return 0;
            }
            if (check && !matches(scratch, (size_t)got, client->offset)) {
                fail(client, "the bytes are damaged");
                return 0;
            }
        }
        client->offset += (uint64_t)got;
        run.bytes += (uint64_t)got;
        moved += (size_t)got;
    }
    return 1;
}

static int up(struct client *client)
{
    for (size_t moved = 0; moved < BUDGET;) {
        size_t begin = client->offset % PATTERN;
        size_t part = PATTERN - begin < CHUNK ? PATTERN - begin : CHUNK;
        ERR_clear_error();
        errno = 0;
        int put = SSL_write(client->ssl, pattern + begin, (int)part);
        if (put <= 0) {
            stuck(client, put);
            return 0;
        }
        client->offset += (uint64_t)put;
        run.bytes += (uint64_t)put;
        moved += (size_t)put;
    }
    return 1;
}

static int working(struct client *client)
{
    int answer;
    switch (run.mode) {
    case DOWN:
    case PASS:
        return down(client);
    case UP:
        return up(client);
    case PINGPONG:
        if (!run.going)
            return 0;
        while ((answer = ask(client, MESSAGE)) == 1)
            run.count++;
        return 0;
    default:
        if (client->settled && run.mode != CONNECT)
            return 0; /* held */
        if ((answer = ask(client, 1)) != 1)
            return 0;
        settle(client);
        run.established++;
        return run.mode == CONNECT ? finish(client) : 0;
    }
}

static int dialling(struct client *client)
{
    struct sockaddr_in gateway = {.sin_family = AF_INET,
                                  .sin_port = htons((uint16_t)run.port),
                                  .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    if (connect(client->end.fd, (struct sockaddr *)&gateway, sizeof gateway) && errno != EISCONN) {
        if (errno != EINPROGRESS && errno != EALREADY)
            fail(client, strerror(errno));
        return 0;
    }
    if (run.mode != PASS) {
        client->stage = SHAKING;
        return 1;
    }
    client->stage = WORKING;
    settle(client);
    run.established++;
    if (send(client->end.fd, hello, hello_length, 0) != (ssize_t)hello_length) {
        fail(client, "the ClientHello did not fit");
        return 0;
    }
    return 1;
}

static int shaking(struct client *client)
{
    ERR_clear_error();
    errno = 0;
    int result = SSL_connect(client->ssl);
    if (result != 1) {
        stuck(client, result);
        return 0;
    }
    const unsigned char *token;
    unsigned length;
    SSL_get0_alpn_selected(client->ssl, &token, &length);
    if (length && (length != strlen(run.alpn) || memcmp(token, run.alpn, length))) {
        fail(client, "the gateway chose another ALPN token");
        return 0;
    }
    client->stage = run.node[0] ? ASKING : WORKING;
    return client->stage == WORKING ? work(client) : 1;
}

static int ready(struct end *end)
{
    struct client *client = (struct client *)end;
    switch (client->stage) {
    case DIALLING:
        return dialling(client);
    case SHAKING:
        return shaking(client);
    case ASKING:
        return asking(client);
    case WORKING:
        return working(client);
    default:
        return ending(client);
    }
}

void start(int slot)
{
    static unsigned turns;
    unsigned which = turns++ % ADDRESSES;
    struct sockaddr_in own = {.sin_family = AF_INET,
                              .sin_addr.s_addr = htonl(0x7f010001u + (which / 250 << 8)
                                                       + which % 250)};
    struct client *client = calloc(1, sizeof *client);
    int on = 1, fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (!client || fd < 0)
        die("cannot open a connection: %s", strerror(errno));
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    setsockopt(fd, IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, &on, sizeof on);
    if (bind(fd, (struct sockaddr *)&own, sizeof own))
        die("cannot use a client address: %s", strerror(errno));
    client->end.fd = fd;
    client->end.ready = ready;
    client->slot = slot;
    run.slots[slot] = client;
    run.open++;
    run.opening++;
    if (run.mode != PASS) {
        if (!(client->ssl = SSL_new(run.mode == PROBE ? strict : quick)) || !SSL_set_fd(client->ssl, fd))
            die("no memory");
        name(client->ssl);
    }
    watch(&client->end);
    push(&client->end);
}
