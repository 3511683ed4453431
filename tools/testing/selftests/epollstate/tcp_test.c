// SPDX-License-Identifier: GPL-2.0
/* What is particular to TCP: its states and its options. */

#include <linux/filter.h>

#include "common.h"

#include <netinet/ip.h>
#include <netinet/ip_icmp.h>

FIXTURE(tcp)
{
	int ep;
	int fd;
	int peer;
};

FIXTURE_VARIANT(tcp)
{
	int family;
};

ES_TCP_VARIANTS(tcp);

FIXTURE_SETUP(tcp)
{
	const struct es_tcp_opts o = { .family = variant->family };
	int sv[2];

	ES_SETUP(es_tcp_pair_opts(&o, sv), sv, SENDER);
}

FIXTURE_TEARDOWN(tcp)
{
	ES_TEARDOWN();
}

/* One more state, which nobody else asks for. */
enum { ES_TCP_SYN_RECV = 3 };

/* Poll says all of @events, as others see the socket. */
static bool es_polls(int fd, int events)
{
	struct pollfd p = { .fd = fd, .events = events };

	return poll(&p, 1, 0) == 1 && (p.revents & events) == events;
}

static int es_so_error(int fd)
{
	return es_int_opt(fd, SOL_SOCKET, SO_ERROR);
}

/* Closing with this set sends a reset. */
static void es_abort(int fd)
{
	const struct linger l = { .l_onoff = 1 };

	setsockopt(fd, SOL_SOCKET, SO_LINGER, &l, sizeof(l));
	close(fd);
}

/* From now on, or not any more, all that comes in for @fd is lost. */
static int es_deaf(int fd, bool on)
{
	struct sock_filter drop = BPF_STMT(BPF_RET | BPF_K, 0);
	const struct sock_fprog prog = { .len = 1, .filter = &drop };

	if (!on)
		return es_set_opt(fd, SOL_SOCKET, SO_DETACH_FILTER, 0);
	return setsockopt(fd, SOL_SOCKET, SO_ATTACH_FILTER, &prog,
			  sizeof(prog)) ? -errno : 0;
}

TEST_F(tcp, rcv_and_outq_agree_with_the_ioctls)
{
	struct epoll_state st;
	int i;

	REGISTER(ES_IO, &st);
	for (i = 1; i < 20; i++) {
		TCP_ARRIVE(i * 100);
		ASSERT_EQ(4, es_sample(self->ep, self->fd, ES_IO, &st));
		EXPECT_EQ(es_fionread(self->fd), st.rcv);
		if (i % 3 == 0)
			es_read(self->fd, i * 111);
		ASSERT_EQ(4, es_sample(self->ep, self->fd, ES_IO, &st));
		EXPECT_EQ(es_fionread(self->fd), st.rcv);
	}
	ASSERT_TRUE(es_tcp_jam(self->fd, self->peer));
	for (i = 1; i < 10; i++) {
		ASSERT_EQ(i * 100, es_write(self->fd, i * 100));
		ASSERT_EQ(4, es_sample(self->ep, self->fd, ES_IO, &st));
		EXPECT_EQ(es_siocoutq(self->fd), st.outq);
	}
}

TEST_F(tcp, a_fin_with_nothing_sent_is_told_once_and_counts_no_byte)
{
	struct epoll_state st;

	REGISTER(ES_IO, &st);
	ASSERT_EQ(0, shutdown(self->peer, SHUT_WR));
	ASSERT_EQ(4, es_next(self->ep, &st));
	EXPECT_EQ(EPOLLSTATE | ES_IO, st.events);
	EXPECT_EQ(0, st.rcv);
	ASSERT_TRUE(es_until(es_tcp_state(self->fd) == ES_TCP_CLOSE_WAIT));
	EXPECT_EQ(0, es_pending(self->ep));
	/* Half-closed: sending goes on. */
	EXPECT_LT(0, st.snd);
	ASSERT_EQ(1000, es_write(self->fd, 1000));
	ASSERT_TRUE(es_until(es_fionread(self->peer) == 1000));
}

TEST_F(tcp, a_fin_behind_unread_data_counts_no_byte)
{
	struct epoll_state st;

	TCP_ARRIVE(500);
	ASSERT_EQ(0, shutdown(self->peer, SHUT_WR));
	ASSERT_TRUE(es_until(es_tcp_state(self->fd) == ES_TCP_CLOSE_WAIT));
	REGISTER(ES_IO, &st);
	EXPECT_EQ(EPOLLSTATE | ES_IO, st.events);
	EXPECT_EQ(500, st.rcv);
	EXPECT_EQ(es_fionread(self->fd), st.rcv);
	ASSERT_EQ(499, es_read(self->fd, 499));
	ASSERT_EQ(4, es_sample(self->ep, self->fd, ES_IO, &st));
	EXPECT_EQ(1, st.rcv);
	ASSERT_EQ(1, es_read(self->fd, 499));
	ASSERT_EQ(4, es_sample(self->ep, self->fd, ES_IO, &st));
	EXPECT_EQ(EPOLLSTATE | ES_IO, st.events);
	EXPECT_EQ(0, st.rcv);
	ASSERT_EQ(0, es_read(self->fd, 499));
	ASSERT_EQ(4, es_sample(self->ep, self->fd, ES_IO, &st));
	EXPECT_EQ(0, st.rcv);
}

TEST_F(tcp, a_fin_without_rdhup_asked_for_is_still_end_of_file)
{
	struct epoll_state st;

	REGISTER(EPOLLIN, &st);
	ASSERT_EQ(0, shutdown(self->peer, SHUT_WR));
	ASSERT_EQ(4, es_next(self->ep, &st));
	EXPECT_EQ(EPOLLSTATE | EPOLLIN, st.events);
	EXPECT_EQ(0, st.rcv);
	ASSERT_TRUE(es_until(es_tcp_state(self->fd) == ES_TCP_CLOSE_WAIT));
	EXPECT_EQ(0, es_pending(self->ep));
}

TEST_F(tcp, a_reset_with_data_unread_tells_the_error_and_keeps_it)
{
	struct epoll_state st;

	REGISTER(ES_IO, &st);
	TCP_ARRIVE(300);
	es_abort(self->peer);
	self->peer = -1;
	ASSERT_TRUE(es_until(es_polls(self->fd, POLLERR)));
	ASSERT_EQ(4, es_next(self->ep, &st));
	EXPECT_EQ(EPOLLSTATE | ES_IO | EPOLLERR | EPOLLHUP, st.events);
	EXPECT_EQ(ECONNRESET, st.error);
	EXPECT_EQ(es_fionread(self->fd), st.rcv);
	EXPECT_EQ(0, st.snd);
	EXPECT_EQ(0, es_pending(self->ep));
	/* rcv is a promise here as well: data first, then the error. */
	if (st.rcv)
		EXPECT_EQ(st.rcv, es_read(self->fd, 8000));
	/* It was shown, not consumed. */
	EXPECT_EQ(ECONNRESET, es_so_error(self->fd));
	EXPECT_EQ(0, es_so_error(self->fd));
	EXPECT_EQ(0, es_pending(self->ep));
	ASSERT_EQ(4, es_sample(self->ep, self->fd, ES_IO, &st));
	EXPECT_EQ(0, st.error);
	EXPECT_EQ(0, st.outq);
}

TEST_F(tcp, a_reset_is_told_without_any_event_asked_for)
{
	struct epoll_state st;

	REGISTER(0, &st);
	EXPECT_EQ(EPOLLSTATE, st.events);
	TCP_ARRIVE(10);
	EXPECT_EQ(0, es_pending(self->ep));
	es_abort(self->peer);
	self->peer = -1;
	ASSERT_EQ(4, es_next(self->ep, &st));
	EXPECT_EQ(EPOLLSTATE | EPOLLERR | EPOLLHUP, st.events);
	EXPECT_EQ(ECONNRESET, st.error);
	EXPECT_EQ(0, es_pending(self->ep));
}

