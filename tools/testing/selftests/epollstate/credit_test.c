// SPDX-License-Identifier: GPL-2.0
/*
 * R7: credit flows back.  A sender that never tries to send more than it was
 * told never stalls, meets neither EAGAIN nor a short write, is not woken too
 * often, and is as fast over a slow link as one that fills the buffer until
 * EAGAIN.
 */

#include <signal.h>
#include <stdarg.h>

#include "common.h"

ES_FIXTURE(credit, SENDER, ROOM)

/* Of those: a sender can fill it. */
ES_FIXTURE(full, SENDER, FULL)

/* Of those: input comes as well. */
ES_FIXTURE(both, SENDER, BOTH)

TEST_F(credit, r7_each_write_that_has_left_is_told)
{
	const uint32_t len = es_len(variant->type, 20000);
	struct epoll_state st;
	int i;

	REGISTER(EPOLLOUT, &st);
	/* Never near a full buffer, never an EAGAIN. */
	for (i = 0; i < 20; i++) {
		ASSERT_LE(len, st.snd);
		ASSERT_EQ(len, es_write(self->fd, len));
		do {
			es_drain(self->peer);
			ASSERT_EQ(4, es_next(self->ep, &st));
			EXPECT_EQ(EPOLLSTATE | EPOLLOUT, st.events);
		} while (st.outq);
	}
	SETTLE();
	/* It had been handed over, and is told again once it was read. */
	if (variant->type->handed && es_wait(self->ep, &st, 0))
		EXPECT_EQ(0, st.outq);
	if (!variant->type->uncounted)
		EXPECT_EQ(0, es_pending(self->ep));
}

TEST_F(credit, r7_the_least_that_has_left_is_told)
{
	const uint32_t len = es_len(variant->type, 1);
	struct epoll_state st;
	int i;

	REGISTER(ES_ROOM, &st);
	for (i = 0; i < 10; i++) {
		ASSERT_EQ(len, es_write(self->fd, len));
		ASSERT_TRUE(es_until(es_drain(self->peer) == len));
		SETTLE();
		ASSERT_EQ(4, es_next(self->ep, &st));
		EXPECT_EQ(0, st.outq);
		if (!variant->type->uncounted)
			EXPECT_EQ(i + 1, st.seq);
	}
}

/*
 * Writes within the credit are taken whole.  Where the promise is of one write
 * and not of many, a later one may find less room: then there is none until
 * the next record, as epollstate_did_write() has it.
 */
#define SEND(len)							\
do {									\
	const ssize_t __n = es_write(self->fd, len);			\
									\
	if (variant->type->per_byte || fresh)				\
		ASSERT_EQ(len, __n);					\
	fresh = false;							\
	if (__n > 0)							\
		sent += __n;						\
	credit = __n == (len) ? credit - (len) : 0;			\
} while (0)

TEST_F_TIMEOUT(credit, r7_a_sender_within_its_credit_never_stalls,
	       ES_TIMEOUT)
{
	const size_t total = variant->type->volume;
	struct es_rnd rnd = es_seed();
	size_t sent = 0, got = 0;
	struct epoll_state st;
	uint32_t credit, n;
	bool fresh = true;

	REGISTER(EPOLLOUT, &st);
	credit = st.snd;
	while (sent < total) {
		while (credit && es_rnd(&rnd) % 8) {
			n = es_len(variant->type, es_rnd_upto(&rnd, 100000));
			if (n > credit)
				n = credit;
			SEND(n);
		}
		/* Less than a whole message would lose the rest of it. */
		n = es_read(self->peer, variant->type->messages ?
			    es_len(variant->type, ES_BUF_SIZE) :
			    es_rnd_upto(&rnd, 200000));
		if ((int)n > 0)
			got += n;
		if (es_wait(self->ep, &st, 0) == 4) {
			credit = st.snd;
			fresh = true;
		}
		if (credit)
			continue;
		/* Nothing can be done but wait: it has to come. */
		do {
			n = es_drain(self->peer);
			got += n;
			ASSERT_LE(0, es_wait(self->ep, &st, n ? 0 : 5));
			if (st.events)
				credit = st.snd;
		} while (!credit && (n || OUTQ()));
		if (!credit && variant->type->handed) {
			/* Gone to the peer, where it has to be read yet. */
			ASSERT_TRUE(es_until(({
				got += es_drain(self->peer);
				es_wait(self->ep, &st, 0) == 4 && st.snd;
			}))) {
				TH_LOG("stalled: %zu sent, %zu got", sent, got);
			}
			credit = st.snd;
		} else if (!credit) {
			ASSERT_EQ(4, es_next(self->ep, &st)) {
				TH_LOG("stalled: %zu sent, %zu got", sent, got);
			}
			credit = st.snd;
			ASSERT_LT(0, credit);
		}
		fresh = true;
	}
	/* A queue that is full drops what does not fit. */
	if (variant->type->lossy)
		return;
	while (got < sent) {
		ASSERT_TRUE(es_until((n = es_drain(self->peer))));
		got += n;
	}
	EXPECT_EQ(sent, got);
}

