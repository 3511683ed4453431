/* SPDX-License-Identifier: GPL-2.0 */
/*
 * EPOLLSTATE for inotify and fanotify: what the hooks in their ->poll and in
 * notification.c call.  See fs/notify/notify_poll_state.c.
 */
#ifndef __FS_NOTIFY_NOTIFY_POLL_STATE_H_
#define __FS_NOTIFY_NOTIFY_POLL_STATE_H_

#include <linux/fsnotify_backend.h>
#include <linux/poll.h>

struct fanotify_event;

#ifdef CONFIG_EPOLLSTATE

__poll_t inotify_poll_state(struct file *file, poll_table *wait);
__poll_t fanotify_poll_state(struct file *file, poll_table *wait,
			     size_t (*len)(unsigned int info_mode,
					   struct fanotify_event *event));

/* One more event was queued.  Under notification_lock. */
static inline void notify_poll_count(struct fsnotify_group *group)
{
	group->q_in++;
}

#else

static inline __poll_t inotify_poll_state(struct file *file, poll_table *wait)
{
	return 0;
}

static inline __poll_t
fanotify_poll_state(struct file *file, poll_table *wait,
		    size_t (*len)(unsigned int info_mode,
				  struct fanotify_event *event))
{
	return 0;
}

static inline void notify_poll_count(struct fsnotify_group *group)
{
}

#endif /* CONFIG_EPOLLSTATE */

#endif /* __FS_NOTIFY_NOTIFY_POLL_STATE_H_ */
