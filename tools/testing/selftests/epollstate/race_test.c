// SPDX-License-Identifier: GPL-2.0
/*
 * Calls that meet each other: registering, changing, dropping and closing on
 * one side, traffic, waiters and softirqs on the other.
 *
 * None of these tests looks for a certain interleaving.  Each has an invariant
 * that holds in all of them: a record is whole, records are numbered without a
 * gap, what comes last tells all there is, an end is told, and every watch and
 * all memory is given back.
 *
 *	EPOLLSTATE_ROUNDS=N	so many rounds per test, however long they take
 *
 * By default it is as many as fit into a second, and a few at least (in
 * who_looks_at_the_epoll_takes_nothing_away all that there are).
 */

#include <pthread.h>
#include <signal.h>

#include "watches.h"

#define ROUNDS		30
#define FEW		4
#define THREADS		4
#define SLOTS		(4 * EPOLL_STATE_SLOTS)
#define HANGUP		(EPOLLRDHUP | EPOLLHUP)

/*
 * How the records that the waiter takes are numbered.  MOD and EPOLLONESHOT
 * change nothing of it, a MOD that drops and one that adds EPOLLSTATE do.
 */
enum numbers {
	SHARED,		/* not known: others take some, or there are two files */
	NUMBERED,	/* from 0 on, each one more than the last */
	RESTARTED,	/* the same, and from 0 again at any time */
};

/* What the threads of a test share. */
struct race {
	const struct es_type *type;
	int ep;
	int fd;				/* the end that is registered */
	int peer;
	int end;			/* which of a pair that is */
	bool over;
	int met;			/* threads, in es_meet() */
	uint32_t late;			/* how long the epoll lives on then */
	/* Told to the only waiter, which is one of the threads. */
	enum numbers numbers;
	uint32_t records;		/* of this registration */
	uint32_t events;		/* of the last one */
	uint32_t error;
	uint32_t amount;		/* readable, in messages if it has such */
	unsigned int signals;
	uint32_t looks;			/* that found a record */
	/* Anything that must never be, and the first of it. */
	int faults;
	const char *what;
	long value;
	struct es_memory memory;	/* before the test */
	/* Threads, to be joined by es_halt() */
	pthread_t th[THREADS];
	int threads;
};

/* Rounds of a test: for (rounds = es_rounds(); es_another(&rounds); ) */
struct rounds {
	int done, least, most;
	uint64_t end;
};

/* A few at least of each kind, where the kinds take turns. */
static struct rounds es_rounds_of(int kinds)
{
	const char *env = getenv("EPOLLSTATE_ROUNDS");
	const int least = FEW * kinds;

	return (struct rounds){
		.least = least,
		.most = env ? atoi(env) : least > ROUNDS ? least : ROUNDS,
		.end = env ? UINT64_MAX : es_now_ms() + 1000,
	};
}

static struct rounds es_rounds(void)
{
	return es_rounds_of(1);
}

static bool es_another(struct rounds *r)
{
	if (r->done >= r->most || (r->done >= r->least && es_now_ms() > r->end))
		return false;
	r->done++;
	return true;
}

static bool es_over(const struct race *r)
{
	return __atomic_load_n(&r->over, __ATOMIC_ACQUIRE);
}

static uint32_t es_get(const uint32_t *p)
{
	return __atomic_load_n(p, __ATOMIC_ACQUIRE);
}

static void es_put(uint32_t *p, uint32_t v)
{
	__atomic_store_n(p, v, __ATOMIC_RELEASE);
}

static void es_fault(struct race *r, const char *what, long value)
{
	if (__atomic_fetch_add(&r->faults, 1, __ATOMIC_RELAXED))
		return;
	r->what = what;
	r->value = value;
}

static int es_start(struct race *r, void *(*fn)(void *))
{
	return pthread_create(&r->th[r->threads++], NULL, fn, r);
}

/* All threads see that it is over, and end. */
static void es_halt(struct race *r)
{
	__atomic_store_n(&r->over, true, __ATOMIC_RELEASE);
	while (r->threads)
		pthread_join(r->th[--r->threads], NULL);
	r->over = false;
}

/* Two threads go on at the same moment, or one of them a little later. */
static void es_meet(struct race *r, uint32_t late)
{
	int tries = 1000;

	__atomic_add_fetch(&r->met, 1, __ATOMIC_ACQ_REL);
	/* One that sleeps comes second; but the other may need the processor. */
	while (__atomic_load_n(&r->met, __ATOMIC_ACQUIRE) % 2) {
		if (tries-- > 0)
			sched_yield();
		else
			es_pause();
	}
	while (late--)
		__asm__ volatile("" ::: "memory");
}

/* Both directions, and everything is read; descriptors may go meanwhile. */
static void *es_traffic(void *arg)
{
	struct race *r = arg;
	const uint32_t len = es_len(r->type, 100);

	while (!es_over(r)) {
		es_send(r->type, r->peer, len);
		if (r->type->both)
			es_write(r->fd, len);
		es_drain(r->fd);
		if (r->type->both)
			es_drain(r->peer);
	}
	return NULL;
}

/* The peer goes on sending; nobody reads. */
static void *es_sender(void *arg)
{
	struct race *r = arg;

	while (!es_over(r)) {
		if (es_send(r->type, r->peer, es_len(r->type, 100)) < 0)
			sched_yield();
	}
	return NULL;
}

/* What the first end sends, the second one reads, whichever is registered. */
static void *es_flow(void *arg)
{
	struct race *r = arg;
	const int from = r->end == SENDER ? r->fd : r->peer;
	const int to = r->end == SENDER ? r->peer : r->fd;

	while (!es_over(r)) {
		es_send(r->type, from, es_len(r->type, 100));
		es_drain(to);
	}
	return NULL;
}

/* The number of the record that comes next. */
static void es_count(struct race *r, uint32_t seq)
{
	if (r->numbers == RESTARTED && !seq)
		es_put(&r->records, 0);
	if (r->numbers != SHARED && seq != r->records)
		es_fault(r, "a number off by", (int)(seq - r->records));
	es_put(&r->records, r->records + 1);
}

/*
 * A record is whole and has the next number, an ordinary event is not torn out
 * of one.
 */
