// SPDX-License-Identifier: BSD-3-Clause OR GPL-2.0
/* The other side of the workloads, the same for all peers. */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "peers.h"

#define MAX_CHILDREN 8

struct shared *shared;
static pid_t children[MAX_CHILDREN];
static int n_children;
static int go_pipe[2];

static void __attribute__((noreturn)) fail(const char *what)
{
	fprintf(stderr, "client: %s: %s\n", what, strerror(errno));
	_exit(1);
}

static void enter_client(void)
{
	int fd = open("/run/netns/client", O_RDONLY | O_CLOEXEC);

	if (fd < 0 || setns(fd, CLONE_NEWNET))
		fail("network namespace");
}

void client_start(void (*run)(const unsigned long *), const unsigned long *arg)
{
	pid_t pid;

	if (!n_children && pipe2(go_pipe, O_CLOEXEC))
		die("pipe");
	pid = fork();
	if (pid < 0)
		die("fork");
	if (pid) {
		children[n_children++] = pid;
		return;
	}
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	if (over_link)
		enter_client();
	run(arg);
	/* What is left of the server's work needs its connections. */
	for (;;)
		pause();
}

void client_stop(void)
{
	signal(SIGCHLD, SIG_DFL);
	while (n_children) {
		kill(children[--n_children], SIGKILL);
		waitpid(children[n_children], NULL, 0);
	}
}

void client_go(void)
{
	if (write(go_pipe[1], "", 1) != 1)
		die("pipe");
}

static int dial(uint16_t port, int type)
{
	struct sockaddr_in a = {
		.sin_family = AF_INET,
		.sin_port = htons(port),
		.sin_addr.s_addr = inet_addr(over_link ? "10.7.0.1" :
							 "127.0.0.1"),
	};
	int fd = socket(AF_INET, type | SOCK_CLOEXEC, 0), one = 1;

	if (fd < 0 || connect(fd, (void *)&a, sizeof(a)))
		fail("connect");
	if (type == SOCK_STREAM)
		setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
	return fd;
}

static int watch(int ep, int fd, uint32_t nr, uint32_t events)
{
	struct epoll_event ev = { .events = events, .data.u32 = nr };

	if (epoll_ctl(ep, EPOLL_CTL_ADD, fd, &ev))
		fail("epoll_ctl");
	return fd;
}

/* -------- requests on all connections at once -------- */

struct asker {
	int fd;
	size_t due;
	uint64_t since;
};

static void ask(struct asker *a, size_t size)
{
	ssize_t n = send(a->fd, pattern(0), size,
			 MSG_NOSIGNAL | MSG_DONTWAIT);

	/* The largest request fits into an empty send buffer. */
	if (n != (ssize_t)size)
		fail("send");
	a->due = size;
	a->since = now();
}

static void answered(struct asker *a)
{
	uint32_t took = (uint32_t)(now() - a->since);

	if (shared->samples < sizeof(shared->latency) / sizeof(uint32_t))
		shared->latency[shared->samples++] = took;
}

/* SIZE, CONNECTIONS, REQUESTS: each connection asks again when answered. */
static void ask_all(struct asker *askers, const unsigned long *arg)
{
	static struct epoll_event slots[256];
	int ep = epoll_create1(EPOLL_CLOEXEC), i, n;
	static char buf[CHUNK];
	unsigned long k;

	for (k = 0; k < arg[1]; k++)
		watch(ep, askers[k].fd, (uint32_t)k, EPOLLIN);
	for (k = 0; k < arg[1]; k++)
		ask(&askers[k], arg[0]);
	for (;;) {
		n = epoll_wait(ep, slots, 256, -1);
		for (i = 0; i < n; i++) {
			struct asker *a = &askers[slots[i].data.u32];
			ssize_t got = recv(a->fd, buf, a->due,
					   MSG_DONTWAIT);

			if (got <= 0)
				fail("recv");
			a->due -= (size_t)got;
			if (a->due)
				continue;
			answered(a);
			ask(a, arg[0]);
		}
	}
}

