// SPDX-License-Identifier: GPL-2.0
/*
 * R9: registrations without EPOLLSTATE, and sleepers of other kinds, see
 * nothing of an EPOLLSTATE registration on the same file.  The same script is
 * played without and with one, on the same kernel, and what the others were
 * told is compared event by event.
 */

#include "common.h"

/* What else is registered while the script is played. */
enum witness { NOBODY, EDGES, RECORDS };

static const uint32_t es_watched[] = {
	EPOLLIN | EPOLLOUT | EPOLLRDHUP,
	EPOLLIN | EPOLLOUT | EPOLLRDHUP | EPOLLET,
	EPOLLOUT | EPOLLET,
	EPOLLIN | EPOLLET,
	EPOLLRDHUP,
	EPOLLIN | EPOLLOUT | EPOLLONESHOT,
};

#define WATCHERS	ARRAY_SIZE(es_watched)

struct es_script {
	const struct es_type *type;
	bool in, out;		/* what the watched end does */
	enum witness witness;
	int ep[WATCHERS];
	int witness_ep;
	int fd;
	int peer;
	/* What the watchers were told: watcher, events, in order */
	int n;
	struct {
		int who;
		uint32_t events;
	} log[1024];
	int records;
	int error;
};

/* Played twice, once without a witness. */
static struct es_script without, with;

ES_FIXTURE(others, RECEIVER, ALL)
ES_FIXTURE(full, SENDER, FULL)
ES_FIXTURE(both, SENDER, BOTH)

/* What is sent and leaves gives others no event at all. */
ES_FIXTURE(lazy, SENDER, LAZY)

static void begin(struct es_script *s, const struct es_type *type, int end,
		  enum witness witness, uint32_t witness_events,
		  unsigned int watchers)
{
	struct epoll_state st;
	int sv[2] = { -1, -1 };
	size_t i;

	memset(s, 0, sizeof(*s));
	s->type = type;
	s->witness = witness;
	s->error |= type->pair(sv);
	s->fd = sv[end];
	s->peer = sv[!end];
	s->in = type->both || end == RECEIVER;
	s->out = type->both || end == SENDER;
	for (i = 0; i < WATCHERS; i++) {
		s->ep[i] = epoll_create1(EPOLL_CLOEXEC);
		if (watchers & 1U << i)
			s->error |= es_add(s->ep[i], s->fd, es_watched[i]);
	}
	s->witness_ep = epoll_create1(EPOLL_CLOEXEC);
	if (witness == EDGES)
		s->error |= es_add(s->witness_ep, s->fd,
				   witness_events | EPOLLET);
	if (witness == RECORDS)
		s->error |= es_add(s->witness_ep, s->fd,
				   witness_events | EPOLLSTATE);
	es_wait(s->witness_ep, &st, 0);
}

/* One call per watcher, in turn; the witness is asked in between. */
static void collect(struct es_script *s)
{
	struct epoll_event ev;
	struct epoll_state st;
	size_t i;

	for (i = 0; i < WATCHERS; i++) {
		while (s->witness_ep >= 0 && es_wait(s->witness_ep, &st, 0))
			s->records++;
		if (s->n == ARRAY_SIZE(s->log))
			break;
		if (epoll_wait(s->ep[i], &ev, 1, 0) != 1)
			continue;
		s->log[s->n].who = i;
		s->log[s->n].events = ev.events;
		s->n++;
	}
}

static void settle(struct es_script *s)
{
	if (!es_until(es_idle(s->type, s->fd, s->peer)))
		s->error |= -ETIME;
}

/* The peer takes all that was sent, and it is known to have arrived. */
static void empty(struct es_script *s)
{
	do {
		es_drain(s->peer);
		settle(s);
	} while (s->type->outq(s->fd, s->peer) > 0 ||
		 s->type->rcv(s->peer) > 0);
}

static void finish(struct es_script *s)
{
	size_t i;

	for (i = 0; i < WATCHERS; i++)
		close(s->ep[i]);
	close(s->witness_ep);
	close(s->fd);
	if (s->peer >= 0)
		close(s->peer);
}

static void arrive(struct es_script *s, uint32_t len)
{
	len = es_len(s->type, len);
	if (es_deliver(s->type, s->peer, s->fd, len) != len)
		s->error |= -EIO;
	settle(s);
}