static void es_look(struct race *r, const struct epoll_event *slots, int n)
{
	const struct epoll_state *st;
	int i, k;

	for (i = 0; i < n; i = epollstate_next(slots, n, i)) {
		if (!slots[i].events || slots[i].data.u64 != ES_COOKIE)
			es_fault(r, "no event, with events", slots[i].events);
		st = epollstate_record(&slots[i]);
		if (!st)
			continue;
		if (n - i < EPOLL_STATE_SLOTS) {
			es_fault(r, "half a record, slots", n - i);
			return;
		}
		for (k = 1; k < EPOLL_STATE_SLOTS; k++) {
			if (slots[i + k].events)
				es_fault(r, "events in slot", k);
		}
		es_put(&r->amount, r->type->messages ? st->msgs : st->rcv);
		es_put(&r->error, st->error);
		es_put(&r->events, st->events);
		es_count(r, st->seq);
	}
}

static void *es_waiter(void *arg)
{
	struct epoll_event slots[SLOTS];
	struct race *r = arg;
	int n, size = 4;

	while (!es_over(r)) {
		size = size == SLOTS ? EPOLL_STATE_SLOTS : size + 1;
		n = epoll_wait(r->ep, slots, size, 2);
		if (n > 0)
			es_look(r, slots, n);
		else if (n < 0 && errno != EINTR && errno != EBADF)
			es_fault(r, "epoll_wait", errno);
		else if (n < 0)
			sched_yield();
	}
	return NULL;
}

/* A new baseline, again and again; every other one disables what it tells. */
static void *es_modder(void *arg)
{
	uint32_t events = ES_IO | EPOLLSTATE;
	struct race *r = arg;
	int err;

	while (!es_over(r)) {
		events ^= EPOLLONESHOT;
		err = es_mod(r->ep, r->fd, events);
		if (err && err != -ENOENT)
			es_fault(r, "MOD", err);
	}
	return NULL;
}

/*
 * The beginning of each test.  Another epoll, whose watches are counted, must
 * not be made while threads wait: to change the user interrupts them all.
 */
#define RACE(r)								\
	struct race r = { .type = variant->type, .peer = self->peer,	\
			  .fd = self->fd };				\
	const int mute = es_mute_file();				\
									\
	ES_REQUIRE_ROOT();						\
	es_buf();							\
	signal(SIGPIPE, SIG_IGN);					\
	es_drain(r.fd);							\
	r.ep = es_other_epoll();					\
	ASSERT_LE(0, r.ep);						\
	ASSERT_LE(0, mute);						\
	r.memory = es_memory()

/* The beginning of a round: nobody was told anything of these. */
#define NEW_PAIR(r, which)						\
do {									\
	int __sv[2];							\
									\
	ASSERT_EQ(0, (r)->type->pair(__sv));				\
	(r)->end = which;						\
	(r)->fd = __sv[(r)->end];					\
	(r)->peer = __sv[!(r)->end];					\
	(r)->records = 0;						\
	(r)->events = 0;						\
	(r)->error = 0;							\
} while (0)

#define ADD(r)								\
	ASSERT_EQ(0, es_add((r)->ep, (r)->fd, ES_IO | EPOLLSTATE))

#define START(r, fn)	ASSERT_EQ(0, es_start(r, fn))

/*
 * The end of each: nothing was wrong, no watch is left, and no memory of that
 * many registrations.
 */
#define FINISH(r, registrations)					\
do {									\
	const char *__left;						\
									\
	EXPECT_EQ(0, (r)->faults) {					\
		TH_LOG("first: %s %ld", (r)->what, (r)->value);		\
	}								\
	EXPECT_TRUE(es_watches_back((r)->ep, mute));			\
	close((r)->ep);							\
	close(mute);							\
	__left = es_memory_left(&(r)->memory, registrations);		\
	EXPECT_TRUE(!__left) {						\
		TH_LOG("objects of %s are left", __left);		\
	}								\
} while (0)

ES_FIXTURE(race, RECEIVER, ALL)
ES_FIXTURE(told, RECEIVER, SUM)
ES_FIXTURE(room, SENDER, ROOM)
ES_FIXTURE(end, RECEIVER, EOF)

TEST_F_TIMEOUT(race, registering_changing_and_dropping_under_traffic,
	       ES_TIMEOUT)
{
	struct rounds rounds = es_rounds();
	struct epoll_state st;
	int least;

	RACE(r);
	r.numbers = RESTARTED;
	START(&r, es_traffic);
	START(&r, es_waiter);
	while (es_another(&rounds)) {
		ADD(&r);
		EXPECT_EQ(0, es_mod(r.ep, r.fd, ES_IO | EPOLLET));
		EXPECT_EQ(0, es_mod(r.ep, r.fd, ES_IO | EPOLLSTATE));
		EXPECT_EQ(-EEXIST, es_add(r.ep, r.fd, EPOLLIN));
		EXPECT_EQ(0, es_mod(r.ep, r.fd,
				    EPOLLIN | EPOLLSTATE | EPOLLONESHOT));
		EXPECT_EQ(0, es_mod(r.ep, r.fd, ES_IO));
		EXPECT_EQ(0, es_ctl(r.ep, EPOLL_CTL_DEL, r.fd, 0, 0));
	}
	es_halt(&r);
	/* After all that it counts as it does anywhere. */
	EXPECT_EQ(0, es_pending(r.ep));
	es_drain(r.fd);
	/* A worker (vsock, pty) may still bring what was sent before. */
	least = variant->type->rcv(r.fd);
	ADD(&r);
	ASSERT_EQ(4, es_wait(r.ep, &st, 0));
	EXPECT_EQ(0, st.seq);
	EXPECT_LE(least, (int)st.rcv);
	EXPECT_GE(variant->type->rcv(r.fd), (int)st.rcv);
	EXPECT_EQ(0, es_ctl(r.ep, EPOLL_CTL_DEL, r.fd, 0, 0));
	FINISH(&r, rounds.done);
}

