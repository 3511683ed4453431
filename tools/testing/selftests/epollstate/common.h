/* SPDX-License-Identifier: GPL-2.0 */
/*
 * What the EPOLLSTATE tests share: records, descriptors, and ways to wait for a
 * condition instead of for a while.  The axis of file types is in types.h.
 */

#ifndef _EPOLLSTATE_COMMON_H
#define _EPOLLSTATE_COMMON_H

#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/sockios.h>
#include <linux/tcp.h>
#include <net/if.h>
#include <netinet/in.h>
#include <poll.h>
#include <sched.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/types.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "kselftest_harness.h"
#include "epollstate.h"

/* Nothing that is waited for takes this long unless it never comes. */
#define ES_DEADLINE_MS	20000
/* Seconds for one test: an emulated machine is 20 times slower. */
#define ES_TIMEOUT	120

#define ES_COOKIE	0x0123456789abcdefULL
#define ES_IO		(EPOLLIN | EPOLLOUT | EPOLLRDHUP)

#ifndef ARRAY_SIZE
#define ARRAY_SIZE(a)	(sizeof(a) / sizeof((a)[0]))
#endif

#ifndef TCP_ULP
#define TCP_ULP		31
#endif

#define es_unused	__attribute__((unused))

/* time */

static inline uint64_t es_now_ms(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return ts.tv_sec * 1000ULL + ts.tv_nsec / 1000000;
}

static inline void es_pause(void)
{
	const struct timespec ts = { .tv_nsec = 200000 };

	nanosleep(&ts, NULL);
}

/* True as soon as @cond is, false if it is not within the deadline. */
#define es_until(cond)	es_until_by(cond, es_pause())
/* The same for what takes microseconds, at the cost of a processor. */
#define es_soon(cond)	es_until_by(cond, sched_yield())

#define es_until_by(cond, pause)					\
({									\
	const uint64_t __end = es_now_ms() + ES_DEADLINE_MS;		\
	bool __ok;							\
									\
	while (!(__ok = (cond)) && es_now_ms() < __end)			\
		pause;							\
	__ok;								\
})

/* A small generator, so that a printed seed repeats a run. */
struct es_rnd {
	uint64_t s;
};

static inline uint32_t es_rnd(struct es_rnd *r)
{
	r->s = r->s * 6364136223846793005ULL + 1442695040888963407ULL;
	return r->s >> 33;
}

/* A number from 1 to @max. */
static inline uint32_t es_rnd_upto(struct es_rnd *r, uint32_t max)
{
	return 1 + es_rnd(r) % max;
}

/* The seed: EPOLLSTATE_SEED of the environment, or a new one. */
static inline struct es_rnd es_seed(void)
{
	const char *env = getenv("EPOLLSTATE_SEED");
	struct timespec ts;
	struct es_rnd r;

	clock_gettime(CLOCK_REALTIME, &ts);
	r.s = env ? strtoull(env, NULL, 0) : ts.tv_nsec ^ ts.tv_sec << 20;
	printf("# EPOLLSTATE_SEED=%llu\n", (unsigned long long)r.s);
	fflush(stdout);
	return r;
}

/* epoll */

static inline int es_ctl(int ep, int op, int fd, uint32_t events,
			 uint64_t data)
{
	struct epoll_event ev = { .events = events, .data.u64 = data };

	return epoll_ctl(ep, op, fd, &ev) ? -errno : 0;
}

static inline int es_add(int ep, int fd, uint32_t events)
{
	return es_ctl(ep, EPOLL_CTL_ADD, fd, events, ES_COOKIE);
}

static inline int es_mod(int ep, int fd, uint32_t events)
{
	return es_ctl(ep, EPOLL_CTL_MOD, fd, events, ES_COOKIE);
}

/*
 * Room for one record.  Returns the number of slots (4: a record, less:
 * ordinary events, the first of them in @st), 0 or a negative errno.
 */
