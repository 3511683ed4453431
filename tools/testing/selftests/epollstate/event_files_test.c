// SPDX-License-Identifier: GPL-2.0
/* eventfd, timerfd and signalfd: items of one size. */

#define _GNU_SOURCE
#include <pthread.h>
#include <signal.h>
#include <sys/signalfd.h>
#include <sys/timerfd.h>
#include <sys/timex.h>

#include "common.h"

#define SIGINFO_SIZE	sizeof(struct signalfd_siginfo)

FIXTURE(event)
{
	int ep;
	int fd;
	struct epoll_state st;
};

FIXTURE_SETUP(event)
{
	ES_REQUIRE_KERNEL();
	self->fd = -1;
	self->ep = epoll_create1(EPOLL_CLOEXEC);
	ASSERT_LE(0, self->ep);
}

FIXTURE_TEARDOWN(event)
{
	close(self->fd);
	close(self->ep);
}

/* In a test: watch @file, take the baseline record into self->st. */
#define WATCH(file, events)						\
do {									\
	self->fd = (file);						\
	ASSERT_LE(0, self->fd);						\
	ASSERT_EQ(0, es_add(self->ep, self->fd, (events) | EPOLLSTATE));\
	ASSERT_EQ(4, es_wait(self->ep, &self->st, 0));			\
	ASSERT_EQ(0, es_pending(self->ep));				\
} while (0)

/* In a test: the next record has come, and tells of @in bytes. */
#define EXPECT_TOLD(in, queued)						\
do {									\
	ASSERT_EQ(4, es_next(self->ep, &self->st));			\
	EXPECT_TRUE(self->st.events & EPOLLSTATE);			\
	EXPECT_EQ((in) ? EPOLLIN : 0, self->st.events & EPOLLIN);	\
	EXPECT_EQ((in), self->st.rcv);					\
	EXPECT_EQ((queued), self->st.msgs);				\
	EXPECT_EQ(0, self->st.outq);					\
	EXPECT_EQ(0, self->st.error);					\
	EXPECT_EQ(0, es_pending(self->ep));				\
} while (0)

/* eventfd */

static int add_up(int fd, uint64_t n)
{
	return write(fd, &n, sizeof(n)) == sizeof(n) ? 0 : -errno;
}

TEST_F(event, an_eventfd_tells_eight_bytes_whatever_its_count)
{
	WATCH(eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC), EPOLLIN);
	EXPECT_EQ(EPOLLSTATE, self->st.events);
	EXPECT_EQ(0, self->st.rcv);
	EXPECT_EQ(8, self->st.snd);
	ASSERT_EQ(0, add_up(self->fd, 5));
	EXPECT_TOLD(8, 0);
	EXPECT_EQ(8, es_read(self->fd, self->st.rcv));
	EXPECT_EQ(-EAGAIN, es_read(self->fd, 8));
	EXPECT_EQ(0, es_pending(self->ep));
}

TEST_F(event, an_eventfd_that_was_read_already_is_not_told)
{
	WATCH(eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC), EPOLLIN);
	ASSERT_EQ(0, add_up(self->fd, 1));
	ASSERT_EQ(8, es_read(self->fd, 8));
	/* That it can be written is nothing that was asked for. */
	EXPECT_EQ(0, es_pending(self->ep));
	ASSERT_EQ(0, add_up(self->fd, 1));
	EXPECT_TOLD(8, 0);
}

TEST_F(event, a_full_eventfd_takes_nothing_until_it_is_read)
{
	WATCH(eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC), EPOLLOUT);
	EXPECT_EQ(8, self->st.snd);
	ASSERT_EQ(0, add_up(self->fd, UINT64_MAX - 1));
	ASSERT_EQ(4, es_sample(self->ep, self->fd, EPOLLOUT, &self->st));
	EXPECT_EQ(0, self->st.snd);
	EXPECT_EQ(-EAGAIN, add_up(self->fd, 1));
	ASSERT_EQ(8, es_read(self->fd, 8));
	ASSERT_EQ(4, es_next(self->ep, &self->st));
	EXPECT_EQ(8, self->st.snd);
	EXPECT_EQ(0, add_up(self->fd, 1));
}

TEST_F(event, a_semaphore_tells_how_many_reads_there_are)
{
	int i;

	WATCH(eventfd(0, EFD_SEMAPHORE | EFD_NONBLOCK | EFD_CLOEXEC), EPOLLIN);
	EXPECT_EQ(0, self->st.msgs);
	ASSERT_EQ(0, add_up(self->fd, 3));
	EXPECT_TOLD(8, 3);
	for (i = 0; i < 3; i++)
		EXPECT_EQ(8, es_read(self->fd, self->st.rcv));
	EXPECT_EQ(-EAGAIN, es_read(self->fd, 8));
	EXPECT_EQ(0, es_pending(self->ep));
}

/* timerfd */

static int timer(int clock)
{
	return timerfd_create(clock, TFD_NONBLOCK | TFD_CLOEXEC);
}

