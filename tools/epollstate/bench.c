// SPDX-License-Identifier: BSD-3-Clause OR GPL-2.0
/*
 * bench - what epoll, TCP and EPOLLSTATE cost, counted in instructions.
 *
 * Meant for a guest under "qemu -icount shift=0" with one CPU, where the time
 * stamp counter advances by one per instruction. It can then be read around a
 * single system call, and the same kernel gives the same count every time. On
 * other machines the program runs as well, and the figures are TSC ticks.
 *
 *	bench [-l] [-r rounds] [name ...]
 *
 * A name selects that row, or all rows that begin with it. Standard
 * output tells when a row begins, and then one figure or more of it:
 *
 *	row NAME NUMBER TOTAL
 *	bench NAME COUNT MEDIAN MEAN MIN MAX
 *	skip NAME REASON
 *
 * COUNT is the figure to compare: the smallest count that at least one round
 * in twenty had, so the common way through the code. Many rounds of a TCP row
 * take a few instructions more for reasons of their own (a round-trip time that
 * falls into another microsecond, a timer tick), and how many do depends on
 * the time that everything else takes. MEAN leaves out the rounds above twice
 * the median.
 */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <net/if.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "epollstate.h"

#define MAX_ROUNDS	20000
#define MAX_SEGMENTS	4
#define WARM_UP		300
#define MANY		64
#define NSLOTS		(MANY * EPOLL_STATE_SLOTS)

#define die(...) do {							\
	printf("fail %s: ", current ? current : "setup");		\
	printf(__VA_ARGS__);						\
	printf(": %s\n", strerror(errno));				\
	exit(1);							\
} while (0)

static const char *current;
static unsigned int rounds = 2000;
static uint32_t sample[MAX_SEGMENTS][MAX_ROUNDS];
static struct epoll_event slots[NSLOTS];
static uint32_t clock_cost;
static int at;

/* -------- counting -------- */

/*
 * The two long nops do nothing, but a QEMU plugin can find them: they enclose
 * what a profile of the row has to show.
 */
static __always_inline void region_begin(void)
{
	asm volatile("nopl 0x5e5e0001(%%rax)" ::: "memory");
}

static __always_inline void region_end(void)
{
	asm volatile("nopl 0x5e5e0002(%%rax)" ::: "memory");
}

/* Rounds are short: the low half of the counter is enough. */
static __always_inline uint32_t now(void)
{
	uint32_t low;

	asm volatile("rdtsc" : "=a" (low) : : "rdx", "memory");
	return low;
}

/*
 * System calls are made in place and not through libc, whose wrappers may
 * change their minds (cancellation points, the thread count).
 */
static __always_inline
long call4(long nr, long a, long b, long c, long d)
{
	register long r10 asm("r10") = d;
	long ret;

	asm volatile("syscall" : "=a" (ret)
		     : "0" (nr), "D" (a), "S" (b), "d" (c), "r" (r10)
		     : "rcx", "r11", "memory");
	return ret;
}

static __always_inline
long call6(long nr, long a, long b, long c, long d)
{
	register long r10 asm("r10") = d;
	register long r8 asm("r8") = 0;
	register long r9 asm("r9") = 0;
	long ret;

	asm volatile("syscall" : "=a" (ret)
		     : "0" (nr), "D" (a), "S" (b), "d" (c), "r" (r10),
		       "r" (r8), "r" (r9)
		     : "rcx", "r11", "memory");
	return ret;
}

#define sys_wait(ep) \
	call4(SYS_epoll_wait, ep, (long)slots, NSLOTS, 0)
#define sys_ctl(ep, op, fd, ev) \
	call4(SYS_epoll_ctl, ep, op, fd, (long)(ev))
#define sys_send(fd, buf, len) \
	call6(SYS_sendto, fd, (long)(buf), len, MSG_DONTWAIT)
#define sys_recv(fd, buf, len) \
	call6(SYS_recvfrom, fd, (long)(buf), len, MSG_DONTWAIT)
#define sys_write(fd, buf, len) \
	call4(SYS_write, fd, (long)(buf), len, 0)
#define sys_read(fd, buf, len) \
	call4(SYS_read, fd, (long)(buf), len, 0)
#define sys_poll(fds, n) \
	call4(SYS_poll, (long)(fds), n, 0, 0)

static int by_value(const void *a, const void *b)
{
	uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;

	return x < y ? -1 : x > y;
}

/*
 * Prints one row from the samples of a segment; each sample counts @per
 * operations and read the clock @clocks times.
 */
