// SPDX-License-Identifier: GPL-2.0
/*
 * What is left of a call that failed.  With fault injection in the kernel, each
 * allocation and each copy to or from user space on the way of a call is made
 * to fail in turn, by /proc/thread-self/fail-nth; a call that failed has changed
 * nothing, and the next one finds everything as it was.
 *
 * In a kernel without fault injection all of this is skipped as one.
 */

#include "watches.h"

#define NTH_FILE	"/proc/thread-self/fail-nth"
#define DEBUGFS		"/sys/kernel/debug/"
/* No call that is tried here has so many places that can fail. */
#define MOST		60

static const char *const es_silent[] = {
	DEBUGFS "failslab/verbose", DEBUGFS "fail_page_alloc/verbose",
	DEBUGFS "fail_usercopy/verbose",
};

/* Allocations that may sleep fail as well, and without a trace in the log. */
static int es_faults_on(void)
{
	size_t i;
	int err;

	err = es_write_file(DEBUGFS "failslab/ignore-gfp-wait", "N");
	if (!err)
		err = es_write_file(DEBUGFS "fail_page_alloc/ignore-gfp-wait",
				    "N");
	if (!err)
		err = es_write_file(DEBUGFS "fail_page_alloc/min-order", "0");
	for (i = 0; i < ARRAY_SIZE(es_silent) && !err; i++)
		err = es_write_file(es_silent[i], "0");
	return err;
}

static void es_faults_off(void)
{
	es_write_file(DEBUGFS "failslab/ignore-gfp-wait", "Y");
	es_write_file(DEBUGFS "fail_page_alloc/ignore-gfp-wait", "Y");
	es_write_file(DEBUGFS "fail_page_alloc/min-order", "1");
}

static void __attribute__((constructor)) es_need_injection(void)
{
	if (!access(DEBUGFS "failslab/verbose", W_OK) &&
	    !access(NTH_FILE, W_OK))
		return;
	printf("TAP version 13\n1..0 # SKIP no fault injection here\n");
	exit(KSFT_SKIP);
}

/* From now on, the @nth place of this thread that can fail does. */
static int es_fail(int fd, int nth)
{
	char text[16];
	const int len = snprintf(text, sizeof(text), "%d", nth);

	return pwrite(fd, text, len, 0) == len ? 0 : -errno;
}

/* True iff that place was in what was done since then; ends it. */
static bool es_failed(int fd)
{
	char text[16] = {};
	const ssize_t n = pread(fd, text, sizeof(text) - 1, 0);

	/* Reading and writing this file can be what fails. */
	if (n < 0)
		return false;
	if (!atoi(text))
		return true;
	while (es_fail(fd, 0))
		;
	return false;
}

/*
 * For each place on the way of @call, which assigns to err, in turn: it failed
 * there, and @after looks at what is left.  The last time nothing fails.  So
 * many @allocations at least are on that way.
 */
#define EACH_FAULT(allocations, call, after)				\
do {									\
	int __nth, __hit = 0;						\
	bool __failed = true;						\
									\
	for (__nth = 1; __failed && __nth < MOST; __nth++) {		\
		ASSERT_EQ(0, es_fail(self->nth, __nth));		\
		call;							\
		__failed = es_failed(self->nth);			\
		__hit += __failed && err == -ENOMEM;			\
		if (err < 0) {						\
			ASSERT_TRUE(__failed);				\
			EXPECT_TRUE(err == -ENOMEM || err == -EFAULT) {	\
				TH_LOG("place %d: %s", __nth,		\
				       strerror(-err));			\
			}						\
		}							\
		after;							\
	}								\
	ASSERT_FALSE(__failed);						\
	EXPECT_LE(allocations, __hit);					\
} while (0)

FIXTURE(fault)
{
	int ep;
	int fd;
	int peer;
	int nth;
	int mute;
	struct es_queue queue;
};

FIXTURE_VARIANT(fault)
{
	const struct es_type *type;
};

