// SPDX-License-Identifier: GPL-2.0
/*
 * The delivery rules R1 to R6 and R8 for every type of file.  (R7 is in
 * credit_test.c, R9 in others_test.c, R10 in carrier_test.c.)
 */

#include "common.h"

/* The end that receives, of every type. */
ES_FIXTURE(delivery, RECEIVER, ALL)

/* The end that sends, where it tells of room or can be filled. */
ES_FIXTURE(room, SENDER, ROOM)
ES_FIXTURE(full, SENDER, FULL)

/* One that does both. */
ES_FIXTURE(both, RECEIVER, BOTH)

/* End of file, where there is such a thing. */
ES_FIXTURE(eof, RECEIVER, EOF)

/* Input that adds up. */
ES_FIXTURE(sum, RECEIVER, SUM)

/* Write at the end that sends, and read at the other: all is gone. */
#define SEND_AND_DRAIN(bytes)						\
do {									\
	const uint32_t __size = es_len(variant->type, bytes);		\
	uint32_t __got = 0;						\
									\
	ASSERT_EQ(__size, es_write(self->fd, __size));			\
	ASSERT_TRUE(es_until((__got += es_drain(self->peer)) == __size)); \
	SETTLE();							\
	ASSERT_TRUE(es_until(!OUTQ()));					\
} while (0)

/* Others see the end of file. */
#define EOF_ARRIVES()							\
	ASSERT_TRUE(es_until(poll(&(struct pollfd){ .fd = self->fd,	\
						    .events = POLLRDHUP }, \
				  1, 0) == 1))

TEST_F(delivery, r1_add_queues_a_baseline_when_nothing_is_ready)
{
	struct epoll_state st;

	ASSERT_EQ(0, es_add(self->ep, self->fd, EPOLLIN | EPOLLSTATE));
	ASSERT_EQ(4, es_wait(self->ep, &st, 0));
	EXPECT_EQ(EPOLLSTATE, st.events);
	EXPECT_EQ(ES_COOKIE, st.data.u64);
	EXPECT_INPUT(st);
	/* What only reads, or is not written to, has no room for anything. */
	EXPECT_EQ(variant->type->both || (variant->type->one_file &&
					  !variant->type->send), !!st.snd);
	EXPECT_EQ(0, st.outq);
	EXPECT_EQ(0, st.error);
	EXPECT_EQ(0, st.seq);
	EXPECT_EQ(0, es_pending(self->ep));
}

TEST_F(room, r1_the_baseline_tells_the_room_though_nothing_was_asked_for)
{
	struct epoll_state st;

	ASSERT_EQ(0, es_add(self->ep, self->fd, EPOLLSTATE));
	ASSERT_EQ(4, es_wait(self->ep, &st, 0));
	EXPECT_EQ(EPOLLSTATE, st.events);
	EXPECT_EQ(ES_COOKIE, st.data.u64);
	EXPECT_EQ(0, st.rcv);
	EXPECT_LT(0, st.snd);
	EXPECT_EQ(0, st.outq);
	EXPECT_EQ(0, st.msgs);
	EXPECT_EQ(0, st.error);
	EXPECT_EQ(0, st.seq);
	EXPECT_EQ(0, es_pending(self->ep));
}

TEST_F(delivery, r1_the_baseline_says_what_is_ready_already)
{
	struct epoll_state st;

	ARRIVE(100);
	REGISTER(ES_IN, &st);
	EXPECT_EQ(EPOLLSTATE | EPOLLIN | ES_ALSO, st.events);
	EXPECT_INPUT(st);
	EXPECT_EQ(0, st.seq);
	EXPECT_EQ(0, es_pending(self->ep));
}

TEST_F(delivery, r1_mod_queues_a_full_record_though_nothing_changed)
{
	struct epoll_state st;
	uint32_t seq;

	ARRIVE(100);
	REGISTER(ES_IN, &st);
	for (seq = 1; seq < 5; seq++) {
		ASSERT_EQ(0, es_pending(self->ep));
		ASSERT_EQ(0, es_ctl(self->ep, EPOLL_CTL_MOD, self->fd,
				    ES_IN | EPOLLSTATE, seq));
		ASSERT_EQ(4, es_wait(self->ep, &st, 0));
		EXPECT_EQ(EPOLLSTATE | EPOLLIN | ES_ALSO, st.events);
		EXPECT_EQ(seq, st.data.u64);
		EXPECT_INPUT(st);
		EXPECT_EQ(seq, st.seq);
	}
}

