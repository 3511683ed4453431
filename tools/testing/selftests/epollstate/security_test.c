// SPDX-License-Identifier: GPL-2.0
/*
 * What the section about security of Documentation/filesystems/epollstate.rst
 * claims: counts tell nothing new and need no privilege, nothing else of the
 * kernel is written, and nobody makes another one's epoll_wait(2) sleep or spin.
 *
 * Invariants are about counts and states, never about time.
 */

#include "watches.h"

#include <grp.h>
#include <linux/capability.h>
#include <pthread.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/signalfd.h>

/* From here on nobody in particular, who can get no privilege again. */
static int es_drop_privileges(void)
{
	struct __user_cap_header_struct header = {
		.version = _LINUX_CAPABILITY_VERSION_3,
	};
	struct __user_cap_data_struct none[2] = {}, left[2];

	if (!geteuid() && (setgroups(0, NULL) ||
			   setresgid(ES_UID, ES_UID, ES_UID) ||
			   setresuid(ES_UID, ES_UID, ES_UID)))
		return -errno;
	if (syscall(SYS_capset, &header, none) ||
	    syscall(SYS_capget, &header, left) ||
	    prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) ||
	    /* As after an execve(2): /proc/self is our own. */
	    prctl(PR_SET_DUMPABLE, 1, 0, 0, 0))
		return -errno;
	return memcmp(none, left, sizeof(none)) || !getuid() ? -EPERM : 0;
}

/* What this user may not make is a type that is not there. */
static int es_users_pair(const struct es_type *type, int sv[2])
{
	int err = type->pair(sv);

	return err == -EACCES || err == -EPERM ? -ENODEV : err;
}

ES_FIXTURE(user_in, RECEIVER, ALL)
ES_FIXTURE(user_out, SENDER, ROOM)

/* In a test: all of the fixture anew, by one who has no privilege. */
#define AS_USER(which)							\
do {									\
	int __sv[2] = { -1, -1 };					\
									\
	ES_TEARDOWN();							\
	self->ep = -1;							\
	self->fd = -1;							\
	self->peer = -1;						\
	ASSERT_EQ(0, es_drop_privileges());				\
	ES_SETUP(es_users_pair(variant->type, __sv), __sv, which);	\
} while (0)

/* Counts tell nothing new */

TEST_F(user_in, input_is_what_ioctls_and_reads_of_this_user_say)
{
	struct epoll_state st;
	uint32_t reads = 0;

	AS_USER(RECEIVER);
	REGISTER(ES_IO, &st);
	EXPECT_INPUT(st);
	ARRIVE(100);
	ARRIVE(50);
	ASSERT_EQ(4, es_sample(self->ep, self->fd, ES_IO, &st));
	EXPECT_INPUT(st);
	EXPECT_EQ(0, st.error);

	for (; self->queue.n; reads++)
		TAKE(1000);
	EXPECT_EQ(-EAGAIN, es_read(self->fd, es_len(variant->type, 1)));
	if (variant->type->msgs)
		EXPECT_EQ(reads, st.msgs);
	ASSERT_EQ(4, es_sample(self->ep, self->fd, ES_IO, &st));
	EXPECT_EQ(0, st.rcv);
	EXPECT_EQ(0, st.msgs);
}

TEST_F_TIMEOUT(user_out, output_is_what_ioctls_and_writes_of_this_user_say,
	       ES_TIMEOUT)
{
	struct epoll_state st;
	uint32_t len;

	AS_USER(SENDER);
	REGISTER(ES_IO, &st);
	EXPECT_EQ(OUTQ(), st.outq);
	ASSERT_TRUE(es_jam(variant->type, self->fd, self->peer));
	SETTLE();
	ASSERT_EQ(4, es_sample(self->ep, self->fd, ES_IO, &st));
	EXPECT_EQ(OUTQ(), st.outq);
	EXPECT_EQ(0, st.error);
	/* One who has no word for it finds the room by writing. */
	ASSERT_LT(0, st.snd);
	len = es_len(variant->type, st.snd);
	ASSERT_EQ(len, es_write(self->fd, len));
	SETTLE();
	ASSERT_EQ(4, es_sample(self->ep, self->fd, ES_IO, &st));
	EXPECT_EQ(OUTQ(), st.outq);
}

/* Only types that get an error from a peer that goes without reading. */
FIXTURE(user_error)
{
	int ep;
	int fd;
	int peer;
};

FIXTURE_VARIANT(user_error)
{
	const struct es_type *type;
};

ES_ADD_1(user_error, tcp4)
ES_ADD_1(user_error, tcp6)
ES_ADD_1(user_error, unix_stream)
ES_ADD_1(user_error, unix_seqpacket)
ES_ADD_1(user_error, udp4)
ES_ADD_1(user_error, udp6)

FIXTURE_SETUP(user_error)
{
	int sv[2];

	ES_REQUIRE_KERNEL();
	ASSERT_EQ(0, es_drop_privileges());
	ES_SETUP(es_users_pair(variant->type, sv), sv, SENDER);
}

FIXTURE_TEARDOWN(user_error)
{
	ES_TEARDOWN();
}

