// SPDX-License-Identifier: GPL-2.0
/*
 * What is particular to AF_UNIX: streams, seqpackets, datagrams, listening.
 * Everything here is synchronous: what was done is there to be seen.
 */

#include <linux/filter.h>
#include <signal.h>
#include <stddef.h>
#include <sys/mman.h>
#include <sys/sendfile.h>
#include <sys/un.h>

#include "common.h"

#define KB	(1 << 10)
#define MB	(1 << 20)
#define OUT_STATE	(EPOLLOUT | EPOLLSTATE)

/* A name of its own in the abstract namespace; returns its length. */
static socklen_t es_un_name(struct sockaddr_un *sun)
{
	static int nr;

	memset(sun, 0, sizeof(*sun));
	sun->sun_family = AF_UNIX;
	return offsetof(struct sockaddr_un, sun_path) + 1 +
		sprintf(sun->sun_path + 1, "epollstate-%d-%d", getpid(), nr++);
}

static int es_un_socket(int type)
{
	return socket(AF_UNIX, type | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
}

/* A socket with a name. */
static int es_un_bound(int type, struct sockaddr_un *sun, socklen_t *len)
{
	const int fd = es_un_socket(type);

	*len = es_un_name(sun);
	if (bind(fd, (struct sockaddr *)sun, *len)) {
		close(fd);
		return -1;
	}
	return fd;
}

static int es_un_connect(int fd, const struct sockaddr_un *sun, socklen_t len)
{
	return connect(fd, (const struct sockaddr *)sun, len) ? -errno : 0;
}

static int es_un_sendto(int fd, const struct sockaddr_un *sun, socklen_t len,
			size_t bytes)
{
	const ssize_t n = sendto(fd, es_buf(), bytes, 0,
				 (const struct sockaddr *)sun, len);

	return n < 0 ? -errno : n;
}

/* Memory that is charged for what was sent: 1 is what sock_wfree() holds. */
static int es_un_mem(int fd)
{
	const int n = es_siocoutq(fd);

	return n == 1 ? 0 : n;
}

/* Messages of ten bytes until no more are taken; returns how many were. */
static int es_fill_up(int fd)
{
	int n = 0;

	while (es_write(fd, 10) == 10)
		n++;
	return n;
}

/* Send @bytes with a descriptor. */
static int es_send_fd(int fd, size_t bytes)
{
	char control[CMSG_SPACE(sizeof(int))] = {};
	struct iovec iov = { (void *)es_buf(), bytes };
	struct msghdr msg = {
		.msg_iov = &iov,
		.msg_iovlen = 1,
		.msg_control = control,
		.msg_controllen = sizeof(control),
	};
	struct cmsghdr *cmsg = CMSG_FIRSTHDR(&msg);

	cmsg->cmsg_level = SOL_SOCKET;
	cmsg->cmsg_type = SCM_RIGHTS;
	cmsg->cmsg_len = CMSG_LEN(sizeof(int));
	memcpy(CMSG_DATA(cmsg), &fd, sizeof(int));
	return sendmsg(fd, &msg, 0);
}

FIXTURE(local)
{
	struct es_rnd rnd;
	int ep;
	int fd;
	int peer;
};

FIXTURE_VARIANT(local)
{
	int type;
};

FIXTURE_VARIANT_ADD(local, stream) { .type = SOCK_STREAM };
FIXTURE_VARIANT_ADD(local, seqpacket) { .type = SOCK_SEQPACKET };
FIXTURE_VARIANT_ADD(local, dgram) { .type = SOCK_DGRAM };

FIXTURE_SETUP(local)
{
	int sv[2];

	ES_REQUIRE_KERNEL();
	self->rnd = es_seed();
	ASSERT_EQ(0, socketpair(AF_UNIX, variant->type | SOCK_CLOEXEC |
				SOCK_NONBLOCK, 0, sv));
	self->fd = sv[0];
	self->peer = sv[1];
	self->ep = epoll_create1(EPOLL_CLOEXEC);
	ASSERT_LE(0, self->ep);
}

FIXTURE_TEARDOWN(local)
{
	close(self->ep);
	close(self->fd);
	if (self->peer >= 0)
		close(self->peer);
}

#define WATCH(fd, events, st)					\
do {									\
	ASSERT_EQ(0, es_add(self->ep, fd, (events) | EPOLLSTATE));	\
	ASSERT_EQ(4, es_wait(self->ep, st, 0));				\
} while (0)

#define SAMPLE(st)							\
	ASSERT_EQ(4, es_sample(self->ep, self->fd, ES_IO, st))

#define PEER_CLOSES()							\
do {									\
	close(self->peer);						\
	self->peer = -1;						\
} while (0)

TEST_F(local, rcv_is_what_fionread_says)
{
	struct epoll_state st;

	WATCH(self->fd, ES_IO, &st);
	EXPECT_EQ(EPOLLSTATE | EPOLLOUT, st.events);
	EXPECT_EQ(0, st.rcv);
	EXPECT_EQ(0, st.msgs);

	ASSERT_EQ(100, es_write(self->peer, 100));
	ASSERT_EQ(4, es_wait(self->ep, &st, 0));
	EXPECT_EQ(EPOLLSTATE | EPOLLOUT | EPOLLIN, st.events);
	EXPECT_EQ(100, st.rcv);
	EXPECT_EQ(es_fionread(self->fd), (int)st.rcv);
	EXPECT_EQ(variant->type != SOCK_STREAM, st.msgs);

	ASSERT_EQ(30, es_write(self->peer, 30));
	ASSERT_EQ(4, es_wait(self->ep, &st, 0));
	if (variant->type == SOCK_STREAM) {
		EXPECT_EQ(130, st.rcv);
		EXPECT_EQ(0, st.msgs);
	} else {
		EXPECT_EQ(100, st.rcv);
		EXPECT_EQ(2, st.msgs);
	}
	/* That of a seqpacket socket sums up the messages. */
	if (variant->type != SOCK_SEQPACKET)
		EXPECT_EQ(es_fionread(self->fd), (int)st.rcv);
	ASSERT_EQ(st.rcv, es_read(self->fd, MB));
	SAMPLE(&st);
	EXPECT_EQ(variant->type == SOCK_STREAM ? 0 : 30, st.rcv);
	EXPECT_EQ(variant->type != SOCK_STREAM, st.msgs);
}

TEST_F(local, outq_is_what_the_peer_has_not_consumed)
{
	struct epoll_state st;

	WATCH(self->fd, ES_IO, &st);
	EXPECT_EQ(0, st.outq);
	ASSERT_EQ(1000, es_write(self->fd, 1000));
	ASSERT_EQ(500, es_write(self->fd, 500));
	SAMPLE(&st);
	if (variant->type == SOCK_DGRAM) {
		EXPECT_EQ(es_siocoutq(self->fd), (int)st.outq);
		EXPECT_LT(1500, st.outq);
	} else {
		EXPECT_EQ(1500, st.outq);
		EXPECT_EQ(es_fionread(self->peer), (int)st.outq);
	}
	ASSERT_EQ(1000, es_read(self->peer, 1000));
	SAMPLE(&st);
	if (variant->type != SOCK_DGRAM)
		EXPECT_EQ(500, st.outq);
	ASSERT_EQ(500, es_read(self->peer, 1000));
	ASSERT_EQ(4, es_wait(self->ep, &st, 0));
	EXPECT_EQ(0, st.outq);
	EXPECT_EQ(0, es_pending(self->ep));
}

TEST_F(local, r4_own_reads_and_writes_are_silent)
{
	struct epoll_state st;

	WATCH(self->fd, ES_IO, &st);
	ASSERT_EQ(100, es_write(self->peer, 100));
	ASSERT_EQ(100, es_write(self->peer, 100));
	ASSERT_EQ(4, es_wait(self->ep, &st, 0));
	ASSERT_EQ(50, es_read(self->fd, 50));
	EXPECT_EQ(0, es_pending(self->ep));
	es_drain(self->fd);
	EXPECT_EQ(0, es_pending(self->ep));
	ASSERT_EQ(100, es_write(self->fd, 100));
	EXPECT_EQ(0, es_pending(self->ep));
	while (es_write(self->fd, 10000) > 0)
		EXPECT_EQ(0, es_pending(self->ep));
	EXPECT_EQ(0, es_pending(self->ep));
}

TEST_F(local, r5_the_same_level_again_is_news)
{
	struct epoll_state st;
	int i;

	WATCH(self->fd, EPOLLIN, &st);
	for (i = 1; i < 5; i++) {
		ASSERT_EQ(100, es_write(self->peer, 100));
		ASSERT_EQ(4, es_wait(self->ep, &st, 0));
		EXPECT_EQ(100, st.rcv);
		EXPECT_EQ(i, st.seq);
		ASSERT_EQ(100, es_read(self->fd, 100));
		EXPECT_EQ(0, es_pending(self->ep));
	}
}

TEST_F(local, r7_each_write_that_was_consumed_is_told)
{
	struct epoll_state st;
	int i;

	WATCH(self->fd, EPOLLOUT, &st);
	for (i = 1; i < 10; i++) {
		ASSERT_EQ(1, es_write(self->fd, 1));
		EXPECT_EQ(0, es_pending(self->ep));
		ASSERT_EQ(1, es_read(self->peer, 10));
		ASSERT_EQ(4, es_wait(self->ep, &st, 0));
		EXPECT_EQ(0, st.outq);
		EXPECT_EQ(i, st.seq);
		EXPECT_EQ(0, es_pending(self->ep));
	}
}

/* Trap 4: one wake-up per message must not be one record per message. */
TEST_F(local, r7_messages_consumed_one_by_one_are_few_records)
{
	struct epoll_state st;
	int records = 0, n = 0;

	ASSERT_EQ(0, es_set_buf(self->fd, true, 200 * KB));
	WATCH(self->fd, EPOLLOUT, &st);
	while (es_write(self->fd, 100) == 100)
		n++;
	ASSERT_LE(100, n);
	while (es_read(self->peer, 100) > 0) {
		if (es_wait(self->ep, &st, 0) == 4) {
			records++;
			EXPECT_LT(0, st.snd);
			EXPECT_NE(0, st.events & EPOLLOUT);
		}
	}
	EXPECT_LE(1, records);
	EXPECT_GE(8, records);
	EXPECT_EQ(0, st.outq);
	EXPECT_EQ(0, es_pending(self->ep));
}

/* The queue is never empty and never near full. */
TEST_F(local, r7_a_record_comes_for_each_quarter_that_has_drained)
{
	const int sndbuf = 128 * KB;
	int one, i, drained = 0, records = 0;
	struct epoll_state st;

	ASSERT_EQ(0, es_set_buf(self->fd, true, sndbuf));
	WATCH(self->fd, EPOLLOUT, &st);
	ASSERT_EQ(1000, es_write(self->fd, 1000));
	one = es_siocoutq(self->fd);
	ASSERT_LE(1000, one);
	ASSERT_EQ(1000, es_write(self->fd, 1000));
	for (i = 0; i < 500; i++) {
		ASSERT_EQ(1000, es_write(self->fd, 1000));
		ASSERT_EQ(1000, es_read(self->peer, 1000));
		drained += one;
		if (es_wait(self->ep, &st, 0) == 4) {
			/* Not earlier, by the unit that may be charged. */
			EXPECT_LE(sndbuf / 4 - 1, drained);
			drained = 0;
			records++;
		}
		ASSERT_GE(sndbuf / 4 + one, drained);
	}
	EXPECT_LE(4, records);
}

/* It writes what it was told, in one write, and never looks otherwise. */
TEST_F_TIMEOUT(local, r7_a_sender_within_its_credit_never_stalls, ES_TIMEOUT)
{
	static const int sndbufs[] = { 4608, 20000, 212992, MB };
	uint32_t n, records = 0;
	struct epoll_state st;
	size_t sent, b;

	WATCH(self->fd, EPOLLOUT, &st);
	for (b = 0; b < ARRAY_SIZE(sndbufs); b++) {
		ASSERT_EQ(0, es_set_buf(self->fd, true, sndbufs[b]));
		ASSERT_EQ(4, es_sample(self->ep, self->fd, EPOLLOUT, &st));
		for (sent = 0; sent < (size_t)sndbufs[b] * 8; sent += n) {
			ASSERT_LT(0, st.snd);
			n = es_rnd_upto(&self->rnd, st.snd);
			ASSERT_EQ(n, es_write(self->fd, n));
			while (es_wait(self->ep, &st, 0) != 4) {
				ASSERT_LT(0, es_read(self->peer, 1 +
						     es_rnd(&self->rnd) % 9000));
			}
			records++;
		}
		es_drain(self->peer);
	}
	EXPECT_LT(0, records);
}

/* The same while another process reads: each write brings a record. */
TEST_F_TIMEOUT(local, r7_no_record_is_lost_while_another_reads, ES_TIMEOUT)
{
	struct pollfd p = { .fd = self->peer, .events = POLLIN };
	struct epoll_state st;
	uint32_t n;
	pid_t pid;
	int i;

	WATCH(self->fd, EPOLLOUT, &st);
	pid = fork();
	ASSERT_LE(0, pid);
	if (!pid) {
		while (poll(&p, 1, ES_DEADLINE_MS) == 1)
			es_read(self->peer, es_rnd_upto(&self->rnd, 20000));
		_exit(0);
	}
	for (i = 0; i < 1000; i++) {
		ASSERT_LT(0, st.snd);
		n = es_rnd_upto(&self->rnd, st.snd < 60000 ? st.snd : 60000);
		ASSERT_EQ(n, es_write(self->fd, n));
		ASSERT_EQ(4, es_next(self->ep, &st)) {
			TH_LOG("stalled at %d, %d queued", i,
			       es_siocoutq(self->fd));
			kill(pid, SIGKILL);
		}
	}
	kill(pid, SIGKILL);
	waitpid(pid, NULL, 0);
}

/* More than one was told, and then EAGAIN: that is no end either. */
TEST_F(local, r7_after_eagain_a_record_comes)
{
	struct epoll_state st;
	int i, n;

	WATCH(self->fd, ES_IO, &st);
	for (i = 0; i < 5; i++) {
		while (es_write(self->fd, 3000) > 0)
			;
		EXPECT_EQ(0, es_pending(self->ep));
		while (es_wait(self->ep, &st, 0) != 4) {
			n = es_read(self->peer, 3000);
			ASSERT_LT(0, n);
		}
		EXPECT_LT(0, st.snd);
		EXPECT_EQ(EPOLLSTATE | EPOLLOUT, st.events);
	}
}

TEST_F(local, r7_a_full_buffer_tells_no_room)
{
	struct epoll_state st;

	WATCH(self->fd, ES_IO, &st);
	while (es_write(self->fd, 30000) > 0)
		;
	SAMPLE(&st);
	EXPECT_EQ(0, st.snd);
	EXPECT_EQ(EPOLLSTATE, st.events);
	es_drain(self->peer);
	ASSERT_EQ(4, es_wait(self->ep, &st, 0));
	EXPECT_EQ(0, st.outq);
	EXPECT_LT(0, st.snd);
}

TEST_F_TIMEOUT(local, snd_is_taken_whole_and_is_tight, ES_TIMEOUT)
{
	static const int sndbufs[] = {
		4608, 5000, 7681, 8192, 8700, 16384, 65536, 73216, 74000,
		212992, MB, 4 * MB,
	};
	const bool stream = variant->type == SOCK_STREAM;
	struct epoll_state st;
	int i, j, sndbuf;
	uint32_t n;

	WATCH(self->fd, ES_IO, &st);
	for (i = 0; i < 80; i++) {
		/* Any size; and those where a chunk has pages and no head. */
		if (i < (int)ARRAY_SIZE(sndbufs))
			sndbuf = sndbufs[i];
		else if (i < 50)
			sndbuf = 7600 + es_rnd_upto(&self->rnd, 1200);
		else
			sndbuf = 4608 + es_rnd_upto(&self->rnd,
						    i < 70 ? 100000 : 4 * MB);
		/* Larger messages need more pages in a row than there may be. */
		if (!stream && sndbuf > MB)
			sndbuf = MB;
		ASSERT_EQ(0, es_set_buf(self->fd, true, sndbuf));
		sndbuf = es_int_opt(self->fd, SOL_SOCKET, SO_SNDBUF);
		for (j = 0; j < 12; j++) {
			es_drain(self->peer);
			/* Some of it is used up, in pieces of any size. */
			while (es_rnd(&self->rnd) % 4 && j)
				es_write(self->fd, es_rnd_upto(&self->rnd,
							       sndbuf / 3));
			SAMPLE(&st);
			n = j & 1 ? st.snd : es_rnd_upto(&self->rnd, st.snd ?: 1);
			if (!st.snd) {
				ASSERT_EQ(-EAGAIN, es_write(self->fd, 1));
				continue;
			}
			if (stream && j % 3 == 0) {
				/* All that would have been taken, and no less. */
				ASSERT_EQ(st.snd,
					  es_write(self->fd, ES_BUF_SIZE)) {
					TH_LOG("sndbuf %d used %d", sndbuf,
					       es_siocoutq(self->fd));
				}
				continue;
			}
			if (!j) {
				EXPECT_EQ(sndbuf - 32, (int)st.snd);
				EXPECT_EQ(-EMSGSIZE,
					  es_write(self->fd, st.snd + 1));
			}
			ASSERT_EQ(n, es_write(self->fd, n)) {
				TH_LOG("sndbuf %d snd %u", sndbuf, st.snd);
			}
		}
		es_drain(self->peer);
	}
}

TEST_F(local, a_peer_that_closes_leaves_what_it_sent)
{
	struct epoll_state st;

	WATCH(self->fd, ES_IO, &st);
	ASSERT_EQ(200, es_write(self->peer, 200));
	ASSERT_EQ(4, es_wait(self->ep, &st, 0));
	PEER_CLOSES();
	SAMPLE(&st);
	EXPECT_EQ(200, st.rcv);
	/* What became of a receiver of datagrams is for a write to find out. */
	EXPECT_EQ(variant->type == SOCK_DGRAM, !!st.snd);
	EXPECT_EQ(0, st.error);
	if (variant->type != SOCK_DGRAM)
		EXPECT_EQ(EPOLLSTATE | EPOLLIN | EPOLLOUT | EPOLLRDHUP |
			  EPOLLHUP, st.events);
	ASSERT_EQ(200, es_read(self->fd, 1000));
	EXPECT_EQ(0, es_pending(self->ep));
	SAMPLE(&st);
	EXPECT_EQ(0, st.rcv);
	EXPECT_EQ(0, st.msgs);
	if (variant->type != SOCK_DGRAM)
		EXPECT_EQ(0, es_read(self->fd, 1000));
}

TEST_F(local, a_peer_that_closes_with_data_unread_is_an_error)
{
	struct epoll_state st;

	WATCH(self->fd, ES_IO, &st);
	ASSERT_EQ(200, es_write(self->fd, 200));
	PEER_CLOSES();
	ASSERT_EQ(4, es_wait(self->ep, &st, 0));
	EXPECT_EQ(0, st.rcv);
	EXPECT_EQ(0, st.outq);
	EXPECT_EQ(variant->type == SOCK_DGRAM, !!st.snd);
	if (variant->type != SOCK_DGRAM) {
		EXPECT_EQ(ECONNRESET, st.error);
		EXPECT_EQ(EPOLLSTATE | EPOLLIN | EPOLLOUT | EPOLLRDHUP |
			  EPOLLHUP | EPOLLERR, st.events);
		/* Once, and it is still there for the one who asks. */
		EXPECT_EQ(0, es_pending(self->ep));
		EXPECT_EQ(ECONNRESET,
			  es_int_opt(self->fd, SOL_SOCKET, SO_ERROR));
	}
	EXPECT_EQ(0, es_pending(self->ep));
}

TEST_F(local, a_full_buffer_and_a_peer_that_closes)
{
	struct epoll_state st;

	if (variant->type == SOCK_DGRAM)
		SKIP(return, "datagram sockets are not told");
	WATCH(self->fd, ES_IO, &st);
	while (es_write(self->fd, 1000) > 0)
		;
	SAMPLE(&st);
	PEER_CLOSES();
	ASSERT_EQ(4, es_wait(self->ep, &st, 0));
	EXPECT_EQ(0, st.outq);
	EXPECT_EQ(0, st.snd);
	EXPECT_EQ(0, es_pending(self->ep));
}

TEST_F(local, a_half_that_is_shut_down_takes_nothing)
{
	struct epoll_state st, peer_st;
	int peer_ep = epoll_create1(EPOLL_CLOEXEC);

	WATCH(self->fd, ES_IO, &st);
	ASSERT_EQ(0, es_add(peer_ep, self->peer, ES_IO | EPOLLSTATE));
	ASSERT_EQ(4, es_wait(peer_ep, &peer_st, 0));
	ASSERT_EQ(10, es_write(self->fd, 10));
	ASSERT_EQ(10, es_write(self->peer, 10));
	ASSERT_EQ(0, shutdown(self->fd, SHUT_WR));
	SAMPLE(&st);
	EXPECT_EQ(0, st.snd);
	EXPECT_EQ(10, st.rcv);
	EXPECT_EQ(-EPIPE, send(self->fd, "x", 1, MSG_NOSIGNAL) < 0 ? -errno : 0);

	ASSERT_EQ(4, es_wait(peer_ep, &peer_st, 0));
	EXPECT_EQ(10, peer_st.rcv);
	EXPECT_LT(0, peer_st.snd);
	EXPECT_EQ(variant->type != SOCK_DGRAM,
		  !!(peer_st.events & EPOLLRDHUP));
	EXPECT_EQ(0, es_pending(peer_ep));
	close(peer_ep);
}

TEST_F(local, a_peer_that_takes_no_more_leaves_no_room)
{
	struct epoll_state st;

	WATCH(self->fd, ES_IO, &st);
	ASSERT_EQ(0, shutdown(self->peer, SHUT_RD));
	if (variant->type == SOCK_DGRAM) {
		/* Nobody tells the sender; a write does. */
		SAMPLE(&st);
		EXPECT_LT(0, st.snd);
		EXPECT_EQ(-EPIPE, send(self->fd, "x", 1, MSG_NOSIGNAL) < 0 ?
				  -errno : 0);
	} else {
		/* No event says so, but what was told is not true any more. */
		ASSERT_EQ(4, es_wait(self->ep, &st, 0));
		EXPECT_EQ(0, st.snd);
	}
	EXPECT_EQ(0, es_pending(self->ep));
}

TEST_F(local, r5_the_end_of_file_is_told_once)
{
	struct epoll_state st;

	if (variant->type == SOCK_DGRAM)
		SKIP(return, "datagram sockets have no end of file");
	WATCH(self->fd, ES_IO, &st);
	ASSERT_EQ(0, shutdown(self->peer, SHUT_WR));
	ASSERT_EQ(4, es_wait(self->ep, &st, 0));
	EXPECT_EQ(EPOLLSTATE | EPOLLOUT | EPOLLIN | EPOLLRDHUP, st.events);
	ASSERT_EQ(0, shutdown(self->peer, SHUT_WR));
	EXPECT_EQ(0, es_pending(self->ep));
	PEER_CLOSES();
	ASSERT_EQ(4, es_wait(self->ep, &st, 0));
	EXPECT_NE(0, st.events & EPOLLHUP);
	EXPECT_EQ(0, es_pending(self->ep));
}

/* The receiver's filter drops it, and the write says that it went well. */
TEST_F(local, what_a_filter_drops_gives_its_credit_back)
{
	struct sock_filter drop = BPF_STMT(BPF_RET | BPF_K, 0);
	struct sock_fprog prog = { .len = 1, .filter = &drop };
	struct epoll_state st;
	int i;

	if (variant->type == SOCK_STREAM)
		SKIP(return, "streams are not filtered");
	WATCH(self->fd, EPOLLOUT, &st);
	ASSERT_EQ(0, setsockopt(self->peer, SOL_SOCKET, SO_ATTACH_FILTER,
				&prog, sizeof(prog)));
	for (i = 1; i < 10; i++) {
		ASSERT_EQ(1000, es_write(self->fd, 1000));
		EXPECT_EQ(-EAGAIN, es_read(self->peer, 1000));
		ASSERT_EQ(4, es_wait(self->ep, &st, 0));
		EXPECT_EQ(0, st.outq);
		EXPECT_LT(0, st.snd);
		EXPECT_EQ(i, st.seq);
		EXPECT_EQ(0, es_pending(self->ep));
	}
	/* Dropped while others are queued, and then those are read. */
	ASSERT_EQ(0, es_set_opt(self->peer, SOL_SOCKET, SO_DETACH_FILTER, 0));
	ASSERT_EQ(1000, es_write(self->fd, 1000));
	ASSERT_EQ(0, setsockopt(self->peer, SOL_SOCKET, SO_ATTACH_FILTER,
				&prog, sizeof(prog)));
	ASSERT_EQ(1000, es_write(self->fd, 1000));
	EXPECT_EQ(0, es_pending(self->ep));
	ASSERT_EQ(1000, es_read(self->peer, 1000));
	ASSERT_EQ(4, es_wait(self->ep, &st, 0));
	EXPECT_EQ(0, st.outq);
	EXPECT_EQ(0, es_pending(self->ep));
}

TEST_F(local, an_empty_message_is_a_message)
{
	struct epoll_state st;

	if (variant->type == SOCK_STREAM)
		SKIP(return, "streams have none");
	WATCH(self->fd, ES_IO, &st);
	ASSERT_EQ(0, send(self->peer, "", 0, 0));
	ASSERT_EQ(4, es_wait(self->ep, &st, 0));
	EXPECT_EQ(0, st.rcv);
	EXPECT_EQ(1, st.msgs);
	EXPECT_NE(0, st.events & EPOLLIN);
	ASSERT_EQ(7, es_write(self->peer, 7));
	ASSERT_EQ(4, es_wait(self->ep, &st, 0));
	EXPECT_EQ(0, st.rcv);
	EXPECT_EQ(2, st.msgs);
	ASSERT_EQ(0, es_read(self->fd, 100));
	EXPECT_EQ(0, es_pending(self->ep));
	SAMPLE(&st);
	EXPECT_EQ(7, st.rcv);
	EXPECT_EQ(1, st.msgs);
}

TEST_F(local, a_peek_offset_changes_nothing)
{
	struct epoll_state st;
	char buf[8];

	WATCH(self->fd, ES_IO, &st);
	ASSERT_EQ(0, es_set_opt(self->fd, SOL_SOCKET, SO_PEEK_OFF, 0));
	ASSERT_EQ(100, es_write(self->peer, 100));
	ASSERT_EQ(4, es_wait(self->ep, &st, 0));
	ASSERT_EQ(8, recv(self->fd, buf, 8, MSG_PEEK));
	EXPECT_EQ(0, es_pending(self->ep));
	SAMPLE(&st);
	EXPECT_EQ(100, st.rcv);
	EXPECT_EQ(100, es_read(self->fd, 1000));
}

/* streams */

FIXTURE(stream)
{
	int ep;
	int fd;
	int peer;
};

FIXTURE_SETUP(stream)
{
	int sv[2];

	ES_REQUIRE_KERNEL();
	ASSERT_EQ(0, socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC |
				SOCK_NONBLOCK, 0, sv));
	self->fd = sv[0];
	self->peer = sv[1];
	self->ep = epoll_create1(EPOLL_CLOEXEC);
	ASSERT_LE(0, self->ep);
}

