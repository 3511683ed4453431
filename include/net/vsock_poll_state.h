/* SPDX-License-Identifier: GPL-2.0 */
/*
 * EPOLLSTATE for vsock: what vsock_poll() calls, and what the transports that
 * can report name.  The whole story is told in net/vmw_vsock/vsock_poll_state.c.
 */
#ifndef _NET_VSOCK_POLL_STATE_H
#define _NET_VSOCK_POLL_STATE_H

#include <linux/poll.h>

struct vsock_sock;

#ifdef CONFIG_EPOLLSTATE

void vsock_poll_state(struct vsock_sock *vsk, poll_table *wait);
void virtio_transport_poll_state(struct vsock_sock *vsk,
				 struct poll_state *ps);

/* In the struct vsock_transport of the virtio family. */
#define VIRTIO_POLL_STATE_OP	.poll_state = virtio_transport_poll_state,

#else

static inline void vsock_poll_state(struct vsock_sock *vsk, poll_table *wait)
{
}

#define VIRTIO_POLL_STATE_OP

#endif /* CONFIG_EPOLLSTATE */

#endif /* _NET_VSOCK_POLL_STATE_H */