TEST_F(user_error, the_error_is_the_one_of_so_error_and_is_left_for_it)
{
	struct pollfd p = { .fd = self->fd };
	struct epoll_state st;
	uint32_t error;

	REGISTER(ES_IO, &st);
	EXPECT_EQ(0, st.error);
	ASSERT_EQ(100, es_write(self->fd, 100));
	SETTLE();
	close(self->peer);
	self->peer = -1;
	/* Who is not connected finds out by sending. */
	if (variant->type->lossy)
		ASSERT_EQ(100, es_write(self->fd, 100));
	ASSERT_TRUE(es_until(poll(&p, 1, 0) == 1 && p.revents & POLLERR));

	ASSERT_EQ(4, es_next(self->ep, &st));
	ASSERT_EQ(4, es_sample(self->ep, self->fd, ES_IO, &st));
	error = st.error;
	EXPECT_NE(0, error);
	ASSERT_EQ(4, es_sample(self->ep, self->fd, ES_IO, &st));
	EXPECT_EQ(error, st.error);
	EXPECT_EQ(error, es_int_opt(self->fd, SOL_SOCKET, SO_ERROR));
	ASSERT_EQ(4, es_sample(self->ep, self->fd, ES_IO, &st));
	EXPECT_EQ(0, st.error);
	EXPECT_EQ(0, es_int_opt(self->fd, SOL_SOCKET, SO_ERROR));
}

/* No new privilege */

TEST(what_epoll_refuses_is_refused_with_epollstate)
{
	static const struct {
		const char *path;
		int flags;
		int plain, state;
	} files[] = {
		{ "/", O_RDONLY, -EPERM, -EPERM },
		{ "/proc/self/exe", O_RDONLY, -EPERM, -EPERM },
		{ "/dev/null", O_RDWR, -EPERM, -EPERM },
		{ "/dev/null", O_PATH, -EBADF, -EBADF },
		/* Polled by others, and with nothing to be counted. */
		{ "/proc/self/mounts", O_RDONLY, 0, -EOPNOTSUPP },
	};
	const int ep = epoll_create1(EPOLL_CLOEXEC);
	size_t i;
	int fd;

	ES_REQUIRE_KERNEL();
	ASSERT_LE(0, ep);
	ASSERT_EQ(0, es_drop_privileges());
	for (i = 0; i < ARRAY_SIZE(files); i++) {
		fd = open(files[i].path, files[i].flags | O_CLOEXEC);
		ASSERT_LE(0, fd);
		EXPECT_EQ(files[i].state, es_add(ep, fd, EPOLLIN | EPOLLSTATE)) {
			TH_LOG("%s", files[i].path);
		}
		EXPECT_EQ(files[i].plain, es_add(ep, fd, EPOLLIN));
		EXPECT_EQ(files[i].state, es_mod(ep, fd, EPOLLIN | EPOLLSTATE));
		close(fd);
		EXPECT_EQ(-EBADF, es_add(ep, fd, EPOLLIN | EPOLLSTATE));
	}
	/* Nor does an epoll take an epoll. */
	fd = epoll_create1(EPOLL_CLOEXEC);
	EXPECT_EQ(-EINVAL, es_add(ep, fd, EPOLLIN | EPOLLSTATE));
	EXPECT_EQ(0, es_pending(ep));
	close(fd);
	close(ep);
}

/* Where three watches are allowed.  Returns 0, or the line that went wrong. */
static int es_spend_three_watches(void)
{
	struct epoll_state st;
	int ep, fd[3], i;

	if (es_drop_privileges())
		return __LINE__;
	ep = epoll_create1(EPOLL_CLOEXEC);
	for (i = 0; i < 3; i++)
		fd[i] = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);

	if (es_add(ep, fd[0], EPOLLIN | EPOLLSTATE))
		return __LINE__;
	/* One is left: too little for another record. */
	if (es_add(ep, fd[1], EPOLLIN | EPOLLSTATE) != -ENOSPC)
		return __LINE__;
	if (es_add(ep, fd[1], EPOLLIN))
		return __LINE__;
	if (es_mod(ep, fd[1], EPOLLIN | EPOLLSTATE) != -ENOSPC)
		return __LINE__;
	if (es_add(ep, fd[2], EPOLLIN) != -ENOSPC)
		return __LINE__;
	/* What was refused has cost nothing. */
	if (es_mod(ep, fd[0], EPOLLIN) || es_add(ep, fd[2], EPOLLIN))
		return __LINE__;
	if (es_mod(ep, fd[0], EPOLLIN | EPOLLSTATE) != -ENOSPC)
		return __LINE__;
	if (es_ctl(ep, EPOLL_CTL_DEL, fd[2], 0, 0) ||
	    es_mod(ep, fd[1], EPOLLIN | EPOLLSTATE) ||
	    es_wait(ep, &st, 0) != 4)
		return __LINE__;
	return 0;
}

/* In a child: what it found wrong, a line, goes to @wrong, which is shared. */
#define ES_IN_CHILD(wrong, what)					\
do {									\
	pid_t __pid = fork();						\
	int __status;							\
									\
	ASSERT_LE(0, __pid);						\
	if (!__pid) {							\
		*(wrong) = (what);					\
		_exit(0);						\
	}								\
	ASSERT_EQ(__pid, waitpid(__pid, &__status, 0));			\
	EXPECT_EQ(0, __status);						\
} while (0)

static int *es_shared_int(void)
{
	int *shared = mmap(NULL, sizeof(int), PROT_READ | PROT_WRITE,
			   MAP_SHARED | MAP_ANONYMOUS, -1, 0);

	if (shared == MAP_FAILED)
		return NULL;
	*shared = -1;
	return shared;
}

TEST(a_registration_of_a_user_counts_as_two_watches)
{
	int *wrong = es_shared_int();
	char saved[32];

	ES_REQUIRE_KERNEL();
	ES_REQUIRE_ROOT();
	ASSERT_NE(NULL, wrong);
	ASSERT_LT(0, es_read_file(ES_LIMIT_FILE, saved, sizeof(saved)));
	ASSERT_EQ(0, es_set_watch_limit("3"));
	ES_IN_CHILD(wrong, es_spend_three_watches());
	EXPECT_EQ(0, es_set_watch_limit(saved));
	EXPECT_EQ(0, *wrong) {
		TH_LOG("line %d", *wrong);
	}
}

