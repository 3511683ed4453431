// SPDX-License-Identifier: GPL-2.0
/*
 * What inotify and fanotify report to an EPOLLSTATE registration.
 *
 *	rcv	the size of all events that are queued, as FIONREAD: a read of
 *		that many bytes returns them all.  (fanotify opens a file for
 *		an event as it is read.  If that fails, the read skips the
 *		event or ends before it.)
 *	msgs	how many they are
 *
 * News
 * ----
 *
 * group->q_in counts every event that is queued, the one that tells of an
 * overflow among them, and so shows what came in, whatever was read since.
 * An event that is merged with one in the queue does not count: it adds no
 * byte to be read, and nobody is woken for it.  Nor does one that is dropped
 * because the queue is full.
 *
 *	queueing (any task)			->poll (ep->mtx)
 *	-------------------			----------------
 *	lock notification_lock			lock notification_lock
 *	add to the list, q_in++			sample
 *	unlock					unlock
 *	wake
 *
 * All is sampled at once, under the lock that the queue has, and the mask is
 * made to agree.
 *
 * Cost
 * ----
 *
 * FIONREAD walks the whole queue.  An application that is told of each event
 * but does not read would have that done once per event.  So where nothing
 * left the queue since the last record, only what came is added to what was
 * told: a merged event keeps its size.  The queue is walked from its tail.
 */
#include <linux/fanotify.h>
#include <linux/fsnotify_backend.h>
#include <linux/inotify.h>
#include <linux/limits.h>
#include <linux/minmax.h>
#include <linux/poll.h>

#include "fanotify/fanotify.h"
#include "inotify/inotify.h"
#include "notify_poll_state.h"

/* What a read returns for @event, in bytes. */
typedef size_t (*notify_len_t)(unsigned int info_mode,
			       struct fanotify_event *event);

static size_t inotify_event_len(struct fsnotify_event *event)
{
	size_t len = INOTIFY_E(event)->name_len;

	/* The name ends in at least one NUL and fills whole headers. */
	if (len)
		len = roundup(len + 1, sizeof(struct inotify_event));
	return sizeof(struct inotify_event) + len;
}

/*
 * Sample the queue.  @fan_len: how long a fanotify event is, NULL for inotify.
 * Context: group->notification_lock held.
 */
static void notify_sample(struct fsnotify_group *group, struct poll_state *ps,
			  unsigned int info_mode, notify_len_t fan_len)
{
	const struct poll_state *told = ps->told;
	u32 came = group->q_in - told->in_pos;
	u32 left = group->q_len;
	struct fsnotify_event *event;
	u64 bytes = 0;

	assert_spin_locked(&group->notification_lock);

	if (told->kind == POLL_STATE_COUNTED && told->msgs + came == left) {
		bytes = told->rcv;
		left = came;
	}
	list_for_each_entry_reverse(event, &group->notification_list, list) {
		if (!left--)
			break;
		bytes += fan_len ? fan_len(info_mode, FANOTIFY_E(event)) :
				   inotify_event_len(event);
	}

	ps->rcv = min_t(u64, bytes, INT_MAX);
	ps->snd = 0;
	ps->outq = 0;
	ps->msgs = group->q_len;
	ps->error = 0;
	ps->in_pos = group->q_in;
	ps->out_pos = 0;
	ps->out_step = 0;
}

static __poll_t notify_poll_state(struct file *file, poll_table *wait,
				  unsigned int info_mode, notify_len_t fan_len)
{
	struct poll_state *ps = poll_table_take_state(wait);
	struct fsnotify_group *group = file->private_data;
	__poll_t mask = vfs_poll(file, wait);

	ps->kind = POLL_STATE_COUNTED;
	if (!ps->told)
		return mask;

	spin_lock(&group->notification_lock);
	notify_sample(group, ps, info_mode, fan_len);
	spin_unlock(&group->notification_lock);

	/* An event may have come, or been read, since the mask was computed. */
	return ps->msgs ? mask | EPOLLIN | EPOLLRDNORM :
			  mask & ~(EPOLLIN | EPOLLRDNORM);
}

/**
 * inotify_poll_state - inotify's ->poll for an EPOLLSTATE registration
 * @file: an inotify instance
 * @wait: a poll table that wants the state
 *
 * Context: that of ->poll, under ep->mtx; does not sleep.
 * Return: what ->poll returns to others.
 */
__poll_t inotify_poll_state(struct file *file, poll_table *wait)
{
	return notify_poll_state(file, wait, 0, NULL);
}

#ifdef CONFIG_FANOTIFY
/**
 * fanotify_poll_state - fanotify's ->poll for an EPOLLSTATE registration
 * @file: a fanotify group
 * @wait: a poll table that wants the state
 * @len: what a read returns for an event, in bytes
 *
 * Context: that of ->poll, under ep->mtx; does not sleep.
 * Return: what ->poll returns to others.
 */
__poll_t fanotify_poll_state(struct file *file, poll_table *wait,
			     notify_len_t len)
{
	struct fsnotify_group *group = file->private_data;

	return notify_poll_state(file, wait,
				 FAN_GROUP_FLAG(group, FANOTIFY_INFO_MODES),
				 len);
}
#endif
