// SPDX-License-Identifier: GPL-2.0
/*
 * What raw, ping, packet and netlink sockets report, all of which are polled
 * by the same function; and that others polled by it do not report.
 */

#include "common.h"

#include <linux/icmp.h>
#include <linux/if_ether.h>
#include <linux/if_packet.h>
#include <linux/netlink.h>
#include <linux/rtnetlink.h>
#include <netinet/icmp6.h>
#include <netinet/udp.h>

#define LO_INDEX	1

static ssize_t get_msg(int fd, size_t room, int *flags)
{
	static char sink[1 << 17];
	struct iovec iov = { .iov_base = sink, .iov_len = room };
	struct msghdr msg = { .msg_iov = &iov, .msg_iovlen = 1 };
	const ssize_t n = recvmsg(fd, &msg, MSG_DONTWAIT);

	*flags = msg.msg_flags;
	return n < 0 ? -errno : n;
}

static void drain(int fd)
{
	int flags;

	while (get_msg(fd, 1, &flags) >= 0)
		;
}

/* A way to make a socket that gets what is sent to this host. */
struct kind {
	int (*open)(void);
	/* Make one message of at least @len bytes arrive */
	int (*arrive)(int fd, size_t len);
	/* Bytes before each message that FIONREAD does not count */
	int extra;
	/* Of a sender with an empty queue */
	uint32_t snd;
};

static int open_inet(int family, int type, int proto)
{
	int fd = socket(family, type | SOCK_NONBLOCK | SOCK_CLOEXEC, proto);
	struct sockaddr_storage ss;
	socklen_t len = es_loopback(family, &ss);

	if (fd >= 0 && !bind(fd, (struct sockaddr *)&ss, len) &&
	    !connect(fd, (struct sockaddr *)&ss, len))
		return fd;
	return -errno;
}

/* 253: for experiments, so that nobody else is concerned. */
static int open_raw4(void)
{
	return open_inet(AF_INET, SOCK_RAW, 253);
}

static int open_raw6(void)
{
	return open_inet(AF_INET6, SOCK_RAW, 253);
}

static int arrive_raw(int fd, size_t len)
{
	return send(fd, es_buf(), len, 0) == (ssize_t)len ? 0 : -errno;
}

static int open_ping4(void)
{
	es_write_file("/proc/sys/net/ipv4/ping_group_range", "0 0");
	return open_inet(AF_INET, SOCK_DGRAM, IPPROTO_ICMP);
}

static int open_ping6(void)
{
	es_write_file("/proc/sys/net/ipv4/ping_group_range", "0 0");
	return open_inet(AF_INET6, SOCK_DGRAM, IPPROTO_ICMPV6);
}

/* An echo request, to which the kernel answers. */
static int arrive_ping(int fd, size_t len)
{
	const bool v4 = es_int_opt(fd, SOL_SOCKET, SO_DOMAIN) == AF_INET;
	char buf[2000] = { v4 ? ICMP_ECHO : ICMP6_ECHO_REQUEST };

	len = len < 8 ? 8 : len;
	return send(fd, buf, len, 0) == (ssize_t)len ? 0 : -errno;
}

static int open_packet(int type, int vnet)
{
	const struct sockaddr_ll ll = {
		.sll_family = AF_PACKET, .sll_ifindex = LO_INDEX,
		.sll_protocol = htons(ETH_P_IP),
	};
	int fd = socket(AF_PACKET, type | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);

	if (fd < 0)
		return -errno;
	if (vnet && es_set_opt(fd, SOL_PACKET, PACKET_VNET_HDR, 1))
		return -errno;
	if (bind(fd, (const void *)&ll, sizeof(ll)))
		return -errno;
	return fd;
}

static int open_packet_raw(void)
{
	return open_packet(SOCK_RAW, 0);
}

static int open_packet_dgram(void)
{
	return open_packet(SOCK_DGRAM, 0);
}

static int open_packet_vnet(void)
{
	return open_packet(SOCK_RAW, 1);
}

