// SPDX-License-Identifier: GPL-2.0
/*
 * What datagram sockets report to an EPOLLSTATE registration: UDP and UDP-Lite,
 * raw and ping sockets of IPv4 and IPv6, packet and netlink sockets.
 *
 * datagram_poll() serves many families more.  Only those that are known here
 * report; for the others the state is left alone.
 *
 * Receiving
 * ---------
 *
 *	rcv	what recv(2) of the next message returns
 *	msgs	messages queued: an empty one is rcv 0 and msgs 1
 *
 * Both are taken under the lock of the queue, after the mask, and the mask is
 * made to agree with them: EPOLLIN is set iff msgs is not 0, or the socket was
 * shut down.  (What udp_poll() adds when this has returned came in later; its
 * wake-up brings another record.)  A message is queued before its wake-up, so
 * that one which the sample does not have wakes later.
 *
 * A packet socket with a ring gets its data by another way than recv(2) and
 * does not report.  One that a sockmap program reads from does not either.
 *
 * Sending
 * -------
 *
 * A send of one datagram is refused if the memory of what is queued has
 * reached the send buffer, and else it is taken whole.  So one datagram could
 * be as large as the protocol allows until the buffer is full.  snd is no more
 * than the free memory, so that it falls while the queue grows; but with an
 * empty queue it is all that would be taken, for a message larger than the
 * buffer has to go sometime.
 *
 * It is a promise for one datagram.  Small ones cost many times their payload,
 * so a second one may be refused though both together are less than snd.
 *
 * Not covered: EMSGSIZE, where the route is not known before the send; a
 * netlink message to a user whose queue is full; and a pending error, which
 * the next call fetches instead of doing its work.
 *
 * outq is what SIOCOUTQ says, memory in bytes, but sock_wfree() wakes while
 * one unit of each buffer that it frees is still charged, and nothing wakes
 * when that goes as well: less than any buffer takes is nothing.
 *
 * Changes
 * -------
 *
 * Nothing in these sockets counts what came in or went out since they were
 * made, and a count would have to be kept on the fast paths of all.  Levels
 * decide nothing, nor does the address of the last message in the queue, which
 * may be that of the one before, freed and allocated again.  So every wake-up
 * is a change: sock_def_readable() for each message, and sock_wfree() for each
 * buffer freed while less than half of the send buffer is in use.  The last
 * one freed is always told.  These are the wake-ups that EPOLLET tells.
 *
 * Over loopback the buffer of an own send is freed within the send.  The
 * record that follows says that the queue is empty again, which an application
 * that subtracts what it sent from snd has to hear.  It cannot be left out:
 * that the queue was empty before says nothing of how much was sent meanwhile.
 */
#include <linux/if_packet.h>
#include <linux/ipv6.h>
#include <linux/netdevice.h>
#include <linux/skbuff.h>
#include <net/datagram_poll_state.h>
#include <net/sock.h>

#include "../packet/internal.h"

/* What netlink_sendmsg() leaves free of the send buffer. */
#define NETLINK_SND_SPARE	32

static bool sock_is_inet(const struct sock *sk)
{
	return IS_ENABLED(CONFIG_INET) &&
	       (sk->sk_family == AF_INET || sk->sk_family == AF_INET6);
}

static bool sock_is_ping(const struct sock *sk)
{
	return sk->sk_type == SOCK_DGRAM &&
	       sk->sk_protocol == (sk->sk_family == AF_INET ?
				   IPPROTO_ICMP : IPPROTO_ICMPV6);
}

/* True iff recv(2) and send(2) are known to go by the queues sampled here. */
static bool datagram_reports(const struct sock *sk)
{
	if (sock_is_inet(sk))
		return !READ_ONCE(sk->sk_prot)->sock_is_readable &&
		       (sock_is_udp(sk) || sk->sk_type == SOCK_RAW ||
			sock_is_ping(sk));
	if (sk->sk_family == AF_PACKET)
		return !READ_ONCE(pkt_sk(sk)->rx_ring.pg_vec) &&
		       !READ_ONCE(pkt_sk(sk)->tx_ring.pg_vec);
	return sk->sk_family == AF_NETLINK;
}

