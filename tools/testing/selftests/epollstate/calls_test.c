// SPDX-License-Identifier: GPL-2.0
/* Each call that delivers or registers: all do the same. */

#include <linux/aio_abi.h>
#include <signal.h>

#include "common.h"
#include "ring.h"

#ifndef SYS_epoll_pwait2
#define SYS_epoll_pwait2	441
#endif

/* The time-out of epoll_pwait2() has 64 bits everywhere. */
struct es_timespec64 {
	int64_t sec;
	int64_t nsec;
};

FIXTURE(calls)
{
	int ep;
	int fd;		/* an eventfd, readable */
	struct epoll_event slots[9];
};

FIXTURE_SETUP(calls)
{
	ES_REQUIRE_KERNEL();
	self->ep = epoll_create1(EPOLL_CLOEXEC);
	ASSERT_LE(0, self->ep);
	self->fd = eventfd(1, EFD_NONBLOCK | EFD_CLOEXEC);
	ASSERT_LE(0, self->fd);
}

FIXTURE_TEARDOWN(calls)
{
	close(self->ep);
	close(self->fd);
}

#define EXPECT_BASELINE(want_seq)					\
do {									\
	struct epoll_state __st;					\
									\
	memcpy(&__st, self->slots, sizeof(__st));			\
	EXPECT_EQ(EPOLLSTATE | EPOLLIN, __st.events);			\
	EXPECT_EQ(ES_COOKIE, __st.data.u64);				\
	EXPECT_EQ(8, __st.rcv);						\
	EXPECT_EQ(8, __st.snd);						\
	EXPECT_EQ(want_seq, __st.seq);					\
} while (0)

static int es_pwait2(int ep, struct epoll_event *slots, int max, int64_t ms)
{
	const struct es_timespec64 ts = {
		.sec = ms / 1000, .nsec = ms % 1000 * 1000000,
	};
	int n = syscall(SYS_epoll_pwait2, ep, slots, max, &ts, NULL, 8);

	return n < 0 ? -errno : n;
}

TEST_F(calls, epoll_wait_delivers_records)
{
	ASSERT_EQ(0, es_add(self->ep, self->fd, EPOLLIN | EPOLLSTATE));
	EXPECT_EQ(4, epoll_wait(self->ep, self->slots, 9, ES_DEADLINE_MS));
	EXPECT_BASELINE(0);
	EXPECT_EQ(0, epoll_wait(self->ep, self->slots, 9, 0));
}

TEST_F(calls, epoll_pwait_delivers_records)
{
	sigset_t mask;

	sigfillset(&mask);
	ASSERT_EQ(0, es_add(self->ep, self->fd, EPOLLIN | EPOLLSTATE));
	EXPECT_EQ(-1, epoll_pwait(self->ep, self->slots, 3, 0, &mask));
	EXPECT_EQ(EINVAL, errno);
	EXPECT_EQ(4, epoll_pwait(self->ep, self->slots, 9, ES_DEADLINE_MS,
				 &mask));
	EXPECT_BASELINE(0);
	EXPECT_EQ(0, epoll_pwait(self->ep, self->slots, 9, 0, &mask));
}

TEST_F(calls, epoll_pwait2_delivers_records)
{
	int n;

	ASSERT_EQ(0, es_add(self->ep, self->fd, EPOLLIN | EPOLLSTATE));
	n = es_pwait2(self->ep, self->slots, 3, 0);
	if (n == -ENOSYS)
		SKIP(return, "no epoll_pwait2");
	EXPECT_EQ(-EINVAL, n);
	EXPECT_EQ(4, es_pwait2(self->ep, self->slots, 9, ES_DEADLINE_MS));
	EXPECT_BASELINE(0);
	EXPECT_EQ(0, es_pwait2(self->ep, self->slots, 9, 0));
}

TEST_F(calls, a_signal_interrupts_without_losing_a_record)
{
	ASSERT_EQ(0, es_add(self->ep, self->fd, EPOLLIN | EPOLLSTATE));
	ASSERT_EQ(4, epoll_wait(self->ep, self->slots, 9, 0));
	/* A time-out with nothing to tell is a plain time-out. */
	EXPECT_EQ(0, epoll_wait(self->ep, self->slots, 9, 1));
	ASSERT_EQ(8, write(self->fd, &(uint64_t){ 1 }, 8));
	ASSERT_EQ(4, epoll_wait(self->ep, self->slots, 9, ES_DEADLINE_MS));
	EXPECT_BASELINE(1);
}

