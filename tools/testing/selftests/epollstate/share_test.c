// SPDX-License-Identifier: GPL-2.0
/* More than one descriptor, epoll, process or thread on one file. */

#include <pthread.h>
#include <sys/select.h>

#include "common.h"

ES_FIXTURE(share, RECEIVER, ALL)
ES_FIXTURE(room, SENDER, ROOM)
ES_FIXTURE(crowd, RECEIVER, SUM)

TEST_F(share, a_dup_is_a_registration_of_its_own)
{
	struct epoll_event slots[3 * EPOLL_STATE_SLOTS];
	uint64_t met = 0;
	int other, n, i;

	other = dup(self->fd);
	ASSERT_LE(0, other);
	ASSERT_EQ(0, es_ctl(self->ep, EPOLL_CTL_ADD, self->fd,
			    EPOLLIN | EPOLLSTATE, 1));
	ASSERT_EQ(0, es_ctl(self->ep, EPOLL_CTL_ADD, other,
			    EPOLLIN | EPOLLSTATE, 2));
	ASSERT_EQ(8, epoll_wait(self->ep, slots, ARRAY_SIZE(slots), 0));
	ARRIVE(100);
	n = epoll_wait(self->ep, slots, ARRAY_SIZE(slots), 0);
	ASSERT_EQ(8, n);
	for (i = 0; i < n; i = epollstate_next(slots, n, i)) {
		EXPECT_INPUT(*epollstate_record(&slots[i]));
		EXPECT_EQ(1, epollstate_record(&slots[i])->seq);
		met |= slots[i].data.u64;
	}
	EXPECT_EQ(3, met);

	/* One goes, the other stays. */
	ASSERT_EQ(0, es_ctl(self->ep, EPOLL_CTL_DEL, self->fd, 0, 0));
	ARRIVE(100);
	ASSERT_EQ(4, epoll_wait(self->ep, slots, ARRAY_SIZE(slots), 0));
	EXPECT_EQ(2, slots[0].data.u64);
	EXPECT_INPUT(*epollstate_record(&slots[0]));
	close(other);
}

TEST_F(share, it_lives_until_the_last_descriptor_is_closed)
{
	struct epoll_state st;
	int other = dup(self->fd);

	REGISTER(EPOLLIN, &st);
	close(self->fd);
	self->fd = other;
	ARRIVE(100);
	ASSERT_EQ(4, es_next(self->ep, &st));
	EXPECT_INPUT(st);
	/* A pair of one file has one more. */
	close(self->fd);
	close(self->peer);
	self->fd = -1;
	self->peer = -1;
	EXPECT_EQ(0, es_pending(self->ep));
}

TEST_F(share, a_forked_child_waits_on_the_same_registration)
{
	struct epoll_state st;
	int status;
	pid_t pid;

	ASSERT_EQ(0, es_add(self->ep, self->fd, EPOLLIN | EPOLLSTATE));
	ASSERT_EQ(4, es_wait(self->ep, &st, 0));
	ARRIVE(100);
	pid = fork();
	ASSERT_LE(0, pid);
	if (!pid) {
		if (es_next(self->ep, &st) != 4 || st.seq != 1 ||
		    st.rcv != es_queue_rcv(&self->queue))
			_exit(1);
		_exit(0);
	}
	ASSERT_EQ(pid, waitpid(pid, &status, 0));
	EXPECT_EQ(0, status);
	/* What the child was told is told: the parent gets the next one. */
	EXPECT_EQ(0, es_pending(self->ep));
	ARRIVE(1);
	ASSERT_EQ(4, es_next(self->ep, &st));
	EXPECT_INPUT(st);
	EXPECT_EQ(2, st.seq);
}

TEST_F(share, two_epolls_on_one_fd_are_told_each_for_itself)
{
	int other = epoll_create1(EPOLL_CLOEXEC);
	struct epoll_state a, b;
	int i;

	ASSERT_LE(0, other);
	REGISTER(ES_IN, &a);
	ASSERT_EQ(0, es_add(other, self->fd, ES_IN | EPOLLSTATE));
	for (i = 1; i < 4; i++) {
		ARRIVE(100);
		ASSERT_EQ(4, es_wait(self->ep, &a, 0));
		EXPECT_INPUT(a);
		EXPECT_EQ(i, a.seq);
		EXPECT_EQ(0, es_pending(self->ep));
	}
	/* The other one slept through all that: its baseline is current. */
	ASSERT_EQ(4, es_wait(other, &b, 0));
	EXPECT_INPUT(b);
	EXPECT_EQ(0, b.seq);
	EXPECT_EQ(0, es_pending(other));
	close(other);
}

