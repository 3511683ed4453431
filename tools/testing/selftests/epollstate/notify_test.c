// SPDX-License-Identifier: GPL-2.0
/* inotify and fanotify: events of several sizes in a queue. */

#define _GNU_SOURCE
#include <limits.h>
#include <sched.h>
#include <sys/fanotify.h>
#include <sys/inotify.h>
#include <sys/mount.h>
#include <sys/stat.h>

#include "common.h"

#ifndef FAN_REPORT_DIR_FID
#define FAN_REPORT_DIR_FID	0x00000400
#define FAN_REPORT_NAME		0x00000800
#endif
#ifndef FAN_REPORT_TARGET_FID
#define FAN_REPORT_TARGET_FID	0x00001000
#endif
#ifndef FAN_REPORT_PIDFD
#define FAN_REPORT_PIDFD	0x00000080
#endif
#ifndef FAN_RENAME
#define FAN_RENAME		0x10000000
#endif

/* Any number of events that a test makes fits in. */
#define MANY	(1 << 20)

FIXTURE(notify)
{
	int ep;
	int fd;
	char dir[64];
	struct epoll_state st;
};

/* What events there are, and how long. */
FIXTURE_VARIANT(notify)
{
	bool fan;
	unsigned int init;
	uint64_t mask;
};

FIXTURE_VARIANT_ADD(notify, inotify)
{
	.mask = IN_CREATE | IN_DELETE | IN_CLOSE_WRITE | IN_MOVE,
};

#define FAN_FD_EVENTS	(FAN_CLOSE_WRITE | FAN_OPEN | FAN_EVENT_ON_CHILD)
#define FAN_DIR_EVENTS	(FAN_CREATE | FAN_DELETE | FAN_CLOSE_WRITE |	\
			 FAN_MOVE | FAN_ONDIR | FAN_EVENT_ON_CHILD)

FIXTURE_VARIANT_ADD(notify, fanotify)
{
	.fan = true,
	.init = FAN_CLASS_NOTIF,
	.mask = FAN_FD_EVENTS,
};

FIXTURE_VARIANT_ADD(notify, fanotify_pidfd)
{
	.fan = true,
	.init = FAN_CLASS_NOTIF | FAN_REPORT_PIDFD,
	.mask = FAN_FD_EVENTS,
};

FIXTURE_VARIANT_ADD(notify, fanotify_fid)
{
	.fan = true,
	.init = FAN_CLASS_NOTIF | FAN_REPORT_FID,
	.mask = FAN_DIR_EVENTS,
};

FIXTURE_VARIANT_ADD(notify, fanotify_dir_fid_name)
{
	.fan = true,
	.init = FAN_CLASS_NOTIF | FAN_REPORT_DIR_FID | FAN_REPORT_NAME |
		FAN_REPORT_PIDFD,
	.mask = FAN_DIR_EVENTS,
};

FIXTURE_VARIANT_ADD(notify, fanotify_target_fid)
{
	.fan = true,
	.init = FAN_CLASS_NOTIF | FAN_REPORT_FID | FAN_REPORT_DIR_FID |
		FAN_REPORT_NAME | FAN_REPORT_TARGET_FID,
	.mask = FAN_DIR_EVENTS | FAN_RENAME,
};

/* A file system of our own, that nobody else makes events in. */
static int make_dir(char *dir)
{
	if (unshare(CLONE_NEWNS) ||
	    mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL))
		return -errno;
	mkdir("/tmp", 0777);
	if (mount("epollstate", "/tmp", "tmpfs", 0, NULL))
		return -errno;
	sprintf(dir, "/tmp/watched");
	return mkdir(dir, 0777) ? -errno : 0;
}

static int watch_dir(const char *dir, bool fan, unsigned int init,
		     uint64_t mask)
{
	int fd = fan ? fanotify_init(init | FAN_NONBLOCK | FAN_CLOEXEC,
				     O_RDONLY | O_CLOEXEC) :
		       inotify_init1(IN_NONBLOCK | IN_CLOEXEC);
	int err;

	if (fd < 0)
		return -errno;
	err = fan ? fanotify_mark(fd, FAN_MARK_ADD, mask, AT_FDCWD, dir) :
		    inotify_add_watch(fd, dir, mask);
	if (err < 0) {
		err = -errno;
		close(fd);
		return err;
	}
	return fd;
}

