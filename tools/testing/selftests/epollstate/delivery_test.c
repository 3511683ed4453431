// SPDX-License-Identifier: GPL-2.0
/*
 * The delivery rules R1 to R6 and R8 for every type of file.  (R7 is in
 * credit_test.c, R9 in others_test.c, R10 in tcp_test.c.)
 */

#include "common.h"

FIXTURE(delivery)
{
	int ep;
	int fd;
	int peer;
};

FIXTURE_VARIANT(delivery)
{
	const struct es_type *type;
};

ES_STREAM_VARIANTS(delivery);

FIXTURE_SETUP(delivery)
{
	int sv[2];

	ES_REQUIRE_KERNEL();
	ES_SETUP_PAIR(variant->type->pair(sv), sv);
	self->fd = sv[0];
	self->peer = sv[1];
	self->ep = epoll_create1(EPOLL_CLOEXEC);
	ASSERT_LE(0, self->ep);
}

FIXTURE_TEARDOWN(delivery)
{
	close(self->ep);
	close(self->fd);
	close(self->peer);
}

/* The peer sends, and all of it has arrived. */
#define ARRIVE(bytes)							\
do {									\
	const int __had = variant->type->rcv(self->fd);			\
									\
	ASSERT_EQ(bytes, es_write(self->peer, bytes));			\
	ASSERT_TRUE(es_until(variant->type->rcv(self->fd) ==		\
			     __had + (bytes)));				\
	SETTLE();						\
} while (0)

TEST_F(delivery, r1_add_queues_a_baseline_when_nothing_is_ready)
{
	struct epoll_state st;

	ASSERT_EQ(0, es_add(self->ep, self->fd, EPOLLIN | EPOLLSTATE));
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
	ASSERT_EQ(0, es_add(self->ep, self->fd, ES_IO | EPOLLSTATE));
	ASSERT_EQ(4, es_wait(self->ep, &st, 0));
	EXPECT_EQ(EPOLLSTATE | EPOLLIN | EPOLLOUT, st.events);
	EXPECT_EQ(100, st.rcv);
	EXPECT_EQ(0, st.seq);
	EXPECT_EQ(0, es_pending(self->ep));
}

TEST_F(delivery, r1_mod_queues_a_full_record_though_nothing_changed)
{
	struct epoll_state st;
	uint32_t seq;

	ARRIVE(100);
	ASSERT_EQ(0, es_add(self->ep, self->fd, ES_IO | EPOLLSTATE));
	ASSERT_EQ(4, es_wait(self->ep, &st, 0));
	for (seq = 1; seq < 5; seq++) {
		ASSERT_EQ(0, es_pending(self->ep));
		ASSERT_EQ(0, es_ctl(self->ep, EPOLL_CTL_MOD, self->fd,
				    ES_IO | EPOLLSTATE, seq));
		ASSERT_EQ(4, es_wait(self->ep, &st, 0));
		EXPECT_EQ(EPOLLSTATE | EPOLLIN | EPOLLOUT, st.events);
		EXPECT_EQ(seq, st.data.u64);
		EXPECT_EQ(100, st.rcv);
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
	EXPECT_EQ(100, st.rcv);
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
	EXPECT_EQ(1000, st.rcv);
	EXPECT_EQ(1, st.seq);
	EXPECT_EQ(0, es_pending(self->ep));
}

TEST_F(delivery, r2_a_state_that_was_told_does_not_repeat)
{
	struct epoll_state st;
	int i;

	ASSERT_EQ(0, es_add(self->ep, self->fd, ES_IO | EPOLLSTATE));
	ASSERT_EQ(4, es_wait(self->ep, &st, 0));
	ARRIVE(100);
	ASSERT_EQ(4, es_next(self->ep, &st));
	EXPECT_EQ(100, st.rcv);
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
	EXPECT_EQ(100, st.rcv);
	EXPECT_EQ(0, es_pending(self->ep));
}

TEST_F(delivery, r2_a_change_that_was_not_asked_for_is_silent)
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
	EXPECT_EQ(100, st.rcv);
	ASSERT_EQ(5000, es_write(self->fd, 5000));
	ASSERT_EQ(5000, es_drain(self->peer));
	SETTLE();
	ASSERT_EQ(0, variant->type->outq(self->fd));
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
	ASSERT_EQ(0, es_shut_wr(self->peer));
	SETTLE();
	EXPECT_EQ(0, es_pending(self->ep));

	ASSERT_EQ(4, es_sample(self->ep, self->fd, EPOLLIN | EPOLLONESHOT,
			       &st));
	EXPECT_EQ(EPOLLSTATE | EPOLLIN, st.events);
	EXPECT_EQ(100, st.rcv);
	EXPECT_EQ(1, st.seq);
	EXPECT_EQ(0, es_pending(self->ep));
}