FIXTURE_TEARDOWN(stream)
{
	close(self->ep);
	close(self->fd);
	close(self->peer);
}

/* Trap 8: per byte, not per call. */
TEST_F(stream, rcv_counts_what_is_behind_a_descriptor)
{
	struct epoll_state st;

	WATCH(self->fd, ES_IO, &st);
	ASSERT_EQ(5, es_write(self->peer, 5));
	ASSERT_EQ(10, es_send_fd(self->peer, 10));
	ASSERT_EQ(20, es_write(self->peer, 20));
	ASSERT_EQ(4, es_wait(self->ep, &st, 0));
	EXPECT_EQ(35, st.rcv);
	EXPECT_EQ(es_fionread(self->fd), (int)st.rcv);
	EXPECT_EQ(15, es_read(self->fd, st.rcv));
	EXPECT_EQ(20, es_read(self->fd, st.rcv - 15));
	EXPECT_EQ(0, es_pending(self->ep));
}

TEST_F(stream, rcv_counts_what_other_writers_sent)
{
	struct epoll_state st;
	pid_t pid;

	ASSERT_EQ(0, es_set_opt(self->fd, SOL_SOCKET, SO_PASSCRED, 1));
	WATCH(self->fd, ES_IO, &st);
	ASSERT_EQ(5, es_write(self->peer, 5));
	pid = fork();
	ASSERT_LE(0, pid);
	if (!pid)
		_exit(es_write(self->peer, 7) != 7);
	ASSERT_EQ(pid, waitpid(pid, NULL, 0));
	ASSERT_EQ(4, es_wait(self->ep, &st, 0));
	EXPECT_EQ(12, st.rcv);
	EXPECT_EQ(5, es_read(self->fd, st.rcv));
	EXPECT_EQ(7, es_read(self->fd, st.rcv - 5));
	EXPECT_EQ(0, es_pending(self->ep));
}

