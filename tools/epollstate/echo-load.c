// SPDX-License-Identifier: BSD-3-Clause OR GPL-2.0
/*
 * echo-load - a load client that checks every byte an echo server returns
 *
 * Each connection sends a pattern of its own in which every byte depends on
 * its position, so that a byte lost, repeated or moved is seen.  Some take
 * turns with the server, some send all they can, some drain slowly, some
 * stand still for a while, some close their half and read on to the end, some
 * reset the connection.  What they do follows from --seed alone.
 *
 * It uses level-triggered epoll and nothing newer, to be an independent judge.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <getopt.h>
#include <inttypes.h>
#include <limits.h>
#include <netinet/in.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define TICK	0.02		/* seconds between two sips of a slow reader */

enum kind {
	TURNS,			/* send a message, wait for its echo, repeat */
	STREAM,			/* send and receive as fast as it goes */
	SLOW,			/* send as fast as it goes, drain slowly */
	NKINDS
};

static const char * const kind_name[] = { "turns", "stream", "slow" };

enum ending {
	CLOSE,			/* close after the last byte came back */
	HALF_CLOSE,		/* shut down writing, read to end of file */
	RESET,			/* reset somewhere in the middle */
	NENDINGS
};

struct conn {
	int fd;
	uint32_t asked;		/* events registered now */
	enum kind kind;
	enum ending ending;
	bool connected, shut;
	uint64_t key;		/* of the pattern */
	uint64_t random;	/* state of this connection's generator */
	uint64_t total;		/* bytes to send */
	uint64_t reset_at;
	uint64_t stall_at;	/* stand still when so much is sent; 0: never */
	double stalled_until;	/* 0: it does not stand still */
	uint64_t sent, received;
	uint64_t message_end;	/* where the present message ends */
	uint64_t moved;		/* bytes, both ways, when it was looked at last */
	double moved_at;	/* when that had changed */
};

static struct {
	unsigned long conns, bytes, slow, slow_bytes, slow_rate;
	unsigned long half_close, reset, stall, duration, timeout, quiet, seed;
} opt = {
	.conns = 100, .bytes = 100000, .slow = 4, .slow_bytes = 1000000,
	.slow_rate = 200000, .half_close = 50, .timeout = 60, .seed = 1,
};

static const struct sockaddr *target;
static socklen_t target_len;
static struct conn *conns;
static int epfd;
static unsigned long nr_started, nr_open, nr_done, nr_stalls;
static uint64_t bytes_sent, bytes_verified;
static unsigned long done_by_kind[NKINDS], done_by_ending[NENDINGS];

static void die(const char *what)
{
	fprintf(stderr, "echo-load: %s: %s\n", what, strerror(errno));
	exit(1);
}

static double now(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (double)ts.tv_sec + (double)ts.tv_nsec / 1e9;
}

/* splitmix64's finalizer: neighbours give unrelated values. */
static uint64_t mix(uint64_t x)
{
	x += 0x9e3779b97f4a7c15ULL;
	x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9ULL;
	x = (x ^ (x >> 27)) * 0x94d049bb133111ebULL;
	return x ^ (x >> 31);
}

static uint64_t draw(struct conn *c)
{
	return mix(c->random++);
}

/* The @len bytes of the pattern from position @pos on. */
static void pattern(const struct conn *c, uint64_t pos, unsigned char *buf,
		    size_t len)
{
	uint64_t word = mix(c->key + pos / 8);
	size_t i;

	for (i = 0; i < len; i++, pos++) {
		if (i && pos % 8 == 0)
			word = mix(c->key + pos / 8);
		buf[i] = (unsigned char)(word >> 8 * (pos % 8));
	}
}

static void fail(const struct conn *c, const char *what)
{
	fprintf(stderr,
		"echo-load: connection %td (%s): %s; sent %" PRIu64
		", received %" PRIu64 " of %" PRIu64 "\n",
		c - conns, kind_name[c->kind], what, c->sent, c->received,
		c->total);
	exit(1);
}

static void ask(struct conn *c, uint32_t events)
{
	struct epoll_event ev = { .events = events, .data.ptr = c };
	int op = EPOLL_CTL_MOD;

	if (events == c->asked)
		return;
	/* With nothing asked, EPOLLHUP would still come, again and again. */
	if (!events)
		op = EPOLL_CTL_DEL;
	else if (!c->asked)
		op = EPOLL_CTL_ADD;
	if (epoll_ctl(epfd, op, c->fd, &ev) < 0)
		die("epoll_ctl");
	c->asked = events;
}

