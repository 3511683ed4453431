// SPDX-License-Identifier: BSD-3-Clause OR GPL-2.0
/*
 * epstate - show what the kernel tells of any files, as it changes
 *
 * Registers each file once with EPOLLSTATE and prints every record in a line.
 * It reads and writes nothing, so that what piles up can be watched:
 *
 *	mkfifo x; epstate x		then write to it from elsewhere
 *	nc host 80 | epstate 0		the pipe between the two
 *	epstate tcp-listen:7000		connections that wait to be accepted
 *	epstate -1 0 1 2		once, what the standard files are like
 *
 * On a kernel without EPOLLSTATE, and for a file that cannot report, it shows
 * the edge-triggered events that come instead, without counts.
 */
#define _GNU_SOURCE
#include <fcntl.h>
#include <getopt.h>
#include <netdb.h>
#include <netinet/in.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/inotify.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/timerfd.h>
#include <sys/un.h>

#include "epollstate.h"
#include "echo-trace.h"

#define NSLOTS	64

struct target {
	const char *name;
	int fd;
	bool lasting;		/* a hang-up is not the end of it */
	bool over;
};

static void fail(const char *name, const char *why)
{
	fprintf(stderr, "epstate: %s: %s\n", name, why);
	exit(1);
}

static void fail_errno(const char *name)
{
	fail(name, strerror(errno));
}

static unsigned long number(const char *text, unsigned long max)
{
	char *end;
	unsigned long value;

	errno = 0;
	value = strtoul(text, &end, 10);
	if (errno || end == text || *end || *text == '-' || value > max) {
		fprintf(stderr, "epstate: %s: not an integer up to %lu\n", text,
			max);
		exit(2);
	}
	return value;
}

/*
 * A socket of @type at @where: PORT, HOST:PORT or [HOST]:PORT.  If @local it is
 * bound there, to any address if there is no HOST, and listens if it is a
 * stream; else it is connected.
 */
static int open_inet(const char *name, const char *where, int type, bool local)
{
	struct addrinfo hints = { .ai_socktype = type }, *list, *ai;
	char host[256], *colon;
	int fd = -1, err, one = 1;

	if (strlen(where) >= sizeof(host))
		fail(name, "the host is too long");
	memcpy(host, where, strlen(where) + 1);
	colon = strrchr(host, ':');
	if (!colon && !local)
		fail(name, "HOST:PORT is needed");
	hints.ai_flags = local ? AI_PASSIVE : 0;
	if (colon) {
		where += colon + 1 - host;
		*colon = '\0';
		if (host[0] == '[' && colon[-1] == ']')
			colon[-1] = '\0';
	}
	err = getaddrinfo(colon ? host + (host[0] == '[') : NULL, where, &hints,
			  &list);
	if (err)
		fail(name, err == EAI_SYSTEM ? strerror(errno) :
					       gai_strerror(err));
	for (ai = list; ai; ai = ai->ai_next) {
		fd = socket(ai->ai_family, type | SOCK_NONBLOCK | SOCK_CLOEXEC,
			    0);
		if (fd < 0)
			continue;
		setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one));
		if (local)
			err = bind(fd, ai->ai_addr, ai->ai_addrlen) ||
			      (type == SOCK_STREAM && listen(fd, SOMAXCONN));
		else
			err = connect(fd, ai->ai_addr, ai->ai_addrlen) &&
			      errno != EINPROGRESS;
		if (!err)
			break;
		err = errno;
		close(fd);
		errno = err;
		fd = -1;
	}
	if (fd < 0)
		fail_errno(name);
	freeaddrinfo(list);
	return fd;
}

static int open_unix(const char *name, const char *path)
{
	struct sockaddr_un sun = { .sun_family = AF_UNIX };
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);

	if (strlen(path) >= sizeof(sun.sun_path))
		fail(name, "the path is too long");
	memcpy(sun.sun_path, path, strlen(path));
	if (fd < 0 || connect(fd, (struct sockaddr *)&sun, sizeof(sun)))
		fail_errno(name);
	return fd;
}

static int open_timer(const char *name, const char *ms)
{
	const unsigned long period = number(ms, 86400000);
	const struct timespec ts = {
		.tv_sec = (time_t)(period / 1000),
		.tv_nsec = (long)(period % 1000) * 1000000,
	};
	const struct itimerspec its = { .it_interval = ts, .it_value = ts };
	int fd = timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK | TFD_CLOEXEC);

	if (fd < 0 || timerfd_settime(fd, 0, &its, NULL))
		fail_errno(name);
	return fd;
}

