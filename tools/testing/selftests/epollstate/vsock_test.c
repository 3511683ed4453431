// SPDX-License-Identifier: GPL-2.0
/* vsock, on the loopback transport: streams and messages with credit. */

#define _GNU_SOURCE
#include <linux/vm_sockets.h>
#include <pthread.h>

#include "common.h"

#ifndef VMADDR_CID_LOCAL
#define VMADDR_CID_LOCAL	1
#endif

/* What a socket takes unless told otherwise. */
#define BUFFER	(256 * 1024)

FIXTURE(vsock)
{
	int ep;
	int lfd;
	int fd;
	int peer;
	struct epoll_state st;
};

FIXTURE_VARIANT(vsock)
{
	int type;
};

FIXTURE_VARIANT_ADD(vsock, stream)
{
	.type = SOCK_STREAM,
};

FIXTURE_VARIANT_ADD(vsock, seqpacket)
{
	.type = SOCK_SEQPACKET,
};

static int vsock_listen(int type, struct sockaddr_vm *addr)
{
	socklen_t len = sizeof(*addr);
	int fd = socket(AF_VSOCK, type | SOCK_CLOEXEC, 0);
	int err;

	if (fd < 0)
		return -errno;
	*addr = (struct sockaddr_vm){
		.svm_family = AF_VSOCK,
		.svm_cid = VMADDR_CID_LOCAL,
		.svm_port = VMADDR_PORT_ANY,
	};
	if (!bind(fd, (void *)addr, len) && !listen(fd, 8) &&
	    !getsockname(fd, (void *)addr, &len))
		return fd;
	err = -errno;
	close(fd);
	return err;
}

static int vsock_connect(int type, const struct sockaddr_vm *addr)
{
	int fd = socket(AF_VSOCK, type | SOCK_CLOEXEC, 0);
	int err;

	if (fd < 0)
		return -errno;
	if (!connect(fd, (const void *)addr, sizeof(*addr)))
		return fd;
	err = -errno;
	close(fd);
	return err;
}

FIXTURE_SETUP(vsock)
{
	struct sockaddr_vm addr;

	ES_REQUIRE_KERNEL();
	self->lfd = vsock_listen(variant->type, &addr);
	if (es_no_such_type(self->lfd))
		SKIP(return, "no vsock loopback here");
	ASSERT_LE(0, self->lfd);
	self->fd = vsock_connect(variant->type, &addr);
	if (es_no_such_type(self->fd))
		SKIP(return, "no vsock loopback here");
	ASSERT_LE(0, self->fd);
	self->peer = accept4(self->lfd, NULL, NULL, SOCK_CLOEXEC);
	ASSERT_LE(0, self->peer);
	es_nonblock(self->fd);
	es_nonblock(self->peer);
	self->ep = epoll_create1(EPOLL_CLOEXEC);
	ASSERT_LE(0, self->ep);
}

FIXTURE_TEARDOWN(vsock)
{
	close(self->ep);
	close(self->fd);
	close(self->peer);
	close(self->lfd);
}

/* In a test: watch self->fd, take the baseline record. */
#define WATCH(events)							\
do {									\
	ASSERT_EQ(0, es_add(self->ep, self->fd, (events) | EPOLLSTATE));\
	ASSERT_EQ(4, es_wait(self->ep, &self->st, 0));			\
} while (0)

/* Take records until one says so. */
#define NEXT_UNTIL(cond)						\
do {									\
	int __n;							\
									\
	do {								\
		__n = es_next(self->ep, &self->st);			\
		ASSERT_EQ(4, __n);					\
		ASSERT_TRUE(self->st.events & EPOLLSTATE);		\
	} while (!(cond));						\
} while (0)

/* Bytes that a sample says can be read, or sent. */
static uint32_t rcv_of(int fd)
{
	struct epoll_state st = {};
	int ep = epoll_create1(EPOLL_CLOEXEC);

	es_add(ep, fd, EPOLLIN | EPOLLSTATE);
	es_wait(ep, &st, 0);
	close(ep);
	return st.rcv;
}

/* The loopback's worker has done all there was: both queues are as they stay. */
static bool sent(int fd)
{
	return es_siocoutq(fd) == 0;
}

TEST_F(vsock, the_baseline_has_all_the_room_of_the_buffer)
{
	WATCH(ES_IO);
	EXPECT_EQ(EPOLLSTATE | EPOLLOUT, self->st.events);
	EXPECT_EQ(0, self->st.rcv);
	EXPECT_EQ(BUFFER, self->st.snd);
	EXPECT_EQ(0, self->st.outq);
	EXPECT_EQ(0, self->st.msgs);
	EXPECT_EQ(0, self->st.error);
	EXPECT_EQ(0, es_pending(self->ep));
}

