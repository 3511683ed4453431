// SPDX-License-Identifier: BSD-3-Clause OR GPL-2.0
/*
 * The server: what it does with bytes, ends and new connections, by the kind of
 * connection. When it does so, and how it learns of them, is up to the peer.
 */
#include <sys/socket.h>
#include <stdlib.h>

#include "peers.h"

#define HELD 64		/* datagrams that the server keeps before it frees one */

const struct peer *peer;
struct work work;
static struct conn *all_over;

/* What bulk senders send: the byte at each place is known. */
const char *pattern(size_t at)
{
	static char bytes[PERIOD + 4 * CHUNK];
	size_t i;

	if (!bytes[1])
		for (i = 0; i < sizeof(bytes); i++)
			bytes[i] = (char)((i % PERIOD) * 31 >> 3);
	return bytes + at % PERIOD;
}

struct conn *conn_new(int fd, enum kind kind)
{
	struct conn *c = calloc(1, sizeof(*c));

	if (!c)
		die("no memory");
	c->fd = fd;
	c->kind = kind;
	return c;
}

void work_close(struct conn *c)
{
	if (c->over)
		return;
	c->over = true;
	if (peer->close)
		peer->close(c);
	call_close(c->fd);
	flow_free(c);
	work.ends++;
	c->next_over = all_over;
	all_over = c;
}

/* Passes the end of file on, once everything before it was. */
static void pass_end(struct conn *c)
{
	if (c->from && c->from->ended && !c->out && !c->shut) {
		c->shut = true;
		call_enter();
		shutdown(c->fd, SHUT_WR);
		call_leave();
		work.progress();
	}
}

void work_end(struct conn *c)
{
	c->ended = true;
	if (c->to)
		pass_end(c->to);
	else if (c->kind != SOURCE)
		work_close(c);
	work.progress();
}

void work_broken(struct conn *c)
{
	work_close(c);
	work.progress();
}

static void keep_datagram(char *data)
{
	static char *held[HELD];
	char **slot = &held[work.datagrams % HELD];

	mem_put(*slot);
	*slot = data;
}

void work_data(struct conn *c, char *data, size_t n)
{
	work.bytes += n;
	switch (c->kind) {
	case ANSWER:
		c->got += n;
		while (c->got >= work.size && !c->over) {
			c->got -= work.size;
			work.requests++;
			peer->send(c, pattern(0), work.size);
		}
		break;
	case RELAY:
		if (!c->to) {
			work.confirmed++;
			break;
		}
		if (!peer->send(c->to, data, n) && !c->paused) {
			c->paused = true;
			peer->pause(c);
		}
		return;
	case DGRAM:
		keep_datagram(data);
		work.datagrams++;
		break;
	case SOURCE:
		work.confirmed++;
		break;
	default:
		return;
	}
	work.progress();
}

size_t work_room(const struct conn *c)
{
	size_t room = SIZE_MAX;

	if (c->to)
		return peer->room(c->to);
	if (c->kind == ANSWER) {
		room = peer->room(c);
		room -= room % work.size;
		room -= room ? c->got : 0;
	}
	return room;
}

/* Sends as long as everything is taken at once. */
void work_pump(struct conn *c)
{
	while (c->supply && !c->out && !c->over) {
		size_t len = c->supply < CHUNK ? c->supply : CHUNK;
		size_t room = peer->room ? peer->room(c) : SIZE_MAX;

		if (len > room)
			len = room;
		if (!len)
			return;
		c->supply -= len;
		work.bytes += len;
		peer->send(c, pattern(c->sent), len);
		c->sent += len;
	}
}

/* Nothing is kept for @c any more. */
void work_drained(struct conn *c)
{
	if (c->kind == SOURCE)
		work_pump(c);
	if (c->from && c->from->paused && !c->from->over) {
		c->from->paused = false;
		peer->resume(c->from);
	}
	pass_end(c);
}

void work_accepted(struct conn *listener, int fd)
{
	struct conn *c = conn_new(fd, listener->accepts);

	work.accepted++;
	work.accept(c);
	work.progress();
}

void work_run(void)
{
	while (!work.done) {
		peer->wait();
		while (all_over) {
			struct conn *c = all_over;

			all_over = c->next_over;
			free(c);
		}
	}
}
