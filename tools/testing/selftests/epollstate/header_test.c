// SPDX-License-Identifier: GPL-2.0
/*
 * tools/epollstate/epollstate.h, which applications copy: it is right on any
 * kernel, so that nothing here is skipped where EPOLLSTATE is missing.
 */

/* The kernel's own header, its names out of the way of <sys/epoll.h>. */
#define _LINUX_FCNTL_H		/* would clash with <fcntl.h> */
#define _UAPI_LINUX_FCNTL_H
#define epoll_event	uapi_epoll_event
#define epoll_state	uapi_epoll_state
#define epoll_params	uapi_epoll_params
#include <linux/eventpoll.h>
#undef epoll_event
#undef epoll_state
#undef epoll_params

#include <stddef.h>

#ifdef EPOLL_STATE_SLOTS
#define UAPI_HAS_EPOLL_STATE	1
enum {
	UAPI_EPOLL_STATE_SLOTS = EPOLL_STATE_SLOTS,
	UAPI_EPOLLSTATE = (unsigned int)EPOLLSTATE,
};
#else
#define UAPI_HAS_EPOLL_STATE	0
#endif
#undef EPOLL_STATE_SLOTS
#undef EPOLLSTATE

#undef EPOLL_CLOEXEC
#undef EPOLL_CTL_ADD
#undef EPOLL_CTL_DEL
#undef EPOLL_CTL_MOD
#undef EPOLLIN
#undef EPOLLPRI
#undef EPOLLOUT
#undef EPOLLERR
#undef EPOLLHUP
#undef EPOLLNVAL
#undef EPOLLRDNORM
#undef EPOLLRDBAND
#undef EPOLLWRNORM
#undef EPOLLWRBAND
#undef EPOLLMSG
#undef EPOLLRDHUP
#undef EPOLLEXCLUSIVE
#undef EPOLLWAKEUP
#undef EPOLLONESHOT
#undef EPOLLET
#undef EPIOCSPARAMS
#undef EPIOCGPARAMS

#include <sys/resource.h>

#include "common.h"

TEST(the_numbers_are_those_of_the_design)
{
	EXPECT_EQ(1U << 26, EPOLLSTATE);
	EXPECT_EQ(4, EPOLL_STATE_SLOTS);
}

TEST(a_record_is_four_slots_in_size_and_place)
{
	const size_t slot = sizeof(struct epoll_event);
	const size_t data = offsetof(struct epoll_event, data);

#if defined(__x86_64__) || defined(__i386__)
	EXPECT_EQ(12, slot);
	EXPECT_EQ(4, data);
	EXPECT_EQ(48, sizeof(struct epoll_state));
#else
	EXPECT_EQ(16, slot);
	EXPECT_EQ(8, data);
	EXPECT_EQ(64, sizeof(struct epoll_state));
#endif
	EXPECT_EQ(EPOLL_STATE_SLOTS * slot, sizeof(struct epoll_state));
	EXPECT_EQ(0, offsetof(struct epoll_state, events));
	EXPECT_EQ(data, offsetof(struct epoll_state, data));
	EXPECT_EQ(slot + data, offsetof(struct epoll_state, rcv));
	EXPECT_EQ(slot + data + 4, offsetof(struct epoll_state, snd));
	EXPECT_EQ(2 * slot + data, offsetof(struct epoll_state, outq));
	EXPECT_EQ(2 * slot + data + 4, offsetof(struct epoll_state, msgs));
	EXPECT_EQ(3 * slot + data, offsetof(struct epoll_state, error));
	EXPECT_EQ(3 * slot + data + 4, offsetof(struct epoll_state, seq));
}

#if UAPI_HAS_EPOLL_STATE
#define EXPECT_SAME(member)						\
do {									\
	EXPECT_EQ(offsetof(struct uapi_epoll_state, member),		\
		  offsetof(struct epoll_state, member));		\
	EXPECT_EQ(sizeof(((struct uapi_epoll_state *)0)->member),	\
		  sizeof(((struct epoll_state *)0)->member));		\
} while (0)

TEST(both_headers_say_the_same)
{
	EXPECT_EQ(UAPI_EPOLLSTATE, EPOLLSTATE);
	EXPECT_EQ(UAPI_EPOLL_STATE_SLOTS, EPOLL_STATE_SLOTS);
	EXPECT_EQ(sizeof(struct uapi_epoll_event),
		  sizeof(struct epoll_event));
	EXPECT_EQ(sizeof(struct uapi_epoll_state),
		  sizeof(struct epoll_state));
	EXPECT_SAME(events);
	EXPECT_SAME(data);
	EXPECT_SAME(rcv);
	EXPECT_SAME(snd);
	EXPECT_SAME(outq);
	EXPECT_SAME(msgs);
	EXPECT_SAME(error);
	EXPECT_SAME(seq);
}
#else
TEST(both_headers_say_the_same)
{
	SKIP(return, "built without the kernel's headers for EPOLLSTATE");
}
#endif