TEST_F(vsock, what_arrives_is_told_and_one_read_returns_it)
{
	const uint32_t msgs = variant->type == SOCK_SEQPACKET;
	int i;

	WATCH(EPOLLIN);
	for (i = 1; i <= 5; i++) {
		ASSERT_EQ(1000 * i, es_write(self->peer, 1000 * i));
		ASSERT_EQ(4, es_next(self->ep, &self->st));
		EXPECT_EQ(EPOLLSTATE | EPOLLIN, self->st.events);
		EXPECT_EQ(1000 * i, self->st.rcv);
		EXPECT_EQ(msgs, self->st.msgs);
		EXPECT_EQ(i, self->st.seq);
		EXPECT_EQ(1000 * i, es_read(self->fd, self->st.rcv));
		EXPECT_EQ(-EAGAIN, es_read(self->fd, 1));
		ASSERT_TRUE(es_until(sent(self->fd)));
		EXPECT_EQ(0, es_pending(self->ep));
	}
}

TEST_F(vsock, the_same_level_again_is_a_new_record)
{
	int i;

	WATCH(EPOLLIN);
	for (i = 1; i <= 3; i++) {
		ASSERT_EQ(100, es_write(self->peer, 100));
		ASSERT_TRUE(es_until(rcv_of(self->fd) == 100));
		ASSERT_EQ(4, es_wait(self->ep, &self->st, 0));
		EXPECT_EQ(i, self->st.seq);
		ASSERT_EQ(100, es_read(self->fd, 100));
	}
	/* Read already, and told all the same: it did come in. */
	ASSERT_EQ(100, es_write(self->peer, 100));
	ASSERT_TRUE(es_until(es_read(self->fd, 100) == 100));
	ASSERT_EQ(4, es_wait(self->ep, &self->st, 0));
	EXPECT_EQ(0, self->st.rcv);
}

TEST_F(vsock, own_reads_are_silent)
{
	int i;

	ASSERT_EQ(64, es_write(self->peer, 64));
	ASSERT_TRUE(es_until(rcv_of(self->fd) == 64));
	WATCH(EPOLLIN);
	EXPECT_EQ(64, self->st.rcv);
	if (variant->type == SOCK_STREAM) {
		for (i = 63; i >= 0; i--) {
			ASSERT_EQ(1, es_read(self->fd, 1));
			EXPECT_EQ(i, rcv_of(self->fd));
			EXPECT_EQ(0, es_pending(self->ep));
		}
	} else {
		ASSERT_EQ(64, es_read(self->fd, 64));
	}
	ASSERT_TRUE(es_until(sent(self->fd)));
	EXPECT_EQ(0, es_pending(self->ep));
}

TEST_F(vsock, messages_are_told_one_by_one_and_streams_as_bytes)
{
	const bool seq = variant->type == SOCK_SEQPACKET;
	const int len[] = { 10, 70000, 1, 3000 };
	int i, sum = 0;

	WATCH(EPOLLIN);
	for (i = 0; i < 4; i++) {
		ASSERT_EQ(len[i], es_write(self->peer, len[i]));
		sum += len[i];
	}
	ASSERT_TRUE(es_until(sent(self->peer)));
	NEXT_UNTIL(seq ? self->st.msgs == 4 : (int)self->st.rcv == sum);
	if (!seq) {
		EXPECT_EQ(0, self->st.msgs);
		EXPECT_EQ(sum, es_read(self->fd, self->st.rcv));
		return;
	}
	for (i = 0; i < 4; i++) {
		EXPECT_EQ(len[i], self->st.rcv);
		EXPECT_EQ(4 - i, self->st.msgs);
		EXPECT_EQ(len[i], es_read(self->fd, self->st.rcv));
		ASSERT_EQ(4, es_sample(self->ep, self->fd, EPOLLIN,
				       &self->st));
	}
	EXPECT_EQ(0, self->st.rcv);
	EXPECT_EQ(0, self->st.msgs);
}

TEST_F(vsock, one_write_of_snd_is_taken_whole_and_no_more)
{
	uint32_t snd;

	WATCH(EPOLLOUT);
	snd = self->st.snd;
	ASSERT_EQ(snd, es_write(self->fd, snd));
	EXPECT_EQ(-EAGAIN, es_write(self->fd, 1));
	ASSERT_EQ(4, es_sample(self->ep, self->fd, EPOLLOUT, &self->st));
	EXPECT_EQ(EPOLLSTATE, self->st.events);
	EXPECT_EQ(0, self->st.snd);
	/* And some of it, when the buffer is half full. */
	ASSERT_TRUE(es_until(rcv_of(self->peer) == snd));
	ASSERT_EQ(snd, es_read(self->peer, snd));
	NEXT_UNTIL(self->st.snd == snd);
	ASSERT_EQ(100000, es_write(self->fd, 100000));
	ASSERT_EQ(4, es_sample(self->ep, self->fd, EPOLLOUT, &self->st));
	EXPECT_EQ(snd - 100000, self->st.snd);
	EXPECT_EQ(self->st.snd, es_write(self->fd, self->st.snd));
	EXPECT_EQ(-EAGAIN, es_write(self->fd, 1));
}