TEST_F(delivery, r1_mod_before_the_baseline_was_read_leaves_one_record)
{
	struct epoll_state st;

	ASSERT_EQ(0, es_add(self->ep, self->fd, EPOLLIN | EPOLLSTATE));
	ASSERT_EQ(0, es_mod(self->ep, self->fd, EPOLLIN | EPOLLSTATE));
	ASSERT_EQ(4, es_wait(self->ep, &st, 0));
	EXPECT_EQ(0, st.seq);
	EXPECT_EQ(0, es_pending(self->ep));
}

TEST_F(delivery, r1_dropping_and_adding_the_bit_starts_anew_at_zero)
{
	struct epoll_state st;

	ASSERT_EQ(0, es_add(self->ep, self->fd, EPOLLIN | EPOLLSTATE));
	ASSERT_EQ(4, es_wait(self->ep, &st, 0));
	ASSERT_EQ(4, es_sample(self->ep, self->fd, EPOLLIN, &st));
	EXPECT_EQ(1, st.seq);

	/* Without the bit: ordinary events, here edges. */
	ASSERT_EQ(0, es_mod(self->ep, self->fd, EPOLLIN | EPOLLET));
	EXPECT_EQ(0, es_pending(self->ep));
	ARRIVE(100);
	ASSERT_EQ(1, es_wait(self->ep, &st, 0));
	EXPECT_EQ(EPOLLIN, st.events);

	ASSERT_EQ(4, es_sample(self->ep, self->fd, EPOLLIN, &st));
	EXPECT_EQ(0, st.seq);
	EXPECT_INPUT(st);
}

TEST_F(delivery, r2_many_changes_between_two_waits_are_one_record)
{
	struct epoll_state st;
	int i;

	ASSERT_EQ(0, es_add(self->ep, self->fd, EPOLLIN | EPOLLSTATE));
	ASSERT_EQ(4, es_wait(self->ep, &st, 0));
	for (i = 0; i < 10; i++)
		ARRIVE(100);
	ASSERT_EQ(4, es_next(self->ep, &st));
	EXPECT_EQ(EPOLLSTATE | EPOLLIN, st.events);
	EXPECT_INPUT(st);
	EXPECT_EQ(1, st.seq);
	EXPECT_EQ(0, es_pending(self->ep));
}

TEST_F(delivery, r2_a_state_that_was_told_does_not_repeat)
{
	struct epoll_state st;
	int i;

	REGISTER(ES_IN, &st);
	ARRIVE(100);
	ASSERT_EQ(4, es_next(self->ep, &st));
	EXPECT_INPUT(st);
	/* Readable and writable all the time, as a level would be. */
	for (i = 0; i < 5; i++)
		EXPECT_EQ(0, es_pending(self->ep));
}

TEST_F(delivery, r2_edge_triggered_beside_it_changes_nothing)
{
	struct epoll_state st;

	ASSERT_EQ(0, es_add(self->ep, self->fd,
			    EPOLLIN | EPOLLSTATE | EPOLLET));
	ASSERT_EQ(4, es_wait(self->ep, &st, 0));
	EXPECT_EQ(EPOLLSTATE, st.events);
	ARRIVE(100);
	ASSERT_EQ(4, es_next(self->ep, &st));
	EXPECT_EQ(EPOLLSTATE | EPOLLIN, st.events);
	EXPECT_INPUT(st);
	EXPECT_EQ(0, es_pending(self->ep));
}

TEST_F(both, r2_a_change_that_was_not_asked_for_is_silent)
{
	struct epoll_state st;

	/* Data arrives, only EPOLLOUT is asked for. */
	ASSERT_EQ(0, es_add(self->ep, self->fd, EPOLLOUT | EPOLLSTATE));
	ASSERT_EQ(4, es_wait(self->ep, &st, 0));
	EXPECT_EQ(EPOLLSTATE | EPOLLOUT, st.events);
	ARRIVE(100);
	EXPECT_EQ(0, es_pending(self->ep));

	/* Data leaves, only EPOLLIN is asked for. */
	ASSERT_EQ(4, es_sample(self->ep, self->fd, EPOLLIN, &st));
	EXPECT_INPUT(st);
	SEND_AND_DRAIN(5000);
	EXPECT_EQ(0, es_pending(self->ep));
}

