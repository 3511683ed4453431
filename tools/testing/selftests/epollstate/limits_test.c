// SPDX-License-Identifier: GPL-2.0
/*
 * What EPOLLSTATE does where there is not enough: a process without
 * descriptors, a system or a control group without memory for sockets.
 * Watches: memory_test; an array that is not all there: buffer_test.
 */

#include <sched.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/resource.h>

#include "common.h"

FIXTURE(limits)
{
	int ep;
	int fd;
	int peer;
};

FIXTURE_SETUP(limits)
{
	int sv[2];

	ES_SETUP(es_unix_stream_pair(sv), sv, RECEIVER);
}

FIXTURE_TEARDOWN(limits)
{
	ES_TEARDOWN();
}

TEST_F(limits, without_descriptors_left_it_goes_on)
{
	struct rlimit limit, none;
	struct epoll_state st;

	ASSERT_EQ(0, getrlimit(RLIMIT_NOFILE, &limit));
	none = limit;
	none.rlim_cur = 0;
	ASSERT_EQ(0, setrlimit(RLIMIT_NOFILE, &none));
	EXPECT_EQ(-1, epoll_create1(0));
	EXPECT_EQ(EMFILE, errno);
	/* To register needs none. */
	EXPECT_EQ(0, es_add(self->ep, self->fd, ES_IO | EPOLLSTATE));
	EXPECT_EQ(4, es_wait(self->ep, &st, 0));
	ASSERT_EQ(100, es_write(self->peer, 100));
	EXPECT_EQ(4, es_wait(self->ep, &st, 0));
	EXPECT_EQ(100, st.rcv);
	ASSERT_EQ(0, setrlimit(RLIMIT_NOFILE, &limit));
}

/*
 * The exception of the promise: there is no memory left for sockets.  The kernel
 * takes back room that it had promised, and may refuse what was in the promise,
 * as it would without EPOLLSTATE.  But what can go on is told, and nothing is
 * lost.
 */
struct flow {
	size_t sent, got, refused;
};

/* Sends @all by what the records say; false if what is to come is not told. */
static bool es_flow(int ep, int fd, int peer, uint32_t credit, size_t all,
		    struct flow *f)
{
	struct epoll_state st;
	bool told;

	while (f->sent < all) {
		const uint32_t len = credit < 20000 ? credit : 20000;
		const ssize_t n = credit ? es_write(fd, len) : 0;

		if (credit && n <= 0 && n != -EAGAIN)
			return false;
		if (n > 0)
			f->sent += n;
		if (n != (ssize_t)len) {
			f->refused++;
			credit = 0;
		} else {
			credit -= len;
		}
		if (credit)
			continue;
		/* Room for what comes next, told without a further call. */
		told = es_until(({
			f->got += es_drain(peer);
			if (es_wait(ep, &st, 0) == 4)
				credit = st.snd;
			credit > 0;
		}));
		if (!told)
			return false;
	}
	return true;
}

#define EXPECT_FLOW(credit, all, f)					\
do {									\
	struct flow *__f = f;						\
									\
	EXPECT_TRUE(es_flow(self->ep, self->fd, self->peer, credit,	\
			    all, __f)) {				\
		TH_LOG("stalled: %zu sent, %zu got, %zu refused",	\
		       __f->sent, __f->got, __f->refused);		\
	}								\
} while (0)

#define TCP_MEM		"/proc/sys/net/ipv4/tcp_mem"

FIXTURE(pressure)
{
	int ep;
	int fd;
	int peer;
	int other[2];		/* holds the memory there is */
	char saved[80];
};

FIXTURE_VARIANT(pressure)
{
	int family;
};

ES_TCP_VARIANTS(pressure);

FIXTURE_SETUP(pressure)
{
	const struct es_tcp_opts o = { .family = variant->family };
	const struct es_tcp_opts big = {
		.family = variant->family, .sndbuf = 4 << 20, .rcvbuf = 4 << 20,
	};
	int sv[2];

	self->saved[0] = '\0';
	ES_SETUP(es_tcp_pair_opts(&o, sv), sv, SENDER);
	ES_REQUIRE_ROOT();
	ASSERT_LT(0, es_read_file(TCP_MEM, self->saved, sizeof(self->saved)));
	/* Each processor has some in reserve that is not in the account. */
	ASSERT_EQ(0, es_tcp_pair_opts(&big, self->other));
	ASSERT_LT(4 << 20, es_fill(&es_tcp4, self->other[0], self->other[1]));
}

FIXTURE_TEARDOWN(pressure)
{
	if (self->saved[0])
		es_write_file(TCP_MEM, self->saved);
	close(self->other[0]);
	close(self->other[1]);
	ES_TEARDOWN();
}

