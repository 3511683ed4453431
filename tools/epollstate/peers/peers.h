/* SPDX-License-Identifier: BSD-3-Clause OR GPL-2.0 */
/*
 * One server, one set of workloads, several ways to handle events.
 *
 *	main.c		the command line, what is printed
 *	calls.c		system calls, counted
 *	measure.c	what a stretch of work cost
 *	work.c		the server: what it does with bytes, ends, connections
 *	loads.c		the workloads: which connections, when it is over
 *	client.c	the other side, in processes of its own
 *	flow.c		reading into a buffer, keeping what was not taken
 *	ep.c		what the peers on top of epoll events share
 *
 * and one file for each peer, which decides when to read and write, how much,
 * and how to wait for the next time.
 */
#ifndef PEERS_H
#define PEERS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "../epollstate.h"

#define CHUNK		65536	/* the most that is read or written at once */
#define HIGH		65536	/* bytes kept for a connection until it pauses another */
#define PERIOD		4093	/* of the bytes that bulk senders send */

enum kind {
	LISTEN,		/* accepts connections */
	ANSWER,		/* each request of a fixed size gets an answer as long */
	SOURCE,		/* sends so many bytes */
	SINK,		/* takes all there is */
	RELAY,		/* passes on what comes to conn.to */
	DGRAM,		/* datagrams, each kept in a buffer of its own */
};

/* A piece that waits to be sent. */
struct piece {
	struct piece *next;
	const char *at;
	size_t len;
	char *buf;		/* to be freed with it; NULL: not ours */
};

struct conn {
	int fd;
	enum kind kind;
	enum kind accepts;	/* LISTEN: what becomes of each connection */
	struct conn *to, *from;	/* RELAY */
	size_t got;		/* ANSWER: bytes of an unfinished request */
	size_t supply;		/* SOURCE: bytes still to be sent */
	size_t sent;		/* SOURCE: bytes handed to the peer */
	struct piece *out, **out_end;
	size_t out_len;
	bool paused;		/* the workload wants no more from it for now */
	bool ended;		/* nothing more comes from it */
	bool shut;		/* it was sent the end of file */
	bool over;		/* closed; freed after the round */
	struct conn *next_over;

	/* What peers remember of it. */
	uint32_t armed;		/* the events that it is registered for */
	bool readable;		/* an edge has said so, nothing has denied it */
	bool ending;		/* an end was announced, it is behind what is left */
	int index;
	void *own;
	struct epoll_state state;
};

struct peer {
	const char *name;
	const char *(*open)(void);	/* NULL, or why it cannot run here */
	void (*add)(struct conn *c);
	void (*close)(struct conn *c);	/* before the descriptor is; may be NULL */
	void (*wait)(void);		/* one round: wait, then handle */
	/* Returns false if the sender should pause. */
	bool (*send)(struct conn *c, const char *data, size_t len);
	size_t (*room)(const struct conn *c);	/* NULL: nobody knows */
	void (*pause)(struct conn *c);
	void (*resume)(struct conn *c);
};

extern const struct peer lt_peer, et_peer, et_short_peer, lt_fionread_peer,
	libevent_peer, poll_peer, uring_peer, state_peer;
extern const struct peer *peer;

void __attribute__((noreturn, format(printf, 1, 2))) die(const char *what, ...);

/* -------- calls.c -------- */

/* What the server's system calls were; all but data and waits is waste. */
struct calls {
	unsigned long data;	/* moved bytes, or accepted a connection */
	unsigned long waits;	/* returns of the call that waits */
	unsigned long eagain;
	unsigned long probes;	/* reads that found an end or an error */
	unsigned long ctls;	/* epoll_ctl() after the first of a descriptor */
	unsigned long fionread;
	unsigned long soerror;
	uint64_t user;		/* instructions between system calls */
};

extern struct calls calls;

ssize_t call_recv(int fd, void *buf, size_t len);
ssize_t call_send(int fd, const void *buf, size_t len);
int call_accept(int fd);
int call_fionread(int fd);
int call_soerror(int fd);
int call_ctl(int ep, int op, int fd, struct epoll_event *ev);
int call_epoll_wait(int ep, struct epoll_event *slots, int n);
void call_close(int fd);
/* Around any other call. */
void call_enter(void);
void call_leave(void);
void call_waited(void);		/* in place of call_leave() */

