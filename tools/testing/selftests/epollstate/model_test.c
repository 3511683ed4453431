// SPDX-License-Identifier: GPL-2.0
/*
 * Random operations on the two ends of a pair, against a model in user space
 * that knows what the kernel has to tell.
 *
 * Both ends are registered in one epoll.  The model is the application of the
 * documentation: it keeps the latest record of each end and subtracts what it
 * reads and writes itself.  Whenever nothing more is pending, what it believes
 * has to be what the kernel says when asked directly.
 *
 *	EPOLLSTATE_SEED=N		start from this seed
 *	EPOLLSTATE_SEQUENCES=N		so many sequences per type
 *
 * A sequence that fails is shortened as long as it goes on failing, and then
 * printed; its seed repeats it.
 */
#include "common.h"

#define OPS		40
#define SLOTS		(4 * EPOLL_STATE_SLOTS)
#define SEQUENCES	200

enum kind { OP_WRITE, OP_CREDIT, OP_READ, OP_MOD, OP_WAIT, OP_BUF, OP_SHUT };

struct op {
	enum kind kind;
	int end;
	uint32_t arg;
};

/* What the application keeps per descriptor, and what may still come. */
struct end {
	int fd;
	uint32_t events;
	struct epoll_state told;
	uint32_t rcv, snd, outq;	/* believed: told, less own I/O */
	uint32_t seq;			/* of the next record */
	bool may;			/* something happened that may be told */
	bool fresh;			/* no own write since it was told */
	bool shut;
};

struct model {
	const struct es_type *type;
	int ep;
	struct end end[2];
	char why[200];
};

#define FAIL(m, ...)							\
do {									\
	snprintf((m)->why, sizeof((m)->why), __VA_ARGS__);		\
	return false;							\
} while (0)

static const char *name_of(enum kind k)
{
	static const char *const names[] = {
		"write", "write within credit", "read", "mod", "wait",
		"sndbuf", "shut",
	};

	return names[k];
}

static void make_ops(struct es_rnd *r, struct op *op, const struct es_type *t)
{
	static const uint32_t sizes[] = { 8, 300, 5000, 40000, 300000 };
	int i;

	for (i = 0; i < OPS; i++) {
		const uint32_t dice = es_rnd(r) % 100;

		op[i].end = es_rnd(r) & 1;
		op[i].arg = es_rnd_upto(r, sizes[es_rnd(r) % ARRAY_SIZE(sizes)]);
		if (dice < 16)
			op[i].kind = OP_WRITE;
		else if (dice < 42)
			op[i].kind = OP_CREDIT;
		else if (dice < 68)
			op[i].kind = OP_READ;
		else if (dice < 72)
			op[i].kind = OP_MOD;
		else if (dice < 96)
			op[i].kind = OP_WAIT;
		else if (dice < 98)
			op[i].kind = OP_BUF;
		else
			op[i].kind = i > OPS * 3 / 4 ? OP_SHUT : OP_WAIT;
		if (op[i].kind == OP_SHUT && !t->shut)
			op[i].kind = OP_WAIT;
	}
}

static bool can_read(const struct model *m, int e)
{
	return m->type->both || e == RECEIVER;
}

static bool can_write(const struct model *m, int e)
{
	return m->type->both || e == SENDER;
}

/* Bytes that @e has sent and the other end has not taken, if it can be asked. */
static int outq_of(const struct model *m, int e)
{
	return can_write(m, e) ?
		m->type->outq(m->end[e].fd, m->end[!e].fd) : 0;
}

static bool settle(struct model *m)
{
	int e;

	if (!es_until(es_idle(m->type, m->end[0].fd, m->end[1].fd)))
		FAIL(m, "the pair does not settle");
	/* Behind a closed window a timer goes on probing: it moves by itself. */
	for (e = 0; m->type->jam && e < 2; e++) {
		if (m->end[e].fd >= 0 && outq_of(m, e) > 0) {
			m->end[0].may = true;
			m->end[1].may = true;
		}
	}
	return true;
}

/* A record of end @e came: store it, and hold it against what is. */
static bool told(struct model *m, int e, const struct epoll_state *st)
{
	struct end *x = &m->end[e];
	int n;

	if (!(st->events & EPOLLSTATE))
		FAIL(m, "end %d: an ordinary event %#x", e, st->events);
	if (st->seq != x->seq)
		FAIL(m, "end %d: seq %u after %u", e, st->seq, x->seq - 1);
	if (!x->may && !m->type->uncounted)
		FAIL(m, "end %d: a record (events %#x rcv %u snd %u outq %u) for nothing",
		     e, st->events, st->rcv, st->snd, st->outq);
	if (st->__cont1 || st->__cont2 || st->__cont3)
		FAIL(m, "end %d: a continuation slot with events", e);

	n = can_read(m, e) ? m->type->rcv(x->fd) : -1;
	if (n >= 0 && st->rcv != (uint32_t)n)
		FAIL(m, "end %d: told rcv %u, the kernel says %d", e, st->rcv, n);
	n = can_write(m, e) ? outq_of(m, e) : -1;
	if (n >= 0 && st->outq != (uint32_t)n)
		FAIL(m, "end %d: told outq %u, the kernel says %d", e, st->outq, n);
	if (st->rcv && (x->events & EPOLLIN) && !(st->events & EPOLLIN))
		FAIL(m, "end %d: rcv %u without EPOLLIN", e, st->rcv);

	x->seq++;
	x->told = *st;
	x->rcv = st->rcv;
	x->snd = st->snd;
	x->outq = st->outq;
	x->may = false;
	x->fresh = true;
	return true;
}

