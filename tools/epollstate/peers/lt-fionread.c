// SPDX-License-Identifier: BSD-3-Clause OR GPL-2.0
/*
 * Level-triggered, and FIONREAD before each read, so that the buffer can be as
 * large as what comes; as Qt does it, and whoever asks a socket how many bytes
 * are available.  Writing is that of lt.c.
 */
#include "peers.h"

static bool send_some(struct conn *c, const char *data, size_t len)
{
	flow_send(c, data, len, false);
	level_set(c);
	return c->out_len < HIGH;
}

static void read_some(struct conn *c)
{
	int n = call_fionread(c->fd);

	/* 0: an end, an error or an empty datagram, which a read tells. */
	flow_read(c, n <= 0 ? 1 : n < CHUNK ? (size_t)n : CHUNK);
	if (c->ended)
		level_set(c);
}

static void handle(struct conn *c, uint32_t events)
{
	if (c->kind == LISTEN) {
		accept_until_eagain(c);
		return;
	}
	if (events & EPOLLOUT && c->out && flow_flush(c, false)) {
		level_set(c);
		work_drained(c);
	}
	if (events & ~(uint32_t)EPOLLOUT && !c->over && !c->paused)
		read_some(c);
}

static void wait_some(void)
{
	ep_wait(handle);
}

const struct peer lt_fionread_peer = {
	.name = "lt-fionread",
	.open = ep_open,
	.add = level_add,
	.wait = wait_some,
	.send = send_some,
	.pause = level_set,
	.resume = level_set,
};
