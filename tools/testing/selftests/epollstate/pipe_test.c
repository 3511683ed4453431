// SPDX-License-Identifier: GPL-2.0
/*
 * What pipes and FIFOs report: counts that agree with FIONREAD, promises that
 * hold, credit that flows back, and nothing missed whichever way bytes come and
 * go.
 */

#include "common.h"

#include <pthread.h>
#include <signal.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <termios.h>

#ifndef O_NOTIFICATION_PIPE
#define O_NOTIFICATION_PIPE	O_EXCL
#endif

#define SLOTS	16

/* Two epolls: of the read end and of the write end. */
FIXTURE(pipe)
{
	struct es_rnd rnd;
	size_t page;
	int epr;
	int epw;
	int r;
	int w;
};

FIXTURE_SETUP(pipe)
{
	int fds[2];

	ES_REQUIRE_KERNEL();
	signal(SIGPIPE, SIG_IGN);
	ASSERT_EQ(0, pipe2(fds, O_CLOEXEC | O_NONBLOCK));
	self->r = fds[0];
	self->w = fds[1];
	self->rnd = es_seed();
	self->page = sysconf(_SC_PAGESIZE);
	ASSERT_EQ(SLOTS * self->page,
		  fcntl(self->w, F_SETPIPE_SZ, SLOTS * self->page));
	self->epr = epoll_create1(EPOLL_CLOEXEC);
	ASSERT_LE(0, self->epr);
	self->epw = epoll_create1(EPOLL_CLOEXEC);
	ASSERT_LE(0, self->epw);
}

FIXTURE_TEARDOWN(pipe)
{
	close(self->epr);
	close(self->epw);
	close(self->r);
	close(self->w);
}

/* Register both ends and take the baselines. */
#define ADD_BOTH()							\
do {									\
	struct epoll_state __st;					\
									\
	ASSERT_EQ(0, es_add(self->epr, self->r, ES_IO | EPOLLSTATE));	\
	ASSERT_EQ(0, es_add(self->epw, self->w, ES_IO | EPOLLSTATE));	\
	ASSERT_EQ(4, es_wait(self->epr, &__st, 0));			\
	ASSERT_EQ(4, es_wait(self->epw, &__st, 0));			\
} while (0)

#define EXPECT_SILENT(ep)	EXPECT_EQ(0, es_pending(ep))

TEST_F(pipe, an_empty_pipe_reports_its_room)
{
	struct epoll_state st;

	ASSERT_EQ(0, es_add(self->epr, self->r, ES_IO | EPOLLSTATE));
	ASSERT_EQ(4, es_wait(self->epr, &st, 0));
	EXPECT_EQ(EPOLLSTATE, st.events);
	EXPECT_EQ(0, st.rcv | st.snd | st.outq | st.msgs | st.error);

	ASSERT_EQ(0, es_add(self->epw, self->w, ES_IO | EPOLLSTATE));
	ASSERT_EQ(4, es_wait(self->epw, &st, 0));
	EXPECT_EQ(EPOLLSTATE | EPOLLOUT, st.events);
	EXPECT_EQ(SLOTS * self->page, st.snd);
	EXPECT_EQ(0, st.rcv | st.outq | st.msgs | st.error);
}

TEST_F(pipe, both_ends_agree_with_fionread)
{
	struct epoll_state st;
	uint32_t n;
	int i;

	ADD_BOTH();
	for (i = 0; i < 2000; i++) {
		n = es_rnd_upto(&self->rnd, es_rnd(&self->rnd) % 4 ? 500 :
				20000);
		if (es_rnd(&self->rnd) % 2)
			es_write(self->w, n);
		else
			es_read(self->r, n);
		n = es_fionread(self->r);
		ASSERT_EQ(4, es_sample(self->epr, self->r, ES_IO, &st));
		ASSERT_EQ(n, st.rcv);
		ASSERT_EQ(0, st.snd | st.outq | st.msgs);
		ASSERT_EQ(!!n, !!(st.events & EPOLLIN));
		ASSERT_EQ(4, es_sample(self->epw, self->w, ES_IO, &st));
		ASSERT_EQ(n, st.outq);
		ASSERT_EQ(0, st.rcv | st.msgs);
		ASSERT_EQ(!!st.snd, !!(st.events & EPOLLOUT));
	}
}

TEST_F(pipe, what_is_promised_is_read_and_taken_whole)
{
	struct epoll_state st;
	uint32_t n;
	int i;

	ADD_BOTH();
	for (i = 0; i < 1000; i++) {
		if (es_rnd(&self->rnd) % 2) {
			ASSERT_EQ(4, es_sample(self->epw, self->w, ES_IO, &st));
			if (!st.snd)
				continue;
			n = es_rnd(&self->rnd) % 8 ?
				es_rnd_upto(&self->rnd, st.snd) : st.snd;
			ASSERT_EQ(n, es_write(self->w, n));
		} else if (es_rnd(&self->rnd) % 2) {
			ASSERT_EQ(4, es_sample(self->epr, self->r, ES_IO, &st));
			if (st.rcv)
				ASSERT_EQ(st.rcv, es_read(self->r, st.rcv));
			ASSERT_EQ(-EAGAIN, es_read(self->r, 1));
		} else {
			es_read(self->r, es_rnd_upto(&self->rnd, 10000));
		}
	}
}