/* Two that do not know of each other, on one registration. */
static void *es_rival(void *arg)
{
	static const uint32_t masks[] = {
		ES_IO | EPOLLSTATE, EPOLLIN | EPOLLET, ES_IO | EPOLLSTATE,
		EPOLLIN | EPOLLSTATE | EPOLLONESHOT,
	};
	struct race *r = arg;
	int i = 0, err;

	while (!es_over(r)) {
		err = es_add(r->ep, r->fd, masks[i++ % 4]);
		if (err && err != -EEXIST)
			es_fault(r, "ADD", err);
		err = es_mod(r->ep, r->fd, masks[i++ % 4]);
		if (err && err != -ENOENT)
			es_fault(r, "MOD", err);
		err = es_ctl(r->ep, EPOLL_CTL_DEL, r->fd, 0, 0);
		if (err && err != -ENOENT)
			es_fault(r, "DEL", err);
		__atomic_add_fetch(&r->signals, 1, __ATOMIC_RELAXED);
	}
	return NULL;
}

TEST_F_TIMEOUT(race, two_threads_register_and_drop_the_same_file, ES_TIMEOUT)
{
	struct rounds rounds = es_rounds();

	RACE(r);
	r.numbers = RESTARTED;
	START(&r, es_traffic);
	START(&r, es_rival);
	START(&r, es_rival);
	START(&r, es_waiter);
	while (es_another(&rounds)) {
		const unsigned int had = __atomic_load_n(&r.signals,
							 __ATOMIC_RELAXED);

		ASSERT_TRUE(es_until(__atomic_load_n(&r.signals,
						     __ATOMIC_RELAXED) != had));
	}
	es_halt(&r);
	es_ctl(r.ep, EPOLL_CTL_DEL, r.fd, 0, 0);
	EXPECT_EQ(0, es_pending(r.ep));
	FINISH(&r, rounds.done);
}

/* The ways in which a registered file goes, under all that uses it. */
TEST_F_TIMEOUT(race, the_file_goes_under_traffic_and_waiters, ES_TIMEOUT)
{
	struct rounds rounds = es_rounds();
	int copy;

	RACE(r);
	r.numbers = NUMBERED;
	while (es_another(&rounds)) {
		NEW_PAIR(&r, rounds.done & 1 ? RECEIVER : SENDER);
		/* A file that is only written to cannot be polled. */
		if (variant->type->send && !(rounds.done & 1)) {
			copy = r.fd;
			r.fd = r.peer;
			r.peer = copy;
		}
		ADD(&r);
		START(&r, es_waiter);
		START(&r, es_traffic);
		sched_yield();
		switch (rounds.done % 4) {
		case 0:
			close(r.fd);
			break;
		case 1:
			ASSERT_EQ(r.fd, dup2(mute, r.fd));
			break;
		case 2:
			close(r.peer);
			sched_yield();
			close(r.fd);
			break;
		case 3:
			/* The last reference is that of a process. */
			copy = fork();
			ASSERT_LE(0, copy);
			if (!copy)
				_exit(0);
			close(r.fd);
			ASSERT_EQ(copy, waitpid(copy, NULL, 0));
			break;
		}
		es_halt(&r);
		if (rounds.done % 4 == 1)
			close(r.fd);
		if (rounds.done % 4 != 2)
			close(r.peer);
		/* A pair that is one file has had its last one here. */
		ASSERT_EQ(0, es_pending(r.ep));
	}
	FINISH(&r, rounds.done);
}

static void *es_close_epoll(void *arg)
{
	struct race *r = arg;

	es_meet(r, r->late);
	if (close(r->ep))
		es_fault(r, "close", errno);
	return NULL;
}

/* The epoll and the file at the same moment, with a waiter inside. */
TEST_F_TIMEOUT(race, the_epoll_and_the_file_are_closed_at_once, ES_TIMEOUT)
{
	struct rounds rounds = es_rounds();
	int keep;

	RACE(r);
	r.numbers = NUMBERED;
	keep = r.ep;
	while (es_another(&rounds)) {
		r.ep = es_other_epoll();
		ASSERT_LE(0, r.ep);
		NEW_PAIR(&r, RECEIVER);
		ADD(&r);
		START(&r, es_close_epoll);
		START(&r, es_waiter);
		if (rounds.done & 1)
			START(&r, es_sender);
		es_meet(&r, 0);
		close(r.fd);
		es_halt(&r);
		close(r.peer);
	}
	r.ep = keep;
	FINISH(&r, rounds.done);
}

/* What happens to a registered file, or to its epoll, by one call. */
enum deed {
	/* By the epoll: it may come too late */
	DO_ADD,			/* of another file */
	DO_MOD,			/* to ordinary events and back */
	DO_DEL,
	/* By the file, whatever is of the epoll */
	DO_DUP2,		/* over the registered descriptor */
	DO_CLOSE,
	DO_SHUT_PEER,
	DO_SHUT_OWN,
	DO_RESET,		/* by the peer */
	DO_TLS,
	DEEDS,
};

static const char *const es_deed[DEEDS] = {
	[DO_ADD] = "ADD of another", [DO_MOD] = "MOD", [DO_DEL] = "DEL",
	[DO_DUP2] = "dup2", [DO_CLOSE] = "close", [DO_SHUT_PEER] = "peer's end",
	[DO_SHUT_OWN] = "shutdown", [DO_RESET] = "reset", [DO_TLS] = "TLS",
};

static bool es_is_socket(int fd)
{
	return es_int_opt(fd, SOL_SOCKET, SO_TYPE) >= 0;
}

static bool es_is_tcp(const struct es_type *t)
{
	return t == &es_tcp4 || t == &es_tcp6;
}

static bool es_can(const struct es_type *t, enum deed deed, bool socket,
		   bool tls)
{
	switch (deed) {
	case DO_SHUT_PEER:
		/* Is there a peer, an open file of its own? */
		return socket || (!t->one_file && !t->send);
	case DO_SHUT_OWN:
		return socket;
	case DO_RESET:
		return es_is_tcp(t);
	case DO_TLS:
		return tls;
	default:
		return true;
	}
}