TEST_F(vsock, a_write_is_silent_until_it_has_left)
{
	int i;

	WATCH(EPOLLOUT);
	for (i = 1; i <= 5; i++) {
		ASSERT_EQ(1000, es_write(self->fd, 1000));
		ASSERT_TRUE(es_until(rcv_of(self->peer) == 1000));
		ASSERT_EQ(4, es_next(self->ep, &self->st));
		EXPECT_EQ(0, self->st.outq);
		EXPECT_EQ(BUFFER - 1000, self->st.snd);
		EXPECT_EQ(0, es_pending(self->ep));
		/* The peer reads all of it, and its room comes back. */
		ASSERT_EQ(1000, es_read(self->peer, 1000));
		ASSERT_EQ(4, es_next(self->ep, &self->st));
		EXPECT_EQ(BUFFER, self->st.snd);
		EXPECT_EQ(0, es_pending(self->ep));
	}
}

TEST_F(vsock, without_epollout_space_is_not_told)
{
	WATCH(EPOLLIN);
	ASSERT_EQ(1000, es_write(self->fd, 1000));
	ASSERT_TRUE(es_until(rcv_of(self->peer) == 1000));
	ASSERT_EQ(1000, es_read(self->peer, 1000));
	ASSERT_TRUE(es_until(sent(self->peer)));
	EXPECT_EQ(0, es_pending(self->ep));
}

#define TOTAL	(20u << 20)

struct reader {
	int fd;
	size_t got;
};

static void *read_all(void *p)
{
	struct reader *r = p;
	struct pollfd pfd = { .fd = r->fd, .events = POLLIN };
	ssize_t n;

	while (r->got < TOTAL && poll(&pfd, 1, ES_DEADLINE_MS) == 1) {
		n = es_read(r->fd, 1 << 20);
		if (n <= 0 && n != -EAGAIN)
			break;
		if (n > 0)
			r->got += n;
	}
	return NULL;
}

TEST_F_TIMEOUT(vsock, a_sender_within_its_credit_never_stalls, ES_TIMEOUT)
{
	struct reader r = { .fd = self->peer };
	uint32_t left = TOTAL, records = 0, n;
	pthread_t thread;

	ASSERT_EQ(0, pthread_create(&thread, NULL, read_all, &r));
	WATCH(EPOLLOUT);
	while (left) {
		n = self->st.snd;
		if (n > left)
			n = left;
		if (n) {
			/* Not all of it: a full buffer would wake anyway. */
			n = n > 20000 ? 20000 : n;
			ASSERT_EQ(n, es_write(self->fd, n));
			self->st.snd -= n;
			left -= n;
			continue;
		}
		ASSERT_EQ(4, es_next(self->ep, &self->st));
		records++;
	}
	ASSERT_EQ(0, pthread_join(thread, NULL));
	EXPECT_EQ(TOTAL, r.got);
	TH_LOG("%u records for %u buffers", records, TOTAL / BUFFER);
}

TEST_F(vsock, end_of_file_is_told_once_with_all_that_is_left)
{
	WATCH(ES_IO);
	ASSERT_EQ(100, es_write(self->peer, 100));
	ASSERT_EQ(0, shutdown(self->peer, SHUT_WR));
	NEXT_UNTIL(self->st.events & EPOLLRDHUP);
	EXPECT_EQ(100, self->st.rcv);
	EXPECT_EQ(0, es_pending(self->ep));
	ASSERT_EQ(100, es_read(self->fd, 100));
	EXPECT_EQ(0, es_read(self->fd, 100));
	ASSERT_EQ(4, es_sample(self->ep, self->fd, ES_IO, &self->st));
	EXPECT_EQ(0, self->st.rcv);
	EXPECT_TRUE(self->st.events & EPOLLRDHUP);
	EXPECT_EQ(BUFFER, self->st.snd);
}

