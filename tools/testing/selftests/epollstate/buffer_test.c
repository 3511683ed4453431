// SPDX-License-Identifier: GPL-2.0
/*
 * R8 with buffers that cannot be written, or not to their end: whatever is
 * wrong with the buffer, the record stays queued, with its number, and comes
 * whole into the next one.
 */

#include <sys/mman.h>

#include "common.h"
#include "ring.h"

#define RECORD		sizeof(struct epoll_state)

ES_FIXTURE(buffer, RECEIVER, ALL)

/* Two pages, of which the second one is @what cannot be written. */
enum es_hole { NO_ACCESS, READ_ONLY, NOT_MAPPED, BEHIND_A_FILE, HOLES };

static char *es_hole(enum es_hole what)
{
	const long page = sysconf(_SC_PAGESIZE);
	const int prot = PROT_READ | PROT_WRITE;
	int fd = memfd_create("epollstate", MFD_CLOEXEC);
	char *mem;
	int err;

	if (fd < 0 || ftruncate(fd, page))
		return NULL;
	mem = mmap(NULL, 2 * page, prot, MAP_SHARED, fd, 0);
	close(fd);
	if (mem == MAP_FAILED)
		return NULL;
	switch (what) {
	case NO_ACCESS:
		err = mprotect(mem + page, page, PROT_NONE);
		break;
	case READ_ONLY:
		err = mmap(mem + page, page, PROT_READ, MAP_PRIVATE |
			   MAP_ANONYMOUS | MAP_FIXED, -1, 0) == MAP_FAILED;
		break;
	case NOT_MAPPED:
		err = munmap(mem + page, page);
		break;
	default:
		err = 0;
	}
	return err ? NULL : mem + page;
}

/* A call that fails for the buffer's sake. */
#define EXPECT_FAULT(slots, max)					\
do {									\
	errno = 0;							\
	EXPECT_EQ(-1, epoll_wait(self->ep, (void *)(slots), max,	\
				 ES_DEADLINE_MS));			\
	EXPECT_EQ(EFAULT, errno);					\
} while (0)

/* The record that was kept is the one of number @n, and the last one. */
#define EXPECT_KEPT(n)							\
do {									\
	struct epoll_state __st;					\
									\
	ASSERT_EQ(4, es_next(self->ep, &__st));				\
	EXPECT_EQ(EPOLLSTATE | EPOLLIN, __st.events & ~ES_ALSO);	\
	EXPECT_EQ(ES_COOKIE, __st.data.u64);				\
	EXPECT_INPUT(__st);						\
	EXPECT_EQ(n, __st.seq);						\
	EXPECT_EQ(0, es_pending(self->ep));				\
} while (0)

TEST_F(buffer, a_hole_at_any_byte_of_a_record_loses_nothing)
{
	struct epoll_state st;
	enum es_hole what;
	uint32_t seq = 0;
	size_t there;
	char *hole;

	REGISTER(ES_IN, &st);
	for (what = 0; what < HOLES; what++) {
		hole = es_hole(what);
		ASSERT_TRUE(!!hole);
		ARRIVE(100);
		for (there = 0; there < RECORD; there++) {
			EXPECT_FAULT(hole - there, 4);
			EXPECT_FAULT(hole - there, 100);
		}
		EXPECT_KEPT(++seq);
	}
}

TEST_F(buffer, a_record_that_ends_at_a_hole_is_delivered)
{
	struct epoll_state st;
	enum es_hole what;
	uint32_t seq = 0;
	char *hole;

	REGISTER(ES_IN, &st);
	for (what = 0; what < HOLES; what++) {
		hole = es_hole(what);
		ASSERT_TRUE(!!hole);
		ARRIVE(100);
		ASSERT_EQ(4, epoll_wait(self->ep, (void *)(hole - RECORD),
					100, ES_DEADLINE_MS));
		memcpy(&st, hole - RECORD, sizeof(st));
		EXPECT_INPUT(st);
		EXPECT_EQ(++seq, st.seq);
		EXPECT_EQ(0, es_pending(self->ep));
	}
}