/* Nothing is pending: what is believed must be what is. */
static bool believe(struct model *m, int e)
{
	struct end *x = &m->end[e];
	int n;

	if (x->fd < 0)
		return true;
	n = can_read(m, e) ? m->type->rcv(x->fd) : -1;
	if (n >= 0 && (x->events & EPOLLIN) && !m->type->messages &&
	    x->rcv != (uint32_t)n)
		FAIL(m, "end %d: believes rcv %u, the kernel says %d", e, x->rcv, n);
	if (n > 0 && (x->events & EPOLLIN) && m->type->messages &&
	    !x->rcv && !x->told.msgs)
		FAIL(m, "end %d: believes in no message, the kernel has one of %d", e, n);
	n = can_write(m, e) ? outq_of(m, e) : -1;
	if (n == 0 && (x->events & EPOLLOUT) && x->outq && !x->shut &&
	    !m->end[!e].shut)
		FAIL(m, "end %d: believes outq %u, but all is gone", e, x->outq);
	return true;
}

/* @timeout in ms: it changes how the kernel waits, not what it has to tell. */
static bool wait_for(struct model *m, int slots, int timeout)
{
	struct epoll_event ev[SLOTS] = {};
	struct epoll_state st;
	int i, n;

	n = epoll_wait(m->ep, ev, slots, timeout);
	if (n < 0 && errno == EINVAL && slots < EPOLL_STATE_SLOTS)
		return true;
	if (n < 0)
		FAIL(m, "epoll_wait: %s", strerror(errno));
	if (n % EPOLL_STATE_SLOTS)
		FAIL(m, "%d slots are no whole records", n);
	for (i = 0; i < n; i += EPOLL_STATE_SLOTS) {
		memcpy(&st, &ev[i], sizeof(st));
		if (!told(m, st.data.u64, &st))
			return false;
	}
	if (n)
		return slots >= 2 * EPOLL_STATE_SLOTS || wait_for(m, SLOTS, 0);
	return slots < EPOLL_STATE_SLOTS ||
	       (believe(m, 0) && believe(m, 1));
}

static bool do_write(struct model *m, int e, uint32_t len, bool credit)
{
	struct end *x = &m->end[e], *y = &m->end[!e];
	ssize_t n;

	if (!can_write(m, e) || x->shut || y->shut)
		return true;
	if (credit && len > x->snd)
		len = x->snd;
	len = es_len(m->type, len);
	if (!len)
		return true;
	n = send(x->fd, es_buf(), len, MSG_NOSIGNAL | MSG_DONTWAIT);
	if (n < 0 && errno == ENOTSOCK)
		n = write(x->fd, es_buf(), len);
	if (credit && n != len && (x->fresh || m->type->per_byte))
		FAIL(m, "end %d: %u of %u promised bytes to be written, %zd taken (%s)",
		     e, len, x->told.snd, n, n < 0 ? strerror(errno) : "short");
	x->may = true;
	x->fresh = false;
	if (n <= 0)
		return true;
	x->snd -= (uint32_t)n < x->snd ? n : x->snd;
	x->outq += n;
	y->may = true;
	return true;
}

static bool do_read(struct model *m, int e, uint32_t len)
{
	struct end *x = &m->end[e], *y = &m->end[!e];
	bool more = outq_of(m, !e) > 0;
	uint32_t want = len < x->rcv ? len : x->rcv;
	ssize_t n;

	if (!can_read(m, e))
		return true;
	n = es_read(x->fd, len);
	if (n < 0 && n != -EAGAIN)
		FAIL(m, "end %d: read: %s", e, strerror(-n));
	if (!m->type->messages && want && n < (ssize_t)want)
		FAIL(m, "end %d: %u promised bytes to be read, %zd came", e, want, n);
	if (n <= 0)
		return true;
	x->rcv = m->type->messages ? 0 : x->rcv - (n < x->rcv ? n : x->rcv);
	if (m->type->messages && x->told.msgs)
		x->told.msgs--;
	/* The other end may go on sending now. */
	if (more)
		x->may = true;
	y->may = true;
	return true;
}