TEST_F(room, r2_what_leaves_is_silent_when_only_input_was_asked_for)
{
	struct epoll_state st;

	REGISTER(EPOLLIN | EPOLLRDHUP, &st);
	EXPECT_EQ(EPOLLSTATE, st.events);
	EXPECT_LT(0, st.snd);
	SEND_AND_DRAIN(5000);
	EXPECT_EQ(0, es_pending(self->ep));
}

TEST_F(delivery, r2_oneshot_is_one_record_and_silence_until_mod)
{
	struct epoll_state st;

	ASSERT_EQ(0, es_add(self->ep, self->fd,
			    EPOLLIN | EPOLLSTATE | EPOLLONESHOT));
	ASSERT_EQ(4, es_wait(self->ep, &st, 0));
	EXPECT_EQ(EPOLLSTATE, st.events);
	ARRIVE(100);
	EXPECT_EQ(0, es_pending(self->ep));
	ARRIVE(100);
	EXPECT_EQ(0, es_pending(self->ep));

	ASSERT_EQ(4, es_sample(self->ep, self->fd, EPOLLIN | EPOLLONESHOT,
			       &st));
	EXPECT_EQ(EPOLLSTATE | EPOLLIN, st.events);
	EXPECT_INPUT(st);
	EXPECT_EQ(1, st.seq);
	EXPECT_EQ(0, es_pending(self->ep));
}

TEST_F(eof, r2_oneshot_is_silent_at_the_end_of_file_too)
{
	struct epoll_state st;

	REGISTER(EPOLLIN | EPOLLONESHOT, &st);
	EXPECT_EQ(EPOLLSTATE, st.events);
	ARRIVE(100);
	EXPECT_EQ(0, es_pending(self->ep));
	ASSERT_EQ(0, variant->type->shut(&self->peer));
	EOF_ARRIVES();
	EXPECT_EQ(0, es_pending(self->ep));

	ASSERT_EQ(4, es_sample(self->ep, self->fd, EPOLLIN | EPOLLONESHOT,
			       &st));
	EXPECT_EQ(EPOLLSTATE | EPOLLIN | (variant->type->eof & EPOLLHUP),
		  st.events);
	EXPECT_INPUT(st);
	EXPECT_EQ(1, st.seq);
	EXPECT_EQ(0, es_pending(self->ep));
}

TEST_F(delivery, r3_the_record_is_of_the_moment_of_delivery)
{
	struct epoll_state st;

	ASSERT_EQ(0, es_add(self->ep, self->fd, EPOLLIN | EPOLLSTATE));
	/* Queued by ADD, and only then do things happen. */
	ARRIVE(300);
	ARRIVE(700);
	TAKE(300);
	ASSERT_EQ(4, es_wait(self->ep, &st, 0));
	EXPECT_EQ(EPOLLSTATE | (self->queue.n ? EPOLLIN : 0), st.events);
	if (!variant->type->level)
		EXPECT_EQ(es_len(variant->type, 700), st.rcv);
	EXPECT_INPUT(st);

	/* Queued by a wake-up. */
	ARRIVE(50);
	ARRIVE(50);
	TAKE(200);
	/* Nothing is left to be told of what is read as a whole. */
	ASSERT_EQ(self->queue.n ? 4 : 0, es_wait(self->ep, &st, 0));
	if (self->queue.n)
		EXPECT_INPUT(st);
	EXPECT_EQ(0, es_pending(self->ep));
}

TEST_F(full, r3_all_fields_are_of_the_same_moment)
{
	struct epoll_state st;
	size_t sent;

	sent = es_fill(variant->type, self->fd, self->peer);
	if (variant->type->both)
		ARRIVE(1234);
	REGISTER(ES_IO, &st);
	EXPECT_EQ(EPOLLSTATE | (variant->type->both ? EPOLLIN : 0), st.events);
	if (variant->type->both)
		EXPECT_INPUT(st);
	EXPECT_EQ(OUTQ(), st.outq);
	EXPECT_LT(0, st.outq);
	/* Of messages it is the memory that they take. */
	if (!variant->type->messages)
		EXPECT_GE(sent, st.outq);
}

