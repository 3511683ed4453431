// SPDX-License-Identifier: BSD-3-Clause OR GPL-2.0
/*
 * echo-server - a TCP echo server that shows what EPOLLSTATE is for
 *
 * Each connection is registered once.  Whatever happens on it afterwards comes
 * as a record that the server stores, so that it always knows how many bytes
 * it can read and write.  It reads what it can write, not a byte more: nothing
 * waits in the server, there is one buffer for all connections, and a peer
 * that does not drain its echo is slowed down by TCP itself.  No read, write
 * or accept ever meets EAGAIN, and no epoll_ctl() follows the first one.
 *
 * On a kernel without EPOLLSTATE the same code runs on edge-triggered events,
 * reading and writing until EAGAIN.  What a short write leaves over is kept
 * then; with records that happens only if the system lacks socket memory.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <getopt.h>
#include <limits.h>
#include <linux/tcp.h>
#include <netinet/in.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <time.h>

#include "epollstate.h"
#include "echo-trace.h"

#define NSLOTS	1024

struct conn {
	int fd;
	bool shut;			/* the echo is complete, FIN sent */
	unsigned long nr;		/* 0: the listening socket */
	struct epoll_state state;	/* the latest the kernel has told */
	char *kept;			/* left over by a short write */
	size_t kept_len;
};

static int epfd;
static uint32_t events = EPOLLIN | EPOLLOUT | EPOLLRDHUP | EPOLLSTATE | EPOLLET;
static struct conn listener = { .fd = -1 };
static unsigned long nr_open;
static bool accept_again;	/* a descriptor is free that may have lacked */
static struct echo_trace trace;
static struct echo_stats stats;
static volatile sig_atomic_t stop;

static void die(const char *what)
{
	fprintf(stderr, "echo-server: %s: %s\n", what, strerror(errno));
	exit(1);
}

static int ctl(int op, int fd, struct epoll_event *ev)
{
	stats.ctls++;
	return epoll_ctl(epfd, op, fd, ev);
}

/*
 * The only registration of a file.  One that cannot report its state, as when
 * a BPF program has put it into a sockmap, is served by plain edges.
 */
static int add(struct conn *c)
{
	struct epoll_event ev = { .events = events, .data.ptr = c };

	stats.files++;
	if (!ctl(EPOLL_CTL_ADD, c->fd, &ev))
		return 0;
	if (errno != EOPNOTSUPP)
		return -1;
	ev.events &= ~EPOLLSTATE;
	return ctl(EPOLL_CTL_ADD, c->fd, &ev);
}

/* Write what the credit allows and keep the rest, which is rarely any. */
static bool put(struct conn *c, char *data, size_t len)
{
	size_t allowed = len < c->state.snd ? len : c->state.snd;
	ssize_t n = send(c->fd, data, allowed, MSG_NOSIGNAL);
	char *old = c->kept;

	stats.writes++;
	epollstate_did_write(&c->state, allowed, n);
	if (n < 0) {
		if (errno != EAGAIN)
			return false;
		stats.write_eagain++;
		n = 0;
	} else if ((size_t)n < allowed) {
		stats.write_short++;
	}
	stats.bytes += (size_t)n;
	len -= (size_t)n;
	c->kept = NULL;
	c->kept_len = len;
	if (len) {
		c->kept = malloc(len);
		if (c->kept)
			memcpy(c->kept, data + n, len);
		if (len > stats.kept_max)
			stats.kept_max = len;
	}
	free(old);
	return !len || c->kept;
}

/*
 * Echo as much as the stored state allows.
 * Return: false when the connection is over.
 */
static bool echo(struct conn *c)
{
	struct epoll_state *s = &c->state;
	static char buf[256 * 1024];

	if (s->error)
		return false;
	while (s->snd && (c->kept_len || s->rcv)) {
		size_t len = sizeof(buf);
		ssize_t n;

		if (c->kept_len) {
			if (!put(c, c->kept, c->kept_len))
				return false;
			continue;
		}
		if (len > s->rcv)
			len = s->rcv;
		if (len > s->snd)
			len = s->snd;
		n = recv(c->fd, buf, len, 0);
		stats.reads++;
		epollstate_did_read(s, n);
		if (n < 0 && errno != EAGAIN)
			return false;
		if (n < 0)
			stats.read_eagain++;
		else if ((size_t)n < len)
			stats.read_short++;
		if (n > 0 && !put(c, buf, (size_t)n))
			return false;
	}
	if (!c->shut && epollstate_eof(s) && !c->kept_len) {
		c->shut = true;
		shutdown(c->fd, SHUT_WR);
	}
	/* After the last byte: stay until the peer has acknowledged it. */
	return !c->shut || s->outq;
}

