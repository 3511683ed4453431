// SPDX-License-Identifier: GPL-2.0
/*
 * What epoll_ctl() refuses with EPOLLSTATE, in which order, and that a call
 * that failed has changed nothing.
 */

#include "common.h"

#define WHITE_LIST							\
	(EPOLLIN | EPOLLOUT | EPOLLPRI | EPOLLERR | EPOLLHUP |		\
	 EPOLLRDNORM | EPOLLRDBAND | EPOLLWRNORM | EPOLLWRBAND |	\
	 EPOLLMSG | EPOLLRDHUP | EPOLLWAKEUP | EPOLLONESHOT |		\
	 EPOLLET | EPOLLSTATE)

#define ES_EVENTS	(EPOLLIN | EPOLLSTATE)

FIXTURE(errors)
{
	int ep;
	int fd;		/* can report: an eventfd */
	int mute;	/* can be polled but not report: a pidfd */
	int file;	/* cannot be polled */
};

FIXTURE_SETUP(errors)
{
	ES_REQUIRE_KERNEL();
	self->ep = epoll_create1(EPOLL_CLOEXEC);
	ASSERT_LE(0, self->ep);
	self->fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
	ASSERT_LE(0, self->fd);
	self->mute = syscall(SYS_pidfd_open, getpid(), 0);
	ASSERT_LE(0, self->mute);
	self->file = open("/", O_RDONLY | O_CLOEXEC);
	ASSERT_LE(0, self->file);
}

FIXTURE_TEARDOWN(errors)
{
	close(self->ep);
	close(self->fd);
	close(self->mute);
	close(self->file);
}

/* The descriptor is not registered at all. */
#define EXPECT_NOT_REGISTERED(target)					\
	EXPECT_EQ(-ENOENT, es_ctl(self->ep, EPOLL_CTL_DEL, target, 0, 0))

/* The registration still is what a plain one for EPOLLIN was. */
#define EXPECT_STILL_ORDINARY(cookie)					\
do {									\
	const uint64_t __one = 1;					\
	uint64_t __val;							\
	struct epoll_state __st;					\
									\
	ASSERT_EQ(8, write(self->fd, &__one, 8));			\
	ASSERT_EQ(1, es_wait(self->ep, &__st, 0));			\
	EXPECT_EQ(EPOLLIN, __st.events);				\
	EXPECT_EQ(cookie, __st.data.u64);				\
	ASSERT_EQ(8, read(self->fd, &__val, 8));			\
	EXPECT_EQ(0, es_pending(self->ep));				\
} while (0)

TEST_F(errors, a_bit_outside_the_white_list_is_einval_for_add)
{
	struct epoll_state st;
	int bit;

	for (bit = 0; bit < 32; bit++) {
		const uint32_t ev = 1U << bit;
		const bool ok = ev & WHITE_LIST;

		EXPECT_EQ(ok ? 0 : -EINVAL,
			  es_add(self->ep, self->fd, EPOLLSTATE | ev)) {
			TH_LOG("bit %d", bit);
		}
		if (!ok) {
			EXPECT_NOT_REGISTERED(self->fd);
			continue;
		}
		EXPECT_EQ(4, es_wait(self->ep, &st, 0));
		EXPECT_EQ(0, es_ctl(self->ep, EPOLL_CTL_DEL, self->fd, 0, 0));
	}
}

TEST_F(errors, a_bit_outside_the_white_list_is_einval_for_mod)
{
	struct epoll_state st;
	uint32_t seq = 0;
	int bit;

	ASSERT_EQ(0, es_add(self->ep, self->fd, ES_EVENTS));
	ASSERT_EQ(4, es_wait(self->ep, &st, 0));
	for (bit = 0; bit < 32; bit++) {
		const uint32_t ev = 1U << bit;
		const bool ok = ev & WHITE_LIST;

		EXPECT_EQ(ok ? 0 : -EINVAL,
			  es_ctl(self->ep, EPOLL_CTL_MOD, self->fd,
				 EPOLLSTATE | ev, bit)) {
			TH_LOG("bit %d", bit);
		}
		/* Refused: nothing changed, so no new baseline either. */
		EXPECT_EQ(ok ? 4 : 0, es_wait(self->ep, &st, 0));
		if (ok) {
			EXPECT_EQ(++seq, st.seq);
			EXPECT_EQ(bit, st.data.u64);
		}
	}
}