/* An application with fixed-size messages waits until one fits. */
TEST_F_TIMEOUT(credit, r7_a_sender_of_fixed_messages_never_stalls,
	       ES_TIMEOUT)
{
	static const uint32_t sizes[] = { 1000, 20000, 30000 };
	struct epoll_state st;
	bool fresh = true;
	uint32_t credit;
	size_t sent = 0;
	size_t i;
	int k;

	REGISTER(EPOLLOUT, &st);
	credit = st.snd;
	for (i = 0; i < ARRAY_SIZE(sizes); i++) {
		const uint32_t size = es_len(variant->type, sizes[i]);

		for (k = 0; k < 60; k++) {
			while (credit < size) {
				es_drain(self->peer);
				if (es_wait(self->ep, &st, 0) != 4) {
					SETTLE();
					if (es_drain(self->peer))
						continue;
					ASSERT_EQ(4, es_next(self->ep, &st));
				}
				credit = st.snd;
				fresh = true;
			}
			SEND(size);
			/* Room for one write, not always for another. */
			if (!variant->type->per_byte)
				credit = 0;
		}
	}
}

TEST_F(full, r7_a_full_buffer_is_told_when_it_drains)
{
	struct epoll_state st;
	int i;

	REGISTER(EPOLLOUT, &st);
	for (i = 0; i < 3; i++) {
		/* Up to EAGAIN, as nobody would who listens to credit. */
		es_fill(variant->type, self->fd, self->peer);
		while (es_wait(self->ep, &st, 0) == 4)
			;
		do {
			es_drain(self->peer);
			SETTLE();
			if (OUTQ())
				continue;
			ASSERT_EQ(4, es_next(self->ep, &st));
			EXPECT_EQ(EPOLLSTATE | EPOLLOUT, st.events);
			EXPECT_LT(0, st.snd);
		} while (OUTQ());
		while (st.outq)
			ASSERT_EQ(4, es_next(self->ep, &st));
	}
}

TEST_F(credit, r7_without_epollout_asked_for_space_is_never_told)
{
	const uint32_t len = es_len(variant->type, 20000);
	struct epoll_state st;
	int i;

	/* One file: what is written is input. */
	REGISTER(variant->type->one_file ? EPOLLRDHUP :
		 EPOLLIN | EPOLLRDHUP, &st);
	for (i = 0; i < 10; i++) {
		ASSERT_EQ(len, es_write(self->fd, len));
		DRAIN();
		EXPECT_EQ(0, es_pending(self->ep));
	}
}

TEST_F(full, r7_without_epollout_asked_for_room_again_is_never_told)
{
	struct epoll_state st;

	REGISTER(EPOLLIN | EPOLLRDHUP, &st);
	es_fill(variant->type, self->fd, self->peer);
	DRAIN();
	EXPECT_EQ(0, es_pending(self->ep));
}

/* Another record takes the space along, and that is all of it, once. */
TEST_F(both, r7_space_comes_with_any_record)
{
	const uint32_t len = es_len(variant->type, 20000);
	struct epoll_state st;

	REGISTER(ES_IO, &st);
	ASSERT_EQ(len, es_write(self->fd, len));
	ARRIVE(100);
	DRAIN();
	ASSERT_EQ(4, es_next(self->ep, &st));
	EXPECT_INPUT(st);
	EXPECT_EQ(0, st.outq);
	EXPECT_EQ(1, st.seq);
	EXPECT_EQ(0, es_pending(self->ep));
}

/* What only TCP has: buffers of a given size, and its low-water mark. */

