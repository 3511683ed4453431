// SPDX-License-Identifier: GPL-2.0
/*
 * R10: a socket that only carries what something else makes of it does not
 * count.  With TLS in the kernel the queues hold ciphertext; in a sockmap a
 * program may have taken the data elsewhere.  What is registered by then goes
 * on with ordinary edge events, and who comes later is told EOPNOTSUPP.
 */

#include <linux/bpf.h>
#include <linux/tls.h>

#include "common.h"

#ifndef SOL_TLS
#define SOL_TLS		282
#endif

FIXTURE(tls)
{
	int ep;
	int fd;
	int peer;
};

FIXTURE_VARIANT(tls)
{
	int family;
};

ES_TCP_VARIANTS(tls);

FIXTURE_SETUP(tls)
{
	const struct es_tcp_opts o = { .family = variant->family };
	int sv[2];

	ES_SETUP(es_tcp_pair_opts(&o, sv), sv, SENDER);
}

FIXTURE_TEARDOWN(tls)
{
	ES_TEARDOWN();
}

/* Text that is no accident, to be told from ciphertext. */
static const char *es_text(void)
{
	static char text[3000];
	size_t i;

	for (i = 0; i < sizeof(text); i++)
		text[i] = 'a' + i % 23;
	return text;
}

/* One key for one direction is enough for a test; @opt is TLS_TX or TLS_RX. */
static int es_set_key(int fd, int opt)
{
	struct tls12_crypto_info_aes_gcm_128 key = {
		.info.version = TLS_1_3_VERSION,
		.info.cipher_type = TLS_CIPHER_AES_GCM_128,
		.key = "0123456789abcde",
		.salt = "sal",
		.iv = "initial",
	};

	return setsockopt(fd, SOL_TLS, opt, &key, sizeof(key)) ? -errno : 0;
}

#define ATTACH_TLS(fd)							\
do {									\
	if (es_attach_tls(fd))						\
		SKIP(return, "no TLS upper layer protocol here");	\
} while (0)

/* Both ends, both directions. */
#define START_TLS()							\
do {									\
	const int __ends[] = { self->fd, self->peer };			\
	int __i, __err = 0;						\
									\
	for (__i = 0; __i < 2; __i++) {					\
		ATTACH_TLS(__ends[__i]);				\
		__err = __err ?: es_set_key(__ends[__i], TLS_TX);	\
		__err = __err ?: es_set_key(__ends[__i], TLS_RX);	\
	}								\
	if (__err == -ENOENT || __err == -EINVAL)			\
		SKIP(return, "no AES-GCM of TLS 1.3 here");		\
	ASSERT_EQ(0, __err);						\
} while (0)

/* What one end sends in clear, the other one reads in clear. */
#define PASS_TEXT(from, to, len)					\
do {									\
	static char __got[3000];					\
									\
	ASSERT_EQ(len, write(from, es_text(), len));			\
	ASSERT_TRUE(es_until(read(to, __got, sizeof(__got)) == (len)));	\
	EXPECT_EQ(0, memcmp(es_text(), __got, len));			\
	memset(__got, 0, sizeof(__got));				\
} while (0)

TEST_F(tls, r10_attaching_tls_ends_counting_gracefully)
{
	struct epoll_event ev;
	struct epoll_state st;
	int n;

	REGISTER(ES_IO, &st);
	TCP_ARRIVE(100);
	ASSERT_EQ(4, es_next(self->ep, &st));
	ATTACH_TLS(self->fd);

	/* From here on: ordinary edges, without counts. */
	TCP_ARRIVE(50);
	ASSERT_EQ(1, es_next(self->ep, &st));
	EXPECT_EQ(EPOLLIN | EPOLLOUT, st.events);
	EXPECT_EQ(ES_COOKIE, st.data.u64);
	EXPECT_EQ(0, es_pending(self->ep));
	TCP_ARRIVE(50);
	/* One slot is room enough for one of them. */
	n = epoll_wait(self->ep, &ev, 1, ES_DEADLINE_MS);
	ASSERT_EQ(1, n);
	EXPECT_EQ(EPOLLIN | EPOLLOUT, ev.events);
	EXPECT_EQ(0, es_pending(self->ep));

	/* The application falls back to reading until EAGAIN. */
	EXPECT_EQ(200, es_drain(self->fd));
	ASSERT_EQ(0, shutdown(self->peer, SHUT_WR));
	ASSERT_EQ(1, es_next(self->ep, &st));
	EXPECT_EQ(ES_IO, st.events);

	/* Who registers now is told that there is nothing to be had. */
	ASSERT_EQ(0, es_ctl(self->ep, EPOLL_CTL_DEL, self->fd, 0, 0));
	EXPECT_EQ(-EOPNOTSUPP, es_add(self->ep, self->fd, ES_IO | EPOLLSTATE));
	EXPECT_EQ(0, es_add(self->ep, self->fd, ES_IO));
}

