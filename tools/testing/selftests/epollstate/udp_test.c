// SPDX-License-Identifier: GPL-2.0
/*
 * What UDP sockets report: whole messages, damaged ones, corked ones, those
 * that go in fragments or segments, and memory that a qdisc holds.
 */

#include "common.h"

#include <linux/errqueue.h>
#include <linux/pkt_sched.h>
#include <linux/rtnetlink.h>
#include <netinet/ip.h>
#include <netinet/udp.h>

#ifndef UDP_SEGMENT
#define UDP_SEGMENT	103
#endif
#ifndef UDP_GRO
#define UDP_GRO		104
#endif

#define LO_INDEX	1
#define MAX_UDP4	65507
#define MAX_UDP6	65527

/* The sockets: @fd is watched, @peer is connected to it and it to @peer. */
FIXTURE(udp)
{
	int ep;
	int fd;
	int peer;
	struct sockaddr_storage addr;		/* of fd */
	struct sockaddr_storage peer_addr;
	struct epoll_state st;
};

FIXTURE_VARIANT(udp)
{
	int family;
	bool mapped;
	uint32_t max;
};

FIXTURE_VARIANT_ADD(udp, udp4) {
	.family = AF_INET, .max = MAX_UDP4,
};

FIXTURE_VARIANT_ADD(udp, udp6) {
	.family = AF_INET6, .max = MAX_UDP6,
};

FIXTURE_VARIANT_ADD(udp, udp4_by_an_ipv6_socket) {
	.family = AF_INET6, .mapped = true, .max = MAX_UDP4,
};

static socklen_t addr_len(const struct sockaddr_storage *ss)
{
	return ss->ss_family == AF_INET6 ? sizeof(struct sockaddr_in6) :
					   sizeof(struct sockaddr_in);
}

static uint16_t addr_port(const struct sockaddr_storage *ss)
{
	return ss->ss_family == AF_INET6 ?
		((const struct sockaddr_in6 *)ss)->sin6_port :
		((const struct sockaddr_in *)ss)->sin_port;
}

/* A socket bound to a free port of the loopback; a descriptor or -errno. */
static int udp_socket(int family, bool mapped, struct sockaddr_storage *ss)
{
	int fd = socket(family, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	socklen_t len = es_loopback(family, ss);

	if (fd < 0)
		return -errno;
	if (mapped)
		inet_pton(AF_INET6, "::ffff:127.0.0.1",
			  &((struct sockaddr_in6 *)ss)->sin6_addr);
	if (bind(fd, (struct sockaddr *)ss, len) ||
	    getsockname(fd, (struct sockaddr *)ss, &len)) {
		const int err = -errno;

		close(fd);
		return err;
	}
	return fd;
}

FIXTURE_SETUP(udp)
{
	ES_REQUIRE_KERNEL();
	ES_REQUIRE_ROOT();
	ASSERT_EQ(0, es_new_netns());
	self->fd = udp_socket(variant->family, variant->mapped, &self->addr);
	if (es_no_such_type(self->fd))
		SKIP(return, "no such sockets here");
	ASSERT_LE(0, self->fd);
	self->peer = udp_socket(variant->family, variant->mapped,
				&self->peer_addr);
	ASSERT_LE(0, self->peer);
	ASSERT_EQ(0, es_connect(self->fd, &self->peer_addr));
	ASSERT_EQ(0, es_connect(self->peer, &self->addr));
	self->ep = epoll_create1(EPOLL_CLOEXEC);
	ASSERT_LE(0, self->ep);
	ASSERT_EQ(0, es_add(self->ep, self->fd, ES_IO | EPOLLSTATE));
	ASSERT_EQ(4, es_wait(self->ep, &self->st, 0));
}

FIXTURE_TEARDOWN(udp)
{
	close(self->ep);
	close(self->fd);
	close(self->peer);
}

#define SAMPLE()							\
	ASSERT_EQ(4, es_sample(self->ep, self->fd, ES_IO, &self->st))

/* Wait until a new record of right now is such that @cond. */
#define SAMPLE_UNTIL(cond)						\
	ASSERT_TRUE(es_until(es_sample(self->ep, self->fd, ES_IO,	\
				       &self->st) == 4 && (cond)))

/* Send or receive one message of a size; -errno if that fails. */
static ssize_t put_msg(int fd, size_t len)
{
	const ssize_t n = send(fd, es_buf(), len, MSG_DONTWAIT);

	return n < 0 ? -errno : n;
}

static ssize_t get_msg(int fd, size_t room, int *flags)
{
	static char sink[1 << 17];
	struct iovec iov = { .iov_base = sink, .iov_len = room };
	struct msghdr msg = { .msg_iov = &iov, .msg_iovlen = 1 };
	const ssize_t n = recvmsg(fd, &msg, MSG_DONTWAIT);

	*flags = msg.msg_flags;
	return n < 0 ? -errno : n;
}

/* A request to the routing socket, and its answer: 0 or -errno. */
static int rtnl(struct nlmsghdr *nlh, int type, int flags)
{
	struct {
		struct nlmsghdr nlh;
		struct nlmsgerr err;
		char rest[512];
	} reply;
	int fd = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_ROUTE);
	int err = -EIO;

	nlh->nlmsg_type = type;
	nlh->nlmsg_flags = NLM_F_REQUEST | NLM_F_ACK | flags;
	if (send(fd, nlh, nlh->nlmsg_len, 0) > 0 &&
	    recv(fd, &reply, sizeof(reply), 0) > 0 &&
	    reply.nlh.nlmsg_type == NLMSG_ERROR)
		err = reply.err.error;
	close(fd);
	return err;
}