static int es_open_without_privileges(const char *path)
{
	int fd;

	if (es_drop_privileges())
		return 0;
	fd = open(path, O_RDONLY | O_CLOEXEC);
	return fd < 0 ? -errno : fd;
}

/* The counts are in fdinfo as well, which is for who may look into a process. */
TEST(what_was_told_to_others_is_not_to_be_seen)
{
	const int ep = epoll_create1(EPOLL_CLOEXEC);
	const int fd = eventfd(1, EFD_CLOEXEC);
	int *got = es_shared_int();
	char path[64], text[1024];
	struct epoll_state st;

	ES_REQUIRE_KERNEL();
	ES_REQUIRE_ROOT();
	ASSERT_NE(NULL, got);
	ASSERT_EQ(0, es_add(ep, fd, EPOLLIN | EPOLLSTATE));
	ASSERT_EQ(4, es_wait(ep, &st, 0));
	snprintf(path, sizeof(path), "/proc/%d/fdinfo/%d", getpid(), ep);
	ASSERT_LT(0, es_read_file(path, text, sizeof(text)));
	EXPECT_NE(NULL, strstr(text, " rcv:8 "));
	ES_IN_CHILD(got, es_open_without_privileges(path));
	EXPECT_EQ(-EACCES, *got);
	close(fd);
	close(ep);
}

/* Nothing of the kernel but the counts */

/* One record and as much room behind it, over a pattern. */
struct es_told {
	union {
		struct epoll_event slots[2 * EPOLL_STATE_SLOTS];
		unsigned char bytes[2 * EPOLL_STATE_SLOTS *
				    sizeof(struct epoll_event)];
	};
};

static int es_tell_over(int ep, int fd, unsigned char pattern,
			struct es_told *told)
{
	int err = es_mod(ep, fd, ES_IO | EPOLLSTATE);

	memset(told, pattern, sizeof(*told));
	return err ?: epoll_wait(ep, told->slots, ARRAY_SIZE(told->slots), 0);
}

/* Is it a byte of a field, or of seq?  If not, it is none of the kernel's. */
static bool es_is_field(size_t at)
{
	const size_t in_slot = at % sizeof(struct epoll_event);

	return at < sizeof(struct epoll_state) &&
	       (in_slot < sizeof(uint32_t) ||
		in_slot >= offsetof(struct epoll_event, data));
}

static bool es_is_seq(size_t at)
{
	return at >= offsetof(struct epoll_state, seq) &&
	       at < offsetof(struct epoll_state, seq) + sizeof(uint32_t);
}

/* Which bytes of two records of one state, if any, are wrong: the first. */
static int es_wrong_byte(const struct es_told *a, unsigned char pattern_a,
			 const struct es_told *b, unsigned char pattern_b)
{
	size_t i;

	for (i = 0; i < sizeof(a->bytes); i++) {
		if (es_is_seq(i))
			continue;
		if (es_is_field(i) ? a->bytes[i] != b->bytes[i] :
		    a->bytes[i] != pattern_a || b->bytes[i] != pattern_b)
			return i;
	}
	return -1;
}

/* All fields that this end of this type has no use for. */
static uint32_t es_unused_fields(const struct es_type *t, int end,
				 const struct epoll_state *st)
{
	const bool timer_like = t->send;
	uint32_t sum = st->error;

	if (!t->msgs)
		sum |= st->msgs;
	if (t->outq == es_outq_none)
		sum |= st->outq;
	if (timer_like)
		sum |= st->snd;
	/* The ends of a pipe. */
	if (!t->both && !t->one_file && end == RECEIVER)
		sum |= st->snd | st->outq;
	if (!t->both && !t->one_file && end == SENDER)
		sum |= st->rcv | st->msgs;
	return sum;
}

#define EXPECT_NOTHING_BUT_FIELDS(end)					\
do {									\
	const struct epoll_state *__st = (void *)a.slots;		\
	int __i;							\
									\
	ASSERT_EQ(4, es_tell_over(self->ep, self->fd, 0xa5, &a));	\
	ASSERT_EQ(4, es_tell_over(self->ep, self->fd, 0x5a, &b));	\
	EXPECT_EQ(-1, es_wrong_byte(&a, 0xa5, &b, 0x5a));		\
	for (__i = 1; __i < EPOLL_STATE_SLOTS; __i++)			\
		EXPECT_EQ(0, a.slots[__i].events);			\
	EXPECT_EQ(ES_COOKIE, __st->data.u64);				\
	EXPECT_EQ(0, es_unused_fields(variant->type, end, __st));	\
} while (0)

TEST_F(user_in, nothing_but_the_fields_is_written)
{
	struct epoll_state st;
	struct es_told a, b;

	AS_USER(RECEIVER);
	REGISTER(ES_IO, &st);
	EXPECT_NOTHING_BUT_FIELDS(RECEIVER);
	ARRIVE(100);
	ARRIVE(50);
	EXPECT_NOTHING_BUT_FIELDS(RECEIVER);
	es_drain(self->fd);
	SETTLE();
	EXPECT_NOTHING_BUT_FIELDS(RECEIVER);
}