TEST_F(delivery, r3_the_record_is_of_the_moment_of_delivery)
{
	struct epoll_state st;

	ASSERT_EQ(0, es_add(self->ep, self->fd, EPOLLIN | EPOLLSTATE));
	/* Queued by ADD, and only then do things happen. */
	ARRIVE(1000);
	ASSERT_EQ(300, es_read(self->fd, 300));
	ASSERT_EQ(4, es_wait(self->ep, &st, 0));
	EXPECT_EQ(EPOLLSTATE | EPOLLIN, st.events);
	EXPECT_EQ(700, st.rcv);

	/* Queued by a wake-up. */
	ARRIVE(50);
	ARRIVE(50);
	ASSERT_EQ(200, es_read(self->fd, 200));
	ASSERT_EQ(4, es_wait(self->ep, &st, 0));
	EXPECT_EQ(600, st.rcv);
	EXPECT_EQ(variant->type->rcv(self->fd), st.rcv);
	EXPECT_EQ(0, es_pending(self->ep));
}

TEST_F(delivery, r3_all_fields_are_of_the_same_moment)
{
	struct epoll_state st;
	size_t sent;

	sent = es_fill(variant->type, self->fd, self->peer);
	ARRIVE(1234);
	ASSERT_EQ(0, es_add(self->ep, self->fd, ES_IO | EPOLLSTATE));
	ASSERT_EQ(4, es_wait(self->ep, &st, 0));
	EXPECT_EQ(EPOLLSTATE | EPOLLIN, st.events);
	EXPECT_EQ(1234, st.rcv);
	EXPECT_EQ(variant->type->rcv(self->fd), st.rcv);
	EXPECT_EQ(variant->type->outq(self->fd), st.outq);
	EXPECT_LT(0, st.outq);
	EXPECT_GE(sent, st.outq);
}

TEST_F(delivery, r4_own_reads_are_silent)
{
	struct epoll_state st;

	ARRIVE(10000);
	ASSERT_EQ(0, es_add(self->ep, self->fd, ES_IO | EPOLLSTATE));
	ASSERT_EQ(4, es_wait(self->ep, &st, 0));
	ASSERT_EQ(1, es_read(self->fd, 1));
	EXPECT_EQ(0, es_pending(self->ep));
	ASSERT_EQ(4999, es_read(self->fd, 4999));
	EXPECT_EQ(0, es_pending(self->ep));
	/* Empty now: EPOLLIN went away, which nobody has to be told. */
	ASSERT_EQ(5000, es_read(self->fd, 8000));
	ASSERT_EQ(-EAGAIN, es_read(self->fd, 1));
	SETTLE();
	EXPECT_EQ(0, es_pending(self->ep));
}

TEST_F(delivery, r4_own_writes_are_silent)
{
	struct epoll_state st;
	ssize_t room;

	/* What is written cannot leave, so that no space comes back. */
	ASSERT_TRUE(variant->type->jam(self->fd, self->peer));
	ASSERT_EQ(0, es_add(self->ep, self->fd, ES_IO | EPOLLSTATE));
	ASSERT_EQ(4, es_wait(self->ep, &st, 0));
	ASSERT_LT(0, st.outq);
	room = st.snd;
	while (room > 0) {
		ssize_t n = es_write(self->fd, room > 5000 ? 5000 : room);

		ASSERT_LT(0, n);
		room -= n;
		EXPECT_EQ(0, es_pending(self->ep));
	}
	/* Not even the attempt to write more than there was told. */
	while (es_write(self->fd, 65536) > 0)
		;
	EXPECT_EQ(0, es_pending(self->ep));
}

