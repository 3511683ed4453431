// SPDX-License-Identifier: GPL-2.0
/* How an application finds out what the kernel can do. */

#include "common.h"

TEST(the_support_check_says_yes)
{
	ES_REQUIRE_KERNEL();
	EXPECT_EQ(1, epollstate_supported());
}

TEST(with_epollstate_the_same_call_gives_records)
{
	const uint64_t one = 1;
	struct epoll_event slots[EPOLL_STATE_SLOTS];
	int ep, fd;

	ES_REQUIRE_KERNEL();
	ep = epoll_create1(EPOLL_CLOEXEC);
	fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
	ASSERT_EQ(0, es_add(ep, fd, EPOLLIN | EPOLLSTATE | EPOLLET));
	ASSERT_EQ(4, epoll_wait(ep, slots, EPOLL_STATE_SLOTS, 0));
	ASSERT_TRUE(!!epollstate_record(&slots[0]));
	EXPECT_EQ(4, epollstate_next(slots, 4, 0));
	ASSERT_EQ(8, write(fd, &one, 8));
	ASSERT_EQ(4, epoll_wait(ep, slots, EPOLL_STATE_SLOTS, 0));
	EXPECT_EQ(EPOLLSTATE | EPOLLIN, slots[0].events);
	EXPECT_EQ(8, epollstate_record(&slots[0])->rcv);
}

TEST_HARNESS_MAIN