/* A packet of a protocol that nobody listens to and nobody answers. */
static int arrive_packet(int fd, size_t len)
{
	const int raw = socket(AF_INET, SOCK_RAW | SOCK_CLOEXEC, 254);
	struct sockaddr_storage ss;
	socklen_t slen = es_loopback(AF_INET, &ss);
	const ssize_t n = sendto(raw, es_buf(), len, 0, (void *)&ss, slen);

	close(raw);
	return n == (ssize_t)len ? 0 : -EIO;
}

FIXTURE(dgram)
{
	int ep;
	int fd;
	struct epoll_state st;
};

FIXTURE_VARIANT(dgram)
{
	struct kind k;
};

FIXTURE_VARIANT_ADD(dgram, raw4) {
	.k = { .open = open_raw4, .arrive = arrive_raw, .snd = 65515 },
};

FIXTURE_VARIANT_ADD(dgram, raw6) {
	.k = { .open = open_raw6, .arrive = arrive_raw, .snd = 65535 },
};

FIXTURE_VARIANT_ADD(dgram, ping4) {
	.k = { .open = open_ping4, .arrive = arrive_ping, .snd = 65515 },
};

FIXTURE_VARIANT_ADD(dgram, ping6) {
	.k = { .open = open_ping6, .arrive = arrive_ping, .snd = 65535 },
};

FIXTURE_VARIANT_ADD(dgram, packet_raw) {
	.k = { .open = open_packet_raw, .arrive = arrive_packet,
	       .snd = 65536 + ETH_HLEN },
};

FIXTURE_VARIANT_ADD(dgram, packet_dgram) {
	.k = { .open = open_packet_dgram, .arrive = arrive_packet,
	       .snd = 65536 },
};

FIXTURE_VARIANT_ADD(dgram, packet_vnet) {
	.k = { .open = open_packet_vnet, .arrive = arrive_packet,
	       .extra = 10, .snd = 65536 + ETH_HLEN + 10 },
};

FIXTURE_SETUP(dgram)
{
	ES_REQUIRE_KERNEL();
	ES_REQUIRE_ROOT();
	ASSERT_EQ(0, es_new_netns());
	self->fd = variant->k.open();
	if (es_no_such_type(self->fd))
		SKIP(return, "no such sockets here");
	ASSERT_LE(0, self->fd);
	self->ep = epoll_create1(EPOLL_CLOEXEC);
	ASSERT_LE(0, self->ep);
	ASSERT_EQ(0, es_add(self->ep, self->fd, ES_IO | EPOLLSTATE));
	ASSERT_EQ(4, es_wait(self->ep, &self->st, 0));
}

FIXTURE_TEARDOWN(dgram)
{
	close(self->ep);
	close(self->fd);
}

#define SAMPLE()							\
	ASSERT_EQ(4, es_sample(self->ep, self->fd, ES_IO, &self->st))

TEST_F(dgram, rcv_is_what_the_next_recv_returns_and_msgs_how_many_there_are)
{
	const int sizes[] = { 100, 1400, 20, 600, 64 };
	int flags, i, got = 0;
	uint32_t msgs;

	for (i = 0; i < (int)ARRAY_SIZE(sizes); i++)
		ASSERT_EQ(0, variant->k.arrive(self->fd, sizes[i]));
	ASSERT_TRUE(es_until(es_sample(self->ep, self->fd, ES_IO,
				       &self->st) == 4 &&
			     self->st.msgs >= ARRAY_SIZE(sizes)));
	for (msgs = self->st.msgs; msgs; msgs--) {
		SAMPLE();
		EXPECT_EQ(msgs, self->st.msgs);
		EXPECT_TRUE(self->st.events & EPOLLIN);
		EXPECT_LT(0, self->st.rcv);
		/* Ping sockets have no such call. */
		if (es_fionread(self->fd) != -ENOTTY)
			EXPECT_EQ(es_fionread(self->fd) + variant->k.extra,
				  self->st.rcv);
		EXPECT_EQ(self->st.rcv,
			  get_msg(self->fd, self->st.rcv, &flags));
		EXPECT_EQ(0, flags & MSG_TRUNC);
		got++;
	}
	EXPECT_LE(ARRAY_SIZE(sizes), got);
	SAMPLE();
	EXPECT_EQ(0, self->st.rcv);
	EXPECT_EQ(0, self->st.events & EPOLLIN);
	EXPECT_EQ(-EAGAIN, get_msg(self->fd, 1, &flags));
}

