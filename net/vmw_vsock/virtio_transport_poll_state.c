// SPDX-License-Identifier: GPL-2.0
/*
 * What a vsock socket of the virtio family has queued, for EPOLLSTATE.  See
 * vsock_poll_state.c for the rest.
 *
 *	rcv	what a read returns: all bytes, or the next message.  One that
 *		has not come in whole does not count
 *	msgs	messages that have come in whole
 *	snd	the credit that the peer has given
 *	outq	bytes that were not yet handed to the peer, as SIOCOUTQ
 *
 * Receiving
 * ---------
 *
 * buf_used counts what is queued until the buffer that it came in is read to
 * the end, and fwd_cnt counts it from then on.  So their sum counts all that
 * came in, and a read leaves it as it is.
 *
 * Sending
 * -------
 *
 * A byte leaves twice: it is handed to the peer (tx_cnt - bytes_unsent counts
 * those), and some time later the peer says that it was read (peer_fwd_cnt),
 * which is when its room comes back.  Each is worth telling, so the position
 * is the sum of both.  The buffer of the peer is added, for it can be changed.
 *
 * The peer gives credit back when little is left of it, when its queue is
 * empty, and with everything it sends itself: so news of send space come as
 * the peer sends them, and with data in the other direction that can be as
 * often as EPOLLET would tell.  Nobody has to run out of credit for that:
 * virtio_transport_recv_pkt() wakes whenever there is any.  sock_wfree() wakes
 * as bytes are handed over, after bytes_unsent has moved.
 */
#include <linux/export.h>
#include <linux/poll.h>
#include <linux/virtio_vsock.h>
#include <net/af_vsock.h>

/* How long is the first message in the queue?  Under rx_lock. */
static u32 virtio_first_message(const struct virtio_vsock_sock *vvs)
{
	const struct virtio_vsock_hdr *hdr;
	struct sk_buff *skb;
	u32 len = 0;

	skb_queue_walk(&vvs->rx_queue, skb) {
		hdr = virtio_vsock_hdr(skb);
		len += le32_to_cpu(hdr->len);
		if (le32_to_cpu(hdr->flags) & VIRTIO_VSOCK_SEQ_EOM)
			break;
	}
	return len;
}

/**
 * virtio_transport_poll_state - report what is queued
 * @vsk: a socket of the virtio family
 * @ps: where to report
 *
 * Context: under ep->mtx and the socket lock; does not sleep.
 */
void virtio_transport_poll_state(struct vsock_sock *vsk, struct poll_state *ps)
{
	struct virtio_vsock_sock *vvs = vsk->trans;
	u32 room, used, sent;

	spin_lock_bh(&vvs->rx_lock);
	if (sk_vsock(vsk)->sk_type != SOCK_SEQPACKET) {
		ps->rcv = vvs->rx_bytes;
	} else if (vvs->msg_count) {
		ps->rcv = virtio_first_message(vvs);
		ps->msgs = vvs->msg_count;
	}
	ps->in_pos = vvs->buf_used + vvs->fwd_cnt;
	spin_unlock_bh(&vvs->rx_lock);

	spin_lock_bh(&vvs->tx_lock);
	room = min(vvs->peer_buf_alloc, vvs->buf_alloc);
	used = vvs->tx_cnt - vvs->peer_fwd_cnt;
	sent = vvs->tx_cnt - vvs->bytes_unsent;
	ps->snd = room > used ? room - used : 0;
	ps->outq = vvs->bytes_unsent;
	ps->out_pos = sent + vvs->peer_fwd_cnt + room;
	ps->out_step = room >> 2;
	spin_unlock_bh(&vvs->tx_lock);
}
EXPORT_SYMBOL_GPL(virtio_transport_poll_state);