static void play_calm(struct es_script *s)
{
	int i;

	collect(s);
	if (s->in) {
		for (i = 1; i < 6; i++) {
			arrive(s, 100 * i);
			collect(s);
		}
		es_read(s->fd, es_len(s->type, 50));
		collect(s);
		es_drain(s->fd);
		collect(s);
	}
	if (s->out) {
		/* Never more than a fraction of the buffer. */
		for (i = 0; i < 8; i++) {
			es_write(s->fd, es_len(s->type, 20000));
			collect(s);
			empty(s);
			collect(s);
		}
	}
	if (s->in && s->type->shut) {
		arrive(s, 100);
		s->type->shut(&s->peer);
		es_until(poll(&(struct pollfd){ .fd = s->fd,
						.events = POLLRDHUP },
			      1, 0) == 1);
		settle(s);
		collect(s);
		es_drain(s->fd);
		collect(s);
	}
}

static void play_full(struct es_script *s)
{
	int i;

	collect(s);
	for (i = 0; i < 2; i++) {
		es_fill(s->type, s->fd, s->peer);
		collect(s);
		if (s->in) {
			arrive(s, 100);
			collect(s);
		}
		empty(s);
		collect(s);
		if (s->in) {
			es_drain(s->fd);
			collect(s);
		}
	}
}

#define EXPECT_SAME_LOG(a, b)						\
do {									\
	int __i;							\
									\
	EXPECT_EQ(0, (a)->error);					\
	EXPECT_EQ(0, (b)->error);					\
	EXPECT_EQ((a)->n, (b)->n);					\
	for (__i = 0; __i < (a)->n && __i < (b)->n; __i++) {		\
		ASSERT_EQ((a)->log[__i].who, (b)->log[__i].who) {	\
			TH_LOG("entry %d", __i);			\
		}							\
		ASSERT_EQ((a)->log[__i].events, (b)->log[__i].events) {	\
			TH_LOG("entry %d", __i);			\
		}							\
	}								\
	EXPECT_LT(0, (b)->records);					\
} while (0)

#define PLAY(s, play, end, witness, events, watchers)			\
do {									\
	begin(s, variant->type, end, witness, events, watchers);	\
	play(s);							\
	finish(s);							\
} while (0)

/* Before: what was there without EPOLLSTATE.  After: with it. */
#define COMPARE(play, end, before, watchers)				\
do {									\
	PLAY(&without, play, end, before, ES_IO, watchers);		\
	PLAY(&with, play, end, RECORDS, ES_IO, watchers);		\
	EXPECT_SAME_LOG(&without, &with);				\
} while (0)

TEST_F_TIMEOUT(others, r9_others_are_told_the_same_while_data_comes_and_goes,
	       ES_TIMEOUT)
{
	const unsigned int all = (1U << WATCHERS) - 1;
	size_t i;
	int end;

	if (variant->type->handed)
		SKIP(return, "not a property of %s: when room comes back is up to a worker",
		     variant->type->name);
	/* Where each end does both, one of them is enough. */
	for (end = variant->type->both || variant->type->send; end < 2; end++) {
		COMPARE(play_calm, end, NOBODY, all);
		/* Each by itself: none hides what would happen to another. */
		for (i = 0; i < WATCHERS; i++)
			COMPARE(play_calm, end, NOBODY, 1U << i);
	}
}

/*
 * Whoever polls a full socket asks for a notification of space that all
 * others hear as well: an EPOLLSTATE registration is not worse than a plain
 * one of the same events.
 */
TEST_F_TIMEOUT(full, r9_others_are_told_the_same_when_the_buffer_is_full,
	       ES_TIMEOUT)
{
	const unsigned int all = (1U << WATCHERS) - 1;
	size_t i;

	COMPARE(play_full, SENDER, EDGES, all);
	for (i = 0; i < WATCHERS; i++)
		COMPARE(play_full, SENDER, EDGES, 1U << i);
}

/* What was written leaves, and a record says so. */
#define SEND_AND_HEAR(len)						\
do {									\
	ASSERT_EQ(len, es_write(self->fd, len));			\
	do {								\
		es_drain(self->peer);					\
		ASSERT_EQ(4, es_next(self->ep, &st));			\
	} while (st.outq);						\
} while (0)

/* Room for the credit of others is no edge for those who saw a writable. */
TEST_F(lazy, r9_space_that_only_a_record_tells_of_is_no_edge)
{
	const uint32_t len = es_len(variant->type, 20000);
	int et = epoll_create1(EPOLL_CLOEXEC), i;
	struct epoll_event ev;
	struct epoll_state st;

	ASSERT_EQ(0, es_add(et, self->fd, EPOLLOUT | EPOLLET));
	ASSERT_EQ(1, epoll_wait(et, &ev, 1, 0));
	REGISTER(EPOLLOUT, &st);
	for (i = 0; i < 20; i++) {
		SEND_AND_HEAR(len);
		EXPECT_EQ(0, epoll_wait(et, &ev, 1, 0));
	}
	close(et);
}