TEST_F(stream, rcv_leaves_out_the_byte_that_reads_skip)
{
	struct epoll_state st;
	int err;

	ASSERT_EQ(0, es_add(self->ep, self->fd, ES_IO | EPOLLPRI | EPOLLSTATE));
	ASSERT_EQ(4, es_wait(self->ep, &st, 0));
	ASSERT_EQ(5, es_write(self->peer, 5));
	err = send(self->peer, "!", 1, MSG_OOB) < 0 ? errno : 0;
	if (err == EOPNOTSUPP)
		SKIP(return, "no MSG_OOB here");
	ASSERT_EQ(0, err);
	ASSERT_EQ(7, es_write(self->peer, 7));
	ASSERT_EQ(4, es_wait(self->ep, &st, 0));
	EXPECT_EQ(EPOLLSTATE | EPOLLIN | EPOLLOUT | EPOLLPRI, st.events);
	EXPECT_EQ(12, st.rcv);
	EXPECT_EQ(13, es_fionread(self->fd));
	/* Where it is part of the stream, it counts. */
	ASSERT_EQ(0, es_set_opt(self->fd, SOL_SOCKET, SO_OOBINLINE, 1));
	SAMPLE(&st);
	EXPECT_EQ(13, st.rcv);
	ASSERT_EQ(0, es_set_opt(self->fd, SOL_SOCKET, SO_OOBINLINE, 0));
	SAMPLE(&st);
	/* Per byte, as with descriptors: a read stops at the mark. */
	EXPECT_EQ(5, es_read(self->fd, st.rcv));
	EXPECT_EQ(7, es_read(self->fd, st.rcv - 5));
	EXPECT_EQ(0, es_pending(self->ep));
	SAMPLE(&st);
	EXPECT_EQ(0, st.rcv);
	/* Nor later on, when it has been skipped, on either side. */
	ASSERT_EQ(2, es_write(self->peer, 2));
	SAMPLE(&st);
	EXPECT_EQ(2, st.rcv);
	EXPECT_EQ(2, es_fionread(self->fd));
	ASSERT_EQ(0, es_add(self->ep, self->peer, ES_IO | EPOLLSTATE));
	ASSERT_EQ(4, es_wait(self->ep, &st, 0));
	EXPECT_EQ(2, st.outq);
}

