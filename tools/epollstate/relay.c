// SPDX-License-Identifier: BSD-3-Clause OR GPL-2.0
/*
 * relay - a TCP proxy whose backpressure is arithmetic
 *
 * Between a fast producer and a slow consumer a proxy has to stop reading, and
 * to know when to go on.  With records it knows what one side has and what the
 * other one takes, and moves the smaller of the two: nothing waits in the
 * relay, one buffer serves all connections, and the producer is slowed down by
 * TCP itself.  No call ever meets EAGAIN, EPOLLOUT is never armed or disarmed,
 * no epoll_ctl() follows the registration of a socket.
 *
 * An end of file is passed on when everything before it was; a reset, a failed
 * connection and a pending error reset the other side.
 *
 * On a kernel without EPOLLSTATE the same code runs on edge-triggered events.
 * What a side does not take is kept for it then.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <getopt.h>
#include <limits.h>
#include <netdb.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>

#include "epollstate.h"

#define NSLOTS	1024

struct side {
	int fd;
	bool shut;			/* it was sent the end of file */
	struct side *other;
	struct epoll_state state;	/* the latest the kernel has told */
	char *kept;			/* from the other side, not taken yet */
	size_t kept_len;
};

struct link {
	struct side client, server;
	struct addrinfo *at;		/* where the server side connects to */
	bool connected;
	bool over;
	struct link *next_over;
};

static struct {
	unsigned long links, failed, bytes, reads, writes, accepts, waits;
	unsigned long eagain, cut_short, records, ordinary, sockets, ctls;
	size_t kept_max;
} stats;

static int epfd;
static struct side listener = { .fd = -1 };
static struct addrinfo *target;		/* all its addresses */
static uint32_t events = EPOLLIN | EPOLLOUT | EPOLLRDHUP | EPOLLSTATE | EPOLLET;
static struct link *all_over;	/* to be freed behind the slots that name them */
static volatile sig_atomic_t stop;

static void die(const char *what)
{
	fprintf(stderr, "relay: %s: %s\n", what, strerror(errno));
	exit(1);
}

static int ctl(int op, int fd, struct epoll_event *ev)
{
	stats.ctls++;
	return epoll_ctl(epfd, op, fd, ev);
}

/*
 * The only registration of a socket.  One that cannot report its state, as
 * when a BPF program has put it into a sockmap, is served by plain edges.
 */
static bool add(struct side *s)
{
	struct epoll_event ev = { .events = events, .data.ptr = s };

	stats.sockets++;
	if (!ctl(EPOLL_CTL_ADD, s->fd, &ev))
		return true;
	if (errno != EOPNOTSUPP)
		return false;
	ev.events &= ~EPOLLSTATE;
	return !ctl(EPOLL_CTL_ADD, s->fd, &ev);
}

/* Note what a call returned. Return: false if it found the connection broken. */
static bool count(unsigned long *calls, size_t asked, ssize_t got)
{
	++*calls;
	if (got < 0) {
		stats.eagain += errno == EAGAIN;
		return errno == EAGAIN;
	}
	stats.cut_short += (size_t)got < asked;
	return true;
}

/* Hand over what the credit allows; keep the rest, none if records are true. */
static bool put(struct side *to, const char *data, size_t len)
{
	size_t allowed = len < to->state.snd ? len : to->state.snd;
	ssize_t n = send(to->fd, data, allowed, MSG_NOSIGNAL);
	char *old = to->kept;

	epollstate_did_write(&to->state, allowed, n);
	if (!count(&stats.writes, allowed, n))
		return false;
	if (n < 0)
		n = 0;
	stats.bytes += (size_t)n;
	len -= (size_t)n;
	to->kept = NULL;
	to->kept_len = len;
	if (len) {
		to->kept = malloc(len);
		if (!to->kept)
			return false;
		memcpy(to->kept, data + n, len);
	}
	if (len > stats.kept_max)
		stats.kept_max = len;
	free(old);
	return true;
}

/* Move what one side has and the other takes. Return: false if it is broken. */
static bool move(struct side *from, struct side *to)
{
	struct epoll_state *in = &from->state, *out = &to->state;
	static char buf[256 * 1024];

	while (out->snd && (to->kept_len || in->rcv)) {
		size_t len = sizeof(buf);
		ssize_t n;

		if (to->kept_len) {
			if (!put(to, to->kept, to->kept_len))
				return false;
			continue;
		}
		if (len > in->rcv)
			len = in->rcv;
		if (len > out->snd)
			len = out->snd;
		n = recv(from->fd, buf, len, 0);
		epollstate_did_read(in, n);
		if (!count(&stats.reads, len, n))
			return false;
		if (n > 0 && !put(to, buf, (size_t)n))
			return false;
	}
	if (!to->shut && epollstate_eof(in) && !to->kept_len) {
		to->shut = true;
		shutdown(to->fd, SHUT_WR);
	}
	return true;
}