struct qdisc_req {
	struct nlmsghdr nlh;
	struct tcmsg tc;
	char attrs[256];
};

static struct rtattr *put_attr(struct qdisc_req *req, int type,
			       const void *data, size_t len)
{
	struct rtattr *rta = (void *)req + NLMSG_ALIGN(req->nlh.nlmsg_len);

	rta->rta_type = type;
	rta->rta_len = RTA_LENGTH(len);
	memcpy(RTA_DATA(rta), data, len);
	req->nlh.nlmsg_len = NLMSG_ALIGN(req->nlh.nlmsg_len) +
			     RTA_ALIGN(rta->rta_len);
	return rta;
}

/* What goes out by lo waits in a token bucket: @rate bytes a second. */
static int hold_lo(uint32_t rate, uint32_t burst)
{
	struct tc_tbf_qopt opt = {
		.rate = { .rate = rate, .linklayer = TC_LINKLAYER_ETHERNET },
		.limit = 64 << 20,
	};
	struct qdisc_req req = {
		.nlh.nlmsg_len = NLMSG_LENGTH(sizeof(struct tcmsg)),
		.tc = { .tcm_ifindex = LO_INDEX, .tcm_parent = TC_H_ROOT,
			.tcm_handle = 0x10000 },
	};
	struct rtattr *nest;

	put_attr(&req, TCA_KIND, "tbf", 4);
	nest = put_attr(&req, TCA_OPTIONS, "", 0);
	put_attr(&req, TCA_TBF_PARMS, &opt, sizeof(opt));
	put_attr(&req, TCA_TBF_BURST, &burst, sizeof(burst));
	nest->rta_len = (char *)&req + req.nlh.nlmsg_len - (char *)nest;
	return rtnl(&req.nlh, RTM_NEWQDISC, NLM_F_CREATE | NLM_F_REPLACE);
}

/* Whatever waits is thrown away. */
static int release_lo(void)
{
	struct qdisc_req req = {
		.nlh.nlmsg_len = NLMSG_LENGTH(sizeof(struct tcmsg)),
		.tc = { .tcm_ifindex = LO_INDEX, .tcm_parent = TC_H_ROOT },
	};

	return rtnl(&req.nlh, RTM_DELQDISC, 0);
}

/* Nothing leaves any more, though the queue takes all that is sent. */
#define JAM(fd_)							\
do {									\
	int __err = hold_lo(1, 70000);					\
									\
	if (__err == -ENOENT)						\
		SKIP(return, "no tbf");					\
	ASSERT_EQ(0, __err);						\
	while (!es_siocoutq(fd_))					\
		ASSERT_EQ(30000, put_msg(fd_, 30000));			\
} while (0)

TEST_F(udp, rcv_is_what_the_next_recv_returns_and_msgs_how_many_there_are)
{
	const int sizes[] = { 1, 1400, 0, 65507, 0, 0, 9000, 3, 64 };
	const int n = ARRAY_SIZE(sizes);
	int flags, i;

	ASSERT_EQ(0, es_set_buf(self->fd, false, 1 << 20));
	for (i = 0; i < n; i++)
		ASSERT_EQ(sizes[i], put_msg(self->peer, sizes[i]));
	SAMPLE_UNTIL(self->st.msgs == n);

	for (i = 0; i < n; i++) {
		SAMPLE();
		EXPECT_EQ(sizes[i], self->st.rcv);
		EXPECT_EQ(n - i, self->st.msgs);
		EXPECT_EQ(es_fionread(self->fd), self->st.rcv);
		EXPECT_TRUE(self->st.events & EPOLLIN);
		EXPECT_EQ(sizes[i], get_msg(self->fd, self->st.rcv, &flags));
		EXPECT_EQ(0, flags & MSG_TRUNC);
	}
	SAMPLE();
	EXPECT_EQ(0, self->st.rcv);
	EXPECT_EQ(0, self->st.msgs);
	EXPECT_EQ(0, self->st.events & EPOLLIN);
	EXPECT_EQ(-EAGAIN, get_msg(self->fd, 1, &flags));
}