TEST_F(delivery, r5_the_same_level_again_is_a_new_record)
{
	struct epoll_state st;
	int i;

	ASSERT_EQ(0, es_add(self->ep, self->fd, ES_IO | EPOLLSTATE));
	ASSERT_EQ(4, es_wait(self->ep, &st, 0));
	for (i = 1; i < 5; i++) {
		ARRIVE(100);
		ASSERT_EQ(4, es_next(self->ep, &st));
		EXPECT_EQ(EPOLLSTATE | EPOLLIN | EPOLLOUT, st.events);
		EXPECT_EQ(100, st.rcv);
		EXPECT_EQ(i, st.seq);
		ASSERT_EQ(100, es_read(self->fd, 100));
		EXPECT_EQ(0, es_pending(self->ep));
	}
}

TEST_F(delivery, r5_read_and_refilled_before_the_wait_is_a_new_record)
{
	struct epoll_state st;

	ASSERT_EQ(0, es_add(self->ep, self->fd, EPOLLIN | EPOLLSTATE));
	ARRIVE(100);
	ASSERT_EQ(4, es_wait(self->ep, &st, 0));
	EXPECT_EQ(100, st.rcv);
	ASSERT_EQ(100, es_read(self->fd, 100));
	ARRIVE(100);
	ASSERT_EQ(4, es_next(self->ep, &st));
	EXPECT_EQ(100, st.rcv);
	EXPECT_EQ(1, st.seq);
}

TEST_F(delivery, r5_end_of_file_is_told_once)
{
	struct epoll_state st;

	ASSERT_EQ(0, es_add(self->ep, self->fd, ES_IO | EPOLLSTATE));
	ASSERT_EQ(4, es_wait(self->ep, &st, 0));
	ASSERT_EQ(0, variant->type->shut(self->peer));
	ASSERT_EQ(4, es_next(self->ep, &st));
	EXPECT_EQ(EPOLLSTATE | ES_IO, st.events);
	EXPECT_EQ(0, st.rcv);
	EXPECT_EQ(0, st.error);
	EXPECT_EQ(1, st.seq);
	SETTLE();
	EXPECT_EQ(0, es_pending(self->ep));
	ASSERT_EQ(0, es_read(self->fd, 1));
	EXPECT_EQ(0, es_pending(self->ep));
}

TEST_F(delivery, r5_data_and_end_of_file_together_are_one_record)
{
	struct epoll_state st;

	ASSERT_EQ(0, es_add(self->ep, self->fd, ES_IO | EPOLLSTATE));
	ASSERT_EQ(4, es_wait(self->ep, &st, 0));
	ARRIVE(777);
	ASSERT_EQ(0, variant->type->shut(self->peer));
	SETTLE();
	ASSERT_TRUE(es_until(poll(&(struct pollfd){ .fd = self->fd,
						    .events = POLLRDHUP },
				  1, 0) == 1));
	ASSERT_EQ(4, es_next(self->ep, &st));
	EXPECT_EQ(EPOLLSTATE | ES_IO, st.events);
	EXPECT_EQ(777, st.rcv);
	EXPECT_EQ(1, st.seq);
	EXPECT_EQ(0, es_pending(self->ep));
	EXPECT_EQ(777, es_read(self->fd, 8000));
	EXPECT_EQ(0, es_read(self->fd, 8000));
	EXPECT_EQ(0, es_pending(self->ep));
}

/*
 * Random traffic in both directions and random waits.  An application that
 * only stores the last record and does its own arithmetic always knows what
 * can be read once the queue of records is empty.
 */