/* Close a side; a reset tells it that what it got was not all. */
static void finish_side(struct side *s, bool reset)
{
	struct linger hard = { .l_onoff = 1 };

	if (reset)
		setsockopt(s->fd, SOL_SOCKET, SO_LINGER, &hard, sizeof(hard));
	if (s->fd >= 0)
		close(s->fd);
	free(s->kept);
}

static void finish(struct link *l, bool reset)
{
	stats.failed += reset;
	finish_side(&l->client, reset);
	finish_side(&l->server, reset);
	l->over = true;
	l->next_over = all_over;
	all_over = l;
}

static int new_socket(const struct addrinfo *at)
{
	return socket(at->ai_family,
		      SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
}

/*
 * Connect to the address @l->at, or to the first behind it that can be tried.
 * @fd: a socket of its family, or -1.  How it ends, a record tells.
 */
static bool connect_server(struct link *l, int fd)
{
	for (; l->at; l->at = l->at->ai_next, fd = -1) {
		if (fd < 0)
			fd = new_socket(l->at);
		if (fd < 0)
			continue;
		l->server.fd = fd;
		memset(&l->server.state, 0, sizeof(l->server.state));
		if (!connect(fd, l->at->ai_addr, l->at->ai_addrlen) ||
		    errno == EINPROGRESS) {
			if (add(&l->server))
				return true;
		}
		close(fd);
		l->server.fd = -1;
	}
	return false;
}

/* A client, and a socket that is to become its other side. */
static void open_link(int fd, int server_fd)
{
	struct link *l = calloc(1, sizeof(*l));

	if (!l)
		die("calloc");
	l->client.fd = fd;
	l->client.other = &l->server;
	l->server.other = &l->client;
	l->at = target;
	stats.links++;
	if (!connect_server(l, server_fd) || !add(&l->client))
		finish(l, true);
}

/*
 * Accept as many as are waiting; those the file limit refuses wait on.  A link
 * takes two descriptors, and the one of the server side comes first: a client
 * that was accepted could not wait any more.
 */
static void accept_all(void)
{
	struct epoll_state *s = &listener.state;

	while (s->msgs) {
		int server_fd = new_socket(target);
		int fd;

		if (server_fd < 0 && errno != EAFNOSUPPORT)
			return;
		fd = accept4(listener.fd, NULL, NULL,
			     SOCK_NONBLOCK | SOCK_CLOEXEC);
		if (fd < 0 && server_fd >= 0) {
			int err = errno;

			close(server_fd);
			errno = err;
		}
		if (fd < 0 && (errno == EMFILE || errno == ENFILE ||
			       errno == ENOMEM || errno == ENOBUFS))
			return;
		stats.accepts++;
		if (fd < 0 && errno == EAGAIN) {
			stats.eagain++;
			s->msgs = 0;
			return;
		}
		if (s->msgs != EPOLLSTATE_UNKNOWN)
			s->msgs--;
		if (fd >= 0)
			open_link(fd, server_fd);
	}
}

static void store(const struct epoll_event *slot)
{
	struct side *s = slot->data.ptr;

	if (epollstate_store(&s->state, slot))
		stats.records++;
	else
		stats.ordinary++;
}

/*
 * Has the server side been connected?  Before that it takes nothing, not even
 * the end of what the client sends: shutdown() would call the attempt off.
 */
static bool is_connected(struct link *l)
{
	uint32_t told = l->server.state.events;

	if (!l->connected && told & (EPOLLERR | EPOLLHUP)) {
		close(l->server.fd);
		l->server.fd = -1;
		l->at = l->at->ai_next;
		if (!connect_server(l, -1))
			finish(l, true);
	} else if (!l->connected && told & EPOLLOUT) {
		l->connected = true;
	}
	return l->connected;
}

/* Act upon the state that was stored, of both sides of a link. */
static void handle(struct side *s)
{
	struct side *other = s->other;
	struct link *l;

	if (s == &listener) {
		accept_all();
		return;
	}
	l = s < other ? (struct link *)(void *)s : (struct link *)(void *)other;
	if (l->over)
		return;
	if (l->client.state.error) {
		finish(l, true);
		return;
	}
	if (!is_connected(l))
		return;
	if (s->state.error || !move(s, other) || !move(other, s)) {
		finish(l, true);
		return;
	}
	/* Both ends were passed on; stay until all of it was acknowledged. */
	if (s->shut && other->shut && !s->state.outq && !other->state.outq)
		finish(l, false);
}

static void loop(void)
{
	static struct epoll_event slots[NSLOTS];
	sigset_t none;
	int i, n;

	sigemptyset(&none);
	while (!stop) {
		n = epoll_pwait(epfd, slots, NSLOTS, -1, &none);
		if (n < 0 && errno != EINTR)
			die("epoll_pwait");
		stats.waits += n > 0;
		/*
		 * All records first: one that is further behind knows nothing
		 * of what is written to its side on account of another.
		 */
		for (i = 0; i < n; i = epollstate_next(slots, n, i))
			store(&slots[i]);
		for (i = 0; i < n; i = epollstate_next(slots, n, i))
			handle(slots[i].data.ptr);
		if (!all_over)
			continue;
		while (all_over) {
			struct link *l = all_over;

			all_over = l->next_over;
			free(l);
		}
		accept_all();
	}
}

static struct addrinfo *resolve(const char *host, const char *port, int flags)
{
	struct addrinfo hints = {
		.ai_flags = flags,
		.ai_socktype = SOCK_STREAM,
	}, *found;
	int err = getaddrinfo(host, port, &hints, &found);

	if (err) {
		fprintf(stderr, "relay: %s port %s: %s\n", host ? host : "*",
			port, gai_strerror(err));
		exit(2);
	}
	return found;
}

static void listen_on(const char *host, const char *port)
{
	struct addrinfo *a = resolve(host, port, AI_PASSIVE);
	int one = 1;

	listener.fd = new_socket(a);
	if (listener.fd < 0)
		die("socket");
	setsockopt(listener.fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one));
	if (bind(listener.fd, a->ai_addr, a->ai_addrlen))
		die("bind");
	if (listen(listener.fd, INT_MAX))
		die("listen");
	freeaddrinfo(a);
	if (!add(&listener))
		die("epoll_ctl");
}