TEST_F(room, two_epolls_on_one_fd_both_hear_of_send_space)
{
	int other = epoll_create1(EPOLL_CLOEXEC);
	const int len = es_len(variant->type, 20000);
	struct epoll_state a, b;
	int i;

	ASSERT_LE(0, other);
	ASSERT_EQ(0, es_add(self->ep, self->fd, EPOLLOUT | EPOLLSTATE));
	ASSERT_EQ(0, es_add(other, self->fd, EPOLLOUT | EPOLLSTATE));
	ASSERT_EQ(4, es_wait(self->ep, &a, 0));
	ASSERT_EQ(4, es_wait(other, &b, 0));
	for (i = 0; i < 10; i++) {
		ASSERT_EQ(len, es_write(self->fd, len));
		DRAIN();
		do {
			ASSERT_EQ(4, es_next(self->ep, &a));
		} while (a.outq);
		/* The second one only now and then: it misses nothing. */
		if (i % 3)
			continue;
		do {
			ASSERT_EQ(4, es_next(other, &b));
		} while (b.outq);
	}
	close(other);
}

TEST_F(share, beside_an_ordinary_registration_each_has_its_own_way)
{
	struct epoll_event slots[9];
	int lt = dup(self->fd), n, i, records = 0, events = 0;

	ASSERT_LE(0, lt);
	ASSERT_EQ(0, es_ctl(self->ep, EPOLL_CTL_ADD, lt, EPOLLIN, 1));
	ASSERT_EQ(0, es_ctl(self->ep, EPOLL_CTL_ADD, self->fd,
			    EPOLLIN | EPOLLSTATE, 2));
	ASSERT_EQ(4, epoll_wait(self->ep, slots, 9, 0));
	ARRIVE(100);
	for (n = 0; n < 3; n++) {
		int got = epoll_wait(self->ep, slots, 9, 0);

		for (i = 0; i < got; i = epollstate_next(slots, got, i)) {
			if (epollstate_record(&slots[i])) {
				EXPECT_EQ(2, slots[i].data.u64);
				records++;
			} else {
				EXPECT_EQ(1, slots[i].data.u64);
				EXPECT_EQ(EPOLLIN, slots[i].events);
				events++;
			}
		}
	}
	/* The level is told each time, the change once. */
	EXPECT_EQ(3, events);
	EXPECT_EQ(1, records);
	close(lt);
}

TEST_F(share, closing_one_epoll_leaves_the_other_registered)
{
	int other = epoll_create1(EPOLL_CLOEXEC);
	struct epoll_state st;

	ASSERT_EQ(0, es_add(self->ep, self->fd, EPOLLIN | EPOLLSTATE));
	ASSERT_EQ(0, es_add(other, self->fd, EPOLLIN | EPOLLSTATE));
	ASSERT_EQ(4, es_wait(self->ep, &st, 0));
	close(other);
	ARRIVE(100);
	ASSERT_EQ(4, es_next(self->ep, &st));
	EXPECT_INPUT(st);
}

/* Polling the epoll descriptor itself scans the list of what is ready. */

static bool es_readable_by_select(int fd)
{
	struct timeval none = {};
	fd_set in;

	FD_ZERO(&in);
	FD_SET(fd, &in);
	return select(fd + 1, &in, NULL, NULL, &none) == 1;
}

static bool es_readable(int fd)
{
	struct pollfd p = { .fd = fd, .events = POLLIN };

	return poll(&p, 1, 0) == 1 && p.revents == POLLIN;
}