static int arm(int fd, int first_ms, int every_ms)
{
	const struct itimerspec its = {
		.it_value.tv_nsec = first_ms * 1000000L,
		.it_interval.tv_nsec = every_ms * 1000000L,
	};

	return timerfd_settime(fd, 0, &its, NULL) ? -errno : 0;
}

static bool readable(int fd)
{
	struct pollfd pfd = { .fd = fd, .events = POLLIN };

	return poll(&pfd, 1, 0) == 1;
}

/* Let another timer run out that would run out later than @ms. */
static bool run_out(int ms)
{
	int fd = timer(CLOCK_MONOTONIC);
	bool ok = fd >= 0 && !arm(fd, ms, 0) && es_until(readable(fd));

	close(fd);
	return ok;
}

TEST_F(event, a_timer_tells_of_its_expiration)
{
	WATCH(timer(CLOCK_MONOTONIC), EPOLLIN | EPOLLOUT);
	EXPECT_EQ(EPOLLSTATE, self->st.events);
	EXPECT_EQ(0, self->st.rcv);
	EXPECT_EQ(0, self->st.snd);
	ASSERT_EQ(0, arm(self->fd, 1, 0));
	EXPECT_TOLD(8, 0);
	EXPECT_EQ(0, self->st.snd);
	EXPECT_EQ(8, es_read(self->fd, self->st.rcv));
	EXPECT_EQ(-EAGAIN, es_read(self->fd, 8));
	EXPECT_EQ(0, es_pending(self->ep));
}

TEST_F(event, each_expiration_after_a_read_is_told)
{
	int i;

	WATCH(timer(CLOCK_MONOTONIC), EPOLLIN);
	ASSERT_EQ(0, arm(self->fd, 1, 5));
	for (i = 0; i < 4; i++) {
		ASSERT_EQ(4, es_next(self->ep, &self->st));
		EXPECT_EQ(8, self->st.rcv);
		EXPECT_EQ(i + 1, self->st.seq);
		EXPECT_EQ(8, es_read(self->fd, 8));
	}
}

TEST_F(event, an_interval_timer_that_is_not_read_is_told_once)
{
	WATCH(timer(CLOCK_MONOTONIC), EPOLLIN);
	ASSERT_EQ(0, arm(self->fd, 1, 1));
	EXPECT_TOLD(8, 0);
	ASSERT_TRUE(run_out(20));
	EXPECT_EQ(0, es_pending(self->ep));
}

TEST_F(event, what_was_read_already_is_not_told)
{
	WATCH(timer(CLOCK_MONOTONIC), EPOLLIN);
	ASSERT_EQ(0, arm(self->fd, 1, 0));
	ASSERT_TRUE(es_until(readable(self->fd)));
	ASSERT_EQ(8, es_read(self->fd, 8));
	EXPECT_EQ(0, es_pending(self->ep));
	/* And the next one is. */
	ASSERT_EQ(0, arm(self->fd, 1, 0));
	EXPECT_TOLD(8, 0);
}

TEST_F(event, a_timer_that_is_set_anew_is_told_anew)
{
	WATCH(timer(CLOCK_MONOTONIC), EPOLLIN);
	ASSERT_EQ(0, arm(self->fd, 1, 0));
	EXPECT_TOLD(8, 0);
	/* The expiration that was not read is gone, and nobody is told. */
	ASSERT_EQ(0, arm(self->fd, 900, 0));
	EXPECT_EQ(0, es_pending(self->ep));
	ASSERT_EQ(4, es_sample(self->ep, self->fd, EPOLLIN, &self->st));
	EXPECT_EQ(0, self->st.rcv);
	ASSERT_EQ(0, arm(self->fd, 1, 0));
	EXPECT_TOLD(8, 0);
}

TEST_F(event, a_timer_canceled_by_a_clock_change_is_told)
{
	const struct itimerspec its = { .it_value.tv_sec = INT32_MAX };
	struct timex nanosecond = {
		.modes = ADJ_SETOFFSET | ADJ_NANO,
		.time.tv_usec = 1,
	};

	ES_REQUIRE_ROOT();
	WATCH(timer(CLOCK_REALTIME), EPOLLIN);
	ASSERT_EQ(0, timerfd_settime(self->fd, TFD_TIMER_ABSTIME |
				     TFD_TIMER_CANCEL_ON_SET, &its, NULL));
	EXPECT_EQ(0, es_pending(self->ep));
	if (adjtimex(&nanosecond) < 0)
		SKIP(return, "may not set the clock");
	EXPECT_TOLD(8, 0);
	EXPECT_EQ(-ECANCELED, es_read(self->fd, self->st.rcv));
	EXPECT_EQ(0, es_pending(self->ep));
}

/* signalfd */

#define BLOCKED_SIGNALS(set)						\
do {									\
	sigemptyset(set);						\
	sigaddset(set, SIGUSR1);					\
	sigaddset(set, SIGRTMIN);					\
	sigaddset(set, SIGRTMIN + 1);					\
} while (0)