TEST_F(stream, rcv_after_the_urgent_byte_was_taken)
{
	struct epoll_state st;
	char c;

	WATCH(self->fd, ES_IO, &st);
	if (send(self->peer, "abc!", 4, MSG_OOB) < 0)
		SKIP(return, "no MSG_OOB here");
	ASSERT_EQ(7, es_write(self->peer, 7));
	ASSERT_EQ(1, recv(self->fd, &c, 1, MSG_OOB));
	SAMPLE(&st);
	EXPECT_EQ(10, st.rcv);
	EXPECT_EQ(10, es_fionread(self->fd));
	EXPECT_EQ(3, es_read(self->fd, st.rcv));
	EXPECT_EQ(7, es_read(self->fd, st.rcv - 3));
	/* An urgent byte alone is news, though nothing more can be read. */
	ASSERT_EQ(7, es_write(self->peer, 7));
	ASSERT_EQ(4, es_wait(self->ep, &st, 0));
	ASSERT_EQ(1, send(self->peer, "!", 1, MSG_OOB));
	ASSERT_EQ(4, es_wait(self->ep, &st, 0));
	EXPECT_EQ(7, st.rcv);
}

/* Small heads are charged as those of any socket whose memory is accounted. */
TEST_F(stream, snd_is_exact_where_the_cost_of_a_head_decides)
{
	struct epoll_state st;
	int i;

	ASSERT_EQ(0, es_set_opt(self->fd, SOL_SOCKET, SO_SNDBUF, 4416));
	ASSERT_EQ(8832, es_int_opt(self->fd, SOL_SOCKET, SO_SNDBUF));
	WATCH(self->fd, ES_IO, &st);
	for (i = 0; i < 3; i++)
		ASSERT_EQ(1, es_write(self->fd, 1));
	ASSERT_EQ(200, es_write(self->fd, 200));
	SAMPLE(&st);
	EXPECT_EQ(st.snd, es_write(self->fd, MB));
	EXPECT_EQ(-EAGAIN, es_write(self->fd, 1));
}

