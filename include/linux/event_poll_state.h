/* SPDX-License-Identifier: GPL-2.0 */
/*
 * EPOLLSTATE for eventfd, timerfd and signalfd: what the hooks in their ->poll
 * call.  See fs/fixed_poll_state.c; fixed_poll_state() is in poll_state.h.
 */
#ifndef _LINUX_EVENT_POLL_STATE_H
#define _LINUX_EVENT_POLL_STATE_H

#include <linux/poll.h>
#include <linux/signal_types.h>

#ifdef CONFIG_EPOLLSTATE

__poll_t eventfd_poll_state(struct file *file, poll_table *wait,
			    unsigned int flags, const u64 *count);
__poll_t signalfd_poll_state(struct file *file, poll_table *wait,
			     const sigset_t *mask);

#else

static inline __poll_t eventfd_poll_state(struct file *file, poll_table *wait,
					  unsigned int flags, const u64 *count)
{
	return 0;
}

static inline __poll_t signalfd_poll_state(struct file *file, poll_table *wait,
					   const sigset_t *mask)
{
	return 0;
}

#endif /* CONFIG_EPOLLSTATE */

#endif /* _LINUX_EVENT_POLL_STATE_H */
