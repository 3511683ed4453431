// SPDX-License-Identifier: GPL-2.0
/*
 * What an AF_UNIX socket reports to an EPOLLSTATE registration.
 *
 *			rcv		outq			msgs
 *	stream		all bytes	payload the peer has	0
 *	seqpacket	next message	  not read; 0 once it	messages
 *	dgram		next message	  is closed; memory	messages
 *	listening	0		0  of a dgram		to be accepted
 *
 * Receiving
 * ---------
 *
 * FIONREAD says the same, but for two things: it sums up the messages of a
 * seqpacket, and counts the byte of MSG_OOB that reads skip.  SO_PEEK_OFF
 * changes neither.
 *
 * One read of a stream stops behind a message with file descriptors, where the
 * sender's credentials change (if the reader asked for them) and at an
 * out-of-band mark.  rcv counts what is behind such a boundary as well: it is
 * there, several reads get it, and no further record will tell of it.  So the
 * promise is one per byte there, and not per call.  A pending error is what a
 * read of messages, and any write, returns first.
 *
 * poll_in of the receiver sums up the memory of what was queued to it.  It is
 * sampled with the queue, under the state lock that both are changed under, so
 * that no arrival is told twice.  The end of file comes after the data, so the
 * queue is looked at after the mask: EPOLLRDHUP comes with the last byte.
 *
 * Sending
 * -------
 *
 * A stream starts a chunk as long as its memory (sk_wmem_alloc) is below the
 * send buffer.  All chunks of a write but the last are of one size, so what
 * they cost is known: snd is the number of chunks that would be started times
 * their size, which is exactly what one large write would take.
 *
 * A message is taken whole while any memory is free.  snd is what is free, but
 * not more than the largest message: a bound from below.
 *
 * snd is 0 after a shutdown.  Else, for streams and seqpackets, it is 0 where a
 * write would fail: not connected, peer gone, error pending.  A datagram socket
 * may get another peer, or its error be fetched, and nothing would wake: what
 * is wrong there the next write finds out.  Only the full queue of a peer that
 * is not connected to us makes it 0, if peer_wake (see below) was armed, or will
 * be when our own memory has drained.
 *
 * Send space coming back
 * ----------------------
 *
 * Nothing needs to be armed: each buffer that is freed wakes us, if no more than
 * a quarter of the send buffer is then used; see unix_write_space().
 *
 *	position	memory queued in all its life, less what is charged now
 *	step		a quarter of the send buffer
 *
 * For streams, "queued in all its life" is poll_in of the peer: nobody else
 * sends to it, and it stays until our own release.  Messages may go to many
 * receivers, which have many senders, or be dropped by the receiver's filter:
 * the sender counts them for itself, in poll_out.
 *
 *	sampling			sending (other thread)	freeing
 *	--------			----------------------	-------
 *	read poll_in, poll_out		charge sk_wmem_alloc	unlink
 *	smp_rmb()			poll_in, poll_out +=	uncharge
 *	read sk_wmem_alloc		queue			wake
 *
 * In this order a buffer that is charged and not yet counted makes the
 * position smaller and never larger, so that nothing that leaves is taken for
 * told.  Two threads that send messages from one socket can lose a count, if
 * the receivers differ or a filter drops: the next record then comes later by
 * that much, but no later than when the queue runs empty.
 *
 * Who finds the queue of a datagram peer full, by a write or by a poll that
 * asks for EPOLLOUT, is woken by the next read there (peer_wake).  All who wait
 * are, and maybe others fill it again at once: then nothing has changed.  Else
 * EPOLLOUT is news if a sample has missed it; but a write may have been refused
 * between two samples that found it, and nothing of its own have left.  So
 * poll_room counts how often we waited and do no longer, as the peer was read
 * or purged, died or is another one now.  A sample that finds EPOLLOUT, and
 * another count than the last one of its registration did, is told.  The mask
 * decides: a look at the queue after ->poll found room, and armed nothing, may
 * find it full.
 *
 * Stock connect(2) wakes only the listener.  A socket that was registered before
 * is told by a wake-up with EPOLLSTATE as its only event, which nobody else sees.
 *
 * A peer that dies wakes us before its queue is purged.  From then on all is
 * taken to be gone, so that the purge is not told once more.
 *
 * Locks: the state lock of the socket itself, with that of its receive queue
 * inside; then, on its own, that of the peer's receive queue.  The peer of a
 * stream is stable while we have the file, that of a datagram socket is looked
 * at under our state lock.
 */
#include <linux/slab.h>
#include <net/af_unix.h>
#include <net/sock.h>
#include <net/tcp_states.h>
#include <net/unix_poll_state.h>

