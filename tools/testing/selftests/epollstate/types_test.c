// SPDX-License-Identifier: GPL-2.0
/*
 * The tests' own table of file types, without EPOLLSTATE: what is sent arrives,
 * and the oracles that records are compared with say so.
 */

#include "common.h"

FIXTURE(types)
{
	int fd;
	int peer;
	struct es_queue queue;
};

FIXTURE_VARIANT(types)
{
	const struct es_type *type;
};

ES_TYPES(ES_ADD_ALL, types)

FIXTURE_SETUP(types)
{
	int sv[2];

	ES_PAIR(variant->type->pair(sv));
	self->fd = sv[RECEIVER];
	self->peer = sv[SENDER];
}

FIXTURE_TEARDOWN(types)
{
	close(self->fd);
	if (self->peer >= 0)
		close(self->peer);
}

TEST_F(types, what_is_sent_arrives_and_can_be_read)
{
	int i;

	EXPECT_EQ(0, variant->type->rcv(self->fd));
	for (i = 1; i < 8; i++) {
		ARRIVE(100 * i);
		EXPECT_EQ(es_queue_rcv(&self->queue),
			  variant->type->rcv(self->fd));
	}
	for (i = 1; i < 20; i++) {
		EXPECT_EQ(es_queue_rcv(&self->queue),
			  variant->type->rcv(self->fd));
		if (self->queue.n)
			TAKE(300);
	}
	EXPECT_EQ(0, variant->type->rcv(self->fd));
	EXPECT_EQ(-EAGAIN, es_read(self->fd, 8));
}

TEST_F(types, both_ends_do_what_the_table_says)
{
	const struct es_type *type = variant->type;
	int len = es_len(type, 10);

	EXPECT_EQ(len, es_send(type, self->peer, len));
	EXPECT_TRUE(es_until(es_read(self->fd, len) == len));
	if (type->both) {
		EXPECT_EQ(len, es_write(self->fd, len));
		EXPECT_TRUE(es_until(es_read(self->peer, len) == len));
	} else if (!type->one_file && !type->send) {
		EXPECT_EQ(-EBADF, es_write(self->fd, len));
		EXPECT_EQ(-EBADF, es_read(self->peer, len));
	}
}

TEST_F(types, as_much_as_it_is_said_to_hold_can_be_written)
{
	const uint32_t len = es_len(variant->type, 1);
	int i;

	for (i = 0; i < variant->type->depth; i++)
		ASSERT_EQ(len, es_send(variant->type, self->peer, len));
	ASSERT_TRUE(es_until(es_idle(variant->type, self->fd, self->peer)));
}

TEST_F(types, the_end_of_file_comes_behind_what_was_sent)
{
	struct pollfd p = { .fd = self->fd,
			    .events = POLLIN | POLLOUT | POLLRDHUP };

	if (!variant->type->shut)
		return;
	ARRIVE(100);
	ASSERT_EQ(0, variant->type->shut(&self->peer));
	ASSERT_TRUE(es_until(poll(&p, 1, 0) == 1 &&
			     p.revents == (variant->type->eof | EPOLLIN)));
	TAKE(1000);
	EXPECT_EQ(0, es_read(self->fd, 1000));
	EXPECT_EQ(1, poll(&p, 1, 0));
	EXPECT_EQ(variant->type->eof, p.revents);
}

TEST_HARNESS_MAIN