/* Descriptors that are closed are -1 afterwards. */
static int es_do(struct race *r, enum deed deed, int how, int other, int mute)
{
	const struct linger now = { .l_onoff = 1 };
	int err;

	switch (deed) {
	case DO_ADD:
		return es_add(r->ep, other, ES_IO | EPOLLSTATE);
	case DO_MOD:
		err = es_mod(r->ep, r->fd, ES_IO | EPOLLET);
		return err ?: es_mod(r->ep, r->fd, ES_IO | EPOLLSTATE);
	case DO_DEL:
		return es_ctl(r->ep, EPOLL_CTL_DEL, r->fd, 0, 0);
	case DO_DUP2:
		return dup2(mute, r->fd) == r->fd ? 0 : -errno;
	case DO_CLOSE:
		return es_shut_close(&r->fd);
	case DO_SHUT_PEER:
		if (!es_is_socket(r->peer))
			return es_shut_close(&r->peer);
		return shutdown(r->peer, SHUT_RDWR) ? -errno : 0;
	case DO_SHUT_OWN:
		return shutdown(r->fd, how) ? -errno : 0;
	case DO_RESET:
		if (setsockopt(r->peer, SOL_SOCKET, SO_LINGER, &now,
			       sizeof(now)))
			return -errno;
		return es_shut_close(&r->peer);
	case DO_TLS:
		return es_attach_tls(r->fd);
	default:
		return -EINVAL;
	}
}

/*
 * The last descriptor of the epoll is closed at the same moment.  With a waiter
 * inside, who has a reference, that ends it when he returns; without one, but
 * under traffic, the close does, or whatever call it meets.
 */
TEST_F_TIMEOUT(race, everything_meets_a_dying_epoll, ES_TIMEOUT)
{
	struct rounds rounds = es_rounds_of(DEEDS);
	const bool socket = es_is_socket(self->fd);
	int spare[2] = { -1, -1 }, did[DEEDS] = {};
	struct es_rnd rnd = es_seed();
	int keep, turn, err, d;
	bool tls = false;

	RACE(r);
	keep = r.ep;
	if (es_is_tcp(variant->type)) {
		NEW_PAIR(&r, RECEIVER);
		tls = !es_attach_tls(r.fd);
		close(r.fd);
		close(r.peer);
	}
	while (es_another(&rounds)) {
		d = rounds.done % DEEDS;
		turn = rounds.done / DEEDS;
		if (!es_can(variant->type, d, socket, tls))
			continue;
		/* A file that is only written to cannot be polled. */
		NEW_PAIR(&r, turn & 1 && !variant->type->send ? SENDER :
			 RECEIVER);
		if (d == DO_ADD)
			ASSERT_EQ(0, variant->type->pair(spare));
		/* Another file has numbers of its own. */
		r.numbers = d == DO_ADD ? SHARED :
			    d == DO_MOD ? RESTARTED : NUMBERED;
		r.ep = es_other_epoll();
		ASSERT_LE(0, r.ep);
		ADD(&r);
		r.late = es_rnd_upto(&rnd, 3000);
		START(&r, es_close_epoll);
		START(&r, turn & 2 ? es_waiter : es_flow);
		es_meet(&r, es_rnd_upto(&rnd, 3000));
		err = es_do(&r, d, turn % 3, spare[RECEIVER], mute);
		es_halt(&r);
		EXPECT_TRUE(!err || (d <= DO_DEL && err == -EBADF)) {
			TH_LOG("%s: %s", es_deed[d], strerror(-err));
		}
		did[d]++;
		/* It is gone, with all that was registered, at once. */
		EXPECT_EQ(-EBADF, es_pending(r.ep));
		EXPECT_TRUE(es_watches_back(keep, mute)) {
			TH_LOG("a watch is left after: %s", es_deed[d]);
		}
		if (d == DO_ADD) {
			close(spare[0]);
			close(spare[1]);
		}
		if (r.fd >= 0)
			close(r.fd);
		if (r.peer >= 0)
			close(r.peer);
	}
	for (d = 0; d < DEEDS && rounds.done >= FEW * DEEDS; d++) {
		if (!es_can(variant->type, d, socket, tls))
			continue;
		EXPECT_LE(FEW, did[d]) {
			TH_LOG("%s", es_deed[d]);
		}
	}
	r.ep = keep;
	FINISH(&r, rounds.done);
}

static void es_handler(int sig)
{
}

static void *es_signals(void *arg)
{
	struct race *r = arg;
	const pthread_t waiter = r->th[0];

	while (!es_over(r)) {
		pthread_kill(waiter, SIGUSR1);
		__atomic_add_fetch(&r->signals, 1, __ATOMIC_RELAXED);
		es_pause();
	}
	return NULL;
}

/* How much is readable, as the records of a waiter count. */
static uint32_t es_total(const struct es_type *t, uint32_t n)
{
	return t->messages ? n : n * es_len(t, 1);
}

TEST_F_TIMEOUT(told, signals_during_waits_lose_nothing, ES_TIMEOUT)
{
	const int deep = variant->type->depth < 100 ? variant->type->depth : 100;
	const uint32_t len = es_len(variant->type, 1);
	const uint32_t all = es_total(variant->type, deep);
	const struct sigaction sa = { .sa_handler = es_handler };
	struct epoll_state st;
	int i;

	RACE(r);
	r.numbers = NUMBERED;
	ASSERT_EQ(0, sigaction(SIGUSR1, &sa, NULL));
	ADD(&r);
	START(&r, es_waiter);
	START(&r, es_signals);
	for (i = 0; i < deep; i++) {
		ASSERT_EQ(len, es_send(variant->type, r.peer, len));
		if (i % 4 == 0)
			es_pause();
	}
	EXPECT_TRUE(es_until(es_get(&r.amount) == all)) {
		TH_LOG("told %u of %u", r.amount, all);
	}
	EXPECT_LT(0, r.signals);
	es_halt(&r);
	/* None was lost on the way: the next one has the next number. */
	es_drain(r.fd);
	ASSERT_EQ(0, es_mod(r.ep, r.fd, ES_IO | EPOLLSTATE));
	ASSERT_EQ(4, es_wait(r.ep, &st, 0));
	EXPECT_EQ(r.records, st.seq);
	EXPECT_EQ(0, es_ctl(r.ep, EPOLL_CTL_DEL, r.fd, 0, 0));
	FINISH(&r, 1);
}

