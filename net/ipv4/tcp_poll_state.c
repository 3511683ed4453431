// SPDX-License-Identifier: GPL-2.0
/*
 * What a TCP socket reports to an EPOLLSTATE registration.
 *
 * Receiving
 * ---------
 *
 * rcv is what SIOCINQ says, but for data that came with a SYN (where that says
 * 0, as SIOCOUTQ does of the answer) and for urgent data: a read stops at the
 * mark, and so does SIOCINQ.  What lies behind counts here, as no further
 * record would tell of it, and as 0 with EPOLLRDHUP is the end of file.  There
 * the promise is per byte, not per read.  The urgent byte itself, unless it is
 * inline, is no byte that a read returns.
 *
 * It is sampled without the socket lock.  Two things could go wrong with a
 * FIN, which takes a sequence number and so counts in rcv_nxt:
 *
 *  - a record with EPOLLRDHUP must have the last byte in its rcv, or the
 *    application takes end of file for earlier than it is: rcv is read after
 *    the mask was computed;
 *  - rcv_nxt moves before SOCK_DONE says that it holds a FIN: if the socket is
 *    being processed by another CPU at that moment (its spinlock is taken),
 *    or was since, everything is sampled once more under the spinlock.
 *
 * So it is if there are bytes and the mask lacks EPOLLIN: they came in between
 * (or are below SO_RCVLOWAT), and would be told again with the event.
 *
 * What a thread that holds the socket lock processes on its way out (the
 * backlog) is not seen by that.  Then somebody else is using the socket, which
 * the promise excepts, and the wake-up that follows brings the right counts.
 *
 * Sending
 * -------
 *
 * tcp_sendmsg() looks at its memory once per segment that it starts, and then
 * fills the segment up to the size goal.  So snd is the number of segments
 * that would still be started times the size goal, with the rest of a segment
 * that is already begun (which takes a look at the write queue, under the
 * socket's spinlock).  The goal can change before the application writes
 * (a larger window, SACK blocks), and many writes cost more overhead than one.
 * So the sampled promise is kept in tp->poll_promise, as the sequence number
 * up to which bytes were promised, and tcp_sendmsg() starts a segment below it
 * even if the buffer is full by then.  Memory for that is bounded, see
 * tcp_poll_state_promised().
 *
 * Send space coming back
 * ----------------------
 *
 * Stock TCP tells of send space only after a write or a poll found none
 * (SOCK_NOSPACE).  One who writes no more than was promised never gets there.
 * SOCK_POLL_STATE in the socket's flags asks tcp_check_space() to look when
 * ACKs come in.  tp->poll_base says where counting starts (the position that
 * was told to whoever waits longest), tp->poll_step how far a step is.
 *
 *	position	tp->snd_una; with TCP_NOTSENT_LOWAT below the send
 *			buffer, where bytes leave twice, halfway between that and
 *			snd_nxt.  What is in flight is the most that the two
 *			differ by, when auto-tuning makes one of the other
 *	step		a quarter of the send buffer, or an eighth of the
 *			low-water mark, as it was when the base was told
 *	due		a step away from the base, and writable as EPOLLOUT has
 *			it; or moved at all, and the queue has run empty
 *
 * Who clears the flag wakes all EPOLLSTATE registrations of the socket, each
 * of which samples again and so sets it.  The wake-up carries EPOLLSTATE as
 * its only event, so that no other poller sees it.
 *
 *	sampling (ep->mtx)			ACK (socket lock)
 *	------------------			-----------------
 *	poll_base = what was told		snd_una = ...
 *	set SOCK_POLL_STATE			smp_mb() [tcp_check_space]
 *	smp_mb() [tcp_poll_state_arm]		if SOCK_POLL_STATE and due
 *	sample snd_una, wmem_queued		  clear it, wake
 *
 * Either the ACK sees the flag, or the sample sees what the ACK moved.  Never
 * arm after sampling: an ACK in between would be lost.
 *
 * A request that is answered acknowledges the answer before: an ACK with data
 * wakes for the data anyway, and that record takes the send space along.  So
 * tp->poll_seen is the rcv_nxt that a registration saw when it last looked.  If
 * rcv_nxt is further on, a wake-up for input has been sent since, or will be
 * before the segment is done with, and nobody is woken for space: each
 * registration will look again, and what it samples has this ACK in it.  That
 * takes four things:
 *
 *  - all of them asked for input; if one did not, tp->poll_each is set, for
 *    good;
 *  - each byte wakes: SO_RCVLOWAT is 1;
 *  - what came is unread.  A byte that came below an earlier SO_RCVLOWAT woke
 *    nobody, and if it was read before the mark was lowered, never will;
 *  - nobody diverts the wake-ups for input.
 *
 * Input that came while they were diverted, or was put there by TCP_REPAIR,
 * woke nobody either: space waits for it to be read, or for more of it.
 *
 *	looking (ep->mtx)			ACK (socket lock)
 *	-----------------			-----------------
 *	take item off the list			rcv_nxt = ...
 *	poll_seen = rcv_nxt			snd_una = ...
 *	  [tcp_poll_state_look, cmpxchg]	smp_mb() [tcp_check_space]
 *	smp_mb() [tcp_poll_state_arm]		if rcv_nxt == poll_seen, as above
 *	sample snd_una				wake for input
 *
 * rcv_nxt that moves after it was read wakes after the item was taken off.  If
 * poll_seen were stored without a look at what another epoll has put there in
 * the meantime, it could go back, and the ACK leave that epoll asleep.  What
 * another epoll has stored (poll_seen, poll_each, the flag) is found done, and
 * needs the barrier all the same: it is the sample here that comes after it.
 *
 * Auto-tuning grows the buffer when an ACK finds it less than a third free, as
 * it does for a sender that found no space.
 *
 * Two epolls that arm at the same time may leave the later of their two bases;
 * the one that loses is told up to a step late, or when the queue runs empty.
 *
 * A write that was refused takes the promise back (poll_promise is 0) and is
 * counted in tp->poll_refused.  Each registration that waits for send space
 * remembers the count that it saw (seen); another one is news, as nothing may
 * have left in between.
 *
 *	sampling (ep->mtx)			write (socket lock)
 *	------------------			-------------------
 *	seen = poll_refused			find no room
 *	smp_mb() [tcp_poll_state_arm]		poll_refused++ (release)
 *	mask, sample				return -EAGAIN
 *
 * Room that comes back wakes.  The sample that follows finds another count, or
 * one since the refusal has told of it: with the room in it; or without, and
 * without EPOLLOUT, whose return is news; or, if it was memory that lacked and
 * not room, with EPOLLOUT, so that a write is tried that is counted again.  A
 * sample that read the count before the refusal, and has the room in it all the
 * same, is told once more.
 */