TEST_F(tcp, after_own_shut_wr_nothing_can_be_sent_and_all_received)
{
	struct epoll_state st;

	REGISTER(EPOLLIN | EPOLLRDHUP, &st);
	ASSERT_EQ(0, shutdown(self->fd, SHUT_WR));
	ASSERT_TRUE(es_until(es_tcp_state(self->fd) == ES_TCP_FIN_WAIT2));
	ASSERT_EQ(4, es_sample(self->ep, self->fd, ES_IO, &st));
	EXPECT_EQ(EPOLLSTATE | EPOLLOUT, st.events);
	EXPECT_EQ(0, st.snd);
	EXPECT_EQ(0, st.outq);
	TCP_ARRIVE(700);
	ASSERT_EQ(4, es_next(self->ep, &st));
	EXPECT_EQ(700, st.rcv);
	EXPECT_EQ(0, st.snd);
	ASSERT_EQ(700, es_read(self->fd, 8000));
	ASSERT_EQ(0, shutdown(self->peer, SHUT_WR));
	ASSERT_EQ(4, es_next(self->ep, &st));
	/* Both directions are shut: that is a hang-up. */
	EXPECT_EQ(EPOLLSTATE | ES_IO | EPOLLHUP, st.events);
	EXPECT_EQ(0, st.rcv);
	EXPECT_EQ(0, st.error);
	EXPECT_EQ(0, es_pending(self->ep));
}

TEST_F(tcp, own_shut_wr_with_data_queued_tells_when_it_is_gone)
{
	struct epoll_state st;

	ASSERT_TRUE(es_tcp_jam(self->fd, self->peer));
	REGISTER(ES_IO, &st);
	ASSERT_EQ(0, shutdown(self->fd, SHUT_WR));
	ASSERT_EQ(4, es_sample(self->ep, self->fd, ES_IO, &st));
	EXPECT_EQ(0, st.snd);
	EXPECT_EQ(es_siocoutq(self->fd), st.outq);
	while (st.outq) {
		es_drain(self->peer);
		if (es_siocoutq(self->fd))
			continue;
		ASSERT_EQ(4, es_next(self->ep, &st));
		EXPECT_EQ(0, st.snd);
	}
}

TEST_F(tcp, own_shut_rd_reads_as_end_of_file)
{
	struct epoll_state st;

	TCP_ARRIVE(50);
	REGISTER(ES_IO, &st);
	ASSERT_EQ(0, shutdown(self->fd, SHUT_RD));
	ASSERT_EQ(4, es_sample(self->ep, self->fd, ES_IO, &st));
	EXPECT_EQ(EPOLLSTATE | ES_IO, st.events);
	EXPECT_EQ(50, st.rcv);
	EXPECT_LT(0, st.snd);
	ASSERT_EQ(50, es_read(self->fd, 8000));
	ASSERT_EQ(0, es_read(self->fd, 8000));
}

/* No further record would tell of what is behind the mark. */
TEST_F(tcp, rcv_counts_behind_the_urgent_mark)
{
	struct epoll_state st;

	REGISTER(ES_IO | EPOLLPRI, &st);
	TCP_ARRIVE(100);
	ASSERT_EQ(4, es_next(self->ep, &st));
	EXPECT_EQ(100, st.rcv);
	ASSERT_EQ(1, send(self->peer, "!", 1, MSG_OOB));
	ASSERT_TRUE(es_until(es_polls(self->fd, POLLPRI)));
	ASSERT_EQ(4, es_next(self->ep, &st));
	EXPECT_EQ(EPOLLSTATE | EPOLLIN | EPOLLOUT | EPOLLPRI, st.events);
	EXPECT_EQ(100, st.rcv);
	ASSERT_EQ(200, es_write(self->peer, 200));
	TCP_SETTLE();
	ASSERT_EQ(4, es_next(self->ep, &st));
	EXPECT_EQ(300, st.rcv);
	/* One read stops at the mark, as FIONREAD does. */
	EXPECT_EQ(100, es_fionread(self->fd));
	EXPECT_EQ(100, es_read(self->fd, 8000));
	ASSERT_EQ(4, es_sample(self->ep, self->fd, ES_IO | EPOLLPRI, &st));
	EXPECT_EQ(200, st.rcv);
	EXPECT_EQ(200, es_read(self->fd, 8000));
	ASSERT_EQ(4, es_sample(self->ep, self->fd, ES_IO | EPOLLPRI, &st));
	EXPECT_EQ(0, st.rcv);
	EXPECT_EQ(-EAGAIN, es_read(self->fd, 8000));
}

TEST_F(tcp, an_end_behind_the_urgent_mark_is_not_the_end_yet)
{
	struct epoll_state st;

	TCP_ARRIVE(3);
	ASSERT_EQ(1, send(self->peer, "!", 1, MSG_OOB));
	ASSERT_EQ(4, es_write(self->peer, 4));
	ASSERT_EQ(0, shutdown(self->peer, SHUT_WR));
	ASSERT_TRUE(es_until(es_polls(self->fd, POLLRDHUP)));
	REGISTER(ES_IO, &st);
	EXPECT_TRUE(st.events & EPOLLRDHUP);
	ASSERT_EQ(7, st.rcv);
	/* As one who knows nothing of urgent data: by what was told. */
	ASSERT_EQ(3, es_read(self->fd, 7));
	ASSERT_EQ(4, es_read(self->fd, 4));
	ASSERT_EQ(0, es_read(self->fd, 8000));
	ASSERT_EQ(4, es_sample(self->ep, self->fd, ES_IO, &st));
	EXPECT_EQ(0, st.rcv);
}

TEST_F(tcp, an_urgent_byte_alone_is_nothing_to_read)
{
	struct epoll_state st;

	ASSERT_EQ(1, send(self->peer, "!", 1, MSG_OOB));
	ASSERT_TRUE(es_until(es_polls(self->fd, POLLPRI)));
	REGISTER(ES_IO | EPOLLPRI, &st);
	EXPECT_TRUE(st.events & EPOLLPRI);
	EXPECT_EQ(0, st.rcv);
	EXPECT_EQ(-EAGAIN, es_read(self->fd, 8000));
	/* It was passed by that; the end of file counts as none either. */
	ASSERT_EQ(0, shutdown(self->peer, SHUT_WR));
	ASSERT_EQ(4, es_next(self->ep, &st));
	EXPECT_TRUE(st.events & EPOLLRDHUP);
	EXPECT_EQ(0, st.rcv);
	EXPECT_EQ(0, es_read(self->fd, 8000));
}

TEST_F(tcp, urgent_data_inline_is_ordinary_data)
{
	struct epoll_state st;

	ASSERT_EQ(0, es_set_opt(self->fd, SOL_SOCKET, SO_OOBINLINE, 1));
	REGISTER(ES_IO | EPOLLPRI, &st);
	TCP_ARRIVE(100);
	ASSERT_EQ(1, send(self->peer, "!", 1, MSG_OOB));
	ASSERT_EQ(200, es_write(self->peer, 200));
	ASSERT_TRUE(es_until(es_fionread(self->fd) == 301));
	TCP_SETTLE();
	ASSERT_EQ(4, es_next(self->ep, &st));
	EXPECT_EQ(301, st.rcv);
	EXPECT_TRUE(st.events & EPOLLPRI);
	/* One read stops at the mark here as well. */
	EXPECT_EQ(100, es_read(self->fd, 8000));
	EXPECT_EQ(201, es_read(self->fd, 8000));
}

TEST_F(tcp, below_so_rcvlowat_nothing_is_told)
{
	struct epoll_state st;

	ASSERT_EQ(0, es_set_opt(self->fd, SOL_SOCKET, SO_RCVLOWAT, 1000));
	REGISTER(EPOLLIN, &st);
	TCP_ARRIVE(600);
	EXPECT_EQ(0, es_pending(self->ep));
	TCP_ARRIVE(600);
	ASSERT_EQ(4, es_next(self->ep, &st));
	EXPECT_EQ(EPOLLSTATE | EPOLLIN, st.events);
	EXPECT_EQ(1200, st.rcv);
	EXPECT_EQ(1, st.seq);
	/* A baseline tells what is there whatever the mark says. */
	ASSERT_EQ(1000, es_read(self->fd, 1000));
	ASSERT_EQ(4, es_sample(self->ep, self->fd, EPOLLIN, &st));
	EXPECT_EQ(EPOLLSTATE, st.events);
	EXPECT_EQ(200, st.rcv);
	/* The end of file is told below the mark too. */
	ASSERT_EQ(0, shutdown(self->peer, SHUT_WR));
	ASSERT_EQ(4, es_next(self->ep, &st));
	EXPECT_EQ(EPOLLSTATE | EPOLLIN, st.events);
	EXPECT_EQ(200, st.rcv);
}