TEST_F(delivery, r4_own_reads_are_silent)
{
	struct epoll_state st;
	int i;

	ARRIVE(10000);
	ARRIVE(1000);
	REGISTER(ES_IN, &st);
	EXPECT_INPUT(st);
	TAKE(1);
	EXPECT_EQ(0, es_pending(self->ep));
	TAKE(4999);
	EXPECT_EQ(0, es_pending(self->ep));
	/* Until it is empty: EPOLLIN goes away, which nobody has to be told. */
	for (i = 0; i < 3; i++) {
		TAKE(8000);
		EXPECT_EQ(0, es_pending(self->ep));
	}
	ASSERT_EQ(-EAGAIN, es_read(self->fd, 8));
	SETTLE();
	EXPECT_EQ(0, es_pending(self->ep));
}

TEST_F(full, r4_own_writes_are_silent)
{
	const int len = es_len(variant->type, 5000);
	struct epoll_state st;
	ssize_t room;

	/* What is written cannot leave, so that no space comes back. */
	ASSERT_TRUE(es_jam(variant->type, self->fd, self->peer));
	REGISTER(ES_IO, &st);
	ASSERT_LT(0, st.outq);
	room = st.snd;
	ASSERT_LT(0, room);
	while (room > 0) {
		ssize_t n = es_write(self->fd, room > len ? len : room);

		EXPECT_EQ(0, es_pending(self->ep));
		/* Room for one write is not always room for many. */
		if (n == -EAGAIN && !variant->type->per_byte)
			break;
		ASSERT_LT(0, n);
		room -= n;
	}
	/* Not even the attempt to write more than there was told. */
	while (es_write(self->fd, es_len(variant->type, 65536)) > 0)
		;
	EXPECT_EQ(0, es_pending(self->ep));
}

TEST_F(delivery, r5_the_same_level_again_is_a_new_record)
{
	struct epoll_state st;
	int i;

	REGISTER(ES_IN, &st);
	for (i = 1; i < 5; i++) {
		ARRIVE(100);
		ASSERT_EQ(4, es_next(self->ep, &st));
		EXPECT_EQ(EPOLLSTATE | EPOLLIN | ES_ALSO, st.events);
		EXPECT_EQ(es_len(variant->type, 100), st.rcv);
		EXPECT_INPUT(st);
		EXPECT_EQ(i, st.seq);
		TAKE(100);
		EXPECT_EQ(0, es_pending(self->ep));
	}
}

TEST_F(delivery, r5_read_and_refilled_before_the_wait_is_a_new_record)
{
	struct epoll_state st;

	ASSERT_EQ(0, es_add(self->ep, self->fd, EPOLLIN | EPOLLSTATE));
	ARRIVE(100);
	ASSERT_EQ(4, es_wait(self->ep, &st, 0));
	EXPECT_INPUT(st);
	TAKE(100);
	ARRIVE(100);
	ASSERT_EQ(4, es_next(self->ep, &st));
	EXPECT_EQ(es_len(variant->type, 100), st.rcv);
	EXPECT_INPUT(st);
	EXPECT_EQ(1, st.seq);
}

TEST_F(eof, r5_end_of_file_is_told_once)
{
	struct epoll_state st;

	REGISTER(ES_IO, &st);
	ASSERT_EQ(0, variant->type->shut(&self->peer));
	ASSERT_EQ(4, es_next(self->ep, &st));
	EXPECT_EQ(EPOLLSTATE | variant->type->eof, st.events);
	EXPECT_EQ(0, st.rcv);
	EXPECT_EQ(0, st.msgs);
	EXPECT_EQ(0, st.error);
	EXPECT_EQ(1, st.seq);
	SETTLE();
	EXPECT_EQ(0, es_pending(self->ep));
	ASSERT_EQ(0, es_read(self->fd, 1));
	EXPECT_EQ(0, es_pending(self->ep));
}