TEST_F(user_out, nothing_but_the_fields_is_written)
{
	struct epoll_state st;
	struct es_told a, b;

	AS_USER(SENDER);
	REGISTER(ES_IO, &st);
	EXPECT_NOTHING_BUT_FIELDS(SENDER);
	ASSERT_TRUE(es_jam(variant->type, self->fd, self->peer));
	SETTLE();
	EXPECT_NOTHING_BUT_FIELDS(SENDER);
	DRAIN();
	EXPECT_NOTHING_BUT_FIELDS(SENDER);
}

/* Nobody sleeps: a page that comes when we say so */

/*
 * The page is of a file on a 9P server, which is a process of ours.  Who touches
 * it waits in the page fault, with the locks that he had, until it answers.
 */
struct es_slow {
	pid_t server;
	int ctl;
	void *page;
};

#define ES_SLOW_SIZE	4096
#define ES_9P_MSIZE	8192

/* 9P2000.L, as far as one file needs it: size[4] type[1] tag[2] ... */
enum {
	ES_9P_ERROR = 6,
	ES_9P_OPEN = 12,
	ES_9P_GETATTR = 24,
	ES_9P_VERSION = 100,
	ES_9P_ATTACH = 104,
	ES_9P_FLUSH = 108,
	ES_9P_WALK = 110,
	ES_9P_READ = 116,
	ES_9P_CLUNK = 120,
};

static uint64_t es_9p_get(const unsigned char *p, int bytes)
{
	uint64_t val = 0;

	while (bytes--)
		val = val << 8 | p[bytes];
	return val;
}

static unsigned char *es_9p_put(unsigned char *p, uint64_t val, int bytes)
{
	for (; bytes--; val >>= 8)
		*p++ = val;
	return p;
}

static unsigned char *es_9p_put_qid(unsigned char *p, bool file)
{
	p = es_9p_put(p, file ? 0 : 0x80, 1);
	p = es_9p_put(p, 1, 4);
	return es_9p_put(p, 1 + file, 8);
}

static unsigned char *es_9p_put_attr(unsigned char *p, bool file)
{
	int i;

	p = es_9p_put(p, 0x7ff, 8);
	p = es_9p_put_qid(p, file);
	p = es_9p_put(p, file ? S_IFREG | 0444 : S_IFDIR | 0555, 4);
	p = es_9p_put(p, 0, 8);		/* uid, gid */
	p = es_9p_put(p, 1, 8);		/* links */
	p = es_9p_put(p, 0, 8);		/* device */
	p = es_9p_put(p, ES_SLOW_SIZE, 8);
	p = es_9p_put(p, ES_SLOW_SIZE, 8);
	p = es_9p_put(p, ES_SLOW_SIZE / 512, 8);
	for (i = 0; i < 10; i++)	/* four times, generation, version */
		p = es_9p_put(p, 0, 8);
	return p;
}

/*
 * Say that somebody waits, and wait ourselves: for the word, the end of who
 * would give it, or until a test that hangs has failed.
 */
static void es_9p_hold(int ctl)
{
	struct pollfd p = { .fd = ctl, .events = POLLIN };
	static bool held;

	/* Whoever asks for a rest of it later does not wait again. */
	if (!held && send(ctl, "?", 1, MSG_NOSIGNAL) == 1)
		poll(&p, 1, ES_DEADLINE_MS);
	held = true;
}

/* Answer the request in @msg; returns the end of the answer. */
static unsigned char *es_9p_answer(unsigned char *msg, size_t size, int ctl)
{
	static bool is_file[256];
	unsigned char *p = msg + 7;
	const uint32_t fid = es_9p_get(p, 4) % 256;
	uint64_t at, n;

	switch (msg[4]++) {
	case ES_9P_VERSION:
		es_9p_put(p, ES_9P_MSIZE, 4);
		return msg + size;
	case ES_9P_ATTACH:
		is_file[fid] = false;
		return es_9p_put_qid(p, false);
	case ES_9P_GETATTR:
		return es_9p_put_attr(p, is_file[fid]);
	case ES_9P_WALK:
		/* Whatever the name is: to the file. */
		n = es_9p_get(p + 8, 2);
		is_file[es_9p_get(p + 4, 4) % 256] = is_file[fid] || n;
		p = es_9p_put(p, n, 2);
		return n ? es_9p_put_qid(p, true) : p;
	case ES_9P_OPEN:
		p = es_9p_put_qid(p, is_file[fid]);
		return es_9p_put(p, 0, 4);
	case ES_9P_READ:
		at = es_9p_get(p + 4, 8);
		n = es_9p_get(p + 12, 4);
		if (at > ES_SLOW_SIZE)
			at = ES_SLOW_SIZE;
		if (n > ES_SLOW_SIZE - at)
			n = ES_SLOW_SIZE - at;
		es_9p_hold(ctl);
		p = es_9p_put(p, n, 4);
		memset(p, 0, n);
		return p + n;
	case ES_9P_FLUSH:
	case ES_9P_CLUNK:
		return p;
	}
	msg[4] = ES_9P_ERROR + 1;
	return es_9p_put(p, EOPNOTSUPP, 4);
}

static void es_9p_serve(int sock, int ctl)
{
	static unsigned char msg[ES_9P_MSIZE];
	unsigned char *end;
	size_t size;

	while (recv(sock, msg, 7, MSG_WAITALL) == 7) {
		size = es_9p_get(msg, 4);
		if (size < 7 || size > sizeof(msg))
			break;
		if (size > 7 &&
		    recv(sock, msg + 7, size - 7, MSG_WAITALL) != size - 7)
			break;
		end = es_9p_answer(msg, size, ctl);
		es_9p_put(msg, end - msg, 4);
		if (send(sock, msg, end - msg, MSG_NOSIGNAL) != end - msg)
			break;
	}
}

