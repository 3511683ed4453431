/* SPDX-License-Identifier: GPL-2.0 */
/*
 * What fs/eventpoll.c calls for EPOLLSTATE registrations; see fs/epollstate.c.
 */
#ifndef _FS_EPOLLSTATE_H
#define _FS_EPOLLSTATE_H

#include <linux/eventpoll.h>
#include <linux/poll.h>

struct file;
struct seq_file;
struct user_struct;

#ifdef CONFIG_EPOLLSTATE

/**
 * struct ep_state - what an EPOLLSTATE registration remembers
 * @ps: the state told last, and the one being sampled; they change places
 * @now: which of them is being sampled
 * @seq: number of the next record
 * @told_events: events of the last record that still held when last seen
 * @shown_events: slot-0 events of the last record; 0 if there was none
 * @pending: a record is owed, whatever the file says now (ADD, MOD, a change
 *	that no counter shows)
 *
 * All protected by ep->mtx.
 */
struct ep_state {
	struct poll_state	ps[2];
	struct poll_state	*now;
	u32			seq;
	__poll_t		told_events;
	__poll_t		shown_events;
	bool			pending;
};

/* The EPOLLSTATE part of struct epitem; ->st is NULL for all others. */
struct ep_state_ref {
	struct ep_state *st;
};

/* The bits that EPOLLSTATE adds to those that are not poll(2) events. */
#define EP_STATE_BITS	EPOLLSTATE

/* What ends a line of fdinfo: ep_state_show_fdinfo() does. */
#define EP_FDINFO_EOL	""

bool ep_state_bad_request(struct epoll_event *event, bool target_is_epoll);
int ep_state_create(struct ep_state_ref *ref, struct file *file,
		    struct user_struct *user, long max);
void ep_state_destroy(struct ep_state_ref *ref, struct user_struct *user);
__poll_t ep_state_news(struct ep_state *st, __poll_t revents,
		       __poll_t requested);
int ep_state_deliver(const struct ep_state_ref *ref, __poll_t revents,
		     const struct epoll_event *event,
		     struct epoll_event __user *uevents, int room);
void ep_state_show_fdinfo(const struct ep_state_ref *ref, struct seq_file *m);

/* True iff the registration is an EPOLLSTATE one. */
static inline bool ep_state_on(const struct ep_state_ref *ref)
{
	return unlikely(ref->st);
}

/* True iff a full record is owed even if the file reports no event. */
static inline bool ep_state_pending(const struct ep_state_ref *ref)
{
	return ref->st && ref->st->pending;
}

/**
 * ep_state_refuses - check an epoll_ctl(2) request that may name EPOLLSTATE
 * @has_event: the operation has an event; if not, @event is not looked at
 * @event: the request; EPOLLET is added to it when EPOLLSTATE is set
 * @target_is_epoll: the file to be watched is itself an epoll
 *
 * Return: true if the request is to fail with -EINVAL.
 */
static inline bool ep_state_refuses(bool has_event, struct epoll_event *event,
				    bool target_is_epoll)
{
	return has_event && (event->events & EPOLLSTATE) &&
	       ep_state_bad_request(event, target_is_epoll);
}

/**
 * ep_state_attach - give a registration its EPOLLSTATE part, if it wants one
 * @ref: where the registration keeps it
 * @event: the request
 * @file: the watched file, referenced by the caller
 * @user: who pays for it
 * @max: the limit of watches of a user
 *
 * Context: process context under ep->mtx; may sleep.
 * Return: 0, or what ep_state_create() returns; on error nothing is changed.
 */
static inline int
ep_state_attach(struct ep_state_ref *ref, const struct epoll_event *event,
		struct file *file, struct user_struct *user, long max)
{
	if (!(event->events & EPOLLSTATE))
		return 0;
	return ep_state_create(ref, file, user, max);
}

/**
 * ep_state_detach - drop the EPOLLSTATE part of a registration, if it has one
 * @ref: where the registration keeps it
 * @user: who paid for it
 *
 * Context: under ep->mtx.
 */
