/* What the load generator is told. Each command is one line, "MODE key=value ...":
 *
 *     down|up|pass  bulk transfer to or from the client; pass: untouched, after a ClientHello
 *     connect       connections one after another: handshake, one byte echoed, close
 *     pingpong      64 bytes there and back on each connection, one at a time
 *     hold          open connections, one byte echoed on each, and keep them
 *     release       close what `hold` opened
 *     probe         one connection that verifies the gateway; says what was negotiated
 *
 * keys: port, connections, seconds, warm (seconds before the measured ones), sni, alpn,
 * node (HOST:PORT that a CONNECT asks the gateway for before anything else),
 * pids (of the gateway, "1,2"): their CPU time is read at the instants that bound the count.
 */
#include "client.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define OPENING 32    /* connections that are opened at the same time */
#define PATIENCE 30.0 /* seconds for everything that is not measured */

static const char *const modes[] = {"down", "up", "pass", "connect", "pingpong", "hold", "probe",
                                    "release"};

struct reading {
    double at, cpu, idle;
    uint64_t count, bytes, sent, received, lines;
};

static double cpu_seconds(clockid_t clock)
{
    struct timespec t;
    if (clock_gettime(clock, &t))
        return -1;
    return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

static struct reading take_reading(void)
{
    struct reading here = {.at = now(), .idle = idle};
    for (int i = 0; i < run.pid_count; i++) {
        /* The CPU clock of another process: clock_getcpuclockid(3) without its wrapper. */
        double spent = cpu_seconds((clockid_t)((~(unsigned)run.pids[i] << 3) | 2));
        if (spent < 0)
            fail_run("gateway process %d has ended", run.pids[i]);
        here.cpu += spent;
    }
    here.count = run.count;
    here.bytes = run.bytes;
    here.sent = target.sent;
    here.received = target.received;
    here.lines = target.lines;
    return here;
}

static void keep_turning(double seconds)
{
    double until = now() + seconds;
    while (!run.failures && now() < until)
        turn(until);
}

/* Open all connections, few at a time; a failure or PATIENCE ends it. */
static void open_all(void)
{
    double until = now() + PATIENCE;
    while (!run.failures && now() < until
           && (run.started < run.connections || run.established < run.connections)) {
        while (run.started < run.connections && run.opening < OPENING)
            start(run.started++);
        if (run.mode == CONNECT && run.started == run.connections)
            return;
        turn(until);
    }
    if (!run.failures && run.established < run.connections)
        fail_run("only %d of %d connections were open in time", run.established, run.connections);
}

/* Close what is open, well or at once, and wait until the target has seen all ends. */
static void close_all(int well)
{
    double until = now() + PATIENCE;
    run.stopping = 1;
    for (int i = 0; i < run.started; i++) {
        struct client *client = run.slots[i];
        if (!client || (well && (run.mode == CONNECT || client->stage == ENDING)))
            continue; /* it ends by itself */
        if (well && client->stage == WORKING) {
            finish(client);
            push(&client->end);
        } else {
            drop(client);
        }
    }
    while ((run.open || target.open) && now() < until)
        turn(until);
    if (run.open)
        fail_run("the gateway left %d connections open that the client had ended", run.open);
    for (int i = 0; i < run.started; i++)
        if (run.slots[i])
            drop(run.slots[i]);
    if (target.open)
        fail_run("the gateway kept %llu connections to the target",
                 (unsigned long long)target.open);
    if (target.damaged)
        fail_run("damaged bytes reached the target");
    target.damaged = 0;
}

static void print_failure(void)
{
    putchar('"');
    for (const char *c = run.failure; *c; c++)
        if (*c >= ' ')
            printf(*c == '"' || *c == '\\' ? "\\%c" : "%c", *c);
    putchar('"');
}

static int by_value(const void *left, const void *right)
{
    float a = *(const float *)left, b = *(const float *)right;
    return (a > b) - (a < b);
}

static double middle_first(void)
{
    unsigned count = run.firsts < FIRSTS ? run.firsts : FIRSTS;
    if (!count)
        return 0;
    qsort(run.first, count, sizeof *run.first, by_value);
    return (double)run.first[count / 2];
}

static void answer(const struct reading *from, const struct reading *to)
{
    printf("{\"failures\": %llu, \"failure\": ", (unsigned long long)run.failures);
    print_failure();
    if (from)
        printf(", \"wall\": %.6f, \"cpu\": %.6f, \"idle\": %.6f, \"count\": %llu, "
               "\"bytes\": %llu, \"sent\": %llu, \"received\": %llu, \"lines\": %llu, \"first\": %.7f",
               to->at - from->at, to->cpu - from->cpu, to->idle - from->idle,
               (unsigned long long)(to->count - from->count),
               (unsigned long long)(to->bytes - from->bytes),
               (unsigned long long)(to->sent - from->sent),
               (unsigned long long)(to->received - from->received),
               (unsigned long long)(to->lines - from->lines), middle_first());
    else
        printf(", \"open\": %d, \"established\": %d", run.open, run.established);
    puts("}");
}

static void measure(void)
{
    open_all();
    run.going = 1;
    if (run.mode == PINGPONG)
        for (int i = 0; i < run.started; i++)
            if (run.slots[i])
                push(&run.slots[i]->end);
    spinning = 1;
    keep_turning(run.warm);
    struct reading from = take_reading();
    keep_turning(run.seconds);
    struct reading to = take_reading();
    spinning = 0;
    close_all(run.mode == CONNECT || run.mode == PINGPONG);
    answer(&from, &to);
}

static void probe(void)
{
    open_all();
    struct client *client = run.slots[0];
    if (client && run.established) {
        const unsigned char *token;
        unsigned length;
        SSL_get0_alpn_selected(client->ssl, &token, &length);
        int group = (int)SSL_get_negotiated_group(client->ssl);
        const char *group_name = SSL_group_to_name(client->ssl, group);
        printf("{\"failures\": 0, \"failure\": \"\", \"version\": \"%s\", \"cipher\": \"%s\", "
               "\"group\": \"%s\", \"alpn\": \"%.*s\", \"resumed\": %s}\n",
               SSL_get_version(client->ssl), SSL_get_cipher_name(client->ssl),
               group_name ? group_name : "?", (int)length, token ? (const char *)token : "",
               SSL_session_reused(client->ssl) ? "true" : "false");
        close_all(1);
        return;
    }
    close_all(0);
    answer(NULL, NULL);
}

static void set(const char *key, char *value)
{
    if (!strcmp(key, "port"))
        run.port = atoi(value);
    else if (!strcmp(key, "connections"))
        run.connections = atoi(value);
    else if (!strcmp(key, "seconds"))
        run.seconds = atof(value);
    else if (!strcmp(key, "warm"))
        run.warm = atof(value);
    else if (!strcmp(key, "sni"))
        snprintf(run.sni, sizeof run.sni, "%s", value);
    else if (!strcmp(key, "alpn"))
        snprintf(run.alpn, sizeof run.alpn, "%s", value);
    else if (!strcmp(key, "node"))
        snprintf(run.node, sizeof run.node, "%s", value);
    else if (!strcmp(key, "pids"))
        for (char *rest, *pid = strtok_r(value, ",", &rest); pid && run.pid_count < 64;
             pid = strtok_r(NULL, ",", &rest))
            run.pids[run.pid_count++] = atoi(pid);
    else
        die("unknown key: %s", key);
}

void command(char *line)
{
    char *rest, *word = strtok_r(line, " ", &rest);
    size_t mode = 0, known = sizeof modes / sizeof *modes;
    while (mode < known && word && strcmp(word, modes[mode]))
        mode++;
    if (!word || mode == known)
        die("unknown command: %s", word ? word : "(empty)");
    if (mode == RELEASE) {
        close_all(1);
        answer(NULL, NULL);
        return;
    }
    if (run.open)
        die("connections are held: release them first");
    free(run.slots);
    memset(&run, 0, sizeof run);
    run.mode = (enum mode)mode;
    run.connections = 1;
    run.seconds = 1;
    while ((word = strtok_r(NULL, " ", &rest))) {
        char *value = strchr(word, '=');
        if (!value)
            die("not key=value: %s", word);
        *value = 0;
        set(word, value + 1);
    }
    if (run.connections < 1 || !(run.slots = calloc((size_t)run.connections, sizeof *run.slots)))
        die("bad number of connections");
    if (run.mode == PASS)
        write_hello();
    if (run.mode == PROBE) {
        probe();
    } else if (run.mode == HOLD) {
        open_all();
        if (run.failures)
            close_all(0);
        answer(NULL, NULL);
    } else {
        measure();
    }
}