/* Each write of up to a page is a packet; larger ones are several. */
TEST_F(pipe, a_packet_is_what_one_read_returns)
{
	uint32_t sizes[SLOTS], first = 0, count = 0, n, sum = 0, i;
	struct epoll_state st;

	ADD_BOTH();
	ASSERT_EQ(0, fcntl(self->w, F_SETFL, O_NONBLOCK | O_DIRECT));
	for (i = 0; i < 1000; i++) {
		if (count < SLOTS && es_rnd(&self->rnd) % 2) {
			n = es_rnd_upto(&self->rnd, self->page);
			ASSERT_EQ(n, es_write(self->w, n));
			sizes[(first + count++) % SLOTS] = n;
			sum += n;
		} else if (count && es_rnd(&self->rnd) % 2) {
			n = sizes[first % SLOTS];
			ASSERT_EQ(n, es_read(self->r, 65536));
			first++;
			count--;
			sum -= n;
		}
		ASSERT_EQ(4, es_sample(self->epr, self->r, ES_IO, &st));
		ASSERT_EQ(count ? sizes[first % SLOTS] : 0, st.rcv);
		ASSERT_EQ(count, st.msgs);
		ASSERT_EQ(4, es_sample(self->epw, self->w, ES_IO, &st));
		ASSERT_EQ((SLOTS - count) * self->page, st.snd);
		ASSERT_EQ(sum, st.outq);
		ASSERT_EQ(0, st.msgs);
	}
}

static void *packets_main(void *arg)
{
	int i;

	for (i = 0; i < SLOTS; i++)
		es_write((intptr_t)arg, 10);
	return NULL;
}

/*
 * Whoever looks while a packet is put down must see all of it or nothing: bytes
 * that are not marked yet would be left out, and their wake-up be no news.  In a
 * slot that was never used nothing marks them.
 */
TEST_F_TIMEOUT(pipe, packets_are_told_however_they_fall, ES_TIMEOUT)
{
	struct epoll_state st;
	pthread_t thread;
	int i, fds[2], got, n;

	for (i = 0; i < 200; i++) {
		ASSERT_EQ(0, pipe2(fds, O_CLOEXEC | O_NONBLOCK | O_DIRECT));
		ASSERT_EQ(0, es_add(self->epr, fds[0], ES_IO | EPOLLSTATE));
		ASSERT_EQ(0, pthread_create(&thread, NULL, packets_main,
					    (void *)(intptr_t)fds[1]));
		for (got = 0; got < SLOTS;) {
			n = i % 2 ? es_next(self->epr, &st) :
			    es_sample(self->epr, fds[0], ES_IO, &st);
			ASSERT_EQ(4, n) {
				TH_LOG("stalled after %d packets", got);
			}
			ASSERT_EQ(st.msgs ? 10 : 0, st.rcv);
			for (; st.msgs; st.msgs--, got++)
				ASSERT_EQ(10, es_read(fds[0], 100));
		}
		ASSERT_EQ(0, pthread_join(thread, NULL));
		close(fds[0]);
		close(fds[1]);
	}
}

TEST_F(pipe, bytes_before_the_first_packet_are_read_with_it)
{
	struct epoll_state st;

	ASSERT_EQ(self->page, es_write(self->w, self->page));
	ASSERT_EQ(0, fcntl(self->w, F_SETFL, O_NONBLOCK | O_DIRECT));
	ASSERT_EQ(100, es_write(self->w, 100));
	ASSERT_EQ(200, es_write(self->w, 200));
	ASSERT_EQ(0, es_add(self->epr, self->r, ES_IO | EPOLLSTATE));
	ASSERT_EQ(4, es_wait(self->epr, &st, 0));
	EXPECT_EQ(self->page + 100, st.rcv);
	EXPECT_EQ(2, st.msgs);
	EXPECT_EQ(st.rcv, es_read(self->r, 65536));
}

TEST_F(pipe, bytes_behind_the_last_packet_are_one_more_read)
{
	struct epoll_state st;

	ASSERT_EQ(0, fcntl(self->w, F_SETFL, O_NONBLOCK | O_DIRECT));
	ASSERT_EQ(100, es_write(self->w, 100));
	ASSERT_EQ(0, fcntl(self->w, F_SETFL, O_NONBLOCK));
	/* Nothing is added to a slot that is full. */
	ASSERT_EQ(self->page, es_write(self->w, self->page));
	ASSERT_EQ(0, es_add(self->epr, self->r, ES_IO | EPOLLSTATE));
	ASSERT_EQ(4, es_wait(self->epr, &st, 0));
	EXPECT_EQ(100, st.rcv);
	EXPECT_EQ(2, st.msgs);
	EXPECT_EQ(100, es_read(self->r, 65536));
	ASSERT_EQ(4, es_sample(self->epr, self->r, ES_IO, &st));
	EXPECT_EQ(self->page, st.rcv);
	EXPECT_EQ(0, st.msgs);
	/* In front of another packet they are read with it. */
	ASSERT_EQ(0, fcntl(self->w, F_SETFL, O_NONBLOCK | O_DIRECT));
	ASSERT_EQ(50, es_write(self->w, 50));
	ASSERT_EQ(4, es_next(self->epr, &st));
	EXPECT_EQ(self->page + 50, st.rcv);
	EXPECT_EQ(1, st.msgs);
	EXPECT_EQ(st.rcv, es_read(self->r, 65536));
}

TEST_F(pipe, every_write_is_told_once)
{
	struct epoll_state st;
	uint32_t sum = 0;
	int i;

	ADD_BOTH();
	for (i = 1; i < 50; i++) {
		ASSERT_EQ(i * 20, es_write(self->w, i * 20));
		sum += i * 20;
		ASSERT_EQ(4, es_next(self->epr, &st));
		EXPECT_EQ(sum, st.rcv);
		EXPECT_EQ(i, st.seq);
		EXPECT_SILENT(self->epr);
	}
}