TEST_F(tls, r10_mod_after_tls_was_attached_gives_an_ordinary_event)
{
	struct epoll_state st;

	REGISTER(ES_IO, &st);
	ATTACH_TLS(self->fd);
	if (es_mod(self->ep, self->fd, ES_IO | EPOLLSTATE) == -EOPNOTSUPP)
		return;
	ASSERT_EQ(1, es_wait(self->ep, &st, 0));
	EXPECT_EQ(EPOLLOUT, st.events);
	EXPECT_EQ(0, es_pending(self->ep));
}

TEST_F(tls, r10_with_keys_events_are_edges_and_data_comes_in_clear)
{
	struct epoll_state st;
	char got[3000];

	REGISTER(ES_IO, &st);
	TCP_ARRIVE(100);
	ASSERT_EQ(4, es_next(self->ep, &st));
	ASSERT_EQ(100, es_read(self->fd, 8000));
	START_TLS();
	/* Attaching may have woken, but with no record. */
	while (es_wait(self->ep, &st, 0))
		EXPECT_FALSE(st.events & EPOLLSTATE);

	/* In: one edge per record of TLS, and not of ciphertext bytes. */
	ASSERT_EQ(1000, write(self->peer, es_text(), 1000));
	ASSERT_EQ(1, es_next(self->ep, &st));
	EXPECT_EQ(EPOLLIN | EPOLLOUT, st.events);
	EXPECT_EQ(ES_COOKIE, st.data.u64);
	ASSERT_TRUE(es_until(read(self->fd, got, sizeof(got)) == 1000));
	EXPECT_EQ(0, memcmp(es_text(), got, 1000));
	EXPECT_EQ(-EAGAIN, es_read(self->fd, 1));

	/* Out, and both in turn. */
	PASS_TEXT(self->fd, self->peer, 2000);
	PASS_TEXT(self->peer, self->fd, 3000);
	PASS_TEXT(self->fd, self->peer, 1);
	while (es_wait(self->ep, &st, 0))
		EXPECT_FALSE(st.events & EPOLLSTATE);

	/* The end comes as an edge as well. */
	ASSERT_EQ(0, shutdown(self->peer, SHUT_WR));
	ASSERT_EQ(1, es_next(self->ep, &st));
	EXPECT_EQ(ES_IO, st.events);
}

TEST_F(tls, r10_with_keys_who_registers_is_refused)
{
	struct epoll_state st;

	START_TLS();
	EXPECT_EQ(-EOPNOTSUPP, es_add(self->ep, self->fd, ES_IO | EPOLLSTATE));
	EXPECT_EQ(-ENOENT, es_ctl(self->ep, EPOLL_CTL_DEL, self->fd, 0, 0));
	ASSERT_EQ(0, es_add(self->ep, self->fd, EPOLLIN | EPOLLET));
	EXPECT_EQ(-EOPNOTSUPP, es_mod(self->ep, self->fd, ES_IO | EPOLLSTATE));
	/* What was there goes on. */
	EXPECT_EQ(0, es_pending(self->ep));
	ASSERT_EQ(10, write(self->peer, es_text(), 10));
	ASSERT_EQ(1, es_next(self->ep, &st));
	EXPECT_EQ(EPOLLIN, st.events);
}

TEST_F(tls, r10_a_baseline_that_is_owed_becomes_an_ordinary_event)
{
	struct epoll_state st;

	ASSERT_EQ(0, es_add(self->ep, self->fd, ES_IO | EPOLLSTATE));
	ATTACH_TLS(self->fd);
	ASSERT_EQ(1, es_wait(self->ep, &st, 0));
	EXPECT_EQ(EPOLLOUT, st.events);
	EXPECT_EQ(ES_COOKIE, st.data.u64);
	EXPECT_EQ(0, es_pending(self->ep));
}

/* A sender must not wait for a record that will not come. */
TEST_F(tls, r10_room_that_comes_back_is_an_edge)
{
	struct epoll_state st;

	REGISTER(EPOLLOUT, &st);
	START_TLS();
	while (es_wait(self->ep, &st, 0))
		EXPECT_FALSE(st.events & EPOLLSTATE);
	while (es_write(self->fd, 65536) > 0)
		;
	while (es_wait(self->ep, &st, 0))
		EXPECT_FALSE(st.events & EPOLLSTATE);
	ASSERT_TRUE(es_until(({
		es_drain(self->peer);
		es_wait(self->ep, &st, 0);
	})));
	EXPECT_EQ(EPOLLOUT, st.events);
	EXPECT_LT(0, es_write(self->fd, 1000));
}

/* What is read comes out of a queue of its own, which ->poll knows (RFC 8229). */
TEST_F(tls, r10_messages_of_espintcp_are_edges)
{
	static const char ike[] = "\0\x0a\0\0\0\0mail";
	struct epoll_state st;
	int i;

	REGISTER(EPOLLIN, &st);
	if (setsockopt(self->fd, IPPROTO_TCP, TCP_ULP, "espintcp", 8))
		SKIP(return, "no espintcp here");
	while (es_wait(self->ep, &st, 0))
		EXPECT_FALSE(st.events & EPOLLSTATE);
	for (i = 0; i < 3; i++) {
		ASSERT_EQ(10, write(self->peer, ike, 10));
		ASSERT_EQ(1, es_next(self->ep, &st));
		EXPECT_EQ(EPOLLIN, st.events);
		EXPECT_LT(0, es_read(self->fd, 100));
		EXPECT_EQ(0, es_pending(self->ep));
	}
}

