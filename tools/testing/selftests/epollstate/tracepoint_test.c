// SPDX-License-Identifier: GPL-2.0
/* epoll:epoll_state fires once per record delivered, with all its fields. */

#include <sys/stat.h>

#include "common.h"

FIXTURE(tracepoint)
{
	char dir[128];	/* an instance of our own */
	char text[65536];
	int ep;
	int fd;
};

FIXTURE_SETUP(tracepoint)
{
	static const char * const roots[] = {
		"/sys/kernel/tracing", "/sys/kernel/debug/tracing",
	};
	char path[192];
	size_t i;

	ES_REQUIRE_KERNEL();
	ES_REQUIRE_ROOT();
	for (i = 0; i < ARRAY_SIZE(roots); i++) {
		snprintf(self->dir, sizeof(self->dir), "%s/instances/es%d",
			 roots[i], getpid());
		if (!mkdir(self->dir, 0700))
			break;
	}
	if (i == ARRAY_SIZE(roots))
		SKIP(return, "no tracefs");
	snprintf(path, sizeof(path), "%s/events/epoll/epoll_state/enable",
		 self->dir);
	ASSERT_EQ(0, es_write_file(path, "1"));
	self->ep = epoll_create1(EPOLL_CLOEXEC);
	self->fd = eventfd(1, EFD_NONBLOCK | EFD_CLOEXEC);
}

FIXTURE_TEARDOWN(tracepoint)
{
	close(self->ep);
	close(self->fd);
	rmdir(self->dir);
}

/* The value of "name=" in @text, or of "name:"; decimal or 0x... */
static unsigned long long es_field(const char *text, const char *name)
{
	const size_t len = strlen(name);
	const char *at = text;

	while ((at = strstr(at, name))) {
		if (at > text && at[-1] == ' ' &&
		    (at[len] == '=' || at[len] == ':'))
			break;
		at += len;
	}
	if (!at)
		return ~0ULL;
	at += len + 1;
	while (*at == ' ')
		at++;
	/* Masks and cookies are shown in hexadecimal. */
	if (!strcmp(name, "events") || !strcmp(name, "data"))
		return strtoull(at, NULL, 16);
	return strtoull(at, NULL, 10);
}

#define EXPECT_TRACED(text, st)						\
do {									\
	EXPECT_EQ((st).events, es_field(text, "events"));		\
	EXPECT_EQ((st).data.u64, es_field(text, "data"));		\
	EXPECT_EQ((st).rcv, es_field(text, "rcv"));			\
	EXPECT_EQ((st).snd, es_field(text, "snd"));			\
	EXPECT_EQ((st).outq, es_field(text, "outq"));			\
	EXPECT_EQ((st).msgs, es_field(text, "msgs"));			\
	EXPECT_EQ((st).error, es_field(text, "error"));			\
	EXPECT_EQ((st).seq, es_field(text, "seq"));			\
} while (0)

TEST_F(tracepoint, it_has_the_fields_of_a_record)
{
	static const char * const fields[] = {
		"events;", "data;", "rcv;", "snd;", "outq;", "msgs;",
		"error;", "seq;",
	};
	char path[192];
	size_t i;

	snprintf(path, sizeof(path), "%s/events/epoll/epoll_state/format",
		 self->dir);
	ASSERT_LT(0, es_read_file(path, self->text, sizeof(self->text)));
	for (i = 0; i < ARRAY_SIZE(fields); i++) {
		EXPECT_TRUE(!!strstr(self->text, fields[i])) {
			TH_LOG("no field %s", fields[i]);
		}
	}
}

TEST_F(tracepoint, it_fires_once_per_record_and_not_for_others)
{
	struct epoll_state st[5];
	struct epoll_event slots[3];
	char path[192], *at;
	int sv[2], n = 0;

	snprintf(path, sizeof(path), "%s/trace", self->dir);
	ASSERT_EQ(0, es_tcp4_pair(sv));
	/* An ordinary event, and a record that did not fit. */
	ASSERT_EQ(0, es_add(self->ep, self->fd, EPOLLIN | EPOLLET));
	ASSERT_EQ(1, es_wait(self->ep, &st[0], 0));
	ASSERT_EQ(0, es_add(self->ep, sv[0], ES_IO | EPOLLSTATE));
	ASSERT_EQ(-1, epoll_wait(self->ep, slots, 3, 0));
	/* Five records. */
	ASSERT_EQ(4, es_wait(self->ep, &st[0], 0));
	ASSERT_EQ(1234, es_write(sv[1], 1234));
	ASSERT_TRUE(es_until(es_tcp_idle(sv[0], sv[1])));
	ASSERT_EQ(4, es_next(self->ep, &st[1]));
	ASSERT_EQ(4, es_sample(self->ep, sv[0], EPOLLIN, &st[2]));
	ASSERT_EQ(0, es_mod(self->ep, self->fd, EPOLLIN | EPOLLSTATE));
	ASSERT_EQ(4, es_wait(self->ep, &st[3], 0));
	ASSERT_EQ(0, shutdown(sv[1], SHUT_WR));
	ASSERT_EQ(4, es_next(self->ep, &st[4]));

	ASSERT_LT(0, es_read_file(path, self->text, sizeof(self->text)));
	for (at = self->text; (at = strstr(at, " epoll_state: ")); n++) {
		char *end = strchr(at, '\n');

		if (end)
			*end = '\0';
		at += strlen(" epoll_state:");
		if (n < 5)
			EXPECT_TRACED(at, st[n]);
		at = end ? end + 1 : at + strlen(at);
	}
	EXPECT_EQ(5, n);
	close(sv[0]);
	close(sv[1]);
}

TEST_HARNESS_MAIN