void client_answers(const unsigned long *arg)
{
	struct asker *askers = calloc(arg[1], sizeof(*askers));
	unsigned long k;

	for (k = 0; askers && k < arg[1]; k++)
		askers[k].fd = dial(PORT, SOCK_STREAM);
	ask_all(askers, arg);
}

/* -------- the ends of pairs; the server has the others -------- */

int *pair_ends;
static struct asker *pair_askers;

/* REGISTERED */
void client_pairs(const unsigned long *arg)
{
	unsigned long k;
	int sv[2];

	pair_ends = calloc(arg[0], sizeof(*pair_ends));
	pair_askers = calloc(arg[0], sizeof(*pair_askers));
	for (k = 0; k < arg[0]; k++) {
		if (!pair_ends || !pair_askers ||
		    socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, sv))
			die("socketpair %lu", k);
		pair_ends[k] = sv[0];
		pair_askers[k].fd = sv[1];
	}
}

void client_registered(const unsigned long *arg)
{
	const unsigned long as_answers[] = { 64, arg[1], arg[2] };

	ask_all(pair_askers, as_answers);
}

/* -------- bulk -------- */

/* Reads what there is of a stream whose bytes are known. */
static bool take(int fd, size_t *taken, size_t most)
{
	static char buf[4 * CHUNK];
	ssize_t n = recv(fd, buf, most < sizeof(buf) ? most : sizeof(buf),
			 MSG_DONTWAIT);

	if (n < 0 && errno == EAGAIN)
		return true;
	if (n < 0)
		fail("recv");
	if (memcmp(buf, pattern(*taken), (size_t)n))
		fail("bytes are not what was sent");
	*taken += (size_t)n;
	return n > 0;
}

/* CONNECTIONS, KIB in all: as fast as it comes; then a byte that says so. */
void client_take(const unsigned long *arg)
{
	static struct epoll_event slots[256];
	int ep = epoll_create1(EPOLL_CLOEXEC), i, n;
	size_t *taken = calloc(arg[0], sizeof(*taken));
	int *fds = calloc(arg[0], sizeof(*fds));
	unsigned long k;

	if (!fds || !taken)
		fail("calloc");
	for (k = 0; k < arg[0]; k++)
		fds[k] = watch(ep, dial(PORT, SOCK_STREAM), (uint32_t)k,
			       EPOLLIN);
	for (;;) {
		n = epoll_wait(ep, slots, 256, -1);
		for (i = 0; i < n; i++) {
			k = slots[i].data.u32;
			if (!take(fds[k], &taken[k], SIZE_MAX))
				fail("it ended");
			if (taken[k] == arg[1] * 1024 / arg[0] &&
			    send(fds[k], "", 1, MSG_NOSIGNAL) != 1)
				fail("send");
		}
	}
}

#define TURN_MS		10
#define TURN_BYTES	(32 * 1024)

/* PAIRS, KIB each: a slow one, some bytes of each connection at a time. */
void client_consume(const unsigned long *arg)
{
	const struct timespec turn = { .tv_nsec = TURN_MS * 1000000 };
	size_t *taken = calloc(arg[0], sizeof(*taken));
	int *fds = calloc(arg[0], sizeof(*fds));
	unsigned long k;

	if (!fds || !taken)
		fail("calloc");
	for (k = 0; k < arg[0]; k++)
		fds[k] = dial(PORT, SOCK_STREAM);
	for (;; nanosleep(&turn, NULL))
		for (k = 0; k < arg[0]; k++) {
			size_t before = taken[k], all = arg[1] * 1024;

			take(fds[k], &taken[k], TURN_BYTES);
			if (before < all && taken[k] == all &&
			    send(fds[k], "", 1, MSG_NOSIGNAL) != 1)
				fail("send");
		}
}