static inline int es_wait(int ep, struct epoll_state *st, int timeout)
{
	struct epoll_event slots[EPOLL_STATE_SLOTS];
	int n;

	memset(slots, 0xa5, sizeof(slots));
	n = epoll_wait(ep, slots, EPOLL_STATE_SLOTS, timeout);
	if (n < 0)
		n = -errno;
	memset(st, 0, sizeof(*st));
	if (n > 0)
		memcpy(st, slots, n * sizeof(slots[0]));
	return n;
}

/* The next record (4), whenever it comes within the deadline. */
static inline int es_next(int ep, struct epoll_state *st)
{
	return es_wait(ep, st, ES_DEADLINE_MS);
}

/* What is there to be delivered right now, in slots: 0 is "nothing". */
static inline int es_pending(int ep)
{
	struct epoll_state st;

	return es_wait(ep, &st, 0);
}

/*
 * A full record of right now, by a new baseline.  It replaces whatever was
 * queued, so that nothing is pending afterwards.
 */
static inline int es_sample(int ep, int fd, uint32_t events,
			    struct epoll_state *st)
{
	int err = es_mod(ep, fd, events | EPOLLSTATE);

	return err ?: es_wait(ep, st, 0);
}

/*
 * Does this kernel know EPOLLSTATE?  Asked here without the help of
 * epollstate_supported(), which is itself under test.  The eventfd is ready
 * for writing, so that R1 is not what decides whether R1 is tested.
 */
static inline bool es_kernel_has_epollstate(void)
{
	struct epoll_event slots[EPOLL_STATE_SLOTS] = {};
	int ep = epoll_create1(EPOLL_CLOEXEC);
	int fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	int n = -1;

	if (ep >= 0 && fd >= 0 && !es_add(ep, fd, EPOLLOUT | EPOLLSTATE))
		n = epoll_wait(ep, slots, EPOLL_STATE_SLOTS, 0);
	close(fd);
	close(ep);
	return n == EPOLL_STATE_SLOTS && (slots[0].events & EPOLLSTATE);
}

/* EPOLLSTATE_REQUIRED in the environment: a failure and not a SKIP. */
#define ES_REQUIRE_KERNEL()						\
do {									\
	const bool __has = es_kernel_has_epollstate();			\
									\
	if (!__has && !getenv("EPOLLSTATE_REQUIRED"))			\
		SKIP(return, "this kernel has no EPOLLSTATE");		\
	ASSERT_TRUE(__has);						\
} while (0)

#define ES_REQUIRE_ROOT()						\
do {									\
	if (geteuid())							\
		SKIP(return, "needs root");				\
} while (0)

/* descriptors */

static inline int es_int_opt(int fd, int level, int opt)
{
	socklen_t len = sizeof(int);
	int val = -1;

	return getsockopt(fd, level, opt, &val, &len) ? -errno : val;
}

static inline int es_set_opt(int fd, int level, int opt, int val)
{
	return setsockopt(fd, level, opt, &val, sizeof(val)) ? -errno : 0;
}

static inline int es_fionread(int fd)
{
	int n = -1;

	return ioctl(fd, FIONREAD, &n) ? -errno : n;
}

static inline int es_siocoutq(int fd)
{
	int n = -1;

	return ioctl(fd, SIOCOUTQ, &n) ? -errno : n;
}

static inline int es_nonblock(int fd)
{
	return fcntl(fd, F_SETFL, fcntl(fd, F_GETFL) | O_NONBLOCK);
}

/*
 * Bytes to be sent, as many as any test needs.  What they are is no matter, but
 * for a counter: the first eight are the number 1.
 */
#define ES_BUF_SIZE	(8 << 20)

static inline const void *es_buf(void)
{
	static uint64_t *buf;

	if (!buf) {
		buf = calloc(1, ES_BUF_SIZE);
		*buf = 1;
	}
	return buf;
}

/* One non-blocking write or read: bytes, or a negative errno. */
static inline ssize_t es_write(int fd, size_t len)
{
	ssize_t n = write(fd, es_buf(), len);

	return n < 0 ? -errno : n;
}