TEST_F(tcp, lowering_so_rcvlowat_tells_what_is_there)
{
	struct epoll_state st;

	ASSERT_EQ(0, es_set_opt(self->fd, SOL_SOCKET, SO_RCVLOWAT, 1000));
	REGISTER(EPOLLIN, &st);
	TCP_ARRIVE(600);
	EXPECT_EQ(0, es_pending(self->ep));
	ASSERT_EQ(0, es_set_opt(self->fd, SOL_SOCKET, SO_RCVLOWAT, 500));
	ASSERT_EQ(4, es_next(self->ep, &st));
	EXPECT_EQ(EPOLLSTATE | EPOLLIN, st.events);
	EXPECT_EQ(600, st.rcv);
}

TEST_F(tcp, a_wake_up_that_changes_nothing_is_not_told)
{
	const int size = es_int_opt(self->fd, SOL_SOCKET, SO_SNDBUF);
	struct epoll_state st;

	REGISTER(ES_IO, &st);
	TCP_ARRIVE(100);
	ASSERT_EQ(4, es_next(self->ep, &st));
	/* Setting the size wakes whoever waits for space. */
	ASSERT_EQ(0, es_set_buf(self->fd, true, size));
	ASSERT_EQ(0, es_set_buf(self->fd, true, size));
	EXPECT_EQ(0, es_pending(self->ep));

	/* Nor does it tell of what was not asked for. */
	ASSERT_EQ(4, es_sample(self->ep, self->fd, EPOLLOUT, &st));
	TCP_ARRIVE(100);
	ASSERT_EQ(0, es_set_buf(self->fd, true, size));
	EXPECT_EQ(0, es_pending(self->ep));
}

/* It wakes for the data already, but not those who did not ask for any. */
TEST_F(tcp, an_ack_that_comes_with_data_is_told_to_who_wants_room_alone)
{
	int other = epoll_create1(EPOLL_CLOEXEC);
	struct epoll_state st, out;

	ASSERT_LE(0, other);
	REGISTER(ES_IO, &st);
	ASSERT_EQ(0, es_add(other, self->fd, EPOLLOUT | EPOLLSTATE));
	ASSERT_EQ(4, es_wait(other, &out, 0));

	/* The acknowledgment waits for something to go with. */
	ASSERT_EQ(0, es_set_opt(self->peer, IPPROTO_TCP, TCP_QUICKACK, 0));
	ASSERT_EQ(100, es_write(self->fd, 100));
	ASSERT_EQ(50, es_write(self->peer, 50));
	ASSERT_EQ(4, es_next(self->ep, &st));
	EXPECT_EQ(50, st.rcv);
	EXPECT_EQ(0, st.outq);
	ASSERT_EQ(4, es_next(other, &out));
	EXPECT_EQ(0, out.outq);
	close(other);
}

/*
 * The peer answers a hundred bytes with fifty, which wait to be read.  True if
 * nothing but that segment came, so that it had the acknowledgment with it.
 */
static bool es_tcp_answered_at_once(int fd, int peer)
{
	const uint32_t segs = es_tcp_info(fd).tcpi_segs_in;

	return es_write(fd, 100) == 100 &&
	       es_until(es_fionread(peer) == 100) &&
	       es_read(peer, 100) == 100 && es_write(peer, 50) == 50 &&
	       es_until(es_fionread(fd) == 50) &&
	       es_tcp_info(fd).tcpi_segs_in == segs + 1;
}

/*
 * Two wake-ups before a wait make one record, so they are told apart by the
 * order in which descriptors became ready: a wake-up for input goes to the
 * plain registration first, since it was added last, and one for room before
 * it would have gone to the other alone.
 */
TEST_F(tcp, an_ack_that_comes_with_data_wakes_for_the_data_alone)
{
	int again = dup(self->fd), ep = self->ep, i, judged = 0;
	struct epoll_event slots[EPOLL_STATE_SLOTS + 1];
	struct epoll_state st;
	bool at_once;

	ASSERT_LE(0, again);
	REGISTER(ES_IO, &st);
	ASSERT_EQ(0, es_add(ep, again, EPOLLIN | EPOLLET));
	ASSERT_EQ(0, es_set_opt(self->peer, IPPROTO_TCP, TCP_QUICKACK, 0));
	for (i = 0; i < 20; i++) {
		at_once = es_tcp_answered_at_once(self->fd, self->peer);
		ASSERT_EQ(50, es_fionread(self->fd));
		ASSERT_EQ(ARRAY_SIZE(slots),
			  epoll_wait(ep, slots, ARRAY_SIZE(slots), 0));
		if (at_once) {
			EXPECT_EQ(EPOLLIN, slots[0].events);
			memcpy(&st, slots + 1, sizeof(st));
			EXPECT_EQ(EPOLLSTATE | EPOLLIN | EPOLLOUT, st.events);
			EXPECT_EQ(50, st.rcv);
			EXPECT_EQ(0, st.outq);
			judged++;
		}
		EXPECT_EQ(0, es_pending(ep));
		ASSERT_EQ(50, es_read(self->fd, 8000));
	}
	EXPECT_LT(0, judged);
	close(again);
}

/* Such input is no reason to wait for a wake-up that takes the ACK along. */
TEST_F(tcp, an_ack_is_told_after_input_that_did_not_wake)
{
	struct epoll_state st;

	ASSERT_EQ(0, es_set_opt(self->fd, SOL_SOCKET, SO_RCVLOWAT, 1000));
	REGISTER(ES_IO, &st);
	TCP_ARRIVE(10);
	EXPECT_EQ(0, es_pending(self->ep));
	ASSERT_EQ(10, es_read(self->fd, 1000));
	ASSERT_EQ(0, es_set_opt(self->fd, SOL_SOCKET, SO_RCVLOWAT, 1));

	/* All its credit, and then nothing but acknowledgments come. */
	ASSERT_EQ(st.snd, es_write(self->fd, st.snd));
	ASSERT_TRUE(es_until((es_drain(self->peer), !es_siocoutq(self->fd))));
	ASSERT_EQ(4, es_next(self->ep, &st));
	EXPECT_LT(0, st.snd);
}

TEST_F(tcp, snd_obeys_tcp_notsent_lowat)
{
	const int lowat = 20000;
	struct epoll_state st;
	int unsent;

	ASSERT_EQ(0, es_set_opt(self->fd, IPPROTO_TCP, TCP_NOTSENT_LOWAT,
				lowat));
	REGISTER(ES_IO, &st);
	EXPECT_LT(0, st.snd);
	EXPECT_GE(lowat, st.snd);

	ASSERT_TRUE(es_tcp_jam(self->fd, self->peer));
	ASSERT_EQ(0, ioctl(self->fd, SIOCOUTQNSD, &unsent));
	ASSERT_EQ(4, es_sample(self->ep, self->fd, ES_IO, &st));
	ASSERT_GT(lowat, unsent);
	EXPECT_EQ(lowat - unsent, st.snd);
	EXPECT_EQ(st.snd, es_write(self->fd, st.snd));
	ASSERT_EQ(4, es_sample(self->ep, self->fd, ES_IO, &st));
	EXPECT_EQ(0, st.snd);
	EXPECT_FALSE(st.events & EPOLLOUT);

	/* Room under the mark comes back as data is sent. */
	do {
		es_drain(self->peer);
		TCP_SETTLE();
	} while (es_siocoutq(self->fd));
	ASSERT_EQ(4, es_next(self->ep, &st));
	EXPECT_EQ(EPOLLSTATE | EPOLLOUT, st.events);
	EXPECT_EQ(lowat, st.snd);
	EXPECT_EQ(0, st.outq);
}