#include <linux/tcp.h>
#include <net/inet_connection_sock.h>
#include <net/sock.h>
#include <net/tcp.h>
#include <net/tcp_poll_state.h>

/*
 * What bounds the bytes to be sent that may be queued: the buffer, or the
 * low-water mark of those not sent yet, if that is less.
 */
struct tcp_out {
	u32 sndbuf;
	u32 lowat;
};

static inline struct tcp_out tcp_out_bounds(const struct sock *sk)
{
	return (struct tcp_out) {
		.sndbuf = READ_ONCE(sk->sk_sndbuf),
		.lowat = tcp_notsent_lowat(tcp_sk(sk)),
	};
}

/* How far has data left?  Only differences matter. */
static inline u32 tcp_out_pos(const struct tcp_sock *tp, struct tcp_out out,
			      u32 una)
{
	if (unlikely(out.lowat < out.sndbuf))
		una += (int)(READ_ONCE(tp->snd_nxt) - una) / 2;
	return una;
}

/*
 * How far does tcp_out_pos() have to move to be worth telling?  The buffer is
 * counted in memory and the position in payload: where what is queued costs
 * more than twice its payload (many small segments), the step is smaller.
 */
static inline u32 tcp_out_step(struct tcp_out out, u32 queued, int mem)
{
	u32 step = unlikely(out.lowat < out.sndbuf) ? out.lowat >> 3 :
						      out.sndbuf >> 2;

	if (unlikely(queued && queued < (u32)mem / 2))
		step = div_u64((u64)step * queued, mem);
	return step;
}

/*
 * True iff space came back since @base that is worth telling: a step away, as
 * steps were when @base was told.  (Auto-tuning may have made them larger.)
 * Context: any; exact under the socket lock.
 */
