// SPDX-License-Identifier: GPL-2.0
/*
 * What terminals report, by example of the two ends of a pseudo-terminal: lines
 * and bytes as TIOCINQ counts them, room that a write really gets, hang-ups.
 */

#include "common.h"

#include <linux/tty.h>
#include <signal.h>
#include <termios.h>

/* A pseudo-terminal takes 8 KiB; what was read may hold on to some of it. */
#define TTY_ROOM_MIN	4096

FIXTURE(tty)
{
	struct es_rnd rnd;
	int epm;
	int eps;
	int m;
	int s;
};

static int set_flags(int fd, tcflag_t iflag, tcflag_t oflag, tcflag_t lflag)
{
	struct termios tio;

	if (tcgetattr(fd, &tio))
		return -errno;
	cfmakeraw(&tio);
	tio.c_iflag = iflag;
	tio.c_oflag = oflag;
	tio.c_lflag = lflag;
	tio.c_cc[VMIN] = 1;
	tio.c_cc[VTIME] = 0;
	return tcsetattr(fd, TCSANOW, &tio) ? -errno : 0;
}

FIXTURE_SETUP(tty)
{
	ES_REQUIRE_KERNEL();
	self->m = posix_openpt(O_RDWR | O_NOCTTY | O_NONBLOCK | O_CLOEXEC);
	if (self->m < 0 || grantpt(self->m) || unlockpt(self->m))
		SKIP(return, "no pseudo-terminals: %s", strerror(errno));
	self->s = open(ptsname(self->m), O_RDWR | O_NOCTTY | O_NONBLOCK |
		       O_CLOEXEC);
	ASSERT_LE(0, self->s);
	ASSERT_EQ(0, set_flags(self->s, 0, 0, 0));
	self->rnd = es_seed();
	self->epm = epoll_create1(EPOLL_CLOEXEC);
	ASSERT_LE(0, self->epm);
	self->eps = epoll_create1(EPOLL_CLOEXEC);
	ASSERT_LE(0, self->eps);
}

FIXTURE_TEARDOWN(tty)
{
	close(self->epm);
	close(self->eps);
	close(self->s);
	close(self->m);
}

static int outq(int fd)
{
	int n = -1;

	return ioctl(fd, TIOCOUTQ, &n) ? -errno : n;
}

/* Take records until one says @cond of st. */
#define NEXT_UNTIL(ep, st, cond)					\
do {									\
	do {								\
		ASSERT_EQ(4, es_next(ep, st));				\
	} while (!(cond));						\
} while (0)

#define ADD(ep, fd, events, st)						\
do {									\
	ASSERT_EQ(0, es_add(ep, fd, (events) | EPOLLSTATE));		\
	ASSERT_EQ(4, es_wait(ep, st, 0));				\
} while (0)

TEST_F(tty, both_ends_report_room_and_nothing_to_read)
{
	struct epoll_state st;

	ADD(self->epm, self->m, ES_IO, &st);
	EXPECT_EQ(EPOLLSTATE | EPOLLOUT, st.events);
	EXPECT_LE(TTY_ROOM_MIN, st.snd);
	EXPECT_EQ(0, st.rcv | st.outq | st.msgs | st.error);
	ADD(self->eps, self->s, ES_IO, &st);
	EXPECT_EQ(EPOLLSTATE | EPOLLOUT, st.events);
	EXPECT_LE(TTY_ROOM_MIN, st.snd);
	EXPECT_EQ(0, st.rcv | st.outq | st.msgs | st.error);
}