/* Mount what is served at the other end of @sock, and map its file. */
static int es_9p_map(int sock, void **page)
{
	char dir[] = "/tmp/epollstate.XXXXXX", text[128];
	int fd, err = 0;

	if (unshare(CLONE_NEWNS) ||
	    mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) || !mkdtemp(dir))
		return -errno;
	snprintf(text, sizeof(text),
		 "trans=fd,rfdno=%d,wfdno=%d,version=9p2000.L,cache=mmap,access=any",
		 sock, sock);
	if (mount("epollstate", dir, "9p", MS_RDONLY, text)) {
		err = -errno;
		rmdir(dir);
		return err;
	}
	snprintf(text, sizeof(text), "%s/page", dir);
	fd = open(text, O_RDONLY | O_CLOEXEC);
	*page = mmap(NULL, ES_SLOW_SIZE, PROT_READ | PROT_WRITE, MAP_PRIVATE,
		     fd, 0);
	if (fd < 0 || *page == MAP_FAILED)
		err = -EIO;
	close(fd);
	/* It lives as long as the page is mapped. */
	umount2(dir, MNT_DETACH);
	rmdir(dir);
	return err;
}

static int es_slow_map(struct es_slow *slow)
{
	int sock[2], ctl[2], err;

	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, sock) ||
	    socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ctl))
		return -errno;
	slow->server = fork();
	if (slow->server < 0)
		return -errno;
	if (!slow->server) {
		close(sock[0]);
		close(ctl[0]);
		es_9p_serve(sock[1], ctl[1]);
		_exit(0);
	}
	close(sock[1]);
	close(ctl[1]);
	slow->ctl = ctl[0];
	err = es_9p_map(sock[0], &slow->page);
	close(sock[0]);
	return err;
}

/* Somebody waits for the page now. */
static bool es_slow_asked(const struct es_slow *slow)
{
	struct pollfd p = { .fd = slow->ctl, .events = POLLIN };
	char c;

	return poll(&p, 1, ES_DEADLINE_MS) == 1 && read(slow->ctl, &c, 1) == 1;
}

static bool es_slow_release(const struct es_slow *slow)
{
	return send(slow->ctl, "!", 1, MSG_NOSIGNAL) == 1;
}

/* True iff the server has seen the end, after the mount's. */
static bool es_slow_unmap(const struct es_slow *slow)
{
	munmap(slow->page, ES_SLOW_SIZE);
	close(slow->ctl);
	return es_until(waitpid(slow->server, NULL, WNOHANG) == slow->server);
}

/* Take the lock that who reads or writes holds meanwhile. */
static void es_take_lock(int fd)
{
	char byte;

	if (recv(fd, &byte, 1, MSG_PEEK | MSG_DONTWAIT) < 0 &&
	    errno == ENOTSOCK)
		es_fionread(fd);
}

/* Types whose reader, or writer, has a lock while it copies. */
FIXTURE(stuck)
{
	int ep;
	int fd;
	int peer;
	struct es_slow slow;
};

FIXTURE_VARIANT(stuck)
{
	const struct es_type *type;
	int end;
};

FIXTURE_VARIANT_ADD(stuck, tcp4_read) {
	.type = &es_tcp4, .end = RECEIVER };
FIXTURE_VARIANT_ADD(stuck, tcp6_read) {
	.type = &es_tcp6, .end = RECEIVER };
FIXTURE_VARIANT_ADD(stuck, unix_stream_read) {
	.type = &es_unix_stream, .end = RECEIVER };
FIXTURE_VARIANT_ADD(stuck, unix_seqpacket_read) {
	.type = &es_unix_seqpacket, .end = RECEIVER };
FIXTURE_VARIANT_ADD(stuck, unix_dgram_read) {
	.type = &es_unix_dgram, .end = RECEIVER };
FIXTURE_VARIANT_ADD(stuck, pipe_read) {
	.type = &es_pipe, .end = RECEIVER };
FIXTURE_VARIANT_ADD(stuck, fifo_read) {
	.type = &es_fifo, .end = RECEIVER };
FIXTURE_VARIANT_ADD(stuck, tcp4_write) {
	.type = &es_tcp4, .end = SENDER };
FIXTURE_VARIANT_ADD(stuck, tcp6_write) {
	.type = &es_tcp6, .end = SENDER };
FIXTURE_VARIANT_ADD(stuck, pipe_write) {
	.type = &es_pipe, .end = SENDER };
FIXTURE_VARIANT_ADD(stuck, fifo_write) {
	.type = &es_fifo, .end = SENDER };

FIXTURE_SETUP(stuck)
{
	int sv[2], err;

	ES_REQUIRE_KERNEL();
	ES_REQUIRE_ROOT();
	err = es_slow_map(&self->slow);
	if (err == -ENODEV || err == -EINVAL || err == -EPERM)
		SKIP(return, "no 9P file system over descriptors: %s",
		     strerror(-err));
	ASSERT_EQ(0, err);
	ES_SETUP(variant->type->pair(sv), sv, variant->end);
}

FIXTURE_TEARDOWN(stuck)
{
	ES_TEARDOWN();
	EXPECT_TRUE(es_slow_unmap(&self->slow));
}