/* By poll(2), which samples what is ready and leaves it there. */
static void *es_looker(void *arg)
{
	struct race *r = arg;
	struct pollfd ep = { .fd = r->ep, .events = POLLIN };

	while (!es_over(r)) {
		if (poll(&ep, 1, 0) == 1 && ep.revents & POLLIN)
			es_put(&r->looks, r->looks + 1);
	}
	return NULL;
}

/* Somebody has seen that there is a record, since all that was sent arrived. */
static bool es_was_seen(const struct race *r)
{
	uint32_t looks;

	if (!es_until(es_idle(r->type, r->fd, r->peer)))
		return false;
	/* One that was under way may have begun before. */
	looks = es_get(&r->looks);
	return es_until(es_get(&r->looks) - looks > 1);
}

TEST_F_TIMEOUT(told, who_looks_at_the_epoll_takes_nothing_away, ES_TIMEOUT)
{
	const int deep = variant->type->depth < 100 ? variant->type->depth : 100;
	const uint32_t len = es_len(variant->type, 1);
	struct rounds rounds = es_rounds();
	struct epoll_state st;
	int i, burst;
	uint32_t all;

	RACE(r);
	/* It is here that KCSAN sees samples beside what they sample. */
	rounds.least = rounds.most;
	/* Otherwise what follows the first byte waits for a delayed ACK. */
	es_set_opt(r.peer, IPPROTO_TCP, TCP_NODELAY, 1);
	ADD(&r);
	START(&r, es_looker);
	ASSERT_TRUE(es_was_seen(&r));
	ASSERT_EQ(4, es_next(r.ep, &st));
	ASSERT_EQ(r.records++, st.seq);
	while (es_another(&rounds)) {
		/* All at once, in halves, in quarters. */
		burst = deep >> (rounds.done + 2) % 3;
		for (i = 1; i <= deep; i++) {
			ASSERT_EQ(len, es_send(variant->type, r.peer, len));
			if (i % burst && i < deep)
				continue;
			ASSERT_TRUE(es_was_seen(&r));
			/* A part of it may be told first, and then the rest. */
			all = es_total(variant->type, i);
			do {
				ASSERT_EQ(4, es_next(r.ep, &st)) {
					TH_LOG("round %d: told %u of %u",
					       rounds.done, r.amount, all);
				}
				ASSERT_EQ(r.records++, st.seq);
				r.amount = variant->type->messages ? st.msgs :
								     st.rcv;
			} while (r.amount != all);
		}
		es_drain(r.fd);
	}
	es_halt(&r);
	EXPECT_EQ(0, es_ctl(r.ep, EPOLL_CTL_DEL, r.fd, 0, 0));
	FINISH(&r, 1);
}

/* One socket, an epoll for each of many threads: each is told everything. */
struct listener {
	struct race *r;
	int ep;
	uint32_t all;
	bool ok;
};

static void *es_listen(void *arg)
{
	struct listener *l = arg;
	struct epoll_state st;
	uint32_t seq = 0, amount = 0, now;

	while (amount < l->all) {
		if (es_next(l->ep, &st) != EPOLL_STATE_SLOTS ||
		    st.seq != seq++)
			return NULL;
		now = l->r->type->messages ? st.msgs : st.rcv;
		/* Nobody reads: it only grows. */
		if (now < amount)
			return NULL;
		amount = now;
	}
	l->ok = amount == l->all;
	return NULL;
}

TEST_F_TIMEOUT(told, many_epolls_on_one_file_are_each_told_all, ES_TIMEOUT)
{
	const int deep = variant->type->depth < 100 ? variant->type->depth : 100;
	const uint32_t len = es_len(variant->type, 1);
	struct listener l[6];
	pthread_t th[6];
	size_t i;

	RACE(r);
	for (i = 0; i < ARRAY_SIZE(l); i++) {
		l[i] = (struct listener){
			.r = &r, .all = es_total(variant->type, deep),
			.ep = es_other_epoll(),
		};
		ASSERT_EQ(0, es_add(l[i].ep, r.fd, EPOLLIN | EPOLLSTATE));
	}
	for (i = 0; i < ARRAY_SIZE(l); i++)
		ASSERT_EQ(0, pthread_create(&th[i], NULL, es_listen, &l[i]));
	for (i = 0; i < (size_t)deep; i++)
		ASSERT_EQ(len, es_send(variant->type, r.peer, len));
	for (i = 0; i < ARRAY_SIZE(l); i++) {
		ASSERT_EQ(0, pthread_join(th[i], NULL));
		EXPECT_TRUE(l[i].ok);
		close(l[i].ep);
	}
	FINISH(&r, ARRAY_SIZE(l));
}

/* A child that waits, and one that becomes another program, change nothing. */
TEST_F_TIMEOUT(told, fork_and_exec_beside_a_registration, ES_TIMEOUT)
{
	struct rounds rounds = es_rounds();
	struct epoll_state st;
	uint32_t seq = 1;
	int status;
	pid_t pid;

	RACE(r);
	ADD(&r);
	ASSERT_EQ(4, es_wait(r.ep, &st, 0));
	rounds.most = rounds.most < FEW ? rounds.most : FEW;
	while (es_another(&rounds)) {
		pid = fork();
		ASSERT_LE(0, pid);
		if (!pid) {
			es_wait(r.ep, &st, 0);
			if (rounds.done & 1) {
				dup2(open("/dev/null", O_RDWR), 1);
				execl("/proc/self/exe", "race_test", "-l",
				      NULL);
			}
			_exit(0);
		}
		ASSERT_EQ(es_len(variant->type, 1),
			  es_send(variant->type, r.peer,
				  es_len(variant->type, 1)));
		ASSERT_EQ(pid, waitpid(pid, &status, 0));
		EXPECT_TRUE(WIFEXITED(status));
		/* The child may have been told of it; then it is told again. */
		ASSERT_EQ(es_len(variant->type, 1),
			  es_send(variant->type, r.peer,
				  es_len(variant->type, 1)));
		ASSERT_TRUE(es_until(es_wait(r.ep, &st, 0) == 4 &&
				     (variant->type->messages ? st.msgs :
				      st.rcv) == es_total(variant->type,
							  2 * rounds.done)));
		/* The numbers between are those of the child, if it took one. */
		EXPECT_LE(seq, st.seq);
		seq = st.seq;
	}
	EXPECT_EQ(0, es_ctl(r.ep, EPOLL_CTL_DEL, r.fd, 0, 0));
	FINISH(&r, 1);
}