TEST_F_TIMEOUT(pressure, without_socket_memory_it_goes_on_and_loses_nothing,
	       ES_TIMEOUT)
{
	const int sndbuf = es_int_opt(self->fd, SOL_SOCKET, SO_SNDBUF);
	struct epoll_state st;
	struct flow f = {};

	REGISTER(ES_IO, &st);
	ASSERT_EQ(0, es_write_file(TCP_MEM, "1 2 3"));
	EXPECT_FLOW(st.snd, 1000000, &f);
	/* So it was: the kernel has made the send buffer smaller. */
	EXPECT_LT(es_int_opt(self->fd, SOL_SOCKET, SO_SNDBUF), sndbuf);
	ASSERT_EQ(0, es_write_file(TCP_MEM, self->saved));
	ASSERT_TRUE(es_until((f.got += es_drain(self->peer)) == f.sent));
}

/* A control group whose memory is limited, with the test and its sockets. */
#define PRINTK		"/proc/sys/kernel/printk"

FIXTURE(group)
{
	int ep;
	int fd;
	int peer;
	char dir[32];
	char printk[80];
};

FIXTURE_VARIANT(group)
{
	int family;
};

ES_TCP_VARIANTS(group);

static int es_group_write(const char *dir, const char *name, const char *text)
{
	char path[128];

	snprintf(path, sizeof(path), "%s/%s", dir, name);
	return es_write_file(path, text);
}

/* The number in a file of the group, or behind @key in it; -1 if none. */
static long es_group_read(const char *dir, const char *name, const char *key)
{
	char path[128], text[1024], *at;

	snprintf(path, sizeof(path), "%s/es/%s", dir, name);
	if (es_read_file(path, text, sizeof(text)) < 0)
		return -1;
	at = key ? strstr(text, key) : text;
	return at ? atol(at + (key ? strlen(key) : 0)) : -1;
}

FIXTURE_SETUP(group)
{
	const struct es_tcp_opts o = {
		.family = variant->family, .sndbuf = 4 << 20, .rcvbuf = 4 << 20,
	};
	char path[64];
	int sv[2];

	ES_REQUIRE_KERNEL();
	ES_REQUIRE_ROOT();
	snprintf(self->dir, sizeof(self->dir), "/tmp/epollstate-XXXXXX");
	ASSERT_EQ(0, unshare(CLONE_NEWNS));
	ASSERT_EQ(0, mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL));
	ASSERT_NE(NULL, mkdtemp(self->dir));
	if (mount("cgroup2", self->dir, "cgroup2", 0, NULL) ||
	    es_group_write(self->dir, "cgroup.subtree_control", "+memory")) {
		rmdir(self->dir);
		self->dir[0] = '\0';
		SKIP(return, "no control groups that limit memory");
	}
	snprintf(path, sizeof(path), "%s/es", self->dir);
	ASSERT_TRUE(!mkdir(path, 0755) || errno == EEXIST);
	/* What is limited is to be the sockets, not the test. */
	es_buf();
	ASSERT_EQ(0, mlockall(MCL_CURRENT | MCL_FUTURE));
	ASSERT_EQ(0, es_write_file("/proc/self/oom_score_adj", "-1000"));
	ASSERT_EQ(0, es_group_write(self->dir, "es/cgroup.procs", "0"));
	ES_SETUP(es_tcp_pair_opts(&o, sv), sv, SENDER);
	ASSERT_LT(0, es_read_file(PRINTK, self->printk, sizeof(self->printk)));
}

FIXTURE_TEARDOWN(group)
{
	char path[64];

	if (!self->dir[0])
		return;
	es_write_file(PRINTK, self->printk);
	es_group_write(self->dir, "es/memory.max", "max");
	es_group_write(self->dir, "cgroup.procs", "0");
	ES_TEARDOWN();
	snprintf(path, sizeof(path), "%s/es", self->dir);
	rmdir(path);
	umount2(self->dir, MNT_DETACH);
	rmdir(self->dir);
}

TEST_F_TIMEOUT(group, without_memory_in_its_group_it_goes_on_and_loses_nothing,
	       ES_TIMEOUT)
{
	struct epoll_state st;
	struct flow f = {};
	char max[24];

	REGISTER(ES_IO, &st);
	ASSERT_LT(3000000, st.snd);
	snprintf(max, sizeof(max), "%ld",
		 es_group_read(self->dir, "memory.current", NULL) + (1 << 20));
	/* The kernel tells at length that it finds nobody to kill. */
	ASSERT_EQ(0, es_write_file(PRINTK, "4"));
	ASSERT_EQ(0, es_group_write(self->dir, "es/memory.max", max));
	EXPECT_FLOW(st.snd, 20000000, &f);
	/* So it was, and the kernel has refused what it had promised. */
	EXPECT_LT(0, f.refused);
	EXPECT_LT(0, es_group_read(self->dir, "memory.events", "\nmax "));
	EXPECT_EQ(0, es_group_read(self->dir, "memory.events", "oom_kill "));
	ASSERT_EQ(0, es_group_write(self->dir, "es/memory.max", "max"));
	ASSERT_TRUE(es_until((f.got += es_drain(self->peer)) == f.sent));
}

TEST_HARNESS_MAIN