TEST_F_TIMEOUT(stuck, who_sleeps_with_the_lock_holds_up_no_waiter, ES_TIMEOUT)
{
	const struct es_type *type = variant->type;
	const bool reads = variant->end == RECEIVER;
	const int from = reads ? self->peer : self->fd;
	const int to = reads ? self->fd : self->peer;
	int other = epoll_create1(EPOLL_CLOEXEC);
	struct epoll_state before, st, first;
	size_t left = 150;
	pid_t call, probe;
	int n, status;
	bool taken;

	ASSERT_LE(0, other);
	ASSERT_EQ(100, es_deliver(type, from, to, 100));
	ASSERT_EQ(50, es_deliver(type, from, to, 50));
	SETTLE();
	REGISTER(ES_IO, &before);

	call = fork();
	ASSERT_LE(0, call);
	if (!call) {
		n = reads ? read(self->fd, self->slow.page, 100) :
			    write(self->fd, self->slow.page, 100);
		_exit(n != 100);
	}
	ASSERT_TRUE(es_slow_asked(&self->slow));
	probe = fork();
	ASSERT_LE(0, probe);
	if (!probe) {
		es_take_lock(self->fd);
		_exit(0);
	}
	ASSERT_TRUE(es_until(es_proc_state(probe) == 'D'));

	/* An old registration, and one that is made now. */
	ASSERT_EQ(4, es_sample(self->ep, self->fd, ES_IO, &st));
	ASSERT_EQ(0, es_add(other, self->fd, ES_IO | EPOLLSTATE));
	ASSERT_EQ(4, es_wait(other, &first, 0));
	EXPECT_EQ(before.events, st.events);
	/* A message is taken out of the queue before it is copied. */
	taken = reads && type->messages;
	EXPECT_EQ(taken ? 50 : before.rcv, st.rcv);
	EXPECT_EQ(taken ? 1 : before.msgs, st.msgs);
	EXPECT_EQ(before.outq, st.outq);
	EXPECT_EQ(!before.snd, !st.snd);
	EXPECT_EQ(0, st.error);
	EXPECT_EQ(st.rcv, first.rcv);
	EXPECT_EQ(st.outq, first.outq);
	EXPECT_EQ(st.msgs, first.msgs);

	/* A pipe takes no more meanwhile, and TCP keeps it for later. */
	if (reads && type->both) {
		ASSERT_EQ(30, es_send(type, from, 30));
		left += 30;
		n = es_wait(self->ep, &st, 0);
		if (!type->idle)
			EXPECT_EQ(4, n);
	}
	/* All that was done while both were stuck. */
	EXPECT_EQ('D', es_proc_state(probe));
	EXPECT_EQ(0, waitpid(call, &status, WNOHANG));

	ASSERT_TRUE(es_slow_release(&self->slow));
	ASSERT_EQ(call, waitpid(call, &status, 0));
	EXPECT_EQ(0, status);
	ASSERT_EQ(probe, waitpid(probe, &status, 0));
	EXPECT_EQ(0, status);
	left += reads ? -100 : 100;
	SETTLE();
	ASSERT_EQ(4, es_sample(self->ep, self->fd, ES_IO, &st));
	EXPECT_EQ(reads ? type->rcv(self->fd) : 0, st.rcv);
	EXPECT_EQ(reads && !type->both ? 0 : OUTQ(), st.outq);
	EXPECT_EQ(left, es_drain(to));
	close(other);
}

/* Nobody spins: a flood */

ES_FIXTURE(flood, RECEIVER, ALL)

/* Registrations of one file, and how many records are taken in all. */
#define ES_FLOODED	4
#define ES_RECORDS	400

/* Sends and takes away without end, each as much as there is. */
struct es_flood {
	const struct es_type *type;
	pthread_t thread;
	int from, to;
	bool stop;
	uint64_t calls;
	int error;
};

static void *es_flood_main(void *arg)
{
	struct es_flood *f = arg;
	const uint32_t len = es_len(f->type, 1);
	uint64_t sent = 0;
	char sink[4096];
	ssize_t n;

	while (!f->error && !__atomic_load_n(&f->stop, __ATOMIC_ACQUIRE)) {
		n = es_send(f->type, f->from, len);
		if (n > 0) {
			sent++;
			f->calls++;
		} else if (n == -EAGAIN) {
			sched_yield();
		} else {
			f->error = n;
		}
		if (n > 0 && sent % 64)
			continue;
		/* What is full wakes nobody. */
		while (read(f->to, sink, sizeof(sink)) > 0)
			f->calls++;
		/* Nothing else bounds what is on its way. */
		if (f->type->handed)
			es_soon(es_queue_empty(f->from, f->to));
	}
	return NULL;
}

/*
 * One call of epoll_wait(2) on ES_FLOODED registrations, with room for each to
 * be told four times.  Returns how many records it brought, -1 if something is
 * wrong with them.
 */
static int es_flood_wait(int ep, int timeout, uint32_t seq[ES_FLOODED])
{
	struct epoll_event slots[4 * ES_FLOODED * EPOLL_STATE_SLOTS];
	const struct epoll_state *st;
	unsigned int met = 0, who;
	int i, n, records = 0;

	n = epoll_wait(ep, slots, ARRAY_SIZE(slots), timeout);
	if (n < 0)
		return -1;
	for (i = 0; i < n; i = epollstate_next(slots, n, i)) {
		st = epollstate_record(&slots[i]);
		if (!st || st->data.u64 >= ES_FLOODED)
			return -1;
		who = st->data.u64;
		/* Each at most once, however often it was woken meanwhile. */
		if (met & 1U << who || st->seq != seq[who])
			return -1;
		met |= 1U << who;
		seq[who]++;
		records++;
	}
	return n == records * EPOLL_STATE_SLOTS ? records : -1;
}