/* Pass @fd on to @to, through a UNIX socket; SCM_RIGHTS. */
static int es_pass(int to, int fd)
{
	char control[CMSG_SPACE(sizeof(int))] = {}, byte = 0;
	struct iovec iov = { .iov_base = &byte, .iov_len = 1 };
	struct msghdr msg = {
		.msg_iov = &iov, .msg_iovlen = 1,
		.msg_control = control, .msg_controllen = sizeof(control),
	};
	struct cmsghdr *c = CMSG_FIRSTHDR(&msg);

	c->cmsg_level = SOL_SOCKET;
	c->cmsg_type = SCM_RIGHTS;
	c->cmsg_len = CMSG_LEN(sizeof(int));
	memcpy(CMSG_DATA(c), &fd, sizeof(int));
	return sendmsg(to, &msg, 0) == 1 ? 0 : -errno;
}

static int es_take(int from)
{
	char control[CMSG_SPACE(sizeof(int))] = {}, byte;
	struct iovec iov = { .iov_base = &byte, .iov_len = 1 };
	struct msghdr msg = {
		.msg_iov = &iov, .msg_iovlen = 1,
		.msg_control = control, .msg_controllen = sizeof(control),
	};
	int fd = -1;

	if (recvmsg(from, &msg, MSG_CMSG_CLOEXEC) != 1 || !CMSG_FIRSTHDR(&msg))
		return -1;
	memcpy(&fd, CMSG_DATA(CMSG_FIRSTHDR(&msg)), sizeof(int));
	return fd;
}

/* Registered, in nobody's table, under way in a queue: it goes on to count. */
TEST_F_TIMEOUT(told, a_registered_file_travels_by_scm_rights, ES_TIMEOUT)
{
	const uint32_t len = es_len(variant->type, 1);
	struct rounds rounds = es_rounds();
	struct epoll_state st;
	int mail[2];

	RACE(r);
	r.numbers = NUMBERED;
	while (es_another(&rounds)) {
		ASSERT_EQ(0, es_unix_stream_pair(mail));
		NEW_PAIR(&r, RECEIVER);
		ADD(&r);
		ASSERT_EQ(0, es_pass(mail[0], r.fd));
		close(r.fd);
		ASSERT_EQ(4, es_wait(r.ep, &st, 0));
		ASSERT_EQ(len, es_send(variant->type, r.peer, len));
		ASSERT_EQ(4, es_next(r.ep, &st));
		EXPECT_EQ(1, st.seq);
		EXPECT_EQ(len, st.rcv);
		r.records = 2;
		START(&r, es_sender);
		START(&r, es_waiter);
		if (rounds.done & 1) {
			r.fd = es_take(mail[1]);
			ASSERT_LE(0, r.fd);
			close(r.fd);
		}
		/* Or it dies in the queue. */
		close(mail[1]);
		close(mail[0]);
		es_halt(&r);
		close(r.peer);
		ASSERT_EQ(0, es_pending(r.ep));
	}
	FINISH(&r, rounds.done);
}

/* With new baselines, a waiter and data all the while. */
TEST_F_TIMEOUT(end, an_end_is_told_however_it_falls, ES_TIMEOUT)
{
	struct rounds rounds = es_rounds();

	RACE(r);
	r.numbers = NUMBERED;
	while (es_another(&rounds)) {
		NEW_PAIR(&r, RECEIVER);
		ADD(&r);
		START(&r, es_waiter);
		/* What is not read could hold a FIN back. */
		START(&r, es_traffic);
		if (rounds.done & 1)
			START(&r, es_modder);
		sched_yield();
		ASSERT_EQ(0, variant->type->shut(&r.peer));
		EXPECT_TRUE(es_until(es_get(&r.events) & HANGUP)) {
			TH_LOG("last told: %#x", r.events);
		}
		es_halt(&r);
		close(r.fd);
		if (r.peer >= 0)
			close(r.peer);
	}
	FINISH(&r, rounds.done);
}

/*
 * A reader and a writer on two processors, the writer never beyond what it was
 * told.  Room that comes back between the arming and the sampling, or right
 * after both, has to be told, or it waits for ever.
 */
static void *es_reader(void *arg)
{
	struct race *r = arg;

	while (!es_over(r)) {
		if (!es_drain(r->peer))
			sched_yield();
	}
	return NULL;
}

TEST_F_TIMEOUT(room, a_writer_within_its_credit_against_a_reader, ES_TIMEOUT)
{
	const size_t total = variant->type->volume / 8;
	struct rounds rounds = es_rounds();
	struct es_rnd rnd = es_seed();
	uint32_t credit = 0, seq = 0, n;
	struct epoll_state st;
	size_t sent = 0;

	RACE(r);
	ADD(&r);
	START(&r, es_reader);
	/* It is in an epoll that others look at, so it is sampled often. */
	START(&r, es_looker);
	rounds.most *= 100;
	while (sent < total && es_another(&rounds)) {
		while (!credit) {
			ASSERT_EQ(4, es_next(r.ep, &st)) {
				TH_LOG("stalled, %zu bytes sent", sent);
			}
			ASSERT_EQ(seq++, st.seq);
			credit = st.snd;
		}
		n = es_len(variant->type, es_rnd_upto(&rnd, 100000));
		if (n > credit)
			n = credit;
		ASSERT_EQ(n, es_write(r.fd, n));
		sent += n;
		/* Where the promise is of one write, there is no rest of it. */
		credit = variant->type->per_byte ? credit - n : 0;
		if (es_wait(r.ep, &st, 0) == 4) {
			ASSERT_EQ(seq++, st.seq);
			credit = st.snd;
		}
	}
	es_halt(&r);
	EXPECT_EQ(0, es_ctl(r.ep, EPOLL_CTL_DEL, r.fd, 0, 0));
	FINISH(&r, 1);
}

