/* SPDX-License-Identifier: GPL-2.0 */
/*
 * The axis of the property tests: what they must know of each type of file.
 *
 * A new type is an entry here (how a pair is made, what it is like, what to
 * compare with) and a line in ES_TYPES, which says what it can do.  A property
 * test names the ability that it is about, and runs on every type that has it;
 * what a type cannot do is no property of it, and is not tried.
 *
 * Of each pair the first end sends and the second one receives.  Where both
 * ends can do both, that is only a habit.
 */

#ifndef _EPOLLSTATE_TYPES_H
#define _EPOLLSTATE_TYPES_H

#include <linux/vm_sockets.h>
#include <sys/inotify.h>
#include <sys/stat.h>
#include <sys/timerfd.h>
#include <sys/un.h>
#include <termios.h>

#ifndef VMADDR_CID_LOCAL
#define VMADDR_CID_LOCAL	1
#endif
#ifndef SO_MEMINFO
#define SO_MEMINFO	55
#endif

struct es_type {
	const char *name;
	/* A connected pair, not blocking: what sv[0] sends, sv[1] gets */
	int (*pair)(int sv[2]);
	/* True once nothing is under way any more; NULL: nothing ever is */
	bool (*idle)(int fd, int peer);
	/*
	 * Nothing leaves @fd from now on, something is queued, most of its
	 * room is free; NULL: it is enough that nobody reads
	 */
	bool (*jam)(int fd, int peer);
	/* How the first end sends @len bytes; NULL: by writing them */
	ssize_t (*send)(int fd, uint32_t len);
	/* Each write is a message, which one read takes, cut off if need be */
	bool messages;
	/* The messages that are queued are counted in msgs */
	bool msgs;
	/* What is not read yet when more comes is read together with it */
	bool level;
	/* Each end reads and writes */
	bool both;
	/* Each wake-up is a record: nothing is known of how far it moved */
	bool uncounted;
	/* What does not fit in the queue of the peer is dropped */
	bool lossy;
	/* A message that is larger than the room is sent in part */
	bool torn;
	/*
	 * What has left is on its way to the peer, which has to read it: when
	 * room comes back, and how often, is up to a worker in between
	 */
	bool handed;
	/* Both ends are one file, and what one does the other has done too */
	bool one_file;
	/* What was promised is taken in any number of writes */
	bool per_byte;
	/* So it is if each of them is subtracted rounded up to whole pages */
	bool by_page;
	/* The largest write (0: any), the only size there is (0: any) */
	uint32_t max, item;
	/* Writes of one byte, and bytes, that it can hold without a reader */
	int depth;
	uint32_t hold;
	/* No more of it can be read at a time; what is beyond follows (0: all) */
	uint32_t most;
	/* Bytes for an endurance test */
	size_t volume;
	/*
	 * Oracles: a read returns so much, so much arrived, was dropped (of the
	 * lossy ones), is not gone yet, and of that does not even leave until
	 * the peer or a timer allows it (NULL: there is no such thing)
	 */
	int (*rcv)(int fd);
	int (*arrived)(int fd);
	int (*dropped)(int fd);
	int (*outq)(int fd, int peer);
	int (*unsent)(int fd);
	/* End of file for the peer of @fd, which may be closed (-1) then */
	int (*shut)(int *fd);
	/* What is told of that when nothing is to be read */
	uint32_t eof;
};

/* What the oracles need. */

static inline int es_outq_own(int fd, int peer)
{
	return es_siocoutq(fd);
}

/* Behind a closed window, or held back by Nagle's algorithm. */
static inline int es_siocoutqnsd(int fd)
{
	int n = -1;

	return ioctl(fd, SIOCOUTQNSD, &n) ? -errno : n;
}

/* Local: what has not left is what the peer has not read. */
static inline int es_outq_peer(int fd, int peer)
{
	return es_fionread(peer);
}

static inline int es_outq_none(int fd, int peer)
{
	return 0;
}

/* The next message; FIONREAD might be the sum of them all. */
static inline int es_peek_len(int fd)
{
	char byte;
	int n = recv(fd, &byte, 1, MSG_PEEK | MSG_TRUNC | MSG_DONTWAIT);

	return n < 0 ? 0 : n;
}