TEST_F(eof, r5_data_and_end_of_file_together_are_one_record)
{
	struct epoll_state st;

	REGISTER(ES_IO, &st);
	ARRIVE(777);
	ASSERT_EQ(0, variant->type->shut(&self->peer));
	SETTLE();
	EOF_ARRIVES();
	ASSERT_EQ(4, es_next(self->ep, &st));
	EXPECT_EQ(EPOLLSTATE | variant->type->eof | EPOLLIN, st.events);
	EXPECT_INPUT(st);
	EXPECT_EQ(1, st.seq);
	EXPECT_EQ(0, es_pending(self->ep));
	EXPECT_EQ(777, es_read(self->fd, 8000));
	EXPECT_EQ(0, es_read(self->fd, 8000));
	EXPECT_EQ(0, es_pending(self->ep));
}

/*
 * Random traffic in each direction there is, and random waits.  An application
 * that only stores the last record and does its own arithmetic always knows
 * what can be read once the queue of records is empty: bytes, or messages.
 */
TEST_F_TIMEOUT(sum, r6_the_latest_record_is_never_behind, ES_TIMEOUT)
{
	const struct es_type *type = variant->type;
	struct es_rnd rnd = es_seed();
	struct epoll_state st;
	uint32_t next_seq = 1;
	int64_t left, snd;
	uint32_t size;
	ssize_t n;
	int i;

	/* What is told to be there: bytes, or messages. */
#define STORE(st)							\
do {									\
	left = type->messages ? (st).msgs : (st).rcv;			\
	snd = (st).snd;							\
} while (0)

	REGISTER(ES_IO, &st);
	STORE(st);
	for (i = 0; i < 400; i++) {
		switch (es_rnd(&rnd) % (type->both ? 5 : 3)) {
		case 0:
			size = es_len(type, es_rnd_upto(&rnd, 3000));
			if (self->queue.n > 20 || es_queue_rcv(&self->queue) +
						  size > type->hold)
				break;
			n = type->messages ?
				es_deliver(type, self->peer, self->fd, size) :
				es_send(variant->type, self->peer, size);
			if (n > 0)
				es_queue_put(&self->queue, type, n);
			break;
		case 1:
			size = es_len(type, es_rnd_upto(&rnd, 4000));
			if (!type->messages && size > left)
				size = left;
			if (!size || !left)
				break;
			n = es_queue_take(&self->queue, type, size);
			ASSERT_EQ(n, es_read(self->fd, size));
			/* It was told to be there, and so it is. */
			ASSERT_TRUE(type->messages ? n > 0 : n == size);
			left -= type->messages ? 1 : n;
			break;
		case 2:
			if (es_wait(self->ep, &st, 0) == 4) {
				ASSERT_EQ(next_seq, st.seq);
				next_seq++;
				STORE(st);
			}
			break;
		case 3:
			size = es_len(type, es_rnd_upto(&rnd, 20000));
			if (size > snd)
				size = snd;
			if (!size)
				break;
			n = es_write(self->fd, size);
			if (n != size && !type->per_byte) {
				/* Room for one write, not for many. */
				snd = 0;
				break;
			}
			ASSERT_EQ(size, n);
			snd -= size;
			break;
		case 4:
			es_read(self->peer, es_rnd_upto(&rnd, 40000));
			break;
		}
		if (i % 50 < 49)
			continue;
		/* Let it come to rest, read what is told, compare. */
		SETTLE();
		if (type->arrived && !type->messages)
			ASSERT_TRUE(es_until(type->arrived(self->fd) ==
					     es_queue_rcv(&self->queue)));
		while (es_wait(self->ep, &st, 0) == 4) {
			ASSERT_EQ(next_seq, st.seq);
			next_seq++;
			STORE(st);
		}
		ASSERT_EQ(type->messages ? self->queue.n :
			  es_queue_rcv(&self->queue), left);
	}
	/* All that was sent leaves, and the last record says so. */
	while (type->both && (OUTQ() > 0 || type->rcv(self->peer) > 0)) {
		es_drain(self->peer);
		SETTLE();
	}
	while (es_wait(self->ep, &st, 0) == 4) {
		ASSERT_EQ(next_seq, st.seq);
		next_seq++;
		STORE(st);
	}
	EXPECT_EQ(0, st.outq);
	ASSERT_EQ(4, es_sample(self->ep, self->fd, ES_IO, &st));
	EXPECT_EQ(0, st.outq);
	EXPECT_INPUT(st);
#undef STORE
}