/* Closing the only descriptor of a socket removes its registration. */
static void finish(struct conn *c)
{
	struct tcp_info info = { 0 };
	socklen_t len = sizeof(info);

	if (!getsockopt(c->fd, IPPROTO_TCP, TCP_INFO, &info, &len))
		stats.segs_in += info.tcpi_segs_in;
	if (!c->shut)
		stats.failed++;
	close(c->fd);
	free(c->kept);
	free(c);
	nr_open--;
	accept_again = true;
}

/* Accept as many as are waiting; those the file limit refuses wait on. */
static void accept_all(void)
{
	struct epoll_state *s = &listener.state;
	struct conn *c;
	int fd;

	accept_again = false;
	while (s->msgs) {
		fd = accept4(listener.fd, NULL, NULL,
			     SOCK_NONBLOCK | SOCK_CLOEXEC);
		stats.accepts++;
		if (fd < 0 && (errno == EMFILE || errno == ENFILE ||
			       errno == ENOMEM || errno == ENOBUFS))
			return;
		if (fd < 0 && errno == EAGAIN) {
			stats.accept_eagain++;
			s->msgs = 0;
			return;
		}
		if (s->msgs != EPOLLSTATE_UNKNOWN)
			s->msgs--;
		if (fd < 0)
			continue;
		c = calloc(1, sizeof(*c));
		if (!c)
			die("calloc");
		c->fd = fd;
		c->nr = ++stats.served;
		nr_open++;
		/* The user's watches may be used up: this one is refused. */
		if (add(c) < 0)
			finish(c);
	}
}

static void handle(const struct epoll_event *slot)
{
	struct conn *c = slot->data.ptr;
	bool alive;

	trace_slot(&trace, c->nr, slot);
	if (epollstate_store(&c->state, slot))
		stats.records++;
	else
		stats.ordinary++;
	if (c == &listener) {
		accept_all();
		return;
	}
	alive = echo(c);
	trace_csv(&trace, c->nr, "stored", &c->state);
	if (!alive)
		finish(c);
}

static void loop(int idle_ms)
{
	static struct epoll_event slots[NSLOTS];
	sigset_t none;
	int i, n;

	sigemptyset(&none);
	while (!stop) {
		n = epoll_pwait(epfd, slots, NSLOTS,
				stats.served && !nr_open ? idle_ms : -1, &none);
		if (n < 0 && errno != EINTR)
			die("epoll_pwait");
		if (n == 0)
			return;
		if (n > 0)
			stats.waits++;
		for (i = 0; i < n; i = epollstate_next(slots, n, i))
			handle(&slots[i]);
		/* Behind the array, which may hold news of the listener. */
		if (accept_again)
			accept_all();
	}
}

static void listen_on(const char *address, unsigned int port)
{
	struct sockaddr_in6 a6 = {
		.sin6_family = AF_INET6,
		.sin6_port = htons((uint16_t)port),
		.sin6_addr = in6addr_any,
	};
	struct sockaddr_in a4 = {
		.sin_family = AF_INET,
		.sin_port = htons((uint16_t)port),
	};
	bool v4 = address && inet_pton(AF_INET, address, &a4.sin_addr) == 1;
	int one = 1, fd = -1;

	if (address && !v4 &&
	    inet_pton(AF_INET6, address, &a6.sin6_addr) != 1) {
		fprintf(stderr, "echo-server: %s: not a numeric address\n",
			address);
		exit(2);
	}
	if (!v4)
		fd = socket(AF_INET6,
			    SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	if (fd < 0 && !address)
		v4 = true;	/* a kernel without IPv6 */
	if (v4)
		fd = socket(AF_INET,
			    SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	if (fd < 0)
		die("socket");
	setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one));
	if (v4 ? bind(fd, (struct sockaddr *)&a4, sizeof(a4)) :
		 bind(fd, (struct sockaddr *)&a6, sizeof(a6)))
		die("bind");
	if (listen(fd, INT_MAX) < 0)
		die("listen");
	listener.fd = fd;
	if (add(&listener) < 0)
		die("epoll_ctl");
}