/* /proc/PID/status, one number of it */
static long es_proc_status(pid_t pid, const char *key)
{
	char path[64], text[8192], *at;

	snprintf(path, sizeof(path), "/proc/%d/status", pid);
	if (es_read_file(path, text, sizeof(text)) < 0)
		return -1;
	at = strstr(text, key);
	return at ? atol(at + strlen(key)) : -1;
}

/* A process that sleeps went to sleep once per wake-up that it was given. */
static long es_sleeps(pid_t pid)
{
	if (!es_until(es_proc_state(pid) == 'S'))
		return -1;
	return es_proc_status(pid, "\nvoluntary_ctxt_switches:");
}

TEST_F(lazy, r9_a_sleeper_in_poll_or_epoll_is_not_woken_for_credit)
{
	const uint32_t len = es_len(variant->type, 20000);
	int et = epoll_create1(EPOLL_CLOEXEC), i, k;
	struct epoll_event ev;
	struct epoll_state st;
	long before[2], after;
	pid_t pid[2];

	ASSERT_EQ(0, es_add(et, self->fd, EPOLLOUT | EPOLLIN | EPOLLET));
	ASSERT_EQ(1, epoll_wait(et, &ev, 1, 0));
	REGISTER(EPOLLOUT, &st);
	for (k = 0; k < 2; k++) {
		pid[k] = fork();
		ASSERT_LE(0, pid[k]);
		if (!pid[k]) {
			struct pollfd p = { .fd = self->fd, .events = POLLIN };

			_exit(k ? epoll_wait(et, &ev, 1, -1) :
				  poll(&p, 1, -1));
		}
		/* Asleep for good: its count does not change any more. */
		do {
			before[k] = es_sleeps(pid[k]);
			for (i = 0; i < 20; i++)
				es_pause();
		} while (before[k] != es_sleeps(pid[k]));
		if (before[k] < 0)
			SKIP(goto out, "no counts of context switches");
	}
	for (i = 0; i < 20; i++)
		SEND_AND_HEAR(len);
	for (k = 0; k < 2; k++) {
		after = es_sleeps(pid[k]);
		EXPECT_EQ(before[k], after);
	}
out:
	for (k = 0; k < 2; k++) {
		if (pid[k] > 0) {
			kill(pid[k], SIGKILL);
			waitpid(pid[k], NULL, 0);
		}
	}
	close(et);
}

/* In the same epoll instance: same events in the same order. */
TEST_F(both, r9_in_the_same_epoll_the_order_of_others_stays)
{
	int order[2][8] = {}, n[2] = {}, round, i, got;
	struct epoll_event slots[64];

	for (round = 0; round < 2; round++) {
		int ep = epoll_create1(EPOLL_CLOEXEC), sv[4][2];

		for (i = 0; i < 4; i++) {
			ASSERT_EQ(0, variant->type->pair(sv[i]));
			ASSERT_EQ(0, es_ctl(ep, EPOLL_CTL_ADD, sv[i][0],
					    EPOLLIN | (i & 1 ? EPOLLET : 0),
					    i));
			if (round)
				ASSERT_EQ(0, es_ctl(ep, EPOLL_CTL_ADD,
						    sv[i][1], EPOLLIN |
						    EPOLLSTATE, 100 + i));
		}
		for (i = 3; i >= 0; i--) {
			ASSERT_EQ(10, es_deliver(variant->type, sv[i][1],
						 sv[i][0], 10));
			ASSERT_EQ(10, es_deliver(variant->type, sv[i][0],
						 sv[i][1], 10));
			ASSERT_TRUE(es_until(es_idle(variant->type, sv[i][0],
						     sv[i][1])));
		}
		got = epoll_wait(ep, slots, ARRAY_SIZE(slots), 0);
		for (i = 0; i < got; i = epollstate_next(slots, got, i)) {
			if (!epollstate_record(&slots[i]))
				order[round][n[round]++] = slots[i].data.u64;
		}
		for (i = 0; i < 4; i++) {
			close(sv[i][0]);
			close(sv[i][1]);
		}
		close(ep);
	}
	ASSERT_EQ(4, n[0]);
	ASSERT_EQ(4, n[1]);
	for (i = 0; i < 4; i++)
		EXPECT_EQ(order[0][i], order[1][i]);
}

TEST_HARNESS_MAIN