/* Pages that are not copied are charged as well. */
TEST_F(stream, what_sendfile_queued_is_told)
{
	int file = memfd_create("epollstate", MFD_CLOEXEC);
	struct epoll_state st;
	uint32_t room;

	if (file < 0)
		SKIP(return, "no place for a file");
	ASSERT_EQ(0, ftruncate(file, 100000));
	WATCH(self->fd, EPOLLOUT, &st);
	room = st.snd;
	ASSERT_EQ(60000, sendfile(self->fd, file, NULL, 60000));
	SAMPLE(&st);
	EXPECT_EQ(60000, st.outq);
	EXPECT_GE(room - 36000, st.snd);
	EXPECT_EQ(st.snd, es_write(self->fd, MB));
	SAMPLE(&st);
	EXPECT_EQ(0, st.snd);
	es_drain(self->peer);
	ASSERT_EQ(4, es_wait(self->ep, &st, 0));
	EXPECT_EQ(0, st.outq);
	EXPECT_EQ(room, st.snd);
	close(file);
}

/* sockets that are connected by name */

FIXTURE(named)
{
	struct sockaddr_un sun;
	socklen_t len;
	int ep;
};

/* Messages that fill a receiver's queue, before the buffer of who sends them. */
static int es_dgram_qlen(void)
{
	char text[16] = "";

	es_read_file("/proc/sys/net/unix/max_dgram_qlen", text, sizeof(text));
	return atoi(text);
}

FIXTURE_SETUP(named)
{
	ES_REQUIRE_KERNEL();
	/* A new namespace has the kernel's default. */
	if (es_dgram_qlen() != 10 && unshare(CLONE_NEWNET))
		SKIP(return, "net.unix.max_dgram_qlen is not 10");
	self->ep = epoll_create1(EPOLL_CLOEXEC);
	ASSERT_LE(0, self->ep);
}

FIXTURE_TEARDOWN(named)
{
	close(self->ep);
}

TEST_F(named, listening_tells_who_waits)
{
	static const int types[] = { SOCK_STREAM, SOCK_SEQPACKET };
	int lfd, fds[3], i, conn;
	struct epoll_state st;
	size_t t;

	for (t = 0; t < ARRAY_SIZE(types); t++) {
		lfd = es_un_bound(types[t], &self->sun, &self->len);
		ASSERT_LE(0, lfd);
		/* listen() after ADD, or before. */
		if (t)
			ASSERT_EQ(0, listen(lfd, 8));
		WATCH(lfd, ES_IO, &st);
		ASSERT_EQ(0, listen(lfd, 8));
		for (i = 0; i < 3; i++) {
			fds[i] = es_un_socket(types[t]);
			ASSERT_EQ(0, es_un_connect(fds[i], &self->sun,
						   self->len));
			/* One by one, then two at once. */
			if (i == 1)
				continue;
			ASSERT_EQ(4, es_wait(self->ep, &st, 0));
			EXPECT_EQ(EPOLLSTATE | EPOLLIN, st.events);
			EXPECT_EQ(i + 1, st.msgs);
			EXPECT_EQ(0, st.rcv);
			EXPECT_EQ(0, st.snd);
			EXPECT_EQ(0, st.outq);
			EXPECT_EQ(0, st.error);
		}
		conn = accept(lfd, NULL, NULL);
		ASSERT_LE(0, conn);
		EXPECT_EQ(0, es_pending(self->ep));
		ASSERT_EQ(4, es_sample(self->ep, lfd, ES_IO, &st));
		EXPECT_EQ(2, st.msgs);
		close(conn);
		for (i = 0; i < 3; i++)
			close(fds[i]);
		EXPECT_EQ(0, es_pending(self->ep));
		close(lfd);
	}
}

/* connect(2) wakes nobody on its own side, but who was told of no room waits. */
TEST_F(named, a_connection_counts_from_its_first_byte)
{
	int lfd = es_un_bound(SOCK_STREAM, &self->sun, &self->len);
	int fd = es_un_socket(SOCK_STREAM), conn, ep;
	struct epoll_state st;

	ASSERT_EQ(0, listen(lfd, 0));
	WATCH(fd, ES_IO, &st);
	EXPECT_EQ(0, st.snd);
	ASSERT_EQ(0, es_un_connect(fd, &self->sun, self->len));
	ASSERT_EQ(4, es_sample(self->ep, fd, ES_IO, &st));
	EXPECT_EQ(EPOLLSTATE | EPOLLOUT, st.events);
	EXPECT_LT(0, st.snd);
	/* Nobody has accepted it yet. */
	ASSERT_EQ(100, es_write(fd, 100));
	ASSERT_EQ(4, es_sample(self->ep, fd, ES_IO, &st));
	EXPECT_EQ(100, st.outq);

	conn = accept(lfd, NULL, NULL);
	ep = epoll_create1(EPOLL_CLOEXEC);
	ASSERT_EQ(0, es_add(ep, conn, ES_IO | EPOLLSTATE));
	ASSERT_EQ(4, es_wait(ep, &st, 0));
	EXPECT_EQ(100, st.rcv);
	ASSERT_EQ(100, es_read(conn, 100));
	ASSERT_EQ(4, es_wait(self->ep, &st, 0));
	EXPECT_EQ(0, st.outq);
	close(ep);
	close(conn);
	close(fd);
	close(lfd);
}

TEST_F(named, a_listener_that_closes_resets_who_waits)
{
	int lfd = es_un_bound(SOCK_STREAM, &self->sun, &self->len);
	int fd = es_un_socket(SOCK_STREAM);
	struct epoll_state st;

	ASSERT_EQ(0, listen(lfd, 0));
	ASSERT_EQ(0, es_un_connect(fd, &self->sun, self->len));
	WATCH(fd, ES_IO, &st);
	close(lfd);
	ASSERT_EQ(4, es_wait(self->ep, &st, 0));
	EXPECT_EQ(ECONNRESET, st.error);
	EXPECT_EQ(0, st.snd);
	EXPECT_EQ(0, es_pending(self->ep));
	close(fd);
}

TEST_F(named, a_full_backlog_leaves_a_socket_without_room)
{
	int lfd = es_un_bound(SOCK_STREAM, &self->sun, &self->len);
	int first = es_un_socket(SOCK_STREAM), fd = es_un_socket(SOCK_STREAM);
	struct epoll_state st;

	ASSERT_EQ(0, listen(lfd, 0));
	ASSERT_EQ(0, es_un_connect(first, &self->sun, self->len));
	ASSERT_EQ(-EAGAIN, es_un_connect(fd, &self->sun, self->len));
	WATCH(fd, ES_IO, &st);
	EXPECT_EQ(0, st.snd);
	EXPECT_EQ(0, st.error);
	close(accept(lfd, NULL, NULL));
	ASSERT_EQ(0, es_un_connect(fd, &self->sun, self->len));
	ASSERT_EQ(4, es_sample(self->ep, fd, ES_IO, &st));
	EXPECT_LT(0, st.snd);
	close(fd);
	close(first);
	close(lfd);
}

TEST_F(named, snd_is_0_while_the_queue_of_the_peer_is_full)
{
	int rfd = es_un_bound(SOCK_DGRAM, &self->sun, &self->len);
	int fd = es_un_socket(SOCK_DGRAM);
	struct epoll_state st;

	ASSERT_EQ(0, es_un_connect(fd, &self->sun, self->len));
	WATCH(fd, ES_IO, &st);
	EXPECT_LT(0, st.snd);
	es_fill_up(fd);
	ASSERT_EQ(4, es_sample(self->ep, fd, ES_IO, &st));
	EXPECT_EQ(EPOLLSTATE, st.events);
	EXPECT_EQ(0, st.snd);
	/* Also for one who does not ask for room. */
	ASSERT_EQ(4, es_sample(self->ep, fd, EPOLLIN, &st));
	EXPECT_EQ(0, st.snd);
	ASSERT_EQ(4, es_sample(self->ep, fd, ES_IO, &st));
	ASSERT_EQ(10, es_read(rfd, 10));
	ASSERT_EQ(4, es_wait(self->ep, &st, 0));
	EXPECT_EQ(EPOLLSTATE | EPOLLOUT, st.events);
	EXPECT_LT(0, st.snd);
	EXPECT_EQ(10, es_write(fd, 10));
	close(fd);
	close(rfd);
}

