// SPDX-License-Identifier: BSD-3-Clause OR GPL-2.0
/*
 * Level-triggered, EPOLLOUT on demand; as libuv does it.
 *
 * Reads into a buffer of a fixed size and takes a read that did not fill it
 * for the end of what there is. Writes at once; only if something is left over
 * is EPOLLOUT asked for, and given up again when it has gone. A connection that
 * is to pause is deregistered for input, or the level would make it spin. A
 * listening socket gives one connection per event.
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
	ssize_t n;
	int fd;

	if (c->kind == LISTEN) {
		fd = call_accept(c->fd);
		if (fd >= 0)
			work_accepted(c, fd);
		return;
	}
	do
		n = flow_read(c, CHUNK);
	while (n == CHUNK && !c->paused && !c->over);
	if (c->ended)
		level_set(c);
}

static void handle(struct conn *c, uint32_t events)
{
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

const struct peer lt_peer = {
	.name = "lt",
	.open = ep_open,
	.add = level_add,
	.wait = wait_some,
	.send = send_some,
	.pause = level_set,
	.resume = level_set,
};
