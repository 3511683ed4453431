// SPDX-License-Identifier: GPL-2.0
/*
 * What is special about UDP when datagram_poll_state() samples it, and how
 * much one datagram of an IPv4 or IPv6 socket (UDP, raw, ping) may carry.
 *
 * Receiving
 * ---------
 *
 * UDP verifies checksums when somebody looks: a damaged datagram is queued,
 * wakes the reader, and is dropped by the read, which goes on to the next one
 * or fails with EAGAIN.  So what is counted is verified before.  Damaged ones
 * are moved to the front, from where SIOCINQ drops them all and keeps the
 * statistics, as for one who asks for the length of the next datagram.  A
 * reader who comes before that drops them on its way.  Each wake-up, also that
 * of a damaged one, brings a record of what is left.
 *
 * Bottom halves are off meanwhile, and how much is queued is up to the senders:
 * one who reads a datagram per record must not walk over all of it each time.
 * So no more than UDP_VERIFIED_BEHIND datagrams behind the first whole one are
 * looked at, and the rest is only counted: a damaged one that is farther back
 * is in msgs until it comes so close.  Of a batch that is larger than that
 * the last reads can then meet EAGAIN, one for each damaged datagram in it.
 * Damaged ones before the first whole one are met once, and are gone.
 *
 * Readers take from up->reader_queue, producers add to sk->sk_receive_queue,
 * which is spliced to the end of the former by whoever holds the lock of the
 * former.  It is spliced before each walk, so that producers are not held up
 * while checksums are computed.
 *
 * The walk costs a cache line for each datagram, the one that holds its
 * link and its scratch area, which also remembers that it was verified.  Over
 * loopback, and from devices that verify, nothing else is done.
 *
 * Sending
 * -------
 *
 * A datagram larger than the MTU is allocated fragment by fragment: the first
 * if the queue is below the send buffer, the others while it is not above
 * twice the send buffer (see __ip_append_data()).  With the MTU at hand (a
 * connected socket) their number is counted.  Else no more is promised than
 * holds for any MTU of 576 bytes and up, or 1280 with IPv6: a fragment then
 * costs less than five, or three, times its payload; the worst is one which
 * with its overhead is just above a power of two.  Neither matters to a send
 * buffer of the usual size.
 */
#include <linux/ipv6.h>
#include <linux/sockios.h>
#include <linux/udp.h>
#include <net/datagram_poll_state.h>
#include <net/inet_sock.h>
#include <net/ip.h>
#include <net/ip6_route.h>
#include <net/ipv6.h>
#include <net/udp.h>

#include <asm/ioctls.h>

/* So many behind the first whole datagram are verified, see the banner. */
#define UDP_VERIFIED_BEHIND	64

/* True iff the checksum is right, or none; lock of the reader queue held. */
static bool udp_is_whole(struct sk_buff *skb)
{
	if (likely(udp_skb_csum_unnecessary(skb)))
		return true;
	if (udp_lib_checksum_complete(skb))
		return false;
#if BITS_PER_LONG == 64
	/* Remembered, unless somebody else is looking at it (MSG_PEEK). */
	if (!skb_shared(skb))
		udp_skb_scratch(skb)->csum_unnecessary = true;
#endif
	return true;
}

/**
 * udp_poll_state_rcv - sample what a UDP socket has to be received
 * @sk: the socket
 * @ps: where rcv and msgs go
 *
 * Context: process context; takes the locks of both receive queues.
 */
void udp_poll_state_rcv(struct sock *sk, struct poll_state *ps)
{
	struct sk_buff_head *queue = &udp_sk(sk)->reader_queue;
	struct sk_buff_head *fresh = &sk->sk_receive_queue;
	int behind = UDP_VERIFIED_BEHIND;
	struct sk_buff *skb, *next;
	bool whole = false;
	u32 damaged = 0;
	int len;

	ps->rcv = 0;

	spin_lock_bh(&queue->lock);
	if (!skb_queue_empty_lockless(fresh)) {
		spin_lock(&fresh->lock);
		skb_queue_splice_tail_init(fresh, queue);
		spin_unlock(&fresh->lock);
	}
	skb_queue_walk_safe(queue, skb, next) {
		if (unlikely(!udp_is_whole(skb))) {
			damaged++;
			__skb_unlink(skb, queue);
			__skb_queue_head(queue, skb);
		} else if (!whole) {
			whole = true;
			ps->rcv = skb->len;
		}
		if (whole && !behind--)
			break;
	}
	ps->msgs = skb_queue_len(queue) - damaged;
	spin_unlock_bh(&queue->lock);

	if (unlikely(damaged))
		udp_ioctl(sk, SIOCINQ, &len);
}

/* True iff datagrams cannot go by IPv4, which takes a little less. */
static bool inet_sends_v6(const struct sock *sk)
{
#if IS_ENABLED(CONFIG_IPV6)
	if (sk->sk_family != AF_INET6)
		return false;
	if (!sock_is_udp(sk))
		return true;
	if (READ_ONCE(sk->sk_state) == TCP_ESTABLISHED)
		return !ipv6_addr_v4mapped(&sk->sk_v6_daddr);
	return ipv6_only_sock(sk);
#else
	return false;
#endif
}