TEST_F(share, an_epoll_with_a_baseline_pending_polls_readable)
{
	int parent = epoll_create1(EPOLL_CLOEXEC), i;
	struct epoll_event ev;
	struct epoll_state st;

	ASSERT_EQ(0, es_add(parent, self->ep, EPOLLIN));
	EXPECT_FALSE(es_readable(self->ep));
	/* A baseline without any event, which a scan could take for nothing. */
	ASSERT_EQ(0, es_add(self->ep, self->fd, EPOLLIN | EPOLLSTATE));
	for (i = 0; i < 3; i++) {
		EXPECT_TRUE(es_readable(self->ep));
		EXPECT_TRUE(es_readable_by_select(self->ep));
		EXPECT_EQ(1, epoll_wait(parent, &ev, 1, 0));
		EXPECT_EQ(EPOLLIN, ev.events);
	}
	ASSERT_EQ(4, es_wait(self->ep, &st, 0));
	EXPECT_EQ(EPOLLSTATE, st.events);
	EXPECT_EQ(0, st.seq);
	EXPECT_FALSE(es_readable(self->ep));
	EXPECT_FALSE(es_readable_by_select(self->ep));
	EXPECT_EQ(0, epoll_wait(parent, &ev, 1, 0));

	ASSERT_EQ(0, es_mod(self->ep, self->fd, EPOLLIN | EPOLLSTATE));
	EXPECT_TRUE(es_readable(self->ep));
	EXPECT_EQ(1, epoll_wait(parent, &ev, 1, 0));
	ASSERT_EQ(4, es_wait(self->ep, &st, 0));
	EXPECT_EQ(1, st.seq);
	close(parent);
}

TEST_F(share, polling_the_epoll_does_not_eat_a_change)
{
	int parent = epoll_create1(EPOLL_CLOEXEC), i;
	struct epoll_event ev;
	struct epoll_state st;

	ASSERT_EQ(0, es_add(parent, self->ep, EPOLLIN | EPOLLET));
	REGISTER(ES_IN, &st);
	epoll_wait(parent, &ev, 1, 0);
	for (i = 1; i < 4; i++) {
		ARRIVE(100);
		EXPECT_EQ(1, epoll_wait(parent, &ev, 1, 0));
		EXPECT_TRUE(es_readable(self->ep));
		EXPECT_TRUE(es_readable_by_select(self->ep));
		ASSERT_EQ(4, es_wait(self->ep, &st, 0));
		EXPECT_INPUT(st);
		EXPECT_EQ(i, st.seq);
		/* What was told does not make it readable again. */
		EXPECT_FALSE(es_readable(self->ep));
		EXPECT_FALSE(es_readable_by_select(self->ep));
		TAKE(100);
		EXPECT_FALSE(es_readable(self->ep));
		EXPECT_EQ(0, es_pending(self->ep));
	}
	close(parent);
}

TEST_F(share, a_poll_after_the_read_keeps_the_record_that_is_owed)
{
	struct epoll_state st;

	ASSERT_EQ(0, es_add(self->ep, self->fd, EPOLLIN | EPOLLSTATE));
	ARRIVE(100);
	/* Owed since ADD, and no event is ready at this moment. */
	TAKE(100);
	EXPECT_TRUE(es_readable(self->ep));
	ASSERT_EQ(4, es_wait(self->ep, &st, 0));
	EXPECT_EQ(EPOLLSTATE, st.events);
	EXPECT_INPUT(st);
	EXPECT_EQ(0, st.seq);
}

TEST_F(share, a_waiter_on_the_parent_is_woken_by_a_record)
{
	int parent = epoll_create1(EPOLL_CLOEXEC), status;
	const int len = es_len(variant->type, 100);
	struct epoll_event ev;
	struct epoll_state st;
	pid_t pid;

	ASSERT_EQ(0, es_add(parent, self->ep, EPOLLIN));
	ASSERT_EQ(0, es_add(self->ep, self->fd, EPOLLIN | EPOLLSTATE));
	ASSERT_EQ(4, es_wait(self->ep, &st, 0));
	pid = fork();
	ASSERT_LE(0, pid);
	if (!pid)
		_exit(es_send(variant->type, self->peer, len) == len ? 0 : 1);
	ASSERT_EQ(1, epoll_wait(parent, &ev, 1, ES_DEADLINE_MS));
	ASSERT_EQ(4, es_next(self->ep, &st));
	EXPECT_EQ(len, st.rcv);
	ASSERT_EQ(pid, waitpid(pid, &status, 0));
	EXPECT_EQ(0, status);
	close(parent);
}

/* Threads on one epoll. */

#define THREADS		4
#define FDS		6
#define MESSAGES	400

struct crowd {
	int ep;
	int stop;		/* an eventfd */
	bool messages;
	uint32_t size;			/* of each */
	pthread_mutex_t lock;
	/* All below is under the lock. */
	unsigned char seen[FDS][MESSAGES + 2];	/* by seq */
	uint32_t records[FDS];
	uint32_t last_seq[FDS];
	uint32_t last[FDS];		/* bytes or messages */
	int errors;
};