FIXTURE(tcp_credit)
{
	struct es_rnd rnd;
	int ep;
	int fd;
	int peer;
};

FIXTURE_VARIANT(tcp_credit)
{
	int family;
	int sndbuf;
	int mss;
	int lowat;
};

FIXTURE_VARIANT_ADD(tcp_credit, tcp4_sndbuf4608) {
	.family = AF_INET, .sndbuf = 4608, .mss = 536 };
FIXTURE_VARIANT_ADD(tcp_credit, tcp4_sndbuf4608_large_mss) {
	.family = AF_INET, .sndbuf = 4608 };
FIXTURE_VARIANT_ADD(tcp_credit, tcp4_sndbuf64k) {
	.family = AF_INET, .sndbuf = 65536, .mss = 1448 };
FIXTURE_VARIANT_ADD(tcp_credit, tcp6_sndbuf256k) {
	.family = AF_INET6, .sndbuf = 262144, .mss = 1220 };
FIXTURE_VARIANT_ADD(tcp_credit, tcp4_notsent_lowat16k) {
	.family = AF_INET, .sndbuf = 262144, .mss = 1448, .lowat = 16384 };

FIXTURE_SETUP(tcp_credit)
{
	const struct es_tcp_opts o = {
		.family = variant->family,
		.sndbuf = variant->sndbuf,
		.mss = variant->mss,
		/* Small, so that the queue is never empty by itself. */
		.rcvbuf = 16384,
	};
	int sv[2];

	ES_SETUP(es_tcp_pair_opts(&o, sv), sv, SENDER);
	if (variant->lowat)
		ASSERT_EQ(0, es_set_opt(self->fd, IPPROTO_TCP,
					TCP_NOTSENT_LOWAT, variant->lowat));
	self->rnd = es_seed();
}

FIXTURE_TEARDOWN(tcp_credit)
{
	ES_TEARDOWN();
}

/*
 * The receiver takes some whenever the connection has come to rest.  So each
 * round ends in a known state, and each record can be judged by itself.
 */
TEST_F_TIMEOUT(tcp_credit, r7_records_of_space_are_few_and_worth_it,
	       ES_TIMEOUT)
{
	const int sndbuf = es_int_opt(self->fd, SOL_SOCKET, SO_SNDBUF);
	const uint32_t unit = variant->lowat ?: sndbuf;
	/* At least three buffers' worth, in not too many rounds. */
	const size_t total = 3 * sndbuf > 60000 ? 3 * sndbuf : 60000;
	size_t sent = 0, acked = 0, told_acked = 0;
	unsigned int records = 0, stalls = 0;
	struct epoll_state st;
	uint32_t credit, n;

	ASSERT_EQ(0, es_add(self->ep, self->fd, EPOLLOUT | EPOLLSTATE));
	ASSERT_EQ(4, es_wait(self->ep, &st, 0));
	credit = st.snd;
	while (sent < total) {
		while (credit) {
			n = es_rnd_upto(&self->rnd, unit);
			if (n > credit)
				n = credit;
			ASSERT_EQ(n, es_write(self->fd, n));
			credit -= n;
			sent += n;
		}
		es_read(self->peer, es_rnd_upto(&self->rnd, 2 * unit));
		TCP_SETTLE();
		/* What a closed window holds back comes by a timer. */
		while (es_wait(self->ep, &st, stalls > 10) == 4) {
			records++;
			stalls = 0;
			credit = st.snd;
			acked = sent - st.outq;
			/* Worth telling: a quarter, or all. */
			if (st.outq && !variant->lowat)
				EXPECT_LE(told_acked + sndbuf / 4, acked);
			told_acked = acked;
		}
		ASSERT_GT(10000, ++stalls) {
			TH_LOG("stalled: %zu sent, outq %d, inq %d", sent,
			       es_siocoutq(self->fd),
			       es_fionread(self->peer));
		}
	}
	/* Per buffer's worth of data no more than eight. */
	EXPECT_GE(8 * (sent / unit + 1), records);
	TH_LOG("%u records for %zu bytes, sndbuf %d", records, sent, sndbuf);
}

/*
 * Bytes leave twice below TCP_NOTSENT_LOWAT, and once if the send buffer is the
 * smaller one.  Auto-tuning, or a program, may make one of the other.
 */
