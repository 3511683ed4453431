// SPDX-License-Identifier: BSD-3-Clause OR GPL-2.0
/*
 * EPOLLSTATE, as tools/epollstate/relay.c uses it.
 *
 * The latest record of each connection says how much can be read and written.
 * It reads what can be written, not a byte more: nothing waits in the server,
 * there is nothing to pause, to arm or to probe. The end of file and errors are
 * in the record. Of several datagrams the record tells the length of the
 * first; the others are received into a large buffer and copied out.
 */
#include <stdlib.h>
#include <string.h>

#include "peers.h"

#define SLOTS (EP_SLOTS * EPOLL_STATE_SLOTS)

static struct epoll_event slots[SLOTS];
static char *buffer;

static const char *open_state(void)
{
	if (epollstate_supported() != 1)
		return "the kernel has no EPOLLSTATE";
	return ep_open();
}

static void add(struct conn *c)
{
	uint32_t out = c->kind == LISTEN || c->kind == DGRAM ? 0 : EPOLLOUT;

	ep_add(c, EPOLLIN | out | EPOLLRDHUP | EPOLLSTATE | EPOLLET);
}

static size_t room(const struct conn *c)
{
	return c->state.snd;
}

static bool send_some(struct conn *c, const char *data, size_t len)
{
	ssize_t n = call_send(c->fd, data, len);

	epollstate_did_write(&c->state, len, n);
	/* A promise is broken if the system lacks socket memory. */
	if (n < (ssize_t)len)
		die("%zd of %zu bytes were taken", n, len);
	return true;
}

/*
 * Little is not worth a call while more than that still waits to leave: a
 * record comes before it has, and then there will be more. But what lies here
 * keeps the window of the sender small: a quarter of the buffer is not little.
 */
static bool not_yet(const struct conn *c, size_t len)
{
	return c->to && len < CHUNK / 4 && len < c->to->state.outq &&
	       !(c->state.events & EPOLLRDHUP);
}

static void read_stream(struct conn *c)
{
	struct epoll_state *s = &c->state;

	if (!buffer)
		buffer = mem_get(CHUNK);
	while (s->rcv && !c->over) {
		size_t len = s->rcv < CHUNK ? s->rcv : CHUNK;
		size_t most = work_room(c);
		ssize_t n;

		if (len > most)
			len = most;
		if (!len || not_yet(c, len))
			return;
		n = call_recv(c->fd, buffer, len);
		epollstate_did_read(s, n);
		if (n > 0)
			work_data(c, buffer, (size_t)n);
	}
	if (s->events & EPOLLRDHUP && !s->rcv && !c->ended && !c->over)
		work_end(c);
}

static void read_datagrams(struct conn *c)
{
	struct epoll_state *s = &c->state;
	char *data = mem_get(s->rcv ? s->rcv : 1);
	ssize_t n = call_recv(c->fd, data, s->rcv);

	if (n < 0)
		mem_put(data);
	else
		work_data(c, data, (size_t)n);
	if (!buffer)
		buffer = mem_get(CHUNK);
	while (--s->msgs) {
		n = call_recv(c->fd, buffer, CHUNK);
		if (n < 0)
			return;
		data = mem_get(n ? (size_t)n : 1);
		memcpy(data, buffer, (size_t)n);
		work_data(c, data, (size_t)n);
	}
}

static void accept_all(struct conn *c)
{
	int fd;

	for (; c->state.msgs; c->state.msgs--) {
		fd = call_accept(c->fd);
		if (fd >= 0)
			work_accepted(c, fd);
	}
}

static void handle(struct conn *c)
{
	if (c->over)
		return;
	if (c->state.error) {
		work_broken(c);
	} else if (c->kind == LISTEN) {
		accept_all(c);
	} else if (c->kind == DGRAM) {
		if (c->state.msgs)
			read_datagrams(c);
	} else {
		if (c->kind == SOURCE)
			work_pump(c);
		if (c->from && !c->from->over)
			read_stream(c->from);
		read_stream(c);
	}
}

static void wait_some(void)
{
	int i, n = call_epoll_wait(ep_fd, slots, SLOTS);

	/*
	 * All records first: one that is further behind knows nothing of what
	 * is written to its side on account of another.
	 */
	for (i = 0; i < n; i = epollstate_next(slots, n, i)) {
		struct conn *c = slots[i].data.ptr;

		epollstate_store(&c->state, &slots[i]);
	}
	for (i = 0; i < n; i = epollstate_next(slots, n, i))
		handle(slots[i].data.ptr);
}

const struct peer state_peer = {
	.name = "state",
	.open = open_state,
	.add = add,
	.wait = wait_some,
	.send = send_some,
	.room = room,
};