TEST_F_TIMEOUT(delivery, r6_the_latest_record_is_never_behind, ES_TIMEOUT)
{
	struct es_rnd rnd = es_seed();
	struct epoll_state st;
	uint32_t next_seq = 1;
	int64_t rcv, snd;
	int i;

	ASSERT_EQ(0, es_add(self->ep, self->fd, ES_IO | EPOLLSTATE));
	ASSERT_EQ(4, es_wait(self->ep, &st, 0));
	rcv = st.rcv;
	snd = st.snd;
	for (i = 0; i < 400; i++) {
		ssize_t n;

		switch (es_rnd(&rnd) % 5) {
		case 0:
			es_write(self->peer, es_rnd_upto(&rnd, 3000));
			break;
		case 1:
			n = es_rnd_upto(&rnd, 4000);
			if (n > rcv)
				n = rcv;
			if (n) {
				ASSERT_EQ(n, es_read(self->fd, n));
				rcv -= n;
			}
			break;
		case 2:
			n = es_rnd_upto(&rnd, 20000);
			if (n > snd)
				n = snd;
			if (n) {
				ASSERT_EQ(n, es_write(self->fd, n));
				snd -= n;
			}
			break;
		case 3:
			es_read(self->peer, es_rnd_upto(&rnd, 40000));
			break;
		case 4:
			if (es_wait(self->ep, &st, 0) == 4) {
				ASSERT_EQ(next_seq, st.seq);
				next_seq++;
				rcv = st.rcv;
				snd = st.snd;
			}
			break;
		}
		if (i % 50 < 49)
			continue;
		/* Let it come to rest, read what is told, compare. */
		SETTLE();
		while (es_wait(self->ep, &st, 0) == 4) {
			ASSERT_EQ(next_seq, st.seq);
			next_seq++;
			rcv = st.rcv;
			snd = st.snd;
		}
		ASSERT_EQ(variant->type->rcv(self->fd), rcv);
	}
	/* All that was sent leaves, and the last record says so. */
	do {
		es_drain(self->peer);
		SETTLE();
	} while (variant->type->outq(self->fd) > 0 ||
		 variant->type->rcv(self->peer) > 0);
	while (es_wait(self->ep, &st, 0) == 4) {
		ASSERT_EQ(next_seq, st.seq);
		next_seq++;
		snd = st.snd;
	}
	ASSERT_EQ(4, es_sample(self->ep, self->fd, ES_IO, &st));
	EXPECT_EQ(0, st.outq);
	EXPECT_EQ(variant->type->rcv(self->fd), st.rcv);
}

TEST_F(delivery, r6_bytes_that_arrive_during_delivery_are_told)
{
	struct epoll_state st;
	const int rounds = 500;
	int64_t seen = 0;
	uint32_t seq = 0;
	int status;
	pid_t pid;

	ASSERT_EQ(0, es_add(self->ep, self->fd, EPOLLIN | EPOLLSTATE));
	pid = fork();
	ASSERT_LE(0, pid);
	if (!pid) {
		int i;

		for (i = 0; i < rounds; i++) {
			if (es_write(self->peer, 7) != 7)
				_exit(1);
			if (i % 3 == 0)
				sched_yield();
		}
		_exit(0);
	}
	/* The last of them is waited for: a loss shows as a time-out. */
	while (seen < 7 * rounds) {
		ASSERT_EQ(4, es_next(self->ep, &st));
		ASSERT_EQ(seq, st.seq);
		seq++;
		/* Nothing is read, so that rcv only grows: no repeats. */
		if (st.seq)
			ASSERT_LT(seen, st.rcv);
		seen = st.rcv;
	}
	EXPECT_EQ(7 * rounds, seen);
	ASSERT_EQ(pid, waitpid(pid, &status, 0));
	EXPECT_EQ(0, status);
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
	EXPECT_EQ(100, st.rcv);
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

	ES_SETUP_PAIR(variant->type->pair(second), second);
	for (max = EPOLL_STATE_SLOTS; max < 2 * EPOLL_STATE_SLOTS; max++) {
		const uint32_t seq = max - EPOLL_STATE_SLOTS;

		if (!seq) {
			ASSERT_EQ(0, es_ctl(self->ep, EPOLL_CTL_ADD, self->fd,
					    EPOLLIN | EPOLLSTATE, 1));
			ASSERT_EQ(0, es_ctl(self->ep, EPOLL_CTL_ADD, second[0],
					    EPOLLIN | EPOLLSTATE, 2));
		} else {
			ASSERT_EQ(0, es_ctl(self->ep, EPOLL_CTL_MOD, self->fd,
					    EPOLLIN | EPOLLSTATE, 1));
			ASSERT_EQ(0, es_ctl(self->ep, EPOLL_CTL_MOD, second[0],
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
		EXPECT_EQ(100 * (there + 1), st.rcv);
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