/* With messages so large that our own memory is short as well. */
TEST_F(named, snd_is_0_before_a_write_to_a_full_queue_fails)
{
	int rfd = es_un_bound(SOCK_DGRAM, &self->sun, &self->len);
	int fd = es_un_socket(SOCK_DGRAM), left = 0, outq;
	struct epoll_state st;

	ASSERT_EQ(0, es_un_connect(fd, &self->sun, self->len));
	WATCH(fd, ES_IO, &st);
	/* net.unix.max_dgram_qlen is 10, and one more is taken. */
	for (left = 0; left < 11; left++)
		ASSERT_EQ(8000, es_write(fd, 8000));
	ASSERT_EQ(4, es_sample(self->ep, fd, ES_IO, &st));
	EXPECT_EQ(0, st.snd);
	outq = es_siocoutq(fd);
	EXPECT_LT(outq, es_int_opt(fd, SOL_SOCKET, SO_SNDBUF));
	EXPECT_LT(es_int_opt(fd, SOL_SOCKET, SO_SNDBUF) / 4, outq);
	EXPECT_EQ(-EAGAIN, es_write(fd, 8000));
	/* It comes back before all have been read. */
	do {
		ASSERT_LT(1, left--);
		ASSERT_EQ(8000, es_read(rfd, 8000));
	} while (!es_wait(self->ep, &st, 0));
	EXPECT_EQ(EPOLLSTATE | EPOLLOUT, st.events);
	EXPECT_LT(8000, st.snd);
	EXPECT_EQ(8000, es_write(fd, 8000));
	close(fd);
	close(rfd);
}

/* All that is queued is from others: no byte of ours will leave. */
TEST_F(named, room_in_a_queue_that_others_filled_is_told)
{
	int rfd = es_un_bound(SOCK_DGRAM, &self->sun, &self->len);
	int other = es_un_socket(SOCK_DGRAM), fd = es_un_socket(SOCK_DGRAM);
	struct epoll_state st;
	int i;

	ASSERT_EQ(0, es_un_connect(fd, &self->sun, self->len));
	ASSERT_EQ(0, es_un_connect(other, &self->sun, self->len));
	WATCH(fd, ES_IO, &st);
	for (i = 0; i < 3; i++) {
		EXPECT_LT(0, st.snd);
		es_fill_up(other);
		/* Nothing tells of it; it is found out by a write. */
		EXPECT_EQ(0, es_pending(self->ep));
		ASSERT_EQ(-EAGAIN, es_write(fd, 10));
		ASSERT_EQ(10, es_read(rfd, 10));
		ASSERT_EQ(4, es_wait(self->ep, &st, 0));
		EXPECT_EQ(EPOLLSTATE | EPOLLOUT, st.events);
		EXPECT_EQ(0, es_pending(self->ep));
	}
	/* And a receiver that dies. */
	es_fill_up(other);
	ASSERT_EQ(-EAGAIN, es_write(fd, 10));
	close(rfd);
	ASSERT_EQ(4, es_wait(self->ep, &st, 0));
	EXPECT_LT(0, st.snd);
	EXPECT_EQ(0, es_pending(self->ep));
	EXPECT_EQ(-ECONNREFUSED, es_write(fd, 10));
	EXPECT_EQ(0, es_pending(self->ep));
	close(other);
	close(fd);
}

/* Each read wakes all who wait for it, and only one of them gets the room. */
TEST_F(named, room_that_others_were_faster_to_fill_is_no_news)
{
	struct sockaddr_un sun2;
	socklen_t len2;
	int rfd = es_un_bound(SOCK_DGRAM, &self->sun, &self->len);
	int rfd2 = es_un_bound(SOCK_DGRAM, &sun2, &len2);
	int other = es_un_socket(SOCK_DGRAM), fd = es_un_socket(SOCK_DGRAM);
	struct epoll_state st;
	int i;

	ASSERT_EQ(0, es_un_connect(fd, &self->sun, self->len));
	ASSERT_EQ(0, es_un_connect(other, &self->sun, self->len));
	WATCH(fd, ES_IO, &st);
	es_fill_up(other);
	ASSERT_EQ(4, es_sample(self->ep, fd, ES_IO, &st));
	EXPECT_EQ(EPOLLSTATE, st.events);
	EXPECT_EQ(0, st.snd);
	for (i = 0; i < 5; i++) {
		ASSERT_EQ(10, es_read(rfd, 10));
		ASSERT_EQ(10, es_write(other, 10));
		EXPECT_EQ(0, es_pending(self->ep));
	}
	/* What it sent to somebody else, and that has left, is. */
	ASSERT_EQ(10, sendto(fd, es_buf(), 10, 0, (struct sockaddr *)&sun2,
			     len2));
	EXPECT_EQ(0, es_pending(self->ep));
	ASSERT_EQ(10, es_read(rfd2, 10));
	ASSERT_EQ(10, es_read(rfd, 10));
	ASSERT_EQ(10, es_write(other, 10));
	ASSERT_EQ(4, es_wait(self->ep, &st, 0));
	EXPECT_EQ(EPOLLSTATE, st.events);
	EXPECT_EQ(0, st.outq);
	EXPECT_EQ(0, es_pending(self->ep));
	/* So is the room that a read leaves. */
	ASSERT_EQ(10, es_read(rfd, 10));
	ASSERT_EQ(4, es_wait(self->ep, &st, 0));
	EXPECT_EQ(EPOLLSTATE | EPOLLOUT, st.events);
	EXPECT_LT(0, st.snd);
	EXPECT_EQ(0, es_pending(self->ep));
	close(other);
	close(fd);
	close(rfd);
	close(rfd2);
}

/* One record: that it may write again.  Another: that all have been read. */
TEST_F(named, r7_room_after_eagain_is_told_once)
{
	struct sockaddr_un sun2;
	socklen_t len2;
	int rfd = es_un_bound(SOCK_DGRAM, &self->sun, &self->len);
	int rfd2 = es_un_bound(SOCK_DGRAM, &sun2, &len2);
	int fd = es_un_socket(SOCK_DGRAM), other = es_un_socket(SOCK_DGRAM);
	struct epoll_state st;
	int n;

	ASSERT_EQ(0, es_un_connect(fd, &self->sun, self->len));
	WATCH(fd, ES_IO, &st);
	n = es_fill_up(fd);
	ASSERT_LT(2, n);
	ASSERT_EQ(10, es_read(rfd, 10));
	ASSERT_EQ(4, es_wait(self->ep, &st, 0));
	EXPECT_EQ(EPOLLSTATE | EPOLLOUT, st.events);
	EXPECT_LT(0, st.outq);
	while (--n > 1) {
		ASSERT_EQ(10, es_read(rfd, 10));
		EXPECT_EQ(0, es_pending(self->ep));
	}
	ASSERT_EQ(10, es_read(rfd, 10));
	ASSERT_EQ(4, es_wait(self->ep, &st, 0));
	EXPECT_EQ(0, st.outq);

	/* What a full queue elsewhere refuses changes nothing here. */
	ASSERT_EQ(0, es_un_connect(other, &sun2, len2));
	es_fill_up(other);
	ASSERT_EQ(-1, sendto(fd, es_buf(), 10, 0, (struct sockaddr *)&sun2,
			     len2));
	ASSERT_EQ(EAGAIN, errno);
	EXPECT_EQ(0, es_pending(self->ep));
	close(other);
	close(fd);
	close(rfd);
	close(rfd2);
}