TEST_F(tty, bytes_agree_with_tiocinq_and_are_read_whole)
{
	int i, n, sum = 0;
	struct epoll_state st;
	/* Both ways. */
	const int fds[2] = { self->m, self->s };
	const int eps[2] = { self->epm, self->eps };

	ADD(self->epm, self->m, ES_IO, &st);
	ADD(self->eps, self->s, ES_IO, &st);
	for (i = 0; i < 500; i++) {
		const int to = i / 250;

		n = es_rnd_upto(&self->rnd, 300);
		if (sum + n < 4000) {
			ASSERT_EQ(n, es_write(fds[!to], n));
			sum += n;
			NEXT_UNTIL(eps[to], &st, st.rcv == sum);
		}
		ASSERT_EQ(sum, es_fionread(fds[to]));
		ASSERT_EQ(4, es_sample(eps[to], fds[to], ES_IO, &st));
		ASSERT_EQ(sum, st.rcv);
		ASSERT_EQ(outq(fds[to]), st.outq);
		ASSERT_EQ(outq(fds[!to]), 0);
		if (es_rnd(&self->rnd) % 8 == 0 || i % 250 == 249) {
			ASSERT_EQ(st.rcv, es_read(fds[to], st.rcv));
			sum = 0;
		} else if (es_rnd(&self->rnd) % 2) {
			n = es_rnd_upto(&self->rnd, 200);
			n = es_read(fds[to], n);
			sum -= n > 0 ? n : 0;
		}
	}
}

TEST_F(tty, a_line_counts_when_it_is_complete)
{
	struct epoll_state st;

	ASSERT_EQ(0, set_flags(self->s, ICRNL, 0, ICANON));
	ADD(self->eps, self->s, ES_IO, &st);
	ASSERT_EQ(3, write(self->m, "abc", 3));
	ASSERT_EQ(4, es_sample(self->eps, self->s, ES_IO, &st));
	EXPECT_EQ(0, st.rcv);
	EXPECT_EQ(0, st.events & EPOLLIN);
	/* The last letter is taken back. */
	ASSERT_EQ(2, write(self->m, "\177\n", 2));
	NEXT_UNTIL(self->eps, &st, st.rcv);
	EXPECT_EQ(EPOLLSTATE | EPOLLIN | EPOLLOUT, st.events);
	EXPECT_EQ(3, st.rcv);
	EXPECT_EQ(3, es_fionread(self->s));
	/* rcv is for all lines, a read for one. */
	ASSERT_EQ(2, write(self->m, "d\r", 2));
	NEXT_UNTIL(self->eps, &st, st.rcv == 5);
	EXPECT_EQ(5, es_fionread(self->s));
	EXPECT_EQ(3, es_read(self->s, st.rcv));
	EXPECT_EQ(2, es_read(self->s, st.rcv));
	EXPECT_EQ(-EAGAIN, es_read(self->s, 1));
}

TEST_F(tty, an_end_of_file_typed_is_input_of_no_bytes)
{
	struct epoll_state st;

	ASSERT_EQ(0, set_flags(self->s, 0, 0, ICANON));
	ADD(self->eps, self->s, ES_IO, &st);
	ASSERT_EQ(1, write(self->m, "\4", 1));
	NEXT_UNTIL(self->eps, &st, st.events & EPOLLIN);
	EXPECT_EQ(0, st.rcv);
	EXPECT_EQ(0, es_read(self->s, 100));
	ASSERT_EQ(3, write(self->m, "ab\4", 3));
	NEXT_UNTIL(self->eps, &st, st.rcv);
	EXPECT_EQ(2, st.rcv);
	EXPECT_EQ(2, es_read(self->s, 100));
}

TEST_F(tty, vmin_holds_back_the_event_and_not_the_count)
{
	struct epoll_state st;
	struct termios tio;

	ASSERT_EQ(0, tcgetattr(self->s, &tio));
	tio.c_cc[VMIN] = 5;
	ASSERT_EQ(0, tcsetattr(self->s, TCSANOW, &tio));
	ADD(self->eps, self->s, ES_IO, &st);
	ASSERT_EQ(3, write(self->m, "abc", 3));
	NEXT_UNTIL(self->eps, &st, st.rcv);
	EXPECT_EQ(3, st.rcv);
	EXPECT_EQ(0, st.events & EPOLLIN);
	ASSERT_EQ(3, write(self->m, "def", 3));
	NEXT_UNTIL(self->eps, &st, st.rcv == 6);
	EXPECT_EQ(EPOLLIN, st.events & EPOLLIN);
	EXPECT_EQ(6, es_read(self->s, 6));
}