static void on_signal(int sig)
{
	(void)sig;
	stop = 1;
}

static void summary(void)
{
	printf("links %lu\nlinks_failed %lu\nbytes %lu\nrecords %lu\n"
	       "ordinary_events %lu\nepoll_wait_returns %lu\nreads %lu\n"
	       "writes %lu\naccepts %lu\neagain %lu\nshort %lu\n"
	       "bytes_kept %zu\nepoll_ctl_later %lu\n",
	       stats.links, stats.failed, stats.bytes, stats.records,
	       stats.ordinary, stats.waits, stats.reads, stats.writes,
	       stats.accepts, stats.eagain, stats.cut_short, stats.kept_max,
	       stats.ctls - stats.sockets);
}

static const char usage[] =
"usage: relay [options] HOST PORT\n"
"Takes TCP connections and relays each to PORT of HOST.\n"
"  -a, --address HOST   listen on this address (all)\n"
"  -p, --port PORT      listen on this port (7778)\n"
"  -e, --edge           do not ask for EPOLLSTATE, to compare\n"
"  -h, --help           this text\n"
"Ends with SIGINT or SIGTERM, and says what it did.\n";

int main(int argc, char **argv)
{
	static const struct option options[] = {
		{ "address", required_argument, NULL, 'a' },
		{ "port", required_argument, NULL, 'p' },
		{ "edge", no_argument, NULL, 'e' },
		{ "help", no_argument, NULL, 'h' },
		{ NULL, 0, NULL, 0 },
	};
	struct sigaction act = { .sa_handler = on_signal };
	const char *address = NULL, *port = "7778";
	struct rlimit files;
	sigset_t mask;
	int opt;

	while ((opt = getopt_long(argc, argv, "a:p:eh", options, NULL)) != -1) {
		switch (opt) {
		case 'a':
			address = optarg;
			break;
		case 'p':
			port = optarg;
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
	if (argc - optind != 2) {
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
	target = resolve(argv[optind], argv[optind + 1], 0);
	listen_on(address, port);
	loop();
	summary();
	return fflush(stdout) ? 1 : 0;
}