TEST_F(udp, an_empty_datagram_is_a_message_of_no_bytes)
{
	int flags;

	ASSERT_EQ(0, put_msg(self->peer, 0));
	ASSERT_EQ(4, es_next(self->ep, &self->st));
	EXPECT_EQ(EPOLLIN | EPOLLSTATE,
		  self->st.events & (EPOLLIN | EPOLLSTATE));
	EXPECT_EQ(0, self->st.rcv);
	EXPECT_EQ(1, self->st.msgs);
	EXPECT_EQ(0, get_msg(self->fd, 0, &flags));
	SAMPLE();
	EXPECT_EQ(0, self->st.msgs);
}

TEST_F(udp, the_same_level_again_is_a_new_record)
{
	int flags, i;

	for (i = 0; i < 20; i++) {
		ASSERT_EQ(100, put_msg(self->peer, 100));
		ASSERT_EQ(4, es_next(self->ep, &self->st));
		EXPECT_EQ(100, self->st.rcv);
		EXPECT_EQ(1, self->st.msgs);
		ASSERT_EQ(100, get_msg(self->fd, 100, &flags));
		ASSERT_EQ(0, es_pending(self->ep));
	}
}

TEST_F(udp, draining_by_msgs_never_meets_eagain_and_misses_nothing)
{
	const int total = 4000, batch = 50;
	int got = 0, acked = 0, flags;
	int pipefd[2];
	char token = 0;
	pid_t pid;

	/* Three batches may be queued: more than a usual buffer holds. */
	ASSERT_EQ(0, es_set_buf(self->fd, false, 1 << 20));
	ASSERT_EQ(0, pipe(pipefd));
	pid = fork();
	ASSERT_LE(0, pid);
	if (!pid) {
		int i;

		close(pipefd[1]);
		for (i = 0; i < total; i++) {
			if (i % batch == 0 && i >= 2 * batch &&
			    read(pipefd[0], &token, 1) != 1)
				_exit(1);
			if (put_msg(self->peer, i % 3 ? i % 1000 : 0) < 0)
				_exit(1);
		}
		_exit(0);
	}
	while (got < total) {
		ASSERT_EQ(4, es_next(self->ep, &self->st));
		if (!self->st.msgs)
			continue;
		ASSERT_EQ(got % 3 ? got % 1000 : 0, self->st.rcv);
		for (; self->st.msgs; self->st.msgs--) {
			ASSERT_EQ(got % 3 ? got % 1000 : 0,
				  get_msg(self->fd, 1000, &flags));
			got++;
		}
		for (; acked + batch <= got; acked += batch)
			ASSERT_EQ(1, write(pipefd[1], &token, 1));
	}
	close(pipefd[1]);
	ASSERT_EQ(pid, waitpid(pid, &flags, 0));
	EXPECT_EQ(0, flags);
}

/* Send the watched socket a datagram, as from its peer, whose sum is wrong. */
static int put_damaged(const struct sockaddr_storage *to,
		       const struct sockaddr_storage *from, bool mapped,
		       size_t len)
{
	struct sockaddr_storage dst = *to;
	char buf[sizeof(struct udphdr) + 2000] = {};
	struct udphdr *uh = (struct udphdr *)buf;
	int fd, err = 0;

	if (mapped)
		es_loopback(AF_INET, &dst);
	if (dst.ss_family == AF_INET6)
		((struct sockaddr_in6 *)&dst)->sin6_port = 0;
	fd = socket(dst.ss_family, SOCK_RAW | SOCK_CLOEXEC, IPPROTO_UDP);
	if (fd < 0)
		return -errno;
	uh->source = addr_port(from);
	uh->dest = addr_port(to);
	uh->len = htons(sizeof(*uh) + len);
	uh->check = htons(0x1234);
	if (sendto(fd, buf, sizeof(*uh) + len, 0, (struct sockaddr *)&dst,
		   addr_len(&dst)) < 0)
		err = -errno;
	close(fd);
	return err;
}

/* Longer than what is verified on arrival. */
#define DAMAGED		500

