// SPDX-License-Identifier: GPL-2.0
/*
 * What an ordinary edge-triggered registration is told, step by step, on each
 * type of file (R9).
 *
 * The events are part of the names of the results.  So the same results on the
 * unpatched and on the patched kernel are the same wake-ups, not one more and
 * not one fewer; "make test" compares them.  On a kernel with EPOLLSTATE a
 * second epoll watches the same files with it, which must not make a
 * difference either.
 */
#include "common.h"

enum { END_SENDS, END_RECEIVES, NENDS };

struct watch {
	int ep;
	int state_ep;		/* -1: the kernel has none */
};

/* Each edge since the last call, of both ends, in the order they came. */
static void tell(struct watch *w, const struct es_type *t, const char *step)
{
	char text[120] = "";
	struct epoll_event ev[8];
	int i, n, len = 0;

	n = epoll_wait(w->ep, ev, ARRAY_SIZE(ev), 0);
	for (i = 0; i < n; i++)
		len += snprintf(text + len, sizeof(text) - len, " %s %#x",
				ev[i].data.u32 == END_SENDS ? "sender" : "receiver",
				ev[i].events);
	ksft_test_result_pass("%s, %s:%s\n", t->name, step,
			      n > 0 ? text : " nothing");
	if (w->state_ep >= 0)
		while (epoll_wait(w->state_ep, ev, ARRAY_SIZE(ev), 0) > 0)
			;
}

static void add(struct watch *w, int end, int fd)
{
	if (es_ctl(w->ep, EPOLL_CTL_ADD, fd, ES_IO | EPOLLET, end) ||
	    (w->state_ep >= 0 &&
	     es_ctl(w->state_ep, EPOLL_CTL_ADD, fd, ES_IO | EPOLLSTATE, end)))
		ksft_exit_fail_msg("cannot register: %m\n");
}

#define STEPS	9

static void steps(const struct es_type *t)
{
	struct watch w = { .ep = epoll_create1(EPOLL_CLOEXEC), .state_ep = -1 };
	const uint32_t small = es_len(t, 100), large = es_len(t, 3000);
	int sv[2], err = t->pair(sv), i;

	if (err) {
		for (i = 0; i < STEPS; i++)
			ksft_test_result_skip("%s: %s\n", t->name, strerror(-err));
		return;
	}
	if (es_kernel_has_epollstate())
		w.state_ep = epoll_create1(EPOLL_CLOEXEC);
	add(&w, END_SENDS, sv[0]);
	if (!t->one_file)
		add(&w, END_RECEIVES, sv[1]);
	tell(&w, t, "registered");

#define STEP(what, op)							\
do {									\
	(void)!(op);							\
	if (!es_until(es_idle(t, sv[0], sv[1])))			\
		ksft_print_msg("%s does not settle\n", t->name);	\
	tell(&w, t, what);						\
} while (0)

	STEP("first message", es_deliver(t, sv[0], sv[1], small));
	STEP("nothing", 0);
	STEP("second message", es_deliver(t, sv[0], sv[1], large));
	STEP("part of it read", es_read(sv[1], small));
	STEP("all read", es_drain(sv[1]));
	STEP("third message", es_deliver(t, sv[0], sv[1], small));
	STEP("read", es_drain(sv[1]));
	if (t->shut)
		STEP("end of file", t->shut(&sv[0]));
	else
		tell(&w, t, "no end of file");
	close(sv[0]);
	close(sv[1]);
	close(w.ep);
	close(w.state_ep);
}

/* How many edges a sender gets while a reader takes out all, bit by bit. */
static void drain_bit_by_bit(const struct es_type *t)
{
	struct watch w = { .ep = epoll_create1(EPOLL_CLOEXEC), .state_ep = -1 };
	int sv[2], err = t->pair(sv), edges = 0, reads = 0;
	struct epoll_event ev;

	if (err) {
		ksft_test_result_skip("%s: %s\n", t->name, strerror(-err));
		return;
	}
	if (es_kernel_has_epollstate())
		w.state_ep = epoll_create1(EPOLL_CLOEXEC);
	add(&w, END_SENDS, sv[0]);
	while (es_write(sv[0], 1000) > 0)
		;
	while (epoll_wait(w.ep, &ev, 1, 0) > 0)
		;
	while (es_read(sv[1], 1000) > 0) {
		reads++;
		edges += epoll_wait(w.ep, &ev, 1, 0);
		if (w.state_ep >= 0)
			es_pending(w.state_ep);
	}
	ksft_test_result_pass("%s, drained by %d reads: edges %d\n", t->name,
			      reads, edges);
	close(sv[0]);
	close(sv[1]);
	close(w.ep);
	close(w.state_ep);
}

int main(void)
{
	/* Those whose bytes are where they go when a call returns, or settle. */
	static const struct es_type *const types[] = {
		&es_tcp4, &es_tcp6, &es_unix_stream, &es_unix_seqpacket,
		&es_unix_dgram, &es_udp4, &es_udp6, &es_pipe, &es_fifo,
		&es_eventfd, &es_timerfd,
	};
	static const struct es_type *const local[] = {
		&es_unix_stream, &es_unix_seqpacket, &es_unix_dgram, &es_pipe,
		&es_fifo,
	};
	unsigned int i;

	/* The results have names that only come about here: no harness. */
	(void)test_harness_run;
	ksft_print_header();
	ksft_set_plan(ARRAY_SIZE(types) * STEPS + ARRAY_SIZE(local));
	for (i = 0; i < ARRAY_SIZE(types); i++)
		steps(types[i]);
	for (i = 0; i < ARRAY_SIZE(local); i++)
		drain_bit_by_bit(local[i]);
	ksft_finished();
}