TEST_F(sum, r6_what_arrives_during_delivery_is_told)
{
	const struct es_type *type = variant->type;
	const int rounds = type->depth, size = es_len(type, 7);
	struct epoll_state st;
	int64_t seen = 0, now;
	uint32_t seq = 0;
	int status;
	pid_t pid;

	ASSERT_EQ(0, es_add(self->ep, self->fd, EPOLLIN | EPOLLSTATE));
	pid = fork();
	ASSERT_LE(0, pid);
	if (!pid) {
		int i;

		for (i = 0; i < rounds; i++) {
			if (es_send(variant->type, self->peer, size) != size)
				_exit(1);
			if (i % 3 == 0)
				sched_yield();
		}
		_exit(0);
	}
	/* The last of them is waited for: a loss shows as a time-out. */
	while (seen < rounds) {
		ASSERT_EQ(4, es_next(self->ep, &st)) {
			TH_LOG("told %d of %d", (int)seen, rounds);
		}
		ASSERT_EQ(seq, st.seq);
		seq++;
		now = type->messages ? st.msgs : st.rcv / size;
		/* Nothing is read, so that it only grows: no repeats. */
		ASSERT_LE(seen, now);
		if (st.seq && !type->uncounted)
			ASSERT_LT(seen, now);
		seen = now;
	}
	EXPECT_EQ(rounds, seen);
	ASSERT_EQ(pid, waitpid(pid, &status, 0));
	EXPECT_EQ(0, status);
	if (!type->uncounted)
		EXPECT_EQ(0, es_pending(self->ep));
}

TEST_F(delivery, r8_too_few_slots_are_einval_and_lose_nothing)
{
	struct epoll_event slots[EPOLL_STATE_SLOTS];
	struct epoll_state st;
	int max;

	ASSERT_EQ(0, es_add(self->ep, self->fd, EPOLLIN | EPOLLSTATE));
	ARRIVE(100);
	for (max = 1; max < EPOLL_STATE_SLOTS; max++) {
		memset(slots, 0xa5, sizeof(slots));
		EXPECT_EQ(-1, epoll_wait(self->ep, slots, max, 0));
		EXPECT_EQ(EINVAL, errno);
		EXPECT_EQ(0xa5a5a5a5, slots[0].events);
	}
	/* It does not wait either. */
	EXPECT_EQ(-1, epoll_wait(self->ep, slots, 3, ES_DEADLINE_MS));
	EXPECT_EQ(EINVAL, errno);
	ASSERT_EQ(4, es_wait(self->ep, &st, 0));
	EXPECT_EQ(0, st.seq);
	EXPECT_INPUT(st);
	EXPECT_EQ(0, es_pending(self->ep));
}

TEST_F(delivery, r8_with_nothing_to_deliver_few_slots_are_no_error)
{
	struct epoll_event slots[EPOLL_STATE_SLOTS];
	struct epoll_state st;

	ASSERT_EQ(0, es_add(self->ep, self->fd, EPOLLIN | EPOLLSTATE));
	ASSERT_EQ(4, es_wait(self->ep, &st, 0));
	EXPECT_EQ(0, epoll_wait(self->ep, slots, 1, 0));
}

TEST_F(delivery, r8_a_record_that_does_not_fit_waits_for_the_next_call)
{
	struct epoll_event slots[2 * EPOLL_STATE_SLOTS];
	int max, second[2];

	ES_PAIR(variant->type->pair(second));
	for (max = EPOLL_STATE_SLOTS; max < 2 * EPOLL_STATE_SLOTS; max++) {
		const uint32_t seq = max - EPOLL_STATE_SLOTS;

		if (!seq) {
			ASSERT_EQ(0, es_ctl(self->ep, EPOLL_CTL_ADD, self->fd,
					    EPOLLIN | EPOLLSTATE, 1));
			ASSERT_EQ(0, es_ctl(self->ep, EPOLL_CTL_ADD, second[RECEIVER],
					    EPOLLIN | EPOLLSTATE, 2));
		} else {
			ASSERT_EQ(0, es_ctl(self->ep, EPOLL_CTL_MOD, self->fd,
					    EPOLLIN | EPOLLSTATE, 1));
			ASSERT_EQ(0, es_ctl(self->ep, EPOLL_CTL_MOD, second[RECEIVER],
					    EPOLLIN | EPOLLSTATE, 2));
		}
		memset(slots, 0xa5, sizeof(slots));
		ASSERT_EQ(4, epoll_wait(self->ep, slots, max, 0));
		EXPECT_EQ(1, slots[0].data.u64);
		/* The rest of the buffer is not touched. */
		EXPECT_EQ(0xa5a5a5a5, slots[4].events);
		ASSERT_EQ(4, epoll_wait(self->ep, slots, max, 0));
		EXPECT_EQ(2, slots[0].data.u64);
		EXPECT_EQ(seq, ((struct epoll_state *)slots)->seq);
		EXPECT_EQ(0, es_pending(self->ep));
	}
	close(second[0]);
	close(second[1]);
}