#define PUT_DAMAGED()							\
	ASSERT_EQ(0, put_damaged(&self->addr, &self->peer_addr,		\
				 variant->mapped, DAMAGED))

/* A datagram that was queued and then dropped shows in the memory in use. */
static uint32_t rmem(int fd)
{
	uint32_t info[9] = {};		/* SK_MEMINFO_VARS */
	socklen_t len = sizeof(info);

	getsockopt(fd, SOL_SOCKET, 55 /* SO_MEMINFO */, info, &len);
	return info[0];
}

TEST_F(udp, a_damaged_datagram_alone_is_not_there)
{
	int flags, i;

	for (i = 0; i < 2; i++) {
		/* With a blocking descriptor as without. */
		if (i)
			ASSERT_EQ(0, fcntl(self->fd, F_SETFL, 0));
		PUT_DAMAGED();
		ASSERT_TRUE(es_until(rmem(self->fd)));
		SAMPLE();
		EXPECT_EQ(0, self->st.rcv);
		EXPECT_EQ(0, self->st.msgs);
		EXPECT_EQ(0, self->st.events & EPOLLIN);
		EXPECT_EQ(0, rmem(self->fd));
		EXPECT_EQ(-EAGAIN, get_msg(self->fd, 1, &flags));

		/* And it has not taken the wake-up of the next one. */
		ASSERT_EQ(7, put_msg(self->peer, 7));
		ASSERT_EQ(4, es_next(self->ep, &self->st));
		EXPECT_EQ(7, self->st.rcv);
		EXPECT_EQ(1, self->st.msgs);
		EXPECT_EQ(7, get_msg(self->fd, 7, &flags));
	}
}

TEST_F(udp, damaged_datagrams_in_between_are_not_counted)
{
	/* 0: a damaged one */
	static const int rows[][6] = {
		{ 0, 200, 300, 400, 500, 600 },
		{ 0, 0, 300, 0, 500, 600 },
		{ 200, 0, 0, 400, 0, 0 },
		{ 200, 300, 400, 500, 600, 0 },
	};
	int flags, i, k, good;

	for (i = 0; i < (int)ARRAY_SIZE(rows); i++) {
		for (k = good = 0; k < 6; k++) {
			if (rows[i][k]) {
				ASSERT_EQ(rows[i][k],
					  put_msg(self->peer, rows[i][k]));
				good++;
			} else {
				PUT_DAMAGED();
			}
		}
		SAMPLE_UNTIL(self->st.msgs == good);
		for (k = 0; k < 6; k++) {
			if (!rows[i][k])
				continue;
			SAMPLE();
			EXPECT_EQ(rows[i][k], self->st.rcv);
			EXPECT_EQ(good, self->st.msgs);
			EXPECT_EQ(rows[i][k], get_msg(self->fd, 2000, &flags));
			good--;
		}
		SAMPLE();
		EXPECT_EQ(0, self->st.msgs);
		EXPECT_EQ(0, rmem(self->fd));
	}
}

/* What is verified behind the first one, see udp_poll_state_rcv(). */
#define AHEAD		64

TEST_F(udp, one_far_behind_is_counted_until_it_comes_closer)
{
	const int good = AHEAD + 10;
	int flags, i;

	ASSERT_EQ(0, es_set_buf(self->fd, false, 1 << 20));
	/* At the front, any number is looked at. */
	for (i = 0; i < AHEAD + 10; i++)
		PUT_DAMAGED();
	SAMPLE();
	EXPECT_EQ(0, self->st.msgs);
	EXPECT_EQ(0, rmem(self->fd));

	for (i = 0; i < good; i++)
		ASSERT_EQ(100 + i, put_msg(self->peer, 100 + i));
	PUT_DAMAGED();
	SAMPLE_UNTIL(self->st.msgs == good + 1);
	for (i = 0; i < good; i++) {
		SAMPLE();
		EXPECT_EQ(100 + i, self->st.rcv);
		EXPECT_EQ(good - i + (good - i > AHEAD), self->st.msgs);
		EXPECT_EQ(100 + i, get_msg(self->fd, 2000, &flags));
	}
	EXPECT_EQ(-EAGAIN, get_msg(self->fd, 2000, &flags));
	SAMPLE();
	EXPECT_EQ(0, self->st.msgs);
	EXPECT_EQ(0, self->st.events & EPOLLIN);
	EXPECT_EQ(0, rmem(self->fd));
}

