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
 * @wait: the poll table of the EPOLLSTATE registration
 * @events: the mask that eventfd_poll() has just computed
 *
 * Context: any; reads nothing but its arguments.
 */
void eventfd_poll_state(poll_table *wait, __poll_t events)
{
	struct poll_state *ps = poll_table_take_state(wait);

	ps->rcv = events & EPOLLIN ? sizeof(u64) : 0;
	ps->snd = events & EPOLLOUT ? sizeof(u64) : 0;
	ps->outq = 0;
	ps->msgs = 0;
	ps->error = 0;
	ps->kind = POLL_STATE_UNCOUNTED;
}
