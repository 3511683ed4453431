// SPDX-License-Identifier: GPL-2.0
/*
 * What EPOLLSTATE does where there is not enough: a process without
 * descriptors, a system without memory for sockets.  Watches: memory_test; an
 * array that is not all there: buffer_test.
 */

#include <sys/resource.h>

#include "common.h"

FIXTURE(limits)
{
	int ep;
	int fd;
	int peer;
};

FIXTURE_SETUP(limits)
{
	int sv[2];

	ES_SETUP(es_unix_stream_pair(sv), sv, RECEIVER);
}

FIXTURE_TEARDOWN(limits)
{
	ES_TEARDOWN();
}

TEST_F(limits, without_descriptors_left_it_goes_on)
{
	struct rlimit limit, none;
	struct epoll_state st;

	ASSERT_EQ(0, getrlimit(RLIMIT_NOFILE, &limit));
	none = limit;
	none.rlim_cur = 0;
	ASSERT_EQ(0, setrlimit(RLIMIT_NOFILE, &none));
	EXPECT_EQ(-1, epoll_create1(0));
	EXPECT_EQ(EMFILE, errno);
	/* To register needs none. */
	EXPECT_EQ(0, es_add(self->ep, self->fd, ES_IO | EPOLLSTATE));
	EXPECT_EQ(4, es_wait(self->ep, &st, 0));
	ASSERT_EQ(100, es_write(self->peer, 100));
	EXPECT_EQ(4, es_wait(self->ep, &st, 0));
	EXPECT_EQ(100, st.rcv);
	ASSERT_EQ(0, setrlimit(RLIMIT_NOFILE, &limit));
}

/*
 * The exception of the promise: the system has no memory left for sockets.  The
 * kernel takes back room that it had promised, and may refuse what was in the
 * promise, as it would without EPOLLSTATE.  But what can go on is told, and
 * nothing is lost.
 */
#define TCP_MEM		"/proc/sys/net/ipv4/tcp_mem"

FIXTURE(pressure)
{
	int ep;
	int fd;
	int peer;
	int other[2];		/* holds the memory there is */
	char saved[80];
};

FIXTURE_VARIANT(pressure)
{
	int family;
};

ES_TCP_VARIANTS(pressure);

FIXTURE_SETUP(pressure)
{
	const struct es_tcp_opts o = { .family = variant->family };
	const struct es_tcp_opts big = {
		.family = variant->family, .sndbuf = 4 << 20, .rcvbuf = 4 << 20,
	};
	int sv[2];

	self->saved[0] = '\0';
	ES_SETUP(es_tcp_pair_opts(&o, sv), sv, SENDER);
	ES_REQUIRE_ROOT();
	ASSERT_LT(0, es_read_file(TCP_MEM, self->saved, sizeof(self->saved)));
	/* Each processor has some in reserve that is not in the account. */
	ASSERT_EQ(0, es_tcp_pair_opts(&big, self->other));
	ASSERT_LT(4 << 20, es_fill(&es_tcp4, self->other[0], self->other[1]));
}

FIXTURE_TEARDOWN(pressure)
{
	if (self->saved[0])
		es_write_file(TCP_MEM, self->saved);
	close(self->other[0]);
	close(self->other[1]);
	ES_TEARDOWN();
}

TEST_F_TIMEOUT(pressure, without_socket_memory_it_goes_on_and_loses_nothing,
	       ES_TIMEOUT)
{
	size_t sent = 0, got = 0, refused = 0;
	const int sndbuf = es_int_opt(self->fd, SOL_SOCKET, SO_SNDBUF);
	struct epoll_state st;
	uint32_t credit;
	ssize_t n;

	REGISTER(ES_IO, &st);
	credit = st.snd;
	ASSERT_EQ(0, es_write_file(TCP_MEM, "1 2 3"));
	while (sent < 1000000) {
		const uint32_t len = credit < 20000 ? credit : 20000;

		n = credit ? es_write(self->fd, len) : 0;
		if (n > 0)
			sent += n;
		if (n != (ssize_t)len) {
			ASSERT_TRUE(n > 0 || n == -EAGAIN);
			refused++;
			credit = 0;
		} else {
			credit -= len;
		}
		/* What comes next: room for it, told without a further call. */
		ASSERT_TRUE(es_until(({
			got += es_drain(self->peer);
			if (es_wait(self->ep, &st, 0) == 4)
				credit = st.snd;
			credit > 0;
		}))) {
			TH_LOG("stalled: %zu sent, %zu got, %zu refused", sent,
			       got, refused);
		}
	}
	/* So it was: the kernel has made the send buffer smaller. */
	EXPECT_LT(es_int_opt(self->fd, SOL_SOCKET, SO_SNDBUF), sndbuf);
	ASSERT_EQ(0, es_write_file(TCP_MEM, self->saved));
	ASSERT_TRUE(es_until((got += es_drain(self->peer)) == sent));
}

TEST_HARNESS_MAIN