/* It was refused, which no record told of, and will not be by the new one. */
TEST_F(named, room_at_another_peer_is_told_to_one_that_was_refused)
{
	struct sockaddr_un sun2;
	socklen_t len2;
	int rfd = es_un_bound(SOCK_DGRAM, &self->sun, &self->len);
	int rfd2 = es_un_bound(SOCK_DGRAM, &sun2, &len2);
	int other = es_un_socket(SOCK_DGRAM), fd = es_un_socket(SOCK_DGRAM);
	struct epoll_state st;

	ASSERT_EQ(0, es_un_connect(fd, &self->sun, self->len));
	ASSERT_EQ(0, es_un_connect(other, &self->sun, self->len));
	WATCH(fd, ES_IO, &st);
	EXPECT_LT(0, st.snd);
	es_fill_up(other);
	ASSERT_EQ(-EAGAIN, es_write(fd, 10));
	ASSERT_EQ(0, es_un_connect(fd, &sun2, len2));
	ASSERT_EQ(4, es_wait(self->ep, &st, 0));
	EXPECT_EQ(EPOLLSTATE | EPOLLOUT, st.events);
	EXPECT_LT(0, st.snd);
	EXPECT_EQ(0, es_pending(self->ep));
	/* Nobody was refused: who connects elsewhere knows that he did. */
	while (es_read(rfd, 10) == 10)
		;
	ASSERT_EQ(0, es_un_connect(fd, &self->sun, self->len));
	EXPECT_EQ(0, es_pending(self->ep));
	close(other);
	close(fd);
	close(rfd);
	close(rfd2);
}

/* Two processes may share a socket, each with an epoll of its own. */
TEST_F(named, room_is_told_to_each_epoll_though_no_record_told_of_none)
{
	int rfd = es_un_bound(SOCK_DGRAM, &self->sun, &self->len);
	int other = es_un_socket(SOCK_DGRAM), fd = es_un_socket(SOCK_DGRAM);
	int ep2 = epoll_create1(EPOLL_CLOEXEC);
	struct epoll_state st;

	ASSERT_LE(0, ep2);
	ASSERT_EQ(0, es_un_connect(fd, &self->sun, self->len));
	ASSERT_EQ(0, es_un_connect(other, &self->sun, self->len));
	WATCH(fd, ES_IO, &st);
	ASSERT_EQ(0, es_add(ep2, fd, ES_IO | EPOLLSTATE));
	ASSERT_EQ(4, es_wait(ep2, &st, 0));
	es_fill_up(other);
	ASSERT_EQ(-EAGAIN, es_write(fd, 10));
	ASSERT_EQ(10, es_read(rfd, 10));
	ASSERT_EQ(4, es_wait(self->ep, &st, 0));
	EXPECT_EQ(EPOLLSTATE | EPOLLOUT, st.events);
	ASSERT_EQ(4, es_wait(ep2, &st, 0));
	EXPECT_EQ(EPOLLSTATE | EPOLLOUT, st.events);
	EXPECT_EQ(0, es_pending(self->ep));
	EXPECT_EQ(0, es_pending(ep2));
	close(ep2);
	close(other);
	close(fd);
	close(rfd);
}

/* One that writes while there is credit gets to know it, and goes on. */
TEST_F(named, a_receiver_that_died_costs_no_credit)
{
	struct sockaddr_un sun2;
	socklen_t len2;
	int rfd = es_un_bound(SOCK_DGRAM, &self->sun, &self->len);
	int rfd2 = es_un_bound(SOCK_DGRAM, &sun2, &len2);
	int fd = es_un_socket(SOCK_DGRAM);
	struct epoll_state st;

	ASSERT_EQ(0, es_un_connect(fd, &self->sun, self->len));
	WATCH(fd, ES_IO, &st);
	ASSERT_EQ(10, es_write(fd, 10));
	close(rfd);
	ASSERT_EQ(4, es_wait(self->ep, &st, 0));
	EXPECT_EQ(EPOLLSTATE | EPOLLOUT, st.events);
	EXPECT_EQ(0, st.outq);
	EXPECT_EQ(es_int_opt(fd, SOL_SOCKET, SO_SNDBUF) - 32, (int)st.snd);
	EXPECT_EQ(-ECONNREFUSED, es_write(fd, 10));
	ASSERT_EQ(0, es_un_connect(fd, &sun2, len2));
	EXPECT_EQ(10, es_write(fd, 10));
	ASSERT_EQ(10, es_read(rfd2, 10));
	ASSERT_EQ(4, es_wait(self->ep, &st, 0));
	EXPECT_EQ(0, st.outq);
	close(fd);
	close(rfd2);
}

/* The queue of the old one was full; nothing of ours was in it. */
TEST_F(named, a_new_receiver_with_room_is_told)
{
	struct sockaddr_un sun2;
	socklen_t len2;
	int rfd = es_un_bound(SOCK_DGRAM, &self->sun, &self->len);
	int rfd2 = es_un_bound(SOCK_DGRAM, &sun2, &len2);
	int other = es_un_socket(SOCK_DGRAM), fd = es_un_socket(SOCK_DGRAM);
	struct epoll_state st;

	ASSERT_EQ(0, es_un_connect(fd, &self->sun, self->len));
	ASSERT_EQ(0, es_un_connect(other, &self->sun, self->len));
	es_fill_up(other);
	WATCH(fd, ES_IO, &st);
	EXPECT_EQ(EPOLLSTATE, st.events);
	EXPECT_EQ(0, st.snd);
	ASSERT_EQ(0, es_un_connect(fd, &sun2, len2));
	ASSERT_EQ(4, es_wait(self->ep, &st, 0));
	EXPECT_EQ(EPOLLSTATE | EPOLLOUT, st.events);
	EXPECT_LT(0, st.snd);
	EXPECT_EQ(0, es_pending(self->ep));
	close(fd);
	close(other);
	close(rfd2);
	close(rfd);
}

/* Where EPOLLOUT is told nothing was armed: no room is then never told. */
TEST_F_TIMEOUT(named, no_room_is_told_only_where_a_read_will_wake, ES_TIMEOUT)
{
	int rfd = es_un_bound(SOCK_DGRAM, &self->sun, &self->len);
	int other = es_un_socket(SOCK_DGRAM), fd = es_un_socket(SOCK_DGRAM);
	int i, wrong = 0, full = 0;
	struct epoll_state st;
	pid_t pid;

	ASSERT_EQ(0, es_un_connect(fd, &self->sun, self->len));
	ASSERT_EQ(0, es_un_connect(other, &self->sun, self->len));
	WATCH(fd, ES_IO, &st);
	pid = fork();
	ASSERT_LE(0, pid);
	if (!pid) {
		for (;;) {
			es_fill_up(other);
			while (es_read(rfd, 10) == 10)
				;
		}
	}
	for (i = 0; i < 300000; i++) {
		if (es_sample(self->ep, fd, ES_IO, &st) != 4)
			break;
		full += !st.snd;
		wrong += !st.snd && st.events & EPOLLOUT;
	}
	kill(pid, SIGKILL);
	waitpid(pid, NULL, 0);
	EXPECT_EQ(300000, i);
	EXPECT_EQ(0, wrong) {
		TH_LOG("full %d times", full);
	}
	close(other);
	close(fd);
	close(rfd);
}

TEST_F(named, a_sender_hears_of_its_own_messages_only)
{
	int rfd = es_un_bound(SOCK_DGRAM, &self->sun, &self->len);
	int other = es_un_socket(SOCK_DGRAM), fd = es_un_socket(SOCK_DGRAM);
	struct epoll_state st, rst;
	int i, ep = epoll_create1(EPOLL_CLOEXEC);

	ASSERT_EQ(0, es_set_buf(fd, true, 20000));
	ASSERT_EQ(0, es_un_connect(fd, &self->sun, self->len));
	WATCH(fd, ES_IO, &st);
	ASSERT_EQ(0, es_add(ep, rfd, ES_IO | EPOLLSTATE));
	ASSERT_EQ(4, es_wait(ep, &rst, 0));
	/* Ours are the first and the last; a quarter of our buffer between. */
	for (i = 0; i < 10; i++) {
		ASSERT_EQ(i + 1, i % 9 ?
			  es_un_sendto(other, &self->sun, self->len, i + 1) :
			  es_write(fd, i + 1));
		ASSERT_EQ(4, es_wait(ep, &rst, 0));
		EXPECT_EQ(1, rst.rcv);
		EXPECT_EQ(i + 1, rst.msgs);
	}
	ASSERT_LT(20000 / 4, es_siocoutq(other));
	for (i = 0; i < 10; i++) {
		ASSERT_EQ(i + 1, es_read(rfd, 100));
		EXPECT_EQ(0, es_pending(ep));
		if (i == 9) {
			ASSERT_EQ(4, es_wait(self->ep, &st, 0));
			EXPECT_EQ(0, st.outq);
		}
		EXPECT_EQ(0, es_pending(self->ep));
	}
	close(ep);
	close(other);
	close(fd);
	close(rfd);
}