FIXTURE_SETUP(notify)
{
	ES_REQUIRE_KERNEL();
	ES_REQUIRE_ROOT();
	self->ep = epoll_create1(EPOLL_CLOEXEC);
	ASSERT_LE(0, self->ep);
	ASSERT_EQ(0, make_dir(self->dir));
	self->fd = watch_dir(self->dir, variant->fan, variant->init,
			     variant->mask);
	if (self->fd == -ENOSYS || self->fd == -EINVAL)
		SKIP(return, "this kernel has no such notifications");
	ASSERT_LE(0, self->fd);
	ASSERT_EQ(0, es_add(self->ep, self->fd,
			    EPOLLIN | EPOLLOUT | EPOLLSTATE));
	ASSERT_EQ(4, es_wait(self->ep, &self->st, 0));
}

FIXTURE_TEARDOWN(notify)
{
	close(self->fd);
	close(self->ep);
}

static const char *name_in(const char *dir, int name_len)
{
	static char path[PATH_MAX];
	int n = sprintf(path, "%s/", dir);

	memset(path + n, 'a' + name_len % 26, name_len);
	path[n + name_len] = '\0';
	return path;
}

/* Make a file with a name so long and close it: two events, or more. */
static int touch(const char *dir, int name_len)
{
	int fd = open(name_in(dir, name_len), O_WRONLY | O_CREAT | O_CLOEXEC,
		      0666);

	return fd < 0 ? -errno : close(fd);
}

/* Events of all lengths that there are. */
static int make_events(const char *dir, int from)
{
	char old[PATH_MAX];
	int i, err = 0;

	for (i = from; i < from + 20 && !err; i++)
		err = touch(dir, 1 + i * 11 % 255);
	sprintf(old, "%s", name_in(dir, 1 + from * 11 % 255));
	err = err ?: rename(old, name_in(dir, 250));
	sprintf(old, "%s", name_in(dir, 249));
	err = err ?: mkdir(old, 0777);
	err = err ?: rename(old, name_in(dir, 2));
	err = err ?: rmdir(name_in(dir, 2));
	err = err ?: unlink(name_in(dir, 250));
	return err;
}

/* One read of what was told; the events in it, or a negative errno. */
static int read_events(int fd, bool fan, size_t told)
{
	static char buf[MANY];
	ssize_t n = read(fd, buf, told);
	const struct fanotify_event_metadata *f = (void *)buf;
	ssize_t len = n;
	int events = 0;
	char *p;

	if (n < 0)
		return -errno;
	if (n != (ssize_t)told)
		return -EIO;
	if (fan) {
		for (; FAN_EVENT_OK(f, len); f = FAN_EVENT_NEXT(f, len)) {
			if (f->fd >= 0)
				close(f->fd);
			events++;
		}
		return len ? -EIO : events;
	}
	for (p = buf; p < buf + n; events++)
		p += sizeof(struct inotify_event) +
		     ((struct inotify_event *)p)->len;
	return p == buf + n ? events : -EIO;
}

/* In a test: the record in self->st is all there is to know. */
#define EXPECT_ALL_TOLD(fan)						\
do {									\
	EXPECT_EQ(EPOLLSTATE | EPOLLIN, self->st.events);		\
	EXPECT_EQ(es_fionread(self->fd), self->st.rcv);			\
	EXPECT_LT(0, self->st.msgs);					\
	EXPECT_EQ(0, self->st.snd);					\
	EXPECT_EQ(0, self->st.outq);					\
	EXPECT_EQ(0, self->st.error);					\
	EXPECT_EQ(self->st.msgs,					\
		  read_events(self->fd, fan, self->st.rcv));		\
	EXPECT_EQ(-EAGAIN, es_read(self->fd, MANY));			\
	EXPECT_EQ(0, es_pending(self->ep));				\
} while (0)

TEST_F(notify, the_baseline_tells_of_nothing)
{
	EXPECT_EQ(EPOLLSTATE, self->st.events);
	EXPECT_EQ(0, self->st.rcv);
	EXPECT_EQ(0, self->st.msgs);
	EXPECT_EQ(0, self->st.snd);
	EXPECT_EQ(0, es_pending(self->ep));
}

TEST_F(notify, one_read_of_rcv_takes_all_events)
{
	int i;

	for (i = 0; i < 5; i++) {
		ASSERT_EQ(0, make_events(self->dir, i * 7));
		ASSERT_EQ(4, es_next(self->ep, &self->st));
		EXPECT_ALL_TOLD(variant->fan);
	}
}