/* Bytes of network header, as far as they count against the size; RCU. */
static u32 inet_header_bytes(const struct sock *sk, bool v6)
{
	u32 bytes = 0;

#if IS_ENABLED(CONFIG_IPV6)
	if (sk->sk_family == AF_INET6) {
		const struct ipv6_txoptions *opt;

		opt = rcu_dereference(inet6_sk(sk)->opt);
		if (opt)
			bytes = opt->opt_flen + opt->opt_nflen;
	}
#endif
	if (!v6) {
		bytes += sizeof(struct iphdr);
		if (rcu_access_pointer(inet_sk(sk)->inet_opt))
			bytes += MAX_IPOPTLEN;
	}
	return bytes;
}

/* The MTU of a connected socket, else 0; RCU. */
static u32 inet_mtu(const struct sock *sk)
{
	const struct dst_entry *dst;

	if (READ_ONCE(sk->sk_state) != TCP_ESTABLISHED)
		return 0;
	dst = rcu_dereference(sk->sk_dst_cache);
	return dst ? min(dst_mtu(dst), READ_ONCE(dst->dev->mtu)) : 0;
}

/* What IPV6_MTU makes of the MTU of an IPv6 socket. */
static u32 inet6_own_mtu(const struct sock *sk, u32 mtu)
{
#if IS_ENABLED(CONFIG_IPV6)
	const u32 own = READ_ONCE(inet6_sk(sk)->frag_size);

	if (own && own < mtu)
		return own;
#endif
	return mtu;
}

static bool inet_may_fragment(const struct sock *sk, bool v6)
{
#if IS_ENABLED(CONFIG_IPV6)
	if (v6)
		return ip6_sk_ignore_df(sk) && !inet6_test_bit(DONTFRAG, sk);
#endif
	return ip_sk_ignore_df(sk);
}

/* Bytes that fit into fragments, as long as @budget bytes of memory last. */
static u32 inet_fragment_bytes(u32 mtu, u32 header, u32 budget)
{
	u32 payload = mtu > header + 8 ? (mtu - header) & ~7 : 0;
	u32 cost = roundup_pow_of_two(SKB_DATA_ALIGN(mtu + MAX_HEADER) +
				SKB_DATA_ALIGN(sizeof(struct skb_shared_info)));

	cost += SKB_DATA_ALIGN(sizeof(struct sk_buff));
	return payload * (1 + (budget - 1) / cost);
}

/**
 * inet_poll_state_snd - what one datagram may carry
 * @sk: a UDP, UDP-Lite, raw or ping socket of IPv4 or IPv6
 * @sndbuf: its send buffer
 * @wmem: memory of what is queued, less than @sndbuf
 *
 * Context: process context; takes no lock.
 * Return: bytes of payload, not bounded by what is free of @sndbuf.
 */
u32 inet_poll_state_snd(const struct sock *sk, u32 sndbuf, u32 wmem)
{
	u32 used = sock_is_udp(sk) ? sizeof(struct udphdr) : 0;
	bool corked = !skb_queue_empty_lockless(&sk->sk_write_queue);
	const struct inet_sock *inet = inet_sk(sk);
	bool v6 = inet_sends_v6(sk);
	u32 budget = 2 * sndbuf - wmem;
	u32 header, mtu, gso, size;

	rcu_read_lock();
	header = inet_header_bytes(sk, v6);
	mtu = inet_mtu(sk);
	rcu_read_unlock();

	if (sk->sk_type == SOCK_RAW && inet_test_bit(HDRINCL, sk))
		return mtu ? min_t(u32, mtu, U16_MAX) : U16_MAX;

	/* What is corked is the beginning of the same datagram. */
	size = U16_MAX - header;
	gso = sock_is_udp(sk) ? READ_ONCE(udp_sk(sk)->gso_size) : 0;
	if (gso)
		size = min_t(u32, size, gso * UDP_MAX_SEGMENTS + used);
	if (corked)
		used = READ_ONCE(inet->cork.base.length);
	size = size > used ? size - used : 0;

	/* The network header of IPv6 is in the MTU, though not in the size. */
	if (v6) {
		header += sizeof(struct ipv6hdr);
		mtu = inet6_own_mtu(sk, mtu);
	}
	if (size + used + header <= mtu)
		return size;
	/* Each segment has to fit, and no fragments are made of one. */
	if (gso && (!mtu || gso + sizeof(struct udphdr) + header <= mtu))
		return size;
	if (mtu && (gso || !inet_may_fragment(sk, v6)))
		mtu = mtu > header ? mtu - header : 0;
	else if (mtu && !corked)
		mtu = inet_fragment_bytes(mtu, header + (v6 ?
					  sizeof(struct frag_hdr) : 0), budget);
	else
		mtu = budget / (v6 ? 3 : 5);
	return min(size, mtu > used ? mtu - used : 0);
}