/* A step of nothing is not worth a record. */
TEST_F(tcp, r5_a_low_water_mark_of_a_byte_repeats_nothing)
{
	struct epoll_state st;
	bool seen = false;
	int i, told;

	ASSERT_EQ(0, es_set_opt(self->fd, IPPROTO_TCP, TCP_NOTSENT_LOWAT, 1));
	REGISTER(ES_IO, &st);
	TCP_ARRIVE(10);
	ASSERT_EQ(4, es_next(self->ep, &st));
	/* As long as a delayed acknowledgment is late. */
	for (i = 0; i < 100 && !seen; i++) {
		es_drain(self->peer);
		TCP_SETTLE();
		es_set_opt(self->peer, IPPROTO_TCP, TCP_QUICKACK, 0);
		ASSERT_EQ(1, es_write(self->fd, 1));
		while (es_wait(self->ep, &st, 0) == 4)
			;
		/* Wakes, as there is something to be read. */
		ASSERT_EQ(0, es_set_opt(self->fd, SOL_SOCKET, SO_RCVLOWAT, 1));
		told = es_wait(self->ep, &st, 0);
		seen = es_siocoutq(self->fd) == 1;
		if (seen)
			EXPECT_EQ(0, told);
	}
	EXPECT_TRUE(seen);
}

/* Nothing has left in between, so that no count shows that it can go on. */
TEST_F(tcp, room_after_a_refused_write_is_told_though_nothing_has_left)
{
	const struct es_tcp_opts o = {
		.family = variant->family, .sndbuf = 65536 };
	enum { PLAIN, POLLED, TWICE, INPUT, WAYS } way;
	struct epoll_state st;
	int sv[2], outq, in, out;
	ssize_t n;

	for (way = PLAIN; way < WAYS; way++) {
		close(self->fd);
		close(self->peer);
		ASSERT_EQ(0, es_tcp_pair_opts(&o, sv));
		self->fd = sv[0];
		self->peer = sv[1];
		/* What is there without an event makes it look twice. */
		if (way == TWICE) {
			ASSERT_EQ(0, es_set_opt(self->fd, SOL_SOCKET,
						SO_RCVLOWAT, 1000));
			TCP_ARRIVE(10);
		}
		ASSERT_TRUE(es_tcp_jam(self->fd, self->peer));
		REGISTER(ES_IO, &st);
		ASSERT_EQ(EPOLLSTATE | EPOLLOUT, st.events);
		in = epoll_create1(EPOLL_CLOEXEC);
		out = epoll_create1(EPOLL_CLOEXEC);
		ASSERT_EQ(0, es_add(in, self->fd, EPOLLIN | EPOLLSTATE));
		ASSERT_EQ(0, es_add(out, self->fd, EPOLLOUT | EPOLLSTATE));
		ASSERT_EQ(4, es_wait(in, &st, 0));
		ASSERT_EQ(4, es_wait(out, &st, 0));
		/* More than was told: until EAGAIN. */
		do {
			n = es_write(self->fd, 20000);
		} while (n > 0);
		ASSERT_EQ(-EAGAIN, n);
		outq = es_siocoutq(self->fd);
		EXPECT_EQ(0, es_pending(self->ep));

		/* A larger buffer wakes who waits for room. */
		ASSERT_EQ(0, es_set_buf(self->fd, true, 262144));
		/* Who looks first takes nothing away from the others. */
		if (way == INPUT) {
			TCP_ARRIVE(10);
			ASSERT_EQ(4, es_wait(in, &st, 0));
		}
		if (way == POLLED) {
			EXPECT_TRUE(es_polls(self->ep, POLLIN));
			EXPECT_TRUE(es_polls(out, POLLIN));
		}
		ASSERT_EQ(4, es_wait(self->ep, &st, 0)) {
			TH_LOG("not told, way %d", way);
		}
		EXPECT_EQ(EPOLLSTATE | EPOLLOUT | (way == INPUT ? EPOLLIN : 0),
			  st.events);
		EXPECT_EQ(outq, st.outq);
		EXPECT_LT(0, st.snd);
		ASSERT_EQ(4, es_wait(out, &st, 0));
		EXPECT_EQ(EPOLLSTATE | EPOLLOUT, st.events);
		/* Once: the next wake-up is of no refused write. */
		ASSERT_EQ(0, es_set_buf(self->fd, true, 262144));
		EXPECT_EQ(0, es_pending(self->ep));
		EXPECT_EQ(0, es_pending(out));
		EXPECT_EQ(st.snd, es_write(self->fd, st.snd));
		close(in);
		close(out);
	}
}

/* It waited for room before, so that ACKs still wake it. */
TEST_F(tcp, r2_a_refused_write_is_no_news_to_who_asks_for_input)
{
	struct epoll_state st;

	REGISTER(ES_IO, &st);
	ASSERT_EQ(4, es_sample(self->ep, self->fd, EPOLLIN, &st));
	while (es_write(self->fd, 100000) > 0)
		;
	do {
		es_drain(self->peer);
		TCP_SETTLE();
	} while (es_siocoutq(self->fd));
	EXPECT_EQ(0, es_pending(self->ep));
}

/*
 * They fill the buffer with less than a step of bytes.  The first ones, as many
 * as may go at once, have left, and the others cannot.
 */
TEST_F(tcp, r7_room_among_small_segments_is_told_before_all_of_them_left)
{
	const int segments = 17, len = 100;
	struct epoll_state st;
	int i;

	ASSERT_EQ(0, es_set_buf(self->fd, true, 16384));
	ASSERT_EQ(0, es_set_opt(self->fd, IPPROTO_TCP, TCP_NODELAY, 1));
	REGISTER(EPOLLOUT, &st);
	ASSERT_EQ(0, es_deaf(self->fd, true));
	for (i = 0; i < segments; i++)
		ASSERT_EQ(len, send(self->fd, es_buf(), len, MSG_EOR));
	ASSERT_TRUE(es_until(es_fionread(self->peer) >= 10 * len));
	ASSERT_EQ(0, es_deaf(self->peer, true));
	EXPECT_EQ(0, es_pending(self->ep));

	/* Acknowledges those. */
	ASSERT_EQ(0, es_deaf(self->fd, false));
	ASSERT_EQ(1, es_write(self->peer, 1));
	ASSERT_EQ(4, es_next(self->ep, &st));
	EXPECT_EQ(EPOLLSTATE | EPOLLOUT, st.events);
	EXPECT_LT(0, st.outq);
	EXPECT_GE((segments - 10) * len, st.outq);
}

TEST_F(tcp, after_disconnect_and_reuse_it_goes_on)
{
	const struct sockaddr none = { .sa_family = AF_UNSPEC };
	const struct es_tcp_opts o = { .family = variant->family };
	struct sockaddr_storage ss;
	struct epoll_state st;
	int lfd;

	REGISTER(ES_IO, &st);
	ASSERT_EQ(0, connect(self->fd, &none, sizeof(none)));
	ASSERT_EQ(4, es_sample(self->ep, self->fd, ES_IO, &st));
	EXPECT_EQ(0, st.snd);
	/* Not 0 for a disconnected socket, but as always what SIOCOUTQ says. */
	EXPECT_EQ(es_siocoutq(self->fd), st.outq);
	EXPECT_TRUE(st.events & EPOLLHUP);

	lfd = es_tcp_listen(&o, 8, &ss);
	ASSERT_LE(0, lfd);
	close(self->peer);
	es_connect(self->fd, &ss);
	self->peer = accept4(lfd, NULL, NULL, SOCK_CLOEXEC);
	ASSERT_LE(0, self->peer);
	do {
		ASSERT_EQ(4, es_next(self->ep, &st));
	} while (!st.snd);
	EXPECT_EQ(EPOLLSTATE | EPOLLOUT, st.events);
	TCP_ARRIVE(321);
	ASSERT_EQ(4, es_next(self->ep, &st));
	EXPECT_EQ(321, st.rcv);
	close(lfd);
}

/*
 * Where the numbers of bytes begin is random, and they end at 2^32.  There is
 * nothing special about 0, nor about where they change their sign; to run into
 * either by chance takes tens of thousands of connections.
 */
FIXTURE(numbers)
{
	int ep;
	int fd;
	int peer;
};

FIXTURE_VARIANT(numbers)
{
	int family;
	uint32_t turn;
};

FIXTURE_VARIANT_ADD(numbers, tcp4_zero) { .family = AF_INET };
FIXTURE_VARIANT_ADD(numbers, tcp4_sign) {
	.family = AF_INET, .turn = 1U << 31 };
FIXTURE_VARIANT_ADD(numbers, tcp6_zero) { .family = AF_INET6 };