static void crowd_record(struct crowd *c, const struct epoll_state *st)
{
	const uint32_t there = c->messages ? st->msgs : st->rcv / c->size;
	const uint64_t id = st->data.u64;

	if (id >= FDS || st->seq >= ARRAY_SIZE(c->seen[0])) {
		c->errors++;
		return;
	}
	c->seen[id][st->seq]++;
	/* Any may be overtaken by a later one, the baseline too. */
	if (!c->records[id]++ || (int32_t)(st->seq - c->last_seq[id]) > 0) {
		/* Nobody reads: a later record never tells of less. */
		if (there < c->last[id])
			c->errors++;
		c->last_seq[id] = st->seq;
		c->last[id] = there;
	} else if (there > c->last[id]) {
		c->errors++;
	}
}

static void *crowd_thread(void *arg)
{
	struct epoll_event slots[16];
	struct crowd *c = arg;
	int n, i;

	for (;;) {
		n = epoll_wait(c->ep, slots, ARRAY_SIZE(slots), -1);
		if (n < 0)
			break;
		/* Late on purpose: another thread may overtake this one. */
		sched_yield();
		pthread_mutex_lock(&c->lock);
		for (i = 0; i < n; i = epollstate_next(slots, n, i)) {
			if (slots[i].data.u64 == FDS) {
				pthread_mutex_unlock(&c->lock);
				return NULL;
			}
			if (!epollstate_record(&slots[i])) {
				c->errors++;
				continue;
			}
			crowd_record(c, epollstate_record(&slots[i]));
		}
		pthread_mutex_unlock(&c->lock);
	}
	return NULL;
}

static bool crowd_has(struct crowd *c, int id, uint32_t count)
{
	bool ok;

	pthread_mutex_lock(&c->lock);
	ok = c->last[id] == count;
	pthread_mutex_unlock(&c->lock);
	return ok;
}

TEST_F_TIMEOUT(crowd, threads_get_every_record_once_and_can_order_them,
	       ES_TIMEOUT)
{
	struct crowd c = {
		.lock = PTHREAD_MUTEX_INITIALIZER,
		.messages = variant->type->messages,
		.size = es_len(variant->type, 1),
	};
	/* As many as one queue can hold, for it may be one that is hit. */
	const uint32_t deep = variant->type->depth;
	const uint32_t size = es_len(variant->type, 1);
	const uint32_t messages = deep * 4 < MESSAGES ? deep * 4 : MESSAGES;
	struct es_rnd rnd = es_seed();
	uint32_t sent[FDS] = {}, seq, n;
	pthread_t th[THREADS];
	int sv[FDS][2];
	int i, id;

	c.ep = self->ep;
	c.stop = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
	ASSERT_LE(0, c.stop);
	for (i = 0; i < FDS; i++) {
		ASSERT_EQ(0, variant->type->pair(sv[i]));
		ASSERT_EQ(0, es_ctl(c.ep, EPOLL_CTL_ADD, sv[i][RECEIVER],
				    EPOLLIN | EPOLLSTATE, i));
	}
	for (i = 0; i < THREADS; i++)
		ASSERT_EQ(0, pthread_create(&th[i], NULL, crowd_thread, &c));
	for (n = 0; n < messages; n++) {
		do {
			id = es_rnd(&rnd) % FDS;
		} while (sent[id] == deep);
		ASSERT_EQ(size, es_send(variant->type, sv[id][SENDER], size));
		sent[id]++;
		if (es_rnd(&rnd) % 4 == 0)
			sched_yield();
	}
	/* Nothing lost: the last byte of each is told to somebody. */
	for (i = 0; i < FDS; i++) {
		EXPECT_TRUE(es_until(crowd_has(&c, i, sent[i]))) {
			TH_LOG("fd %d: told %u of %u", i, c.last[i],
			       sent[i]);
		}
	}
	ASSERT_EQ(0, es_ctl(c.ep, EPOLL_CTL_ADD, c.stop, EPOLLIN, FDS));
	ASSERT_EQ(8, write(c.stop, &(uint64_t){ 1 }, 8));
	for (i = 0; i < THREADS; i++)
		ASSERT_EQ(0, pthread_join(th[i], NULL));
	EXPECT_EQ(0, c.errors);
	for (i = 0; i < FDS; i++) {
		/* Nothing twice, and no number left out. */
		for (seq = 0; seq < c.records[i]; seq++)
			EXPECT_EQ(1, c.seen[i][seq]);
		EXPECT_EQ(c.records[i] - 1, c.last_seq[i]);
		close(sv[i][0]);
		close(sv[i][1]);
	}
	close(c.stop);
}

TEST_HARNESS_MAIN