static inline uint64_t now(void)
{
	uint32_t low, high;

	asm volatile("rdtsc" : "=a" (low), "=d" (high) : : "memory");
	return (uint64_t)high << 32 | low;
}

/* -------- measure.c -------- */

struct figures {
	struct calls calls;
	uint64_t units;		/* requests, MiB, connections, datagrams */
	uint64_t bytes;
	uint64_t cpu;		/* instructions of the server's process */
	uint64_t all;		/* of the whole machine */
	uint64_t elapsed;	/* and with those it was idle */
	uint64_t wakeups, preempted;
	uint64_t peak;		/* most bytes in buffers at a time */
	uint64_t slab;		/* kernel memory that registering took */
};

extern struct figures figures;

void *mem_get(size_t len);
void mem_put(void *buf);
void measure_begin(void);
void measure_end(void);
uint64_t slab_bytes(void);
/* Notes the time of what happens, for a picture; if that is wanted. */
void mark(const char *what);
void marks_wanted(void);
void marks_print(const char *title);

/* -------- work.c -------- */

struct conn *conn_new(int fd, enum kind kind);
/* What peers tell. */
void work_data(struct conn *c, char *data, size_t n);
void work_end(struct conn *c);
void work_broken(struct conn *c);
void work_drained(struct conn *c);
void work_accepted(struct conn *listener, int fd);
/* How many bytes of @c the server would take now, for peers that know. */
size_t work_room(const struct conn *c);
void work_close(struct conn *c);
void work_pump(struct conn *c);
void work_run(void);
const char *pattern(size_t at);

extern struct work {
	size_t size;		/* ANSWER: bytes of a request */
	unsigned long requests, ends, accepted, datagrams, confirmed;
	uint64_t bytes;
	bool done;
	void (*progress)(void);	/* the workload looks whether it is over */
	void (*accept)(struct conn *c);
} work;

/* -------- flow.c -------- */

/* Of flow_read(); any other value is bytes that the server took. */
#define READ_OVER	0	/* the connection ended, or broke */
#define READ_NONE	(-1)	/* EAGAIN */

ssize_t flow_read(struct conn *c, size_t len);
/* Sends what can be sent at once, keeps the rest; @insist: until EAGAIN. */
void flow_send(struct conn *c, const char *data, size_t len, bool insist);
void flow_keep(struct conn *c, const char *data, size_t len);
/* Returns whether nothing is kept any more. */
bool flow_flush(struct conn *c, bool insist);
void flow_free(struct conn *c);

/* -------- ep.c -------- */

#define EP_SLOTS 512

const char *ep_open(void);
void ep_add(struct conn *c, uint32_t events);
void ep_set(struct conn *c, uint32_t events);
void ep_wait(void (*handle)(struct conn *c, uint32_t events));
void accept_until_eagain(struct conn *c);
void level_add(struct conn *c);
void level_set(struct conn *c);
void edge_add(struct conn *c);
void no_change(struct conn *c);
extern int ep_fd;

/* -------- loads.c, client.c -------- */

struct load {
	const char *name;
	const char *unit;
	const char *args;	/* names of its numbers, for the usage */
	void (*run)(const unsigned long *arg);
	bool link;		/* needs the slow link */
};

extern const struct load loads[];
extern bool over_link;

/* What the client's processes tell; shared memory. */
struct shared {
	unsigned int samples;
	uint32_t latency[20000];	/* instructions */
};

extern struct shared *shared;

extern int *pair_ends;		/* the server's, of client_pairs() */

void client_start(void (*run)(const unsigned long *), const unsigned long *arg);
void client_stop(void);
/* Lets the sender of datagrams go on. */
void client_go(void);
void client_pairs(const unsigned long *arg);
void client_answers(const unsigned long *arg);
void client_registered(const unsigned long *arg);
void client_take(const unsigned long *arg);
void client_consume(const unsigned long *arg);
void client_produce(const unsigned long *arg);
void client_flood(const unsigned long *arg);
void client_storm(const unsigned long *arg);
void client_ends(const unsigned long *arg);
void client_datagrams(const unsigned long *arg);

#define PORT	7700

#endif /* PEERS_H */