TEST_F(named, a_socket_that_is_not_connected_tells_of_its_memory)
{
	int rfd = es_un_bound(SOCK_DGRAM, &self->sun, &self->len);
	int fd = es_un_socket(SOCK_DGRAM), i;
	struct epoll_state st;

	WATCH(fd, ES_IO, &st);
	EXPECT_EQ(EPOLLSTATE | EPOLLOUT, st.events);
	EXPECT_EQ(es_int_opt(fd, SOL_SOCKET, SO_SNDBUF) - 32, (int)st.snd);
	for (i = 1; i < 5; i++) {
		ASSERT_EQ(st.snd, es_un_sendto(fd, &self->sun, self->len,
					       st.snd));
		ASSERT_EQ(4, es_sample(self->ep, fd, ES_IO, &st));
		EXPECT_EQ(es_siocoutq(fd), (int)st.outq);
		EXPECT_LT(0, st.outq);
		EXPECT_EQ(0, st.snd);
		EXPECT_EQ(0, es_pending(self->ep));
		ASSERT_LT(0, es_read(rfd, MB));
		ASSERT_EQ(4, es_wait(self->ep, &st, 0));
		EXPECT_EQ(0, st.outq);
		EXPECT_EQ(0, es_un_mem(fd));
	}
	close(fd);
	close(rfd);
}

/* What was counted with one receiver goes on with the next. */
TEST_F(named, a_sender_that_changes_its_peer_is_told)
{
	struct sockaddr_un sun2;
	socklen_t len2;
	int rfd = es_un_bound(SOCK_DGRAM, &self->sun, &self->len);
	int rfd2 = es_un_bound(SOCK_DGRAM, &sun2, &len2);
	int fd = es_un_socket(SOCK_DGRAM), i;
	struct epoll_state st;

	WATCH(fd, EPOLLOUT, &st);
	for (i = 0; i < 6; i++) {
		ASSERT_EQ(0, i & 1 ? es_un_connect(fd, &sun2, len2) :
			  es_un_connect(fd, &self->sun, self->len));
		es_pending(self->ep);
		ASSERT_EQ(100, es_write(fd, 100));
		EXPECT_EQ(0, es_pending(self->ep));
		ASSERT_EQ(100, es_read(i & 1 ? rfd2 : rfd, 100));
		ASSERT_EQ(4, es_wait(self->ep, &st, 0));
		EXPECT_EQ(0, st.outq);
	}
	close(fd);
	close(rfd2);
	close(rfd);
}

/* Only a write tells; nothing would tell when it takes messages again. */
TEST_F(named, a_peer_that_is_connected_elsewhere_costs_no_credit)
{
	struct sockaddr_un sun2;
	socklen_t len2;
	int rfd = es_un_bound(SOCK_DGRAM, &self->sun, &self->len);
	int rfd2 = es_un_bound(SOCK_DGRAM, &sun2, &len2);
	int fd = es_un_socket(SOCK_DGRAM);
	struct epoll_state st;

	ASSERT_EQ(0, es_un_connect(fd, &self->sun, self->len));
	ASSERT_EQ(0, es_un_connect(rfd, &sun2, len2));
	WATCH(fd, ES_IO, &st);
	EXPECT_EQ(-EPERM, es_write(fd, 1));
	EXPECT_LT(0, st.snd);
	close(fd);
	close(rfd2);
	close(rfd);
}

/* Nothing wakes when it is fetched, so it must not take the credit. */
TEST_F(named, an_error_of_a_datagram_socket_costs_no_credit)
{
	struct sockaddr_un sun2;
	socklen_t len2;
	int rfd = es_un_bound(SOCK_DGRAM, &self->sun, &self->len);
	int fd = es_un_bound(SOCK_DGRAM, &sun2, &len2);
	const struct sockaddr nobody = { .sa_family = AF_UNSPEC };
	struct epoll_state st;

	ASSERT_EQ(0, es_un_connect(fd, &self->sun, self->len));
	ASSERT_EQ(0, es_un_connect(rfd, &sun2, len2));
	WATCH(fd, ES_IO, &st);
	ASSERT_EQ(10, es_write(fd, 10));
	/* It drops what it has not read, and leaves us. */
	ASSERT_EQ(0, connect(rfd, &nobody, sizeof(nobody)));
	ASSERT_EQ(4, es_wait(self->ep, &st, 0));
	EXPECT_EQ(ECONNRESET, st.error);
	EXPECT_NE(0, st.events & EPOLLERR);
	EXPECT_LT(0, st.snd);
	EXPECT_EQ(ECONNRESET, es_int_opt(fd, SOL_SOCKET, SO_ERROR));
	EXPECT_EQ(0, es_pending(self->ep));
	close(fd);
	close(rfd);
}

/* With nothing else that changed in between. */
TEST_F(named, r5_the_same_error_again_is_told_again)
{
	struct sockaddr_un sun2;
	socklen_t len2;
	int rfd = es_un_bound(SOCK_DGRAM, &self->sun, &self->len);
	int fd = es_un_bound(SOCK_DGRAM, &sun2, &len2);
	const struct sockaddr nobody = { .sa_family = AF_UNSPEC };
	struct epoll_state st;
	int i;

	ASSERT_EQ(0, es_un_connect(fd, &self->sun, self->len));
	WATCH(fd, EPOLLIN, &st);
	for (i = 0; i < 3; i++) {
		ASSERT_EQ(0, es_un_connect(rfd, &sun2, len2));
		ASSERT_EQ(10, es_write(fd, 10));
		ASSERT_EQ(0, connect(rfd, &nobody, sizeof(nobody)));
		ASSERT_EQ(4, es_wait(self->ep, &st, 0));
		EXPECT_EQ(ECONNRESET, st.error);
		EXPECT_EQ(0, es_pending(self->ep));
		EXPECT_EQ(ECONNRESET, es_int_opt(fd, SOL_SOCKET, SO_ERROR));
	}
	close(fd);
	close(rfd);
}

/* A socket to be connected, and who listens. */
FIXTURE(connecting)
{
	struct sockaddr_un sun;
	socklen_t len;
	int ep;
	int lfd;
	int fd;
};

FIXTURE_VARIANT(connecting)
{
	int type;
};

FIXTURE_VARIANT_ADD(connecting, stream) { .type = SOCK_STREAM };
FIXTURE_VARIANT_ADD(connecting, seqpacket) { .type = SOCK_SEQPACKET };

FIXTURE_SETUP(connecting)
{
	ES_REQUIRE_KERNEL();
	self->ep = epoll_create1(EPOLL_CLOEXEC);
	ASSERT_LE(0, self->ep);
	self->lfd = es_un_bound(variant->type, &self->sun, &self->len);
	ASSERT_LE(0, self->lfd);
	ASSERT_EQ(0, listen(self->lfd, 0));
	self->fd = es_un_socket(variant->type);
	ASSERT_LE(0, self->fd);
}

FIXTURE_TEARDOWN(connecting)
{
	close(self->fd);
	close(self->lfd);
	close(self->ep);
}

TEST_F(connecting, who_was_watched_before_is_told_of_the_connection)
{
	struct epoll_state st;
	int in = epoll_create1(0);

	WATCH(self->fd, ES_IO, &st);
	EXPECT_EQ(0, st.snd);
	ASSERT_EQ(0, es_add(in, self->fd, EPOLLIN | EPOLLSTATE));
	ASSERT_EQ(4, es_wait(in, &st, 0));
	ASSERT_EQ(0, es_un_connect(self->fd, &self->sun, self->len));
	ASSERT_EQ(4, es_wait(self->ep, &st, 0));
	EXPECT_EQ(EPOLLSTATE | EPOLLOUT, st.events);
	EXPECT_LT(0, st.snd);
	EXPECT_EQ(0, es_pending(self->ep));
	/* Not who does not ask for room. */
	EXPECT_EQ(0, es_pending(in));
	EXPECT_EQ(100, es_write(self->fd, 100));
	close(in);
}

/* Who asks for room alone sees no other change than that there was a peer. */
TEST_F(connecting, a_connection_that_ends_at_once_is_told)
{
	struct epoll_state st;

	WATCH(self->fd, EPOLLOUT, &st);
	EXPECT_EQ(0, st.snd);
	ASSERT_EQ(0, es_un_connect(self->fd, &self->sun, self->len));
	close(accept(self->lfd, NULL, NULL));
	ASSERT_EQ(4, es_wait(self->ep, &st, 0));
	EXPECT_EQ(0, st.snd);
	EXPECT_EQ(0, es_pending(self->ep));
}

TEST_HARNESS_MAIN