FIXTURE_SETUP(numbers)
{
	ES_REQUIRE_KERNEL();
	ES_REQUIRE_ROOT();
	self->fd = -1;
	self->peer = -1;
	self->ep = epoll_create1(EPOLL_CLOEXEC);
	ASSERT_LE(0, self->ep);
}

FIXTURE_TEARDOWN(numbers)
{
	ES_TEARDOWN();
}

/* The number of the next byte that @fd sends, by TCP_REPAIR. */
static int es_tcp_get_next(int fd, uint32_t *next)
{
	socklen_t len = sizeof(*next);
	int err;

	err = es_set_opt(fd, IPPROTO_TCP, TCP_REPAIR, TCP_REPAIR_ON);
	if (!err)
		err = es_set_opt(fd, IPPROTO_TCP, TCP_REPAIR_QUEUE,
				 TCP_SEND_QUEUE);
	if (!err && getsockopt(fd, IPPROTO_TCP, TCP_QUEUE_SEQ, next, &len))
		err = -errno;
	return err ?: es_set_opt(fd, IPPROTO_TCP, TCP_REPAIR,
				 TCP_REPAIR_OFF_NO_WP);
}

/* A router says that it cannot reach the peer, about byte number @seq. */
static int es_tcp_unreachable(int fd, uint32_t seq)
{
	struct {
		struct icmphdr icmp;
		struct iphdr ip;
		uint16_t from, to;
		uint32_t seq;
	} pkt = {
		.icmp.type = ICMP_DEST_UNREACH, .icmp.code = ICMP_HOST_UNREACH,
		.ip = { .version = 4, .ihl = 5, .protocol = IPPROTO_TCP },
		.seq = htonl(seq),
	};
	const uint8_t *p = (const uint8_t *)&pkt;
	struct sockaddr_in from, to;
	socklen_t len = sizeof(from);
	uint32_t sum = 0;
	ssize_t n;
	size_t i;
	int raw;

	if (getsockname(fd, (struct sockaddr *)&from, &len) ||
	    getpeername(fd, (struct sockaddr *)&to, &len))
		return -errno;
	pkt.ip.saddr = from.sin_addr.s_addr;
	pkt.ip.daddr = to.sin_addr.s_addr;
	pkt.from = from.sin_port;
	pkt.to = to.sin_port;
	for (i = 0; i < sizeof(pkt); i += 2)
		sum += p[i] << 8 | p[i + 1];
	sum = (sum & 0xffff) + (sum >> 16);
	pkt.icmp.checksum = htons(~(sum + (sum >> 16)));
	from.sin_port = 0;
	raw = socket(AF_INET, SOCK_RAW | SOCK_CLOEXEC, IPPROTO_ICMP);
	n = sendto(raw, &pkt, sizeof(pkt), 0, (struct sockaddr *)&from, len);
	n = n == sizeof(pkt) ? 0 : -errno;
	close(raw);
	return n;
}

/* It does not end the connection: the next call reports it, and that is all. */
TEST_F(tcp, r5_a_soft_error_costs_no_credit_and_is_told_each_time)
{
	struct epoll_state st;
	uint32_t next;
	int i;

	if (variant->family != AF_INET)
		SKIP(return, "ICMP of IPv4");
	ES_REQUIRE_ROOT();
	ASSERT_EQ(0, es_tcp_get_next(self->fd, &next));
	ASSERT_EQ(0, es_set_opt(self->fd, IPPROTO_IP, IP_RECVERR, 1));
	REGISTER(ES_IO, &st);
	for (i = 0; i < 3; i++) {
		ASSERT_EQ(0, es_tcp_unreachable(self->fd, next));
		ASSERT_EQ(4, es_next(self->ep, &st));
		EXPECT_EQ(EHOSTUNREACH, st.error);
		EXPECT_LT(0, st.snd);
		EXPECT_EQ(0, es_pending(self->ep));
		EXPECT_EQ(EHOSTUNREACH,
			  es_int_opt(self->fd, SOL_SOCKET, SO_ERROR));
	}
	EXPECT_EQ(st.snd, es_write(self->fd, st.snd));
}

/* The number of its first byte is set, of a socket that is not connected. */
static int es_tcp_set_next(int fd, uint32_t next)
{
	int err;

	err = es_set_opt(fd, IPPROTO_TCP, TCP_REPAIR, TCP_REPAIR_ON);
	if (!err)
		err = es_set_opt(fd, IPPROTO_TCP, TCP_REPAIR_QUEUE,
				 TCP_SEND_QUEUE);
	if (!err)
		err = es_set_opt(fd, IPPROTO_TCP, TCP_QUEUE_SEQ, next);
	return err ?: es_set_opt(fd, IPPROTO_TCP, TCP_REPAIR,
				 TCP_REPAIR_OFF_NO_WP);
}

/* A pair: the first byte that sv[0] sends has number @first, but not 1. */
static int es_tcp_pair_from(const struct es_tcp_opts *o, uint32_t first,
			    int sv[2])
{
	struct sockaddr_storage ss;
	int lfd = es_tcp_listen(o, 8, &ss);
	uint32_t next = ~first;
	int err;

	if (lfd < 0)
		return lfd;
	sv[0] = es_tcp_socket(o);
	sv[1] = -1;
	/* The SYN takes one; connect(2) takes what is set, if it is not 0. */
	err = sv[0] < 0 ? sv[0] : es_tcp_set_next(sv[0], first - 1);
	if (!err)
		err = es_connect(sv[0], &ss);
	if (!err) {
		sv[1] = accept4(lfd, NULL, NULL, SOCK_CLOEXEC);
		if (sv[1] < 0)
			err = -errno;
	}
	close(lfd);
	if (!err)
		err = es_tcp_get_next(sv[0], &next);
	if (!err && next != first)
		err = -ERANGE;
	if (err) {
		close(sv[0]);
		close(sv[1]);
		return err;
	}
	es_nonblock(sv[0]);
	es_nonblock(sv[1]);
	return 0;
}

/* The first byte that self->fd sends comes @ahead bytes before the turn. */
#define CONNECT_AHEAD(ahead, rcvb)					\
do {									\
	const struct es_tcp_opts __o = {				\
		.family = variant->family,				\
		.sndbuf = 65536,					\
		.rcvbuf = (rcvb),					\
		.mss = 1220,						\
	};								\
	int __sv[2], __err;						\
									\
	if (self->fd >= 0) {						\
		close(self->fd);					\
		close(self->peer);					\
		self->fd = -1;						\
		self->peer = -1;					\
	}								\
	__err = es_tcp_pair_from(&__o, variant->turn - (ahead), __sv);	\
	if (__err == -EPERM || es_no_such_type(__err))			\
		SKIP(return, "no such sockets, or not to be repaired");	\
	ASSERT_EQ(0, __err);						\
	self->fd = __sv[0];						\
	self->peer = __sv[1];						\
} while (0)

static uint32_t es_wmem_queued(int fd)
{
	uint32_t mem[9] = {};
	socklen_t len = sizeof(mem);

	/* SK_MEMINFO_WMEM_QUEUED */
	getsockopt(fd, SOL_SOCKET, SO_MEMINFO, mem, &len);
	return mem[5];
}

/*
 * Segments of their own cost more memory than the buffer has, so that all but
 * the first half of them are taken for the promise alone.
 */
TEST_F_TIMEOUT(numbers, a_promise_is_kept_wherever_it_begins_and_ends,
	       ES_TIMEOUT)
{
	struct epoll_state st;
	uint32_t snd = 0;
	int i;

	for (i = 0; i < 8; i++) {
		/* The first one also tells what is promised. */
		const uint32_t ahead[] = {
			150000, 0, 1, snd / 2, snd - 1, snd, snd + 1, 90000,
		};
		uint32_t left, n;

		CONNECT_AHEAD(ahead[i], 0);
		ASSERT_EQ(0, es_set_opt(self->fd, IPPROTO_TCP, TCP_NODELAY,
					1));
		/* No acknowledgment: all that is written stays queued. */
		ASSERT_EQ(0, es_deaf(self->fd, true));
		REGISTER(ES_IO, &st);
		if (!i)
			snd = st.snd;
		/* Or the promise would end elsewhere. */
		ASSERT_EQ(snd, st.snd);
		/* Wakes, and nothing has changed. */
		ASSERT_EQ(0, es_set_buf(self->fd, true, 65536));
		EXPECT_EQ(0, es_pending(self->ep)) {
			TH_LOG("told again %u bytes ahead", ahead[i]);
		}

		for (left = snd; left; left -= n) {
			n = left < 2000 ? left : 2000;
			ASSERT_EQ(n, send(self->fd, es_buf(), n, MSG_EOR)) {
				TH_LOG("%u bytes ahead, %u of %u left",
				       ahead[i], left, snd);
			}
		}
		EXPECT_LT(65536, es_wmem_queued(self->fd));

		/* The next byte acknowledges what had arrived. */
		ASSERT_EQ(0, es_deaf(self->fd, false));
		ASSERT_EQ(1, es_write(self->peer, 1));
		ASSERT_TRUE(es_until(({
			es_drain(self->peer);
			es_set_opt(self->peer, IPPROTO_TCP, TCP_QUICKACK, 1);
			es_wait(self->ep, &st, 0) == 4 && !st.outq;
		}))) {
			TH_LOG("stalled %u bytes ahead, outq %d", ahead[i],
			       es_siocoutq(self->fd));
		}
		EXPECT_EQ(0, es_siocoutq(self->fd));
	}
}