static void finish(struct conn *c, enum ending how)
{
	close(c->fd);
	c->fd = -1;
	done_by_kind[c->kind]++;
	done_by_ending[how]++;
	nr_open--;
	nr_done++;
}

/* Message sizes are spread evenly over the powers of two, 1 to 32768. */
static void next_message(struct conn *c)
{
	uint64_t top = 1ULL << draw(c) % 16;

	c->message_end = c->sent + top + draw(c) % top;
	if (c->message_end > c->total)
		c->message_end = c->total;
}

static void start(struct conn *c)
{
	unsigned long nr = (unsigned long)(c - conns);
	uint64_t average;

	memset(c, 0, sizeof(*c));
	c->random = mix(opt.seed) ^ mix(nr_started++ << 20);
	nr_open++;
	c->key = draw(c);
	if (nr < opt.slow)
		c->kind = SLOW;
	else
		c->kind = draw(c) % 2 ? TURNS : STREAM;
	average = c->kind == SLOW ? opt.slow_bytes : opt.bytes;
	c->total = average / 2 + draw(c) % (average + 1);
	if (!c->total)
		c->total = 1;
	if (draw(c) % 100 < opt.reset && c->kind != SLOW) {
		c->ending = RESET;
		c->reset_at = draw(c) % c->total;
	} else if (draw(c) % 100 < opt.half_close) {
		c->ending = HALF_CLOSE;
	}
	if (opt.stall && draw(c) % 100 < opt.stall && c->kind != SLOW)
		c->stall_at = 1 + draw(c) % c->total;
	c->fd = socket(target->sa_family,
		       SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	if (c->fd < 0)
		die("socket");
	if (connect(c->fd, target, target_len) < 0 && errno != EINPROGRESS)
		die("connect");
	ask(c, EPOLLOUT);
}

/* Return: false when the connection is over. */
static bool receive(struct conn *c, size_t most)
{
	static unsigned char buf[65536], want[65536];
	ssize_t n;

	while (most) {
		n = recv(c->fd, buf, most < sizeof(buf) ? most : sizeof(buf),
			 0);
		if (n < 0 && errno == EAGAIN)
			return true;
		if (n < 0)
			fail(c, strerror(errno));
		if (n == 0) {
			if (!c->shut)
				fail(c, "end of file too early");
			if (c->received != c->total)
				fail(c, "echo incomplete at end of file");
			finish(c, HALF_CLOSE);
			return false;
		}
		if (c->received + (size_t)n > c->sent)
			fail(c, "more came back than was sent");
		pattern(c, c->received, want, (size_t)n);
		if (memcmp(buf, want, (size_t)n))
			fail(c, "a wrong byte came back");
		c->received += (size_t)n;
		bytes_verified += (size_t)n;
		most -= (size_t)n;
	}
	return true;
}

static void transmit(struct conn *c)
{
	static unsigned char buf[65536];
	ssize_t n;

	while (c->sent < c->total) {
		size_t len;

		if (c->sent == c->message_end) {
			if (c->kind == TURNS && c->received < c->sent)
				return;
			next_message(c);
		}
		len = c->message_end - c->sent;
		pattern(c, c->sent, buf, len);
		n = send(c->fd, buf, len, MSG_NOSIGNAL);
		if (n < 0 && errno == EAGAIN)
			return;
		if (n < 0)
			fail(c, strerror(errno));
		c->sent += (size_t)n;
		bytes_sent += (size_t)n;
		if ((size_t)n < len)
			return;
	}
}

static void reset(struct conn *c)
{
	struct linger hard = { .l_onoff = 1 };

	setsockopt(c->fd, SOL_SOCKET, SO_LINGER, &hard, sizeof(hard));
	finish(c, RESET);
}

/* @most: how much may be drained now, little for a slow reader. */
static void drive(struct conn *c, uint32_t events, size_t most)
{
	uint32_t next = 0;
	socklen_t len;
	int err = 0;

	if (!c->connected) {
		len = sizeof(err);
		getsockopt(c->fd, SOL_SOCKET, SO_ERROR, &err, &len);
		if (err)
			fail(c, strerror(err));
		c->connected = true;
	}
	if (events & EPOLLIN && !receive(c, most))
		return;
	transmit(c);
	if (c->ending == RESET && c->sent >= c->reset_at) {
		reset(c);
		return;
	}
	if (c->stall_at && c->sent >= c->stall_at && c->received < c->total) {
		/* Up to two seconds, reading as little as it writes. */
		c->stall_at = 0;
		c->stalled_until = now() + (double)(draw(c) % 2000) / 1000;
		nr_stalls++;
		ask(c, 0);
		return;
	}
	if (c->received == c->total && c->ending == CLOSE) {
		finish(c, CLOSE);
		return;
	}
	if (c->sent == c->total && c->ending == HALF_CLOSE && !c->shut) {
		c->shut = true;
		shutdown(c->fd, SHUT_WR);
	}
	if (c->sent < c->total &&
	    !(c->kind == TURNS && c->sent == c->message_end))
		next |= EPOLLOUT;
	if (c->kind != SLOW)
		next |= EPOLLIN;
	ask(c, next);
}

/* Whoever does not stand still moves, or its echo, its space, its end is lost. */
static void watch(struct conn *c, double t)
{
	const uint64_t moved = c->sent + c->received;

	if (!c->moved_at || moved != c->moved || c->stalled_until) {
		c->moved = moved;
		c->moved_at = t;
	} else if (t - c->moved_at > (double)opt.quiet) {
		fail(c, "nothing moves any more");
	}
}

/* What is due by the clock and not by an event. */
static void on_tick(struct conn *c, double t, bool more, size_t sip)
{
	if (opt.quiet && c->fd >= 0)
		watch(c, t);
	if (c->fd < 0) {
		if (more)
			start(c);
	} else if (c->stalled_until) {
		if (t < c->stalled_until)
			return;
		c->stalled_until = 0;
		drive(c, EPOLLIN, SIZE_MAX);
	} else if (c->kind == SLOW && c->connected) {
		drive(c, EPOLLIN, sip);
	}
}

static void run(double begin)
{
	const double until = begin + (double)opt.duration;
	const double deadline = until + (double)opt.timeout;
	const size_t sip = (size_t)((double)opt.slow_rate * TICK) ?: 1;
	static struct epoll_event events[1024];
	double tick = begin + TICK, t = begin;
	unsigned long nr;
	int i, n;

	while ((nr_open || t < until) && t < deadline) {
		n = epoll_wait(epfd, events, 1024, (int)(TICK * 1000));
		if (n < 0 && errno != EINTR)
			die("epoll_wait");
		for (i = 0; i < n; i++)
			drive(events[i].data.ptr, events[i].events, SIZE_MAX);
		t = now();
		if (t < tick)
			continue;
		tick = t + TICK;
		for (nr = 0; nr < opt.conns; nr++)
			on_tick(&conns[nr], t, t < until, sip);
	}
}

static unsigned long number(const char *text, unsigned long max)
{
	char *end;
	unsigned long value;

	errno = 0;
	value = strtoul(text, &end, 10);
	if (errno || end == text || *end || value > max) {
		fprintf(stderr, "echo-load: %s: not a number up to %lu\n",
			text, max);
		exit(2);
	}
	return value;
}

static const char usage[] =
"usage: echo-load [options] ADDRESS [PORT]\n"
"  -n, --connections N  this many, all at once (100)\n"
"  -d, --duration S     for so long, each that ends is followed by another (0)\n"
"  -b, --bytes N        average bytes of a connection (100000)\n"
"  -s, --slow N         the first N connections drain slowly (4)\n"
"  -B, --slow-bytes N   average bytes of a slow one (1000000)\n"
"  -R, --slow-rate N    bytes a second that a slow one drains (200000)\n"
"  -f, --half-close P   percentage that shuts down writing and reads on (50)\n"
"  -r, --reset P        percentage that resets in the middle (0)\n"
"  -z, --stall P        percentage that stands still for up to 2 s (0)\n"
"  -t, --timeout S      give up after so many seconds more (60)\n"
"  -q, --quiet S        fail if nothing moves on a connection for so long (0: never)\n"
"  -S, --seed N         choose another course (1)\n"
"  -h, --help           this text\n"
"Exit status: 0 if every echo came back complete and unchanged.\n";

int main(int argc, char **argv)
{
	static const struct option options[] = {
		{ "connections", required_argument, NULL, 'n' },
		{ "bytes", required_argument, NULL, 'b' },
		{ "slow", required_argument, NULL, 's' },
		{ "slow-bytes", required_argument, NULL, 'B' },
		{ "slow-rate", required_argument, NULL, 'R' },
		{ "half-close", required_argument, NULL, 'f' },
		{ "reset", required_argument, NULL, 'r' },
		{ "stall", required_argument, NULL, 'z' },
		{ "duration", required_argument, NULL, 'd' },
		{ "timeout", required_argument, NULL, 't' },
		{ "quiet", required_argument, NULL, 'q' },
		{ "seed", required_argument, NULL, 'S' },
		{ "help", no_argument, NULL, 'h' },
		{ NULL, 0, NULL, 0 },
	};
	struct sockaddr_in6 a6 = { .sin6_family = AF_INET6 };
	struct sockaddr_in a4 = { .sin_family = AF_INET };
	uint16_t port = htons(7777);
	struct rlimit files;
	double begin, took;
	unsigned long nr;
	int o;

	while ((o = getopt_long(argc, argv, "n:b:s:B:R:f:r:z:d:t:q:S:h", options,
				NULL)) != -1) {
		switch (o) {
		case 'n':
			opt.conns = number(optarg, 1000000);
			break;
		case 'b':
			opt.bytes = number(optarg, 1UL << 30);
			break;
		case 's':
			opt.slow = number(optarg, 1000000);
			break;
		case 'B':
			opt.slow_bytes = number(optarg, 1UL << 30);
			break;
		case 'R':
			opt.slow_rate = number(optarg, 1UL << 30);
			break;
		case 'f':
			opt.half_close = number(optarg, 100);
			break;
		case 'r':
			opt.reset = number(optarg, 100);
			break;
		case 'z':
			opt.stall = number(optarg, 100);
			break;
		case 'd':
			opt.duration = number(optarg, 86400);
			break;
		case 't':
			opt.timeout = number(optarg, 86400);
			break;
		case 'q':
			opt.quiet = number(optarg, 86400);
			break;
		case 'S':
			opt.seed = number(optarg, ULONG_MAX);
			break;
		case 'h':
			fputs(usage, stdout);
			return 0;
		default:
			fputs(usage, stderr);
			return 2;
		}
	}
	if (optind >= argc || argc - optind > 2) {
		fputs(usage, stderr);
		return 2;
	}
	if (argc - optind == 2)
		port = htons((uint16_t)number(argv[optind + 1], 65535));
	if (inet_pton(AF_INET, argv[optind], &a4.sin_addr) == 1) {
		a4.sin_port = port;
		target = (struct sockaddr *)&a4;
		target_len = sizeof(a4);
	} else if (inet_pton(AF_INET6, argv[optind], &a6.sin6_addr) == 1) {
		a6.sin6_port = port;
		target = (struct sockaddr *)&a6;
		target_len = sizeof(a6);
	} else {
		fprintf(stderr, "echo-load: %s: not a numeric address\n",
			argv[optind]);
		return 2;
	}
	if (opt.slow > opt.conns)
		opt.slow = opt.conns;
	if (!getrlimit(RLIMIT_NOFILE, &files)) {
		files.rlim_cur = files.rlim_max;
		setrlimit(RLIMIT_NOFILE, &files);
	}

	begin = now();
	epfd = epoll_create1(EPOLL_CLOEXEC);
	conns = calloc(opt.conns, sizeof(*conns));
	if (epfd < 0 || !conns)
		die("epoll_create1 or calloc");
	for (nr = 0; nr < opt.conns; nr++)
		start(&conns[nr]);
	run(begin);
	took = now() - begin;

	printf("echo-load: %lu of %lu connections done in %.1f s:",
	       nr_done, nr_started, took);
	for (o = 0; o < NKINDS; o++)
		printf(" %lu %s", done_by_kind[o], kind_name[o]);
	printf("; %lu closed, %lu half-closed, %lu reset; %lu stood still\n",
	       done_by_ending[CLOSE], done_by_ending[HALF_CLOSE],
	       done_by_ending[RESET], nr_stalls);
	printf("echo-load: %" PRIu64 " bytes sent, %" PRIu64
	       " came back and were verified\n", bytes_sent, bytes_verified);
	for (nr = 0; nr < opt.conns; nr++)
		if (conns[nr].fd >= 0)
			fail(&conns[nr], "not done in time");
	return 0;
}