static int open_inotify(const char *name, const char *path)
{
	int fd = inotify_init1(IN_NONBLOCK | IN_CLOEXEC);

	if (fd < 0 || inotify_add_watch(fd, path, IN_ALL_EVENTS) < 0)
		fail_errno(name);
	return fd;
}

/* A FIFO to be read, and anything else in both directions if it can be. */
static int open_path(struct target *t)
{
	const int flags = O_NONBLOCK | O_NOCTTY | O_CLOEXEC;
	struct stat sb;
	int fd = -1;

	if (stat(t->name, &sb))
		fail_errno(t->name);
	t->lasting = S_ISFIFO(sb.st_mode);
	if (S_ISCHR(sb.st_mode))
		fd = open(t->name, O_RDWR | flags);
	if (fd < 0)
		fd = open(t->name, O_RDONLY | flags);
	if (fd < 0)
		fail_errno(t->name);
	return fd;
}

static int open_tcp(const char *name, const char *where)
{
	return open_inet(name, where, SOCK_STREAM, false);
}

static int open_tcp_listen(const char *name, const char *where)
{
	return open_inet(name, where, SOCK_STREAM, true);
}

static int open_udp(const char *name, const char *where)
{
	return open_inet(name, where, SOCK_DGRAM, true);
}

static void open_target(struct target *t)
{
	static const struct {
		const char *kind;
		int (*open)(const char *name, const char *arg);
	} kinds[] = {
		{ "tcp", open_tcp },
		{ "tcp-listen", open_tcp_listen },
		{ "udp", open_udp },
		{ "unix", open_unix },
		{ "timerfd", open_timer },
		{ "inotify", open_inotify },
	};
	const size_t len = strcspn(t->name, ":");
	size_t i;

	for (i = 0; t->name[len] && i < sizeof(kinds) / sizeof(kinds[0]); i++) {
		if (strlen(kinds[i].kind) == len &&
		    !strncmp(t->name, kinds[i].kind, len)) {
			t->fd = kinds[i].open(t->name, t->name + len + 1);
			return;
		}
	}
	if (t->name[0] && strspn(t->name, "0123456789") == strlen(t->name))
		t->fd = (int)number(t->name, 1 << 30);
	else if (!strcmp(t->name, "eventfd"))
		t->fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
	else
		t->fd = open_path(t);
	if (t->fd < 0)
		fail_errno(t->name);
}

static void watch(int epfd, struct target *t)
{
	struct epoll_event ev = {
		.events = EPOLLIN | EPOLLOUT | EPOLLPRI | EPOLLRDHUP |
			  EPOLLSTATE | EPOLLET,
		.data.ptr = t,
	};

	if (!epoll_ctl(epfd, EPOLL_CTL_ADD, t->fd, &ev))
		return;
	if (errno == EOPNOTSUPP) {
		fprintf(stderr, "epstate: %s: cannot report its state: plain events\n",
			t->name);
		ev.events &= ~EPOLLSTATE;
		if (!epoll_ctl(epfd, EPOLL_CTL_ADD, t->fd, &ev))
			return;
	}
	if (errno == EPERM)
		fail(t->name, "always ready, there is nothing to wait for");
	if (errno == EEXIST)
		fail(t->name, "named twice");
	fail_errno(t->name);
}

/* The name of an error: they are few that a file may have pending. */
static const char *error_name(uint32_t error, char *buf, size_t size)
{
	static const struct {
		uint32_t error;
		const char *name;
	} names[] = {
		{ 0, "-" },
		{ ECONNREFUSED, "ECONNREFUSED" },
		{ ECONNRESET, "ECONNRESET" },
		{ EPIPE, "EPIPE" },
		{ ETIMEDOUT, "ETIMEDOUT" },
		{ EHOSTUNREACH, "EHOSTUNREACH" },
		{ ENETUNREACH, "ENETUNREACH" },
		{ EMSGSIZE, "EMSGSIZE" },
		{ ENOBUFS, "ENOBUFS" },
	};
	size_t i;

	for (i = 0; i < sizeof(names) / sizeof(names[0]); i++)
		if (names[i].error == error)
			return names[i].name;
	snprintf(buf, size, "%u", error);
	return buf;
}