static void on_signal(int sig)
{
	(void)sig;
	stop = 1;
}

static FILE *open_file(const char *name)
{
	FILE *f = strcmp(name, "-") ? fopen(name, "we") : stdout;

	if (!f)
		die(name);
	return f;
}

static unsigned long number(const char *text, unsigned long max)
{
	char *end;
	unsigned long value;

	errno = 0;
	value = strtoul(text, &end, 10);
	if (errno || end == text || *end || value > max) {
		fprintf(stderr, "echo-server: %s: not a number up to %lu\n",
			text, max);
		exit(2);
	}
	return value;
}

static const char usage[] =
"usage: echo-server [options]\n"
"  -a, --address ADDR   listen on this numeric address (all, IPv6 and IPv4)\n"
"  -p, --port PORT      listen on this port (7777)\n"
"  -i, --idle SECONDS   end when no connection has been open for so long\n"
"  -w, --watch N        show the records of the listener and of the first N\n"
"                       connections as they arrive\n"
"  -c, --csv FILE       write the same records as comma-separated values\n"
"  -s, --stats FILE     write the statistics to FILE (standard output)\n"
"  -e, --edge           do not ask for EPOLLSTATE, to compare\n"
"  -h, --help           this text\n"
"Ends with SIGINT or SIGTERM.\n";

int main(int argc, char **argv)
{
	static const struct option options[] = {
		{ "address", required_argument, NULL, 'a' },
		{ "port", required_argument, NULL, 'p' },
		{ "idle", required_argument, NULL, 'i' },
		{ "watch", required_argument, NULL, 'w' },
		{ "csv", required_argument, NULL, 'c' },
		{ "stats", required_argument, NULL, 's' },
		{ "edge", no_argument, NULL, 'e' },
		{ "help", no_argument, NULL, 'h' },
		{ NULL, 0, NULL, 0 },
	};
	struct sigaction act = { .sa_handler = on_signal };
	const char *address = NULL;
	unsigned int port = 7777;
	FILE *stats_file = stdout;
	struct rlimit files;
	int idle_ms = -1, opt;
	sigset_t mask;

	trace.start = trace_now();
	while ((opt = getopt_long(argc, argv, "a:p:i:w:c:s:eh", options,
				  NULL)) != -1) {
		switch (opt) {
		case 'a':
			address = optarg;
			break;
		case 'p':
			port = (unsigned int)number(optarg, 65535);
			break;
		case 'i':
			idle_ms = (int)number(optarg, 86400) * 1000;
			break;
		case 'w':
			trace.watch = number(optarg, ULONG_MAX);
			trace.table = stdout;
			break;
		case 'c':
			trace.csv = open_file(optarg);
			break;
		case 's':
			stats_file = open_file(optarg);
			break;
		case 'e':
			events &= ~EPOLLSTATE;
			break;
		case 'h':
			fputs(usage, stdout);
			return 0;
		default:
			fputs(usage, stderr);
			return 2;
		}
	}
	if (optind < argc) {
		fputs(usage, stderr);
		return 2;
	}

	/* As many connections as the administrator allows. */
	if (!getrlimit(RLIMIT_NOFILE, &files)) {
		files.rlim_cur = files.rlim_max;
		setrlimit(RLIMIT_NOFILE, &files);
	}
	/* Both signals are let in only where epoll_pwait() sleeps. */
	sigemptyset(&mask);
	sigaddset(&mask, SIGINT);
	sigaddset(&mask, SIGTERM);
	sigprocmask(SIG_BLOCK, &mask, NULL);
	sigaction(SIGINT, &act, NULL);
	sigaction(SIGTERM, &act, NULL);

	epfd = epoll_create1(EPOLL_CLOEXEC);
	if (epfd < 0)
		die("epoll_create1");
	listen_on(address, port);
	printf("echo-server: port %u, %s\n", port,
	       !(events & EPOLLSTATE) ? "edge-triggered events as asked" :
	       epollstate_supported() == 1 ? "the kernel gives records" :
	       "this kernel has no EPOLLSTATE: edge-triggered events instead");
	fflush(stdout);
	trace_head(&trace);
	loop(idle_ms);
	stats.cpu_ms = (uint64_t)clock() / (CLOCKS_PER_SEC / 1000);
	trace_stats(stats_file, &stats);
	if (fflush(stats_file) || (trace.csv && fclose(trace.csv)))
		die("writing the results");
	return 0;
}
