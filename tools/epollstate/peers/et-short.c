// SPDX-License-Identifier: BSD-3-Clause OR GPL-2.0
/*
 * Edge-triggered, and a short read or write means that there is no more; as
 * nginx and netty do it. The strongest way with epoll's ordinary events.
 *
 * Both directions are registered once, nothing is armed or disarmed later. A
 * read that did not fill its buffer is the last one until the next edge, unless
 * EPOLLRDHUP has told that the end is behind it; a connection that pauses
 * remembers that it was readable. A listening socket has no short answer: it
 * is asked until EAGAIN, and so is one for datagrams.
 */
#include "peers.h"

static bool send_some(struct conn *c, const char *data, size_t len)
{
	flow_send(c, data, len, false);
	return c->out_len < HIGH;
}

static void read_some(struct conn *c)
{
	ssize_t n;

	while (c->readable && !c->paused && !c->over) {
		n = flow_read(c, CHUNK);
		if (n <= 0 || (n < CHUNK && c->kind != DGRAM && !c->ending))
			c->readable = false;
	}
}

static void handle(struct conn *c, uint32_t events)
{
	if (c->kind == LISTEN) {
		accept_until_eagain(c);
		return;
	}
	if (events & EPOLLRDHUP)
		c->ending = true;
	if (events & EPOLLOUT && c->out && flow_flush(c, false))
		work_drained(c);
	if (events & ~(uint32_t)EPOLLOUT)
		c->readable = !c->ended;
	read_some(c);
}

static void wait_some(void)
{
	ep_wait(handle);
}

const struct peer et_short_peer = {
	.name = "et-short",
	.open = ep_open,
	.add = edge_add,
	.wait = wait_some,
	.send = send_some,
	.pause = no_change,
	.resume = read_some,
};