TEST_F(vsock, after_shutdown_nothing_can_be_sent_or_received)
{
	ASSERT_EQ(100, es_write(self->peer, 100));
	ASSERT_TRUE(es_until(rcv_of(self->fd) == 100));
	ASSERT_EQ(0, shutdown(self->fd, SHUT_WR));
	WATCH(ES_IO);
	EXPECT_EQ(0, self->st.snd);
	EXPECT_EQ(100, self->st.rcv);
	ASSERT_EQ(0, shutdown(self->fd, SHUT_RD));
	ASSERT_EQ(4, es_sample(self->ep, self->fd, ES_IO, &self->st));
	EXPECT_EQ(0, self->st.rcv);
}

TEST_F(vsock, a_peer_that_is_gone_takes_nothing)
{
	WATCH(ES_IO);
	close(self->peer);
	self->peer = -1;
	NEXT_UNTIL(self->st.events & EPOLLRDHUP && !self->st.snd);
	EXPECT_EQ(0, self->st.rcv);
}

/* No event says so and no byte moves, but what was told is not true now. */
TEST_F(vsock, a_peer_that_takes_no_more_leaves_no_room)
{
	WATCH(ES_IO);
	EXPECT_EQ(BUFFER, self->st.snd);
	ASSERT_EQ(0, shutdown(self->peer, SHUT_RD));
	NEXT_UNTIL(!self->st.snd);
	EXPECT_EQ(0, self->st.events & EPOLLRDHUP);
	EXPECT_EQ(0, es_pending(self->ep));
	EXPECT_EQ(-1, send(self->fd, "x", 1, MSG_NOSIGNAL));
	EXPECT_EQ(EPIPE, errno);
}

TEST_F(vsock, a_listening_socket_counts_what_can_be_accepted)
{
	struct sockaddr_vm addr;
	socklen_t len = sizeof(addr);
	int fd[3], i;

	ASSERT_EQ(0, getsockname(self->lfd, (void *)&addr, &len));
	ASSERT_EQ(0, es_add(self->ep, self->lfd, EPOLLIN | EPOLLSTATE));
	ASSERT_EQ(4, es_wait(self->ep, &self->st, 0));
	EXPECT_EQ(0, self->st.msgs);
	for (i = 0; i < 3; i++) {
		fd[i] = vsock_connect(variant->type, &addr);
		ASSERT_LE(0, fd[i]);
		ASSERT_EQ(4, es_next(self->ep, &self->st));
		EXPECT_EQ(i + 1, self->st.msgs);
		EXPECT_EQ(EPOLLSTATE | EPOLLIN, self->st.events);
		EXPECT_EQ(0, self->st.rcv + self->st.snd + self->st.outq);
	}
	for (i = 0; i < 3; i++) {
		ASSERT_LE(0, accept(self->lfd, NULL, NULL));
		close(fd[i]);
	}
	ASSERT_EQ(4, es_sample(self->ep, self->lfd, EPOLLIN, &self->st));
	EXPECT_EQ(0, self->st.msgs);
}

TEST_F(vsock, a_socket_may_be_watched_before_it_is_connected)
{
	struct sockaddr_vm addr;
	socklen_t len = sizeof(addr);
	int fd;

	ASSERT_EQ(0, getsockname(self->lfd, (void *)&addr, &len));
	fd = socket(AF_VSOCK, variant->type | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	ASSERT_LE(0, fd);
	ASSERT_EQ(0, es_add(self->ep, fd, ES_IO | EPOLLSTATE));
	ASSERT_EQ(4, es_wait(self->ep, &self->st, 0));
	EXPECT_EQ(0, self->st.snd);
	EXPECT_EQ(0, self->st.rcv);
	if (connect(fd, (void *)&addr, sizeof(addr)))
		ASSERT_EQ(EINPROGRESS, errno);
	NEXT_UNTIL(self->st.snd == BUFFER);
	EXPECT_TRUE(self->st.events & EPOLLOUT);
	close(fd);
}

TEST_F(vsock, a_larger_buffer_of_the_peer_is_told)
{
	const uint64_t size = BUFFER / 2;

	ASSERT_EQ(0, setsockopt(self->peer, AF_VSOCK, SO_VM_SOCKETS_BUFFER_SIZE,
				&size, sizeof(size)));
	WATCH(EPOLLOUT);
	if (self->st.snd != size)
		NEXT_UNTIL(self->st.snd == size);
	ASSERT_EQ(1000, es_write(self->fd, 1000));
	NEXT_UNTIL(!self->st.outq);
	ASSERT_EQ(0, setsockopt(self->peer, AF_VSOCK, SO_VM_SOCKETS_BUFFER_SIZE,
				&(uint64_t){ BUFFER }, sizeof(size)));
	NEXT_UNTIL(self->st.snd == BUFFER - 1000);
	EXPECT_EQ(self->st.snd, es_write(self->fd, self->st.snd));
}

TEST_HARNESS_MAIN