TEST_F(udp, a_peek_offset_does_not_change_what_recv_returns)
{
	char buf[64];
	int flags;

	if (es_set_opt(self->fd, SOL_SOCKET, SO_PEEK_OFF, 0))
		SKIP(return, "no SO_PEEK_OFF");
	ASSERT_EQ(50, put_msg(self->peer, 50));
	ASSERT_EQ(60, put_msg(self->peer, 60));
	SAMPLE_UNTIL(self->st.msgs == 2);
	ASSERT_EQ(20, recv(self->fd, buf, 20, MSG_PEEK));
	SAMPLE();
	EXPECT_EQ(50, self->st.rcv);
	EXPECT_EQ(2, self->st.msgs);
	EXPECT_EQ(50, get_msg(self->fd, 50, &flags));
	SAMPLE();
	EXPECT_EQ(60, self->st.rcv);
	EXPECT_EQ(1, self->st.msgs);
}

TEST_F(udp, segments_are_messages_and_an_aggregate_is_one)
{
	int flags, i;

	if (es_set_opt(self->peer, IPPROTO_UDP, UDP_SEGMENT, 1000))
		SKIP(return, "no UDP_SEGMENT");
	ASSERT_EQ(9500, put_msg(self->peer, 9500));
	SAMPLE_UNTIL(self->st.msgs == 10);
	for (i = 0; i < 10; i++) {
		SAMPLE();
		EXPECT_EQ(i < 9 ? 1000 : 500, self->st.rcv);
		EXPECT_EQ(self->st.rcv, get_msg(self->fd, 9500, &flags));
	}

	ASSERT_EQ(0, es_set_opt(self->fd, IPPROTO_UDP, UDP_GRO, 1));
	ASSERT_EQ(9500, put_msg(self->peer, 9500));
	SAMPLE_UNTIL(self->st.msgs);
	EXPECT_EQ(1, self->st.msgs);
	EXPECT_EQ(9500, self->st.rcv);
	EXPECT_EQ(9500, get_msg(self->fd, 9500, &flags));

	/* No more segments than the kernel makes of one datagram. */
	ASSERT_EQ(0, es_set_opt(self->fd, IPPROTO_UDP, UDP_SEGMENT, 100));
	SAMPLE();
	EXPECT_LE(100 * 64, self->st.snd);
	EXPECT_EQ(self->st.snd, put_msg(self->fd, self->st.snd));
}

TEST_F(udp, snd_is_the_largest_datagram_and_what_is_corked_counts)
{
	int flags;

	EXPECT_EQ(variant->max, self->st.snd);
	EXPECT_EQ(0, self->st.outq);
	ASSERT_EQ(variant->max, put_msg(self->fd, variant->max));
	ASSERT_TRUE(es_until(es_fionread(self->peer) == (int)variant->max));
	ASSERT_EQ(variant->max, get_msg(self->peer, 1 << 17, &flags));

	ASSERT_EQ(0, es_set_opt(self->fd, IPPROTO_UDP, UDP_CORK, 1));
	ASSERT_EQ(1000, put_msg(self->fd, 1000));
	SAMPLE();
	EXPECT_EQ(variant->max - 1000, self->st.snd);
	EXPECT_EQ(es_siocoutq(self->fd), self->st.outq);
	ASSERT_EQ(self->st.snd, put_msg(self->fd, self->st.snd));
	SAMPLE();
	EXPECT_EQ(0, self->st.snd);
	ASSERT_EQ(0, es_set_opt(self->fd, IPPROTO_UDP, UDP_CORK, 0));
	ASSERT_TRUE(es_until(es_fionread(self->peer) == (int)variant->max));
	SAMPLE_UNTIL(!self->st.outq);
	EXPECT_EQ(variant->max, self->st.snd);
}

