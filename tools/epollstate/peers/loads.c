// SPDX-License-Identifier: BSD-3-Clause OR GPL-2.0
/*
 * The workloads: which connections there are, from when on is counted, when it
 * is over.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <limits.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "peers.h"

#define WARM_UP 2	/* requests of each connection that are not counted */

static const unsigned long *arg;
static struct conn **known;
static unsigned long n_known;

static int listener(uint16_t port, int type)
{
	struct sockaddr_in a = { .sin_family = AF_INET,
				 .sin_port = htons(port) };
	int fd = socket(AF_INET, type | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	int one = 1, tries = 0;

	setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one));
	/* An io_uring gives up its sockets some time after its process ended. */
	while (fd >= 0 && bind(fd, (void *)&a, sizeof(a))) {
		if (++tries > 100)
			die("cannot bind to port %u", port);
		usleep(10000);
	}
	if (fd < 0 || (type == SOCK_STREAM && listen(fd, INT_MAX)))
		die("cannot listen");
	return fd;
}

static void listen_on(uint16_t port, enum kind accepts)
{
	struct conn *c = conn_new(listener(port, SOCK_STREAM), LISTEN);

	c->accepts = accepts;
	peer->add(c);
}

static void know(struct conn *c)
{
	known = realloc(known, (n_known + 1) * sizeof(*known));
	if (!known)
		die("no memory");
	known[n_known++] = c;
}