ES_TYPES(ES_ADD_ALL, fault)

FIXTURE_SETUP(fault)
{
	int sv[2];

	self->nth = -1;
	ES_SETUP(variant->type->pair(sv), sv, RECEIVER);
	ES_REQUIRE_ROOT();
	ASSERT_EQ(0, es_faults_on());
	self->nth = open(NTH_FILE, O_RDWR | O_CLOEXEC);
	ASSERT_LE(0, self->nth);
	close(self->ep);
	self->ep = es_other_epoll();
	ASSERT_LE(0, self->ep);
	self->mute = es_mute_file();
	ASSERT_LE(0, self->mute);
}

FIXTURE_TEARDOWN(fault)
{
	if (self->nth >= 0)
		close(self->nth);
	es_faults_off();
	ES_TEARDOWN();
}

/* The next message is the only one. */
#define EMPTY()								\
do {									\
	es_drain(self->fd);						\
	self->queue.n = 0;						\
} while (0)

#define DELETE()							\
	es_ctl(self->ep, EPOLL_CTL_DEL, self->fd, 0, 0)

TEST_F_TIMEOUT(fault, an_add_that_fails_leaves_nothing, ES_TIMEOUT)
{
	struct epoll_state st;
	int err;

	EACH_FAULT(3, err = es_add(self->ep, self->fd, ES_IN | EPOLLSTATE), ({
		EXPECT_EQ(err ? -ENOENT : 0, DELETE());
		EXPECT_TRUE(es_watches_back(self->ep, self->mute));
	}));
	REGISTER(ES_IN, &st);
	EXPECT_EQ(0, st.seq);
	EXPECT_INPUT(st);
}

TEST_F_TIMEOUT(fault, a_mod_to_records_that_fails_leaves_what_was, ES_TIMEOUT)
{
	struct epoll_state st;
	int err;

	ASSERT_EQ(0, es_add(self->ep, self->fd, EPOLLIN));
	EACH_FAULT(1, err = es_mod(self->ep, self->fd, ES_IN | EPOLLSTATE), ({
		ARRIVE(1);
		/* An ordinary event, again and again: it is level-triggered. */
		ASSERT_EQ(err ? 1 : 4, es_next(self->ep, &st));
		if (!err) {
			EXPECT_INPUT(st);
			ASSERT_EQ(0, es_mod(self->ep, self->fd, EPOLLIN));
		} else {
			EXPECT_EQ(EPOLLIN, st.events);
			EXPECT_EQ(ES_COOKIE, st.data.u64);
		}
		EMPTY();
	}));
	EXPECT_EQ(0, DELETE());
	EXPECT_TRUE(es_watches_back(self->ep, self->mute));
}

TEST_F_TIMEOUT(fault, a_mod_of_records_that_fails_leaves_them, ES_TIMEOUT)
{
	struct epoll_state st;
	uint32_t seq = 1;
	int err;

	REGISTER(ES_IN, &st);
	EACH_FAULT(0, err = es_mod(self->ep, self->fd, ES_IN | EPOLLSTATE), ({
		/* No new baseline, or one. */
		ASSERT_EQ(err ? 0 : 4, es_wait(self->ep, &st, 0));
		seq += !err;
		ARRIVE(1);
		ASSERT_EQ(4, es_next(self->ep, &st));
		EXPECT_EQ(seq++, st.seq);
		EXPECT_INPUT(st);
		EMPTY();
	}));
	EXPECT_EQ(0, DELETE());
	EXPECT_TRUE(es_watches_back(self->ep, self->mute));
}

TEST_F(fault, nothing_on_the_way_of_a_wait_can_fail)
{
	struct epoll_state st;

	ASSERT_EQ(0, es_add(self->ep, self->fd, ES_IN | EPOLLSTATE));
	ASSERT_EQ(0, es_fail(self->nth, 1));
	/* But for the array, see buffer_test. */
	EXPECT_EQ(4, es_wait(self->ep, &st, 0));
	EXPECT_FALSE(es_failed(self->nth));
}

