// SPDX-License-Identifier: BSD-3-Clause OR GPL-2.0
/*
 * poll(2), as curl, OpenSSH and many small daemons do it.
 *
 * Level-triggered by nature; what is wanted is in user space, so that arming
 * POLLOUT and pausing cost no call. But every call hands over all descriptors,
 * and looks at all of them. After POLLERR the error is asked for.
 */
#include <poll.h>
#include <stdlib.h>

#include "peers.h"

static struct pollfd *fds;
static struct conn **of;
static int n_fds, n_room;

static const char *open_poll(void)
{
	return NULL;
}

static void set(struct conn *c)
{
	fds[c->index].events = (c->paused || c->ended ? 0 : POLLIN) |
			       (c->out ? POLLOUT : 0);
}

static void add(struct conn *c)
{
	if (n_fds == n_room) {
		n_room = n_room ? 2 * n_room : 64;
		fds = realloc(fds, (size_t)n_room * sizeof(*fds));
		of = realloc(of, (size_t)n_room * sizeof(*of));
		if (!fds || !of)
			die("no memory");
	}
	c->index = n_fds++;
	of[c->index] = c;
	fds[c->index].fd = c->fd;
	fds[c->index].revents = 0;
	set(c);
}

static void remove_it(struct conn *c)
{
	n_fds--;
	fds[c->index] = fds[n_fds];
	of[c->index] = of[n_fds];
	of[c->index]->index = c->index;
}

static bool send_some(struct conn *c, const char *data, size_t len)
{
	flow_send(c, data, len, false);
	if (!c->over)
		set(c);
	return c->out_len < HIGH;
}

static void handle(struct conn *c, short events)
{
	ssize_t n;

	if (c->kind == LISTEN) {
		accept_until_eagain(c);
		return;
	}
	if (events & POLLERR && call_soerror(c->fd)) {
		work_broken(c);
		return;
	}
	if (events & POLLOUT && c->out && flow_flush(c, false)) {
		set(c);
		work_drained(c);
	}
	if (!(events & (POLLIN | POLLHUP)) || c->paused)
		return;
	do
		n = c->over ? 0 : flow_read(c, CHUNK);
	while (n == CHUNK && !c->paused);
	if (!c->over)
		set(c);
}

static void wait_some(void)
{
	int i, n;

	call_enter();
	n = poll(fds, (nfds_t)n_fds, -1);
	call_waited();
	/* From the end, where what was added or moved meanwhile is not met. */
	for (i = n_fds - 1; i >= 0 && n > 0; i--) {
		short events = fds[i].revents;

		if (!events)
			continue;
		fds[i].revents = 0;
		n--;
		handle(of[i], events);
	}
}

const struct peer poll_peer = {
	.name = "poll",
	.open = open_poll,
	.add = add,
	.close = remove_it,
	.wait = wait_some,
	.send = send_some,
	.pause = set,
	.resume = set,
};