static inline void ep_state_detach(struct ep_state_ref *ref,
				   struct user_struct *user)
{
	if (ep_state_on(ref))
		ep_state_destroy(ref, user);
}

/**
 * ep_state_modify - let EPOLL_CTL_MOD add, keep or drop EPOLLSTATE
 * @ref: where the registration keeps its EPOLLSTATE part
 * @event: the request
 * @file: the watched file, referenced by the caller
 * @user: who pays
 * @max: the limit of watches of a user
 *
 * A registration that keeps EPOLLSTATE owes a full record afterwards.  Its
 * file is not asked again whether it can report: if it has lost that, its
 * events come as plain edges, after MOD as before.
 *
 * Context: process context under ep->mtx; may sleep.
 * Return: as ep_state_attach(); on error the registration is as it was.
 */
static inline int
ep_state_modify(struct ep_state_ref *ref, const struct epoll_event *event,
		struct file *file, struct user_struct *user, long max)
{
	if (!ep_state_on(ref))
		return ep_state_attach(ref, event, file, user, max);

	if (event->events & EPOLLSTATE)
		ref->st->pending = true;
	else
		ep_state_destroy(ref, user);
	return 0;
}

/**
 * ep_state_ask - make a poll table that asks the file for its state
 * @ref: an EPOLLSTATE registration
 * @table: the table, for one call of ep_item_poll(), which sets its key
 *
 * Context: under ep->mtx.
 */
static inline void ep_state_ask(const struct ep_state_ref *ref,
				struct poll_state_table *table)
{
	struct poll_state *now = ref->st->now;

	now->kind = POLL_STATE_NONE;
	table->pt._qproc = NULL;
	table->pt._asks_state = true;
	table->ps = now;
}

/* init_poll_funcptr() for tables whose key ep_item_poll() sets. */
static inline void ep_state_init_table(poll_table *pt)
{
	pt->_qproc = NULL;
	poll_table_no_state(pt);
}

/* What ep_state_news() says of @revents, for one who only wants to know. */
static inline __poll_t ep_state_ready(const struct ep_state_ref *ref,
				      __poll_t revents, __poll_t requested)
{
	return ep_state_news(ref->st, revents, requested);
}

#else /* !CONFIG_EPOLLSTATE */

struct ep_state_ref { };

#define EP_STATE_BITS	((__force __poll_t)0)
#define EP_FDINFO_EOL	"\n"

static inline bool ep_state_on(const struct ep_state_ref *ref)
{
	return false;
}

static inline bool ep_state_refuses(bool has_event, struct epoll_event *event,
				    bool target_is_epoll)
{
	return false;
}

static inline int
ep_state_attach(struct ep_state_ref *ref, const struct epoll_event *event,
		struct file *file, struct user_struct *user, long max)
{
	return 0;
}

static inline int
ep_state_modify(struct ep_state_ref *ref, const struct epoll_event *event,
		struct file *file, struct user_struct *user, long max)
{
	return 0;
}

static inline void ep_state_detach(struct ep_state_ref *ref,
				   struct user_struct *user)
{
}

static inline bool ep_state_pending(const struct ep_state_ref *ref)
{
	return false;
}

static inline void ep_state_ask(const struct ep_state_ref *ref,
				struct poll_state_table *table)
{
}

static inline void ep_state_init_table(poll_table *pt)
{
	init_poll_funcptr(pt, NULL);
}

static inline __poll_t ep_state_ready(const struct ep_state_ref *ref,
				      __poll_t revents, __poll_t requested)
{
	return revents;
}

static inline int
ep_state_deliver(const struct ep_state_ref *ref, __poll_t revents,
		 const struct epoll_event *event,
		 struct epoll_event __user *uevents, int room)
{
	return 0;
}

static inline void ep_state_show_fdinfo(const struct ep_state_ref *ref,
					struct seq_file *m)
{
}

#endif /* CONFIG_EPOLLSTATE */

#endif /* _FS_EPOLLSTATE_H */