static inline ssize_t es_read(int fd, size_t len)
{
	static char *sink;
	ssize_t n;

	if (!sink)
		sink = malloc(ES_BUF_SIZE);
	n = read(fd, sink, len < ES_BUF_SIZE ? len : ES_BUF_SIZE);
	return n < 0 ? -errno : n;
}

/* Read whatever is there; returns the number of bytes. */
static inline size_t es_drain(int fd)
{
	size_t sum = 0;
	ssize_t n;

	while ((n = es_read(fd, ES_BUF_SIZE)) > 0)
		sum += n;
	return sum;
}

/* TCP */

static inline struct tcp_info es_tcp_info(int fd)
{
	struct tcp_info ti = {};
	socklen_t len = sizeof(ti);

	getsockopt(fd, IPPROTO_TCP, TCP_INFO, &ti, &len);
	return ti;
}

/* From here on the socket carries what TLS makes of it. */
static inline int es_attach_tls(int fd)
{
	return setsockopt(fd, IPPROTO_TCP, TCP_ULP, "tls", 4) ? -errno : 0;
}

/* States of a connection, which <linux/tcp.h> has no names for. */
enum {
	ES_TCP_ESTABLISHED = 1,
	ES_TCP_SYN_SENT = 2,
	ES_TCP_FIN_WAIT2 = 5,
	ES_TCP_CLOSE_WAIT = 8,
};

static inline int es_tcp_state(int fd)
{
	return es_tcp_info(fd).tcpi_state;
}

/* What a pair of TCP sockets is to look like; 0 leaves a thing alone. */
struct es_tcp_opts {
	int family;
	int sndbuf;	/* of both ends, as SO_SNDBUF will return it */
	int rcvbuf;
	int mss;
};

static inline socklen_t es_loopback(int family, struct sockaddr_storage *ss)
{
	struct sockaddr_in6 *sin6 = (struct sockaddr_in6 *)ss;
	struct sockaddr_in *sin = (struct sockaddr_in *)ss;

	memset(ss, 0, sizeof(*ss));
	ss->ss_family = family;
	if (family == AF_INET6) {
		sin6->sin6_addr = in6addr_loopback;
		return sizeof(*sin6);
	}
	sin->sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	return sizeof(*sin);
}

/* Set SO_SNDBUF or SO_RCVBUF past the limit of the system if allowed. */
static inline int es_set_buf(int fd, bool snd, int size)
{
	const int force = snd ? SO_SNDBUFFORCE : SO_RCVBUFFORCE;
	const int plain = snd ? SO_SNDBUF : SO_RCVBUF;

	if (!size)
		return 0;
	if (!es_set_opt(fd, SOL_SOCKET, force, size / 2))
		return 0;
	return es_set_opt(fd, SOL_SOCKET, plain, size / 2);
}

static inline int es_tcp_socket(const struct es_tcp_opts *o)
{
	int fd = socket(o->family, SOCK_STREAM | SOCK_CLOEXEC, 0);
	int err;

	if (fd < 0)
		return -errno;
	err = es_set_buf(fd, true, o->sndbuf);
	if (!err)
		err = es_set_buf(fd, false, o->rcvbuf);
	if (!err && o->mss)
		err = es_set_opt(fd, IPPROTO_TCP, TCP_MAXSEG, o->mss);
	if (err) {
		close(fd);
		return err;
	}
	return fd;
}

/* A bound socket, listening unless @backlog is negative; fills @ss. */
static inline int es_tcp_listen(const struct es_tcp_opts *o, int backlog,
				struct sockaddr_storage *ss)
{
	socklen_t len = es_loopback(o->family, ss);
	int fd = es_tcp_socket(o);
	int err = 0;

	if (fd < 0)
		return fd;
	if (bind(fd, (struct sockaddr *)ss, len) ||
	    (backlog >= 0 && listen(fd, backlog)) ||
	    getsockname(fd, (struct sockaddr *)ss, &len))
		err = -errno;
	if (err) {
		close(fd);
		return err;
	}
	return fd;
}