TEST_F_TIMEOUT(flood, records_are_no_more_than_what_was_sent, ES_TIMEOUT)
{
	struct es_flood f = {
		.type = variant->type,
		.from = self->peer,
		.to = self->fd,
	};
	uint32_t seq[ES_FLOODED] = {};
	int fd[ES_FLOODED], i, n, records = 0, quiet = 0;

	for (i = 0; i < ES_FLOODED; i++) {
		fd[i] = fcntl(self->fd, F_DUPFD_CLOEXEC, 0);
		ASSERT_LE(0, fd[i]);
		ASSERT_EQ(0, es_ctl(self->ep, EPOLL_CTL_ADD, fd[i],
				    EPOLLIN | EPOLLSTATE, i));
	}
	ASSERT_EQ(ES_FLOODED, es_flood_wait(self->ep, 0, seq));
	/* Made before there are two who would make it. */
	es_buf();
	ASSERT_EQ(0, pthread_create(&f.thread, NULL, es_flood_main, &f));
	while (records < ES_RECORDS) {
		n = es_flood_wait(self->ep, ES_DEADLINE_MS, seq);
		ASSERT_LT(0, n) {
			TH_LOG("after %d records", records);
		}
		records += n;
	}
	__atomic_store_n(&f.stop, true, __ATOMIC_RELEASE);
	ASSERT_EQ(0, pthread_join(f.thread, NULL));
	EXPECT_EQ(0, f.error);

	/* What was under way is told, and then there is nothing. */
	while (quiet < 100) {
		n = es_flood_wait(self->ep, 0, seq);
		ASSERT_LE(0, n);
		quiet = n ? 0 : quiet + 1;
		for (i = 0; i < ES_FLOODED; i++)
			ASSERT_GE(f.calls, seq[i] - 1) {
				TH_LOG("it spins, or tells what nobody did");
			}
	}
	for (i = 0; i < ES_FLOODED; i++) {
		EXPECT_LT(1, seq[i]);
		close(fd[i]);
	}
}

/* Long walks */

FIXTURE(walk)
{
	int ep;
	int fd;
	int peer;
};

FIXTURE_SETUP(walk)
{
	ES_REQUIRE_KERNEL();
	self->fd = -1;
	self->peer = -1;
	self->ep = epoll_create1(EPOLL_CLOEXEC);
	ASSERT_LE(0, self->ep);
}

FIXTURE_TEARDOWN(walk)
{
	ES_TEARDOWN();
}

#define SAMPLE(st)							\
	ASSERT_EQ(4, es_sample(self->ep, self->fd, EPOLLIN, st))

/* More than this many signals take long to be sent. */
#define ES_SIGNALS	10000

TEST_F_TIMEOUT(walk, all_signals_that_may_be_queued_are_counted, ES_TIMEOUT)
{
	const uint32_t size = sizeof(struct signalfd_siginfo);
	const union sigval val = {};
	struct epoll_state st;
	struct rlimit limit;
	sigset_t set, all;
	uint32_t n = 0;
	int i;

	/* The limit counts what is queued to all processes of a user. */
	ASSERT_EQ(0, es_drop_privileges());
	ASSERT_EQ(0, getrlimit(RLIMIT_SIGPENDING, &limit));
	if (limit.rlim_cur > ES_SIGNALS) {
		limit.rlim_cur = ES_SIGNALS;
		ASSERT_EQ(0, setrlimit(RLIMIT_SIGPENDING, &limit));
	}
	sigemptyset(&set);
	sigaddset(&set, SIGUSR1);
	sigaddset(&set, SIGRTMIN);
	sigaddset(&set, SIGRTMIN + 1);
	all = set;
	sigaddset(&all, SIGRTMIN + 2);
	ASSERT_EQ(0, sigprocmask(SIG_BLOCK, &all, NULL));
	self->fd = signalfd(-1, &set, SFD_NONBLOCK | SFD_CLOEXEC);
	ASSERT_LE(0, self->fd);
	REGISTER(EPOLLIN, &st);
	EXPECT_EQ(0, st.msgs);

	/* Merged with the first, and for somebody else: these do not count. */
	for (i = 0; i < 10; i++) {
		ASSERT_EQ(0, kill(getpid(), SIGUSR1));
		ASSERT_EQ(0, sigqueue(getpid(), SIGRTMIN + 2, val));
	}
	for (n = 1; n <= ES_SIGNALS; n++)
		if (sigqueue(getpid(), SIGRTMIN + n % 2, val))
			break;
	ASSERT_EQ(EAGAIN, errno);
	ASSERT_LT(100, n);

	ASSERT_EQ(4, es_next(self->ep, &st));
	EXPECT_EQ(n, st.msgs);
	EXPECT_EQ(n * size, st.rcv);
	EXPECT_EQ(0, es_pending(self->ep));
	ASSERT_EQ(50 * size, es_read(self->fd, 50 * size));
	SAMPLE(&st);
	EXPECT_EQ(n - 50, st.msgs);
	EXPECT_EQ((n - 50) * size, st.rcv);
	EXPECT_EQ((n - 50) * size, es_read(self->fd, ES_BUF_SIZE));
	EXPECT_EQ(-EAGAIN, es_read(self->fd, size));
	SAMPLE(&st);
	EXPECT_EQ(0, st.msgs);
}

#define ES_QUEUE_FILE	"/proc/sys/fs/inotify/max_queued_events"

