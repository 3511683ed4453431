// SPDX-License-Identifier: GPL-2.0
/*
 * What EPOLLSTATE does where there is not enough: an array that is not all
 * there, a process without descriptors, a system without memory for sockets.
 */

#include <sys/mman.h>
#include <sys/resource.h>

#include "common.h"

/* An array that is not all there. */
FIXTURE(array)
{
	int ep;
	int fd;
	int peer;
	char *page;		/* behind it there is nothing */
	size_t size;
};

FIXTURE_SETUP(array)
{
	int sv[2];

	ES_SETUP(es_unix_stream_pair(sv), sv, RECEIVER);
	self->size = sysconf(_SC_PAGESIZE);
	self->page = mmap(NULL, 2 * self->size, PROT_READ | PROT_WRITE,
			  MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	ASSERT_NE(MAP_FAILED, self->page);
	ASSERT_EQ(0, munmap(self->page + self->size, self->size));
}

FIXTURE_TEARDOWN(array)
{
	munmap(self->page, self->size);
	ES_TEARDOWN();
}

TEST_F(array, r8_what_fits_before_its_end_is_delivered)
{
	struct epoll_event *slots;
	struct epoll_state st;
	int room;

	for (room = 4; room < 8; room++) {
		ASSERT_EQ(0, es_add(self->ep, self->fd, ES_IO | EPOLLSTATE));
		ASSERT_EQ(0, es_add(self->ep, self->peer, ES_IO | EPOLLSTATE));
		slots = (void *)(self->page + self->size -
				 room * sizeof(*slots));
		ASSERT_EQ(4, epoll_wait(self->ep, slots, 8, 0));
		memcpy(&st, slots, sizeof(st));
		EXPECT_EQ(0, st.seq);
		/* The other one, whole. */
		ASSERT_EQ(4, es_wait(self->ep, &st, 0));
		EXPECT_EQ(0, st.seq);
		EXPECT_EQ(0, es_pending(self->ep));
		ASSERT_EQ(0, es_ctl(self->ep, EPOLL_CTL_DEL, self->fd, 0, 0));
		ASSERT_EQ(0, es_ctl(self->ep, EPOLL_CTL_DEL, self->peer, 0, 0));
	}
}

TEST_F(array, r8_it_may_be_read_only_or_the_kernels)
{
	struct epoll_state st;

	ASSERT_EQ(0, es_add(self->ep, self->fd, ES_IO | EPOLLSTATE));
	ASSERT_EQ(0, mprotect(self->page, self->size, PROT_READ));
	EXPECT_EQ(-1, epoll_wait(self->ep, (void *)self->page, 4, 0));
	EXPECT_EQ(EFAULT, errno);
	/* The last bytes that a user could ever have, and none of his. */
	EXPECT_EQ(-1, epoll_wait(self->ep, (void *)-16UL, 4, 0));
	EXPECT_EQ(EFAULT, errno);
	EXPECT_EQ(-1, epoll_wait(self->ep, (void *)(~0UL << 40), 4, 0));
	EXPECT_EQ(EFAULT, errno);
	ASSERT_EQ(4, es_wait(self->ep, &st, 0));
	EXPECT_EQ(0, st.seq);
}

TEST_F(array, without_descriptors_left_it_goes_on)
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