TEST_F(errors, epollexclusive_is_einval_and_changes_nothing)
{
	const uint64_t one = 1;
	struct epoll_state st;

	EXPECT_EQ(-EINVAL, es_add(self->ep, self->fd,
				  ES_EVENTS | EPOLLEXCLUSIVE));
	EXPECT_NOT_REGISTERED(self->fd);

	ASSERT_EQ(0, es_ctl(self->ep, EPOLL_CTL_ADD, self->fd, ES_EVENTS, 7));
	ASSERT_EQ(4, es_wait(self->ep, &st, 0));
	EXPECT_EQ(-EINVAL, es_mod(self->ep, self->fd,
				  ES_EVENTS | EPOLLEXCLUSIVE));
	EXPECT_EQ(0, es_pending(self->ep));
	ASSERT_EQ(8, write(self->fd, &one, 8));
	ASSERT_EQ(4, es_wait(self->ep, &st, 0));
	EXPECT_EQ(7, st.data.u64);
	EXPECT_EQ(1, st.seq);
}

TEST_F(errors, mod_of_an_exclusive_registration_to_epollstate_is_einval)
{
	ASSERT_EQ(0, es_ctl(self->ep, EPOLL_CTL_ADD, self->fd,
			    EPOLLIN | EPOLLEXCLUSIVE, 7));
	EXPECT_EQ(-EINVAL, es_mod(self->ep, self->fd, ES_EVENTS));
	EXPECT_STILL_ORDINARY(7);
}

TEST_F(errors, without_epollstate_unknown_bits_stay_ignored)
{
	int bit;

	for (bit = 16; bit < 26; bit++) {
		EXPECT_EQ(0, es_add(self->ep, self->fd, EPOLLIN | 1U << bit));
		EXPECT_EQ(0, es_mod(self->ep, self->fd, EPOLLIN | 1U << bit));
		EXPECT_EQ(0, es_ctl(self->ep, EPOLL_CTL_DEL, self->fd, 0, 0));
	}
}

TEST_F(errors, an_epoll_file_as_the_target_is_einval)
{
	int inner = epoll_create1(EPOLL_CLOEXEC);

	ASSERT_LE(0, inner);
	EXPECT_EQ(-EINVAL, es_add(self->ep, inner, ES_EVENTS));
	EXPECT_NOT_REGISTERED(inner);
	/* As an ordinary registration it stays one. */
	ASSERT_EQ(0, es_add(self->ep, inner, EPOLLIN));
	EXPECT_EQ(-EINVAL, es_mod(self->ep, inner, ES_EVENTS));
	EXPECT_EQ(-EINVAL, es_add(self->ep, inner, ES_EVENTS));
	EXPECT_EQ(0, es_ctl(self->ep, EPOLL_CTL_DEL, inner, 0, 0));
	close(inner);
}

TEST_F(errors, a_file_that_cannot_report_is_eopnotsupp)
{
	EXPECT_EQ(-EOPNOTSUPP, es_add(self->ep, self->mute, ES_EVENTS));
	EXPECT_NOT_REGISTERED(self->mute);
	EXPECT_EQ(0, es_pending(self->ep));
	/* Nothing is left of the attempt: as an ordinary one it goes. */
	EXPECT_EQ(0, es_add(self->ep, self->mute, EPOLLIN));
}