/* One of the SK_MEMINFO_* of <linux/sock_diag.h>. */
static inline int es_meminfo(int fd, int which)
{
	uint32_t mem[9] = {};
	socklen_t len = sizeof(mem);

	if (getsockopt(fd, SOL_SOCKET, SO_MEMINFO, mem, &len))
		return -errno;
	return mem[which];
}

/* Memory charged for what was received; grows with each message. */
static inline int es_rmem(int fd)
{
	return es_meminfo(fd, 0);
}

/* Messages that did not fit; grows with each of them. */
static inline int es_drops(int fd)
{
	return es_meminfo(fd, 8);
}

/* All that a stream socket has, where no ioctl says so. */
static inline int es_peek_all(int fd)
{
	static char sink[1 << 19];
	int n = recv(fd, sink, sizeof(sink), MSG_PEEK | MSG_DONTWAIT);

	return n < 0 ? 0 : n;
}

/* What is readable of a counter that is read as a whole. */
static inline int es_poll_item(int fd)
{
	struct pollfd p = { .fd = fd, .events = POLLIN };

	return poll(&p, 1, 0) == 1 && p.revents & POLLIN ? 8 : 0;
}

/* Ends */

static inline int es_shut_wr(int *fd)
{
	return shutdown(*fd, SHUT_WR) ? -errno : 0;
}

static inline int es_shut_close(int *fd)
{
	int err = close(*fd) ? -errno : 0;

	*fd = -1;
	return err;
}

static inline bool es_queue_empty(int fd, int peer)
{
	return !es_siocoutq(fd) && !es_siocoutq(peer);
}

/* Pairs */

static inline int es_unix_pair(int type, int sv[2])
{
	type |= SOCK_CLOEXEC | SOCK_NONBLOCK;
	return socketpair(AF_UNIX, type, 0, sv) ? -errno : 0;
}

static inline int es_unix_stream_pair(int sv[2])
{
	return es_unix_pair(SOCK_STREAM, sv);
}

static inline int es_unix_seqpacket_pair(int sv[2])
{
	return es_unix_pair(SOCK_SEQPACKET, sv);
}

static inline int es_unix_dgram_pair(int sv[2])
{
	return es_unix_pair(SOCK_DGRAM, sv);
}

/* Two datagram sockets of an address family, connected to each other. */
static inline int es_udp_pair(int family, int sv[2])
{
	struct sockaddr_storage ss[2];
	socklen_t len;
	int i, err = 0;

	sv[0] = -1;
	sv[1] = -1;
	for (i = 0; i < 2 && !err; i++) {
		len = es_loopback(family, &ss[i]);
		sv[i] = socket(family, SOCK_DGRAM | SOCK_CLOEXEC |
			       SOCK_NONBLOCK, 0);
		if (sv[i] < 0 || bind(sv[i], (struct sockaddr *)&ss[i], len) ||
		    getsockname(sv[i], (struct sockaddr *)&ss[i], &len))
			err = -errno;
	}
	for (i = 0; i < 2 && !err; i++)
		err = es_connect(sv[i], &ss[!i]);
	if (err) {
		close(sv[0]);
		close(sv[1]);
	}
	return err;
}

static inline int es_udp4_pair(int sv[2])
{
	return es_udp_pair(AF_INET, sv);
}

static inline int es_udp6_pair(int sv[2])
{
	return es_udp_pair(AF_INET6, sv);
}

static inline int es_pipe_pair(int sv[2])
{
	int fds[2];

	if (pipe2(fds, O_NONBLOCK | O_CLOEXEC))
		return -errno;
	sv[0] = fds[1];
	sv[1] = fds[0];
	return 0;
}

static inline int es_fifo_pair(int sv[2])
{
	char dir[] = "/tmp/epollstate.XXXXXX", path[64];
	int err = 0;

	if (!mkdtemp(dir))
		return -errno;
	snprintf(path, sizeof(path), "%s/fifo", dir);
	if (mkfifo(path, 0600)) {
		err = -errno;
	} else {
		/* The end that reads first: the other one finds it there. */
		sv[1] = open(path, O_RDONLY | O_NONBLOCK | O_CLOEXEC);
		sv[0] = open(path, O_WRONLY | O_NONBLOCK | O_CLOEXEC);
		if (sv[0] < 0 || sv[1] < 0)
			err = -errno;
		unlink(path);
	}
	rmdir(dir);
	return err;
}