TEST(r7_a_buffer_that_outgrows_the_low_water_mark_tells_of_space)
{
	const struct es_tcp_opts o = {
		.family = AF_INET, .sndbuf = 32768, .rcvbuf = 16384,
		.mss = 1448,
	};
	struct epoll_state st;
	int i, ep, sv[2];
	bool told;

	ES_REQUIRE_KERNEL();
	/* Where the numbers of a connection begin is random. */
	for (i = 0; i < 24; i++) {
		ASSERT_EQ(0, es_tcp_pair_opts(&o, sv));
		ASSERT_EQ(0, es_set_opt(sv[0], IPPROTO_TCP, TCP_NOTSENT_LOWAT,
					65536));
		ep = epoll_create1(EPOLL_CLOEXEC);
		ASSERT_EQ(0, es_add(ep, sv[0], EPOLLOUT | EPOLLSTATE));
		/* The peer takes no more, and room is left. */
		do {
			ASSERT_EQ(1448, es_write(sv[0], 1448));
			ASSERT_TRUE(es_until(es_tcp_idle(sv[0], sv[1])));
		} while (es_siocoutq(sv[0]) < 4000);
		while (es_wait(ep, &st, 0) == 4)
			EXPECT_TRUE(st.events & EPOLLOUT);

		ASSERT_EQ(0, es_set_buf(sv[0], true, 400000));
		ASSERT_EQ(20000, es_write(sv[0], 20000));
		while (es_wait(ep, &st, 0) == 4)
			EXPECT_TRUE(st.events & EPOLLOUT);
		told = false;
		do {
			es_read(sv[1], 4000);
			ASSERT_TRUE(es_until(es_tcp_idle(sv[0], sv[1])));
			while (es_wait(ep, &st, 0) == 4)
				told |= st.outq != 0;
		} while (es_siocoutq(sv[0]));
		/* Not only when all is gone. */
		EXPECT_TRUE(told);
		close(ep);
		close(sv[0]);
		close(sv[1]);
	}
}

/* So slow that the send side backs up also in a kernel full of checkers. */

#define LINK_RATE	"4mbit"
#define LINK_DELAY	"250ms"
#define LINK_BYTES	(1 << 20)
#define LINK_HOLDS	125000	/* bytes that are on their way */

FIXTURE(link)
{
	struct es_rnd rnd;
	pid_t holder;		/* keeps the receiver's namespace */
	int ns_send, ns_recv;
	int ep;
	int lfd;
	struct sockaddr_storage ss;
};

FIXTURE_VARIANT(link)
{
	int family;
};

ES_TCP_VARIANTS(link);

/* The path of a command, or NULL.  A shell might have a smaller one built in. */
static const char *es_tool(const char *name)
{
	static const char * const dirs[] = {
		"/sbin", "/usr/sbin", "/bin", "/usr/bin", "/usr/local/sbin",
	};
	static char path[64];
	size_t i;

	for (i = 0; i < ARRAY_SIZE(dirs); i++) {
		snprintf(path, sizeof(path), "%s/%s", dirs[i], name);
		if (!access(path, X_OK))
			return path;
	}
	return NULL;
}

/* Runs ip or tc with the arguments given; its exit status. */
static int es_run(const char *tool, const char *fmt, ...)
	__attribute__((format(printf, 2, 3)));

static int es_run(const char *tool, const char *fmt, ...)
{
	char args[256], cmd[512];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(args, sizeof(args), fmt, ap);
	va_end(ap);
	snprintf(cmd, sizeof(cmd), "%s %s >/dev/null 2>&1", es_tool(tool),
		 args);
	return system(cmd);
}