static bool do_mod(struct model *m, int e, uint32_t arg)
{
	static const uint32_t masks[] = { ES_IO, ES_IO, EPOLLIN, EPOLLOUT };
	struct end *x = &m->end[e];
	int err;

	if (x->fd < 0)
		return true;
	x->events = masks[arg % ARRAY_SIZE(masks)];
	err = es_ctl(m->ep, EPOLL_CTL_MOD, x->fd, x->events | EPOLLSTATE, e);
	if (err)
		FAIL(m, "end %d: mod: %s", e, strerror(-err));
	x->may = true;
	return true;
}

static bool step(struct model *m, const struct op *op)
{
	struct end *x = &m->end[op->end];

	switch (op->kind) {
	case OP_WRITE:
	case OP_CREDIT:
		if (!do_write(m, op->end, op->arg, op->kind == OP_CREDIT))
			return false;
		break;
	case OP_READ:
		if (!do_read(m, op->end, op->arg))
			return false;
		break;
	case OP_MOD:
		if (!do_mod(m, op->end, op->arg))
			return false;
		break;
	case OP_WAIT:
		return wait_for(m, op->arg % 3 ? SLOTS : 1 + op->arg % 9,
				op->arg % 7 ? 0 : op->arg % 3);
	case OP_BUF:
		/* What was promised before is not meant any more. */
		es_set_opt(x->fd, SOL_SOCKET, SO_SNDBUF, op->arg);
		x->snd = 0;
		x->may = true;
		return do_mod(m, op->end, 0);
	case OP_SHUT:
		if (can_write(m, op->end) && !x->shut &&
		    !m->type->shut(&x->fd)) {
			x->shut = true;
			x->snd = 0;
			x->may = true;
			m->end[!op->end].may = true;
		}
		break;
	}
	return settle(m);
}

/* True if the sequence runs through; else ->why tells. */
static bool run(struct model *m, const struct es_type *type,
		const struct op *op, int n)
{
	int sv[2], err, e, i;
	bool ok = true;

	*m = (struct model){ .type = type };
	err = type->pair(sv);
	if (err)
		FAIL(m, "no pair: %s", strerror(-err));
	m->ep = epoll_create1(EPOLL_CLOEXEC);
	for (e = 0; ok && e < 2; e++) {
		m->end[e] = (struct end){ .fd = sv[e], .events = ES_IO,
					  .may = true };
		err = es_ctl(m->ep, EPOLL_CTL_ADD, sv[e], ES_IO | EPOLLSTATE, e);
		ok = !err;
		if (err)
			snprintf(m->why, sizeof(m->why), "add: %s", strerror(-err));
	}
	for (i = 0; ok && i < n; i++)
		ok = step(m, &op[i]);
	if (ok)
		ok = wait_for(m, SLOTS, 0) && wait_for(m, SLOTS, 0);
	close(m->ep);
	for (e = 0; e < 2; e++) {
		if (m->end[e].fd >= 0)
			close(m->end[e].fd);
	}
	return ok;
}

/* Leave out what is not needed to fail. */
static int shorten(struct model *m, const struct es_type *type, struct op *op,
		   int n)
{
	struct op less[OPS];
	int i, cut;

	for (cut = n / 2; cut; cut = cut == 1 ? 0 : (cut + 1) / 2) {
		for (i = 0; i + cut <= n; ) {
			memcpy(less, op, i * sizeof(*op));
			memcpy(less + i, op + i + cut, (n - i - cut) * sizeof(*op));
			if (run(m, type, less, n - cut)) {
				i++;
				continue;
			}
			n -= cut;
			memcpy(op, less, n * sizeof(*op));
		}
	}
	run(m, type, op, n);
	return n;
}

ES_FIXTURE(model, SENDER, STILL)

TEST_F_TIMEOUT(model, random_sequences_are_told_as_the_model_knows, 1800)
{
	const char *env = getenv("EPOLLSTATE_SEQUENCES");
	int sequences = env ? atoi(env) : SEQUENCES;
	char why[sizeof(((struct model *)0)->why)];
	struct op op[OPS];
	struct es_rnd r = es_seed(), at;
	struct model m;
	int i, k, n;

	for (i = 0; i < sequences; i++) {
		/* So that the seed printed for a sequence begins with it. */
		at.s = r.s + i;
		es_rnd(&at);
		make_ops(&at, op, variant->type);
		if (run(&m, variant->type, op, OPS))
			continue;
		memcpy(why, m.why, sizeof(why));
		n = shorten(&m, variant->type, op, OPS);
		for (k = 0; k < n; k++)
			TH_LOG("  %d: %s, end %d, %u", k, name_of(op[k].kind),
			       op[k].end, op[k].arg);
		/* Last, as what reads this shows the end of it. */
		TH_LOG("EPOLLSTATE_SEED=%llu; %d of %d operations are needed: %s",
		       (unsigned long long)(r.s + i), n, OPS,
		       m.why[0] ? m.why : "it does not always fail");
		TH_LOG("%s: %s", variant->type->name, why);
		ASSERT_TRUE(false);
	}
}

TEST_HARNESS_MAIN