TEST_F(tty, input_is_told_after_a_flush_begins_counting_anew)
{
	struct epoll_state st;
	int i;

	ADD(self->eps, self->s, EPOLLIN, &st);
	for (i = 0; i < 5; i++) {
		ASSERT_EQ(5, write(self->m, "abcde", 5));
		NEXT_UNTIL(self->eps, &st, st.rcv == 5);
		ASSERT_EQ(0, tcflush(self->s, TCIFLUSH));
		ASSERT_EQ(5, write(self->m, "fghij", 5));
		NEXT_UNTIL(self->eps, &st, st.rcv == 5);
		ASSERT_EQ(5, es_read(self->s, 5));
	}
}

TEST_F(tty, packet_mode_puts_a_byte_in_front)
{
	struct epoll_state st;
	int on = 1;

	ASSERT_EQ(0, ioctl(self->m, TIOCPKT, &on));
	ADD(self->epm, self->m, ES_IO | EPOLLPRI, &st);
	EXPECT_EQ(0, st.rcv);
	ASSERT_EQ(5, write(self->s, "abcde", 5));
	NEXT_UNTIL(self->epm, &st, st.rcv);
	EXPECT_EQ(6, st.rcv);
	EXPECT_EQ(6, es_read(self->m, 6));
	/*
	 * A change of state is read on its own.  What is behind it was told
	 * before, and the record that tells of the change does not forget it.
	 */
	ASSERT_EQ(2, write(self->s, "fg", 2));
	NEXT_UNTIL(self->epm, &st, st.rcv == 3);
	ASSERT_EQ(0, tcflush(self->s, TCIFLUSH));
	NEXT_UNTIL(self->epm, &st, st.events & EPOLLPRI);
	EXPECT_EQ(4, st.rcv);
	EXPECT_EQ(1, es_read(self->m, st.rcv));
	EXPECT_EQ(3, es_read(self->m, st.rcv - 1));
	EXPECT_EQ(-EAGAIN, es_read(self->m, 1));
}

/* Text in which every byte grows as much as the settings allow. */
static const char *worst(tcflag_t oflag)
{
	static char buf[1 << 20];

	memset(buf, (oflag & TABDLY) == XTABS ? '\t' : '\n', sizeof(buf));
	return buf;
}

/* Text of many pieces to the output processing. */
static const char *pieces(struct es_rnd *rnd, size_t max)
{
	static char buf[1 << 20];
	size_t i;

	memset(buf, 'x', sizeof(buf));
	for (i = 0; i < sizeof(buf); i += es_rnd_upto(rnd, max))
		buf[i] = es_rnd(rnd) % 2 ? '\n' : '\t';
	return buf;
}

TEST_F_TIMEOUT(tty, what_is_promised_is_taken_whole, ES_TIMEOUT)
{
	static const tcflag_t oflags[] = {
		0, OPOST, OPOST | ONLCR, OPOST | XTABS, OPOST | ONLCR | XTABS,
	};
	struct epoll_state st;
	const char *text;
	size_t i, j, n;

	ADD(self->eps, self->s, ES_IO, &st);
	for (i = 0; i < ARRAY_SIZE(oflags); i++) {
		ASSERT_EQ(0, set_flags(self->s, 0, oflags[i], 0));
		for (j = 0; j < 8; j++) {
			ASSERT_EQ(0, tcflush(self->s, TCOFLUSH));
			es_drain(self->m);
			switch (j % 4) {
			case 0:
				text = worst(oflags[i]);
				break;
			case 1:
				text = es_buf();
				break;
			default:
				text = pieces(&self->rnd, j % 4 == 2 ? 600 :
					      4000);
				break;
			}
			/* From some state in the middle. */
			n = es_rnd_upto(&self->rnd, 500);
			ASSERT_LT(0, write(self->s, text, n));
			ASSERT_EQ(4, es_sample(self->eps, self->s, ES_IO,
					       &st));
			ASSERT_LT(0, st.snd);
			ASSERT_EQ(st.snd, write(self->s, text, st.snd)) {
				TH_LOG("oflag %zu, text %zu, snd %u", i, j,
				       st.snd);
			}
		}
	}
	/* The other way, where nothing is processed. */
	ADD(self->epm, self->m, ES_IO, &st);
	ASSERT_EQ(st.snd, write(self->m, es_buf(), st.snd));
}

