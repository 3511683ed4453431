/* SPDX-License-Identifier: GPL-2.0 */
/*
 * EPOLLSTATE for AF_UNIX: what the hooks in net/unix/af_unix.c call.  The
 * whole story is told in net/unix/unix_poll_state.c.
 */
#ifndef _NET_UNIX_POLL_STATE_H
#define _NET_UNIX_POLL_STATE_H

#include <linux/net.h>
#include <linux/poll.h>
#include <linux/skbuff.h>
#include <net/af_unix.h>
#include <net/sock_poll_state.h>

#ifdef CONFIG_EPOLLSTATE

__poll_t unix_poll_state(struct file *file, struct socket *sock,
			 poll_table *wait);

/* In net/unix/af_unix.c; not every kernel has this in <net/af_unix.h>. */
long unix_inq_len(struct sock *sk);

/* @skb is about to be queued to @other, whose state lock is held. */
static inline void unix_poll_state_queued(struct sock *other,
					  const struct sk_buff *skb)
{
	struct unix_sock *u = unix_sk(other);

	WRITE_ONCE(u->poll_in, u->poll_in + skb->truesize);
}

/*
 * A message of @sk, charged to it, is about to be dropped.  No lock is held
 * that all sends of @sk take: two at a time may lose a count.
 */
static inline void unix_poll_state_dropped(struct sock *sk,
					   const struct sk_buff *skb)
{
	/* A lost count makes a record late, see the banner. */
	data_race(unix_sk(sk)->poll_out += skb->truesize);
}

/* One is about to be queued to @other: the sender counts as well. */
static inline void unix_poll_state_sent(struct sock *sk, struct sock *other,
					const struct sk_buff *skb)
{
	unix_poll_state_queued(other, skb);
	unix_poll_state_dropped(sk, skb);
}

/*
 * @skb is about to be queued to the listener @other, whose state lock is held:
 * @sk has been connected.
 */
static inline void unix_poll_state_connect(struct sock *sk, struct sock *other,
					   const struct sk_buff *skb)
{
	unix_poll_state_queued(other, skb);
	sock_poll_state_wake(sk);
}

/* @u waited for room at a peer, and is woken as there may be some. */
static inline void unix_poll_state_room(struct unix_sock *u)
{
	/* Two at a time may count as one, which is another count as well. */
	WRITE_ONCE(u->poll_room, data_race(u->poll_room) + 1);
}

/* @sk, whose state lock is held, gives up @other, where maybe it waited. */
static inline void unix_poll_state_leave(struct sock *sk,
					 const struct sock *other)
{
	/* A read that is faster counts. */
	if (data_race(unix_sk(sk)->peer_wake.private) == other)
		unix_poll_state_room(unix_sk(sk));
}

/*
 * A read skips the byte of MSG_OOB.  Where a kernel keeps the count that
 * unix_inq_len() returns (a macro: not all do), it leaves that byte in it, so
 * that FIONREAD and we would tell of it for ever.  State and queue lock held.
 */
#define unix_poll_state_skipped(u)	\
	WRITE_ONCE((u)->inq_len, (u)->inq_len - 1)

#else

#define unix_poll_state_skipped(u)	do { } while (0)

static inline __poll_t unix_poll_state(struct file *file, struct socket *sock,
				       poll_table *wait)
{
	return 0;
}

static inline void unix_poll_state_queued(struct sock *other,
					  const struct sk_buff *skb)
{
}

static inline void unix_poll_state_dropped(struct sock *sk,
					   const struct sk_buff *skb)
{
}

static inline void unix_poll_state_sent(struct sock *sk, struct sock *other,
					const struct sk_buff *skb)
{
}

static inline void unix_poll_state_connect(struct sock *sk, struct sock *other,
					   const struct sk_buff *skb)
{
}

static inline void unix_poll_state_room(struct unix_sock *u)
{
}

static inline void unix_poll_state_leave(struct sock *sk,
					 const struct sock *other)
{
}

#endif /* CONFIG_EPOLLSTATE */

#endif /* _NET_UNIX_POLL_STATE_H */