static bool tcp_space_is_news(const struct sock *sk, u32 base, u32 step)
{
	const struct tcp_sock *tp = tcp_sk(sk);
	struct tcp_out out = tcp_out_bounds(sk);
	u32 una = READ_ONCE(tp->snd_una);
	u32 moved = tcp_out_pos(tp, out, una) - base;
	u32 queued = READ_ONCE(tp->write_seq) - una;

	if (!moved)
		return false;
	if (!queued)
		return true;
	step = min(step, tcp_out_step(out, queued,
				      READ_ONCE(sk->sk_wmem_queued)));
	return moved >= step && __sk_stream_is_writeable(sk, 1);
}

/**
 * __tcp_poll_state_due - is an EPOLLSTATE registration to be woken for space?
 * @sk: a socket with SOCK_POLL_STATE set
 *
 * Context: socket lock held; softirq or process.
 * Return: true if so; SOCK_POLL_STATE is then cleared, and the caller has to
 * call sock_poll_state_wake().
 */
bool __tcp_poll_state_due(struct sock *sk)
{
	const struct tcp_sock *tp = tcp_sk(sk);

	if (!tcp_space_is_news(sk, READ_ONCE(tp->poll_base),
			       READ_ONCE(tp->poll_step)))
		return false;

	clear_bit(SOCK_POLL_STATE, &sk->sk_socket->flags);
	return true;
}

/*
 * No promise is larger: the buffer is never overdrawn by more than a segment.
 * What seems to be further ahead was promised long ago, or never.
 */
static inline u32 tcp_promise_max(u32 sndbuf)
{
	return sndbuf + 2 * GSO_LEGACY_MAX_SIZE;
}

/**
 * tcp_poll_state_promised - may a segment be started on a full send buffer?
 * @sk: a socket with no send space left
 *
 * The promise is payload, and small segments cost many times their payload: no
 * more than once again the send buffer, or two of the largest segments, is used
 * for it.
 *
 * Context: socket lock held.
 * Return: true while the next byte to be queued was promised by a record.
 */
bool tcp_poll_state_promised(const struct sock *sk)
{
	const struct tcp_sock *tp = tcp_sk(sk);
	u32 promise = READ_ONCE(tp->poll_promise);
	u32 left = promise - tp->write_seq;

	return promise && left && left <= tcp_promise_max(sk->sk_sndbuf) &&
	       -sk_stream_wspace(sk) < max_t(int, sk->sk_sndbuf,
					     2 * GSO_LEGACY_MAX_SIZE);
}

/*
 * Input up to rcv_nxt needs no further wake-up; see "Send space coming back".
 * The caller has the barrier that comes before the sample.
 */
static inline void tcp_poll_state_look(struct tcp_sock *tp, __poll_t requested)
{
	u32 seen = READ_ONCE(tp->poll_seen), now;

	do {
		/* What others saw, then what there is: it never goes back. */
		smp_rmb();
		now = READ_ONCE(tp->rcv_nxt);
	} while (seen != now && !try_cmpxchg(&tp->poll_seen, &seen, now));

	if (unlikely(!(requested & (EPOLLIN | EPOLLRDNORM))) &&
	    !READ_ONCE(tp->poll_each))
		WRITE_ONCE(tp->poll_each, true);
}

/*
 * Ask tcp_check_space() to wake for send space, counting from what was told.
 * What the caller samples afterwards is safe against an ACK in between.
 */
static void tcp_poll_state_arm(struct sock *sk, const struct poll_state *told,
			       __poll_t requested)
{
	unsigned long *flags = &sk->sk_socket->flags;
	struct tcp_sock *tp = tcp_sk(sk);
	u32 base = told->out_pos, step = told->out_step;

	tcp_poll_state_look(tp, requested);
	if (likely(test_bit(SOCK_POLL_STATE, flags))) {
		if (unlikely(before(base, READ_ONCE(tp->poll_base))) &&
		    told->kind != POLL_STATE_NONE) {
			WRITE_ONCE(tp->poll_base, base);
			WRITE_ONCE(tp->poll_step, step);
		}
	} else {
		/* About to be told: count from here. */
		if (told->kind == POLL_STATE_NONE ||
		    tcp_space_is_news(sk, base, step)) {
			struct tcp_out out = tcp_out_bounds(sk);

			base = tcp_out_pos(tp, out, READ_ONCE(tp->snd_una));
			step = tcp_out_step(out, 0, 0);
		}
		WRITE_ONCE(tp->poll_base, base);
		WRITE_ONCE(tp->poll_step, step);
		/* Base and step before the flag that makes them count. */
		smp_mb__before_atomic();
		set_bit(SOCK_POLL_STATE, flags);
	}
	/*
	 * Pairs with the barrier in tcp_check_space(); also where all of it had
	 * been stored already, by another epoll.
	 */
	smp_mb();
}