FIXTURE_SETUP(link)
{
	socklen_t len;
	char path[64];

	ES_REQUIRE_KERNEL();
	ES_REQUIRE_ROOT();
	if (!es_tool("ip") || !es_tool("tc"))
		SKIP(return, "ip or tc is missing");
	self->rnd = es_seed();
	if (es_new_netns())
		SKIP(return, "no network namespaces");
	self->holder = fork();
	ASSERT_LE(0, self->holder);
	if (!self->holder) {
		pause();
		_exit(0);
	}
	snprintf(path, sizeof(path), "/proc/%d/ns/net", self->holder);
	self->ns_recv = open(path, O_RDONLY | O_CLOEXEC);
	ASSERT_LE(0, self->ns_recv);
	ASSERT_EQ(0, es_new_netns());
	self->ns_send = open("/proc/self/ns/net", O_RDONLY | O_CLOEXEC);
	ASSERT_LE(0, self->ns_send);

	if (es_run("ip", "link add es0 type veth peer name es1") ||
	    es_run("ip", "link set es1 netns %d", self->holder) ||
	    es_run("ip", "addr add 10.77.0.1/24 dev es0") ||
	    es_run("ip", "link set es0 up"))
		SKIP(goto out, "no veth");
	es_run("ip", "-6 addr add fd77::1/64 dev es0 nodad");
	if (es_run("tc", "qdisc add dev es0 root netem limit 1000 delay %s "
		   "rate %s", LINK_DELAY, LINK_RATE))
		SKIP(goto out, "no netem");
	ASSERT_EQ(0, setns(self->ns_recv, CLONE_NEWNET));
	ASSERT_EQ(0, es_run("ip", "addr add 10.77.0.2/24 dev es1"));
	ASSERT_EQ(0, es_run("ip", "link set es1 up"));
	if (es_run("ip", "-6 addr add fd77::2/64 dev es1 nodad") &&
	    variant->family == AF_INET6)
		SKIP(goto out, "no IPv6");

	self->ss.ss_family = variant->family;
	if (variant->family == AF_INET) {
		inet_pton(AF_INET, "10.77.0.2",
			  &((struct sockaddr_in *)&self->ss)->sin_addr);
		len = sizeof(struct sockaddr_in);
	} else {
		inet_pton(AF_INET6, "fd77::2",
			  &((struct sockaddr_in6 *)&self->ss)->sin6_addr);
		len = sizeof(struct sockaddr_in6);
	}
	self->lfd = socket(variant->family, SOCK_STREAM | SOCK_CLOEXEC, 0);
	ASSERT_LE(0, self->lfd);
	ASSERT_TRUE(es_until(!bind(self->lfd, (struct sockaddr *)&self->ss,
				   len)));
	ASSERT_EQ(0, listen(self->lfd, 8));
	ASSERT_EQ(0, getsockname(self->lfd, (struct sockaddr *)&self->ss,
				 &len));
	ASSERT_EQ(0, setns(self->ns_send, CLONE_NEWNET));
	self->ep = epoll_create1(EPOLL_CLOEXEC);
	ASSERT_LE(0, self->ep);
	return;
out:
	kill(self->holder, SIGKILL);
	waitpid(self->holder, NULL, 0);
}

FIXTURE_TEARDOWN(link)
{
	close(self->ep);
	close(self->lfd);
	kill(self->holder, SIGKILL);
	waitpid(self->holder, NULL, 0);
}

struct es_transfer {
	uint64_t ms;		/* until the receiver had all of it */
	int records;		/* or events */
	int space_records;	/* that carried nothing but space */
	int eagain;
	int short_writes;
	int empty;		/* how often the queue had run empty */
	int sndbuf;		/* what tuning made of it */
	uint64_t limited;	/* tcpi_sndbuf_limited */
	int early;		/* space told before a quarter had left */
};

/* A child accepts one connection, reads @total bytes, and ends. */
static pid_t es_receiver(int lfd, size_t total)
{
	size_t got = 0;
	pid_t pid = fork();
	ssize_t n = 1;
	int fd;

	if (pid)
		return pid;
	fd = accept4(lfd, NULL, NULL, SOCK_CLOEXEC);
	while (got < total && n > 0) {
		n = es_read(fd, 1 << 18);
		if (n > 0)
			got += n;
	}
	/* Until the sender closes. */
	if (es_read(fd, 1) != 0)
		_exit(1);
	_exit(got == total ? 0 : 1);
}