TEST_F(errors, mod_to_epollstate_of_a_mute_file_leaves_the_old_registration)
{
	struct epoll_state st;
	int status, fd;
	pid_t pid;

	pid = fork();
	ASSERT_LE(0, pid);
	if (!pid) {
		pause();
		_exit(0);
	}
	fd = syscall(SYS_pidfd_open, pid, 0);
	ASSERT_LE(0, fd);
	ASSERT_EQ(0, es_ctl(self->ep, EPOLL_CTL_ADD, fd, EPOLLIN, 7));
	EXPECT_EQ(-EOPNOTSUPP, es_mod(self->ep, fd, ES_EVENTS | EPOLLOUT));
	EXPECT_EQ(0, es_pending(self->ep));
	kill(pid, SIGKILL);
	ASSERT_EQ(1, es_next(self->ep, &st));
	EXPECT_EQ(EPOLLIN, st.events);
	EXPECT_EQ(7, st.data.u64);
	/* Still level-triggered. */
	EXPECT_EQ(1, es_pending(self->ep));
	waitpid(pid, &status, 0);
	close(fd);
}

TEST_F(errors, mod_adds_epollstate)
{
	struct epoll_state st;

	ASSERT_EQ(0, es_ctl(self->ep, EPOLL_CTL_ADD, self->fd, EPOLLIN, 7));
	EXPECT_EQ(0, es_pending(self->ep));
	ASSERT_EQ(0, es_ctl(self->ep, EPOLL_CTL_MOD, self->fd, ES_EVENTS, 8));
	ASSERT_EQ(4, es_wait(self->ep, &st, 0));
	EXPECT_EQ(EPOLLSTATE, st.events);
	EXPECT_EQ(8, st.data.u64);
	EXPECT_EQ(0, st.seq);
}

TEST_F(errors, mod_drops_epollstate)
{
	struct epoll_state st;

	ASSERT_EQ(0, es_ctl(self->ep, EPOLL_CTL_ADD, self->fd, ES_EVENTS, 7));
	ASSERT_EQ(4, es_wait(self->ep, &st, 0));
	ASSERT_EQ(0, es_ctl(self->ep, EPOLL_CTL_MOD, self->fd, EPOLLIN, 8));
	EXPECT_EQ(0, es_pending(self->ep));
	EXPECT_STILL_ORDINARY(8);
}

TEST_F(errors, mod_drops_epollstate_with_its_pending_record)
{
	ASSERT_EQ(0, es_ctl(self->ep, EPOLL_CTL_ADD, self->fd, ES_EVENTS, 7));
	ASSERT_EQ(0, es_ctl(self->ep, EPOLL_CTL_MOD, self->fd, EPOLLIN, 8));
	EXPECT_EQ(0, es_pending(self->ep));
	EXPECT_STILL_ORDINARY(8);
}

TEST_F(errors, del_takes_a_pending_record_along)
{
	ASSERT_EQ(0, es_add(self->ep, self->fd, ES_EVENTS));
	ASSERT_EQ(0, es_ctl(self->ep, EPOLL_CTL_DEL, self->fd, 0, 0));
	EXPECT_EQ(0, es_pending(self->ep));
	EXPECT_NOT_REGISTERED(self->fd);
}

TEST_F(errors, add_twice_is_eexist_and_mod_of_nothing_enoent)
{
	struct epoll_state st;

	EXPECT_EQ(-ENOENT, es_mod(self->ep, self->fd, ES_EVENTS));
	ASSERT_EQ(0, es_ctl(self->ep, EPOLL_CTL_ADD, self->fd, ES_EVENTS, 7));
	EXPECT_EQ(-EEXIST, es_add(self->ep, self->fd, ES_EVENTS));
	EXPECT_EQ(-EEXIST, es_add(self->ep, self->fd, EPOLLIN));
	/* The refused call left the baseline as it was. */
	ASSERT_EQ(4, es_wait(self->ep, &st, 0));
	EXPECT_EQ(7, st.data.u64);
	EXPECT_EQ(0, st.seq);
	EXPECT_EQ(0, es_pending(self->ep));
}