TEST_F(calls, maxevents_counts_slots)
{
	struct epoll_event slots[9];
	int max, want, got, sum, i;
	int second = eventfd(1, EFD_NONBLOCK | EFD_CLOEXEC);

	/* Two records, eight slots, in buffers of one to nine. */
	ASSERT_EQ(0, es_ctl(self->ep, EPOLL_CTL_ADD, self->fd,
			    EPOLLIN | EPOLLSTATE, 1));
	ASSERT_EQ(0, es_ctl(self->ep, EPOLL_CTL_ADD, second,
			    EPOLLIN | EPOLLSTATE, 2));
	for (max = 1; max <= 9; max++) {
		ASSERT_EQ(0, es_ctl(self->ep, EPOLL_CTL_MOD, self->fd,
				    EPOLLIN | EPOLLSTATE, 1));
		ASSERT_EQ(0, es_ctl(self->ep, EPOLL_CTL_MOD, second,
				    EPOLLIN | EPOLLSTATE, 2));
		want = max / EPOLL_STATE_SLOTS * EPOLL_STATE_SLOTS;
		for (sum = 0; sum < 8; sum += got) {
			memset(slots, 0xa5, sizeof(slots));
			got = epoll_wait(self->ep, slots, max, 0);
			if (!want) {
				EXPECT_EQ(-1, got);
				EXPECT_EQ(EINVAL, errno);
				break;
			}
			ASSERT_EQ(want, got) {
				TH_LOG("maxevents %d", max);
			}
			for (i = 0; i < got; i++)
				EXPECT_EQ(i % 4 == 0,
					  !!(slots[i].events & EPOLLSTATE));
			/* Nothing is written behind what was counted. */
			for (i = got; i < 9; i++)
				EXPECT_EQ(0xa5a5a5a5, slots[i].events);
		}
		if (want)
			EXPECT_EQ(0, es_pending(self->ep));
	}
	close(second);
}

TEST_F(calls, maxevents_below_one_stays_einval)
{
	/* The compiler must not see it: it would complain, and rightly so. */
	volatile int none = 0;

	ASSERT_EQ(0, es_add(self->ep, self->fd, EPOLLIN | EPOLLSTATE));
	EXPECT_EQ(-1, epoll_wait(self->ep, self->slots, none--, 0));
	EXPECT_EQ(EINVAL, errno);
	EXPECT_EQ(-1, epoll_wait(self->ep, self->slots, none, 0));
	EXPECT_EQ(EINVAL, errno);
	EXPECT_EQ(4, epoll_wait(self->ep, self->slots, 4, 0));
	EXPECT_BASELINE(0);
}

TEST_F(calls, many_records_fill_a_large_buffer)
{
	enum { FDS = 100 };
	struct epoll_event slots[FDS * EPOLL_STATE_SLOTS];
	uint64_t met[2] = {};
	int fd[FDS], i, n;

	for (i = 0; i < FDS; i++) {
		fd[i] = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
		ASSERT_EQ(0, es_ctl(self->ep, EPOLL_CTL_ADD, fd[i],
				    EPOLLIN | EPOLLSTATE, i));
	}
	n = epoll_wait(self->ep, slots, ARRAY_SIZE(slots), 0);
	ASSERT_EQ(FDS * EPOLL_STATE_SLOTS, n);
	for (i = 0; i < n; i = epollstate_next(slots, n, i)) {
		ASSERT_GT(FDS, slots[i].data.u64);
		met[slots[i].data.u64 / 64] ^= 1ULL << slots[i].data.u64 % 64;
	}
	EXPECT_EQ(UINT64_MAX, met[0]);
	EXPECT_EQ((1ULL << (FDS - 64)) - 1, met[1]);
	EXPECT_EQ(0, es_pending(self->ep));
	for (i = 0; i < FDS; i++)
		close(fd[i]);
}

static int es_ring_ctl(struct es_ring *r, int ep, int op, int fd,
		       uint32_t events)
{
	struct epoll_event ev = { .events = events, .data.u64 = ES_COOKIE };
	const struct io_uring_sqe sqe = {
		.opcode = IORING_OP_EPOLL_CTL,
		.fd = ep,
		.off = fd,
		.len = op,
		.addr = (uintptr_t)&ev,
	};

	return es_ring_do(r, &sqe);
}

TEST_F(calls, io_uring_epoll_ctl_registers)
{
	struct epoll_state st;
	struct es_ring r;
	int err;

	if (es_ring_open(&r))
		SKIP(return, "no io_uring");
	err = es_ring_ctl(&r, self->ep, EPOLL_CTL_ADD, self->fd,
			  EPOLLIN | EPOLLSTATE | EPOLLEXCLUSIVE);
	EXPECT_EQ(-EINVAL, err);
	err = es_ring_ctl(&r, self->ep, EPOLL_CTL_ADD, self->fd,
			  EPOLLIN | EPOLLSTATE);
	if (err == -EINVAL)
		SKIP(return, "no IORING_OP_EPOLL_CTL");
	ASSERT_EQ(0, err);
	ASSERT_EQ(4, epoll_wait(self->ep, self->slots, 9, 0));
	EXPECT_BASELINE(0);
	ASSERT_EQ(0, es_ring_ctl(&r, self->ep, EPOLL_CTL_MOD, self->fd,
				 EPOLLIN | EPOLLSTATE));
	ASSERT_EQ(4, epoll_wait(self->ep, self->slots, 9, 0));
	EXPECT_BASELINE(1);
	ASSERT_EQ(0, es_ring_ctl(&r, self->ep, EPOLL_CTL_DEL, self->fd, 0));
	ASSERT_EQ(0, es_wait(self->ep, &st, 0));
	close(r.fd);
}

