// SPDX-License-Identifier: GPL-2.0
/*
 * The layout of a record in memory as the kernel writes it.  Built for 32 and
 * for 64 bits: a 64-bit kernel writes the same to both.
 */

#include "common.h"

TEST(the_kernel_writes_each_field_where_the_header_says)
{
	struct epoll_event slots[EPOLL_STATE_SLOTS + 1];
	const uint64_t one = 1;
	uint32_t word[2];
	int ep, fd, i;

	ES_REQUIRE_KERNEL();
	ep = epoll_create1(EPOLL_CLOEXEC);
	fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
	ASSERT_EQ(0, es_add(ep, fd, EPOLLIN | EPOLLSTATE));
	for (i = 0; i < 3; i++) {
		ASSERT_EQ(8, write(fd, &one, 8));
		memset(slots, 0xa5, sizeof(slots));
		ASSERT_EQ(4, epoll_wait(ep, slots, 5, 0));
	}
	EXPECT_EQ(EPOLLSTATE | EPOLLIN, slots[0].events);
	EXPECT_EQ(ES_COOKIE, slots[0].data.u64);
	for (i = 1; i < EPOLL_STATE_SLOTS; i++)
		EXPECT_EQ(0, slots[i].events);
	memcpy(word, &slots[1].data, sizeof(word));
	EXPECT_EQ(8, word[0]);
	EXPECT_EQ(8, word[1]);
	memcpy(word, &slots[2].data, sizeof(word));
	EXPECT_EQ(0, word[0]);
	EXPECT_EQ(0, word[1]);
	memcpy(word, &slots[3].data, sizeof(word));
	EXPECT_EQ(0, word[0]);
	EXPECT_EQ(2, word[1]);

	/* Nothing behind the record. */
	for (i = 0; i < (int)sizeof(slots[4]); i++)
		EXPECT_EQ(0xa5, ((unsigned char *)&slots[4])[i]);
	close(fd);
	close(ep);
}

TEST(no_kernel_memory_shows_in_the_padding)
{
	const size_t hole = offsetof(struct epoll_event, data) -
			    sizeof(uint32_t);
	struct epoll_event slots[EPOLL_STATE_SLOTS];
	unsigned char *byte;
	size_t i, j;
	int ep, fd;

	ES_REQUIRE_KERNEL();
	ep = epoll_create1(EPOLL_CLOEXEC);
	fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
	memset(slots, 0xa5, sizeof(slots));
	ASSERT_EQ(0, es_add(ep, fd, EPOLLIN | EPOLLSTATE));
	ASSERT_EQ(4, epoll_wait(ep, slots, 4, 0));
	for (i = 0; i < EPOLL_STATE_SLOTS; i++) {
		byte = (unsigned char *)&slots[i] + sizeof(uint32_t);
		for (j = 0; j < hole; j++)
			EXPECT_TRUE(byte[j] == 0 || byte[j] == 0xa5);
	}
	close(fd);
	close(ep);
}

TEST(the_cookie_comes_back_untouched)
{
	static const uint64_t cookies[] = {
		0, 1, UINT64_MAX, 1ULL << 63, 0xffffffffULL,
		0xffffffff00000000ULL, ES_COOKIE,
	};
	struct epoll_state st;
	size_t i;
	int ep, fd;

	ES_REQUIRE_KERNEL();
	ep = epoll_create1(EPOLL_CLOEXEC);
	fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
	ASSERT_EQ(0, es_add(ep, fd, EPOLLIN | EPOLLSTATE));
	for (i = 0; i < ARRAY_SIZE(cookies); i++) {
		ASSERT_EQ(0, es_ctl(ep, EPOLL_CTL_MOD, fd,
				    EPOLLIN | EPOLLSTATE, cookies[i]));
		ASSERT_EQ(4, es_wait(ep, &st, 0));
		EXPECT_EQ(cookies[i], st.data.u64);
	}
	close(fd);
	close(ep);
}

/* What the process did not set is what it gets back. */
TEST(a_signed_negative_data_is_not_extended)
{
	struct epoll_event ev = { .events = EPOLLIN | EPOLLSTATE };
	struct epoll_state st;
	int ep, fd;

	ES_REQUIRE_KERNEL();
	ep = epoll_create1(EPOLL_CLOEXEC);
	fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
	ev.data.fd = -1;
	ASSERT_EQ(0, epoll_ctl(ep, EPOLL_CTL_ADD, fd, &ev));
	ASSERT_EQ(4, es_wait(ep, &st, 0));
	EXPECT_EQ(ev.data.u64, st.data.u64);
	EXPECT_EQ(-1, st.data.fd);
	close(fd);
	close(ep);
}

TEST_HARNESS_MAIN