TEST_F(dgram, the_same_level_again_is_a_new_record)
{
	uint32_t rcv = 0;
	int i;

	for (i = 0; i < 10; i++) {
		ASSERT_EQ(0, variant->k.arrive(self->fd, 100));
		do {
			ASSERT_EQ(4, es_next(self->ep, &self->st));
		} while (!self->st.msgs);
		if (i)
			EXPECT_EQ(rcv, self->st.rcv);
		rcv = self->st.rcv;
		/* Nothing that was on its way comes later. */
		do {
			drain(self->fd);
			es_pause();
			SAMPLE();
		} while (self->st.outq || self->st.msgs);
	}
}

TEST_F(dgram, snd_is_the_largest_message_and_less_with_a_small_buffer)
{
	const bool ping = variant->k.arrive == arrive_ping;
	char *buf = calloc(1, 1 << 17);

	/* An echo request; and a packet of some protocol. */
	if (ping)
		buf[0] = es_int_opt(self->fd, SOL_SOCKET, SO_DOMAIN) ==
			 AF_INET ? ICMP_ECHO : ICMP6_ECHO_REQUEST;
	EXPECT_EQ(variant->k.snd, self->st.snd);
	EXPECT_EQ(0, self->st.outq);
	EXPECT_TRUE(self->st.events & EPOLLOUT);
	EXPECT_EQ(self->st.snd, send(self->fd, buf, self->st.snd,
				     MSG_DONTWAIT));
	ASSERT_EQ(0, es_set_buf(self->fd, true, 4608));
	ASSERT_TRUE(es_until(es_sample(self->ep, self->fd, ES_IO,
				       &self->st) == 4 && !self->st.outq));
	EXPECT_EQ(self->st.snd, send(self->fd, buf, self->st.snd,
				     MSG_DONTWAIT));
	free(buf);
}

/* There is nothing of a UDP socket in it, not even memory. */
TEST(a_raw_socket_for_udp_is_a_raw_socket)
{
	static const int families[] = { AF_INET, AF_INET6 };
	static const int protos[] = { IPPROTO_UDP, IPPROTO_UDPLITE };
	struct epoll_state st;
	int ep, fd, i;

	ES_REQUIRE_KERNEL();
	ES_REQUIRE_ROOT();
	ASSERT_EQ(0, es_new_netns());
	ep = epoll_create1(EPOLL_CLOEXEC);
	ASSERT_LE(0, ep);
	for (i = 0; i < 4; i++) {
		const bool v4 = families[i / 2] == AF_INET;

		fd = open_inet(families[i / 2], SOCK_RAW, protos[i % 2]);
		if (es_no_such_type(fd))
			SKIP(return, "no such sockets here");
		ASSERT_LE(0, fd);
		ASSERT_EQ(0, es_add(ep, fd, ES_IO | EPOLLSTATE));
		ASSERT_EQ(4, es_wait(ep, &st, 0));
		EXPECT_EQ(v4 ? 65515 : 65535, st.snd);
		close(fd);
	}
	close(ep);
}