static inline int es_pty_pair(int sv[2])
{
	const int flags = O_RDWR | O_NOCTTY | O_NONBLOCK | O_CLOEXEC;
	struct termios raw;
	char path[64];

	sv[0] = open("/dev/ptmx", flags);
	if (sv[0] < 0)
		return -ENODEV;
	if (unlockpt(sv[0]) || ptsname_r(sv[0], path, sizeof(path)))
		return -errno;
	sv[1] = open(path, flags);
	if (sv[1] < 0 || tcgetattr(sv[1], &raw))
		return -errno;
	cfmakeraw(&raw);
	return tcsetattr(sv[1], TCSANOW, &raw) ? -errno : 0;
}

/* A counter of items: each write adds one, each read takes one. */
static inline int es_eventfd_pair(int sv[2])
{
	sv[0] = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC | EFD_SEMAPHORE);
	if (sv[0] < 0)
		return -errno;
	sv[1] = fcntl(sv[0], F_DUPFD_CLOEXEC, 0);
	return sv[1] < 0 ? -errno : 0;
}

/* A timer: it expires when it is told to. */
static inline int es_timerfd_pair(int sv[2])
{
	sv[0] = timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK | TFD_CLOEXEC);
	if (sv[0] < 0)
		return -errno;
	sv[1] = fcntl(sv[0], F_DUPFD_CLOEXEC, 0);
	return sv[1] < 0 ? -errno : 0;
}

static inline ssize_t es_timerfd_send(int fd, uint32_t len)
{
	/* Interval and value, in 64 bits wherever the kernel has such a call. */
	const int64_t now[4] = { 0, 0, 0, 1 };
#ifdef SYS_timerfd_settime64
	const long nr = SYS_timerfd_settime64;
#else
	const long nr = SYS_timerfd_settime;
#endif

	if (syscall(nr, fd, 0, now, NULL))
		return -errno;
	return es_soon(es_poll_item(fd)) ? (ssize_t)len : -ETIME;
}

/* A file, and what happens to it.  No two events in a row are the same. */
static inline int es_inotify_pair(int sv[2])
{
	char name[] = "/tmp/epollstate.XXXXXX", path[64];

	sv[1] = inotify_init1(IN_NONBLOCK | IN_CLOEXEC);
	if (sv[1] < 0)
		return -errno;
	sv[0] = mkostemp(name, O_CLOEXEC);
	unlink(name);
	snprintf(path, sizeof(path), "/proc/self/fd/%d", sv[0]);
	if (inotify_add_watch(sv[1], path, IN_MODIFY | IN_ATTRIB) < 0)
		return -errno;
	return 0;
}

static inline ssize_t es_inotify_send(int fd, uint32_t len)
{
	/* The mode of the file remembers what was last. */
	struct stat st;

	if (fstat(fd, &st))
		return -errno;
	if (st.st_size % 2 == (st.st_mode & 1)) {
		if (fchmod(fd, st.st_mode ^ 1))
			return -errno;
	} else if (write(fd, "x", 1) != 1) {
		return -errno;
	}
	return len;
}

/* vsock, over the loopback transport. */
static inline int es_vsock_pair(int type, int sv[2])
{
	struct sockaddr_vm svm = {
		.svm_family = AF_VSOCK,
		.svm_cid = VMADDR_CID_LOCAL,
		.svm_port = VMADDR_PORT_ANY,
	};
	int lfd = socket(AF_VSOCK, type | SOCK_CLOEXEC, 0), err = 0;
	socklen_t len = sizeof(svm);

	if (lfd < 0)
		return -errno;
	sv[0] = socket(AF_VSOCK, type | SOCK_CLOEXEC, 0);
	if (bind(lfd, (struct sockaddr *)&svm, len) || listen(lfd, 1) ||
	    getsockname(lfd, (struct sockaddr *)&svm, &len) ||
	    connect(sv[0], (struct sockaddr *)&svm, len))
		err = -errno;
	sv[1] = err ? -1 : accept4(lfd, NULL, NULL,
				   SOCK_CLOEXEC | SOCK_NONBLOCK);
	if (!err && sv[1] < 0)
		err = -errno;
	close(lfd);
	es_nonblock(sv[0]);
	return err;
}