/* A slot array as a kernel would fill it. */
struct slots {
	struct epoll_event ev[64];
	int n;
};

static void put_event(struct slots *s, uint32_t events, uint64_t data)
{
	s->ev[s->n].events = events;
	s->ev[s->n].data.u64 = data;
	s->n++;
}

/* A record of @len slots: a later kernel may append some to the four. */
static void put_record(struct slots *s, uint32_t events, uint64_t data,
		       uint32_t seq, int len)
{
	struct epoll_state st = {
		.events = events | EPOLLSTATE,
		.data.u64 = data,
		.rcv = seq + 1000,
		.snd = seq + 2000,
		.outq = seq + 3000,
		.msgs = seq + 4000,
		.error = seq + 5000,
		.seq = seq,
	};
	int i;

	memcpy(&s->ev[s->n], &st, sizeof(st));
	s->n += EPOLL_STATE_SLOTS;
	for (i = EPOLL_STATE_SLOTS; i < len; i++)
		put_event(s, 0, UINT64_MAX);
}

/* Steps over the array; the data of what it meets, as decimal digits. */
static long walk(const struct slots *s)
{
	long met = 0;
	int i;

	for (i = 0; i < s->n; i = epollstate_next(s->ev, s->n, i))
		met = met * 10 + s->ev[i].data.u64;
	return i == s->n ? met : -1;
}

TEST(an_empty_array_has_nothing)
{
	const struct slots s = {};

	EXPECT_EQ(0, walk(&s));
}

TEST(ordinary_events_are_met_one_by_one)
{
	struct slots s = {};

	put_event(&s, EPOLLIN, 1);
	put_event(&s, EPOLLOUT, 2);
	put_event(&s, EPOLLHUP, 3);
	EXPECT_EQ(123, walk(&s));
	EXPECT_TRUE(!epollstate_record(&s.ev[0]));
}

TEST(records_are_met_one_by_one)
{
	struct slots s = {};

	put_record(&s, EPOLLIN, 1, 0, 4);
	put_record(&s, 0, 2, 1, 4);
	put_record(&s, EPOLLOUT, 3, 2, 4);
	EXPECT_EQ(12, s.n);
	EXPECT_EQ(123, walk(&s));
}

TEST(records_and_events_may_be_mixed)
{
	struct slots s = {};

	put_event(&s, EPOLLIN, 1);
	put_record(&s, EPOLLIN, 2, 0, 4);
	put_event(&s, EPOLLOUT | EPOLLET, 3);
	put_event(&s, EPOLLERR, 4);
	put_record(&s, 0, 5, 1, 4);
	put_record(&s, 0, 6, 1, 4);
	put_event(&s, EPOLLIN, 7);
	EXPECT_EQ(1234567, walk(&s));
}

TEST(longer_records_of_a_later_kernel_are_stepped_over)
{
	struct slots s = {};

	put_record(&s, EPOLLIN, 1, 0, 5);
	put_event(&s, EPOLLIN, 2);
	put_record(&s, 0, 3, 7, 9);
	put_record(&s, 0, 4, 8, 4);
	put_record(&s, 0, 5, 9, 6);
	EXPECT_EQ(12345, walk(&s));
	EXPECT_EQ(7, epollstate_record(&s.ev[6])->seq);
}

TEST(an_array_that_ends_within_a_record_ends_the_walk)
{
	struct slots s = {};
	int cut;

	put_event(&s, EPOLLIN, 1);
	put_record(&s, EPOLLIN, 2, 0, 4);
	for (cut = 1; cut < EPOLL_STATE_SLOTS; cut++) {
		s.n = 1 + cut;
		EXPECT_EQ(12, walk(&s));
	}
}

TEST(a_record_is_found_with_all_its_fields)
{
	const struct epoll_state *st;
	struct slots s = {};

	put_event(&s, EPOLLIN, 1);
	put_record(&s, EPOLLIN | EPOLLRDHUP, ES_COOKIE, 42, 4);
	st = epollstate_record(&s.ev[1]);
	ASSERT_TRUE(!!st);
	EXPECT_EQ(EPOLLSTATE | EPOLLIN | EPOLLRDHUP, st->events);
	EXPECT_EQ(ES_COOKIE, st->data.u64);
	EXPECT_EQ(1042, st->rcv);
	EXPECT_EQ(2042, st->snd);
	EXPECT_EQ(3042, st->outq);
	EXPECT_EQ(4042, st->msgs);
	EXPECT_EQ(5042, st->error);
	EXPECT_EQ(42, st->seq);
}