TEST_F(pipe, own_reads_and_writes_are_silent)
{
	struct epoll_state st;
	int i;

	ADD_BOTH();
	for (i = 0; i < 40; i++) {
		ASSERT_EQ(3000, es_write(self->w, 3000));
		EXPECT_SILENT(self->epw);
		ASSERT_EQ(4, es_next(self->epr, &st));
		ASSERT_EQ(1000, es_read(self->r, 1000));
		EXPECT_SILENT(self->epr);
		ASSERT_EQ(2000, es_read(self->r, 65536));
		EXPECT_SILENT(self->epr);
		ASSERT_EQ(4, es_next(self->epw, &st));
	}
}

TEST_F(pipe, writes_of_nothing_are_silent)
{
	const struct iovec nowhere = { (void *)8, 100 };
	struct epoll_state st;

	ADD_BOTH();
	ASSERT_EQ(0, write(self->w, es_buf(), 0));
	EXPECT_SILENT(self->epr);
	EXPECT_SILENT(self->epw);
	/* A write that fails leaves an empty buffer, and wakes. */
	ASSERT_EQ(-1, writev(self->w, &nowhere, 1));
	ASSERT_EQ(EFAULT, errno);
	if (es_wait(self->epr, &st, 0))
		EXPECT_EQ(0, st.rcv);
	ASSERT_EQ(100, es_write(self->w, 100));
	ASSERT_EQ(4, es_next(self->epr, &st));
	EXPECT_EQ(100, st.rcv);
}

TEST_F(pipe, r7_each_run_empty_is_told)
{
	struct epoll_state st;
	int i;

	ADD_BOTH();
	for (i = 1; i < 40; i++) {
		ASSERT_EQ(i * 10, es_write(self->w, i * 10));
		EXPECT_EQ(i * 10, es_drain(self->r));
		ASSERT_EQ(4, es_next(self->epw, &st));
		EXPECT_EQ(SLOTS * self->page, st.snd);
		EXPECT_EQ(0, st.outq);
		EXPECT_EQ(i, st.seq);
		EXPECT_SILENT(self->epw);
	}
}

/* To be subtracted for @n bytes written. */
static uint32_t slots_size(size_t page, uint32_t n)
{
	return (n + page - 1) / page * page;
}

TEST_F_TIMEOUT(pipe, r7_a_writer_within_its_credit_never_stalls, ES_TIMEOUT)
{
	size_t sent = 0, got = 0, records = 0, empty = 0;
	const size_t total = 4 << 20;
	struct epoll_state st;
	uint32_t credit, n;

	ASSERT_EQ(0, es_add(self->epw, self->w, EPOLLOUT | EPOLLSTATE));
	ASSERT_EQ(4, es_wait(self->epw, &st, 0));
	/* Never to the brim, where the stock kernel wakes. */
	credit = st.snd - self->page;
	while (sent < total) {
		while (credit >= self->page) {
			n = es_rnd_upto(&self->rnd, credit);
			if (n > 3 * self->page)
				n = 3 * self->page;
			ASSERT_EQ(n, es_write(self->w, n));
			sent += n;
			credit -= slots_size(self->page, n);
		}
		while (!es_wait(self->epw, &st, 0)) {
			n = es_read(self->r, es_rnd_upto(&self->rnd, 3000));
			ASSERT_LT(0, (int)n) {
				TH_LOG("stalled: %zu sent, %zu got", sent, got);
			}
			got += n;
		}
		ASSERT_TRUE(st.events & EPOLLSTATE);
		records++;
		empty += !st.outq;
		ASSERT_LE(self->page, st.snd);
		credit = st.snd - self->page;
	}
	EXPECT_EQ(sent, got + es_drain(self->r));
	/* Slots are half used at the worst. */
	EXPECT_LE(records - empty, 2 * 8 * sent / (SLOTS * self->page));
	TH_LOG("%zu records, %zu of them at empty", records, empty);
}

/* How a reader takes bytes out, and how many at most. */
static ssize_t take_read(int r, int other, size_t n)
{
	return es_read(r, n);
}

static ssize_t take_splice(int r, int null, size_t n)
{
	return splice(r, NULL, null, NULL, n, SPLICE_F_NONBLOCK);
}

static ssize_t take_vmsplice(int r, int null, size_t n)
{
	static char buf[65536];
	struct iovec iov = { buf, n };

	return vmsplice(r, &iov, 1, SPLICE_F_NONBLOCK);
}

static ssize_t take_splice_pipe(int r, int null, size_t n)
{
	static int p[2];

	if (!p[0] && pipe2(p, O_NONBLOCK))
		return -1;
	n = splice(r, NULL, p[1], NULL, n, SPLICE_F_NONBLOCK);
	es_drain(p[0]);
	return n;
}

TEST_F(pipe, r7_space_is_told_per_quarter_however_bytes_are_taken)
{
	ssize_t (*const take[])(int r, int null, size_t n) = {
		take_read, take_splice, take_vmsplice, take_splice_pipe,
	};
	const size_t half = SLOTS * self->page / 2;
	struct epoll_state st;
	uint32_t i, j, told;
	int null = open("/dev/null", O_WRONLY | O_CLOEXEC);

	ASSERT_LE(0, null);
	ADD_BOTH();
	for (i = 0; i < ARRAY_SIZE(take); i++) {
		es_drain(self->r);
		ASSERT_EQ(4, es_sample(self->epw, self->w, EPOLLOUT, &st));
		ASSERT_EQ(half, es_write(self->w, half));
		EXPECT_SILENT(self->epw);
		told = 0;
		for (j = 1; j <= SLOTS / 2; j++) {
			ASSERT_EQ(self->page, take[i](self->r, null,
						      self->page)) {
				TH_LOG("way %u: %s", i, strerror(errno));
			}
			if (es_wait(self->epw, &st, 0) != 4)
				continue;
			told++;
			EXPECT_EQ(half - j * self->page, st.outq);
			EXPECT_EQ(half + j * self->page, st.snd);
			EXPECT_EQ(0, j % (SLOTS / 4)) {
				TH_LOG("way %u, slot %u", i, j);
			}
		}
		EXPECT_EQ(2, told) {
			TH_LOG("way %u", i);
		}
	}
	close(null);
}