TEST_F(notify, each_event_is_told_while_nobody_reads)
{
	uint32_t rcv = 0, msgs = 0;
	int i;

	for (i = 1; i < 60; i++) {
		ASSERT_EQ(0, touch(self->dir, i));
		ASSERT_EQ(4, es_next(self->ep, &self->st));
		EXPECT_EQ(es_fionread(self->fd), self->st.rcv);
		EXPECT_LT(rcv, self->st.rcv);
		EXPECT_LT(msgs, self->st.msgs);
		EXPECT_EQ(i, self->st.seq);
		ASSERT_EQ(0, es_pending(self->ep));
		rcv = self->st.rcv;
		msgs = self->st.msgs;
	}
	EXPECT_ALL_TOLD(variant->fan);
}

/* 100 bytes, read, another 100: the same level, and news. */
TEST_F(notify, the_same_event_again_is_told_again)
{
	uint32_t rcv = 0;
	int i;

	ASSERT_EQ(0, touch(self->dir, 5));
	ASSERT_EQ(4, es_next(self->ep, &self->st));
	EXPECT_ALL_TOLD(variant->fan);
	for (i = 0; i < 4; i++) {
		ASSERT_EQ(0, touch(self->dir, 5));
		ASSERT_EQ(4, es_next(self->ep, &self->st));
		EXPECT_EQ(i + 2, self->st.seq);
		if (i)
			EXPECT_EQ(rcv, self->st.rcv);
		rcv = self->st.rcv;
		EXPECT_ALL_TOLD(variant->fan);
	}
}

TEST_F(notify, events_that_come_while_others_are_read_are_counted)
{
	ssize_t n;
	int i;

	ASSERT_EQ(0, make_events(self->dir, 0));
	ASSERT_EQ(4, es_next(self->ep, &self->st));
	for (i = 1; i < 20; i++) {
		/* A few of them, as many as fit. */
		n = es_read(self->fd, 700);
		ASSERT_LT(0, n);
		EXPECT_EQ(0, es_pending(self->ep));
		ASSERT_EQ(0, make_events(self->dir, i));
		ASSERT_EQ(4, es_next(self->ep, &self->st));
		EXPECT_EQ(es_fionread(self->fd), self->st.rcv);
	}
	EXPECT_ALL_TOLD(variant->fan);
}

TEST_F(notify, a_merged_event_is_silent)
{
	const char *name = name_in(self->dir, 9);
	int n;

	ASSERT_EQ(0, touch(self->dir, 9));
	ASSERT_EQ(4, es_next(self->ep, &self->st));
	EXPECT_ALL_TOLD(variant->fan);
	if (variant->fan)
		n = fanotify_mark(self->fd, FAN_MARK_ADD,
				  variant->init & FAN_REPORT_FID ?
				  FAN_ATTRIB | FAN_EVENT_ON_CHILD :
				  FAN_OPEN | FAN_EVENT_ON_CHILD,
				  AT_FDCWD, self->dir);
	else
		n = inotify_add_watch(self->fd, self->dir, IN_ATTRIB);
	ASSERT_LE(0, n);
	ASSERT_EQ(0, chmod(name, 0600) | touch(self->dir, 9));
	ASSERT_EQ(4, es_next(self->ep, &self->st));
	ASSERT_EQ(0, chmod(name, 0644) | (variant->fan ? touch(self->dir, 9) :
					  0));
	EXPECT_EQ(self->st.rcv, es_fionread(self->fd));
	EXPECT_EQ(0, es_pending(self->ep));
	EXPECT_ALL_TOLD(variant->fan);
}

static int queue_limit(bool fan, const char *limit)
{
	return es_write_file(fan ? "/proc/sys/fs/fanotify/max_queued_events" :
			     "/proc/sys/fs/inotify/max_queued_events", limit);
}