/* What unix_stream_sendmsg() puts into one buffer, if there is room for it. */
#define UNIX_CHUNK_MAX	(SKB_MAX_HEAD(0) + (PAGE_SIZE << get_order(32768)))
#define UNIX_OUT	(EPOLLOUT | EPOLLWRNORM | EPOLLWRBAND)

/* Memory of a buffer whose head is as small as heads get: all data in pages. */
static u32 unix_small_truesize __ro_after_init = SKB_TRUESIZE(PAGE_SIZE);

static int __init unix_poll_state_init(void)
{
	/* As sk_allocation: accounted heads have no cache of their own. */
	struct sk_buff *skb = alloc_skb(0, GFP_KERNEL_ACCOUNT);

	if (skb)
		unix_small_truesize = skb->truesize;
	kfree_skb(skb);
	return 0;
}
late_initcall(unix_poll_state_init);

/* Memory that a chunk of a stream takes; see alloc_skb_with_frags(). */
static u32 unix_chunk_cost(u32 size)
{
	const u32 self = SKB_DATA_ALIGN(sizeof(struct sk_buff));
	u32 paged = 0, head;

	if (size > SKB_MAX_HEAD(0))
		paged = min_t(u32, size, PAGE_ALIGN(size - SKB_MAX_HEAD(0)));
	head = SKB_HEAD_ALIGN(size - paged);
	if (head + self <= unix_small_truesize)
		head = unix_small_truesize;
	else
		head = kmalloc_size_roundup(head) + self;
	return head + PAGE_ALIGN(paged);
}

/* Bytes that one write to a stream takes; @free: memory, more than 0. */
static u32 unix_stream_room(u32 sndbuf, u32 free)
{
	u32 size = min_t(u32, (sndbuf >> 1) - 64, UNIX_CHUNK_MAX);
	u32 cost;

	/* The head of a full chunk is a page: this is what the function says. */
	if (size == UNIX_CHUNK_MAX)
		cost = SKB_TRUESIZE(UNIX_CHUNK_MAX);
	else
		cost = unix_chunk_cost(size);
	return DIV_ROUND_UP(free, cost) * size;
}

/* Bytes of a message that is surely taken; @free: memory, more than 0. */
static u32 unix_message_room(u32 sndbuf, u32 free)
{
	u32 largest = min_t(u32, sndbuf - 32,
			    SKB_WITH_OVERHEAD(KMALLOC_MAX_SIZE) +
			    MAX_SKB_FRAGS * PAGE_SIZE);

	return min(free, largest);
}

/* Memory charged; sock_wfree() keeps one unit of each buffer that it frees. */
static u32 unix_wmem(const struct sock *sk)
{
	u32 mem = sk_wmem_alloc_get(sk);

	return mem < SKB_TRUESIZE(0) ? 0 : mem;
}

/* Bytes that reads of a stream return.  State lock held. */
static u32 unix_stream_bytes(struct sock *sk)
{
	u32 bytes;

	if (skb_queue_empty_lockless(&sk->sk_receive_queue))
		return 0;
	bytes = unix_inq_len(sk);
#if IS_ENABLED(CONFIG_AF_UNIX_OOB)
	if (unlikely(READ_ONCE(unix_sk(sk)->oob_skb)) &&
	    !sock_flag(sk, SOCK_URGINLINE) && bytes)
		bytes--;
#endif
	return bytes;
}

/* What is there to be read, and how much came in so far. */
static void unix_sample_in(struct sock *sk, struct poll_state *ps)
{
	struct sk_buff_head *queue = &sk->sk_receive_queue;
	const struct sk_buff *skb;
	bool listening;

	ps->msgs = 0;
	unix_state_lock(sk);
	listening = sk->sk_state == TCP_LISTEN;
	ps->in_pos = unix_sk(sk)->poll_in;
	if (sk->sk_type == SOCK_STREAM && !listening) {
		ps->rcv = unix_stream_bytes(sk);
	} else {
		spin_lock(&queue->lock);
		skb = skb_peek(queue);
		ps->rcv = skb && !listening ? skb->len : 0;
		ps->msgs = skb_queue_len(queue);
		spin_unlock(&queue->lock);
	}
	unix_state_unlock(sk);
}

/*
 * True iff the queue of a datagram peer is full, and a wake-up will tell when it
 * is not, if that was asked for.
 */
static bool unix_dgram_peer_full(struct sock *sk, bool asked)
{
	const struct sock *peer;
	bool full, armed;

	unix_state_lock(sk);
	peer = unix_peer(sk);
	full = peer && READ_ONCE(unix_peer(peer)) != sk &&
	       !sock_flag(peer, SOCK_DEAD) &&
	       skb_queue_len_lockless(&peer->sk_receive_queue) >
	       READ_ONCE(peer->sk_max_ack_backlog);
	/* Disarmed without our lock, but then a wake-up follows. */
	armed = data_race(unix_sk(sk)->peer_wake.private) == peer;
	/*
	 * ->poll arms if it finds memory left, as unix_writable() has it.  If it
	 * did not, we are woken when there is some, and then it does.
	 */
	if (asked && !armed && refcount_read(&sk->sk_wmem_alloc) << 2 <=
			       READ_ONCE(sk->sk_sndbuf))
		full = false;
	unix_state_unlock(sk);
	return full;
}

