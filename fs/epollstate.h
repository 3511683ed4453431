/* SPDX-License-Identifier: GPL-2.0 */
/*
 * What fs/eventpoll.c calls for EPOLLSTATE registrations; see fs/epollstate.c.
 */
#ifndef _FS_EPOLLSTATE_H
#define _FS_EPOLLSTATE_H

#include <linux/eventpoll.h>
#include <linux/poll.h>

struct ep_state;
struct file;
struct seq_file;
struct user_struct;

#ifdef CONFIG_EPOLLSTATE

/* The EPOLLSTATE part of struct epitem; ->st is NULL for all others. */
struct ep_state_ref {
	struct ep_state *st;
};

/* The bits that EPOLLSTATE adds to those that are not poll(2) events. */
#define EP_STATE_BITS	EPOLLSTATE

/* What ends a line of fdinfo: ep_state_show_fdinfo() does. */
#define EP_FDINFO_EOL	""

/* True iff the registration is an EPOLLSTATE one. */
static inline bool ep_state_on(const struct ep_state_ref *ref)
{
	return unlikely(ref->st);
}

bool ep_state_refuses(struct epoll_event *event, bool target_is_epoll);
int ep_state_attach(struct ep_state_ref *ref, const struct epoll_event *event,
		    struct file *file, struct user_struct *user, long max);
int ep_state_modify(struct ep_state_ref *ref, const struct epoll_event *event,
		    struct file *file, struct user_struct *user, long max);
void ep_state_detach(struct ep_state_ref *ref, struct user_struct *user);
bool ep_state_pending(const struct ep_state_ref *ref);
void ep_state_ask(const struct ep_state_ref *ref, poll_table *pt);
__poll_t ep_state_news(const struct ep_state_ref *ref, __poll_t revents,
		       __poll_t requested);
int ep_state_deliver(const struct ep_state_ref *ref, __poll_t revents,
		     u64 data, struct epoll_event __user **uevents, int room);
void ep_state_show_fdinfo(const struct ep_state_ref *ref, struct seq_file *m);

#else /* !CONFIG_EPOLLSTATE */

struct ep_state_ref { };

#define EP_STATE_BITS	((__force __poll_t)0)
#define EP_FDINFO_EOL	"\n"

static inline bool ep_state_on(const struct ep_state_ref *ref)
{
	return false;
}

static inline bool ep_state_refuses(struct epoll_event *event,
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

static inline void ep_state_ask(const struct ep_state_ref *ref, poll_table *pt)
{
}

static inline __poll_t ep_state_news(const struct ep_state_ref *ref,
				     __poll_t revents, __poll_t requested)
{
	return revents;
}

static inline int
ep_state_deliver(const struct ep_state_ref *ref, __poll_t revents, u64 data,
		 struct epoll_event __user **uevents, int room)
{
	return 0;
}

static inline void ep_state_show_fdinfo(const struct ep_state_ref *ref,
					struct seq_file *m)
{
}

#endif /* CONFIG_EPOLLSTATE */

#endif /* _FS_EPOLLSTATE_H */