/* A sockmap, by the system call alone. */

static int es_bpf(int cmd, union bpf_attr *attr)
{
	int ret = syscall(SYS_bpf, cmd, attr, sizeof(*attr));

	return ret < 0 ? -errno : ret;
}

/* A map for one socket, whose input a program takes out of its queue. */
static int es_sockmap(void)
{
	/* return SK_PASS; */
	static const struct bpf_insn insns[] = {
		{ .code = BPF_ALU64 | BPF_MOV | BPF_K, .dst_reg = BPF_REG_0,
		  .imm = SK_PASS },
		{ .code = BPF_JMP | BPF_EXIT },
	};
	union bpf_attr map = {
		.map_type = BPF_MAP_TYPE_SOCKMAP,
		.key_size = 4,
		.value_size = 4,
		.max_entries = 1,
	};
	union bpf_attr load = {
		.prog_type = BPF_PROG_TYPE_SK_SKB,
		.insns = (uintptr_t)insns,
		.insn_cnt = ARRAY_SIZE(insns),
		.license = (uintptr_t)"GPL",
	};
	union bpf_attr attach = {
		.attach_type = BPF_SK_SKB_VERDICT,
	};
	int map_fd = es_bpf(BPF_MAP_CREATE, &map), err;

	if (map_fd < 0)
		return map_fd;
	attach.target_fd = map_fd;
	err = es_bpf(BPF_PROG_LOAD, &load);
	if (err >= 0) {
		attach.attach_bpf_fd = err;
		err = es_bpf(BPF_PROG_ATTACH, &attach);
		close(attach.attach_bpf_fd);
	}
	if (err < 0) {
		close(map_fd);
		return err;
	}
	return map_fd;
}

static int es_sockmap_put(int map_fd, int fd)
{
	const uint32_t key = 0;
	union bpf_attr attr = {
		.map_fd = map_fd,
		.key = (uintptr_t)&key,
		.value = (uintptr_t)&fd,
	};

	return es_bpf(BPF_MAP_UPDATE_ELEM, &attr);
}

ES_FIXTURE(sockmap, RECEIVER, MAP)

#define INTO_SOCKMAP()							\
({									\
	int __map, __err;						\
									\
	ES_REQUIRE_ROOT();						\
	__map = es_sockmap();						\
	if (__map == -ENOSYS || __map == -EINVAL)			\
		SKIP(return, "no sockmap here");			\
	ASSERT_LE(0, __map);						\
	__err = es_sockmap_put(__map, self->fd);			\
	if (__err == -EOPNOTSUPP)					\
		SKIP(return, "no such socket in a sockmap here");	\
	ASSERT_EQ(0, __err);						\
	__map;								\
})

TEST_F(sockmap, r10_input_comes_as_edges)
{
	const uint32_t len = es_len(variant->type, 100);
	struct epoll_state st;

	REGISTER(ES_IO, &st);
	ARRIVE(100);
	ASSERT_EQ(4, es_next(self->ep, &st));
	TAKE(100);
	INTO_SOCKMAP();
	/* Putting it there may have woken, but with no record. */
	while (es_wait(self->ep, &st, 0))
		EXPECT_FALSE(st.events & EPOLLSTATE);

	ASSERT_EQ(len, es_write(self->peer, len));
	/* It wakes also before the worker has put there what passed. */
	do {
		ASSERT_EQ(1, es_next(self->ep, &st));
		EXPECT_FALSE(st.events & EPOLLSTATE);
	} while (!(st.events & EPOLLIN));
	EXPECT_EQ(EPOLLIN | EPOLLOUT, st.events);
	EXPECT_EQ(ES_COOKIE, st.data.u64);
	ASSERT_TRUE(es_until(es_read(self->fd, 8000) == len));
	while (es_wait(self->ep, &st, 0))
		EXPECT_FALSE(st.events & EPOLLSTATE);
}

TEST_F(sockmap, r10_who_registers_is_refused_while_it_is_in)
{
	int map;

	map = INTO_SOCKMAP();
	EXPECT_EQ(-EOPNOTSUPP, es_add(self->ep, self->fd, ES_IO | EPOLLSTATE));
	ASSERT_EQ(0, es_add(self->ep, self->fd, ES_IO | EPOLLET));
	EXPECT_EQ(-EOPNOTSUPP, es_mod(self->ep, self->fd, ES_IO | EPOLLSTATE));
	/* The end of the map is soon, but not at once. */
	close(map);
	EXPECT_TRUE(es_until(!es_mod(self->ep, self->fd, ES_IO | EPOLLSTATE)));
}

TEST_HARNESS_MAIN
