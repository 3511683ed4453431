// SPDX-License-Identifier: GPL-2.0
/* /proc/PID/fdinfo of an epoll shows what each registration was last told. */

#include "common.h"

struct es_line {
	int tfd;
	unsigned int events;
	unsigned long long data;
	/* What is behind that, but for EPOLLSTATE left as it always was */
	char rest[256];
	int has_told;
	unsigned int told, rcv, snd, outq, msgs, error, seq;
};

FIXTURE(fdinfo)
{
	int ep;
	int fd;
	int peer;
	struct es_line line;
};

FIXTURE_VARIANT(fdinfo)
{
	const struct es_type *type;
};

ES_STREAM_VARIANTS(fdinfo);

FIXTURE_SETUP(fdinfo)
{
	int sv[2];

	ES_REQUIRE_KERNEL();
	if (access("/proc/self/fdinfo/0", R_OK))
		SKIP(return, "no fdinfo");
	ES_SETUP_PAIR(variant->type->pair(sv), sv);
	self->fd = sv[0];
	self->peer = sv[1];
	self->ep = epoll_create1(EPOLL_CLOEXEC);
	ASSERT_LE(0, self->ep);
}

FIXTURE_TEARDOWN(fdinfo)
{
	close(self->ep);
	close(self->fd);
	close(self->peer);
}

/* The line of @fd; false if there is none, or more than one. */
static bool es_fdinfo(int ep, int fd, struct es_line *l)
{
	char path[64], text[4096], *at, *end, *next;
	int found = 0, n;

	memset(l, 0, sizeof(*l));
	snprintf(path, sizeof(path), "/proc/self/fdinfo/%d", ep);
	if (es_read_file(path, text, sizeof(text)) < 0)
		return false;
	for (at = strstr(text, "tfd:"); at; at = next) {
		int tfd;

		end = strchr(at, '\n');
		if (!end)
			return false;
		*end = '\0';
		next = strstr(end + 1, "tfd:");
		if (sscanf(at, "tfd: %d", &tfd) != 1 || tfd != fd)
			continue;
		found++;
		l->tfd = tfd;
		if (sscanf(at, "tfd: %*d events: %x data: %llx %n",
			   &l->events, &l->data, &n) < 2)
			return false;
		snprintf(l->rest, sizeof(l->rest), "%s", at + n);
		at = strstr(at, " told:");
		if (!at)
			continue;
		n = sscanf(at, " told:%x rcv:%u snd:%u outq:%u msgs:%u "
			   "error:%u seq:%u", &l->told, &l->rcv, &l->snd,
			   &l->outq, &l->msgs, &l->error, &l->seq);
		l->has_told = n == 7;
	}
	return found == 1;
}

#define EXPECT_TOLD(st)							\
do {									\
	ASSERT_TRUE(es_fdinfo(self->ep, self->fd, &self->line));	\
	EXPECT_TRUE(self->line.has_told);				\
	EXPECT_EQ((st).events, self->line.told);			\
	EXPECT_EQ((st).rcv, self->line.rcv);				\
	EXPECT_EQ((st).snd, self->line.snd);				\
	EXPECT_EQ((st).outq, self->line.outq);				\
	EXPECT_EQ((st).msgs, self->line.msgs);				\
	EXPECT_EQ((st).error, self->line.error);			\
	EXPECT_EQ((st).seq, self->line.seq);				\
} while (0)

TEST_F(fdinfo, it_shows_what_was_told_last)
{
	struct epoll_state st = {};
	int i;

	ASSERT_EQ(0, es_add(self->ep, self->fd, ES_IO | EPOLLSTATE));
	/* Nothing yet. */
	EXPECT_TOLD(st);
	ASSERT_EQ(4, es_wait(self->ep, &st, 0));
	EXPECT_TOLD(st);
	for (i = 1; i < 4; i++) {
		ASSERT_EQ(100 * i, es_write(self->peer, 100 * i));
		SETTLE();
		/* What happened since, it does not know. */
		EXPECT_TOLD(st);
		ASSERT_EQ(4, es_wait(self->ep, &st, 0));
		EXPECT_EQ(i, st.seq);
		EXPECT_TOLD(st);
	}
	ASSERT_EQ(0, variant->type->shut(self->peer));
	ASSERT_EQ(4, es_next(self->ep, &st));
	EXPECT_TRUE(st.events & EPOLLRDHUP);
	EXPECT_TOLD(st);
}

TEST_F(fdinfo, a_refused_delivery_is_not_shown)
{
	struct epoll_event slots[3];
	struct epoll_state st = {};

	ASSERT_EQ(0, es_add(self->ep, self->fd, ES_IO | EPOLLSTATE));
	ASSERT_EQ(-1, epoll_wait(self->ep, slots, 3, 0));
	EXPECT_TOLD(st);
}

TEST_F(fdinfo, the_fields_in_front_stay_as_they_were)
{
	const int plain = dup(self->fd);
	struct es_line l;
	char *extra;

	ASSERT_EQ(0, es_add(self->ep, self->fd, EPOLLIN | EPOLLSTATE));
	ASSERT_EQ(0, es_ctl(self->ep, EPOLL_CTL_ADD, plain, EPOLLIN, 77));

	ASSERT_TRUE(es_fdinfo(self->ep, plain, &l));
	EXPECT_FALSE(l.has_told);
	EXPECT_EQ(77, l.data);
	EXPECT_EQ(EPOLLIN | EPOLLERR | EPOLLHUP, l.events);

	ASSERT_TRUE(es_fdinfo(self->ep, self->fd, &self->line));
	EXPECT_TRUE(self->line.has_told);
	EXPECT_EQ(ES_COOKIE, self->line.data);
	EXPECT_EQ(EPOLLIN | EPOLLERR | EPOLLHUP | EPOLLSTATE | EPOLLET,
		  self->line.events);

	/* Of the same file: the same but for the new fields behind. */
	extra = strstr(self->line.rest, " told:");
	ASSERT_TRUE(!!extra);
	*extra = '\0';
	EXPECT_STREQ(l.rest, self->line.rest);
	close(plain);
}

TEST_F(fdinfo, dropping_epollstate_drops_the_fields)
{
	ASSERT_EQ(0, es_add(self->ep, self->fd, EPOLLIN | EPOLLSTATE));
	ASSERT_EQ(0, es_mod(self->ep, self->fd, EPOLLIN));
	ASSERT_TRUE(es_fdinfo(self->ep, self->fd, &self->line));
	EXPECT_FALSE(self->line.has_told);
	EXPECT_EQ(EPOLLIN | EPOLLERR | EPOLLHUP, self->line.events);
}

TEST_HARNESS_MAIN