TEST_F_TIMEOUT(walk, all_events_of_a_full_inotify_are_counted, ES_TIMEOUT)
{
	const uint32_t size = sizeof(struct inotify_event);
	struct epoll_state st;
	uint32_t max, half, i;
	char text[32];
	int sv[2] = { -1, -1 };

	ASSERT_LT(0, es_read_file(ES_QUEUE_FILE, text, sizeof(text)));
	max = atol(text);
	if (max > 1 << 16)
		SKIP(return, "a queue of %u events takes long to be filled",
		     max);
	ASSERT_EQ(0, es_drop_privileges());
	ES_PAIR(es_users_pair(&es_inotify, sv));
	self->fd = sv[RECEIVER];
	self->peer = sv[SENDER];
	REGISTER(EPOLLIN, &st);

	for (i = 0; i < max + 100; i++)
		ASSERT_EQ(size, es_inotify_send(self->peer, size));
	/* And one that says that there were more. */
	ASSERT_EQ(4, es_next(self->ep, &st));
	EXPECT_EQ(max + 1, st.msgs);
	EXPECT_EQ((max + 1) * size, st.rcv);
	EXPECT_EQ(es_fionread(self->fd), st.rcv);
	/* What is dropped is no news. */
	ASSERT_EQ(size, es_inotify_send(self->peer, size));
	EXPECT_EQ(0, es_pending(self->ep));

	/* After a read all of them are looked at anew. */
	half = max / 2 * size;
	ASSERT_EQ(half, es_read(self->fd, half));
	ASSERT_EQ(size, es_inotify_send(self->peer, size));
	ASSERT_EQ(4, es_next(self->ep, &st));
	EXPECT_EQ(max + 2 - max / 2, st.msgs);
	EXPECT_EQ(es_fionread(self->fd), st.rcv);
	EXPECT_EQ(st.msgs * size, st.rcv);
	EXPECT_EQ(0, es_pending(self->ep));
	EXPECT_EQ(st.rcv, es_drain(self->fd));
	SAMPLE(&st);
	EXPECT_EQ(0, st.msgs);
}

#define ES_LARGE	(8 << 20)

TEST_F_TIMEOUT(walk, all_buffers_of_a_stream_are_counted, ES_TIMEOUT)
{
	const int out = epoll_create1(EPOLL_CLOEXEC);
	struct epoll_state st;
	uint32_t n = 0;
	int sv[2] = { -1, -1 };

	ASSERT_LE(0, out);
	ES_PAIR(es_unix_stream_pair(sv));
	self->fd = sv[RECEIVER];
	self->peer = sv[SENDER];
	/* Root has room for ten thousand, others for hundreds. */
	ASSERT_EQ(0, es_set_buf(self->peer, true, ES_LARGE));
	REGISTER(EPOLLIN, &st);
	ASSERT_EQ(0, es_add(out, self->peer, EPOLLOUT | EPOLLSTATE));
	ASSERT_EQ(4, es_wait(out, &st, 0));

	while (es_write(self->peer, 1) == 1)
		n++;
	ASSERT_LT(100, n);
	ASSERT_EQ(4, es_next(self->ep, &st));
	EXPECT_EQ(n, st.rcv);
	EXPECT_EQ(n, es_fionread(self->fd));
	EXPECT_EQ(0, es_pending(self->ep));
	EXPECT_EQ(0, es_pending(out));
	ASSERT_EQ(4, es_sample(out, self->peer, EPOLLOUT, &st));
	EXPECT_EQ(n, st.outq);
	EXPECT_EQ(0, st.snd);

	ASSERT_EQ(n / 2, es_read(self->fd, n / 2));
	SAMPLE(&st);
	EXPECT_EQ(n - n / 2, st.rcv);
	ASSERT_EQ(4, es_sample(out, self->peer, EPOLLOUT, &st));
	EXPECT_EQ(n - n / 2, st.outq);
	EXPECT_EQ(n - n / 2, es_drain(self->fd));
	ASSERT_EQ(4, es_next(out, &st));
	EXPECT_EQ(0, st.outq);
	EXPECT_EQ(0, es_pending(out));
	close(out);
}

TEST_F(walk, all_packets_of_a_pipe_are_counted)
{
	const int out = epoll_create1(EPOLL_CLOEXEC);
	struct epoll_state st;
	uint32_t n = 0;
	int sv[2] = { -1, -1 };

	ASSERT_LE(0, out);
	ES_PAIR(es_pipe_pair(sv));
	self->fd = sv[RECEIVER];
	self->peer = sv[SENDER];
	/* What everybody may have, unless somebody has more already. */
	fcntl(self->peer, F_SETPIPE_SZ, 1 << 20);
	ASSERT_EQ(0, fcntl(self->peer, F_SETFL, O_NONBLOCK | O_DIRECT));
	REGISTER(EPOLLIN, &st);
	ASSERT_EQ(0, es_add(out, self->peer, EPOLLOUT | EPOLLSTATE));
	ASSERT_EQ(4, es_wait(out, &st, 0));

	while (es_write(self->peer, 1) == 1)
		n++;
	EXPECT_EQ(fcntl(self->peer, F_GETPIPE_SZ) / getpagesize(), n);
	ASSERT_EQ(4, es_next(self->ep, &st));
	EXPECT_EQ(n, st.msgs);
	EXPECT_EQ(1, st.rcv);
	ASSERT_EQ(4, es_sample(out, self->peer, EPOLLOUT, &st));
	EXPECT_EQ(n, st.outq);
	EXPECT_EQ(0, st.snd);
	ASSERT_EQ(1, es_read(self->fd, 1000));
	SAMPLE(&st);
	EXPECT_EQ(n - 1, st.msgs);
	EXPECT_EQ(n - 1, es_drain(self->fd));
	SAMPLE(&st);
	EXPECT_EQ(0, st.msgs);
	close(out);
}

TEST_HARNESS_MAIN