static inline int es_vsock_stream_pair(int sv[2])
{
	return es_vsock_pair(SOCK_STREAM, sv);
}

static inline int es_vsock_seqpacket_pair(int sv[2])
{
	return es_vsock_pair(SOCK_SEQPACKET, sv);
}

/*
 * One worker carries all that goes through the loopback, in its order, and wakes
 * after the data can be seen: behind a byte of another pair nothing is under way.
 */
static inline bool es_vsock_idle(int fd, int peer)
{
	static int sv[2] = { -1, -1 };
	struct pollfd p = { .events = POLLIN };

	if (!es_queue_empty(fd, peer))
		return false;
	if (sv[0] < 0 && es_vsock_pair(SOCK_STREAM, sv))
		return false;
	p.fd = sv[1];
	return es_write(sv[0], 1) == 1 && poll(&p, 1, ES_DEADLINE_MS) == 1 &&
	       es_read(sv[1], 1) == 1;
}

/* The types */

#define ES_TCP(af)							\
	.name = #af,							\
	.pair = es_##af##_pair,						\
	.idle = es_tcp_idle,						\
	.jam = es_tcp_jam,						\
	.both = true,							\
	.per_byte = true,						\
	.depth = 500,							\
	.hold = 64000,							\
	.volume = 6 << 20,						\
	.rcv = es_fionread,						\
	.arrived = es_fionread,						\
	.outq = es_outq_own,						\
	.unsent = es_siocoutqnsd,					\
	.shut = es_shut_wr,						\
	.eof = ES_IO

static const es_unused struct es_type es_tcp4 = { ES_TCP(tcp4) };
static const es_unused struct es_type es_tcp6 = { ES_TCP(tcp6) };

static const es_unused struct es_type es_unix_stream = {
	.name = "unix_stream",
	.pair = es_unix_stream_pair,
	.both = true,
	/* Each write costs a buffer, whatever little is in it. */
	.depth = 200,
	.hold = 64000,
	.volume = 6 << 20,
	.rcv = es_fionread,
	.arrived = es_fionread,
	.outq = es_outq_peer,
	.shut = es_shut_wr,
	.eof = ES_IO,
};

static const es_unused struct es_type es_unix_seqpacket = {
	.name = "unix_seqpacket",
	.pair = es_unix_seqpacket_pair,
	.messages = true,
	.msgs = true,
	.both = true,
	.max = 100000,
	.depth = 200,
	.hold = 64000,
	.volume = 3 << 20,
	.rcv = es_peek_len,
	.outq = es_outq_peer,
	.shut = es_shut_wr,
	.eof = ES_IO,
};

static const es_unused struct es_type es_unix_dgram = {
	.name = "unix_dgram",
	.pair = es_unix_dgram_pair,
	.messages = true,
	.msgs = true,
	.both = true,
	.max = 100000,
	/* net.unix.max_dgram_qlen, which may be as little as this. */
	.depth = 10,
	.hold = 64000,
	.volume = 3 << 20,
	.rcv = es_fionread,
	.outq = es_outq_own,
};

#define ES_UDP(af)							\
	.name = #af,							\
	.pair = es_##af##_pair,						\
	.idle = es_queue_empty,						\
	.messages = true,						\
	.msgs = true,							\
	.both = true,							\
	.uncounted = true,						\
	.lossy = true,							\
	.max = 65507,							\
	.depth = 200,							\
	.hold = 64000,							\
	.volume = 1 << 20,						\
	.rcv = es_fionread,						\
	.arrived = es_rmem,						\
	.dropped = es_drops,						\
	.outq = es_outq_own

static const es_unused struct es_type es_udp4 = { ES_UDP(udp4) };
static const es_unused struct es_type es_udp6 = { ES_UDP(udp6) };

#define ES_PIPE(kind)							\
	.name = #kind,							\
	.pair = es_##kind##_pair,					\
	.by_page = true,						\
	.depth = 500,							\
	.hold = 32000,							\
	.volume = 3 << 20,						\
	.rcv = es_fionread,						\
	.arrived = es_fionread,						\
	.outq = es_outq_peer,						\
	.shut = es_shut_close,						\
	.eof = EPOLLHUP