TEST(a_record_replaces_the_stored_state)
{
	struct epoll_state st;
	struct slots s = {};

	memset(&st, 0xff, sizeof(st));
	put_record(&s, EPOLLIN, 5, 9, 4);
	EXPECT_EQ(1, epollstate_store(&st, &s.ev[0]));
	EXPECT_EQ(0, memcmp(&st, &s.ev[0], sizeof(st)));
}

TEST(an_ordinary_event_makes_its_direction_unknown)
{
	struct epoll_state st = {};
	struct slots s = {};

	put_event(&s, EPOLLIN, 1);
	put_event(&s, EPOLLOUT, 1);
	put_event(&s, EPOLLHUP, 1);
	EXPECT_EQ(0, epollstate_store(&st, &s.ev[0]));
	EXPECT_EQ(EPOLLSTATE_UNKNOWN, st.rcv);
	EXPECT_EQ(0, st.snd);
	EXPECT_EQ(1, st.data.u64);
	memset(&st, 0, sizeof(st));
	EXPECT_EQ(0, epollstate_store(&st, &s.ev[1]));
	EXPECT_EQ(0, st.rcv);
	EXPECT_EQ(EPOLLSTATE_UNKNOWN, st.snd);
	memset(&st, 0, sizeof(st));
	EXPECT_EQ(0, epollstate_store(&st, &s.ev[2]));
	EXPECT_EQ(EPOLLSTATE_UNKNOWN, st.rcv);
	EXPECT_EQ(EPOLLSTATE_UNKNOWN, st.snd);
}

/* What a call leaves behind that failed with @err. */
static ssize_t failed(int err)
{
	errno = err;
	return -1;
}

TEST(own_reads_are_subtracted)
{
	struct epoll_state st = { .rcv = 100 };

	epollstate_did_read(&st, 30);
	EXPECT_EQ(70, st.rcv);
	/* Nothing was read. */
	epollstate_did_read(&st, failed(EINTR));
	EXPECT_EQ(70, st.rcv);
	/* More than was told: it arrived meanwhile. */
	epollstate_did_read(&st, 80);
	EXPECT_EQ(0, st.rcv);
	st.rcv = EPOLLSTATE_UNKNOWN;
	epollstate_did_read(&st, 30);
	EXPECT_EQ(EPOLLSTATE_UNKNOWN, st.rcv);
	epollstate_did_read(&st, failed(EAGAIN));
	EXPECT_EQ(0, st.rcv);
	st.rcv = EPOLLSTATE_UNKNOWN;
	epollstate_did_read(&st, 0);
	EXPECT_EQ(0, st.rcv);
}

TEST(own_messages_are_subtracted)
{
	struct epoll_state st = { .rcv = 100, .msgs = 3 };

	epollstate_did_receive(&st, 100);
	EXPECT_EQ(2, st.msgs);
	EXPECT_EQ(EPOLLSTATE_UNKNOWN, st.rcv);
	/* An error that came in between, and an empty message. */
	epollstate_did_receive(&st, failed(ECONNREFUSED));
	EXPECT_EQ(2, st.msgs);
	epollstate_did_receive(&st, 0);
	EXPECT_EQ(1, st.msgs);
	epollstate_did_receive(&st, 5000);
	EXPECT_EQ(0, st.msgs);
	EXPECT_EQ(0, st.rcv);
	/* One that came meanwhile. */
	epollstate_did_receive(&st, 10);
	EXPECT_EQ(0, st.msgs);
	EXPECT_EQ(0, st.rcv);
	/* What an ordinary event leaves, until EAGAIN. */
	st.rcv = EPOLLSTATE_UNKNOWN;
	st.msgs = EPOLLSTATE_UNKNOWN;
	epollstate_did_receive(&st, 10);
	EXPECT_EQ(EPOLLSTATE_UNKNOWN, st.msgs);
	epollstate_did_receive(&st, failed(EAGAIN));
	EXPECT_EQ(0, st.msgs);
	EXPECT_EQ(0, st.rcv);
}