/* Sends as fast as it can on each of @n connections. */
static void pour(uint16_t port, unsigned long n, size_t bytes)
{
	static struct epoll_event slots[256];
	int ep = epoll_create1(EPOLL_CLOEXEC), i, got;
	size_t *sent = calloc(n, sizeof(*sent));
	int *fds = calloc(n, sizeof(*fds));
	unsigned long k;

	if (!fds || !sent)
		fail("calloc");
	for (k = 0; k < n; k++)
		fds[k] = watch(ep, dial(port, SOCK_STREAM), (uint32_t)k,
			       EPOLLOUT);
	for (;;) {
		got = epoll_wait(ep, slots, 256, -1);
		for (i = 0; i < got; i++) {
			size_t left, len;
			ssize_t done;

			k = slots[i].data.u32;
			left = bytes - sent[k];
			len = left < CHUNK ? left : CHUNK;
			done = send(fds[k], pattern(sent[k]), len,
				    MSG_DONTWAIT | MSG_NOSIGNAL);
			if (done < 0 && errno != EAGAIN)
				fail("send");
			sent[k] += done > 0 ? (size_t)done : 0;
			if (sent[k] < bytes)
				continue;
			shutdown(fds[k], SHUT_WR);
			epoll_ctl(ep, EPOLL_CTL_DEL, fds[k], NULL);
		}
	}
}

/* PAIRS, KIB each */
void client_produce(const unsigned long *arg)
{
	pour(PORT, arg[0], arg[1] * 1024);
}

/* -, FLOODS */
void client_flood(const unsigned long *arg)
{
	pour(PORT + 1, arg[1], SIZE_MAX);
}

/* -------- storms: NUMBER, AT-ONCE -------- */

/* Waits until the server has closed as well. */
static void await_end(int fd)
{
	char byte;

	if (recv(fd, &byte, 1, 0) != 0)
		fail("no end of file");
	close(fd);
}

void client_storm(const unsigned long *arg)
{
	unsigned long done, k;
	int fds[1024];

	for (done = 0; done < arg[0]; done += arg[1]) {
		for (k = 0; k < arg[1]; k++)
			fds[k] = dial(PORT, SOCK_STREAM);
		for (k = 0; k < arg[1]; k++)
			await_end(fds[k]);
	}
}

void client_ends(const unsigned long *arg)
{
	const struct linger hard = { .l_onoff = 1 };
	unsigned long done, k;
	char buf[64];
	int fds[1024];

	for (done = 0; done < arg[0]; done += arg[1]) {
		for (k = 0; k < arg[1]; k++) {
			fds[k] = dial(PORT, SOCK_STREAM);
			if (send(fds[k], pattern(0), sizeof(buf), 0) < 0)
				fail("send");
		}
		for (k = 0; k < arg[1]; k++)
			if (recv(fds[k], buf, sizeof(buf), MSG_WAITALL) !=
			    sizeof(buf))
				fail("no answer");
		for (k = 0; k < arg[1]; k++) {
			if (k % 2 == 0) {
				shutdown(fds[k], SHUT_WR);
				continue;
			}
			setsockopt(fds[k], SOL_SOCKET, SO_LINGER, &hard,
				   sizeof(hard));
			close(fds[k]);
		}
		for (k = 0; k < arg[1]; k += 2)
			await_end(fds[k]);
	}
}

/* -------- datagrams: NUMBER, AT-ONCE -------- */

void client_datagrams(const unsigned long *arg)
{
	static const size_t sizes[] = {
		64, 1400, 120, 512, 8000, 200, 4000, 90, 1400, 1400, 300,
	};
	int fd = dial(PORT, SOCK_DGRAM);
	unsigned long sent = 0;
	char byte;

	while (sent < arg[0]) {
		size_t size = sizes[sent % (sizeof(sizes) / sizeof(*sizes))];

		if (send(fd, pattern(0), size, 0) != (ssize_t)size)
			fail("send");
		if (++sent % arg[1] == 0 && read(go_pipe[0], &byte, 1) != 1)
			fail("pipe");
	}
}