TEST_F(pipe, bytes_are_told_however_they_come)
{
	struct iovec iov = { (void *)es_buf(), 5000 };
	struct epoll_state st;
	int other[2], zero;

	ASSERT_EQ(0, pipe2(other, O_CLOEXEC | O_NONBLOCK));
	ADD_BOTH();

	ASSERT_EQ(5000, vmsplice(self->w, &iov, 1, SPLICE_F_NONBLOCK));
	ASSERT_EQ(4, es_next(self->epr, &st));
	EXPECT_EQ(5000, st.rcv);
	EXPECT_SILENT(self->epr);

	ASSERT_EQ(3000, es_write(other[1], 3000));
	ASSERT_EQ(1000, tee(other[0], self->w, 1000, SPLICE_F_NONBLOCK));
	ASSERT_EQ(4, es_next(self->epr, &st));
	EXPECT_EQ(6000, st.rcv);
	EXPECT_SILENT(self->epr);

	/* Half a buffer, then the rest of it. */
	ASSERT_EQ(1000, splice(other[0], NULL, self->w, NULL, 1000,
			       SPLICE_F_NONBLOCK));
	ASSERT_EQ(4, es_next(self->epr, &st));
	EXPECT_EQ(7000, st.rcv);
	ASSERT_EQ(2000, splice(other[0], NULL, self->w, NULL, 65536,
			       SPLICE_F_NONBLOCK));
	ASSERT_EQ(4, es_next(self->epr, &st));
	EXPECT_EQ(9000, st.rcv);
	EXPECT_SILENT(self->epr);
	EXPECT_SILENT(self->epw);

	zero = open("/dev/zero", O_RDONLY | O_CLOEXEC);
	ASSERT_LE(0, zero);
	if (splice(zero, NULL, self->w, NULL, 4000, SPLICE_F_NONBLOCK) == 4000) {
		ASSERT_EQ(4, es_next(self->epr, &st));
		EXPECT_EQ(13000, st.rcv);
	}
	EXPECT_EQ(st.rcv, es_fionread(self->r));
	EXPECT_EQ(st.rcv, es_read(self->r, st.rcv));
	close(zero);
	close(other[0]);
	close(other[1]);
}

/* What tee took is still there: the pipe it came from has nothing to tell. */
TEST_F(pipe, tee_out_of_a_pipe_is_silent)
{
	struct epoll_state st;
	int other[2];

	ASSERT_EQ(0, pipe2(other, O_CLOEXEC | O_NONBLOCK));
	ASSERT_EQ(3000, es_write(self->w, 3000));
	ADD_BOTH();
	ASSERT_EQ(3000, tee(self->r, other[1], 65536, SPLICE_F_NONBLOCK));
	EXPECT_SILENT(self->epr);
	EXPECT_SILENT(self->epw);
	/* What is appended to a page that is shared now counts as ever. */
	ASSERT_EQ(10, es_write(self->w, 10));
	ASSERT_EQ(4, es_next(self->epr, &st));
	EXPECT_EQ(3010, st.rcv);
	EXPECT_EQ(3000, es_drain(other[0]));
	close(other[0]);
	close(other[1]);
}

TEST_F(pipe, another_size_is_told)
{
	struct epoll_state st;

	ADD_BOTH();
	ASSERT_EQ(100, es_write(self->w, 100));
	ASSERT_EQ(4, es_next(self->epr, &st));

	ASSERT_EQ(64 * self->page, fcntl(self->w, F_SETPIPE_SZ,
					 64 * self->page));
	ASSERT_EQ(4, es_next(self->epw, &st));
	EXPECT_EQ(63 * self->page, st.snd);
	EXPECT_EQ(100, st.outq);
	EXPECT_SILENT(self->epw);
	EXPECT_SILENT(self->epr);

	ASSERT_EQ(2 * self->page, fcntl(self->w, F_SETPIPE_SZ,
					2 * self->page));
	ASSERT_EQ(4, es_next(self->epw, &st));
	EXPECT_EQ(self->page, st.snd);
	EXPECT_SILENT(self->epw);

	/* Down to what is in use: what was promised is no longer true. */
	ASSERT_EQ(self->page, fcntl(self->w, F_SETPIPE_SZ, self->page));
	ASSERT_EQ(4, es_next(self->epw, &st));
	EXPECT_EQ(0, st.snd);
	EXPECT_EQ(EPOLLSTATE, st.events);
	EXPECT_SILENT(self->epw);

	EXPECT_EQ(100, es_drain(self->r));
	ASSERT_EQ(4, es_next(self->epw, &st));
	EXPECT_EQ(self->page, st.snd);
	EXPECT_EQ(0, st.outq);
}

TEST_F(pipe, the_size_it_has_is_no_news)
{
	struct epoll_state st;

	ADD_BOTH();
	ASSERT_EQ(100, es_write(self->w, 100));
	ASSERT_EQ(4, es_next(self->epr, &st));
	ASSERT_EQ(SLOTS * self->page, fcntl(self->w, F_SETPIPE_SZ,
					    SLOTS * self->page));
	EXPECT_SILENT(self->epw);
	EXPECT_SILENT(self->epr);
	/* There and back, before anybody looks. */
	ASSERT_EQ(32 * self->page, fcntl(self->w, F_SETPIPE_SZ,
					 32 * self->page));
	ASSERT_EQ(SLOTS * self->page, fcntl(self->w, F_SETPIPE_SZ,
					    SLOTS * self->page));
	EXPECT_SILENT(self->epw);
}

