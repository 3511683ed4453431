// SPDX-License-Identifier: GPL-2.0
/*
 * EPOLLSTATE: one record per change of a file's state
 *
 *
 * Overview
 * --------
 *
 * An EPOLLSTATE registration is an ordinary struct epitem with a struct
 * ep_state beside it.  The file's wake-ups put it on the ready list as they do
 * with any item.  What differs is what happens when epoll_wait(2) takes it off:
 *
 *	ep_state_ask()		make a poll table with a struct poll_state
 *	->poll()		compute the mask and fill that in, in one go
 *	ep_state_news()		compare with what was last told: is it news?
 *	ep_state_deliver()	write four slots, remember what was told
 *
 * No news, no record: the item just leaves the ready list, and the next
 * wake-up brings it back.  It is never re-queued the way a level-triggered
 * item is (EPOLLET is set in its event mask), so nothing repeats.
 *
 *
 * What is news
 * ------------
 *
 * Positions decide, never levels: "100 readable", read 100, another 100 arrive
 * is the same level and still news.  A provider reports two positions that
 * only ever move when the *other* side acts: bytes that came in, bytes that
 * left the send queue.  Reads and writes of the caller move neither, and so
 * are silent.  Events count when a bit is newly set.  A bit seen cleared is
 * forgotten, so that it is news when it comes back.
 *
 * Send space alone is told per step (a quarter of the send buffer), or when
 * the queue has run empty; anything else that is told takes it along.
 *
 *
 * Locking and life cycle
 * ----------------------
 *
 * Everything in struct ep_state is protected by ep->mtx of the epoll that the
 * registration belongs to.  The wake-up callback, which runs without it, looks
 * at nothing in here.  Of what changes under the mutex alone it reads
 * event.events, so ep_deliver_state() ends a one-shot item by WRITE_ONCE().
 *
 *	created		EPOLL_CTL_ADD, or EPOLL_CTL_MOD that adds EPOLLSTATE
 *	freed		EPOLL_CTL_MOD that drops it, or with the epitem, in
 *			ep_remove_epi(), which all removal paths go through
 *
 * kfree() needs no grace period: whoever finds the epitem under RCU alone
 * (the path checks of epoll_ctl) does not follow ->state.
 *
 * An ep_state is charged to max_user_watches as one more watch.
 *
 *
 * Why nothing is missed
 * ---------------------
 *
 *	epoll_wait (ep->mtx)			file (softirq, other task)
 *	--------------------			--------------------------
 *	take item off the list			move position
 *	[provider: arm]				wake: put item on list (ep->lock)
 *	sample positions
 *	compare, tell, remember
 *
 * The file moves its position before it wakes.  If it moved before the sample,
 * the sample covers it, and a wake-up that follows finds no news.  If it moved
 * after the sample, its wake-up comes after the item was taken off, puts it
 * back, and the next sample covers it.  A file that only wakes when asked to
 * (TCP send space) is asked before the sample; see net/ipv4/tcp_poll_state.c.
 */
#include <linux/file.h>
#include <linux/percpu_counter.h>
#include <linux/sched/user.h>
#include <linux/seq_file.h>
#include <linux/slab.h>
#include <linux/uaccess.h>

#include "epollstate.h"

#define CREATE_TRACE_POINTS
#include <trace/events/epoll.h>

/* EPOLLSTATE and nothing but these; the list EPOLLEXCLUSIVE made usual. */
#define EP_STATE_OK_BITS						\
	(EPOLLIN | EPOLLPRI | EPOLLOUT | EPOLLERR | EPOLLHUP |		\
	 EPOLLRDNORM | EPOLLRDBAND | EPOLLWRNORM | EPOLLWRBAND |	\
	 EPOLLMSG | EPOLLRDHUP |					\
	 EPOLLWAKEUP | EPOLLONESHOT | EPOLLET | EPOLLSTATE)

/* Who asks for one of these wants to hear of send space, or of input. */
#define EP_STATE_OUT	(EPOLLOUT | EPOLLWRNORM | EPOLLWRBAND)
#define EP_STATE_IN	(EPOLLIN | EPOLLRDNORM | EPOLLRDBAND | EPOLLPRI | \
			 EPOLLMSG | EPOLLRDHUP)

/**
 * ep_state_bad_request - is a request with EPOLLSTATE one that makes no sense?
 * @event: the request; EPOLLET is added
 * @target_is_epoll: the file to be watched is itself an epoll
 *
 * Return: true if the request is to fail with -EINVAL.
 */