/* As r7_records_of_space_are_few_and_worth_it, but over the turn. */
TEST_F_TIMEOUT(numbers, r7_credit_flows_over_the_turn, ES_TIMEOUT)
{
	static const uint32_t lowats[] = { 0, 16384 };
	const size_t ahead = 80000;
	struct es_rnd rnd = es_seed();
	struct epoll_state st;
	size_t i;

	for (i = 0; i < ARRAY_SIZE(lowats); i++) {
		const uint32_t unit = lowats[i] ?: 65536;
		unsigned int records = 0, stalls = 0;
		size_t sent = 0, acked = 0;
		uint32_t credit, n;

		/* Small, so that the queue is never empty by itself. */
		CONNECT_AHEAD(ahead, 16384);
		if (lowats[i])
			ASSERT_EQ(0, es_set_opt(self->fd, IPPROTO_TCP,
						TCP_NOTSENT_LOWAT, lowats[i]));
		REGISTER(EPOLLOUT, &st);
		credit = st.snd;
		while (acked < 2 * ahead) {
			while (credit) {
				n = es_rnd_upto(&rnd, unit);
				if (n > credit)
					n = credit;
				ASSERT_EQ(n, es_write(self->fd, n)) {
					TH_LOG("after %zu bytes", sent);
				}
				credit -= n;
				sent += n;
			}
			es_read(self->peer, es_rnd_upto(&rnd, 2 * unit));
			TCP_SETTLE();
			/* What a closed window holds back comes by a timer. */
			while (es_wait(self->ep, &st, stalls > 10) == 4) {
				records++;
				stalls = 0;
				credit = st.snd;
				acked = sent - st.outq;
				/* A round takes less than a quarter. */
				if (!lowats[i])
					EXPECT_LT(0, st.outq);
			}
			ASSERT_GT(10000, ++stalls) {
				TH_LOG("stalled: %zu sent, outq %d, inq %d",
				       sent, es_siocoutq(self->fd),
				       es_fionread(self->peer));
			}
		}
		EXPECT_GE(8 * (sent / unit + 1), records);
	}
}

TEST_F(numbers, each_byte_around_the_turn_is_told_to_both_ends)
{
	int in = epoll_create1(EPOLL_CLOEXEC), i;
	struct epoll_state st, got;

	ASSERT_LE(0, in);
	CONNECT_AHEAD(3, 0);
	REGISTER(EPOLLOUT, &st);
	ASSERT_EQ(0, es_add(in, self->peer,
			    EPOLLIN | EPOLLRDHUP | EPOLLSTATE));
	ASSERT_EQ(4, es_wait(in, &got, 0));
	for (i = 1; i <= 6; i++) {
		ASSERT_EQ(1, es_write(self->fd, 1));
		TCP_SETTLE();
		ASSERT_EQ(4, es_next(self->ep, &st));
		EXPECT_EQ(0, st.outq);
		EXPECT_EQ(i, st.seq);
		EXPECT_EQ(0, es_pending(self->ep));
		ASSERT_EQ(4, es_next(in, &got));
		EXPECT_EQ(EPOLLSTATE | EPOLLIN, got.events);
		EXPECT_EQ(i % 2 ? 1 : 2, got.rcv);
		EXPECT_EQ(i, got.seq);
		if (i % 2 == 0)
			ASSERT_EQ(2, es_read(self->peer, 100));
		EXPECT_EQ(0, es_pending(in));
	}
	close(in);
}

/* The end takes a number as well: the last before the turn, the first, ... */
TEST_F(numbers, an_end_of_file_at_the_turn_counts_no_byte)
{
	const uint32_t events = EPOLLIN | EPOLLRDHUP;
	struct epoll_state st;
	int i;

	for (i = 0; i < 4; i++) {
		CONNECT_AHEAD(2, 0);
		ASSERT_EQ(0, es_add(self->ep, self->peer, events | EPOLLSTATE));
		ASSERT_EQ(4, es_wait(self->ep, &st, 0));
		EXPECT_EQ(EPOLLSTATE, st.events);
		EXPECT_EQ(0, st.rcv);
		if (i)
			ASSERT_EQ(i, es_write(self->fd, i));
		ASSERT_EQ(0, shutdown(self->fd, SHUT_WR));
		ASSERT_TRUE(es_until(es_tcp_state(self->peer) ==
				     ES_TCP_CLOSE_WAIT));
		ASSERT_EQ(4, es_next(self->ep, &st));
		EXPECT_EQ(EPOLLSTATE | events, st.events);
		EXPECT_EQ(i, st.rcv);
		EXPECT_EQ(0, es_pending(self->ep));
		if (i)
			ASSERT_EQ(i, es_read(self->peer, 100));
		ASSERT_EQ(4, es_sample(self->ep, self->peer, events, &st));
		EXPECT_EQ(EPOLLSTATE | events, st.events);
		EXPECT_EQ(0, st.rcv);
		ASSERT_EQ(0, es_read(self->peer, 100));
	}
}

/* Sockets that are not, or not yet, connected. */

FIXTURE(unconnected)
{
	int ep;
	int fd;		/* fresh */
	int lfd;	/* bound only */
	struct sockaddr_storage ss;
};

FIXTURE_VARIANT(unconnected)
{
	int family;
};

ES_TCP_VARIANTS(unconnected);

FIXTURE_SETUP(unconnected)
{
	const struct es_tcp_opts o = { .family = variant->family };

	ES_REQUIRE_KERNEL();
	self->lfd = es_tcp_listen(&o, -1, &self->ss);
	if (es_no_such_type(self->lfd))
		SKIP(return, "no such sockets here");
	ASSERT_LE(0, self->lfd);
	es_nonblock(self->lfd);
	self->fd = es_tcp_socket(&o);
	ASSERT_LE(0, self->fd);
	es_nonblock(self->fd);
	self->ep = epoll_create1(EPOLL_CLOEXEC);
	ASSERT_LE(0, self->ep);
}

FIXTURE_TEARDOWN(unconnected)
{
	close(self->ep);
	close(self->fd);
	close(self->lfd);
}