static const es_unused struct es_type es_pipe = { ES_PIPE(pipe) };
static const es_unused struct es_type es_fifo = { ES_PIPE(fifo) };

static const es_unused struct es_type es_pty = {
	.name = "pty",
	.pair = es_pty_pair,
	.both = true,
	.uncounted = true,
	.max = 1000,
	.depth = 500,
	/* What a line discipline holds for its reader. */
	.hold = 4095,
	.most = 4095,
	.volume = 200000,
	.rcv = es_fionread,
	.arrived = es_fionread,
	/* What is on its way to the reader is not to be seen by the writer. */
	.outq = es_outq_none,
};

static const es_unused struct es_type es_eventfd = {
	.name = "eventfd",
	.pair = es_eventfd_pair,
	.messages = true,
	.msgs = true,
	/* Signals with a read in between leave its counter as it was. */
	.uncounted = true,
	.one_file = true,
	.item = 8,
	.depth = 500,
	.hold = 64000,
	.volume = 800,
	.rcv = es_poll_item,
	.outq = es_outq_none,
};

static const es_unused struct es_type es_timerfd = {
	.name = "timerfd",
	.pair = es_timerfd_pair,
	.send = es_timerfd_send,
	.messages = true,
	.level = true,
	.uncounted = true,
	.one_file = true,
	.item = 8,
	.depth = 500,
	.hold = 64000,
	.rcv = es_poll_item,
	.outq = es_outq_none,
};

static const es_unused struct es_type es_inotify = {
	.name = "inotify",
	.pair = es_inotify_pair,
	.send = es_inotify_send,
	/* Events of a file of its own: without a name, of one size. */
	.item = 16,
	.msgs = true,
	.depth = 500,
	.hold = 64000,
	.rcv = es_fionread,
	.arrived = es_fionread,
	.outq = es_outq_none,
};

static const es_unused struct es_type es_vsock_stream = {
	.name = "vsock_stream",
	.pair = es_vsock_stream_pair,
	/* Handed to the peer, that is: what it reads is something else. */
	.idle = es_vsock_idle,
	.both = true,
	.handed = true,
	.depth = 200,
	.hold = 64000,
	.volume = 1 << 20,
	.rcv = es_peek_all,
	.arrived = es_peek_all,
	.outq = es_outq_own,
	.shut = es_shut_wr,
	.eof = ES_IO,
};

static const es_unused struct es_type es_vsock_seqpacket = {
	.name = "vsock_seqpacket",
	.pair = es_vsock_seqpacket_pair,
	.idle = es_vsock_idle,
	.messages = true,
	.msgs = true,
	.both = true,
	.handed = true,
	.torn = true,
	.max = 60000,
	.depth = 200,
	.hold = 64000,
	.volume = 1 << 20,
	.rcv = es_peek_len,
	.outq = es_outq_own,
	.shut = es_shut_wr,
	.eof = ES_IO,
};

/*
 * What each type is able to do.  A row that is taken out is a type that is
 * not tested.
 *
 *	both	each end reads and writes
 *	room	the end that sends tells of room that came back
 *	full	it can be filled until EAGAIN, and only a reader changes that (not
 *		a pty, whose input goes on by itself to where it is read)
 *	eof	what sends can end while the other end can still read
 *	sum	how much is queued can be told: rcv or msgs grow
 *	lazy	only who found no room is told when there is some again, but for
 *		EPOLLSTATE
 *	map	a BPF map of sockets can hold it
 */