static void show(const struct target *t, const struct epoll_event *slot)
{
	const struct epoll_state *r = epollstate_record(slot);
	const char *events;
	char names[64], error[16];

	events = trace_events(slot->events, names, sizeof(names), "-");
	if (r)
		printf("%-20s %-20s %9u %9u %9u %6u %-12s %6u\n", t->name,
		       events, r->rcv, r->snd, r->outq, r->msgs,
		       error_name(r->error, error, sizeof(error)), r->seq);
	else
		printf("%-20s %-20s %9s %9s %9s %6s %-12s %6s\n", t->name,
		       events, "?", "?", "?", "?", "?", "?");
	fflush(stdout);
}

/* True once nothing more can happen to any of them. */
static bool all_over(const struct target *targets, int n)
{
	int i;

	for (i = 0; i < n; i++)
		if (!targets[i].over)
			return false;
	return true;
}

static const char usage[] =
"usage: epstate [-1] [-n COUNT] [-t SECONDS] TARGET...\n"
"Shows what the kernel tells of the targets, in a line per change.  Ends when\n"
"all of them have hung up.\n"
"  -1          only what they are like now\n"
"  -n COUNT    end after so many lines\n"
"  -t SECONDS  end after so long\n"
"  -h          this text\n"
"A target is\n"
"  NUMBER             a descriptor that epstate was started with: 0 is its input\n"
"  PATH               a FIFO, a terminal or another file, to be opened\n"
"  tcp:HOST:PORT      a connection, to be made\n"
"  tcp-listen:PORT    a socket to which one can connect; or HOST:PORT\n"
"  udp:PORT           a socket to which one can send; or HOST:PORT\n"
"  unix:PATH          a connection to a UNIX stream socket\n"
"  eventfd            a new one\n"
"  timerfd:MS         a timer that expires every so many milliseconds\n"
"  inotify:PATH       what happens to a file or directory\n";

static int run(int epfd, struct target *targets, int n, unsigned long most,
	       double end, bool once)
{
	static struct epoll_event slots[NSLOTS];
	unsigned long lines = 0;
	int got, i;

	while (!all_over(targets, n)) {
		const double left = (end - trace_now()) * 1000;

		if (end && left <= 0)
			return 0;
		got = epoll_wait(epfd, slots, NSLOTS, once ? 0 :
				 end ? (int)(left + 1) : -1);
		if (got < 0 && errno != EINTR)
			fail_errno("epoll_wait");
		if (once && got <= 0)
			return 0;
		for (i = 0; i < got; i = epollstate_next(slots, got, i)) {
			struct target *t = slots[i].data.ptr;

			show(t, &slots[i]);
			if (++lines == most)
				return 0;
			t->over = !t->lasting && slots[i].events &
						 (EPOLLHUP | EPOLLERR);
		}
	}
	return 0;
}

int main(int argc, char **argv)
{
	unsigned long most = 0, seconds = 0;
	struct target *targets;
	bool once = false;
	int epfd, i, n, opt;

	while ((opt = getopt(argc, argv, "1n:t:h")) != -1) {
		switch (opt) {
		case '1':
			once = true;
			break;
		case 'n':
			most = number(optarg, 1UL << 31);
			break;
		case 't':
			seconds = number(optarg, 86400);
			break;
		case 'h':
			fputs(usage, stdout);
			return 0;
		default:
			fputs(usage, stderr);
			return 2;
		}
	}
	n = argc - optind;
	if (n < 1) {
		fputs(usage, stderr);
		return 2;
	}
	targets = calloc((size_t)n, sizeof(*targets));
	if (!targets)
		fail_errno("calloc");
	for (i = 0; i < n; i++) {
		targets[i].name = argv[optind + i];
		open_target(&targets[i]);
	}
	epfd = epoll_create1(EPOLL_CLOEXEC);
	if (epfd < 0)
		fail_errno("epoll_create1");
	if (epollstate_supported() == 0)
		fputs("epstate: this kernel has no EPOLLSTATE: plain edges, without counts\n",
		      stderr);
	for (i = 0; i < n; i++)
		watch(epfd, &targets[i]);
	printf("%-20s %-20s %9s %9s %9s %6s %-12s %6s\n", "file", "events",
	       "rcv", "snd", "outq", "msgs", "error", "seq");
	fflush(stdout);
	return run(epfd, targets, n, most,
		   seconds ? trace_now() + (double)seconds : 0, once);
}