TEST_F(udp, one_datagram_of_snd_bytes_is_taken_whatever_the_buffer_and_mtu)
{
	static const int bufs[] = { 4608, 9216, 20000, 65536, 120000, 212992 };
	static const int mtus[] = { 65536, 9000, 1500, 1700, 1280, 700, 576 };
	struct sockaddr_storage from, to;
	int rx, tx, b, m, loose, flags;
	struct epoll_state st;

	rx = udp_socket(variant->family, variant->mapped, &to);
	ASSERT_LE(0, rx);
	for (m = 0; m < 2 * (int)ARRAY_SIZE(mtus); m++) {
		const int mtu = mtus[m / 2];

		if (mtu < 1280 && variant->max == MAX_UDP6)
			continue;
		ASSERT_EQ(0, es_set_lo_mtu(mtu));
		/* With a route at hand, and without, by sendto() */
		loose = m & 1;
		tx = udp_socket(variant->family, variant->mapped, &from);
		ASSERT_LE(0, tx);
		if (!loose)
			ASSERT_EQ(0, es_connect(tx, &to));
		ASSERT_EQ(0, es_add(self->ep, tx, ES_IO | EPOLLSTATE));
		for (b = 0; b < (int)ARRAY_SIZE(bufs); b++) {
			ASSERT_EQ(0, es_set_buf(tx, true, bufs[b]));
			ASSERT_TRUE(es_until(es_sample(self->ep, tx, ES_IO,
						       &st) == 4 && !st.outq));
			EXPECT_LT(500, st.snd);
			if (bufs[b] == 212992)
				EXPECT_LE(MAX_UDP4, st.snd);
			EXPECT_EQ(st.snd, sendto(tx, es_buf(), st.snd,
						 MSG_DONTWAIT, (void *)&to,
						 addr_len(&to))) {
				TH_LOG("mtu %d buffer %d: %s", mtu, bufs[b],
				       strerror(errno));
			}
			while (get_msg(rx, 1, &flags) >= 0)
				;
		}
		close(tx);
	}
	close(rx);
}

/* No fragments are made of segments: each has to fit. */
TEST_F(udp, segments_larger_than_the_mtu_are_not_promised)
{
	const uint32_t fits = 1500 - 8 - (variant->max == MAX_UDP6 ? 40 : 20);

	ASSERT_EQ(0, es_set_lo_mtu(1500));
	ASSERT_EQ(0, es_connect(self->fd, &self->peer_addr));
	if (es_set_opt(self->fd, IPPROTO_UDP, UDP_SEGMENT, 2000))
		SKIP(return, "no UDP_SEGMENT");
	SAMPLE();
	EXPECT_EQ(fits, self->st.snd);
	EXPECT_EQ(-EMSGSIZE, put_msg(self->fd, fits + 1));
	EXPECT_EQ(fits, put_msg(self->fd, fits));
	ASSERT_EQ(0, es_set_opt(self->fd, IPPROTO_UDP, UDP_SEGMENT, fits));
	SAMPLE_UNTIL(!self->st.outq);
	EXPECT_LT(60000, self->st.snd);
	EXPECT_EQ(self->st.snd, put_msg(self->fd, self->st.snd));
}

TEST_F(udp, snd_follows_ipv6_mtu)
{
	if (variant->max != MAX_UDP6)
		SKIP(return, "IPv6 only");
	ASSERT_EQ(0, es_set_lo_mtu(1500));
	ASSERT_EQ(0, es_connect(self->fd, &self->peer_addr));
	ASSERT_EQ(0, es_set_opt(self->fd, IPPROTO_IPV6, IPV6_DONTFRAG, 1));
	SAMPLE();
	EXPECT_EQ(1500 - 48, self->st.snd);
	ASSERT_EQ(0, es_set_opt(self->fd, IPPROTO_IPV6, IPV6_MTU, 1280));
	SAMPLE();
	EXPECT_EQ(1280 - 48, self->st.snd);
	EXPECT_EQ(-EMSGSIZE, put_msg(self->fd, self->st.snd + 1));
	EXPECT_EQ(self->st.snd, put_msg(self->fd, self->st.snd));
	/* And with fragments, of which few fit into a small buffer. */
	ASSERT_EQ(0, es_set_opt(self->fd, IPPROTO_IPV6, IPV6_DONTFRAG, 0));
	ASSERT_EQ(0, es_set_buf(self->fd, true, 4608));
	SAMPLE_UNTIL(!self->st.outq);
	EXPECT_LT(1232, self->st.snd);
	EXPECT_EQ(self->st.snd, put_msg(self->fd, self->st.snd));
}

/* What recv(2) returns first then is no datagram, and of no bytes. */
TEST_F(udp, a_path_mtu_is_an_empty_message_in_front)
{
	int flags;

	if (variant->max != MAX_UDP6)
		SKIP(return, "IPv6 only");
	ASSERT_EQ(0, es_set_lo_mtu(1500));
	ASSERT_EQ(0, es_connect(self->fd, &self->peer_addr));
	ASSERT_EQ(0, es_set_opt(self->fd, IPPROTO_IPV6, IPV6_DONTFRAG, 1));
	ASSERT_EQ(0, es_set_opt(self->fd, IPPROTO_IPV6, IPV6_RECVPATHMTU, 1));
	ASSERT_EQ(-EMSGSIZE, put_msg(self->fd, 2000));
	ASSERT_EQ(5, put_msg(self->peer, 5));
	ASSERT_EQ(4, es_next(self->ep, &self->st));
	EXPECT_EQ(0, self->st.rcv);
	EXPECT_EQ(2, self->st.msgs);
	EXPECT_EQ(0, get_msg(self->fd, 100, &flags));
	SAMPLE();
	EXPECT_EQ(5, self->st.rcv);
	EXPECT_EQ(1, self->st.msgs);
	EXPECT_EQ(5, get_msg(self->fd, 100, &flags));
}

