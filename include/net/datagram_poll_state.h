/* SPDX-License-Identifier: GPL-2.0 */
/*
 * EPOLLSTATE for datagram sockets: what the hook in net/core/datagram.c calls.
 * The story is told in net/core/datagram_poll_state.c and, for UDP and what
 * sends as UDP does, in net/ipv4/udp_poll_state.c.
 */
#ifndef _NET_DATAGRAM_POLL_STATE_H
#define _NET_DATAGRAM_POLL_STATE_H

#include <linux/net.h>
#include <linux/poll.h>
#include <net/sock.h>

#ifdef CONFIG_EPOLLSTATE

__poll_t datagram_poll_state(struct file *file, struct socket *sock,
			     poll_table *wait);

/* net/ipv4/udp_poll_state.c */
void udp_poll_state_rcv(struct sock *sk, struct poll_state *ps);
u32 inet_poll_state_snd(const struct sock *sk, u32 sndbuf, u32 wmem);

/* Of a socket of IPv4 or IPv6: not a raw one for these protocols. */
static inline bool sock_is_udp(const struct sock *sk)
{
	return sk->sk_type == SOCK_DGRAM &&
	       (sk->sk_protocol == IPPROTO_UDP ||
		sk->sk_protocol == IPPROTO_UDPLITE);
}

#else

static inline __poll_t datagram_poll_state(struct file *file,
					   struct socket *sock,
					   poll_table *wait)
{
	return 0;
}

#endif /* CONFIG_EPOLLSTATE */

#endif /* _NET_DATAGRAM_POLL_STATE_H */
