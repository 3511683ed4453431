/* SPDX-License-Identifier: GPL-2.0 */
/*
 * EPOLLSTATE for sockets that are told of what wakes nobody else.
 */
#ifndef _NET_SOCK_POLL_STATE_H
#define _NET_SOCK_POLL_STATE_H

#include <linux/epoll_state.h>
#include <linux/wait.h>
#include <net/sock.h>

/**
 * sock_poll_state_wake - wake the EPOLLSTATE registrations of a socket
 * @sk: the socket
 *
 * Nobody else asked for EPOLLSTATE, so no other poller that looks at what it is
 * woken with sees it: not poll(2), not other epoll registrations, not io_uring.
 * A task asleep in recv(2) or send(2), and a 9p client, which do not look,
 * check their conditions and sleep on.
 *
 * Context: softirq or process; does not sleep.  The lock of the wait queue is
 * the innermost: the socket lock, or the state lock of this socket or another,
 * may be held.
 */
static inline void sock_poll_state_wake(struct sock *sk)
{
	struct socket_wq *wq;

	rcu_read_lock();
	wq = rcu_dereference(sk->sk_wq);
	if (skwq_has_sleeper(wq))
		wake_up_interruptible_poll(&wq->wait, EPOLLSTATE);
	rcu_read_unlock();
}

#endif /* _NET_SOCK_POLL_STATE_H */
