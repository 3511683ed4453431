/* SPDX-License-Identifier: GPL-2.0 */
/*
 * EPOLLSTATE for TCP: what the hooks in net/ipv4/tcp*.c call.  The whole story
 * is told in net/ipv4/tcp_poll_state.c.
 */
#ifndef _NET_TCP_POLL_STATE_H
#define _NET_TCP_POLL_STATE_H

#include <linux/net.h>
#include <linux/poll.h>
#include <linux/tcp.h>
#include <net/sock.h>
#include <net/sock_poll_state.h>

#ifdef CONFIG_EPOLLSTATE

__poll_t tcp_poll_state(struct file *file, struct socket *sock,
			poll_table *wait);
bool __tcp_poll_state_due(struct sock *sk);
bool tcp_poll_state_promised(const struct sock *sk);

/*
 * A write found no room, or no memory: the next sample is news to who waits for
 * room.  Refusals with no sample between them count as one.  Socket lock held.
 */
static inline void tcp_poll_state_refused(struct sock *sk)
{
	struct tcp_sock *tp = tcp_sk(sk);

	/* An exchange, as samples change it by try_cmpxchg(). */
	if (READ_ONCE(tp->poll_promise))
		xchg(&tp->poll_promise, 0);
	/* After what was found full. */
	smp_store_release(&tp->poll_refused, tp->poll_refused + 1);
}

/* True iff somebody waits for send space, by SOCK_NOSPACE or by EPOLLSTATE. */
static inline bool tcp_space_wanted(const struct socket *sock)
{
	return READ_ONCE(sock->flags) &
	       (BIT(SOCK_NOSPACE) | BIT(SOCK_POLL_STATE));
}

/* True iff an EPOLLSTATE registration is among them. */
static inline bool tcp_state_space_wanted(const struct socket *sock)
{
	return test_bit(SOCK_POLL_STATE, &sock->flags);
}

/*
 * True iff input is there to be read that came since a registration last
 * looked, so that each of them has been woken, or is going to be, and will see
 * the space.  Socket lock held.
 */
static inline bool tcp_poll_state_coming(const struct sock *sk)
{
	const struct tcp_sock *tp = tcp_sk(sk);

	return tp->rcv_nxt != READ_ONCE(tp->poll_seen) &&
	       tp->rcv_nxt != tp->copied_seq && sk->sk_rcvlowat <= 1 &&
	       READ_ONCE(sk->sk_data_ready) == sock_def_readable &&
	       !READ_ONCE(tp->poll_each);
}

/* Is an EPOLLSTATE registration to be woken for space?  Then it has to be. */
static inline bool tcp_poll_state_due(struct sock *sk)
{
	return !tcp_poll_state_coming(sk) && __tcp_poll_state_due(sk);
}

#else

static inline __poll_t tcp_poll_state(struct file *file, struct socket *sock,
				      poll_table *wait)
{
	return 0;
}

/* Macros: with them tcp_input.c compiles to what it was, to the letter. */
#define tcp_space_wanted(sock)	test_bit(SOCK_NOSPACE, &(sock)->flags)
#define tcp_state_space_wanted(sock)	false

static inline bool tcp_poll_state_due(struct sock *sk)
{
	return false;
}

static inline bool tcp_poll_state_promised(const struct sock *sk)
{
	return false;
}

static inline void tcp_poll_state_refused(struct sock *sk)
{
}

#endif /* CONFIG_EPOLLSTATE */

#endif /* _NET_TCP_POLL_STATE_H */