TEST(a_packet_socket_with_a_ring_does_not_report)
{
	struct tpacket_req req = {
		.tp_block_size = 65536, .tp_block_nr = 1,
		.tp_frame_size = 2048, .tp_frame_nr = 32,
	};
	const int ring[] = { PACKET_RX_RING, PACKET_TX_RING };
	struct epoll_state st;
	int ep, fd, i, flags;

	ES_REQUIRE_KERNEL();
	ES_REQUIRE_ROOT();
	ASSERT_EQ(0, es_new_netns());
	for (i = 0; i < 2; i++) {
		fd = open_packet(SOCK_RAW, 0);
		if (es_no_such_type(fd))
			SKIP(return, "no packet sockets");
		ASSERT_LE(0, fd);
		ep = epoll_create1(EPOLL_CLOEXEC);

		/* R10: one that gets a ring while it is registered */
		ASSERT_EQ(0, es_add(ep, fd, ES_IO | EPOLLSTATE));
		ASSERT_EQ(4, es_wait(ep, &st, 0));
		ASSERT_EQ(0, setsockopt(fd, SOL_PACKET, ring[i], &req,
					sizeof(req)));
		ASSERT_EQ(0, arrive_packet(-1, 100));
		ASSERT_EQ(1, es_next(ep, &st));
		EXPECT_EQ(EPOLLIN, st.events & (EPOLLIN | EPOLLSTATE));

		ASSERT_EQ(0, es_ctl(ep, EPOLL_CTL_DEL, fd, 0, 0));
		EXPECT_EQ(-EOPNOTSUPP, es_add(ep, fd, ES_IO | EPOLLSTATE));

		/* Without it again, it reports again. */
		memset(&req, 0, sizeof(req));
		ASSERT_EQ(0, setsockopt(fd, SOL_PACKET, ring[i], &req,
					sizeof(req)));
		req = (struct tpacket_req) {
			.tp_block_size = 65536, .tp_block_nr = 1,
			.tp_frame_size = 2048, .tp_frame_nr = 32,
		};
		EXPECT_EQ(0, es_add(ep, fd, ES_IO | EPOLLSTATE));
		EXPECT_EQ(4, es_wait(ep, &st, 0));
		while (get_msg(fd, 1, &flags) >= 0)
			;
		close(fd);
		close(ep);
	}
}

/* netlink */

struct addr_req {
	struct nlmsghdr nlh;
	struct ifaddrmsg ifa;
	struct rtattr rta;
	struct in_addr addr;
};

/* Ask @fd for it: an address of lo comes or goes. */
static int change_addr(int fd, int type, uint32_t n)
{
	struct addr_req req = {
		.nlh = {
			.nlmsg_len = sizeof(req), .nlmsg_type = type,
			.nlmsg_flags = NLM_F_REQUEST | NLM_F_CREATE,
		},
		.ifa = {
			.ifa_family = AF_INET, .ifa_prefixlen = 32,
			.ifa_index = LO_INDEX,
		},
		.rta = {
			.rta_len = RTA_LENGTH(sizeof(struct in_addr)),
			.rta_type = IFA_LOCAL,
		},
		.addr.s_addr = htonl(0x0a000001 + n),
	};

	return send(fd, &req, sizeof(req), 0) == sizeof(req) ? 0 : -errno;
}

FIXTURE(nl)
{
	int ep;
	int fd;
	int other;
	struct epoll_state st;
};

FIXTURE_SETUP(nl)
{
	const struct sockaddr_nl any = { .nl_family = AF_NETLINK };

	ES_REQUIRE_KERNEL();
	ES_REQUIRE_ROOT();
	ASSERT_EQ(0, es_new_netns());
	self->fd = socket(AF_NETLINK, SOCK_RAW | SOCK_NONBLOCK | SOCK_CLOEXEC,
			  NETLINK_ROUTE);
	ASSERT_LE(0, self->fd);
	/* Only then does it get the events that others cause. */
	ASSERT_EQ(0, bind(self->fd, (const void *)&any, sizeof(any)));
	self->other = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC,
			     NETLINK_ROUTE);
	ASSERT_LE(0, self->other);
	self->ep = epoll_create1(EPOLL_CLOEXEC);
	ASSERT_EQ(0, es_add(self->ep, self->fd, ES_IO | EPOLLSTATE));
	ASSERT_EQ(4, es_wait(self->ep, &self->st, 0));
}

FIXTURE_TEARDOWN(nl)
{
	close(self->ep);
	close(self->fd);
	close(self->other);
}

static int join(int fd, int group)
{
	return es_set_opt(fd, SOL_NETLINK, NETLINK_ADD_MEMBERSHIP, group);
}

