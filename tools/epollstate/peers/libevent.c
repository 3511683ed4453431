// SPDX-License-Identifier: BSD-3-Clause OR GPL-2.0
/*
 * As libevent's bufferevents do it, so evhttp as well.
 *
 * Level-triggered. A write only goes into the output buffer and arms EPOLLOUT;
 * the event writes it, and disarms when the buffer is empty: two epoll_ctl()
 * for each answer. FIONREAD sizes each read. A relay stops reading when half a
 * MiB waits in the output buffer, as the proxy among libevent's samples does.
 */
#include "peers.h"

#define WATERMARK (512 * 1024)

static bool send_later(struct conn *c, const char *data, size_t len)
{
	flow_keep(c, data, len);
	level_set(c);
	return c->out_len < WATERMARK;
}

static void read_some(struct conn *c)
{
	int n;

	/* Datagrams are left to the program, which knows how large they get. */
	if (c->kind == DGRAM) {
		flow_read(c, CHUNK);
		return;
	}
	n = call_fionread(c->fd);
	flow_read(c, n > 0 && n < CHUNK ? (size_t)n : CHUNK);
	if (c->ended)
		level_set(c);
}

static void handle(struct conn *c, uint32_t events)
{
	if (c->kind == LISTEN) {
		accept_until_eagain(c);
		return;
	}
	if (events & ~(uint32_t)EPOLLOUT && !c->paused)
		read_some(c);
	if (events & EPOLLOUT && c->out && flow_flush(c, false)) {
		level_set(c);
		work_drained(c);
	}
}

static void wait_some(void)
{
	ep_wait(handle);
}

const struct peer libevent_peer = {
	.name = "libevent",
	.open = ep_open,
	.add = level_add,
	.wait = wait_some,
	.send = send_later,
	.pause = level_set,
	.resume = level_set,
};