/* Bytes that reads return before they say EAGAIN; @end is rcv_nxt.  No lock. */
static u32 tcp_rcv_bytes(const struct sock *sk, u32 end)
{
	const struct tcp_sock *tp = tcp_sk(sk);
	u32 copied = READ_ONCE(tp->copied_seq);
	u32 bytes;

	/* A FIN is no byte. */
	if (end != copied && sock_flag(sk, SOCK_DONE))
		end--;
	bytes = end - copied;
	/* Nor is the one at the urgent mark, if that is among them. */
	if (unlikely(READ_ONCE(tp->urg_data)) &&
	    !sock_flag(sk, SOCK_URGINLINE) &&
	    READ_ONCE(tp->urg_seq) - copied < bytes)
		bytes--;
	return (int)bytes > 0 ? bytes : 0;
}

/*
 * What tcp_xmit_size_goal() will say, without the lock.  BIG TCP goals are
 * not promised: the overdraft for them would be too large.
 */
static u32 tcp_size_goal(struct sock *sk)
{
	struct tcp_sock *tp = tcp_sk(sk);
	u32 most = min_t(u32, READ_ONCE(sk->sk_gso_max_size),
			 GSO_LEGACY_MAX_SIZE);
	u32 mss = READ_ONCE(tp->mss_cache);
	/* tp->max_window, which only grows. */
	u32 goal = data_race(tcp_bound_to_half_wnd(tp, most));
	u32 segs = READ_ONCE(tp->gso_segs);

	if (unlikely(segs * mss > goal || goal - segs * mss >= mss))
		segs = min_t(u32, goal / mss, READ_ONCE(sk->sk_gso_max_segs));
	return max(segs * mss, mss);
}

/* What a segment takes besides its payload, see tcp_stream_alloc_skb(). */
#define TCP_SEGMENT_OVERHEAD	SKB_TRUESIZE(MAX_TCP_HEADER + 2 * L1_CACHE_BYTES)

/* Room in the last segment that was not sent yet.  Socket spinlock held. */
static u32 __tcp_tail_room(struct sock *sk, u32 goal, u32 unsent)
{
	const struct sk_buff *tail = tcp_write_queue_tail(sk);

	/* The queue belongs to another thread: as if its segments were full. */
	if (sock_owned_by_user(sk))
		return unsent % goal ? goal - unsent % goal : 0;
	if (!tail || tail->len >= goal || !tcp_skb_can_collapse_to(tail))
		return 0;
	return goal - tail->len;
}

static noinline u32 tcp_tail_room(struct sock *sk, u32 goal, u32 unsent,
				  bool locked)
{
	u32 room;

	if (locked)
		return __tcp_tail_room(sk, goal, unsent);
	spin_lock_bh(&sk->sk_lock.slock);
	room = __tcp_tail_room(sk, goal, unsent);
	spin_unlock_bh(&sk->sk_lock.slock);
	return room;
}

/*
 * Bytes that one write takes; @end is write_seq, @mem the memory queued.
 * @locked: the socket spinlock is held.
 */
static inline u32 tcp_snd_bytes(struct sock *sk, struct tcp_out out, u32 end,
				int mem, bool locked)
{
	u32 unsent = end - READ_ONCE(tcp_sk(sk)->snd_nxt);
	int free = out.sndbuf - mem;
	u32 goal, cost, snd = 0;

	if (free <= 0 || (int)unsent < 0)
		return 0;

	/* The last segment, if it was not sent, is filled up first. */
	goal = tcp_size_goal(sk);
	if (unsent) {
		snd = tcp_tail_room(sk, goal, unsent, locked);
		free -= snd;
	}
	cost = goal + TCP_SEGMENT_OVERHEAD;
	if (free > (int)cost)
		snd += DIV_ROUND_UP(free, cost) * goal;
	else if (free > 0)
		snd += goal;

	if (unlikely(out.lowat < out.sndbuf))
		snd = unsent < out.lowat ? min(snd, out.lowat - unsent) : 0;
	return snd;
}