static void usual(struct conn *c)
{
	int one = 1;

	call_enter();
	setsockopt(c->fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
	call_leave();
	know(c);
	peer->add(c);
}

/* -------- requests and answers: SIZE, CONNECTIONS, REQUESTS -------- */

/*
 * Server and client take turns: a wake-up does not interrupt who woke. When it
 * does is else up to the scheduler, and changed requests by more than the
 * handling of events did.
 */
static void take_turns(void)
{
	if (sched_setscheduler(0, SCHED_BATCH, &(struct sched_param){ 0 }))
		die("cannot become a batch task");
}

static void answers_progress(void)
{
	unsigned long warm = WARM_UP * arg[1];

	if (work.requests == warm && !figures.units) {
		figures.units = arg[2];
		measure_begin();
	}
	if (work.requests == warm + arg[2] && !work.done)
		measure_end();
}

static void answers(const unsigned long *args)
{
	arg = args;
	work.size = arg[0];
	work.progress = answers_progress;
	work.accept = usual;
	take_turns();
	listen_on(PORT, ANSWER);
	client_start(client_answers, arg);
	work_run();
}

/* -------- bulk senders: CONNECTIONS, KIB in all -------- */

/* A byte from a taker says that it has everything. */
static void bulk_progress(void)
{
	unsigned long i;

	if (n_known == arg[0] && !figures.units) {
		figures.units = arg[1] / 1024;
		measure_begin();
		for (i = 0; i < n_known; i++) {
			known[i]->supply = arg[1] * 1024 / arg[0];
			work_pump(known[i]);
		}
	}
	if (work.confirmed == arg[0] && !work.done)
		measure_end();
}

static void bulk(const unsigned long *args)
{
	arg = args;
	work.progress = bulk_progress;
	work.accept = usual;
	listen_on(PORT, SOURCE);
	client_start(client_take, arg);
	work_run();
}

/* -------- relay: PAIRS, KIB each -------- */

static void relay_progress(void)
{
	/* First all consumers, then producers: each finds the next of them. */
	if (n_known == arg[0] && !figures.units) {
		figures.units = arg[0] * arg[1] / 1024;
		measure_begin();
		over_link = false;
		client_start(client_produce, arg);
	}
	if (work.confirmed == arg[0] && !work.done)
		measure_end();
}

static void relay_accept(struct conn *c)
{
	unsigned long nr = n_known - arg[0];

	if (n_known >= arg[0]) {
		if (nr >= arg[0])
			die("too many producers");
		c->to = known[nr];
		known[nr]->from = c;
	}
	usual(c);
}

static void relay(const unsigned long *args)
{
	arg = args;
	work.progress = relay_progress;
	work.accept = relay_accept;
	listen_on(PORT, RELAY);
	client_start(client_consume, arg);
	work_run();
}

/* -------- storms of connections: NUMBER, at a time -------- */

static void storm_progress(void)
{
	if (work.ends == arg[0] && !work.done)
		measure_end();
}

static void accept_and_close(struct conn *c)
{
	call_close(c->fd);
	free(c);
	work.ends++;
}

static void storm(const unsigned long *args)
{
	arg = args;
	figures.units = arg[0];
	work.progress = storm_progress;
	work.accept = accept_and_close;
	listen_on(PORT, SINK);
	client_start(client_storm, arg);
	measure_begin();
	work_run();
}

/* Each asks once; then it closes its half, or resets. */
static void ends(const unsigned long *args)
{
	arg = args;
	figures.units = arg[0];
	work.size = 64;
	work.progress = storm_progress;
	work.accept = usual;
	listen_on(PORT, ANSWER);
	client_start(client_ends, arg);
	measure_begin();
	work_run();
}

/* -------- datagrams of mixed sizes: NUMBER, at a time -------- */

static void datagrams_progress(void)
{
	if (work.datagrams % arg[1] == 0) {
		call_enter();
		client_go();
		call_leave();
	}
	if (work.datagrams == arg[0] && !work.done)
		measure_end();
}

static void datagrams(const unsigned long *args)
{
	int fd = listener(PORT, SOCK_DGRAM), room = 4 << 20;

	arg = args;
	figures.units = arg[0];
	work.progress = datagrams_progress;
	setsockopt(fd, SOL_SOCKET, SO_RCVBUFFORCE, &room, sizeof(room));
	peer->add(conn_new(fd, DGRAM));
	client_start(client_datagrams, arg);
	measure_begin();
	work_run();
}

/* -------- many registered, few active: REGISTERED, ACTIVE, REQUESTS -------- */

static void registered(const unsigned long *args)
{
	static unsigned long as_answers[3];
	struct pollfd ready = { .fd = ep_fd, .events = POLLIN };
	uint64_t before, after;
	unsigned long i;

	as_answers[0] = 64;
	as_answers[1] = args[1];
	as_answers[2] = args[2];
	arg = as_answers;
	work.size = 64;
	work.progress = answers_progress;
	client_pairs(args);
	for (i = 0; i < args[0]; i++)
		know(conn_new(pair_ends[i], ANSWER));
	before = slab_bytes();
	for (i = 0; i < args[0]; i++)
		peer->add(known[i]);
	after = slab_bytes();
	figures.slab = after > before ? (after - before) / args[0] : 0;
	/* What registering brings, an edge or a record for each, is not counted. */
	while (ep_fd > 0 && poll(&ready, 1, 0) == 1)
		peer->wait();
	take_turns();
	client_start(client_registered, args);
	work_run();
}

/* -------- a small request beside floods: SIZE, FLOODS, REQUESTS -------- */

static void beside(const unsigned long *args)
{
	static unsigned long as_answers[3];

	as_answers[0] = args[0];
	as_answers[1] = 1;
	as_answers[2] = args[2];
	arg = as_answers;
	work.size = arg[0];
	work.progress = answers_progress;
	work.accept = usual;
	listen_on(PORT, ANSWER);
	listen_on(PORT + 1, SINK);
	client_start(client_flood, args);
	client_start(client_answers, arg);
	work_run();
	/* The floods are what the server is busy with. */
	figures.units = (figures.bytes >> 20) + 1;
}

/* -------- the list -------- */

const struct load loads[] = {
	{ "answers", "request", "SIZE CONNECTIONS REQUESTS", answers, false },
	{ "bulk", "MiB", "CONNECTIONS KIB", bulk, true },
	{ "relay", "MiB", "PAIRS KIB", relay, true },
	{ "accepts", "connection", "NUMBER AT-ONCE", storm, false },
	{ "ends", "connection", "NUMBER AT-ONCE", ends, false },
	{ "datagrams", "datagram", "NUMBER AT-ONCE", datagrams, false },
	{ "registered", "request", "REGISTERED ACTIVE REQUESTS", registered,
	  false },
	{ "beside", "MiB", "SIZE FLOODS REQUESTS", beside, false },
	{ 0 },
};
