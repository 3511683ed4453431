// SPDX-License-Identifier: GPL-2.0
/*
 * The state of a registration is charged to max_user_watches as one watch
 * more, and given back on every way out.  The limit is lowered for a user of
 * our own, so that a single leak ends in ENOSPC.
 */

#include "watches.h"

#define ROUNDS		20

FIXTURE(memory)
{
	char saved[32];
	int ep;
	int fd;
	int mute;	/* cannot report */
};

FIXTURE_SETUP(memory)
{
	ES_REQUIRE_KERNEL();
	ES_REQUIRE_ROOT();
	ASSERT_LT(0, es_read_file(ES_LIMIT_FILE, self->saved,
				  sizeof(self->saved)));
	self->fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
	ASSERT_LE(0, self->fd);
	self->mute = es_mute_file();
	ASSERT_LE(0, self->mute);
	self->ep = es_other_epoll();
	ASSERT_LE(0, self->ep);
}

FIXTURE_TEARDOWN(memory)
{
	es_set_watch_limit(self->saved);
	close(self->ep);
	close(self->fd);
	close(self->mute);
}

#define LIMIT(text)	ASSERT_EQ(0, es_set_watch_limit(text))

#define EXPECT_ALL_BACK()						\
	EXPECT_TRUE(es_watches_back(self->ep, self->mute))

TEST_F(memory, a_registration_counts_as_two_watches)
{
	struct epoll_state st;

	LIMIT("1");
	EXPECT_EQ(-ENOSPC, es_add(self->ep, self->fd, EPOLLIN | EPOLLSTATE));
	/* The failed call left neither a registration nor a charge. */
	EXPECT_EQ(-ENOENT, es_ctl(self->ep, EPOLL_CTL_DEL, self->fd, 0, 0));
	EXPECT_EQ(0, es_add(self->ep, self->fd, EPOLLIN));
	EXPECT_EQ(0, es_ctl(self->ep, EPOLL_CTL_DEL, self->fd, 0, 0));

	LIMIT("2");
	EXPECT_EQ(0, es_add(self->ep, self->fd, EPOLLIN | EPOLLSTATE));
	EXPECT_EQ(-ENOSPC, es_add(self->ep, self->mute, EPOLLIN));
	EXPECT_EQ(4, es_wait(self->ep, &st, 0));
	EXPECT_EQ(0, es_ctl(self->ep, EPOLL_CTL_DEL, self->fd, 0, 0));
	EXPECT_ALL_BACK();
}

TEST_F(memory, mod_that_adds_epollstate_needs_a_watch_more)
{
	struct epoll_state st;

	LIMIT("1");
	ASSERT_EQ(0, es_ctl(self->ep, EPOLL_CTL_ADD, self->fd, EPOLLIN, 7));
	EXPECT_EQ(-ENOSPC, es_mod(self->ep, self->fd, EPOLLOUT | EPOLLSTATE));
	/* The registration is what it was. */
	EXPECT_EQ(0, es_pending(self->ep));
	ASSERT_EQ(8, write(self->fd, &(uint64_t){ 1 }, 8));
	ASSERT_EQ(1, es_wait(self->ep, &st, 0));
	EXPECT_EQ(EPOLLIN, st.events);
	EXPECT_EQ(7, st.data.u64);
	EXPECT_EQ(1, es_pending(self->ep));

	LIMIT("2");
	EXPECT_EQ(0, es_mod(self->ep, self->fd, EPOLLIN | EPOLLSTATE));
	EXPECT_EQ(4, es_wait(self->ep, &st, 0));
	/* Keeping it needs nothing. */
	EXPECT_EQ(0, es_mod(self->ep, self->fd, EPOLLIN | EPOLLSTATE));
	EXPECT_EQ(0, es_ctl(self->ep, EPOLL_CTL_DEL, self->fd, 0, 0));
	EXPECT_ALL_BACK();
}

TEST_F(memory, del_gives_back)
{
	int i;

	LIMIT("2");
	for (i = 0; i < ROUNDS; i++) {
		ASSERT_EQ(0, es_add(self->ep, self->fd,
				    EPOLLIN | EPOLLSTATE));
		ASSERT_EQ(0, es_ctl(self->ep, EPOLL_CTL_DEL, self->fd, 0, 0));
	}
	EXPECT_ALL_BACK();
}

TEST_F(memory, dropping_the_bit_gives_back)
{
	int i;

	LIMIT("2");
	ASSERT_EQ(0, es_add(self->ep, self->fd, EPOLLIN | EPOLLSTATE));
	for (i = 0; i < ROUNDS; i++) {
		ASSERT_EQ(0, es_mod(self->ep, self->fd, EPOLLIN));
		ASSERT_EQ(0, es_mod(self->ep, self->fd,
				    EPOLLIN | EPOLLSTATE));
		ASSERT_EQ(0, es_mod(self->ep, self->fd,
				    EPOLLIN | EPOLLSTATE));
	}
	ASSERT_EQ(0, es_mod(self->ep, self->fd, EPOLLIN));
	/* One of the two is free now. */
	EXPECT_EQ(0, es_add(self->ep, self->mute, EPOLLIN));
	EXPECT_EQ(0, es_ctl(self->ep, EPOLL_CTL_DEL, self->mute, 0, 0));
	EXPECT_EQ(0, es_ctl(self->ep, EPOLL_CTL_DEL, self->fd, 0, 0));
	EXPECT_ALL_BACK();
}