/*
 * The same, with little room, so that one who hears of some of it often looks
 * while the last of it comes back: that the queue is empty has to be told.
 */
TEST_F_TIMEOUT(room, that_the_queue_ran_empty_is_told_however_it_falls,
	       ES_TIMEOUT)
{
	struct rounds rounds = es_rounds();
	struct epoll_state st;
	uint32_t piece, seq = 0;
	int i;

	RACE(r);
	/* Where there is no such option, with what there is. */
	setsockopt(r.fd, SOL_SOCKET, SO_SNDBUF, &(int){ 8192 }, sizeof(int));
	ADD(&r);
	START(&r, es_reader);
	ASSERT_EQ(4, es_next(r.ep, &st));
	ASSERT_EQ(seq++, st.seq);
	rounds.most *= 100;
	while (es_another(&rounds)) {
		piece = st.snd / (1 + rounds.done % 5);
		piece = es_len(variant->type, piece ? piece : 1);
		for (i = 0; i <= rounds.done % 5; i++) {
			const ssize_t n = es_write(r.fd, piece);

			/* The promise may be of one write. */
			if (i && n != piece && !variant->type->per_byte)
				break;
			ASSERT_EQ(piece, n);
		}
		do {
			ASSERT_EQ(4, es_next(r.ep, &st)) {
				TH_LOG("round %d: not told", rounds.done);
			}
			ASSERT_EQ(seq++, st.seq);
		} while (st.outq || !st.snd);
	}
	es_halt(&r);
	EXPECT_EQ(0, es_ctl(r.ep, EPOLL_CTL_DEL, r.fd, 0, 0));
	FINISH(&r, 1);
}

/* Sockets alone: their own end is shut down. */
FIXTURE(own)
{
	int ep;
	int fd;
	int peer;
};

FIXTURE_VARIANT(own)
{
	const struct es_type *type;
};

FIXTURE_VARIANT_ADD(own, tcp4) { .type = &es_tcp4 };
FIXTURE_VARIANT_ADD(own, tcp6) { .type = &es_tcp6 };
FIXTURE_VARIANT_ADD(own, unix_stream) { .type = &es_unix_stream };
FIXTURE_VARIANT_ADD(own, unix_seqpacket) { .type = &es_unix_seqpacket };
FIXTURE_VARIANT_ADD(own, unix_dgram) { .type = &es_unix_dgram };
FIXTURE_VARIANT_ADD(own, udp4) { .type = &es_udp4 };
FIXTURE_VARIANT_ADD(own, udp6) { .type = &es_udp6 };
FIXTURE_VARIANT_ADD(own, vsock_stream) { .type = &es_vsock_stream };
FIXTURE_VARIANT_ADD(own, vsock_seqpacket) { .type = &es_vsock_seqpacket };

FIXTURE_SETUP(own)
{
	int sv[2];

	ES_SETUP(variant->type->pair(sv), sv, RECEIVER);
}

FIXTURE_TEARDOWN(own)
{
	ES_TEARDOWN();
}

/* What poll(2) says of ends, which is what a record is to say. */
static uint32_t es_hangup(int fd)
{
	struct pollfd p = { .fd = fd, .events = POLLRDHUP };
	uint32_t events = 0;

	poll(&p, 1, 0);
	if (p.revents & POLLRDHUP)
		events |= EPOLLRDHUP;
	if (p.revents & POLLHUP)
		events |= EPOLLHUP;
	return events;
}

TEST_F_TIMEOUT(own, what_it_shuts_down_itself_is_told_however_it_falls,
	       ES_TIMEOUT)
{
	static const uint32_t least[] = {
		[SHUT_RD] = EPOLLRDHUP, [SHUT_WR] = 0, [SHUT_RDWR] = HANGUP,
	};
	struct rounds rounds = es_rounds_of(ARRAY_SIZE(least));
	struct epoll_state st;
	int how;

	RACE(r);
	r.numbers = NUMBERED;
	while (es_another(&rounds)) {
		how = rounds.done % ARRAY_SIZE(least);
		NEW_PAIR(&r, RECEIVER);
		ADD(&r);
		START(&r, es_waiter);
		START(&r, es_traffic);
		if (rounds.done / ARRAY_SIZE(least) & 1)
			START(&r, es_modder);
		if (rounds.done & 1)
			sched_yield();
		ASSERT_EQ(0, shutdown(r.fd, how));
		/* Nothing of it is to be waited for. */
		EXPECT_EQ(least[how], es_hangup(r.fd) & least[how]);
		EXPECT_TRUE(es_until((es_get(&r.events) & HANGUP) ==
				     es_hangup(r.fd))) {
			TH_LOG("%d: last told: %#x", how, r.events);
		}
		es_halt(&r);
		/* The next record has the next number, and says so too. */
		ASSERT_EQ(4, es_sample(r.ep, r.fd, ES_IO, &st));
		EXPECT_EQ(r.records, st.seq);
		EXPECT_EQ(es_hangup(r.fd), st.events & HANGUP);
		if (how != SHUT_RD)
			EXPECT_EQ(0, st.snd);
		close(r.fd);
		close(r.peer);
	}
	FINISH(&r, rounds.done);
}

/* TCP alone: the peer resets, or something else takes the socket over. */
FIXTURE(tcp)
{
	int ep;
	int fd;
	int peer;
};

FIXTURE_VARIANT(tcp)
{
	const struct es_type *type;
};

FIXTURE_VARIANT_ADD(tcp, tcp4) { .type = &es_tcp4 };
FIXTURE_VARIANT_ADD(tcp, tcp6) { .type = &es_tcp6 };

FIXTURE_SETUP(tcp)
{
	int sv[2];

	ES_SETUP(variant->type->pair(sv), sv, RECEIVER);
}

FIXTURE_TEARDOWN(tcp)
{
	ES_TEARDOWN();
}