TEST_F(nl, a_dump_is_read_by_records_alone)
{
	struct {
		struct nlmsghdr nlh;
		struct ifaddrmsg ifa;
	} req = {
		.nlh = {
			.nlmsg_len = sizeof(req), .nlmsg_type = RTM_GETADDR,
			.nlmsg_flags = NLM_F_REQUEST | NLM_F_DUMP,
		},
		.ifa.ifa_family = AF_INET,
	};
	int n = 0, reads = 0, i;
	char buf[1 << 16];
	bool done = false;

	for (i = 0; i < 1000; i++)
		ASSERT_EQ(0, change_addr(self->other, RTM_NEWADDR, i));
	ASSERT_EQ(sizeof(req), send(self->fd, &req, sizeof(req), 0));
	while (!done) {
		ASSERT_EQ(4, es_next(self->ep, &self->st));
		for (; self->st.msgs && !done; self->st.msgs--) {
			ssize_t len = recv(self->fd, buf, sizeof(buf), 0);
			struct nlmsghdr *nlh = (struct nlmsghdr *)buf;

			ASSERT_LT(0, len);
			if (self->st.rcv) {
				EXPECT_EQ(self->st.rcv, len);
				self->st.rcv = 0;
			}
			reads++;
			for (; NLMSG_OK(nlh, len); nlh = NLMSG_NEXT(nlh, len)) {
				if (nlh->nlmsg_type == NLMSG_DONE)
					done = true;
				n++;
			}
		}
	}
	EXPECT_EQ(1000 + 1 + 1, n);
	EXPECT_LT(2, reads);
}

TEST_F(nl, each_event_of_a_group_is_told)
{
	int flags, i;

	ASSERT_EQ(0, join(self->fd, RTNLGRP_IPV4_IFADDR));
	for (i = 0; i < 20; i++) {
		ASSERT_EQ(0, change_addr(self->other, i & 1 ? RTM_DELADDR :
					 RTM_NEWADDR, 5));
		ASSERT_EQ(4, es_next(self->ep, &self->st));
		EXPECT_LT(0, self->st.rcv);
		EXPECT_EQ(1, self->st.msgs);
		EXPECT_EQ(self->st.rcv,
			  get_msg(self->fd, self->st.rcv, &flags));
		EXPECT_EQ(0, flags & MSG_TRUNC);
		EXPECT_EQ(0, es_pending(self->ep));
	}
}

TEST_F(nl, an_overrun_is_an_error_that_is_not_consumed)
{
	int flags, i;

	ASSERT_EQ(0, join(self->fd, RTNLGRP_IPV4_IFADDR));
	ASSERT_EQ(0, es_set_buf(self->fd, false, 8192));
	for (i = 0; i < 100; i++)
		ASSERT_EQ(0, change_addr(self->other, RTM_NEWADDR, i));
	for (i = 0; i < 3; i++) {
		SAMPLE();
		EXPECT_EQ(ENOBUFS, self->st.error);
		EXPECT_TRUE(self->st.events & EPOLLERR);
		EXPECT_LT(0, self->st.msgs);
	}
	EXPECT_EQ(-ENOBUFS, get_msg(self->fd, 1 << 16, &flags));
	SAMPLE();
	EXPECT_EQ(0, self->st.error);
	for (i = self->st.msgs; i; i--)
		EXPECT_LT(0, get_msg(self->fd, 1 << 16, &flags));
	SAMPLE();
	EXPECT_EQ(0, self->st.msgs);
	EXPECT_EQ(-EAGAIN, get_msg(self->fd, 1 << 16, &flags));
}

TEST_F(nl, snd_is_the_largest_request)
{
	const int bufs[] = { 4608, 212992 };
	int i;

	for (i = 0; i < 2; i++) {
		ASSERT_EQ(0, es_set_buf(self->fd, true, bufs[i]));
		SAMPLE();
		EXPECT_EQ(0, self->st.outq);
		EXPECT_LT(4000, self->st.snd);
		EXPECT_EQ(self->st.snd, send(self->fd, es_buf(), self->st.snd,
					     MSG_DONTWAIT));
		EXPECT_EQ(-1, send(self->fd, es_buf(), self->st.snd + 1,
				   MSG_DONTWAIT));
		EXPECT_EQ(EMSGSIZE, errno);
	}
}

TEST_HARNESS_MAIN