TEST_F(delivery, r8_mixed_with_ordinary_events_it_is_never_split)
{
	struct epoll_event slots[9];
	int max, got, want, ev;
	struct epoll_state st;

	ev = eventfd(1, EFD_NONBLOCK);
	ASSERT_LE(0, ev);
	/* In this order on the list: an ordinary event, then a record. */
	ASSERT_EQ(0, es_ctl(self->ep, EPOLL_CTL_ADD, ev,
			    EPOLLIN | EPOLLET, 1));
	ASSERT_EQ(0, es_ctl(self->ep, EPOLL_CTL_ADD, self->fd,
			    EPOLLIN | EPOLLSTATE, 2));
	for (max = 1; max <= 9; max++) {
		want = max < 1 + EPOLL_STATE_SLOTS ? 1 : 1 + EPOLL_STATE_SLOTS;
		if (max > 1) {
			ASSERT_EQ(0, es_ctl(self->ep, EPOLL_CTL_MOD, ev,
					    EPOLLIN | EPOLLET, 1));
			ASSERT_EQ(0, es_ctl(self->ep, EPOLL_CTL_MOD, self->fd,
					    EPOLLIN | EPOLLSTATE, 2));
		}
		memset(slots, 0xa5, sizeof(slots));
		got = epoll_wait(self->ep, slots, max, 0);
		ASSERT_EQ(want, got) {
			TH_LOG("maxevents %d", max);
		}
		EXPECT_EQ(EPOLLIN, slots[0].events);
		EXPECT_EQ(1, slots[0].data.u64);
		if (got == 1) {
			EXPECT_EQ(0xa5a5a5a5, slots[1].events);
			got = epoll_wait(self->ep, slots + 1,
					 EPOLL_STATE_SLOTS, 0);
			ASSERT_EQ(4, got);
		}
		memcpy(&st, slots + 1, sizeof(st));
		EXPECT_EQ(EPOLLSTATE, st.events);
		EXPECT_EQ(2, st.data.u64);
		EXPECT_EQ(0, slots[2].events);
		EXPECT_EQ(0, slots[3].events);
		EXPECT_EQ(0, slots[4].events);
		EXPECT_EQ(max - 1, st.seq);
		EXPECT_EQ(0, es_pending(self->ep));
	}
	close(ev);
}

/*
 * The buffer ends in memory that cannot be written, with @slots_there slots
 * in front of it.
 */
