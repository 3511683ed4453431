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

static struct es_line line;

ES_FIXTURE(fdinfo, RECEIVER, ALL)
ES_FIXTURE(eof, RECEIVER, EOF)

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
	ASSERT_TRUE(es_fdinfo(self->ep, self->fd, &line));	\
	EXPECT_TRUE(line.has_told);				\
	EXPECT_EQ((st).events, line.told);			\
	EXPECT_EQ((st).rcv, line.rcv);				\
	EXPECT_EQ((st).snd, line.snd);				\
	EXPECT_EQ((st).outq, line.outq);				\
	EXPECT_EQ((st).msgs, line.msgs);				\
	EXPECT_EQ((st).error, line.error);			\
	EXPECT_EQ((st).seq, line.seq);				\
} while (0)

TEST_F(fdinfo, it_shows_what_was_told_last)
{
	struct epoll_state st = {};
	int i;

	ASSERT_EQ(0, es_add(self->ep, self->fd, ES_IN | EPOLLSTATE));
	/* Nothing yet. */
	EXPECT_TOLD(st);
	ASSERT_EQ(4, es_wait(self->ep, &st, 0));
	EXPECT_TOLD(st);
	for (i = 1; i < 4; i++) {
		ARRIVE(100 * i);
		/* What happened since, it does not know. */
		EXPECT_TOLD(st);
		ASSERT_EQ(4, es_wait(self->ep, &st, 0));
		EXPECT_EQ(i, st.seq);
		EXPECT_TOLD(st);
	}
}

TEST_F(eof, it_shows_that_the_end_of_file_was_told)
{
	struct epoll_state st;

	REGISTER(ES_IO, &st);
	ARRIVE(100);
	ASSERT_EQ(4, es_next(self->ep, &st));
	ASSERT_EQ(0, variant->type->shut(&self->peer));
	EXPECT_TOLD(st);
	ASSERT_EQ(4, es_next(self->ep, &st));
	EXPECT_TRUE(st.events & (EPOLLRDHUP | EPOLLHUP));
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

	ASSERT_TRUE(es_fdinfo(self->ep, self->fd, &line));
	EXPECT_TRUE(line.has_told);
	EXPECT_EQ(ES_COOKIE, line.data);
	EXPECT_EQ(EPOLLIN | EPOLLERR | EPOLLHUP | EPOLLSTATE | EPOLLET,
		  line.events);

	/* Of the same file: the same but for the new fields behind. */
	extra = strstr(line.rest, " told:");
	ASSERT_TRUE(!!extra);
	*extra = '\0';
	EXPECT_STREQ(l.rest, line.rest);
	close(plain);
}

TEST_F(fdinfo, dropping_epollstate_drops_the_fields)
{
	ASSERT_EQ(0, es_add(self->ep, self->fd, EPOLLIN | EPOLLSTATE));
	ASSERT_EQ(0, es_mod(self->ep, self->fd, EPOLLIN));
	ASSERT_TRUE(es_fdinfo(self->ep, self->fd, &line));
	EXPECT_FALSE(line.has_told);
	EXPECT_EQ(EPOLLIN | EPOLLERR | EPOLLHUP, line.events);
}

TEST_HARNESS_MAIN