TEST(own_writes_are_subtracted)
{
	struct epoll_state st = { .snd = 100, .outq = 5 };

	epollstate_did_write(&st, 30, 30);
	EXPECT_EQ(70, st.snd);
	EXPECT_EQ(35, st.outq);
	/* No event would follow if these took the room away. */
	epollstate_did_write(&st, 9000, failed(EMSGSIZE));
	epollstate_did_write(&st, 30, failed(ECONNREFUSED));
	EXPECT_EQ(70, st.snd);
	EXPECT_EQ(35, st.outq);
	epollstate_did_write(&st, 70, 50);
	EXPECT_EQ(0, st.snd);
	EXPECT_EQ(85, st.outq);
	st.snd = EPOLLSTATE_UNKNOWN;
	epollstate_did_write(&st, 30, 30);
	EXPECT_EQ(EPOLLSTATE_UNKNOWN, st.snd);
	epollstate_did_write(&st, 30, failed(EAGAIN));
	EXPECT_EQ(0, st.snd);
}

TEST(the_end_of_file_is_seen_when_all_is_read)
{
	struct epoll_state st = { .events = EPOLLSTATE | EPOLLIN };

	EXPECT_FALSE(epollstate_eof(&st));
	st.events |= EPOLLRDHUP;
	EXPECT_TRUE(epollstate_eof(&st));
	st.rcv = 1;
	EXPECT_FALSE(epollstate_eof(&st));
	st.events = EPOLLSTATE | EPOLLHUP;
	EXPECT_FALSE(epollstate_eof(&st));
	epollstate_did_read(&st, 1);
	EXPECT_TRUE(epollstate_eof(&st));
}

TEST(records_are_ordered_across_the_wrap)
{
	struct epoll_state a = { .events = EPOLLSTATE, .seq = 1 };
	struct epoll_state b = { .events = EPOLLSTATE, .seq = 0 };

	EXPECT_TRUE(epollstate_newer(&a, &b));
	EXPECT_FALSE(epollstate_newer(&b, &a));
	EXPECT_FALSE(epollstate_newer(&a, &a));
	b.seq = UINT32_MAX;
	EXPECT_TRUE(epollstate_newer(&a, &b));
	EXPECT_FALSE(epollstate_newer(&b, &a));
}

TEST(the_first_record_is_newer_than_none)
{
	const struct epoll_state none = {};
	struct epoll_state a = { .events = EPOLLSTATE };

	EXPECT_TRUE(epollstate_newer(&a, &none));
	a.seq = 1U << 31;
	EXPECT_TRUE(epollstate_newer(&a, &none));
}

TEST(the_support_check_agrees_with_the_baseline_record)
{
	EXPECT_EQ(es_kernel_has_epollstate(), epollstate_supported());
}

TEST(the_support_check_leaves_no_descriptor_behind)
{
	int before, after;

	before = dup(0);
	ASSERT_LE(0, before);
	close(before);
	epollstate_supported();
	after = dup(0);
	EXPECT_EQ(before, after);
	close(after);
}

TEST(the_support_check_says_when_it_cannot_tell)
{
	const struct rlimit few = { .rlim_cur = 64, .rlim_max = 64 };
	int fd, got;

	/* No descriptor is left for it. */
	ASSERT_EQ(0, setrlimit(RLIMIT_NOFILE, &few));
	while ((fd = dup(0)) >= 0)
		;
	ASSERT_EQ(EMFILE, errno);
	got = epollstate_supported();
	EXPECT_EQ(-EMFILE, got);
}

/* Asked for both, a kernel answers with what it knows. */
TEST(the_same_call_gives_records_or_plain_edges)
{
	const int has = es_kernel_has_epollstate();
	struct epoll_event slots[EPOLL_STATE_SLOTS];
	struct epoll_state st = {};
	const uint64_t one = 1;
	int ep, fd;

	ep = epoll_create1(EPOLL_CLOEXEC);
	fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
	ASSERT_EQ(0, es_add(ep, fd, EPOLLIN | EPOLLSTATE | EPOLLET));
	EXPECT_EQ(has ? 4 : 0, epoll_wait(ep, slots, EPOLL_STATE_SLOTS, 0));
	ASSERT_EQ(8, write(fd, &one, 8));
	ASSERT_EQ(has ? 4 : 1, epoll_wait(ep, slots, EPOLL_STATE_SLOTS, 0));
	EXPECT_EQ(EPOLLIN | (has ? EPOLLSTATE : 0), slots[0].events);
	EXPECT_EQ(has, epollstate_store(&st, &slots[0]));
	EXPECT_EQ(has ? 8 : EPOLLSTATE_UNKNOWN, st.rcv);
	EXPECT_EQ(0, epoll_wait(ep, slots, EPOLL_STATE_SLOTS, 0));
	close(fd);
	close(ep);
}

TEST_HARNESS_MAIN