TEST_F_TIMEOUT(fault, a_del_that_fails_leaves_the_registration, ES_TIMEOUT)
{
	struct epoll_state st;
	int err, nth;
	bool failed = true;

	REGISTER(ES_IN, &st);
	/* Nothing is allocated to drop one: there may be no such place. */
	for (nth = 1; failed && nth < MOST; nth++) {
		ASSERT_EQ(0, es_fail(self->nth, nth));
		err = DELETE();
		failed = es_failed(self->nth);
		EXPECT_TRUE(!err || failed);
		ASSERT_EQ(err ? -EEXIST : 0,
			  es_add(self->ep, self->fd, ES_IN | EPOLLSTATE));
	}
	EXPECT_EQ(0, DELETE());
	EXPECT_TRUE(es_watches_back(self->ep, self->mute));
}

/* A TCP socket has no memory for what it had promised to take. */

FIXTURE(refused)
{
	int ep;
	int fd;
	int peer;
	int nth;
};

FIXTURE_VARIANT(refused)
{
	int family;
};

ES_TCP_VARIANTS(refused);

FIXTURE_SETUP(refused)
{
	const struct es_tcp_opts o = {
		.family = variant->family,
		/* One of a given size is not made smaller for it. */
		.sndbuf = 65536,
	};
	int sv[2];

	self->nth = -1;
	ES_SETUP(es_tcp_pair_opts(&o, sv), sv, SENDER);
	ES_REQUIRE_ROOT();
	ASSERT_EQ(0, es_faults_on());
	self->nth = open(NTH_FILE, O_RDWR | O_CLOEXEC);
	ASSERT_LE(0, self->nth);
}

FIXTURE_TEARDOWN(refused)
{
	if (self->nth >= 0)
		close(self->nth);
	es_faults_off();
	ES_TEARDOWN();
}

/* All that was written leaves, and is told to have left. */
static bool es_gone(int ep, int peer, struct epoll_state *st)
{
	return es_until((es_drain(peer),
			 es_wait(ep, st, 0) == 4 && !st->outq));
}

/*
 * Nothing is queued, so that no acknowledgment will ever tell that the write can
 * be tried again, and the record that says so is the same as the last one.
 */
TEST_F_TIMEOUT(refused, a_write_that_found_no_memory_is_told_to_be_tried_again,
	       ES_TIMEOUT)
{
	int nth, refused = 0;
	struct epoll_state st;
	bool failed = true;
	ssize_t n;

	REGISTER(ES_IO, &st);
	/* What the test itself needs is there now, and cannot fail. */
	ASSERT_EQ(1000, es_write(self->fd, 1000));
	ASSERT_TRUE(es_gone(self->ep, self->peer, &st));
	for (nth = 1; failed && nth < MOST; nth++) {
		ASSERT_LE(1000, st.snd);
		ASSERT_EQ(0, es_fail(self->nth, nth));
		n = es_write(self->fd, 1000);
		failed = es_failed(self->nth);
		if (n == 1000) {
			/* Or it failed on its way, and is sent again. */
			ASSERT_TRUE(es_gone(self->ep, self->peer, &st));
			continue;
		}
		ASSERT_TRUE(failed);
		ASSERT_TRUE(n == -EAGAIN || n == -EFAULT) {
			TH_LOG("place %d: %zd", nth, n);
		}
		EXPECT_EQ(0, es_siocoutq(self->fd));
		if (n == -EAGAIN) {
			refused++;
			ASSERT_EQ(4, es_wait(self->ep, &st, 0)) {
				TH_LOG("place %d: not told", nth);
			}
			EXPECT_EQ(EPOLLSTATE | EPOLLOUT, st.events);
			EXPECT_EQ(0, st.outq);
		}
		EXPECT_EQ(0, es_pending(self->ep));
	}
	ASSERT_FALSE(failed);
	EXPECT_LT(0, refused);
}

TEST_HARNESS_MAIN