/* One more connection to the listener, not waiting for anything. */
static int es_another(const struct sockaddr_storage *ss)
{
	int fd = socket(ss->ss_family,
			SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

	es_connect(fd, ss);
	return fd;
}

TEST_F(unconnected, a_fresh_socket_has_room_for_nothing)
{
	struct epoll_state st;

	REGISTER(ES_IO, &st);
	EXPECT_EQ(EPOLLSTATE | EPOLLHUP | EPOLLOUT, st.events);
	EXPECT_EQ(0, st.rcv);
	EXPECT_EQ(0, st.snd);
	EXPECT_EQ(0, st.outq);
	EXPECT_EQ(0, st.msgs);
	EXPECT_EQ(0, st.error);
	EXPECT_EQ(0, es_pending(self->ep));
}

TEST_F(unconnected, a_connect_that_succeeds_is_told_with_its_room)
{
	struct epoll_state st;
	int err;

	ASSERT_EQ(0, listen(self->lfd, 8));
	REGISTER(ES_IO, &st);
	err = es_connect(self->fd, &self->ss);
	ASSERT_TRUE(!err || err == -EINPROGRESS);
	do {
		ASSERT_EQ(4, es_next(self->ep, &st));
	} while (!st.snd);
	EXPECT_EQ(EPOLLSTATE | EPOLLOUT, st.events);
	EXPECT_EQ(0, st.error);
	EXPECT_EQ(st.snd, es_write(self->fd, st.snd));
}

TEST_F(unconnected, while_a_connect_is_in_progress_nothing_can_be_sent)
{
	struct epoll_state st;
	int filler[4], err;
	size_t i;

	/* A full accept queue keeps further ones from being established. */
	ASSERT_EQ(0, listen(self->lfd, 0));
	filler[0] = es_another(&self->ss);
	ASSERT_TRUE(es_until(es_polls(filler[0], POLLOUT)));
	ASSERT_TRUE(es_until(es_polls(self->lfd, POLLIN)));
	for (i = 1; i < ARRAY_SIZE(filler); i++)
		filler[i] = es_another(&self->ss);

	err = es_connect(self->fd, &self->ss);
	ASSERT_EQ(-EINPROGRESS, err);
	ASSERT_EQ(ES_TCP_SYN_SENT, es_tcp_state(self->fd));
	REGISTER(ES_IO, &st);
	ASSERT_EQ(ES_TCP_SYN_SENT, es_tcp_state(self->fd));
	EXPECT_EQ(EPOLLSTATE, st.events);
	EXPECT_EQ(0, st.rcv);
	EXPECT_EQ(0, st.snd);
	EXPECT_EQ(0, st.outq);
	EXPECT_EQ(0, st.error);
	EXPECT_EQ(0, es_pending(self->ep));
	for (i = 0; i < ARRAY_SIZE(filler); i++)
		close(filler[i]);
}

TEST_F(unconnected, a_connect_that_is_refused_tells_the_error)
{
	struct epoll_state st;
	int err;

	/* Bound but not listening: refused for sure. */
	REGISTER(ES_IO, &st);
	err = es_connect(self->fd, &self->ss);
	ASSERT_EQ(-EINPROGRESS, err);
	ASSERT_TRUE(es_until(es_polls(self->fd, POLLERR)));
	ASSERT_EQ(4, es_next(self->ep, &st));
	EXPECT_TRUE(st.events & EPOLLERR);
	EXPECT_TRUE(st.events & EPOLLHUP);
	EXPECT_EQ(ECONNREFUSED, st.error);
	EXPECT_EQ(0, st.snd);
	EXPECT_EQ(0, st.rcv);
	EXPECT_EQ(0, es_pending(self->ep));
	EXPECT_EQ(ECONNREFUSED, es_so_error(self->fd));
}

/* Nothing that is seen in between: the same events, the same error again. */
TEST_F(unconnected, each_connect_that_is_refused_is_told)
{
	struct epoll_state st;
	int i;

	REGISTER(ES_IO, &st);
	for (i = 0; i < 3; i++) {
		ASSERT_EQ(-EINPROGRESS, es_connect(self->fd, &self->ss));
		ASSERT_TRUE(es_until(es_polls(self->fd, POLLERR)));
		ASSERT_EQ(4, es_next(self->ep, &st));
		EXPECT_TRUE(st.events & EPOLLERR);
		EXPECT_EQ(ECONNREFUSED, st.error);
		EXPECT_EQ(0, es_pending(self->ep));
		ASSERT_EQ(-ECONNREFUSED, es_connect(self->fd, &self->ss));
	}
}

/*
 * self->lfd takes data that comes with a SYN.  How is a setting of the network
 * namespace: take a new one.
 */
#define FASTOPEN_LISTEN(setting)					\
do {									\
	ES_REQUIRE_ROOT();						\
	if (es_new_netns())						\
		SKIP(return, "no network namespaces");			\
	if (es_write_file("/proc/sys/net/ipv4/tcp_fastopen", setting))	\
		SKIP(return, "no TCP Fast Open");			\
	close(self->lfd);						\
	self->lfd = es_tcp_listen(&(struct es_tcp_opts){		\
				  .family = variant->family }, -1,	\
				  &self->ss);				\
	if (self->lfd < 0)						\
		SKIP(return, "no such address in a new namespace");	\
	ASSERT_EQ(0, es_set_opt(self->lfd, IPPROTO_TCP, TCP_FASTOPEN, 8)); \
	ASSERT_EQ(0, listen(self->lfd, 8));				\
} while (0)

TEST_F(unconnected, fast_open_tells_the_room_of_the_syn)
{
	int client, server, i, err;
	struct epoll_state st;

	FASTOPEN_LISTEN("3");
	/* The first connection fetches the cookie, the second uses it. */
	for (i = 0; i < 2; i++) {
		client = socket(variant->family,
				SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
		ASSERT_LE(0, client);
		ASSERT_EQ(0, es_set_opt(client, IPPROTO_TCP,
					TCP_FASTOPEN_CONNECT, 1));
		err = es_connect(client, &self->ss);
		if (err)
			ASSERT_EQ(-EINPROGRESS, err);
		if (!err && i) {
			/* Nothing was sent so far, not even the SYN. */
			ASSERT_EQ(0, es_add(self->ep, client,
					    ES_IO | EPOLLSTATE));
			ASSERT_EQ(4, es_wait(self->ep, &st, 0));
			EXPECT_EQ(EPOLLSTATE | EPOLLOUT, st.events);
			EXPECT_LT(400, st.snd);
			EXPECT_EQ(st.snd, es_write(client, st.snd));
			ASSERT_EQ(4, es_next(self->ep, &st));
			EXPECT_EQ(0, st.error);
		}
		if (err || !i)
			ASSERT_TRUE(es_until(es_polls(client, POLLOUT)));
		server = -1;
		if (err || i) {
			ASSERT_TRUE(es_until(es_polls(self->lfd, POLLIN)));
			server = accept4(self->lfd, NULL, NULL, SOCK_CLOEXEC);
			ASSERT_LE(0, server);
		}
		close(client);
		close(server);
		if (err && i)
			SKIP(return, "Fast Open did not come about");
	}
}

/* A socket that had a connection before, and longer segments than now. */
TEST_F(unconnected, fast_open_promises_no_more_than_any_syn_takes)
{
	const struct sockaddr none = { .sa_family = AF_UNSPEC };
	static const int most[] = { 0, 0, 400, 100 };
	int client, server, i, room;
	struct epoll_state st;
	char nops[40];

	/* 0x207: data with a SYN is sent and taken without a cookie. */
	FASTOPEN_LISTEN("519");
	memset(nops, IPOPT_NOP, sizeof(nops));
	client = socket(variant->family,
			SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	ASSERT_LE(0, client);
	es_connect(client, &self->ss);
	for (i = 0; i <= (int)ARRAY_SIZE(most); i++) {
		if (i) {
			ASSERT_EQ(4, es_wait(self->ep, &st, 0));
			EXPECT_EQ(EPOLLSTATE | EPOLLOUT, st.events);
			EXPECT_LE(room, (int)st.snd);
			EXPECT_EQ(st.snd, es_write(client, st.snd));
			ASSERT_EQ(0, epoll_ctl(self->ep, EPOLL_CTL_DEL, client,
					       NULL));
		}
		ASSERT_TRUE(es_until(es_polls(self->lfd, POLLIN)));
		server = accept4(self->lfd, NULL, NULL, SOCK_CLOEXEC);
		ASSERT_LE(0, server);
		ASSERT_EQ(0, connect(client, &none, sizeof(none)));
		es_so_error(client);
		close(server);
		if (i == (int)ARRAY_SIZE(most))
			break;

		ASSERT_EQ(0, es_set_lo_mtu(1500));
		ASSERT_EQ(0, es_set_opt(client, IPPROTO_TCP,
					TCP_FASTOPEN_CONNECT, 1));
		ASSERT_EQ(0, es_set_opt(client, IPPROTO_TCP, TCP_MAXSEG,
					most[i]));
		room = (most[i] ?: 536) - 40;
		/* From the second on, with options of IP. */
		if (variant->family == AF_INET && i) {
			ASSERT_EQ(0, setsockopt(client, IPPROTO_IP, IP_OPTIONS,
						nops, sizeof(nops)));
			room -= sizeof(nops);
		}
		ASSERT_EQ(0, es_connect(client, &self->ss));
		ASSERT_EQ(0, es_add(self->ep, client, ES_IO | EPOLLSTATE));
	}
	close(client);
}

/*
 * A connection that is accepted with data of its SYN while the handshake goes
 * on: the client hears of no answer, and acknowledges none.
 */
#define ACCEPT_EARLY(client, server)					\
do {									\
	/* 0x207: data with a SYN is sent and taken without a cookie. */ \
	FASTOPEN_LISTEN("519");						\
	(client) = socket(variant->family,				\
			  SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0); \
	ASSERT_LE(0, client);						\
	ASSERT_EQ(0, es_deaf(client, true));				\
	ASSERT_EQ(300, sendto(client, es_buf(), 300, MSG_FASTOPEN,	\
			      (struct sockaddr *)&self->ss,		\
			      variant->family == AF_INET6 ?		\
			      sizeof(struct sockaddr_in6) :		\
			      sizeof(struct sockaddr_in)));		\
	ASSERT_TRUE(es_until(es_polls(self->lfd, POLLIN)));		\
	(server) = accept4(self->lfd, NULL, NULL,			\
			   SOCK_CLOEXEC | SOCK_NONBLOCK);		\
	ASSERT_LE(0, server);						\
	ASSERT_EQ(ES_TCP_SYN_RECV, es_tcp_state(server));		\
} while (0)

/* SIOCINQ says 0 until the handshake is over, but a read returns it. */
TEST_F(unconnected, what_came_with_a_syn_counts_before_the_handshake_is_over)
{
	unsigned int sent, len;
	struct epoll_state st;
	int client, server;

	ACCEPT_EARLY(client, server);
	/* One large write takes twice as much, as a second segment is begun. */
	ASSERT_EQ(0, es_set_buf(server, true, 70000));
	ASSERT_EQ(0, es_add(self->ep, server, ES_IO | EPOLLSTATE));
	ASSERT_EQ(4, es_wait(self->ep, &st, 0));
	EXPECT_EQ(EPOLLSTATE | EPOLLIN | EPOLLOUT, st.events);
	EXPECT_EQ(300, st.rcv);
	EXPECT_EQ(0, st.outq);
	EXPECT_EQ(0, es_fionread(server));
	/* It may be answered as well: as promised, by any number of writes. */
	EXPECT_LT(0, st.snd);
	for (sent = 0; sent < st.snd; sent += len) {
		len = st.snd - sent < 1000 ? st.snd - sent : 1000;
		ASSERT_EQ(len, es_write(server, len));
	}
	ASSERT_EQ(100, es_read(server, 100));
	EXPECT_EQ(0, es_pending(self->ep));
	ASSERT_EQ(4, es_sample(self->ep, server, ES_IO, &st));
	EXPECT_EQ(200, st.rcv);
	EXPECT_EQ(sent, st.outq);
	ASSERT_EQ(ES_TCP_SYN_RECV, es_tcp_state(server));

	/* The answer to the SYN is sent again, a second later. */
	ASSERT_EQ(0, es_deaf(client, false));
	ASSERT_TRUE(es_until(es_tcp_state(server) == ES_TCP_ESTABLISHED));
	EXPECT_EQ(200, es_fionread(server));
	ASSERT_EQ(50, es_write(client, 50));
	do {
		ASSERT_EQ(4, es_next(self->ep, &st));
	} while (st.rcv == 200);
	EXPECT_TRUE(st.events & EPOLLIN);
	EXPECT_EQ(250, st.rcv);
	EXPECT_EQ(250, es_read(server, 8000));
	close(client);
	close(server);
}

TEST_F(unconnected, a_shutdown_before_the_handshake_is_over_ends_snd)
{
	struct epoll_state st;
	int client, server;

	ACCEPT_EARLY(client, server);
	ASSERT_EQ(0, es_add(self->ep, server, ES_IO | EPOLLSTATE));
	ASSERT_EQ(4, es_wait(self->ep, &st, 0));
	EXPECT_LT(0, st.snd);
	ASSERT_EQ(0, shutdown(server, SHUT_WR));
	EXPECT_EQ(-1, send(server, "x", 1, MSG_NOSIGNAL));
	EXPECT_EQ(EPIPE, errno);
	ASSERT_EQ(4, es_sample(self->ep, server, ES_IO, &st));
	EXPECT_EQ(0, st.snd);
	EXPECT_EQ(300, st.rcv);
	ASSERT_EQ(ES_TCP_SYN_RECV, es_tcp_state(server));
	close(client);
	close(server);
}

TEST_F(unconnected, a_listening_socket_counts_who_waits_to_be_accepted)
{
	struct epoll_state st;
	int c[3], a, i;

	ASSERT_EQ(0, listen(self->lfd, 8));
	ASSERT_EQ(0, es_add(self->ep, self->lfd, EPOLLIN | EPOLLSTATE));
	ASSERT_EQ(4, es_wait(self->ep, &st, 0));
	EXPECT_EQ(EPOLLSTATE, st.events);
	EXPECT_EQ(0, st.msgs);
	EXPECT_EQ(0, st.rcv);
	EXPECT_EQ(0, st.snd);
	EXPECT_EQ(0, st.outq);
	for (i = 0; i < 3; i++) {
		c[i] = es_another(&self->ss);
		do {
			ASSERT_EQ(4, es_next(self->ep, &st));
			EXPECT_EQ(EPOLLSTATE | EPOLLIN, st.events);
		} while (st.msgs < i + 1);
		EXPECT_EQ(i + 1, st.msgs);
	}
	EXPECT_EQ(0, es_pending(self->ep));
	/* Taking them is silent; as many as told can be taken at once. */
	for (i = 0; i < 3; i++) {
		a = accept4(self->lfd, NULL, NULL, SOCK_CLOEXEC);
		EXPECT_LE(0, a);
		close(a);
		close(c[i]);
		EXPECT_EQ(0, es_pending(self->ep));
	}
	EXPECT_EQ(-1, accept4(self->lfd, NULL, NULL, SOCK_CLOEXEC));
	EXPECT_EQ(EAGAIN, errno);
	ASSERT_EQ(4, es_sample(self->ep, self->lfd, EPOLLIN, &st));
	EXPECT_EQ(EPOLLSTATE, st.events);
	EXPECT_EQ(0, st.msgs);
}

TEST_F(unconnected, listen_may_come_after_the_registration)
{
	struct epoll_state st;
	int c;

	ASSERT_EQ(0, es_add(self->ep, self->lfd, EPOLLIN | EPOLLSTATE));
	ASSERT_EQ(4, es_wait(self->ep, &st, 0));
	EXPECT_EQ(EPOLLSTATE | EPOLLHUP, st.events);
	EXPECT_EQ(0, st.msgs);
	ASSERT_EQ(0, listen(self->lfd, 8));
	c = es_another(&self->ss);
	do {
		ASSERT_EQ(4, es_next(self->ep, &st));
	} while (!st.msgs);
	EXPECT_EQ(EPOLLSTATE | EPOLLIN, st.events);
	EXPECT_EQ(1, st.msgs);
	EXPECT_EQ(0, st.rcv);
	EXPECT_EQ(0, st.snd);
	close(c);
}

TEST_F(unconnected, an_accept_queue_that_overflows_counts_what_it_holds)
{
	struct epoll_state st;
	int c[6], a, i, held;

	ASSERT_EQ(0, listen(self->lfd, 2));
	ASSERT_EQ(0, es_add(self->ep, self->lfd, EPOLLIN | EPOLLSTATE));
	ASSERT_EQ(4, es_wait(self->ep, &st, 0));
	for (i = 0; i < 6; i++)
		c[i] = es_another(&self->ss);
	/* The queue takes one more than asked for. */
	do {
		ASSERT_EQ(4, es_next(self->ep, &st));
	} while (st.msgs < 3);
	EXPECT_EQ(3, st.msgs);
	ASSERT_EQ(4, es_sample(self->ep, self->lfd, EPOLLIN, &st));
	EXPECT_EQ(3, st.msgs);
	held = st.msgs;
	for (i = 0; i < held; i++) {
		a = accept4(self->lfd, NULL, NULL, SOCK_CLOEXEC);
		EXPECT_LE(0, a);
		close(a);
	}
	for (i = 0; i < 6; i++)
		close(c[i]);
}

TEST_HARNESS_MAIN