TEST_F(calls, io_uring_epoll_wait_delivers_records)
{
	struct io_uring_sqe sqe = {
		.opcode = ES_IORING_OP_EPOLL_WAIT,
		.addr = (uintptr_t)self->slots,
		.len = 9,
	};
	struct es_ring r;
	int n;

	if (es_ring_open(&r))
		SKIP(return, "no io_uring");
	sqe.fd = self->ep;
	ASSERT_EQ(0, es_add(self->ep, self->fd, EPOLLIN | EPOLLSTATE));
	n = es_ring_do(&r, &sqe);
	if (n == -EINVAL)
		SKIP(return, "no IORING_OP_EPOLL_WAIT");
	EXPECT_EQ(4, n);
	EXPECT_BASELINE(0);
	ASSERT_EQ(0, es_mod(self->ep, self->fd, EPOLLIN | EPOLLSTATE));
	sqe.len = 3;
	EXPECT_EQ(-EINVAL, es_ring_do(&r, &sqe));
	sqe.len = 4;
	EXPECT_EQ(4, es_ring_do(&r, &sqe));
	EXPECT_BASELINE(1);
	close(r.fd);
}

/* A hand-made poll table of io_uring must not be taken for one of epoll. */
TEST_F(calls, io_uring_poll_beside_a_registration_stays_plain)
{
	/* The halves of that word change places on a big-endian machine. */
	struct io_uring_sqe sqe = {
		.opcode = IORING_OP_POLL_ADD,
		.poll32_events = htons(POLLIN) == POLLIN ?
				 POLLIN << 16 : POLLIN,
	};
	struct es_ring r;

	if (es_ring_open(&r))
		SKIP(return, "no io_uring");
	ASSERT_EQ(0, es_add(self->ep, self->fd, EPOLLIN | EPOLLSTATE));
	ASSERT_EQ(4, epoll_wait(self->ep, self->slots, 9, 0));
	sqe.fd = self->fd;
	EXPECT_EQ(POLLIN, es_ring_do(&r, &sqe));
	sqe.fd = self->ep;
	ASSERT_EQ(0, es_mod(self->ep, self->fd, EPOLLIN | EPOLLSTATE));
	EXPECT_EQ(POLLIN, es_ring_do(&r, &sqe));
	ASSERT_EQ(4, epoll_wait(self->ep, self->slots, 9, 0));
	EXPECT_BASELINE(1);
	close(r.fd);
}

/* And so must that of the older asynchronous I/O. */
TEST_F(calls, aio_poll_beside_a_registration_stays_plain)
{
	struct iocb cb = {
		.aio_lio_opcode = IOCB_CMD_POLL,
		.aio_buf = POLLIN,
	}, *cbs = &cb;
	aio_context_t ctx = 0;
	struct io_event done;
	int sv[2], got;

	if (syscall(SYS_io_setup, 4, &ctx))
		SKIP(return, "no asynchronous I/O");
	ASSERT_EQ(0, es_tcp4_pair(sv));
	ASSERT_EQ(0, es_add(self->ep, sv[0], ES_IO | EPOLLSTATE));
	ASSERT_EQ(4, epoll_wait(self->ep, self->slots, 9, 0));
	cb.aio_fildes = sv[0];
	ASSERT_EQ(1, syscall(SYS_io_submit, ctx, 1, &cbs));
	ASSERT_EQ(10, es_write(sv[1], 10));
	/* The older call does not exist everywhere for 32 bits. */
	got = syscall(SYS_io_getevents, ctx, 1, 1, &done, NULL);
#ifdef SYS_io_pgetevents_time64
	if (got < 0)
		got = syscall(SYS_io_pgetevents_time64, ctx, 1, 1, &done,
			      NULL, NULL);
#endif
	ASSERT_EQ(1, got);
	EXPECT_EQ(POLLIN, (int)done.res & POLLIN);
	ASSERT_EQ(4, epoll_wait(self->ep, self->slots, 9, ES_DEADLINE_MS));
	EXPECT_EQ(10, epollstate_record(self->slots)->rcv);
	syscall(SYS_io_destroy, ctx);
	close(sv[0]);
	close(sv[1]);
}

TEST_HARNESS_MAIN