TEST_F_TIMEOUT(tcp, a_reset_is_told_with_its_error_however_it_falls, ES_TIMEOUT)
{
	const struct linger now = { .l_onoff = 1 };
	struct rounds rounds = es_rounds();

	RACE(r);
	r.numbers = NUMBERED;
	while (es_another(&rounds)) {
		NEW_PAIR(&r, RECEIVER);
		ADD(&r);
		START(&r, es_waiter);
		START(&r, es_sender);
		if (rounds.done & 1)
			START(&r, es_modder);
		if (rounds.done & 2)
			sched_yield();
		ASSERT_EQ(0, setsockopt(r.peer, SOL_SOCKET, SO_LINGER, &now,
					sizeof(now)));
		close(r.peer);
		EXPECT_TRUE(es_until(es_get(&r.events) & EPOLLHUP)) {
			TH_LOG("last told: %#x", r.events);
		}
		es_halt(&r);
		EXPECT_EQ(EPOLLERR, r.events & EPOLLERR);
		EXPECT_EQ(ECONNRESET, r.error);
		close(r.fd);
	}
	FINISH(&r, rounds.done);
}

/* Asks again and again; nobody reads. */
#define SENT	10

static void *es_asker(void *arg)
{
	struct race *r = arg;
	struct epoll_state st;

	while (!es_over(r)) {
		const int n = es_sample(r->ep, r->fd, ES_IO, &st);

		if (n != EPOLL_STATE_SLOTS) {
			es_fault(r, "slots of a baseline", n);
			continue;
		}
		if (st.rcv > SENT || (st.events & EPOLLRDHUP && st.rcv != SENT))
			es_fault(r, "rcv", st.rcv);
		es_count(r, st.seq);
		es_put(&r->events, st.events);
	}
	return NULL;
}

/* A FIN takes a sequence number, and is not told as one. */
TEST_F_TIMEOUT(tcp, an_end_is_no_byte_and_not_before_the_last_one, ES_TIMEOUT)
{
	struct rounds rounds = es_rounds();

	RACE(r);
	r.numbers = NUMBERED;
	rounds.most *= 100;
	while (es_another(&rounds) && !r.faults) {
		NEW_PAIR(&r, RECEIVER);
		ADD(&r);
		START(&r, es_asker);
		EXPECT_TRUE(es_soon(es_get(&r.events)));
		ASSERT_EQ(SENT, es_write(r.peer, SENT));
		ASSERT_EQ(0, shutdown(r.peer, SHUT_WR));
		EXPECT_TRUE(es_soon(es_get(&r.events) & EPOLLRDHUP));
		es_halt(&r);
		close(r.fd);
		close(r.peer);
	}
	FINISH(&r, rounds.done);
}

TEST_F_TIMEOUT(tcp, r10_tls_is_attached_under_traffic_and_waiters, ES_TIMEOUT)
{
	struct rounds rounds = es_rounds();
	struct epoll_state st;

	RACE(r);
	/* After the last record there are ordinary events, without a number. */
	r.numbers = NUMBERED;
	while (es_another(&rounds)) {
		NEW_PAIR(&r, RECEIVER);
		ADD(&r);
		START(&r, es_traffic);
		START(&r, es_waiter);
		if (rounds.done & 1)
			sched_yield();
		if (es_attach_tls(r.fd)) {
			es_halt(&r);
			SKIP(return, "no TLS upper layer protocol here");
		}
		es_halt(&r);
		es_drain(r.fd);
		while (es_pending(r.ep))
			;
		ASSERT_EQ(1, es_write(r.peer, 1));
		ASSERT_EQ(1, es_next(r.ep, &st));
		EXPECT_EQ(EPOLLIN, st.events & (EPOLLIN | EPOLLSTATE));
		ASSERT_EQ(0, es_ctl(r.ep, EPOLL_CTL_DEL, r.fd, 0, 0));
		EXPECT_EQ(-EOPNOTSUPP, es_add(r.ep, r.fd, ES_IO | EPOLLSTATE));
		close(r.fd);
		close(r.peer);
	}
	FINISH(&r, rounds.done);
}

/*
 * Behind all of the above: memory in numbers.  An epitem is freed seconds after
 * its registration has gone, so that it is waited for only here.  Then there
 * are no more of them than registrations, of anybody.
 */
FIXTURE(slabs)
{
	struct es_memory before;
	long items;
	int ep;
	int fds[64];
};

FIXTURE_SETUP(slabs)
{
	ES_REQUIRE_KERNEL();
	ES_REQUIRE_ROOT();
	self->before = es_memory();
	self->items = es_slab_count(ES_EPI_SLAB);
	if (self->items == -EBUSY && self->before.pwq < 0)
		SKIP(return, "slab caches are merged: boot with slab_nomerge");
	if (self->items < 0 && self->before.pwq < 0)
		SKIP(return, "no count of objects here: CONFIG_SLUB_DEBUG");
	self->ep = epoll_create1(EPOLL_CLOEXEC);
	ASSERT_LE(0, self->ep);
}

FIXTURE_TEARDOWN(slabs)
{
}

TEST_F_TIMEOUT(slabs, hold_as_many_objects_as_there_are_registrations,
	       ES_TIMEOUT)
{
	const long n = ARRAY_SIZE(self->fds);
	const char *left;
	long i;

	/* What is not seen to grow says nothing when it does not. */
	for (i = 0; i < n; i++) {
		self->fds[i] = eventfd(0, EFD_CLOEXEC);
		ASSERT_EQ(0, es_add(self->ep, self->fds[i],
				    EPOLLIN | EPOLLSTATE));
	}
	EXPECT_LE(n, es_registrations());
	if (self->items >= 0)
		EXPECT_LE(n, es_slab_count(ES_EPI_SLAB));
	if (self->before.pwq >= 0)
		EXPECT_LE(self->before.pwq + n, es_slab_count(ES_PWQ_SLAB));
	if (self->before.state >= 0)
		EXPECT_LT(self->before.state + n - ES_STATE_NOISE,
			  es_slab_count(ES_STATE_SLAB));

	for (i = 0; i < n; i++)
		close(self->fds[i]);
	left = es_memory_left(&self->before, n);
	EXPECT_TRUE(!left) {
		TH_LOG("objects of %s are left", left);
	}
	if (self->items >= 0)
		EXPECT_TRUE(es_until(es_slab_count(ES_EPI_SLAB) <=
				     es_registrations()));
	close(self->ep);
}

TEST_HARNESS_MAIN