/* A signalfd for SIGUSR1 and two more; SIGUSR2 is blocked and not in it. */
static int signals(void)
{
	sigset_t set, all;

	BLOCKED_SIGNALS(&set);
	all = set;
	sigaddset(&all, SIGUSR2);
	if (pthread_sigmask(SIG_BLOCK, &all, NULL))
		return -1;
	return signalfd(-1, &set, SFD_NONBLOCK | SFD_CLOEXEC);
}

TEST_F(event, a_signal_is_told_with_its_size)
{
	int i;

	WATCH(signals(), EPOLLIN | EPOLLOUT);
	EXPECT_EQ(EPOLLSTATE, self->st.events);
	EXPECT_EQ(0, self->st.rcv);
	EXPECT_EQ(0, self->st.snd);
	for (i = 0; i < 3; i++) {
		ASSERT_EQ(0, kill(getpid(), SIGUSR1));
		EXPECT_TOLD(SIGINFO_SIZE, 1);
		EXPECT_EQ(i + 1, self->st.seq);
		EXPECT_EQ(0, self->st.snd);
		EXPECT_EQ(SIGINFO_SIZE, es_read(self->fd, self->st.rcv));
		EXPECT_EQ(-EAGAIN, es_read(self->fd, SIGINFO_SIZE));
		EXPECT_EQ(0, es_pending(self->ep));
	}
}

TEST_F(event, one_read_takes_all_signals_that_were_told)
{
	const union sigval val = {};
	int i;

	WATCH(signals(), EPOLLIN);
	/* Of the whole process, and of this thread alone. */
	for (i = 0; i < 3; i++)
		ASSERT_EQ(0, sigqueue(getpid(), SIGRTMIN, val));
	ASSERT_EQ(0, pthread_kill(pthread_self(), SIGRTMIN));
	ASSERT_EQ(0, pthread_kill(pthread_self(), SIGRTMIN + 1));
	/* The second of the same number is merged. */
	ASSERT_EQ(0, kill(getpid(), SIGUSR1));
	ASSERT_EQ(0, kill(getpid(), SIGUSR1));
	EXPECT_TOLD(6 * SIGINFO_SIZE, 6);
	EXPECT_EQ(self->st.rcv, es_read(self->fd, 20 * SIGINFO_SIZE));
	EXPECT_EQ(-EAGAIN, es_read(self->fd, SIGINFO_SIZE));
	EXPECT_EQ(0, es_pending(self->ep));
}

TEST_F(event, signals_of_others_are_silent)
{
	WATCH(signals(), EPOLLIN);
	ASSERT_EQ(0, kill(getpid(), SIGUSR2));
	EXPECT_EQ(0, es_pending(self->ep));
	ASSERT_EQ(0, kill(getpid(), SIGUSR1));
	EXPECT_TOLD(SIGINFO_SIZE, 1);
}

TEST_F(event, signals_read_already_are_not_told)
{
	WATCH(signals(), EPOLLIN);
	ASSERT_EQ(0, kill(getpid(), SIGUSR1));
	ASSERT_EQ(SIGINFO_SIZE, es_read(self->fd, SIGINFO_SIZE));
	EXPECT_EQ(0, es_pending(self->ep));
	ASSERT_EQ(0, kill(getpid(), SIGUSR1));
	EXPECT_TOLD(SIGINFO_SIZE, 1);
}

struct sample_arg {
	int ep, fd, n;
	struct epoll_state st;
};

static void *sample_in_thread(void *p)
{
	struct sample_arg *arg = p;

	arg->n = es_sample(arg->ep, arg->fd, EPOLLIN, &arg->st);
	return NULL;
}

TEST_F(event, signals_are_those_of_the_thread_that_waits)
{
	struct sample_arg arg;
	pthread_t thread;

	WATCH(signals(), EPOLLIN);
	ASSERT_EQ(0, pthread_kill(pthread_self(), SIGUSR1));
	arg = (struct sample_arg){ .ep = self->ep, .fd = self->fd };
	ASSERT_EQ(0, pthread_create(&thread, NULL, sample_in_thread, &arg));
	ASSERT_EQ(0, pthread_join(thread, NULL));
	ASSERT_EQ(4, arg.n);
	EXPECT_EQ(0, arg.st.rcv);
	ASSERT_EQ(4, es_sample(self->ep, self->fd, EPOLLIN, &self->st));
	EXPECT_EQ(SIGINFO_SIZE, self->st.rcv);
	EXPECT_EQ(SIGINFO_SIZE, es_read(self->fd, self->st.rcv));
}

/* Nothing can be read from these. */
TEST_F(event, a_pidfd_cannot_report)
{
	self->fd = syscall(SYS_pidfd_open, getpid(), 0);
	ASSERT_LE(0, self->fd);
	EXPECT_EQ(-EOPNOTSUPP, es_add(self->ep, self->fd,
				      EPOLLIN | EPOLLSTATE));
	EXPECT_EQ(0, es_add(self->ep, self->fd, EPOLLIN));
}

TEST_HARNESS_MAIN
