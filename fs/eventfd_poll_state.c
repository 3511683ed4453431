// SPDX-License-Identifier: GPL-2.0
/*
 * What an eventfd reports to an EPOLLSTATE registration.
 *
 * A read takes and a write adds eight bytes or nothing, whatever the counter
 * says.  There is no cumulative count of signals: two eventfd_signal() calls
 * that come with a read in between leave the counter as it was.  So every
 * wake-up is a change.
 */
#include <linux/poll.h>

/**
 * eventfd_poll_state - report the state of an eventfd
 * @ps: where to
 * @events: the mask that eventfd_poll() computed
 *
 * Context: any; reads nothing but its arguments.
 */
void eventfd_poll_state(struct poll_state *ps, __poll_t events)
{
	ps->rcv = events & EPOLLIN ? sizeof(u64) : 0;
	ps->snd = events & EPOLLOUT ? sizeof(u64) : 0;
	ps->outq = 0;
	ps->msgs = 0;
	ps->error = 0;
	ps->kind = POLL_STATE_UNCOUNTED;
}
