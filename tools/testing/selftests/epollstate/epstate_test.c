// SPDX-License-Identifier: GPL-2.0
/*
 * tools/epollstate/epstate, the program that shows records of any file: run as
 * a user would run it.  EPSTATE in the environment says where it is.
 */

#include <signal.h>

#include "common.h"

struct es_line {
	char name[64], events[64], error[32];
	unsigned int rcv, snd, outq, msgs, seq;
};

struct es_tool {
	pid_t pid;
	FILE *out;
};

static const char *es_tool_path(void)
{
	static const char * const paths[] = {
		"/tools/epstate", "../../../epollstate/epstate",
	};
	const char *env = getenv("EPSTATE");
	size_t i;

	if (env)
		return env;
	for (i = 0; i < ARRAY_SIZE(paths); i++)
		if (!access(paths[i], X_OK))
			return paths[i];
	return NULL;
}

/* Runs it with @in as its descriptor 0, and its output and errors in ->out. */
static int es_tool_start(struct es_tool *t, int in, char *const argv[])
{
	int out[2];

	if (pipe(out))
		return -errno;
	t->pid = fork();
	if (!t->pid) {
		dup2(in, 0);
		dup2(out[1], 1);
		dup2(out[1], 2);
		close(out[0]);
		close(out[1]);
		execv(es_tool_path(), argv);
		_exit(127);
	}
	close(out[1]);
	t->out = fdopen(out[0], "r");
	return t->pid < 0 || !t->out ? -errno : 0;
}

/* Its next line that is a record; false at the end of its output. */
static bool es_tool_line(struct es_tool *t, struct es_line *l)
{
	char text[512], *word[32];
	unsigned int *number[] = { &l->rcv, &l->snd, &l->outq, &l->msgs };
	size_t n, i;

	while (fgets(text, sizeof(text), t->out)) {
		memset(l, 0, sizeof(*l));
		n = 0;
		for (word[n] = strtok(text, "\n "); word[n] && n < 31;)
			word[++n] = strtok(NULL, "\n ");
		/* A name, some events, and six columns; no heading, no error. */
		if (n < 8 || !strchr("0123456789", word[n - 1][0]))
			continue;
		snprintf(l->name, sizeof(l->name), "%s", word[0]);
		snprintf(l->events, sizeof(l->events), "%s", word[1]);
		for (i = 0; i < ARRAY_SIZE(number); i++)
			*number[i] = atoi(word[n - 6 + i]);
		snprintf(l->error, sizeof(l->error), "%s", word[n - 2]);
		l->seq = atoi(word[n - 1]);
		return true;
	}
	return false;
}

static int es_tool_end(struct es_tool *t)
{
	int status = -1;

	fclose(t->out);
	waitpid(t->pid, &status, 0);
	return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

#define START(t, in, ...)						\
do {									\
	static char *__argv[] = { "epstate", __VA_ARGS__, NULL };	\
									\
	ES_REQUIRE_KERNEL();						\
	if (!es_tool_path())						\
		SKIP(return, "epstate is not built");			\
	ASSERT_EQ(0, es_tool_start(t, in, __argv));			\
} while (0)

TEST(what_it_is_started_with_is_shown_as_it_changes)
{
	struct es_tool t;
	struct es_line l;
	int sv[2], i;

	ASSERT_EQ(0, es_tcp4_pair(sv));
	START(&t, sv[0], "-n", "4", "0");
	ASSERT_TRUE(es_tool_line(&t, &l));
	EXPECT_STREQ("0", l.name);
	EXPECT_STREQ("OUT", l.events);
	EXPECT_EQ(0, l.rcv);
	EXPECT_LT(0, l.snd);
	EXPECT_STREQ("-", l.error);
	EXPECT_EQ(0, l.seq);
	for (i = 1; i < 4; i++) {
		ASSERT_EQ(100, es_write(sv[1], 100));
		ASSERT_TRUE(es_tool_line(&t, &l));
		EXPECT_STREQ("IN", l.events);
		EXPECT_EQ(100 * i, l.rcv);
		EXPECT_EQ(i, l.seq);
	}
	/* As many lines as asked for, and then it ends. */
	EXPECT_FALSE(es_tool_line(&t, &l));
	EXPECT_EQ(0, es_tool_end(&t));
}

TEST(baselines_only_are_one_line_each)
{
	struct es_tool t;
	struct es_line l;
	int lines = 0;

	START(&t, 0, "-1", "eventfd", "tcp-listen:0", "timerfd:100000");
	while (es_tool_line(&t, &l)) {
		EXPECT_EQ(0, l.seq);
		EXPECT_EQ(0, l.rcv);
		EXPECT_STREQ(strcmp(l.name, "eventfd") ? "-" : "OUT",
			     l.events);
		if (!strcmp(l.name, "eventfd"))
			EXPECT_EQ(8, l.snd);
		lines++;
	}
	EXPECT_EQ(3, lines);
	EXPECT_EQ(0, es_tool_end(&t));
}

TEST(an_error_is_shown_by_name_and_the_end_is_the_end)
{
	const struct linger abort = { .l_onoff = 1 };
	struct es_tool t;
	struct es_line l;
	int sv[2];

	ASSERT_EQ(0, es_tcp4_pair(sv));
	START(&t, sv[0], "0");
	ASSERT_TRUE(es_tool_line(&t, &l));
	setsockopt(sv[1], SOL_SOCKET, SO_LINGER, &abort, sizeof(abort));
	close(sv[1]);
	ASSERT_TRUE(es_tool_line(&t, &l));
	EXPECT_STREQ("ECONNRESET", l.error);
	EXPECT_FALSE(es_tool_line(&t, &l));
	EXPECT_EQ(0, es_tool_end(&t));
}

TEST(what_cannot_be_watched_is_one_line_of_error)
{
	char text[256] = "", more[8];
	struct es_tool t;

	START(&t, 0, "/nonexistent");
	EXPECT_TRUE(!!fgets(text, sizeof(text), t.out));
	EXPECT_STREQ("epstate: /nonexistent: No such file or directory\n",
		     text);
	EXPECT_FALSE(!!fgets(more, sizeof(more), t.out));
	EXPECT_EQ(1, es_tool_end(&t));
}

TEST_HARNESS_MAIN