static inline int es_connect(int fd, const struct sockaddr_storage *ss)
{
	const socklen_t len = ss->ss_family == AF_INET6 ?
		sizeof(struct sockaddr_in6) : sizeof(struct sockaddr_in);

	return connect(fd, (const struct sockaddr *)ss, len) ? -errno : 0;
}

static inline int es_tcp_pair_opts(const struct es_tcp_opts *o, int sv[2])
{
	struct sockaddr_storage ss;
	int lfd = es_tcp_listen(o, 8, &ss);
	int err;

	if (lfd < 0)
		return lfd;
	sv[0] = es_tcp_socket(o);
	err = es_connect(sv[0], &ss);
	if (!err) {
		sv[1] = accept4(lfd, NULL, NULL, SOCK_CLOEXEC);
		if (sv[1] < 0)
			err = -errno;
	}
	close(lfd);
	if (err) {
		close(sv[0]);
		return err;
	}
	es_nonblock(sv[0]);
	es_nonblock(sv[1]);
	return 0;
}

static inline int es_tcp4_pair(int sv[2])
{
	return es_tcp_pair_opts(&(struct es_tcp_opts){ .family = AF_INET },
				sv);
}

static inline int es_tcp6_pair(int sv[2])
{
	return es_tcp_pair_opts(&(struct es_tcp_opts){ .family = AF_INET6 },
				sv);
}

/* Nothing in flight in one direction, and nothing that could still go. */
static inline bool es_tcp_half_idle(int fd)
{
	const int outq = es_siocoutq(fd);
	int unsent = -1;

	/* An acknowledgment that is being delayed goes now. */
	es_set_opt(fd, IPPROTO_TCP, TCP_QUICKACK, 1);
	if (outq <= 0)
		return true;
	/* All that is left was never sent: the peer's window is closed. */
	ioctl(fd, SIOCOUTQNSD, &unsent);
	return unsent == outq && !es_tcp_info(fd).tcpi_unacked;
}

static inline bool es_tcp_idle(int fd, int peer)
{
	/* Acknowledgments first, then what is left of each queue. */
	es_tcp_half_idle(fd);
	es_tcp_half_idle(peer);
	return es_tcp_half_idle(fd) && es_tcp_half_idle(peer);
}

/*
 * Close the peer's window, exactly and without waiting for timers, then queue
 * a little behind it.  The sender has most of its room left, and nothing
 * leaves until the peer reads.
 */
static inline bool es_tcp_jam(int fd, int peer)
{
	uint32_t wnd;
	bool ok;

	es_set_opt(fd, IPPROTO_TCP, TCP_NODELAY, 1);
	while (es_until(es_tcp_idle(fd, peer)) &&
	       (wnd = es_tcp_info(fd).tcpi_snd_wnd))
		if (es_write(fd, wnd < 65536 ? wnd : 65536) < 0)
			break;
	es_set_opt(fd, IPPROTO_TCP, TCP_NODELAY, 0);
	ok = es_write(fd, 100) == 100 || es_siocoutq(fd) > 0;
	return ok && !es_tcp_info(fd).tcpi_snd_wnd;
}

/* A network namespace of our own with lo up, for sysctls and devices. */
static inline int es_lo_up(void)
{
	struct ifreq ifr = { .ifr_name = "lo" };
	int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	int err = 0;

	if (fd < 0)
		return -errno;
	if (ioctl(fd, SIOCGIFFLAGS, &ifr))
		err = -errno;
	ifr.ifr_flags |= IFF_UP;
	if (!err && ioctl(fd, SIOCSIFFLAGS, &ifr))
		err = -errno;
	close(fd);
	return err;
}

static inline int es_new_netns(void)
{
	return unshare(CLONE_NEWNET) ? -errno : es_lo_up();
}