bool ep_state_bad_request(struct epoll_event *event, bool target_is_epoll)
{
	event->events |= EPOLLET;
	return target_is_epoll || (event->events & ~EP_STATE_OK_BITS);
}

/* True iff @file can report its state now.  May sleep if its ->poll does. */
static bool ep_state_file_reports(struct file *file)
{
	struct poll_state ps = { };
	struct poll_state_table table = {
		.pt._asks_state = true,
		.ps = &ps,
	};

	vfs_poll(file, &table.pt);
	return ps.kind != POLL_STATE_NONE;
}

/**
 * ep_state_create - make the EPOLLSTATE part of a registration
 * @ref: where the registration keeps it
 * @file: the watched file, referenced by the caller
 * @user: who pays for it
 * @max: the limit of watches of a user
 *
 * Context: process context under ep->mtx; may sleep.
 * Return: 0; -EOPNOTSUPP if @file cannot report its state; -ENOSPC if the user
 * has no watch left; -ENOMEM.  On error nothing is changed.
 */
int ep_state_create(struct ep_state_ref *ref, struct file *file,
		    struct user_struct *user, long max)
{
	struct ep_state *st;

	if (!ep_state_file_reports(file))
		return -EOPNOTSUPP;
	if (percpu_counter_compare(&user->epoll_watches, max) >= 0)
		return -ENOSPC;

	st = kzalloc(sizeof(*st), GFP_KERNEL_ACCOUNT);
	if (!st)
		return -ENOMEM;

	percpu_counter_inc(&user->epoll_watches);
	st->ps[0].told = &st->ps[1];
	st->ps[1].told = &st->ps[0];
	st->now = &st->ps[0];
	st->pending = true;
	ref->st = st;
	return 0;
}

/**
 * ep_state_destroy - free the EPOLLSTATE part of a registration
 * @ref: where the registration keeps it
 * @user: who paid for it
 *
 * Context: under ep->mtx.
 */
void ep_state_destroy(struct ep_state_ref *ref, struct user_struct *user)
{
	kfree(ref->st);
	ref->st = NULL;
	percpu_counter_dec(&user->epoll_watches);
}

/* True iff @now holds send space that @told did not: enough, or all of it. */
static bool ep_state_out_news(const struct poll_state *now,
			      const struct poll_state *told, __poll_t revents)
{
	u32 moved = now->out_pos - told->out_pos;
	u32 step = min(now->out_step, told->out_step);

	if (!now->outq)
		return moved || told->outq;
	/*
	 * A step may be 0.  Far ahead is behind: what others have charged and
	 * not yet counted.
	 */
	return moved >= step && moved - 1 < (3U << 30) - 1 &&
	       (revents & EP_STATE_OUT);
}

/**
 * ep_state_news - is there anything to tell that was not told?
 * @st: the registration, whose file was just polled
 * @revents: the events that ->poll returned, of those requested
 * @requested: the event mask of the registration
 *
 * Context: under ep->mtx, after ep_state_ask() and ->poll.
 * Return: 0 if there is nothing to tell; the events with EPOLLSTATE set if a
 * record is due; the events alone if the file no longer reports its state.
 */
__poll_t ep_state_news(struct ep_state *st, __poll_t revents,
		       __poll_t requested)
{
	const struct poll_state *now = st->now;
	const struct poll_state *told = now->told;

	if (unlikely(now->kind == POLL_STATE_NONE))
		return revents;
	if (unlikely(!(requested & EPOLLERR)))	/* disabled by EPOLLONESHOT */
		return 0;

	/* What was seen cleared is forgotten, whatever comes of this sample. */
	st->told_events &= revents;
	/* No counter will show it again: it is owed until it was delivered. */
	if (now->kind == POLL_STATE_UNCOUNTED)
		st->pending = true;
	if (st->pending)
		goto news;
	if (now->in_pos != told->in_pos && (requested & EP_STATE_IN))
		goto news;
	if (revents != st->told_events)
		goto news;
	if ((requested & EP_STATE_OUT) && ep_state_out_news(now, told, revents))
		goto news;
	if (now->error ? now->error != told->error : !!(revents & EPOLLERR))
		goto news;
	return 0;
news:
	return revents | EPOLLSTATE;
}