#define ES_TYPES(X, fixture)						\
	/*	    type	     both room full eof sum lazy map */ \
	X(fixture,  tcp4,            1,   1,   1,   1,  1,  1,   1)	\
	X(fixture,  tcp6,            1,   1,   1,   1,  1,  1,   1)	\
	X(fixture,  unix_stream,     1,   1,   1,   1,  1,  0,   1)	\
	X(fixture,  unix_seqpacket,  1,   1,   1,   1,  1,  0,   0)	\
	X(fixture,  unix_dgram,      1,   1,   1,   0,  1,  0,   1)	\
	X(fixture,  udp4,            1,   1,   0,   0,  1,  0,   1)	\
	X(fixture,  udp6,            1,   1,   0,   0,  1,  0,   1)	\
	X(fixture,  vsock_stream,    1,   1,   0,   1,  1,  0,   1)	\
	X(fixture,  vsock_seqpacket, 1,   1,   0,   1,  1,  0,   1)	\
	X(fixture,  pipe,            0,   1,   1,   1,  1,  1,   0)	\
	X(fixture,  fifo,            0,   1,   1,   1,  1,  1,   0)	\
	X(fixture,  pty,             1,   1,   0,   0,  1,  0,   0)	\
	X(fixture,  eventfd,         0,   1,   0,   0,  1,  0,   0)	\
	X(fixture,  timerfd,         0,   0,   0,   0,  0,  0,   0)	\
	X(fixture,  inotify,         0,   0,   0,   0,  1,  0,   0)

#define ES_ADD_0(fixture, type_name)
#define ES_ADD_1(fixture, type_name)					\
	FIXTURE_VARIANT_ADD(fixture, type_name) {			\
		.type = &es_##type_name,				\
	};

/* For a list of them all. */
#define ES_POINTER(unused, type_name, ...)	&es_##type_name,

#define ES_ADD_ALL(f, t, both, room, full, eof, sum, lazy, map) \
	ES_ADD_1(f, t)
#define ES_ADD_BOTH(f, t, both, room, full, eof, sum, lazy, map) \
	ES_ADD_##both(f, t)
#define ES_ADD_ROOM(f, t, both, room, full, eof, sum, lazy, map) \
	ES_ADD_##room(f, t)
#define ES_ADD_FULL(f, t, both, room, full, eof, sum, lazy, map) \
	ES_ADD_##full(f, t)
#define ES_ADD_EOF(f, t, both, room, full, eof, sum, lazy, map) \
	ES_ADD_##eof(f, t)
#define ES_ADD_LAZY(f, t, both, room, full, eof, sum, lazy, map) \
	ES_ADD_##lazy(f, t)
#define ES_ADD_MAP(f, t, both, room, full, eof, sum, lazy, map) \
	ES_ADD_##map(f, t)
#define ES_ADD_SUM(f, t, both, room, full, eof, sum, lazy, map) \
	ES_ADD_##sum(f, t)

/* What was sent and not read yet, as an application would keep account. */
struct es_queue {
	unsigned int n;
	uint32_t size[1024];	/* a byte stream is one growing message */
};

/*
 * A fixture that is an epoll and a pair of each type that has an ability
 * (ALL, BOTH, ROOM, FULL, EOF, SUM, LAZY, MAP); SENDER or RECEIVER is
 * registered.
 */
#define ES_FIXTURE(fixture, end, ability)				\
FIXTURE(fixture)							\
{									\
	int ep;								\
	int fd;								\
	int peer;							\
	struct es_queue queue;						\
};									\
									\
FIXTURE_VARIANT(fixture)						\
{									\
	const struct es_type *type;					\
};									\
									\