static inline int es_set_lo_mtu(int mtu)
{
	struct ifreq ifr = { .ifr_name = "lo", .ifr_mtu = mtu };
	int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	int err = ioctl(fd, SIOCSIFMTU, &ifr) ? -errno : 0;

	close(fd);
	return err;
}

static inline int es_write_file(const char *path, const char *text)
{
	int fd = open(path, O_WRONLY | O_CLOEXEC);
	int err = 0;

	if (fd < 0)
		return -errno;
	if (write(fd, text, strlen(text)) < 0)
		err = -errno;
	close(fd);
	return err;
}

/* Bytes read, with a NUL behind them, or a negative errno. */
static inline int es_read_file(const char *path, char *buf, size_t size)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	size_t sum = 0;
	ssize_t n;

	if (fd < 0)
		return -errno;
	while (sum < size - 1 && (n = read(fd, buf + sum, size - 1 - sum)) > 0)
		sum += n;
	buf[sum] = '\0';
	close(fd);
	return sum;
}

/* The letter that /proc/PID/stat has for it; 0 if there is no such process. */
static inline char es_proc_state(pid_t pid)
{
	char path[64], text[512], *at;

	snprintf(path, sizeof(path), "/proc/%d/stat", pid);
	if (es_read_file(path, text, sizeof(text)) < 0)
		return 0;
	at = strrchr(text, ')');
	return at ? at[2] : 0;
}

/* Only TCP, by address family. */
#define ES_TCP_VARIANTS(fixture)					\
	FIXTURE_VARIANT_ADD(fixture, tcp4) { .family = AF_INET };	\
	FIXTURE_VARIANT_ADD(fixture, tcp6) { .family = AF_INET6 }

/* The errors of a machine that does not have the type at all. */
static inline bool es_no_such_type(int err)
{
	return err == -EAFNOSUPPORT || err == -EPROTONOSUPPORT ||
	       err == -EADDRNOTAVAIL || err == -ESOCKTNOSUPPORT ||
	       err == -ENODEV || err == -ENOSYS;
}

#define TCP_SETTLE()							\
	ASSERT_TRUE(es_until(es_tcp_idle(self->fd, self->peer)))

/* In a test of TCP alone: the peer sends, and all of it has arrived. */
#define TCP_ARRIVE(bytes)						\
do {									\
	ASSERT_EQ(bytes, es_write(self->peer, bytes));			\
	TCP_SETTLE();							\
} while (0)

/* In a test: the first record of self->fd. */
#define REGISTER(events, st)						\
do {									\
	ASSERT_EQ(0, es_add(self->ep, self->fd, (events) | EPOLLSTATE)); \
	ASSERT_EQ(4, es_wait(self->ep, st, 0));				\
} while (0)

/* In a test or in FIXTURE_SETUP: a pair of files, or SKIP. */
#define ES_PAIR(make_pair)						\
do {									\
	int __err = (make_pair);					\
									\
	if (es_no_such_type(__err))					\
		SKIP(return, "no such files here: %s",			\
		     strerror(-__err));					\
	ASSERT_EQ(0, __err);						\
} while (0)

/*
 * All of FIXTURE_SETUP where a fixture is an epoll and a pair of files, one end
 * of which (0 or 1 of @sv) is to be registered.
 */
#define ES_SETUP(make_pair, sv, end)					\
do {									\
	ES_REQUIRE_KERNEL();						\
	ES_PAIR(make_pair);						\
	self->fd = (sv)[end];						\
	self->peer = (sv)[!(end)];					\
	self->ep = epoll_create1(EPOLL_CLOEXEC);			\
	ASSERT_LE(0, self->ep);						\
} while (0)

/* All of FIXTURE_TEARDOWN then; a test may have closed an end: it is -1. */
#define ES_TEARDOWN()							\
do {									\
	close(self->ep);						\
	if (self->fd >= 0)						\
		close(self->fd);					\
	if (self->peer >= 0)						\
		close(self->peer);					\
} while (0)

#include "types.h"

#endif /* _EPOLLSTATE_COMMON_H */
