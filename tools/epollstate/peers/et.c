// SPDX-License-Identifier: BSD-3-Clause OR GPL-2.0
/*
 * Edge-triggered, until EAGAIN; as epoll(7) teaches it, and as Envoy does it.
 *
 * Both directions are registered once. After an edge everything is read, and
 * all that waits is written, until a call says that it would block. A
 * connection that pauses remembers that it was readable.
 */
#include "peers.h"

static bool send_some(struct conn *c, const char *data, size_t len)
{
	flow_send(c, data, len, true);
	return c->out_len < HIGH;
}

static void read_some(struct conn *c)
{
	while (c->readable && !c->paused && !c->over)
		c->readable = flow_read(c, CHUNK) > 0;
}

static void handle(struct conn *c, uint32_t events)
{
	if (c->kind == LISTEN) {
		accept_until_eagain(c);
		return;
	}
	if (events & EPOLLOUT && c->out && flow_flush(c, true))
		work_drained(c);
	if (events & ~(uint32_t)EPOLLOUT)
		c->readable = !c->ended;
	read_some(c);
}

static void wait_some(void)
{
	ep_wait(handle);
}

const struct peer et_peer = {
	.name = "et",
	.open = ep_open,
	.add = edge_add,
	.wait = wait_some,
	.send = send_some,
	.pause = no_change,
	.resume = read_some,
};