TEST_F(udp, snd_falls_as_the_queue_fills_and_is_never_refused)
{
	struct es_rnd rnd = es_seed();
	const uint32_t sndbuf = es_int_opt(self->fd, SOL_SOCKET, SO_SNDBUF);
	uint32_t len, sent = 0, last;

	JAM(self->fd);
	SAMPLE();
	for (;;) {
		EXPECT_EQ(es_siocoutq(self->fd), self->st.outq);
		last = self->st.snd;
		if (!last)
			break;
		len = es_rnd_upto(&rnd, last < 9000 ? last : 9000);
		ASSERT_EQ(len, put_msg(self->fd, len));
		sent += len;
		SAMPLE();
		EXPECT_LE(self->st.snd, last);
		EXPECT_LE(self->st.snd, self->st.outq < sndbuf ?
			  sndbuf - self->st.outq : 0);
	}
	EXPECT_LT(50000, sent);
	EXPECT_EQ(0, self->st.events & EPOLLOUT);
	EXPECT_EQ(-EAGAIN, put_msg(self->fd, 1));

	/* The other one is told once there is room, and of the empty queue. */
	ASSERT_EQ(0, es_pending(self->ep));
	ASSERT_EQ(0, release_lo());
	do {
		ASSERT_EQ(4, es_next(self->ep, &self->st));
	} while (self->st.outq);
	EXPECT_EQ(variant->max, self->st.snd);
	EXPECT_TRUE(self->st.events & EPOLLOUT);
	EXPECT_EQ(0, es_siocoutq(self->fd));
}

/* R7: it sends no more than it was told, and hears of room all by itself. */
TEST_F(udp, a_sender_that_never_meets_eagain_never_stalls)
{
	const uint32_t len = 3000;
	uint32_t credit, sent = 0;

	ASSERT_EQ(0, es_set_buf(self->fd, true, 40000));
	if (hold_lo(4 << 20, 70000))
		SKIP(return, "no tbf");
	SAMPLE();
	credit = self->st.snd;
	while (sent < 2 << 20) {
		while (credit < len) {
			ASSERT_EQ(4, es_next(self->ep, &self->st));
			credit = self->st.snd;
		}
		ASSERT_EQ(len, put_msg(self->fd, len));
		sent += len;
		/* Memory is what is short, and this is what one costs. */
		credit = credit > 5000 ? credit - 5000 : 0;
		if (credit > 35000)
			credit = 35000;
	}
	while (self->st.outq || es_siocoutq(self->fd))
		ASSERT_EQ(4, es_next(self->ep, &self->st));
	ASSERT_EQ(0, release_lo());
}

TEST_F(udp, after_shutdown_nothing_can_be_sent)
{
	ASSERT_EQ(0, shutdown(self->fd, SHUT_WR));
	SAMPLE();
	EXPECT_EQ(0, self->st.snd);
	EXPECT_EQ(-EPIPE, put_msg(self->fd, 1));
}

TEST_F(udp, a_refused_connection_is_an_error_that_is_not_consumed)
{
	int flags, i;

	close(self->peer);
	ASSERT_EQ(10, put_msg(self->fd, 10));
	do {
		ASSERT_EQ(4, es_next(self->ep, &self->st));
	} while (!self->st.error);
	for (i = 0; i < 3; i++) {
		EXPECT_EQ(ECONNREFUSED, self->st.error);
		EXPECT_TRUE(self->st.events & EPOLLERR);
		SAMPLE();
	}
	EXPECT_EQ(-ECONNREFUSED, get_msg(self->fd, 1, &flags));
	SAMPLE();
	EXPECT_EQ(0, self->st.error);
	EXPECT_EQ(0, self->st.events & EPOLLERR);
	self->peer = -1;
}