ES_TYPES(ES_ADD_##ability, fixture)					\
									\
FIXTURE_SETUP(fixture)							\
{									\
	int sv[2];							\
									\
	ES_SETUP(variant->type->pair(sv), sv, end);			\
}									\
									\
FIXTURE_TEARDOWN(fixture)						\
{									\
	ES_TEARDOWN();							\
}

enum { SENDER = 0, RECEIVER = 1 };

/* The next best size that the type has, if it does not have @len. */
static inline uint32_t es_len(const struct es_type *t, uint32_t len)
{
	if (t->item)
		return t->item;
	return t->max && len > t->max ? t->max : len;
}

static inline bool es_idle(const struct es_type *t, int fd, int peer)
{
	return !t->idle || t->idle(fd, peer);
}

/* The end that sends, of a pair. */
static inline ssize_t es_send(const struct es_type *t, int fd, uint32_t len)
{
	return t->send ? t->send(fd, len) : es_write(fd, len);
}

/* Sends @len bytes, and waits until they have arrived. */
static inline ssize_t es_deliver(const struct es_type *t, int from, int to,
				 uint32_t len)
{
	const int had = t->arrived ? t->arrived(to) : 0;
	ssize_t n = es_send(t, from, len);

	if (n < 0 || !t->arrived)
		return n;
	if (!es_until(t->messages ? t->arrived(to) > had :
		      t->arrived(to) == had + n))
		return -ETIME;
	return n;
}

static inline void es_queue_put(struct es_queue *q, const struct es_type *t,
				uint32_t len)
{
	if (t->level)
		q->n = 0;
	if (!q->n || t->messages)
		q->size[q->n++] = 0;
	q->size[q->n - 1] += len;
}

/* What reading @len bytes returns. */
static inline ssize_t es_queue_take(struct es_queue *q,
				    const struct es_type *t, uint32_t len)
{
	if (!q->n)
		return -EAGAIN;
	if (len > q->size[0])
		len = q->size[0];
	q->size[0] -= len;
	if (t->messages || !q->size[0]) {
		q->n--;
		memmove(q->size, q->size + 1, q->n * sizeof(q->size[0]));
	}
	return len;
}

static inline uint32_t es_queue_rcv(const struct es_queue *q)
{
	return q->n ? q->size[0] : 0;
}

static inline uint32_t es_queue_msgs(const struct es_queue *q,
				     const struct es_type *t)
{
	if (!t->msgs)
		return 0;
	return t->messages ? q->n : es_queue_rcv(q) / t->item;
}

/* In a test of a fixture as above: */

/* All that a registration asks for that is to hear of input. */
#define ES_IN	(variant->type->one_file ? EPOLLIN : ES_IO)
/* All that one asks for that is to hear of send space. */
#define ES_ROOM	(variant->type->one_file ? EPOLLOUT : ES_IO)
/* What an end that receives is besides, if it was asked for: it sends too. */
#define ES_ALSO	(variant->type->both ? EPOLLOUT : 0)

/* Wait until nothing is under way between the two ends. */
#define SETTLE()							\
	ASSERT_TRUE(es_until(es_idle(variant->type, self->fd, self->peer)))

/* The peer sends, and all of it has arrived. */
#define ARRIVE(bytes)							\
do {									\
	const uint32_t __len = es_len(variant->type, bytes);		\
									\
	ASSERT_EQ(__len, es_deliver(variant->type, self->peer,		\
				    self->fd, __len));			\
	es_queue_put(&self->queue, variant->type, __len);		\
	SETTLE();							\
} while (0)

/* One read, which returns what is to be had. */
#define TAKE(bytes)							\
do {									\
	const uint32_t __len = es_len(variant->type, bytes);		\
									\
	ASSERT_EQ(es_queue_take(&self->queue, variant->type, __len),	\
		  es_read(self->fd, __len));				\
} while (0)

/* The record says of input what is there, and so does the oracle. */
#define EXPECT_INPUT(st)						\
do {									\
	EXPECT_EQ(es_queue_rcv(&self->queue), (st).rcv);		\
	EXPECT_EQ(es_queue_msgs(&self->queue, variant->type), (st).msgs); \
	EXPECT_EQ(variant->type->rcv(self->fd), (st).rcv);		\
} while (0)

/* The end that sends has not got rid of everything yet. */
#define OUTQ()	variant->type->outq(self->fd, self->peer)

/* The peer takes all that was sent, and it is known to have left. */
#define DRAIN()								\
do {									\
	do {								\
		es_drain(self->peer);					\
		SETTLE();						\
	} while (OUTQ());						\
} while (0)

/* Write until nothing more is taken and nothing moves any more. */
static inline size_t es_fill(const struct es_type *t, int fd, int peer)
{
	const uint32_t len = es_len(t, 65536);
	size_t sum = 0;
	ssize_t n;

	do {
		while ((n = es_write(fd, len)) > 0)
			sum += n;
	} while (es_until(es_idle(t, fd, peer)) &&
		 (n = es_write(fd, len)) > 0 && (sum += n));
	return sum;
}

/* Nothing leaves @fd from now on, and something is queued. */
static inline bool es_jam(const struct es_type *t, int fd, int peer)
{
	if (t->jam)
		return t->jam(fd, peer);
	return es_write(fd, es_len(t, 100)) > 0;
}

#endif /* _EPOLLSTATE_TYPES_H */