static uint32_t report(const char *suffix, uint32_t *s, unsigned int per,
		       unsigned int clocks)
{
	uint32_t median, common, cost = clocks * clock_cost;
	unsigned int i, used = 0;
	double sum = 0;

	qsort(s, rounds, sizeof(*s), by_value);
	median = s[rounds / 2];
	common = median;
	for (i = 0; s[i] < median; i++) {
		if (s[i + rounds / 20] == s[i]) {
			common = s[i];
			break;
		}
	}
	for (i = 0; i < rounds && s[i] <= 2 * median; i++, used++)
		sum += s[i];
	if (current)
		printf("bench %s%s %.2f %.2f %.2f %.2f %.2f\n", current, suffix,
		       (double)(common - cost) / per,
		       (double)(median - cost) / per,
		       (sum / used - cost) / per,
		       (double)(s[0] - cost) / per,
		       (double)(s[rounds - 1] - cost) / per);
	return median;
}

/* Adds the segments up, round by round, for the cost of the whole. */
static void report_sum(const char *suffix, unsigned int segments)
{
	static uint32_t total[MAX_ROUNDS];
	unsigned int i, k;

	for (i = 0; i < rounds; i++) {
		total[i] = 0;
		for (k = 0; k < segments; k++)
			total[i] += sample[k][i];
	}
	report(suffix, total, 1, segments);
}

static void measure_clock(void)
{
	unsigned int i;
	uint32_t t0, t1;

	for (i = 0; i < rounds; i++) {
		t0 = now();
		region_begin();
		region_end();
		t1 = now();
		sample[0][i] = t1 - t0;
	}
	clock_cost = report("", sample[0], 1, 0);
}

/* What follows is done in each round; those of the warm-up are below 0. */
#define for_each_round()						\
	for (at = -WARM_UP; at < (int)rounds; at++)

/* One sample, of @code, for a segment of this round. */
#define COUNT(segment, code) do {					\
	uint32_t t0_, t1_;						\
									\
	t0_ = now();							\
	region_begin();							\
	code;								\
	region_end();							\
	t1_ = now();							\
	if (at >= 0)							\
		sample[segment][at] = t1_ - t0_;				\
} while (0)

/* -------- what is measured on -------- */

static void lo_up(void)
{
	struct ifreq ifr = { .ifr_name = "lo", .ifr_flags = IFF_UP | IFF_RUNNING };
	int fd = socket(AF_INET, SOCK_DGRAM, 0);

	if (fd < 0 || ioctl(fd, SIOCSIFFLAGS, &ifr))
		die("lo");
	close(fd);
}