TEST_F(tty, a_stopped_terminal_has_no_room_until_it_is_started)
{
	struct epoll_state st;

	ADD(self->eps, self->s, ES_IO, &st);
	ASSERT_EQ(0, tcflow(self->s, TCOOFF));
	ASSERT_EQ(4, es_sample(self->eps, self->s, ES_IO, &st));
	EXPECT_EQ(0, st.snd);
	EXPECT_EQ(EPOLLSTATE, st.events);
	EXPECT_EQ(-EAGAIN, es_write(self->s, 1));
	ASSERT_EQ(0, tcflow(self->s, TCOON));
	ASSERT_EQ(4, es_next(self->eps, &st));
	EXPECT_EQ(EPOLLSTATE | EPOLLOUT, st.events);
	EXPECT_LE(TTY_ROOM_MIN, st.snd);
}

TEST_F(tty, a_terminal_stopped_from_the_other_end_is_told_when_it_starts)
{
	struct epoll_state st;

	ASSERT_EQ(0, set_flags(self->s, IXON, 0, 0));
	ADD(self->eps, self->s, EPOLLOUT, &st);
	ASSERT_EQ(1, write(self->m, "\023", 1));
	ASSERT_TRUE(es_until(es_write(self->s, 1) == -EAGAIN));
	while (es_wait(self->eps, &st, 0) == 4)
		;
	ASSERT_EQ(1, write(self->m, "\021", 1));
	NEXT_UNTIL(self->eps, &st, st.snd);
	EXPECT_EQ(EPOLLSTATE | EPOLLOUT, st.events);
}

/* Who tries on every record must not be woken by his own attempt. */
TEST_F(tty, r5_a_write_that_is_refused_is_no_news)
{
	struct epoll_state st;
	int i;

	ADD(self->eps, self->s, ES_IO, &st);
	ASSERT_EQ(0, tcflow(self->s, TCOOFF));
	while (es_wait(self->eps, &st, 0) == 4)
		;
	for (i = 0; i < 3; i++) {
		ASSERT_EQ(-EAGAIN, es_write(self->s, 1));
		EXPECT_EQ(0, es_pending(self->eps));
	}
	ASSERT_EQ(0, tcflow(self->s, TCOON));
	ASSERT_EQ(4, es_next(self->eps, &st));
	EXPECT_LE(TTY_ROOM_MIN, st.snd);
}

TEST_F_TIMEOUT(tty, r7_a_writer_within_its_credit_never_stalls, ES_TIMEOUT)
{
	const int fds[2] = { self->m, self->s };
	const int eps[2] = { self->epm, self->eps };
	size_t sent, got, records;
	struct epoll_state st;
	uint32_t credit, n;
	int from, idle;

	for (from = 0; from < 2; from++) {
		ADD(eps[from], fds[from], EPOLLOUT, &st);
		credit = st.snd;
		sent = 0;
		got = 0;
		records = 0;
		while (sent < 3 << 20) {
			while (credit && es_rnd(&self->rnd) % 8) {
				n = es_rnd_upto(&self->rnd, 100000);
				if (n > credit)
					n = credit;
				ASSERT_EQ(n, es_write(fds[from], n));
				credit -= n;
				sent += n;
			}
			for (idle = 0; idle < 10; ) {
				n = es_read(fds[!from], 5000);
				if ((int)n > 0)
					got += n;
				if (es_wait(eps[from], &st, 0) == 4) {
					credit = st.snd;
					records++;
				}
				if (credit)
					break;
				if ((int)n > 0)
					continue;
				idle += got == sent;
				es_pause();
			}
			ASSERT_NE(0, credit) {
				TH_LOG("stalled: %zu sent, %zu got", sent, got);
			}
		}
		TH_LOG("%zu records for %zu bytes", records, sent);
		while (got < sent) {
			ASSERT_TRUE(es_until((n = es_drain(fds[!from]))));
			got += n;
		}
	}
}