/* The states in which tcp_sample() finds nothing out of the ordinary. */
#define TCPF_STREAMING	(TCPF_ESTABLISHED | TCPF_CLOSE_WAIT)
#define TCPF_OPENING	(TCPF_SYN_SENT | TCPF_SYN_RECV)

/*
 * True iff what came with a SYN (TCP Fast Open) can be read, and answered,
 * before the handshake is over.
 */
static inline bool tcp_is_early(const struct sock *sk, int state)
{
	return state == TCP_SYN_RECV &&
	       rcu_access_pointer(tcp_sk(sk)->fastopen_rsk);
}

/*
 * Room in a SYN that is not sent yet (TCP Fast Open), if it is as large as
 * those that everybody has to take.  The segments of an earlier connection say
 * nothing about it.
 */
static u32 tcp_syn_bytes(const struct sock *sk)
{
	int mss = tcp_mss_clamp(tcp_sk(sk), TCP_MSS_DEFAULT);

	mss -= READ_ONCE(inet_csk(sk)->icsk_ext_hdr_len);
	return max(0, mss - MAX_TCP_OPTION_SPACE);
}

/*
 * Promise @snd bytes from @end on, unless more is promised already.  @promise is
 * what was promised when snd was sampled.  0 stands for no promise at all: one
 * that was taken back since stays so.
 */
static inline void tcp_promise(struct tcp_sock *tp, struct tcp_out out,
			       u32 promise, u32 end, u32 snd)
{
	u32 left;

	do {
		left = promise - end;
		if (promise && (left == snd ||
				(left > snd &&
				 left <= tcp_promise_max(out.sndbuf))))
			return;
	} while (!try_cmpxchg(&tp->poll_promise, &promise, end + snd ?: 1) &&
		 promise);
}

/*
 * Sample what @mask does not say.  @locked: the socket spinlock is held.
 * Returns the memory queued, as it was seen; -1 to be asked again with the lock.
 */
static int tcp_sample(struct sock *sk, __poll_t mask, struct poll_state *ps,
		      bool locked)
{
	int mem = READ_ONCE(sk->sk_wmem_queued);
	struct tcp_out out = tcp_out_bounds(sk);
	int state = inet_sk_state_load(sk);
	struct tcp_sock *tp = tcp_sk(sk);
	u32 una = READ_ONCE(tp->snd_una);
	u32 end = READ_ONCE(tp->write_seq);
	u32 rcv_nxt = READ_ONCE(tp->rcv_nxt);
	u32 promise;

	ps->kind = POLL_STATE_COUNTED;
	ps->rcv = tcp_rcv_bytes(sk, rcv_nxt);
	ps->snd = 0;
	ps->outq = end - una;
	ps->msgs = 0;
	ps->error = READ_ONCE(sk->sk_err);
	ps->in_pos = rcv_nxt;
	ps->out_pos = tcp_out_pos(tp, out, una);
	ps->out_step = tcp_out_step(out, end - una, mem);

	if (likely((1 << state) & TCPF_STREAMING) || tcp_is_early(sk, state)) {
		if (READ_ONCE(sk->sk_shutdown) & SEND_SHUTDOWN)
			goto out;
		/* A write was refused: whoever it was may wait for this. */
		if (unlikely(ps->seen != ps->told->seen))
			ps->kind = POLL_STATE_UNCOUNTED;
		promise = READ_ONCE(tp->poll_promise);
		ps->snd = tcp_snd_bytes(sk, out, end, mem, locked);
		tcp_promise(tp, out, promise, end, ps->snd);
	} else if ((1 << state) & TCPF_OPENING) {
		ps->rcv = 0;
		ps->outq = 0;
		if (state == TCP_SYN_SENT && inet_test_bit(DEFER_CONNECT, sk))
			ps->snd = tcp_syn_bytes(sk);
		/* tcp_is_early() may be over, and the state not have moved yet. */
		mem = -1;
	} else if (state == TCP_LISTEN) {
		ps->rcv = 0;
		ps->outq = 0;
		ps->msgs = READ_ONCE(sk->sk_ack_backlog);
		ps->kind = POLL_STATE_UNCOUNTED;
	} else if (state == TCP_CLOSE) {
		/*
		 * Another connect(2) may fail as the last one did.  write_seq
		 * is another one then: the SYN and tcp_disconnect() add to it.
		 */
		ps->out_pos = end;
		if (ps->error && end != ps->told->out_pos)
			ps->kind = POLL_STATE_UNCOUNTED;
	}
out:
	/*
	 * One that does not end the connection (IP_RECVERR) may be fetched and
	 * come again, with nothing moved; and so may what comes into the error
	 * queue beside any.
	 */
	if (unlikely(ps->error) &&
	    (state != TCP_CLOSE ||
	     !skb_queue_empty_lockless(&sk->sk_error_queue)))
		ps->kind = POLL_STATE_UNCOUNTED;
	/*
	 * A reader who is short of memory is woken without a new byte, just to
	 * make it drain: that is to be told as well.
	 */
	if (rcv_nxt == ps->told->in_pos && ps->rcv &&
	    !(mask & EPOLLRDHUP) && tcp_rmem_pressure(sk))
		ps->kind = POLL_STATE_UNCOUNTED;
	return mem;
}