#if defined(CONFIG_ARM) && defined(CONFIG_OABI_COMPAT)
/* A slot of an OABI process differs from one of an EABI process. */
static bool ep_state_put(struct epoll_event __user *slot, __poll_t events,
			 u64 data, const struct poll_state *ps, u32 seq)
{
	const u32 words[3][2] = {
		{ ps->rcv, ps->snd }, { ps->outq, ps->msgs },
		{ ps->error, seq },
	};
	u64 pair;
	int i;

	slot = epoll_put_uevent(events, data, slot);
	for (i = 0; slot && i < ARRAY_SIZE(words); i++) {
		memcpy(&pair, words[i], sizeof(pair));
		slot = epoll_put_uevent(0, pair, slot);
	}
	return slot;
}
#else
static __always_inline bool
ep_state_put(struct epoll_event __user *slot, __poll_t events, u64 data,
	     const struct poll_state *ps, u32 seq)
{
	struct epoll_state __user *rec = (struct epoll_state __user *)slot;

	BUILD_BUG_ON(sizeof(*rec) != EPOLL_STATE_SLOTS * sizeof(*slot));
	BUILD_BUG_ON(offsetof(struct epoll_state, rcv) !=
		     sizeof(*slot) + offsetof(struct epoll_event, data));

	if (!user_write_access_begin(rec, sizeof(*rec)))
		return false;
	unsafe_put_user(events, &rec->events, fault);
	unsafe_put_user(data, &rec->data, fault);
	unsafe_put_user(0, &rec->__cont1, fault);
	unsafe_put_user(ps->rcv, &rec->rcv, fault);
	unsafe_put_user(ps->snd, &rec->snd, fault);
	unsafe_put_user(0, &rec->__cont2, fault);
	unsafe_put_user(ps->outq, &rec->outq, fault);
	unsafe_put_user(ps->msgs, &rec->msgs, fault);
	unsafe_put_user(0, &rec->__cont3, fault);
	unsafe_put_user(ps->error, &rec->error, fault);
	unsafe_put_user(seq, &rec->seq, fault);
	user_write_access_end();
	return true;
fault:
	user_write_access_end();
	return false;
}
#endif

/**
 * ep_state_deliver - tell user space what is news
 * @ref: an EPOLLSTATE registration, whose file was just polled
 * @revents: the events that ->poll returned, of those requested
 * @event: the registration's event mask and cookie
 * @uevents: the next free slot
 * @room: free slots
 *
 * Context: process context under ep->mtx, after ep_state_ask() and ->poll;
 * may fault.
 * Return: slots written: 0 if there is nothing to tell, EPOLL_STATE_SLOTS, or
 * 1 for an ordinary event; -EFAULT; -EINVAL if a record is due and does not
 * fit.  On error nothing was told: the caller keeps the item queued, and it is
 * sampled anew.
 */
int ep_state_deliver(const struct ep_state_ref *ref, __poll_t revents,
		     const struct epoll_event *event,
		     struct epoll_event __user *uevents, int room)
{
	struct ep_state *st = ref->st;
	struct poll_state *now = st->now;

	revents = ep_state_news(st, revents, event->events);
	if (unlikely(!(revents & EPOLLSTATE))) {
		if (!revents)
			return 0;
		return epoll_put_uevent(revents, event->data, uevents) ?
			1 : -EFAULT;
	}

	if (unlikely(room < EPOLL_STATE_SLOTS))
		return -EINVAL;
	if (!ep_state_put(uevents, revents, event->data, now, st->seq))
		return -EFAULT;

	trace_epoll_state(revents, event->data, now, st->seq);
	st->seq++;
	st->told_events = revents;
	st->shown_events = revents;
	st->pending = false;
	/* What was told is kept; the next sample goes where the last one was. */
	st->now = now->told;
	return EPOLL_STATE_SLOTS;
}

/**
 * ep_state_show_fdinfo - end a line of an epoll's fdinfo
 * @ref: the EPOLLSTATE part of any registration
 * @m: the file, which has all of the line but its end
 *
 * Context: under ep->mtx.
 */
void ep_state_show_fdinfo(const struct ep_state_ref *ref, struct seq_file *m)
{
	const struct ep_state *st = ref->st;
	const struct poll_state *told;

	if (st) {
		told = st->now->told;
		seq_printf(m, " told:%8x rcv:%u snd:%u outq:%u msgs:%u error:%u seq:%u",
			   (__force u32)st->shown_events, told->rcv, told->snd,
			   told->outq, told->msgs, told->error,
			   st->seq ? st->seq - 1 : 0);
	}
	seq_putc(m, '\n');
}