TEST_F(udp, the_error_queue_shows_as_epollerr_without_an_error)
{
	struct msghdr msg = {};
	int flags, i;

	if (variant->family == AF_INET6)
		ASSERT_EQ(0, es_set_opt(self->fd, SOL_IPV6, IPV6_RECVERR, 1));
	if (variant->max == MAX_UDP4)
		ASSERT_EQ(0, es_set_opt(self->fd, SOL_IP, IP_RECVERR, 1));
	close(self->peer);
	for (i = 0; i < 2; i++) {
		ASSERT_EQ(10, put_msg(self->fd, 10));
		do {
			ASSERT_EQ(4, es_next(self->ep, &self->st));
		} while (!self->st.error);
		EXPECT_EQ(ECONNREFUSED, self->st.error);
		EXPECT_EQ(-ECONNREFUSED, get_msg(self->fd, 1, &flags));
		SAMPLE();
		EXPECT_EQ(0, self->st.error);
		EXPECT_TRUE(self->st.events & EPOLLERR);
		EXPECT_EQ(0, self->st.msgs);
	}
	for (i = 0; i < 2; i++)
		EXPECT_LE(0, recvmsg(self->fd, &msg,
				     MSG_ERRQUEUE | MSG_DONTWAIT));
	SAMPLE();
	EXPECT_EQ(0, self->st.events & EPOLLERR);
	self->peer = -1;
}

TEST(each_member_of_a_multicast_group_is_told)
{
	struct sockaddr_in to = {
		.sin_family = AF_INET, .sin_port = htons(4711),
	};
	struct ip_mreqn mreq = { .imr_ifindex = LO_INDEX };
	int ep, fd[2], i, tx, flags;
	struct epoll_state st;

	ES_REQUIRE_KERNEL();
	ES_REQUIRE_ROOT();
	ASSERT_EQ(0, es_new_netns());
	inet_pton(AF_INET, "239.1.2.3", &to.sin_addr);
	mreq.imr_multiaddr = to.sin_addr;
	for (i = 0; i < 2; i++) {
		fd[i] = socket(AF_INET, SOCK_DGRAM | SOCK_NONBLOCK, 0);
		ASSERT_LE(0, fd[i]);
		ASSERT_EQ(0, es_set_opt(fd[i], SOL_SOCKET, SO_REUSEADDR, 1));
		ASSERT_EQ(0, bind(fd[i], (void *)&to, sizeof(to)));
		ASSERT_EQ(0, setsockopt(fd[i], SOL_IP, IP_ADD_MEMBERSHIP,
					&mreq, sizeof(mreq)));
	}
	tx = socket(AF_INET, SOCK_DGRAM, 0);
	ASSERT_EQ(0, setsockopt(tx, SOL_IP, IP_MULTICAST_IF, &mreq,
				sizeof(mreq)));
	ep = epoll_create1(0);
	for (i = 0; i < 2; i++) {
		ASSERT_EQ(0, es_add(ep, fd[i], ES_IO | EPOLLSTATE));
		ASSERT_EQ(4, es_wait(ep, &st, 0));
	}
	ASSERT_EQ(123, sendto(tx, es_buf(), 123, 0, (void *)&to, sizeof(to)));
	for (i = 0; i < 2; i++) {
		ASSERT_EQ(4, es_next(ep, &st));
		EXPECT_EQ(123, st.rcv);
		EXPECT_EQ(1, st.msgs);
	}
	for (i = 0; i < 2; i++)
		EXPECT_EQ(123, get_msg(fd[i], 123, &flags));
}

TEST(the_covered_part_of_a_udplite_datagram_is_what_is_verified)
{
	struct sockaddr_storage ss;
	struct epoll_state st;
	int ep, fd, tx, flags;
	socklen_t len;

	ES_REQUIRE_KERNEL();
	len = es_loopback(AF_INET, &ss);
	fd = socket(AF_INET, SOCK_DGRAM | SOCK_NONBLOCK, IPPROTO_UDPLITE);
	if (fd < 0)
		SKIP(return, "no UDP-Lite");
	tx = socket(AF_INET, SOCK_DGRAM, IPPROTO_UDPLITE);
	ASSERT_EQ(0, bind(fd, (struct sockaddr *)&ss, len));
	ASSERT_EQ(0, getsockname(fd, (struct sockaddr *)&ss, &len));
	ASSERT_EQ(0, es_connect(tx, &ss));
	ASSERT_EQ(0, es_set_opt(tx, IPPROTO_UDPLITE, 10 /* SEND_CSCOV */, 20));
	ep = epoll_create1(0);
	ASSERT_EQ(0, es_add(ep, fd, ES_IO | EPOLLSTATE));
	ASSERT_EQ(4, es_wait(ep, &st, 0));
	ASSERT_EQ(800, put_msg(tx, 800));
	ASSERT_EQ(4, es_next(ep, &st));
	EXPECT_EQ(800, st.rcv);
	EXPECT_EQ(1, st.msgs);
	EXPECT_EQ(800, get_msg(fd, 800, &flags));
}

TEST_HARNESS_MAIN