/* Bytes in the middle of a ring, with slots behind and before them. */
TEST_F(pipe, positions_stay_when_the_ring_is_resized)
{
	struct epoll_state st;

	ASSERT_EQ(5 * self->page, es_write(self->w, 5 * self->page));
	ASSERT_EQ(2 * self->page, es_read(self->r, 2 * self->page));
	ADD_BOTH();
	ASSERT_EQ(SLOTS * self->page, fcntl(self->w, F_SETPIPE_SZ,
					    SLOTS * self->page));
	ASSERT_EQ(100, es_write(self->w, 100));
	ASSERT_EQ(4, es_next(self->epr, &st));
	EXPECT_EQ(3 * self->page + 100, st.rcv);
	ASSERT_EQ(SLOTS * self->page, fcntl(self->w, F_SETPIPE_SZ,
					    SLOTS * self->page));
	/* It fails, and wakes the reader: no byte came. */
	ASSERT_EQ(-1, write(self->w, (void *)8, 100));
	ASSERT_EQ(EFAULT, errno);
	EXPECT_SILENT(self->epr);
	EXPECT_SILENT(self->epw);

	/* A quarter, counted through another resize. */
	ASSERT_EQ(self->page, es_read(self->r, self->page));
	EXPECT_SILENT(self->epw);
	ASSERT_EQ(3 * self->page, es_write(self->w, 3 * self->page));
	ASSERT_EQ(4, es_next(self->epr, &st));
	ASSERT_EQ(SLOTS * self->page, fcntl(self->w, F_SETPIPE_SZ,
					    SLOTS * self->page));
	ASSERT_EQ(2 * self->page, es_read(self->r, 2 * self->page));
	EXPECT_SILENT(self->epw);
	ASSERT_EQ(100, es_read(self->r, 100));
	ASSERT_EQ(4, es_next(self->epw, &st));
	EXPECT_EQ(3 * self->page, st.outq);
}

/* One file that reads and writes is woken by what concerns writers. */
TEST_F(pipe, another_size_is_no_news_to_a_reader_who_could_write)
{
	struct epoll_state st;
	char name[40];
	int fd;

	snprintf(name, sizeof(name), "/proc/self/fd/%d", self->w);
	fd = open(name, O_RDWR | O_NONBLOCK | O_CLOEXEC);
	ASSERT_LE(0, fd);
	ASSERT_EQ(100, es_write(fd, 100));
	ASSERT_EQ(0, es_add(self->epr, fd, EPOLLIN | EPOLLSTATE));
	ASSERT_EQ(4, es_next(self->epr, &st));
	ASSERT_EQ(32 * self->page, fcntl(fd, F_SETPIPE_SZ, 32 * self->page));
	EXPECT_SILENT(self->epr);
	ASSERT_EQ(10, es_write(fd, 10));
	ASSERT_EQ(4, es_next(self->epr, &st));
	EXPECT_EQ(110, st.rcv);
	EXPECT_EQ(31 * self->page, st.snd);
	close(fd);
}

TEST_F(pipe, another_size_is_no_news_to_who_does_not_ask_for_room)
{
	struct epoll_state st;

	ASSERT_EQ(0, es_add(self->epr, self->r, ES_IO | EPOLLSTATE));
	ASSERT_EQ(0, es_add(self->epw, self->w, EPOLLSTATE));
	ASSERT_EQ(4, es_next(self->epr, &st));
	ASSERT_EQ(4, es_next(self->epw, &st));
	ASSERT_EQ(100, es_write(self->w, 100));
	ASSERT_EQ(4, es_next(self->epr, &st));

	ASSERT_EQ(32 * self->page, fcntl(self->w, F_SETPIPE_SZ,
					 32 * self->page));
	EXPECT_SILENT(self->epw);
	/* It fails, and wakes the reader: no byte came. */
	ASSERT_EQ(-1, write(self->w, (void *)8, 100));
	ASSERT_EQ(EFAULT, errno);
	EXPECT_SILENT(self->epr);

	ASSERT_EQ(4, es_sample(self->epw, self->w, ES_IO, &st));
	EXPECT_EQ(31 * self->page, st.snd);
}

/* The ring is numbered anew: no position may look like one told before. */
TEST_F(pipe, bytes_are_told_after_the_ring_was_resized)
{
	static const int moved[] = { 0, 1, 3, 16, 17, 100 };
	struct epoll_state st;
	uint32_t i, j;

	ADD_BOTH();
	for (i = 0; i < ARRAY_SIZE(moved); i++) {
		for (j = 0; j < moved[i]; j++) {
			ASSERT_EQ(self->page, es_write(self->w, self->page));
			es_drain(self->r);
		}
		ASSERT_EQ(100, es_write(self->w, 100));
		ASSERT_EQ(4, es_next(self->epr, &st));
		EXPECT_EQ(100, st.rcv);
		EXPECT_EQ(100, es_drain(self->r));
		while (es_wait(self->epw, &st, 0))
			;
		ASSERT_EQ(32 * self->page, fcntl(self->w, F_SETPIPE_SZ,
						 32 * self->page));
		ASSERT_EQ(16 * self->page, fcntl(self->w, F_SETPIPE_SZ,
						 16 * self->page));
		ASSERT_EQ(100, es_write(self->w, 100));
		ASSERT_EQ(4, es_next(self->epr, &st)) {
			TH_LOG("after %d slots", moved[i]);
		}
		EXPECT_EQ(100, st.rcv);
		EXPECT_SILENT(self->epw);
		EXPECT_EQ(100, es_drain(self->r));
		ASSERT_EQ(4, es_next(self->epw, &st));
		EXPECT_EQ(0, st.outq);
		EXPECT_SILENT(self->epw);
	}
}

