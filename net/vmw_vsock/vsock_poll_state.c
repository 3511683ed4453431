// SPDX-License-Identifier: GPL-2.0
/*
 * What a vsock socket reports to an EPOLLSTATE registration.
 *
 * vsock_poll() takes the socket lock, for everyone: only under it does
 * vsk->transport stay what it is, and with it vsk->trans, which connect(2) to
 * another kind of address frees.  All is sampled there, before the lock is
 * given back, together with the mask; no lock is taken but those that do not
 * sleep.
 *
 * Only the transport knows positions.  One that has ->poll_state fills in what
 * is queued, and this file takes back what the state of the socket forbids.
 * The virtio family has it (virtio, vhost, loopback; see
 * virtio_transport_poll_state.c).  Hyper-V and VMCI count neither what came in
 * nor what left: their sockets do not report, nor do datagram sockets, which
 * only VMCI has.  A socket that has no transport yet (before connect(2), or
 * listening) reports, and if it then gets one that does not, it ceases to.
 *
 * No wake-up needs to be asked for: the transports wake for input, and for
 * send space, whenever there is some.
 */
#include <linux/poll.h>
#include <net/af_vsock.h>
#include <net/sock.h>

/* Take back what recvmsg() and sendmsg() would not do in this state. */
static void vsock_poll_limit(struct vsock_sock *vsk, struct poll_state *ps)
{
	struct sock *sk = sk_vsock(vsk);
	bool up = sk->sk_state == TCP_ESTABLISHED;

	/* An error costs a message, but no byte of a stream. */
	if (!up || sk->sk_shutdown & RCV_SHUTDOWN ||
	    (ps->error && sk->sk_type == SOCK_SEQPACKET)) {
		ps->rcv = 0;
		ps->msgs = 0;
	}
	if (!up || sk->sk_shutdown & SEND_SHUTDOWN || ps->error ||
	    READ_ONCE(vsk->peer_shutdown) & RCV_SHUTDOWN)
		ps->snd = 0;
}

/**
 * vsock_poll_state - report the state of a connection-oriented vsock socket
 * @vsk: the socket
 * @wait: a poll table that wants the state
 *
 * Context: within vsock_poll(), under ep->mtx and the socket lock; does not
 * sleep.
 */
void vsock_poll_state(struct vsock_sock *vsk, poll_table *wait)
{
	const struct vsock_transport *transport = vsk->transport;
	struct poll_state *ps = poll_table_take_state(wait);
	struct sock *sk = sk_vsock(vsk);

	/* What a sockmap program passes on is not what is in the queue. */
	if ((transport && !transport->poll_state) ||
	    READ_ONCE(sk->sk_prot)->sock_is_readable)
		return;

	ps->kind = POLL_STATE_COUNTED;
	if (!ps->told)
		return;

	ps->rcv = 0;
	ps->snd = 0;
	ps->outq = 0;
	ps->msgs = 0;
	ps->error = READ_ONCE(sk->sk_err);
	ps->in_pos = 0;
	ps->out_pos = 0;
	ps->out_step = 0;

	/* Fetched, it may come again: the next connect(2) times out as well. */
	if (ps->error && sk->sk_state == TCP_CLOSE)
		ps->kind = POLL_STATE_UNCOUNTED;
	if (sk->sk_state == TCP_LISTEN) {
		if (!list_empty(&vsk->accept_queue))
			ps->msgs = READ_ONCE(sk->sk_ack_backlog);
		ps->kind = POLL_STATE_UNCOUNTED;
	} else if (transport) {
		transport->poll_state(vsk, ps);
		vsock_poll_limit(vsk, ps);
		/* The peer takes no more; nothing moves, and no event says so. */
		if (READ_ONCE(vsk->peer_shutdown) & RCV_SHUTDOWN &&
		    ps->told->snd && poll_requested_events(wait) &
		    (EPOLLOUT | EPOLLWRNORM | EPOLLWRBAND))
			ps->kind = POLL_STATE_UNCOUNTED;
	}
}