static struct epoll_event *es_faulting_buffer(int slots_there)
{
	const long page = sysconf(_SC_PAGESIZE);
	char *mem = mmap(NULL, 2 * page, PROT_READ | PROT_WRITE,
			 MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	if (mem == MAP_FAILED || mprotect(mem + page, page, PROT_NONE))
		return NULL;
	return (struct epoll_event *)(mem + page) - slots_there;
}

TEST_F(delivery, r8_after_efault_it_is_delivered_again_with_its_seq)
{
	struct epoll_event *slots;
	struct epoll_state st;
	int there;

	ASSERT_EQ(0, es_add(self->ep, self->fd, EPOLLIN | EPOLLSTATE));
	ASSERT_EQ(4, es_wait(self->ep, &st, 0));
	for (there = 0; there < EPOLL_STATE_SLOTS; there++) {
		slots = es_faulting_buffer(there);
		ASSERT_TRUE(!!slots);
		ARRIVE(100);
		EXPECT_EQ(-1, epoll_wait(self->ep, slots, 8, 0));
		EXPECT_EQ(EFAULT, errno);
		EXPECT_EQ(-1, epoll_wait(self->ep, slots, 8, 0));
		EXPECT_EQ(EFAULT, errno);
		ASSERT_EQ(4, es_wait(self->ep, &st, 0));
		EXPECT_EQ(EPOLLSTATE | EPOLLIN, st.events);
		EXPECT_INPUT(st);
		EXPECT_EQ(there + 1, st.seq);
		EXPECT_EQ(0, es_pending(self->ep));
	}
}

TEST_F(delivery, r8_a_fault_behind_other_events_loses_nothing)
{
	struct epoll_event *slots;
	struct epoll_state st;
	int ev;

	ev = eventfd(1, EFD_NONBLOCK);
	ASSERT_LE(0, ev);
	ASSERT_EQ(0, es_ctl(self->ep, EPOLL_CTL_ADD, ev,
			    EPOLLIN | EPOLLET, 1));
	ASSERT_EQ(0, es_ctl(self->ep, EPOLL_CTL_ADD, self->fd,
			    EPOLLIN | EPOLLSTATE | EPOLLONESHOT, 2));
	slots = es_faulting_buffer(3);
	ASSERT_TRUE(!!slots);
	ASSERT_EQ(1, epoll_wait(self->ep, slots, 8, 0));
	EXPECT_EQ(1, slots[0].data.u64);
	ASSERT_EQ(4, es_wait(self->ep, &st, 0));
	EXPECT_EQ(2, st.data.u64);
	EXPECT_EQ(EPOLLSTATE, st.events);
	EXPECT_EQ(0, st.seq);
	EXPECT_EQ(0, es_pending(self->ep));
	close(ev);
}

/* A type without cumulative counters takes every wake-up as a change. */
TEST(r5_eventfd_tells_every_wake_up)
{
	const uint64_t one = 1;
	struct epoll_state st;
	uint64_t val;
	int ep, fd;

	ES_REQUIRE_KERNEL();
	ep = epoll_create1(EPOLL_CLOEXEC);
	fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
	ASSERT_LE(0, ep);
	ASSERT_LE(0, fd);
	ASSERT_EQ(0, es_add(ep, fd, EPOLLIN | EPOLLSTATE));
	ASSERT_EQ(4, es_wait(ep, &st, 0));
	EXPECT_EQ(EPOLLSTATE, st.events);
	EXPECT_EQ(0, st.rcv);
	EXPECT_EQ(8, st.snd);
	EXPECT_EQ(0, st.outq);
	EXPECT_EQ(0, st.msgs);
	EXPECT_EQ(0, es_pending(ep));

	ASSERT_EQ(8, write(fd, &one, 8));
	ASSERT_EQ(8, write(fd, &one, 8));
	ASSERT_EQ(4, es_wait(ep, &st, 0));
	EXPECT_EQ(EPOLLSTATE | EPOLLIN, st.events);
	EXPECT_EQ(8, st.rcv);
	EXPECT_EQ(1, st.seq);
	EXPECT_EQ(0, es_pending(ep));

	ASSERT_EQ(8, write(fd, &one, 8));
	ASSERT_EQ(4, es_wait(ep, &st, 0));
	EXPECT_EQ(8, st.rcv);
	EXPECT_EQ(2, st.seq);

	/* Read and written again: the same level is a new record. */
	ASSERT_EQ(8, read(fd, &val, 8));
	EXPECT_EQ(3, val);
	EXPECT_EQ(0, es_pending(ep));
	ASSERT_EQ(8, write(fd, &one, 8));
	ASSERT_EQ(4, es_wait(ep, &st, 0));
	EXPECT_EQ(8, st.rcv);
	EXPECT_EQ(3, st.seq);

	/* Full: a write would have to wait. */
	val = UINT64_MAX - 2;
	ASSERT_EQ(8, write(fd, &val, 8));
	ASSERT_EQ(4, es_sample(ep, fd, EPOLLIN | EPOLLOUT, &st));
	EXPECT_EQ(EPOLLSTATE | EPOLLIN, st.events);
	EXPECT_EQ(0, st.snd);
	ASSERT_EQ(8, read(fd, &val, 8));
	ASSERT_EQ(4, es_wait(ep, &st, 0));
	EXPECT_EQ(EPOLLSTATE | EPOLLOUT, st.events);
	EXPECT_EQ(0, st.rcv);
	EXPECT_EQ(8, st.snd);
	close(fd);
	close(ep);
}

TEST_HARNESS_MAIN