static void tcp_pair(int sv[2])
{
	struct sockaddr_in a = { .sin_family = AF_INET,
				 .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	socklen_t len = sizeof(a);
	int on = 1, l;

	l = socket(AF_INET, SOCK_STREAM, 0);
	if (l < 0 || bind(l, (void *)&a, sizeof(a)) || listen(l, 1) ||
	    getsockname(l, (void *)&a, &len))
		die("listen");
	sv[0] = socket(AF_INET, SOCK_STREAM, 0);
	if (sv[0] < 0 || connect(sv[0], (void *)&a, sizeof(a)))
		die("connect");
	sv[1] = accept(l, NULL, NULL);
	if (sv[1] < 0)
		die("accept");
	setsockopt(sv[0], IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
	setsockopt(sv[1], IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
	close(l);
}

static void unix_pair(int sv[2])
{
	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, sv))
		die("socketpair");
}

static void udp_pair(int sv[2])
{
	struct sockaddr_in a = { .sin_family = AF_INET,
				 .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	struct sockaddr_in bound[2];
	socklen_t len;

	for (int k = 0; k < 2; k++) {
		len = sizeof(a);
		sv[k] = socket(AF_INET, SOCK_DGRAM | SOCK_NONBLOCK, 0);
		if (sv[k] < 0 || bind(sv[k], (void *)&a, sizeof(a)) ||
		    getsockname(sv[k], (void *)&bound[k], &len))
			die("udp");
	}
	for (int k = 0; k < 2; k++)
		if (connect(sv[k], (void *)&bound[!k], sizeof(a)))
			die("connect");
}

/* As with the others, what is put into the first comes out of the second. */
static void pipe_pair(int sv[2])
{
	int ends[2];

	if (pipe2(ends, O_NONBLOCK))
		die("pipe2");
	sv[0] = ends[1];
	sv[1] = ends[0];
}

/* The kind of pair that the row is about. */
static void (*make_pair)(int sv[2]);

static void close_pair(int sv[2])
{
	close(sv[0]);
	close(sv[1]);
}

static int new_eventfd(void)
{
	int fd = eventfd(0, EFD_NONBLOCK);

	if (fd < 0)
		die("eventfd");
	return fd;
}

static int new_epoll(void)
{
	int ep = epoll_create1(EPOLL_CLOEXEC);

	if (ep < 0)
		die("epoll_create1");
	return ep;
}

static void add(int ep, int fd, uint32_t events)
{
	struct epoll_event ev = { .events = events, .data.fd = fd };

	if (epoll_ctl(ep, EPOLL_CTL_ADD, fd, &ev))
		die("epoll_ctl");
}

#define TCP_EVENTS	(EPOLLIN | EPOLLOUT | EPOLLRDHUP)

static const uint64_t one = 1;
static char buf[65536];

/* -------- ordinary events -------- */

/* One round trip into the kernel, to compare the rest with. */
static void bench_getppid(uint32_t events)
{
	(void)events;
	for_each_round()
		COUNT(0, call4(SYS_getppid, 0, 0, 0, 0));
	report("", sample[0], 1, 1);
}

static void bench_wait_none(uint32_t events)
{
	int ep = new_epoll();
	int fd = new_eventfd();
	long n = 0;

	add(ep, fd, events);
	for_each_round()
		COUNT(0, n |= sys_wait(ep));
	if (n)
		die("epoll_wait returned %ld", n);
	report("", sample[0], 1, 1);
	close(fd);
	close(ep);
}

/* Level-triggered: stays ready, every call delivers it. */
static void bench_lt_eventfd(uint32_t events)
{
	int ep = new_epoll();
	int fd = new_eventfd();
	long n = 0;

	add(ep, fd, events);
	sys_write(fd, &one, sizeof(one));
	for_each_round() {
		COUNT(0, n = sys_wait(ep));
		if (n != 1)
			die("epoll_wait returned %ld", n);
	}
	report("", sample[0], 1, 1);
	close(fd);
	close(ep);
}

static void bench_lt_tcp(uint32_t events)
{
	int ep = new_epoll();
	long n = 0;
	int sv[2];

	tcp_pair(sv);
	add(ep, sv[1], events);
	sys_send(sv[0], buf, 1);
	for_each_round() {
		COUNT(0, n = sys_wait(ep));
		if (n != 1)
			die("epoll_wait returned %ld", n);
	}
	report("", sample[0], 1, 1);
	close_pair(sv);
	close(ep);
}

/* Many at once, told per event. */
static void bench_lt64_eventfd(uint32_t events)
{
	int ep = new_epoll();
	int fd[MANY];
	long n = 0;

	for (int k = 0; k < MANY; k++) {
		fd[k] = new_eventfd();
		add(ep, fd[k], events);
		sys_write(fd[k], &one, sizeof(one));
	}
	for_each_round() {
		COUNT(0, n = sys_wait(ep));
		if (n != MANY)
			die("epoll_wait returned %ld", n);
	}
	report("", sample[0], MANY, 1);
	for (int k = 0; k < MANY; k++)
		close(fd[k]);
	close(ep);
}

static void bench_lt64_tcp(uint32_t events)
{
	int ep = new_epoll();
	int sv[MANY][2];
	long n = 0;

	for (int k = 0; k < MANY; k++) {
		tcp_pair(sv[k]);
		add(ep, sv[k][1], events);
		sys_send(sv[k][0], buf, 1);
	}
	for_each_round() {
		COUNT(0, n = sys_wait(ep));
		if (n != MANY)
			die("epoll_wait returned %ld", n);
	}
	report("", sample[0], MANY, 1);
	for (int k = 0; k < MANY; k++)
		close_pair(sv[k]);
	close(ep);
}

/* -------- events that a trigger brings: edges and records -------- */

/* The baseline record (R1), or the event of a file that is ready at once. */
static void drain(int ep)
{
	while (sys_wait(ep) > 0)
		;
}

static long expected(uint32_t events)
{
	return events & EPOLLSTATE ? EPOLL_STATE_SLOTS : 1;
}

static void bench_edge_eventfd(uint32_t events)
{
	int ep = new_epoll();
	int fd = new_eventfd();
	long n = 0;

	add(ep, fd, events);
	drain(ep);
	for_each_round() {
		COUNT(0, sys_write(fd, &one, sizeof(one)));
		COUNT(1, n = sys_wait(ep));
		if (n != expected(events))
			die("epoll_wait returned %ld", n);
	}
	report_sum("_round", 2);
	report("_trigger", sample[0], 1, 1);
	report("_wait", sample[1], 1, 1);
	close(fd);
	close(ep);
}

static void bench_edge_tcp(uint32_t events)
{
	int ep = new_epoll();
	long n = 0;
	int sv[2];

	tcp_pair(sv);
	add(ep, sv[1], events);
	drain(ep);
	for_each_round() {
		COUNT(0, sys_send(sv[0], buf, 1));
		COUNT(1, n = sys_wait(ep));
		if (n != expected(events))
			die("epoll_wait returned %ld", n);
		COUNT(2, n = sys_recv(sv[1], buf, 1));
		if (n != 1)
			die("recv returned %ld", n);
	}
	report_sum("_with_recv", 3);
	report_sum("_round", 2);
	report("_trigger", sample[0], 1, 1);
	report("_wait", sample[1], 1, 1);
	report("_recv", sample[2], 1, 1);
	close_pair(sv);
	close(ep);
}

/* Many edges in one call, told per event. */
static void bench_edge64_tcp(uint32_t events)
{
	int ep = new_epoll();
	int sv[MANY][2];
	long n = 0;

	for (int k = 0; k < MANY; k++) {
		tcp_pair(sv[k]);
		add(ep, sv[k][1], events);
	}
	drain(ep);
	for (at = -3; at < (int)rounds / 8; at++) {
		for (int k = 0; k < MANY; k++)
			sys_send(sv[k][0], buf, 1);
		COUNT(0, n = sys_wait(ep));
		if (n != MANY * expected(events))
			die("epoll_wait returned %ld", n);
		for (int k = 0; k < MANY; k++)
			sys_recv(sv[k][1], buf, 1);
	}
	for (unsigned int i = rounds / 8; i < rounds; i++)
		sample[0][i] = sample[0][i % (rounds / 8)];
	report("_wait", sample[0], MANY, 1);
	for (int k = 0; k < MANY; k++)
		close_pair(sv[k]);
	close(ep);
}

/* -------- other kinds of pairs: 64 bytes from one to the other -------- */

#define MESSAGE 64

/* With @events 0, what the two calls cost those who use no epoll. */
static void bench_pass(uint32_t events)
{
	long n = 0, slots_each = events ? expected(events) : 0;
	int ep = new_epoll();
	int sv[2];

	make_pair(sv);
	if (events)
		add(ep, sv[1], events);
	drain(ep);
	for_each_round() {
		COUNT(0, n = sys_write(sv[0], buf, MESSAGE));
		if (events)
			COUNT(1, n += sys_wait(ep));
		COUNT(2, n += sys_read(sv[1], buf, MESSAGE));
		if (n != 2 * MESSAGE + slots_each)
			die("round %d: %ld", at, n);
		/* Without epoll_wait() the two calls are next to each other. */
		if (!events && at >= 0)
			sample[1][at] = sample[2][at];
	}
	report_sum("_round", 2);
	report("_write", sample[0], 1, 1);
	if (events)
		report("_wait", sample[1], 1, 1);
	report("_read", sample[2], 1, 1);
	close_pair(sv);
	close(ep);
}

/* -------- registering -------- */

static void ctl(int fd, uint32_t events)
{
	struct epoll_event ev = { .events = events };
	int ep = new_epoll();
	long n = 0;

	for_each_round() {
		COUNT(0, n |= sys_ctl(ep, EPOLL_CTL_ADD, fd, &ev));
		COUNT(1, n |= sys_ctl(ep, EPOLL_CTL_DEL, fd, &ev));
		if (n)
			die("epoll_ctl returned %ld", n);
	}
	report_sum("", 2);
	close(ep);
}

static void bench_ctl_eventfd(uint32_t events)
{
	int fd = new_eventfd();

	ctl(fd, events);
	close(fd);
}

static void bench_ctl_tcp(uint32_t events)
{
	int sv[2];

	tcp_pair(sv);
	ctl(sv[1], events);
	close_pair(sv);
}

/* -------- without epoll -------- */

/*
 * poll(2) of one file, and what each further one adds, which is its ->poll
 * with the few instructions around it.
 */
static void bench_poll(uint32_t events)
{
	struct pollfd pfd[1 + MANY];
	long n = 0;
	int sv[2];

	make_pair(sv);
	sys_write(sv[0], buf, 1);
	for (int k = 0; k <= MANY; k++) {
		pfd[k].fd = sv[1];
		pfd[k].events = events;
	}
	for_each_round() {
		COUNT(0, n = sys_poll(pfd, 1));
		COUNT(1, n += sys_poll(pfd, 1 + MANY));
		if (n != 2 + MANY)
			die("poll returned %ld", n);
		if (at < 0)
			continue;
		sample[2][at] = sample[1][at];
		if (sample[1][at] > sample[0][at])
			sample[2][at] -= sample[0][at];
	}
	report("_call", sample[0], 1, 1);
	report("", sample[2], MANY, 0);
	close_pair(sv);
}

/* What asking for the number of bytes costs, where nobody tells it. */
static void bench_fionread(uint32_t events)
{
	int sv[2], bytes;
	long n = 0;

	(void)events;
	tcp_pair(sv);
	sys_send(sv[0], buf, 1);
	for_each_round()
		COUNT(0, n |= call4(SYS_ioctl, sv[1], FIONREAD, (long)&bytes, 0));
	if (n || bytes != 1)
		die("ioctl returned %ld, %d bytes", n, bytes);
	report("", sample[0], 1, 1);
	close_pair(sv);
}

/*
 * One full segment from socket to socket and the ACK back. The ACK is sent
 * from within recv(), and processed there by the sending socket.
 */
static void bench_tcp_ack(uint32_t events)
{
	int size = 1448, ep = new_epoll();
	long n = 0;
	int sv[2];

	tcp_pair(sv);
	setsockopt(sv[0], IPPROTO_TCP, TCP_MAXSEG, &size, sizeof(size));
	if (events)
		add(ep, sv[0], events);
	for_each_round() {
		COUNT(0, n = sys_send(sv[0], buf, size));
		if (n != size)
			die("send returned %ld", n);
		COUNT(1, n = sys_recv(sv[1], buf, size));
		if (n != size)
			die("recv returned %ld", n);
	}
	report_sum("_segment", 2);
	report("_recv_ack", sample[1], 1, 1);
	close_pair(sv);
	close(ep);
}

/* -------- a server's work: 64 bytes there and back -------- */

/*
 * What an event loop does upon an event, by kind of registration: read until
 * EAGAIN after an edge, read what was told after a record, read once else.
 */
static __always_inline
long receive(int fd, uint32_t events)
{
	long n = MESSAGE, got;

	if (events & EPOLLSTATE)
		n = ((struct epoll_state *)slots)->rcv;
	got = sys_recv(fd, buf, n);
	if ((events & (EPOLLSTATE | EPOLLET)) == EPOLLET)
		sys_recv(fd, buf, n);
	return got;
}

static void bench_echo(uint32_t events)
{
	int ep[2] = { new_epoll(), new_epoll() };
	long n = 0;
	int sv[2];

	tcp_pair(sv);
	add(ep[0], sv[0], events);
	add(ep[1], sv[1], events);
	drain(ep[0]);
	drain(ep[1]);
	for_each_round() {
		n = 0;
		COUNT(0, {
			n += sys_send(sv[0], buf, MESSAGE);
			n += sys_wait(ep[1]);
			n += receive(sv[1], events);
			n += sys_send(sv[1], buf, MESSAGE);
			n += sys_wait(ep[0]);
			n += receive(sv[0], events);
		});
		if (n != 4 * MESSAGE + 2 * expected(events))
			die("round %d: %ld", at, n);
	}
	report("", sample[0], 1, 1);
	close_pair(sv);
	close(ep[0]);
	close(ep[1]);
}

/* -------- the list -------- */

#define STATE (EPOLLSTATE | EPOLLET)

static const struct bench {
	const char *name;
	void (*run)(uint32_t events);
	uint32_t events;
	void (*pair)(int sv[2]);
} benches[] = {
	{ "getppid", bench_getppid, 0 },
	{ "wait_none", bench_wait_none, EPOLLIN },
	{ "lt_eventfd", bench_lt_eventfd, EPOLLIN },
	{ "lt_tcp", bench_lt_tcp, EPOLLIN | EPOLLRDHUP },
	{ "et_eventfd", bench_edge_eventfd, EPOLLIN | EPOLLET },
	{ "et_tcp", bench_edge_tcp, TCP_EVENTS | EPOLLET },
	{ "et_in_tcp", bench_edge_tcp, EPOLLIN | EPOLLET },
	{ "lt64_eventfd", bench_lt64_eventfd, EPOLLIN },
	{ "lt64_tcp", bench_lt64_tcp, EPOLLIN | EPOLLRDHUP },
	{ "et64_tcp", bench_edge64_tcp, TCP_EVENTS | EPOLLET },
	{ "ctl_eventfd", bench_ctl_eventfd, EPOLLIN },
	{ "ctl_tcp", bench_ctl_tcp, TCP_EVENTS },
	{ "tcp_poll", bench_poll, POLLIN | POLLOUT },
	{ "udp_poll", bench_poll, POLLIN | POLLOUT, udp_pair },
	{ "unix_poll", bench_poll, POLLIN | POLLOUT, unix_pair },
	{ "pipe_poll", bench_poll, POLLIN, pipe_pair },
	{ "udp", bench_pass, 0, udp_pair },
	{ "unix", bench_pass, 0, unix_pair },
	{ "pipe", bench_pass, 0, pipe_pair },
	{ "et_udp", bench_pass, TCP_EVENTS | EPOLLET, udp_pair },
	{ "et_unix", bench_pass, TCP_EVENTS | EPOLLET, unix_pair },
	{ "et_pipe", bench_pass, EPOLLIN | EPOLLET, pipe_pair },
	{ "fionread", bench_fionread, 0 },
	{ "tcp_ack", bench_tcp_ack, 0 },
	{ "tcp_ack_et", bench_tcp_ack, TCP_EVENTS | EPOLLET },
	{ "echo_lt", bench_echo, EPOLLIN | EPOLLRDHUP },
	{ "echo_et", bench_echo, TCP_EVENTS | EPOLLET },
	{ "record_eventfd", bench_edge_eventfd, EPOLLIN | STATE },
	{ "record_tcp", bench_edge_tcp, TCP_EVENTS | STATE },
	{ "record_udp", bench_pass, TCP_EVENTS | STATE, udp_pair },
	{ "record_unix", bench_pass, TCP_EVENTS | STATE, unix_pair },
	{ "record_pipe", bench_pass, EPOLLIN | STATE, pipe_pair },
	{ "record_in_tcp", bench_edge_tcp, EPOLLIN | STATE },
	{ "record64_tcp", bench_edge64_tcp, TCP_EVENTS | STATE },
	{ "record_ctl_eventfd", bench_ctl_eventfd, EPOLLIN | STATE },
	{ "record_ctl_tcp", bench_ctl_tcp, TCP_EVENTS | STATE },
	{ "record_echo", bench_echo, TCP_EVENTS | STATE },
	{ "record_tcp_ack", bench_tcp_ack, TCP_EVENTS | STATE },
};

#define NBENCHES (sizeof(benches) / sizeof(*benches))

static int is_row(const char *name)
{
	for (size_t i = 0; i < NBENCHES; i++)
		if (!strcmp(benches[i].name, name))
			return 1;
	return 0;
}

static int selected(const char *name, char **argv)
{
	if (!*argv)
		return 1;
	for (; *argv; argv++)
		if (is_row(*argv) ? !strcmp(name, *argv) :
		    !strncmp(name, *argv, strlen(*argv)))
			return 1;
	return 0;
}

int main(int argc, char **argv)
{
	int opt, list = 0, state = 0, done = 0, total = 0;
	const struct bench *b;

	while ((opt = getopt(argc, argv, "lr:")) != -1) {
		if (opt == 'l')
			list = 1;
		else if (opt == 'r')
			rounds = atoi(optarg);
		else
			return 2;
	}
	argv += optind;
	if (rounds < 8 || rounds > MAX_ROUNDS)
		return 2;

	setvbuf(stdout, NULL, _IOLBF, 0);
	if (!list) {
		if (geteuid() == 0)
			lo_up();
		state = epollstate_supported();
		measure_clock();
	}
	for (b = benches; b < benches + NBENCHES; b++)
		total += selected(b->name, argv);
	for (b = benches; b < benches + NBENCHES; b++) {
		if (!selected(b->name, argv))
			continue;
		if (list) {
			printf("%s\n", b->name);
			continue;
		}
		current = b->name;
		make_pair = b->pair ?: tcp_pair;
		printf("row %s %d %d\n", current, ++done, total);
		if (b->events & EPOLLSTATE && !state)
			printf("skip %s the kernel has no EPOLLSTATE\n", current);
		else
			b->run(b->events);
	}
	return 0;
}