TEST_F(notify, an_overflow_is_told_once_and_read_with_the_rest)
{
	int i;

	/* A limit counts for instances that are made later. */
	close(self->fd);
	ASSERT_EQ(0, queue_limit(variant->fan, "8"));
	self->fd = watch_dir(self->dir, variant->fan, variant->init,
			     variant->mask);
	EXPECT_EQ(0, queue_limit(variant->fan, "16384"));
	ASSERT_LE(0, self->fd);
	ASSERT_EQ(0, es_add(self->ep, self->fd, EPOLLIN | EPOLLSTATE));
	ASSERT_EQ(4, es_wait(self->ep, &self->st, 0));

	for (i = 1; i <= 30; i++)
		ASSERT_EQ(0, touch(self->dir, i));
	ASSERT_EQ(4, es_next(self->ep, &self->st));
	EXPECT_EQ(9, self->st.msgs);
	EXPECT_EQ(0, es_pending(self->ep));
	/* What is dropped is no news. */
	ASSERT_EQ(0, touch(self->dir, 31));
	EXPECT_EQ(0, es_pending(self->ep));
	EXPECT_ALL_TOLD(variant->fan);
	/* And then it goes on. */
	ASSERT_EQ(0, touch(self->dir, 32));
	ASSERT_EQ(4, es_next(self->ep, &self->st));
	EXPECT_ALL_TOLD(variant->fan);
}

/* The child must not hold on to the group whose answer it waits for. */
static int open_in_child(const char *path, int group)
{
	int pid = fork();

	if (!pid) {
		close(group);
		_exit(open(path, O_RDONLY) < 0 ? errno : 0);
	}
	return pid;
}

/* Who opens waits for an answer; the event is told and has its size. */
TEST(permission_events_are_told)
{
	struct fanotify_event_metadata ev[4];
	struct fanotify_response answer;
	struct epoll_state st;
	char dir[64], path[PATH_MAX];
	int ep, fd, pid, status;

	ES_REQUIRE_KERNEL();
	ES_REQUIRE_ROOT();
	ASSERT_EQ(0, make_dir(dir));
	ASSERT_EQ(0, touch(dir, 7));
	sprintf(path, "%s", name_in(dir, 7));
	fd = watch_dir(dir, true, FAN_CLASS_CONTENT,
		       FAN_OPEN_PERM | FAN_EVENT_ON_CHILD);
	if (fd == -EINVAL || fd == -ENOSYS)
		SKIP(return, "this kernel has no permission events");
	ASSERT_LE(0, fd);
	ep = epoll_create1(EPOLL_CLOEXEC);
	ASSERT_EQ(0, es_add(ep, fd, EPOLLIN | EPOLLOUT | EPOLLSTATE));
	ASSERT_EQ(4, es_wait(ep, &st, 0));
	EXPECT_EQ(0, st.rcv);

	pid = open_in_child(path, fd);
	ASSERT_LT(0, pid);
	ASSERT_EQ(4, es_next(ep, &st));
	EXPECT_EQ(EPOLLSTATE | EPOLLIN, st.events);
	EXPECT_EQ(sizeof(ev[0]), st.rcv);
	EXPECT_EQ(es_fionread(fd), st.rcv);
	EXPECT_EQ(1, st.msgs);
	ASSERT_EQ(sizeof(ev[0]), read(fd, ev, st.rcv));
	EXPECT_EQ(0, es_pending(ep));
	/* It waits for the answer, and is no longer there to be read. */
	ASSERT_EQ(4, es_sample(ep, fd, EPOLLIN, &st));
	EXPECT_EQ(0, st.rcv);
	EXPECT_EQ(0, st.msgs);
	answer.fd = ev[0].fd;
	answer.response = FAN_ALLOW;
	ASSERT_EQ(sizeof(answer), write(fd, &answer, sizeof(answer)));
	close(ev[0].fd);
	ASSERT_EQ(pid, waitpid(pid, &status, 0));
	EXPECT_EQ(0, status);
	EXPECT_EQ(0, es_pending(ep));

	/* One who is killed while he waits takes his event along. */
	pid = open_in_child(path, fd);
	ASSERT_LT(0, pid);
	ASSERT_EQ(4, es_next(ep, &st));
	EXPECT_EQ(sizeof(ev[0]), st.rcv);
	kill(pid, SIGKILL);
	ASSERT_EQ(pid, waitpid(pid, &status, 0));
	EXPECT_EQ(0, es_fionread(fd));
	EXPECT_EQ(0, es_pending(ep));
	pid = open_in_child(path, fd);
	ASSERT_EQ(4, es_next(ep, &st));
	EXPECT_EQ(sizeof(ev[0]), st.rcv);
	EXPECT_EQ(1, st.msgs);
	close(fd);
	waitpid(pid, &status, 0);
	close(ep);
}

TEST_HARNESS_MAIN