TEST_F(pipe, the_end_of_the_writer_is_told_with_the_last_byte)
{
	struct epoll_state st;

	ADD_BOTH();
	ASSERT_EQ(100, es_write(self->w, 100));
	close(self->w);
	ASSERT_EQ(4, es_next(self->epr, &st));
	EXPECT_EQ(EPOLLSTATE | EPOLLIN | EPOLLHUP, st.events);
	EXPECT_EQ(100, st.rcv);
	EXPECT_SILENT(self->epr);
	EXPECT_EQ(100, es_read(self->r, 1000));
	EXPECT_EQ(0, es_read(self->r, 1000));
	EXPECT_SILENT(self->epr);
	ASSERT_EQ(4, es_sample(self->epr, self->r, ES_IO, &st));
	EXPECT_EQ(EPOLLSTATE | EPOLLHUP, st.events);
	EXPECT_EQ(0, st.rcv);
}

TEST_F(pipe, the_end_of_the_reader_is_told_once_as_epipe)
{
	struct epoll_state st;

	ADD_BOTH();
	ASSERT_EQ(100, es_write(self->w, 100));
	close(self->r);
	ASSERT_EQ(4, es_next(self->epw, &st));
	EXPECT_EQ(EPOLLSTATE | EPOLLOUT | EPOLLERR, st.events);
	EXPECT_EQ(EPIPE, st.error);
	EXPECT_EQ(0, st.snd);
	EXPECT_EQ(100, st.outq);
	EXPECT_EQ(-EPIPE, es_write(self->w, 1));
	/* It wakes, and is no news. */
	ASSERT_EQ(32 * self->page, fcntl(self->w, F_SETPIPE_SZ,
					 32 * self->page));
	EXPECT_SILENT(self->epw);
}

struct writer {
	pthread_t thread;
	int fd;
	size_t len;
	ssize_t ret;
	bool done;
};

static void *writer_main(void *arg)
{
	struct writer *wr = arg;
	ssize_t n;

	/* More than one write would tell of the first. */
	n = write(wr->fd, es_buf(), wr->len);
	wr->ret = n < 0 ? -errno : n;
	__atomic_store_n(&wr->done, true, __ATOMIC_RELEASE);
	return NULL;
}

/* A write larger than the pipe sleeps in it, with bytes that nobody told of. */
TEST_F_TIMEOUT(pipe, r6_bytes_of_a_write_that_blocks_are_told, ES_TIMEOUT)
{
	struct writer wr = { .fd = self->w, .len = 1 << 20 };
	struct epoll_state st;
	size_t got = 0;

	ADD_BOTH();
	ASSERT_EQ(100, es_write(self->w, 100));
	ASSERT_EQ(4, es_next(self->epr, &st));
	ASSERT_EQ(0, fcntl(self->w, F_SETFL, 0));
	ASSERT_EQ(0, pthread_create(&wr.thread, NULL, writer_main, &wr));
	while (got < wr.len + 100) {
		ASSERT_EQ(4, es_next(self->epr, &st)) {
			TH_LOG("stalled after %zu bytes", got);
		}
		if (!st.rcv)
			continue;
		ASSERT_EQ(st.rcv, es_read(self->r, st.rcv));
		got += st.rcv;
	}
	ASSERT_EQ(0, pthread_join(wr.thread, NULL));
	EXPECT_EQ(wr.len, wr.ret);
}

TEST_F(pipe, a_writer_blocked_on_a_full_pipe_stalls_nobody)
{
	struct writer wr = { .fd = self->w, .len = 100000 };
	struct epoll_state st;

	ADD_BOTH();
	ASSERT_EQ(0, fcntl(self->w, F_SETFL, 0));
	ASSERT_EQ(0, pthread_create(&wr.thread, NULL, writer_main, &wr));
	ASSERT_TRUE(es_until(es_fionread(self->r) == SLOTS * self->page));
	ASSERT_EQ(4, es_sample(self->epw, self->w, ES_IO, &st));
	EXPECT_EQ(EPOLLSTATE, st.events);
	EXPECT_EQ(0, st.snd);
	EXPECT_EQ(SLOTS * self->page, st.outq);
	ASSERT_TRUE(es_until(es_drain(self->r) || wr.done) &&
		    es_until(es_drain(self->r) == 0 && wr.done));
	ASSERT_EQ(0, pthread_join(wr.thread, NULL));
}

static void *splicer_main(void *arg)
{
	struct writer *wr = arg;

	wr->ret = splice(wr->fd, NULL, wr->len, NULL, 65536, 0);
	__atomic_store_n(&wr->done, true, __ATOMIC_RELEASE);
	return NULL;
}

/* True iff somebody has pipe->mutex: a child that asks does not come back. */
static bool is_locked(int fd)
{
	pid_t pid = fork();
	int i, status;

	if (!pid) {
		es_fionread(fd);
		_exit(0);
	}
	for (i = 0; i < 100; i++) {
		if (waitpid(pid, &status, WNOHANG) == pid)
			return false;
		es_pause();
	}
	return true;
}