/* True iff recv(2) first returns nothing but an IPV6_PATHMTU (RFC 3542). */
static bool datagram_tells_mtu(const struct sock *sk)
{
#if IS_ENABLED(CONFIG_IPV6)
	const struct ipv6_pinfo *np;

	if (sk->sk_family != AF_INET6 || sock_is_ping(sk))
		return false;
	np = inet6_sk(sk);
	if (likely(!READ_ONCE(np->rxpmtu)))
		return false;
	/* An option, which recv(2) looks at in the same way. */
	return data_race(!!np->rxopt.bits.rxpmtu);
#else
	return false;
#endif
}

/* The header that recv(2) puts before each message, and send(2) takes. */
static u32 datagram_extra(const struct sock *sk)
{
	return sk->sk_family == AF_PACKET ?
	       READ_ONCE(pkt_sk(sk)->vnet_hdr_sz) : 0;
}

static void datagram_sample_rcv(struct sock *sk, struct poll_state *ps)
{
	struct sk_buff_head *queue = &sk->sk_receive_queue;
	const struct sk_buff *skb;
	unsigned long flags;

	spin_lock_irqsave(&queue->lock, flags);
	skb = skb_peek(queue);
	ps->rcv = skb ? skb->len + datagram_extra(sk) : 0;
	ps->msgs = skb_queue_len(queue);
	spin_unlock_irqrestore(&queue->lock, flags);
}

/* The largest message of a packet socket: what its device takes. */
static u32 packet_snd_bytes(const struct sock *sk)
{
	const struct net_device *dev;
	u32 max = U16_MAX;

	rcu_read_lock();
	dev = rcu_dereference(pkt_sk(sk)->cached_dev);
	if (dev) {
		max = READ_ONCE(dev->mtu);
		if (sk->sk_type != SOCK_DGRAM)
			max += READ_ONCE(dev->hard_header_len);
	}
	rcu_read_unlock();
	return max + datagram_extra(sk);
}

static u32 datagram_snd_bytes(const struct sock *sk, u32 wmem)
{
	u32 sndbuf = READ_ONCE(sk->sk_sndbuf);
	u32 max = 0;

	/* Consumed at once, or charged to the receiver. */
	if (sk->sk_family == AF_NETLINK)
		return sndbuf > NETLINK_SND_SPARE ?
		       sndbuf - NETLINK_SND_SPARE : 0;

	if (READ_ONCE(sk->sk_shutdown) & SEND_SHUTDOWN || wmem >= sndbuf)
		return 0;
	if (sk->sk_family == AF_PACKET)
		max = packet_snd_bytes(sk);
	else if (IS_ENABLED(CONFIG_INET))
		max = inet_poll_state_snd(sk, sndbuf, wmem);
	return wmem ? min(max, sndbuf - wmem) : max;
}

/**
 * datagram_poll_state - datagram_poll() for an EPOLLSTATE registration
 * @file: the socket's file
 * @sock: the socket
 * @wait: a poll table that wants the state
 *
 * Context: process context under ep->mtx; does not sleep.
 * Return: what datagram_poll() returns, with EPOLLIN as the sample has it.
 */
__poll_t datagram_poll_state(struct file *file, struct socket *sock,
			     poll_table *wait)
{
	struct poll_state *ps = poll_table_take_state(wait);
	struct sock *sk = sock->sk;
	__poll_t mask;
	u32 wmem;

	if (unlikely(!datagram_reports(sk)))
		return datagram_poll(file, sock, wait);
	if (unlikely(!ps->told)) {
		ps->kind = POLL_STATE_UNCOUNTED;
		return 0;
	}

	mask = datagram_poll(file, sock, wait);

	if (sock_is_inet(sk) && sock_is_udp(sk))
		udp_poll_state_rcv(sk, ps);
	else
		datagram_sample_rcv(sk, ps);
	/* (Alone, and on a socket that blocks, udp_poll() makes it no event.) */
	if (unlikely(datagram_tells_mtu(sk))) {
		ps->rcv = 0;
		ps->msgs++;
	}
	if (ps->msgs)
		mask |= EPOLLIN | EPOLLRDNORM;
	else if (!(mask & EPOLLRDHUP))
		mask &= ~(EPOLLIN | EPOLLRDNORM);

	wmem = sk_wmem_alloc_get(sk);
	if (wmem < SKB_TRUESIZE(0))
		wmem = 0;
	ps->snd = datagram_snd_bytes(sk, wmem);
	ps->outq = wmem;
	ps->error = READ_ONCE(sk->sk_err);
	ps->kind = POLL_STATE_UNCOUNTED;
	return mask;
}