static int es_link_connect(const struct sockaddr_storage *ss)
{
	int fd = -1;

	es_until(({
		close(fd);
		fd = socket(ss->ss_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
		!es_connect(fd, ss);
	}));
	es_nonblock(fd);
	return fd;
}

/* The whole of @total, either within the credit told or until EAGAIN. */
static int es_transfer(int ep, int lfd, const struct sockaddr_storage *ss,
		       bool by_credit, size_t total, struct es_transfer *t)
{
	const uint32_t mode = by_credit ? EPOLLSTATE : EPOLLET;
	uint64_t start = es_now_ms();
	size_t sent = 0, told_acked = 0;
	int told_sndbuf = 0;
	struct epoll_state st;
	struct tcp_info ti;
	uint32_t credit = 0;
	int fd, status, n;
	pid_t pid;

	memset(t, 0, sizeof(*t));
	pid = es_receiver(lfd, total);
	fd = es_link_connect(ss);
	if (es_add(ep, fd, EPOLLOUT | mode))
		return -1;
	while (sent < total) {
		n = es_next(ep, &st);
		if (n != (by_credit ? 4 : 1)) {
			kill(pid, SIGKILL);
			waitpid(pid, NULL, 0);
			close(fd);
			return n ?: -ETIME;
		}
		t->records++;
		if (by_credit) {
			const size_t acked = sent - st.outq;

			credit = st.snd;
			if (st.seq) {
				t->space_records++;
				if (!st.outq)
					t->empty++;
				else if (acked - told_acked < told_sndbuf / 4)
					t->early++;
			}
			told_acked = acked;
			told_sndbuf = es_int_opt(fd, SOL_SOCKET, SO_SNDBUF);
		} else if (!es_siocoutq(fd) && sent) {
			t->empty++;
		}
		while (sent < total) {
			size_t len = total - sent;
			ssize_t w;

			if (by_credit) {
				if (!credit)
					break;
				if (len > credit)
					len = credit;
			}
			if (len > 65536)
				len = 65536;
			w = es_write(fd, len);
			if (w < 0) {
				t->eagain++;
				break;
			}
			if ((size_t)w < len)
				t->short_writes++;
			sent += w;
			credit -= by_credit ? w : 0;
		}
	}
	if (!es_until(!es_siocoutq(fd)))
		return -ETIME;
	t->ms = es_now_ms() - start;
	t->sndbuf = es_int_opt(fd, SOL_SOCKET, SO_SNDBUF);
	ti = es_tcp_info(fd);
	t->limited = ti.tcpi_sndbuf_limited;
	close(fd);
	waitpid(pid, &status, 0);
	return status;
}

#define LOG_TRANSFER(what, t)						\
	TH_LOG("%s: %llu ms, %d records, %d empty, sndbuf %d, "	\
	       "limited %llu us", what, (unsigned long long)(t).ms,	\
	       (t).records, (t).empty, (t).sndbuf,			\
	       (unsigned long long)(t).limited)

TEST_F_TIMEOUT(link, r7_over_a_slow_link_no_stall_no_eagain_and_no_storm,
	       ES_TIMEOUT)
{
	struct es_transfer t;

	ASSERT_EQ(0, es_transfer(self->ep, self->lfd, &self->ss, true,
				 LINK_BYTES, &t));
	LOG_TRANSFER("credit", t);
	EXPECT_EQ(0, t.eagain);
	EXPECT_EQ(0, t.short_writes);
	/* The statistic is about those who hit the limit. */
	EXPECT_EQ(0, t.limited);
	/* Eight per buffer's worth; the buffer only grows meanwhile. */
	EXPECT_GE(8 * (LINK_BYTES / 87040 + 1), t.space_records);
	EXPECT_GE(t.space_records / 4 + 2, t.early);
}

/*
 * One who keeps to the credit is as fast as one who writes until EAGAIN if the
 * queue runs empty no more often, and the buffer grows to what the link holds.
 */
TEST_F_TIMEOUT(link, r7_over_a_slow_link_credit_keeps_the_queue_filled,
	       ES_TIMEOUT)
{
	struct es_transfer edge, credit;
	bool ok = false;
	int i;

	/* One out of three, as it also runs empty for want of a processor. */
	for (i = 0; i < 3 && !ok; i++) {
		ASSERT_EQ(0, es_transfer(self->ep, self->lfd, &self->ss,
					 false, LINK_BYTES, &edge));
		LOG_TRANSFER("EAGAIN", edge);
		ASSERT_EQ(0, es_transfer(self->ep, self->lfd, &self->ss,
					 true, LINK_BYTES, &credit));
		LOG_TRANSFER("credit", credit);
		EXPECT_EQ(0, credit.eagain);
		EXPECT_EQ(0, credit.short_writes);
		EXPECT_LE(2 * LINK_HOLDS, credit.sndbuf);
		ok = credit.empty <= edge.empty + credit.records / 10 + 1;
	}
	EXPECT_TRUE(ok);
}

TEST_HARNESS_MAIN