/* A page that is merely not there yet is no fault: it is made. */
TEST_F(buffer, a_record_across_fresh_pages_is_delivered)
{
	const long page = sysconf(_SC_PAGESIZE);
	struct epoll_state st;
	uint32_t seq = 0;
	size_t there;
	char *mem;

	REGISTER(ES_IN, &st);
	for (there = 0; there <= RECORD; there += 4) {
		mem = mmap(NULL, 2 * page, PROT_READ | PROT_WRITE,
			   MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
		ASSERT_NE(MAP_FAILED, mem);
		ARRIVE(100);
		ASSERT_EQ(4, epoll_wait(self->ep, (void *)(mem + page - there),
					4, ES_DEADLINE_MS));
		memcpy(&st, mem + page - there, sizeof(st));
		EXPECT_INPUT(st);
		EXPECT_EQ(++seq, st.seq);
		munmap(mem, 2 * page);
	}
}

TEST_F(buffer, an_address_that_is_no_users_loses_nothing)
{
	const uintptr_t half = (uintptr_t)1 << (8 * sizeof(half) - 1);
	const uintptr_t bad[] = {
		0, 8, -1, -8, -RECORD, -RECORD - 1, half, half - 8,
		half + RECORD, half | half >> 1, half | half >> 16,
	};
	struct epoll_state st;
	size_t i;

	REGISTER(ES_IN, &st);
	ARRIVE(100);
	for (i = 0; i < ARRAY_SIZE(bad); i++) {
		EXPECT_FAULT(bad[i], 4);
		EXPECT_FAULT(bad[i], 5);
	}
	EXPECT_KEPT(1);
}

/* The highest page that a process can have; a word or a page below a power. */
static char *es_top_page(void)
{
	const size_t page = sysconf(_SC_PAGESIZE);
	size_t below;
	char *mem, *at;
	int shift;

	for (shift = 8 * sizeof(page) - 1; shift >= 30; shift--) {
		for (below = page; below <= 2 * page; below += page) {
			at = (char *)(((uintptr_t)1 << shift) - below);
			mem = mmap(at, page, PROT_READ | PROT_WRITE,
				   MAP_PRIVATE | MAP_ANONYMOUS |
				   MAP_FIXED_NOREPLACE, -1, 0);
			if (mem == at)
				return mem + page;
			if (mem != MAP_FAILED)
				munmap(mem, page);
		}
	}
	return NULL;
}

TEST_F(buffer, at_the_end_of_the_address_space_it_fits_or_it_is_kept)
{
	char *top = es_top_page();
	struct epoll_state st;
	size_t there;

	if (!top)
		SKIP(return, "the highest page is not to be had");
	REGISTER(ES_IN, &st);
	ARRIVE(100);
	for (there = 0; there < RECORD; there++)
		EXPECT_FAULT(top - there, 4);
	ASSERT_EQ(4, epoll_wait(self->ep, (void *)(top - RECORD), 4,
				ES_DEADLINE_MS));
	memcpy(&st, top - RECORD, sizeof(st));
	EXPECT_INPUT(st);
	EXPECT_EQ(1, st.seq);
	EXPECT_EQ(0, es_pending(self->ep));
}

TEST_F(buffer, a_fault_does_not_use_up_a_oneshot)
{
	char *hole = es_hole(NO_ACCESS);
	struct epoll_state st;

	ASSERT_TRUE(!!hole);
	ARRIVE(100);
	ASSERT_EQ(0, es_add(self->ep, self->fd,
			    ES_IN | EPOLLONESHOT | EPOLLSTATE));
	EXPECT_FAULT(hole - RECORD / 2, 4);
	EXPECT_FAULT(hole, 4);
	EXPECT_KEPT(0);
	ARRIVE(100);
	EXPECT_EQ(0, es_pending(self->ep));
	ASSERT_EQ(4, es_sample(self->ep, self->fd, ES_IN, &st));
	EXPECT_EQ(1, st.seq);
}

/* Who sleeps with a bad buffer does not take the record with him. */
TEST_F(buffer, a_waiter_that_faults_leaves_the_record_to_others)
{
	char *hole = es_hole(NO_ACCESS);
	struct epoll_state st;
	int status;
	pid_t pid;

	ASSERT_TRUE(!!hole);
	REGISTER(ES_IN, &st);
	pid = fork();
	ASSERT_LE(0, pid);
	if (!pid) {
		int n = epoll_wait(self->ep, (void *)(hole - RECORD / 2), 4,
				   ES_DEADLINE_MS);

		_exit(n == -1 && errno == EFAULT ? 0 : 1);
	}
	ARRIVE(100);
	ASSERT_EQ(pid, waitpid(pid, &status, 0));
	EXPECT_EQ(0, status);
	EXPECT_KEPT(1);
}

TEST_F(buffer, io_uring_keeps_what_it_could_not_write)
{
	char *hole = es_hole(NO_ACCESS);
	struct io_uring_sqe sqe = {
		.opcode = ES_IORING_OP_EPOLL_WAIT,
		.len = 4,
	};
	struct epoll_state st;
	struct es_ring r;
	size_t there;
	int n;

	ASSERT_TRUE(!!hole);
	if (es_ring_open(&r))
		SKIP(return, "no io_uring");
	REGISTER(ES_IN, &st);
	ARRIVE(100);
	sqe.fd = self->ep;
	for (there = 0; there < RECORD; there++) {
		sqe.addr = (uintptr_t)hole - there;
		n = es_ring_do(&r, &sqe);
		if (n == -EINVAL)
			SKIP(return, "no IORING_OP_EPOLL_WAIT");
		EXPECT_EQ(-EFAULT, n);
	}
	EXPECT_KEPT(1);
	close(r.fd);
}

/* Several records, and plain events among them, in an array with a hole. */
TEST(an_array_that_is_partly_there_takes_what_fits)
{
	enum { FDS = 12, ALL = (1 << FDS) - 1 };
	struct epoll_event ev[FDS * EPOLL_STATE_SLOTS], *slots;
	char *hole = es_hole(NO_ACCESS);
	int ep, fd[FDS], there, i, n;
	unsigned int met;

	ES_REQUIRE_KERNEL();
	ASSERT_TRUE(!!hole);
	ep = epoll_create1(EPOLL_CLOEXEC);
	for (i = 0; i < FDS; i++) {
		/* Each third one is an ordinary edge. */
		fd[i] = eventfd(1, EFD_NONBLOCK | EFD_CLOEXEC);
		ASSERT_EQ(0, es_ctl(ep, EPOLL_CTL_ADD, fd[i], EPOLLIN |
				    (i % 3 ? EPOLLSTATE : EPOLLET), i));
	}
	for (there = 0; there < (int)ARRAY_SIZE(ev); there++) {
		slots = (struct epoll_event *)hole - there;
		met = 0;
		n = epoll_wait(ep, slots, ARRAY_SIZE(ev), 0);
		if (n > 0)
			memcpy(ev, slots, n * sizeof(ev[0]));
		else
			ASSERT_EQ(EFAULT, errno);
		do {
			for (i = 0; i < n; i = epollstate_next(ev, n, i)) {
				ASSERT_GT(FDS, ev[i].data.u64);
				/* Each one comes once. */
				ASSERT_EQ(0, met & 1 << ev[i].data.u64);
				met |= 1 << ev[i].data.u64;
				if (!(ev[i].events & EPOLLSTATE))
					continue;
				ASSERT_GE(n, i + EPOLL_STATE_SLOTS);
				EXPECT_EQ(there,
					  epollstate_record(&ev[i])->seq);
			}
			n = epoll_wait(ep, ev, ARRAY_SIZE(ev), 0);
		} while (n > 0);
		ASSERT_EQ(ALL, met) {
			TH_LOG("%d slots before the hole", there);
		}
		for (i = 0; i < FDS; i++)
			ASSERT_EQ(8, es_write(fd[i], 8));
	}
	for (i = 0; i < FDS; i++)
		close(fd[i]);
	close(ep);
}

TEST_HARNESS_MAIN