TEST_F(tty, r7_each_read_that_empties_is_told)
{
	struct epoll_state st;
	int i;

	ADD(self->eps, self->s, EPOLLOUT, &st);
	for (i = 0; i < 20; i++) {
		ASSERT_EQ(100, es_write(self->s, 100));
		ASSERT_TRUE(es_until(es_drain(self->m) == 100));
		ASSERT_EQ(4, es_next(self->eps, &st));
		EXPECT_LE(TTY_ROOM_MIN, st.snd);
	}
}

TEST_F(tty, own_reads_and_writes_are_silent)
{
	struct epoll_state st;
	int i;

	for (i = 0; i < 10; i++) {
		ASSERT_EQ(50, es_write(self->m, 50));
		ASSERT_TRUE(es_until(es_fionread(self->s) == 50));
		if (!i)
			ADD(self->eps, self->s, ES_IO, &st);
		else
			NEXT_UNTIL(self->eps, &st, st.rcv == 50);
		while (es_wait(self->eps, &st, 0))
			;
		ASSERT_EQ(50, es_read(self->s, 100));
		EXPECT_EQ(0, es_pending(self->eps));
		ASSERT_EQ(50, es_write(self->s, 50));
		EXPECT_EQ(0, es_pending(self->eps));
		ASSERT_TRUE(es_until(es_drain(self->m)));
		ASSERT_EQ(4, es_next(self->eps, &st));
	}
}

TEST_F(tty, the_end_of_the_slave_is_told_with_its_last_byte)
{
	struct epoll_state st;

	ADD(self->epm, self->m, ES_IO, &st);
	ASSERT_EQ(1000, es_write(self->s, 1000));
	close(self->s);
	NEXT_UNTIL(self->epm, &st, st.events & EPOLLHUP);
	EXPECT_EQ(1000, st.rcv);
	EXPECT_EQ(0, st.snd);
	EXPECT_EQ(1000, es_read(self->m, 1000));
	EXPECT_EQ(-EIO, es_read(self->m, 1));
	ASSERT_EQ(4, es_sample(self->epm, self->m, ES_IO, &st));
	EXPECT_EQ(0, st.rcv);
	EXPECT_EQ(EPOLLHUP, st.events & (EPOLLHUP | EPOLLIN));
}

/* R10: a terminal that was hung up is none any more. */
TEST_F(tty, r10_the_end_of_the_master_is_an_ordinary_event)
{
	struct epoll_event ev[8];
	struct epoll_state st;
	int n;

	signal(SIGHUP, SIG_IGN);
	ADD(self->eps, self->s, ES_IO, &st);
	close(self->m);
	do {
		n = epoll_wait(self->eps, ev, 8, ES_DEADLINE_MS);
		ASSERT_LT(0, n);
	} while (n != 1);
	EXPECT_EQ(0, ev[0].events & EPOLLSTATE);
	EXPECT_EQ(EPOLLHUP, ev[0].events & EPOLLHUP);
	EXPECT_EQ(ES_COOKIE, ev[0].data.u64);
	EXPECT_EQ(-EOPNOTSUPP, es_add(self->epm, self->s, EPOLLIN | EPOLLSTATE));
}

TEST_F(tty, r10_another_line_discipline_ends_the_records)
{
	int ldisc = N_PPP, n_tty = N_TTY, i;
	struct epoll_event ev[8];
	struct epoll_state st;

	ADD(self->eps, self->s, ES_IO, &st);
	for (i = 1; i < 31 && ioctl(self->s, TIOCSETD, &ldisc); i++)
		ldisc = i;
	if (i == 31)
		SKIP(return, "no other line discipline");
	EXPECT_EQ(-EOPNOTSUPP, es_add(self->epm, self->s, EPOLLIN | EPOLLSTATE));
	while ((i = epoll_wait(self->eps, ev, 8, 0)) > 0)
		EXPECT_GT(4, i);
	ASSERT_EQ(0, ioctl(self->s, TIOCSETD, &n_tty));
	ASSERT_EQ(4, es_sample(self->eps, self->s, ES_IO, &st));
}

TEST_HARNESS_MAIN