TEST_F(memory, closing_the_file_gives_back)
{
	struct epoll_state st;
	int fd, i;

	LIMIT("2");
	for (i = 0; i < ROUNDS; i++) {
		fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
		ASSERT_EQ(0, es_add(self->ep, fd, EPOLLIN | EPOLLSTATE));
		/* With its record pending, and with it delivered. */
		if (i & 1)
			ASSERT_EQ(4, es_wait(self->ep, &st, 0));
		close(fd);
		ASSERT_EQ(0, es_pending(self->ep));
	}
	EXPECT_ALL_BACK();
}

TEST_F(memory, closing_the_epoll_gives_back)
{
	int ep, i;

	LIMIT("2");
	for (i = 0; i < ROUNDS; i++) {
		ep = es_other_epoll();
		ASSERT_LE(0, ep);
		ASSERT_EQ(0, es_add(ep, self->fd, EPOLLIN | EPOLLSTATE));
		close(ep);
	}
	EXPECT_ALL_BACK();
}

TEST_F(memory, the_end_of_a_process_gives_back)
{
	int i, status;
	pid_t pid;

	LIMIT("2");
	for (i = 0; i < ROUNDS; i++) {
		pid = fork();
		ASSERT_LE(0, pid);
		if (!pid) {
			int ep = es_other_epoll();
			int fd = eventfd(0, 0);

			_exit(es_add(ep, fd, EPOLLIN | EPOLLSTATE) ? 1 : 0);
		}
		ASSERT_EQ(pid, waitpid(pid, &status, 0));
		ASSERT_EQ(0, status);
	}
	EXPECT_ALL_BACK();
}

TEST_F(memory, calls_that_fail_keep_nothing)
{
	const uint32_t bad = EPOLLIN | EPOLLSTATE | EPOLLEXCLUSIVE;
	int i;

	LIMIT("2");
	for (i = 0; i < ROUNDS; i++) {
		ASSERT_EQ(-EOPNOTSUPP, es_add(self->ep, self->mute,
					      EPOLLIN | EPOLLSTATE));
		ASSERT_EQ(-EINVAL, es_add(self->ep, self->fd, bad));
		ASSERT_EQ(-ENOENT, es_mod(self->ep, self->fd,
					  EPOLLIN | EPOLLSTATE));
	}
	EXPECT_ALL_BACK();
	ASSERT_EQ(0, es_add(self->ep, self->fd, EPOLLIN | EPOLLSTATE));
	for (i = 0; i < ROUNDS; i++) {
		ASSERT_EQ(-EEXIST, es_add(self->ep, self->fd,
					  EPOLLIN | EPOLLSTATE));
		ASSERT_EQ(-EINVAL, es_mod(self->ep, self->fd, bad));
	}
	ASSERT_EQ(0, es_ctl(self->ep, EPOLL_CTL_DEL, self->fd, 0, 0));
	/* MOD that may not add it. */
	ASSERT_EQ(0, es_add(self->ep, self->mute, EPOLLIN));
	for (i = 0; i < ROUNDS; i++)
		ASSERT_EQ(-EOPNOTSUPP, es_mod(self->ep, self->mute,
					      EPOLLIN | EPOLLSTATE));
	ASSERT_EQ(0, es_ctl(self->ep, EPOLL_CTL_DEL, self->mute, 0, 0));
	EXPECT_ALL_BACK();
}

TEST_F(memory, every_type_gives_back)
{
	static const struct es_type * const types[] = {
		ES_TYPES(ES_POINTER, unused)
	};
	int sv[2], i, err;
	size_t t;

	LIMIT("2");
	for (t = 0; t < ARRAY_SIZE(types); t++) {
		for (i = 0; i < ROUNDS; i++) {
			/* A file that is only written to cannot be polled. */
			const int end = types[t]->send ? 1 : i / 2 % 2;

			err = types[t]->pair(sv);
			if (es_no_such_type(err))
				break;
			ASSERT_EQ(0, err);
			ASSERT_EQ(0, es_add(self->ep, sv[end],
					    ES_IO | EPOLLSTATE)) {
				TH_LOG("%s, %d", types[t]->name, i);
			}
			es_send(types[t], sv[0], es_len(types[t], 100));
			if (types[t]->both)
				es_write(sv[1], es_len(types[t], 100));
			close(sv[i & 1]);
			close(sv[!(i & 1)]);
		}
	}
	EXPECT_ALL_BACK();
}

TEST_HARNESS_MAIN