/* splice(2) into a terminal that takes no more holds the lock of the pipe. */
TEST_F_TIMEOUT(pipe, a_lock_that_is_held_stalls_nobody, ES_TIMEOUT)
{
	struct writer sp = { .fd = self->r };
	struct termios tio;
	struct epoll_state st;
	uint64_t start;
	int ptm, pts;

	ptm = posix_openpt(O_RDWR | O_NOCTTY);
	if (ptm < 0 || grantpt(ptm) || unlockpt(ptm))
		SKIP(return, "no pseudo-terminals");
	pts = open(ptsname(ptm), O_RDWR | O_NOCTTY);
	ASSERT_LE(0, pts);
	ASSERT_EQ(0, tcgetattr(pts, &tio));
	cfmakeraw(&tio);
	ASSERT_EQ(0, tcsetattr(pts, TCSANOW, &tio));
	ASSERT_EQ(0, tcflow(pts, TCOOFF));

	ADD_BOTH();
	ASSERT_EQ(5000, es_write(self->w, 5000));
	ASSERT_EQ(4, es_next(self->epr, &st));
	sp.len = pts;
	ASSERT_EQ(0, pthread_create(&sp.thread, NULL, splicer_main, &sp));
	ASSERT_TRUE(es_until(is_locked(self->r) || sp.done));
	ASSERT_FALSE(sp.done);

	start = es_now_ms();
	ASSERT_EQ(4, es_sample(self->epr, self->r, ES_IO, &st));
	EXPECT_EQ(5000, st.rcv);
	ASSERT_EQ(4, es_sample(self->epw, self->w, ES_IO, &st));
	EXPECT_EQ(5000, st.outq);
	EXPECT_EQ((SLOTS - 2) * self->page, st.snd);
	EXPECT_GT(ES_DEADLINE_MS / 2, es_now_ms() - start);

	ASSERT_EQ(0, tcflow(pts, TCOON));
	ASSERT_TRUE(es_until(es_nonblock(ptm) || es_drain(ptm) || sp.done));
	ASSERT_TRUE(es_until(es_drain(ptm) == 0 && sp.done));
	ASSERT_EQ(0, pthread_join(sp.thread, NULL));
	EXPECT_EQ(5000, sp.ret);
	ASSERT_EQ(4, es_next(self->epw, &st));
	EXPECT_EQ(0, st.outq);
	close(pts);
	close(ptm);
}

TEST_F(pipe, two_registrations_are_told_alike)
{
	struct epoll_state st;
	int ep, i, j;

	ADD_BOTH();
	ep = epoll_create1(EPOLL_CLOEXEC);
	ASSERT_LE(0, ep);
	ASSERT_EQ(8 * self->page, es_write(self->w, 8 * self->page));
	/* Told later, and so has less to be told. */
	ASSERT_EQ(2 * self->page, es_read(self->r, 2 * self->page));
	ASSERT_EQ(0, es_add(ep, self->w, EPOLLOUT | EPOLLSTATE));
	ASSERT_EQ(4, es_wait(ep, &st, 0));
	EXPECT_SILENT(self->epw);
	ASSERT_EQ(2 * self->page, es_read(self->r, 2 * self->page));
	ASSERT_EQ(4, es_wait(self->epw, &st, 0));
	EXPECT_SILENT(ep);
	ASSERT_EQ(2 * self->page, es_read(self->r, 2 * self->page));
	ASSERT_EQ(4, es_wait(ep, &st, 0));
	EXPECT_SILENT(self->epw);
	for (i = 0; i < 50; i++) {
		ASSERT_EQ(100, es_write(self->w, 100));
		es_drain(self->r);
		for (j = 0; j < 2; j++) {
			ASSERT_EQ(4, es_next(j == i % 2 ? ep : self->epw, &st));
			EXPECT_EQ(0, st.outq);
		}
	}
	close(ep);
}

/* What a plain edge-triggered registration is told of, with a record or not. */
TEST_F(pipe, others_are_told_of_no_space)
{
	struct epoll_state st;
	int ep, i, round;
	int events[2] = {};

	ep = epoll_create1(EPOLL_CLOEXEC);
	ASSERT_LE(0, ep);
	for (round = 0; round < 2; round++) {
		if (round)
			ADD_BOTH();
		ASSERT_EQ(0, es_add(ep, self->w, ES_IO | EPOLLET));
		ASSERT_EQ(1, es_wait(ep, &st, 0));
		for (i = 0; i < 100; i++) {
			ASSERT_EQ(9000, es_write(self->w, 9000));
			while (es_read(self->r, 2000) > 0)
				events[round] += es_wait(ep, &st, 0);
			if (round)
				ASSERT_EQ(4, es_wait(self->epw, &st, 0));
		}
		ASSERT_EQ(0, es_ctl(ep, EPOLL_CTL_DEL, self->w, 0, 0));
	}
	EXPECT_EQ(events[0], events[1]);
	close(ep);
}

TEST_F(pipe, without_epollout_asked_for_space_is_never_told)
{
	struct epoll_state st;
	int i;

	ASSERT_EQ(0, es_add(self->epw, self->w, EPOLLIN | EPOLLSTATE));
	ASSERT_EQ(4, es_wait(self->epw, &st, 0));
	for (i = 0; i < 30; i++) {
		ASSERT_EQ(30000, es_write(self->w, 30000));
		es_drain(self->r);
		EXPECT_SILENT(self->epw);
	}
}

TEST_F(pipe, a_notification_pipe_reports_nothing)
{
	int fds[2];

	if (pipe2(fds, O_NOTIFICATION_PIPE))
		SKIP(return, "no notification pipes");
	EXPECT_EQ(-EOPNOTSUPP, es_add(self->epr, fds[0], EPOLLIN | EPOLLSTATE));
	EXPECT_EQ(-EOPNOTSUPP, es_add(self->epr, fds[1], EPOLLOUT |
				      EPOLLSTATE));
	close(fds[0]);
	close(fds[1]);
}

/* FIFOs: by name */

FIXTURE(fifo)
{
	char dir[64];
	char name[80];
	size_t page;
	int ep;
};

