/* The inner loops of `exchange.py` and `connect.py`, which see to everything else.
 *
 * A loop in Python takes as long for an exchange as the fastest servers do: it would measure itself. This one takes a third.
 * Rule: the same system calls in the same order as the loops in Python, so that a server cannot tell them apart; and the same
 * clock, which is CLOCK_MONOTONIC for time.perf_counter.
 *
 * Both functions return the number of operations done, or a negative number: the reasons are in `compiled.py`.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <stdint.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#ifndef IP_BIND_ADDRESS_NO_PORT
#define IP_BIND_ADDRESS_NO_PORT 24
#endif

enum { STALLED = -1, CLOSED = -2, PIECES = -3, FAILED = -4 };
enum { EVENTS = 512, CHUNK = 65536 };

static double now(void)
{
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return time.tv_sec + time.tv_nsec * 1e-9;
}

/* --- connections that stay --------------------------------------------------------------------- */

/* `missing` and `since` are indexed by descriptor: bytes still to come of the reply, and when its message was sent. */
int64_t exchange(int epoll, const char *message, int64_t size, double stop_at, int64_t limit, int64_t stalled_ms,
                 int64_t *missing, double *since, double *latencies, int64_t room)
{
    static char buffer[CHUNK];
    struct epoll_event ready[EVENTS];
    int64_t count = 0;
    double time = 0;
    while (time < stop_at && count < limit && count < room) {
        int events = epoll_wait(epoll, ready, EVENTS, stalled_ms);
        if (events < 0 && errno == EINTR) continue;
        if (events < 0) return FAILED;
        if (events == 0) return STALLED;
        for (int i = 0; i < events; i++) {
            int fd = ready[i].data.fd;
            ssize_t got = recv(fd, buffer, CHUNK, 0);
            if (got < 0 && errno == EAGAIN) continue;
            if (got < 0) return FAILED;
            if (got == 0) return CLOSED;
            missing[fd] -= got;
            if (missing[fd] < 0) return PIECES;
            if (missing[fd] > 0) continue;
            time = now();
            if (count < room) latencies[count] = time - since[fd];
            count++;
            since[fd] = time;
            missing[fd] = size;
            if (send(fd, message, size, MSG_NOSIGNAL) != size) return FAILED;
        }
    }
    return count < room ? count : room;
}

/* --- connect, one exchange, close -------------------------------------------------------------- */

/* `state` and `since` are indexed by descriptor. */
enum { NONE = 0, CONNECTING = 1, WAITING = 2, ENDING = 3 };
enum { CLOSE = 0, HALF_CLOSE = 1, RESET = 2 };

static int begin(int epoll, uint16_t port, const char *message, int64_t size, int64_t *source, int64_t *state, double *since)
{
    int one = 1;
    struct sockaddr_in address = {.sin_family = AF_INET};
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0) return FAILED;
    setsockopt(fd, IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, &one, sizeof one);
    address.sin_addr.s_addr = htonl(0x7f000002 + (*source)++ % 16); /* 127.0.0.2 to 127.0.0.17 */
    if (bind(fd, (struct sockaddr *)&address, sizeof address)) return FAILED;
    address.sin_addr.s_addr = htonl(0x7f000001);
    address.sin_port = htons(port);
    since[fd] = now();
    if (connect(fd, (struct sockaddr *)&address, sizeof address) && errno != EINPROGRESS) return FAILED;
    state[fd] = send(fd, message, size, MSG_NOSIGNAL) == size ? WAITING : CONNECTING;
    if (state[fd] == CONNECTING && errno != EAGAIN && errno != EPIPE) return FAILED;
    struct epoll_event event = {.events = state[fd] == WAITING ? EPOLLIN : EPOLLOUT, .data.fd = fd};
    return epoll_ctl(epoll, EPOLL_CTL_ADD, fd, &event) ? FAILED : fd;
}

int64_t connects(int epoll, uint16_t port, const char *message, int64_t size, int64_t in_flight, int64_t *under_way, int64_t ending,
                 double stop_at, int64_t limit, int64_t stalled_ms, int64_t *source, int64_t *state, double *since,
                 double *latencies, int64_t room)
{
    static char buffer[CHUNK];
    struct epoll_event ready[EVENTS];
    int64_t count = 0;
    double time = 0;
    for (; *under_way < in_flight; ++*under_way)
        if (begin(epoll, port, message, size, source, state, since) < 0) return FAILED;
    while (time < stop_at && count < limit && count < room) {
        int events = epoll_wait(epoll, ready, EVENTS, stalled_ms);
        if (events < 0 && errno == EINTR) continue;
        if (events < 0) return FAILED;
        if (events == 0) return STALLED;
        for (int i = 0; i < events; i++) {
            int fd = ready[i].data.fd;
            if (state[fd] == CONNECTING) {
                struct epoll_event event = {.events = EPOLLIN, .data.fd = fd};
                if (send(fd, message, size, MSG_NOSIGNAL) != size) return FAILED;
                epoll_ctl(epoll, EPOLL_CTL_MOD, fd, &event);
                state[fd] = WAITING;
                continue;
            }
            ssize_t got = recv(fd, buffer, CHUNK, 0);
            if (got < 0) return FAILED;
            if (state[fd] == WAITING) {
                if (got == 0) return CLOSED;
                if (got != size) return PIECES;
                if (ending == HALF_CLOSE) {
                    shutdown(fd, SHUT_WR);
                    state[fd] = ENDING;
                    continue;
                }
            } else if (got != 0)
                return PIECES;
            time = now();
            if (count < room) latencies[count] = time - since[fd];
            count++;
            if (ending == RESET) {
                struct linger at_once = {.l_onoff = 1, .l_linger = 0};
                setsockopt(fd, SOL_SOCKET, SO_LINGER, &at_once, sizeof at_once);
            }
            state[fd] = NONE;
            close(fd);
            if (begin(epoll, port, message, size, source, state, since) < 0) return FAILED;
        }
    }
    return count < room ? count : room;
}