/* What can be sent, what has not left, and how much has so far. */
static void unix_sample_out(struct sock *sk, struct poll_state *ps, bool full)
{
	u32 sndbuf = READ_ONCE(sk->sk_sndbuf);
	const int type = sk->sk_type;
	struct sock *peer = NULL;
	u32 mem;

	ps->snd = 0;
	ps->outq = 0;
	ps->out_pos = 0;
	/* One unit less: it may still be charged when the wake-up comes. */
	ps->out_step = (sndbuf >> 2) - 1;

	if (type != SOCK_DGRAM)
		peer = READ_ONCE(unix_peer(sk));
	if (type != SOCK_STREAM)
		ps->out_pos = READ_ONCE(unix_sk(sk)->poll_out);
	else if (peer)
		ps->out_pos = READ_ONCE(unix_sk(peer)->poll_in);
	smp_rmb();	/* see the banner: counters before the charge */
	mem = unix_wmem(sk);
	if (type == SOCK_DGRAM) {
		ps->outq = mem;
	} else if (!peer || sock_flag(peer, SOCK_DEAD)) {
		full = true;
		mem = 0;
	} else {
		full = ps->error;
		if (mem)
			ps->outq = unix_inq_len(peer);
	}
	ps->out_pos -= mem;
	/* That there is a peer, or was one, for whom asks for room alone. */
	if (type != SOCK_DGRAM)
		ps->out_pos += !!peer;

	if (full || mem >= sndbuf || READ_ONCE(sk->sk_shutdown) & SEND_SHUTDOWN)
		return;
	ps->snd = type == SOCK_STREAM ?
		  unix_stream_room(sndbuf, sndbuf - mem) :
		  unix_message_room(sndbuf, sndbuf - mem);
}

/**
 * unix_poll_state - ->poll of an AF_UNIX socket for an EPOLLSTATE registration
 * @file: the socket's file
 * @sock: the socket
 * @wait: a poll table that wants the state
 *
 * A socket in a sockmap does not report: what it reads and when it is woken is
 * up to a program.
 *
 * Context: process context under ep->mtx; does not sleep.  Takes the state
 * lock, and the locks of receive queues.
 * Return: what ->poll returns.
 */
__poll_t unix_poll_state(struct file *file, struct socket *sock,
			 poll_table *wait)
{
	struct poll_state *ps = poll_table_take_state(wait);
	struct sock *sk = sock->sk;
	bool asked, full = false;
	__poll_t mask;

	if (unlikely(READ_ONCE(sk->sk_prot)->sock_is_readable))
		return READ_ONCE(sock->ops)->poll(file, sock, wait);

	ps->kind = POLL_STATE_COUNTED;
	if (unlikely(!ps->told))
		return 0;

	mask = READ_ONCE(sock->ops)->poll(file, sock, wait);
	/* The queue after the end of file that the mask may tell of. */
	smp_rmb();
	ps->error = READ_ONCE(sk->sk_err);
	unix_sample_in(sk, ps);
	asked = poll_requested_events(wait) & UNIX_OUT;
	if (sk->sk_type == SOCK_DGRAM && !(mask & EPOLLOUT))
		full = unix_dgram_peer_full(sk, asked);
	unix_sample_out(sk, ps, full);

	/* It came in after the mask was computed. */
	if (ps->rcv || ps->msgs)
		mask |= EPOLLIN | EPOLLRDNORM;
	/* The peer takes no more, and no event says so; or some (again). */
	if (asked && (ps->told->snd ?
		      READ_ONCE(sk->sk_shutdown) & SEND_SHUTDOWN :
		      ps->snd && mask & EPOLLOUT))
		ps->kind = POLL_STATE_UNCOUNTED;
	if (sk->sk_type != SOCK_DGRAM)
		return mask;

	/* Fetched, it may come again: the same one, and with nothing moved. */
	if (ps->error)
		ps->kind = POLL_STATE_UNCOUNTED;
	/* The peer took no more, between two samples, and does again. */
	ps->seen = READ_ONCE(unix_sk(sk)->poll_room);
	if (asked && mask & EPOLLOUT && ps->seen != ps->told->seen)
		ps->kind = POLL_STATE_UNCOUNTED;
	ps->told->seen = ps->seen;
	return mask;
}