FIXTURE_SETUP(fifo)
{
	ES_REQUIRE_KERNEL();
	signal(SIGPIPE, SIG_IGN);
	self->page = sysconf(_SC_PAGESIZE);
	snprintf(self->dir, sizeof(self->dir), "/tmp/epollstate.XXXXXX");
	ASSERT_NE(NULL, mkdtemp(self->dir));
	snprintf(self->name, sizeof(self->name), "%s/fifo", self->dir);
	ASSERT_EQ(0, mkfifo(self->name, 0600));
	self->ep = epoll_create1(EPOLL_CLOEXEC);
	ASSERT_LE(0, self->ep);
}

FIXTURE_TEARDOWN(fifo)
{
	close(self->ep);
	unlink(self->name);
	rmdir(self->dir);
}

TEST_F(fifo, a_writer_hears_of_readers_that_go_and_come)
{
	struct epoll_state st;
	int r, w, i;

	r = open(self->name, O_RDONLY | O_NONBLOCK);
	ASSERT_LE(0, r);
	w = open(self->name, O_WRONLY | O_NONBLOCK);
	ASSERT_LE(0, w);
	ASSERT_EQ(0, es_add(self->ep, w, EPOLLOUT | EPOLLSTATE));
	ASSERT_EQ(4, es_wait(self->ep, &st, 0));
	EXPECT_LT(0, st.snd);
	for (i = 0; i < 5; i++) {
		close(r);
		ASSERT_EQ(4, es_next(self->ep, &st));
		EXPECT_EQ(EPIPE, st.error);
		EXPECT_EQ(0, st.snd);
		EXPECT_EQ(0, es_pending(self->ep));
		r = open(self->name, O_RDONLY | O_NONBLOCK);
		ASSERT_LE(0, r);
		ASSERT_EQ(4, es_next(self->ep, &st));
		EXPECT_EQ(0, st.error);
		EXPECT_LT(0, st.snd);
		EXPECT_EQ(st.snd, es_write(w, st.snd));
		EXPECT_EQ(st.snd, es_drain(r));
		ASSERT_EQ(4, es_next(self->ep, &st));
		EXPECT_EQ(0, es_pending(self->ep));
	}
	close(r);
	close(w);
}

/* A read end, registered, that never had a writer. */
#define READER(r, st)							\
do {									\
	(r) = open(self->name, O_RDONLY | O_NONBLOCK);			\
	ASSERT_LE(0, r);						\
	ASSERT_EQ(0, es_add(self->ep, r, EPOLLIN | EPOLLSTATE));	\
	ASSERT_EQ(4, es_wait(self->ep, st, 0));				\
	EXPECT_EQ(EPOLLSTATE, (st)->events);				\
} while (0)

TEST_F(fifo, a_reader_hears_of_writers_that_go_and_come)
{
	struct epoll_state st;
	int r, w, i;

	READER(r, &st);
	for (i = 1; i < 5; i++) {
		w = open(self->name, O_WRONLY | O_NONBLOCK);
		ASSERT_LE(0, w);
		EXPECT_EQ(0, es_pending(self->ep));
		ASSERT_EQ(i, es_write(w, i));
		ASSERT_EQ(4, es_next(self->ep, &st));
		EXPECT_EQ(EPOLLSTATE | EPOLLIN, st.events);
		EXPECT_EQ(i, st.rcv);
		ASSERT_EQ(i, es_read(r, i));
		close(w);
		ASSERT_EQ(4, es_next(self->ep, &st));
		EXPECT_EQ(EPOLLSTATE | EPOLLHUP, st.events);
		EXPECT_EQ(0, st.rcv);
		EXPECT_EQ(0, es_pending(self->ep));
	}
	close(r);
}

/* One that writes nothing: an event that was seen gone is news again. */
TEST_F(fifo, r5_a_hangup_that_comes_back_is_told_again)
{
	struct epoll_state st;
	int r, w, i;

	READER(r, &st);
	for (i = 1; i < 5; i++) {
		w = open(self->name, O_WRONLY | O_NONBLOCK);
		ASSERT_LE(0, w);
		/* To open wakes, and there is nothing to tell. */
		EXPECT_EQ(0, es_pending(self->ep));
		close(w);
		ASSERT_EQ(4, es_next(self->ep, &st));
		EXPECT_EQ(EPOLLSTATE | EPOLLHUP, st.events);
		EXPECT_EQ(i, st.seq);
		EXPECT_EQ(0, es_pending(self->ep));
	}
	close(r);
}

TEST_F(fifo, one_open_for_both_reports_both)
{
	struct epoll_state st;
	int fd, other;

	fd = open(self->name, O_RDWR | O_NONBLOCK);
	ASSERT_LE(0, fd);
	other = open(self->name, O_RDWR | O_NONBLOCK);
	ASSERT_LE(0, other);
	ASSERT_EQ(0, es_add(self->ep, fd, ES_IO | EPOLLSTATE));
	ASSERT_EQ(4, es_wait(self->ep, &st, 0));
	EXPECT_EQ(EPOLLSTATE | EPOLLOUT, st.events);
	EXPECT_EQ(SLOTS * self->page, st.snd);
	ASSERT_EQ(5000, es_write(other, 5000));
	ASSERT_EQ(4, es_next(self->ep, &st));
	EXPECT_EQ(EPOLLSTATE | EPOLLOUT | EPOLLIN, st.events);
	EXPECT_EQ(5000, st.rcv);
	EXPECT_EQ(5000, st.outq);
	EXPECT_EQ((SLOTS - 2) * self->page, st.snd);
	EXPECT_EQ(5000, es_drain(other));
	ASSERT_EQ(4, es_next(self->ep, &st));
	EXPECT_EQ(EPOLLSTATE | EPOLLOUT, st.events);
	EXPECT_EQ(0, st.rcv | st.outq);
	close(other);
	close(fd);
}

TEST_HARNESS_MAIN