TEST_F(errors, the_order_of_checks_is_kept)
{
	const uint32_t bad = ES_EVENTS | EPOLLEXCLUSIVE;
	const int ep = self->ep;

	/* EFAULT before all else. */
	EXPECT_EQ(-1, epoll_ctl(-1, EPOLL_CTL_ADD, -1, (void *)8));
	EXPECT_EQ(EFAULT, errno);
	EXPECT_EQ(-1, epoll_ctl(ep, EPOLL_CTL_ADD, self->fd, (void *)8));
	EXPECT_EQ(EFAULT, errno);

	/* EBADF before EPERM and EINVAL. */
	EXPECT_EQ(-EBADF, es_add(-1, self->file, bad));
	EXPECT_EQ(-EBADF, es_add(ep, -1, bad));

	/* EPERM before EINVAL. */
	EXPECT_EQ(-EPERM, es_add(ep, self->file, ES_EVENTS));
	EXPECT_EQ(-EPERM, es_add(ep, self->file, bad));
	EXPECT_EQ(-EPERM, es_add(self->fd, self->file, ES_EVENTS));

	/* EINVAL for itself, for no epoll, for forbidden bits ... */
	EXPECT_EQ(-EINVAL, es_add(ep, ep, ES_EVENTS));
	EXPECT_EQ(-EINVAL, es_add(self->fd, self->mute, ES_EVENTS));
	/* ... before ENOENT, EOPNOTSUPP, EEXIST. */
	EXPECT_EQ(-EINVAL, es_mod(ep, self->fd, bad));
	EXPECT_EQ(-EINVAL, es_mod(ep, self->mute, bad));
	EXPECT_EQ(-EINVAL, es_add(ep, self->mute, bad));
	ASSERT_EQ(0, es_add(ep, self->fd, ES_EVENTS));
	EXPECT_EQ(-EINVAL, es_add(ep, self->fd, bad));

	/* ENOENT and EEXIST before EOPNOTSUPP. */
	EXPECT_EQ(-ENOENT, es_mod(ep, self->mute, ES_EVENTS));
	ASSERT_EQ(0, es_add(ep, self->mute, EPOLLIN));
	EXPECT_EQ(-EEXIST, es_add(ep, self->mute, ES_EVENTS));
	EXPECT_EQ(-EOPNOTSUPP, es_mod(ep, self->mute, ES_EVENTS));
}

/* Whatever the type: either it reports or it is refused. */
TEST_F(errors, whatever_registers_delivers_a_baseline)
{
	static const char * const paths[] = {
		"/dev/random", "/dev/null", "/dev/zero", "/proc/self/mounts",
		"/proc/kmsg", "/dev/tty", "/dev/ptmx", "/dev/kmsg",
	};
	struct epoll_state st;
	size_t i;
	int fd, err;

	for (i = 0; i < ARRAY_SIZE(paths); i++) {
		fd = open(paths[i], O_RDONLY | O_NONBLOCK | O_CLOEXEC);
		if (fd < 0)
			continue;
		err = es_add(self->ep, fd, ES_EVENTS);
		if (err) {
			EXPECT_TRUE(err == -EOPNOTSUPP || err == -EPERM) {
				TH_LOG("%s: %d", paths[i], err);
			}
			if (err == -EOPNOTSUPP)
				EXPECT_NOT_REGISTERED(fd);
		} else {
			EXPECT_EQ(4, es_wait(self->ep, &st, 0)) {
				TH_LOG("%s", paths[i]);
			}
			EXPECT_EQ(0, st.seq);
		}
		close(fd);
	}
}

/* DEL needs no event, and does not look at one. */
TEST_F(errors, del_takes_no_notice_of_the_event)
{
	ASSERT_EQ(0, es_add(self->ep, self->fd, ES_EVENTS));
	EXPECT_EQ(0, epoll_ctl(self->ep, EPOLL_CTL_DEL, self->fd, NULL));
	ASSERT_EQ(0, es_add(self->ep, self->fd, ES_EVENTS));
	EXPECT_EQ(0, es_ctl(self->ep, EPOLL_CTL_DEL, self->fd,
			    ES_EVENTS | EPOLLEXCLUSIVE, 0));
}

TEST_HARNESS_MAIN
