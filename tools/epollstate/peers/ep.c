// SPDX-License-Identifier: BSD-3-Clause OR GPL-2.0
/* What the peers on top of epoll's ordinary events share. */
#include <string.h>
#include <errno.h>

#include "peers.h"

int ep_fd;

const char *ep_open(void)
{
	ep_fd = epoll_create1(EPOLL_CLOEXEC);
	return ep_fd < 0 ? strerror(errno) : NULL;
}

static void ctl(struct conn *c, int op, uint32_t events)
{
	struct epoll_event ev = { .events = events, .data.ptr = c };

	if (call_ctl(ep_fd, op, c->fd, &ev))
		die("epoll_ctl");
	c->armed = events;
}

void ep_add(struct conn *c, uint32_t events)
{
	ctl(c, EPOLL_CTL_ADD, events);
}

/* Changes the registration, if there is something to change. */
void ep_set(struct conn *c, uint32_t events)
{
	if (!c->over && events != c->armed)
		ctl(c, EPOLL_CTL_MOD, events);
}

void ep_wait(void (*handle)(struct conn *c, uint32_t events))
{
	static struct epoll_event slots[EP_SLOTS];
	int i, n = call_epoll_wait(ep_fd, slots, EP_SLOTS);

	for (i = 0; i < n; i++) {
		struct conn *c = slots[i].data.ptr;

		if (!c->over)
			handle(c, slots[i].events);
	}
}

void accept_until_eagain(struct conn *c)
{
	int fd;

	while (!work.done && (fd = call_accept(c->fd)) >= 0)
		work_accepted(c, fd);
}

/* Level-triggered: what is registered has to follow what is wanted. */
void level_add(struct conn *c)
{
	ep_add(c, EPOLLIN | (c->kind == LISTEN ? 0 : EPOLLRDHUP));
}

void level_set(struct conn *c)
{
	ep_set(c, (c->paused || c->ended ? 0 : EPOLLIN | EPOLLRDHUP) |
		  (c->out ? EPOLLOUT : 0));
}

/* Edge-triggered: registered once, for all. */
void edge_add(struct conn *c)
{
	ep_add(c, EPOLLIN | EPOLLOUT | EPOLLRDHUP | EPOLLET);
}

void no_change(struct conn *c)
{
	(void)c;
}