/*
 * True iff @sk moved on since it was sampled, or is being processed now; then
 * what was sampled may not fit together.  Whoever is seen to be done with the
 * lock has made all its changes visible.
 */
static bool tcp_sample_is_torn(struct sock *sk, __poll_t mask, int mem,
			       const struct poll_state *ps)
{
	/* It came in after the mask was computed (or is below SO_RCVLOWAT). */
	if (unlikely(ps->rcv && !(mask & EPOLLIN)))
		return true;
	/* What was sampled, then the lock ... */
	smp_rmb();
	if (spin_is_locked(&sk->sk_lock.slock))
		return true;
	/* ... and then what its last holder made of it. */
	smp_rmb();
	return READ_ONCE(tcp_sk(sk)->rcv_nxt) != ps->in_pos ||
	       READ_ONCE(sk->sk_wmem_queued) != mem ||
	       (!(mask & EPOLLRDHUP) &&
		READ_ONCE(sk->sk_shutdown) & RCV_SHUTDOWN);
}

/*
 * True iff what the TCP socket queues is not what the application gets, or
 * its wake-ups go elsewhere: an upper layer protocol (TLS), a sockmap program
 * or SMC sits in between.
 */
static bool tcp_is_carrier(const struct sock *sk)
{
	return READ_ONCE(inet_csk(sk)->icsk_ulp_ops) ||
	       READ_ONCE(sk->sk_prot)->sock_is_readable ||
	       READ_ONCE(sk->sk_write_space) != sk_stream_write_space;
}

/**
 * tcp_poll_state - tcp_poll() for an EPOLLSTATE registration
 * @file: the socket's file
 * @sock: the socket
 * @wait: a poll table that wants the state
 *
 * Context: process context under ep->mtx; does not sleep.
 * Return: what tcp_poll() returns.
 */
__poll_t tcp_poll_state(struct file *file, struct socket *sock,
			poll_table *wait)
{
	struct poll_state *ps = poll_table_take_state(wait);
	struct sock *sk = sock->sk;
	__poll_t mask;
	int mem;

	if (unlikely(tcp_is_carrier(sk)))
		return tcp_poll(file, sock, wait);
	if (unlikely(!ps->told)) {
		ps->kind = POLL_STATE_COUNTED;
		return 0;
	}

	ps->seen = ps->told->seen;
	if (poll_requested_events(wait) &
	    (EPOLLOUT | EPOLLWRNORM | EPOLLWRBAND)) {
		/* Before the mask and all that is sampled. */
		ps->seen = READ_ONCE(tcp_sk(sk)->poll_refused);
		tcp_poll_state_arm(sk, ps->told, poll_requested_events(wait));
	}

	mask = tcp_poll(file, sock, wait);
	/* Counters after the end of file that the mask may tell of. */
	smp_rmb();
	mem = tcp_sample(sk, mask, ps, false);

	/* See "Receiving" in the banner. */
	if (unlikely(tcp_sample_is_torn(sk, mask, mem, ps))) {
		spin_lock_bh(&sk->sk_lock.slock);
		mask = tcp_poll(file, sock, wait);
		tcp_sample(sk, mask, ps, true);
		spin_unlock_bh(&sk->sk_lock.slock);
	}
	return mask;
}
