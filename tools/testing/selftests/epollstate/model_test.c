// SPDX-License-Identifier: GPL-2.0
/*
 * Random operations on the two ends of a pair, against a model in user space
 * that knows what the kernel has to tell.
 *
 * Both ends are registered in one epoll.  The model is the application of the
 * documentation: it keeps the latest record of each end and subtracts what it
 * reads and writes itself.  Whatever is told, and whatever it believes when
 * nothing more is pending, has to be what the kernel says when asked directly,
 * and what its own account of all that was sent and not read says.
 *
 * That is done with every type of file.  A number is known but for
 *
 *	TCP	what waits for a timer, or for one that probes a closed window, may
 *		move and be told of at any time: the number is a bound then.
 *		Who leaves its receive buffer full is told of it at each wake-up
 *	vsock	a message that does not fit is sent in part, of which nobody is
 *		told: none is sent that does not fit
 *	inotify	what it looks at is no file that epoll takes: one end is silent
 *
 * Receive buffers of TCP only get larger: what is under way would be dropped,
 * and come again by timers.
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
#define LARGEST		300000

enum kind {
	OP_SHUT, OP_WRITE, OP_CREDIT, LAST_WRITE = OP_CREDIT,
	OP_READ, OP_PEEK, LAST_READ = OP_PEEK,
	OP_MOD, OP_WAIT, OP_SNDBUF, OP_RCVBUF,
};

/* Of a hundred operations so many are of this kind. */
static const struct {
	const char *name;
	uint32_t weight;
} kinds[] = {
	[OP_SHUT] = { "shut", 4 },
	[OP_WRITE] = { "write", 14 },
	[OP_CREDIT] = { "write within credit", 24 },
	[OP_READ] = { "read", 22 },
	[OP_PEEK] = { "peek", 4 },
	[OP_MOD] = { "mod", 8 },
	[OP_WAIT] = { "wait", 20 },
	[OP_SNDBUF] = { "send buffer", 2 },
	[OP_RCVBUF] = { "receive buffer", 2 },
};

struct op {
	enum kind kind;
	int end;
	uint32_t arg;	/* a size */
	uint32_t how;	/* any number */
};

/* What a record may be about: whom it concerns (R2), or each. */
enum { CAME = 1, LEFT = 2, CHANGED = 4 };

struct end {
	int fd;				/* -1: closed */
	bool reads, writes;
	uint32_t events;		/* as registered; 0: not at all */
	struct epoll_state kept;	/* the latest record, less own I/O */
	struct es_queue *in, *out;	/* not read yet: by us, by the other */
	uint32_t seq;			/* of the next record */
	unsigned int may;		/* be told, as something happened */
	unsigned int moves;		/* CAME, LEFT: may happen at any time */
	bool owed;			/* R1: there has to be a record */
	bool armed;			/* false: silent by EPOLLONESHOT */
	bool seen;			/* an ordinary event, in this wait */
	bool fresh;			/* no own write since it was told */
	bool shut;
	int size;			/* of the pipe, when it was told */
};

struct model {
	const struct es_type *type;
	int ep;
	struct end end[2];
	struct es_queue queue[2], none;
	bool moved;			/* since it was last settled */
	char why[300];
};

#define FAIL(m, ...)							\
do {									\
	snprintf((m)->why, sizeof((m)->why), __VA_ARGS__);		\
	return false;							\
} while (0)

static void make_ops(struct es_rnd *r, struct op *op, const struct es_type *t)
{
	static const uint32_t sizes[] = { 8, 300, 5000, 40000, LARGEST };
	const bool one_way = !t->both && !t->one_file;
	uint32_t dice;
	int i, k;

	for (i = 0; i < OPS; i++) {
		dice = es_rnd(r) % 100;
		for (k = 0; dice >= kinds[k].weight; k++)
			dice -= kinds[k].weight;
		if (k == OP_SHUT && (!t->shut || i < OPS * 3 / 4))
			k = OP_WAIT;
		op[i].kind = k;
		op[i].end = es_rnd(r) & 1;
		if (one_way && k <= LAST_READ)
			op[i].end = k <= LAST_WRITE ? SENDER : RECEIVER;
		op[i].arg = es_rnd_upto(r, sizes[es_rnd(r) % ARRAY_SIZE(sizes)]);
		op[i].how = es_rnd(r);
	}
}

/* It writes, and not only makes events happen: snd says how much. */
static bool has_room(const struct model *m, const struct end *x)
{
	return x->writes && !x->shut && !m->type->send;
}

/* What was promised is not meant until the new size is told. */
static bool resized(const struct model *m, const struct end *x)
{
	return m->type->by_page && x->writes && !x->shut &&
	       fcntl(x->fd, F_GETPIPE_SZ) != x->size;
}

/* By the account: what a read returns, once all has arrived. */
static uint32_t to_read(const struct model *m, const struct end *x)
{
	const uint32_t n = es_queue_rcv(x->in);

	return m->type->most && n > m->type->most ? m->type->most : n;
}

/* By the kernel: what a read returns, what is not gone, nor even sent. */
static uint32_t rcv_of(const struct model *m, const struct end *x)
{
	return x->reads ? m->type->rcv(x->fd) : 0;
}

static uint32_t outq_of(const struct model *m, int e)
{
	return m->end[e].writes ?
		m->type->outq(m->end[e].fd, m->end[!e].fd) : 0;
}

static uint32_t unsent_of(const struct model *m, const struct end *x)
{
	return m->type->unsent ? m->type->unsent(x->fd) : 0;
}

/* Seven eighths of its receive buffer are in use: it is hurried to read. */
static bool hurried(const struct model *m, const struct end *x)
{
	const int size = es_int_opt(x->fd, SOL_SOCKET, SO_RCVBUF);

	return m->type->unsent && rcv_of(m, x) &&
	       es_rmem(x->fd) > size - size / 8;
}

/* R2, R4, R5: is there anything that a record of @x could be about? */
static bool may_be_told(const struct model *m, const struct end *x)
{
	const unsigned int asked = CHANGED |
		(x->events & (EPOLLIN | EPOLLRDHUP) ? CAME : 0) |
		(x->events & EPOLLOUT ? LEFT : 0);

	return x->armed && (x->events & EPOLLSTATE) &&
	       (x->owed || ((x->may | x->moves) & asked) || hurried(m, x));
}

/* The events that poll(2) tells: all, for an ordinary registration. */
static uint32_t poll_of(const struct end *x)
{
	struct pollfd p = { .fd = x->fd, .events = x->events };

	return poll(&p, 1, 0) == 1 ? p.revents : 0;
}

static bool wrong(struct model *m, int e, const char *what)
{
	const struct end *x = &m->end[e];
	const struct epoll_state *s = &x->kept;

	FAIL(m, "end %d: %s: asked %#x; %#x rcv %u snd %u outq %u msgs %u error %u"
	     " seq %u; is %#x rcv %u outq %u; unread here %u in %u, there %u",
	     e, what, x->events, s->events, s->rcv, s->snd, s->outq, s->msgs,
	     s->error, s->seq, poll_of(x), rcv_of(m, x), outq_of(m, e),
	     es_queue_rcv(x->in), x->in->n, es_queue_rcv(x->out));
}

/*
 * All that is under way to @e has arrived, and it has been woken for it: of TCP
 * and of a terminal, FIONREAD waits for that, so it is asked last.  But for
 * *@unsent and *@outq, which may be sent and acknowledged at any time: even
 * before this returns.
 */
static bool arrived(const struct model *m, int e, uint32_t *unsent,
		    uint32_t *outq)
{
	const struct end *x = &m->end[e], *y = &m->end[!e];
	struct pollfd p = { .fd = x->fd, .events = POLLRDHUP };
	bool ended;

	*outq = outq_of(m, e);
	*unsent = unsent_of(m, y);
	ended = !y->shut || poll(&p, 1, 0) == 1;
	/* The end of a stream counts as a byte. */
	if (*unsent)
		return rcv_of(m, x) == to_read(m, x) - *unsent + y->shut;
	return rcv_of(m, x) == to_read(m, x) && ended;
}

/* From here on nothing moves, but for what may move at any time. */
static bool settle(struct model *m)
{
	const struct es_type *t = m->type;
	uint32_t unsent = 0, outq = 0;
	int e;

	if (!m->moved)
		return true;
	m->moved = false;
	/* TCP: hurry its acknowledgments, but do not wait for its timers. */
	if (!es_soon(es_idle(t, m->end[0].fd, m->end[1].fd) || t->unsent))
		FAIL(m, "the pair does not settle");
	for (e = 0; e < 2; e++) {
		struct end *x = &m->end[e], *y = &m->end[!e];

		/* What is idle has arrived. */
		if ((!t->idle || t->unsent) &&
		    !es_soon(arrived(m, e, &unsent, &outq)))
			return wrong(m, e, "does not arrive");
		x->may |= x->moves;
		x->moves = (unsent ? CAME : 0) |
			   (t->unsent && outq ? LEFT : 0);
		if (x->moves && (x->shut || y->shut))
			x->moves |= CHANGED;
		x->may |= x->moves;
	}
	return true;
}

/* R3: what the latest record of @e, just stored, says is what is. */
static bool told_what_is(struct model *m, int e)
{
	const struct es_type *t = m->type;
	const struct end *x = &m->end[e], *y = &m->end[!e];
	const struct epoll_state *s = &x->kept;
	const bool in = s->events & EPOLLIN, out = s->events & EPOLLOUT;
	const uint32_t outq = outq_of(m, e), rcv = rcv_of(m, x);

	if (s->error || (s->events & EPOLLERR))
		return wrong(m, e, "error");
	if (x->moves & CAME ? s->rcv > rcv :
			      s->rcv != rcv || s->rcv != to_read(m, x))
		return wrong(m, e, "rcv");
	if (s->msgs != es_queue_msgs(x->in, t))
		return wrong(m, e, "msgs");
	if (s->rcv || s->msgs ? (x->events & EPOLLIN) && !in : in && !y->shut)
		return wrong(m, e, "EPOLLIN");
	/* rcv "never counts a FIN. 0 together with EPOLLRDHUP: end of file" */
	if ((s->events & (EPOLLRDHUP | EPOLLHUP)) &&
	    (!y->shut || s->rcv != to_read(m, x)))
		return wrong(m, e, "the end before it");
	if (x->moves & LEFT ? s->outq < outq : s->outq != outq)
		return wrong(m, e, "outq");
	/* "0 ... after SHUT_WR"; "each end of a pipe reports its own side" */
	if (!has_room(m, x))
		return !s->snd || wrong(m, e, "snd");
	/* R7: "the queue has run empty".  EPOLLOUT is of the same moment. */
	if (!s->snd && (out || (!x->out->n && !(x->moves & LEFT))))
		return wrong(m, e, "snd 0");
	/* "8 if writable", "free slots": any room, and not only where it is much */
	if (s->snd && (t->item || t->by_page) && (x->events & EPOLLOUT) && !out)
		return wrong(m, e, "no EPOLLOUT");
	/* "free slots times the page size" */
	if (t->by_page && !x->out->n &&
	    s->snd != (uint32_t)fcntl(x->fd, F_GETPIPE_SZ))
		return wrong(m, e, "room of an empty pipe");
	return true;
}

static bool told(struct model *m, int e, const struct epoll_state *st)
{
	struct end *x = &m->end[e];
	const bool may = may_be_told(m, x);

	x->kept = *st;
	if (!may)
		return wrong(m, e, "a record for nothing");
	if (st->__cont1 || st->__cont2 || st->__cont3 || st->seq != x->seq++)
		return wrong(m, e, "seq, or a slot with events");
	x->may = 0;
	x->owed = false;
	x->armed = !(x->events & EPOLLONESHOT);
	x->fresh = true;
	if (m->type->by_page)
		x->size = fcntl(x->fd, F_GETPIPE_SZ);
	return told_what_is(m, e);
}

/* R9: without EPOLLSTATE it is as if there was none. */
static bool event(struct model *m, int e, uint32_t events)
{
	struct end *x = &m->end[e];

	if (!x->armed || (x->events & EPOLLSTATE) || x->seen ||
	    (events != poll_of(x) && !x->moves))
		FAIL(m, "end %d: an ordinary event %#x, poll says %#x", e,
		     events, poll_of(x));
	x->seen = true;
	x->armed = !(x->events & EPOLLONESHOT);
	return true;
}

/* Nothing is pending: what was told last, less own I/O, is what is. */
static bool believe(struct model *m, int e)
{
	const struct es_type *t = m->type;
	const struct end *x = &m->end[e];
	const struct epoll_state *s = &x->kept;
	const bool in = (x->events & EPOLLIN) && !(x->moves & CAME);
	const bool out = (x->events & EPOLLOUT) && !(x->moves & LEFT);
	const uint32_t end = t->eof & (x->events | EPOLLHUP) & ~EPOLLOUT;

	if (!x->events || !x->armed)
		return true;
	if (!(x->events & EPOLLSTATE))
		return x->seen || !poll_of(x) || x->moves ||
		       wrong(m, e, "no event");
	/* R1: "even when nothing is ready" */
	if (x->owed)
		return wrong(m, e, "no baseline");
	/* R6.  Where there are messages, "msgs is what counts". */
	if (in && s->msgs != es_queue_msgs(x->in, t))
		return wrong(m, e, "believed msgs");
	if (in && !(t->messages && t->msgs) && s->rcv != to_read(m, x))
		return wrong(m, e, "believed rcv");
	/* "outq == 0": all is gone, also after shutdown. */
	if (out && s->outq && !outq_of(m, e))
		return wrong(m, e, "believed outq");
	/* R7: nobody waits for room that is there. */
	if (out && has_room(m, x) && !s->snd && !x->out->n)
		return wrong(m, e, "believed snd");
	if (out && resized(m, x))
		return wrong(m, e, "believed its size");
	/* "EPOLLRDHUP (pipes: EPOLLHUP)": however late it will be read */
	if (m->end[!e].shut && !(x->moves & CAME) && (s->events & end) != end)
		return wrong(m, e, "no end");
	return true;
}

static bool wait_for(struct model *m, int slots, int timeout)
{
	struct epoll_event ev[SLOTS + EPOLL_STATE_SLOTS] = {};
	struct epoll_state st;
	uint64_t e;
	int i, n;

	m->end[0].seen = false;
	m->end[1].seen = false;
	n = epoll_wait(m->ep, ev, slots, timeout);
	/* R8: a record is the first thing to deliver, and does not fit. */
	if (n < 0 && errno == EINVAL && slots < EPOLL_STATE_SLOTS &&
	    (may_be_told(m, &m->end[0]) || may_be_told(m, &m->end[1])))
		return true;
	if (n < 0)
		FAIL(m, "epoll_wait of %d slots: %s", slots, strerror(errno));
	for (i = 0; i < n; i += st.events & EPOLLSTATE ? EPOLL_STATE_SLOTS : 1) {
		/* R8: never split */
		memcpy(&st, &ev[i], sizeof(st));
		e = st.data.u64;
		if (e > 1 || !m->end[e].events ||
		    (st.events & EPOLLSTATE && i + EPOLL_STATE_SLOTS > n))
			FAIL(m, "slot %d of %d: events %#x", i, n, st.events);
		if (!(st.events & EPOLLSTATE ? told(m, e, &st) :
					       event(m, e, st.events)))
			return false;
	}
	/* Another one may not have fitted. */
	return (n && slots - n < EPOLL_STATE_SLOTS) ||
	       (believe(m, 0) && believe(m, 1));
}

static bool do_wait(struct model *m, uint32_t how)
{
	const int slots = how % 3 ? SLOTS : 1 + how / 3 % 9;
	/* It changes how the kernel waits, not what it has to tell. */
	int timeout = how / 27 % 7 ? 0 : how / 189 % 3;

	/* What is pending ends a wait at once. */
	if ((m->end[0].owed || m->end[1].owed) && how / 27 % 2)
		timeout = ES_DEADLINE_MS;
	return wait_for(m, slots, timeout);
}

/* The arithmetic of an application that has written. */
static void did_write(struct model *m, int e, uint32_t len, ssize_t n)
{
	const uint32_t page = m->type->by_page ? sysconf(_SC_PAGESIZE) : 1;
	const uint32_t rest = n > 0 ? (page - n % page) % page : 0;
	struct end *x = &m->end[e];

	epollstate_did_write(&x->kept, len, n);
	x->kept.snd -= rest < x->kept.snd ? rest : x->kept.snd;
	/* Where nothing is ever queued, nothing is. */
	if (m->type->outq == es_outq_none)
		x->kept.outq = 0;
	x->fresh = false;
}

static bool do_write(struct model *m, int e, uint32_t len, bool credit)
{
	const struct es_type *t = m->type;
	struct end *x = &m->end[e], *y = &m->end[!e];
	int had, lost;
	ssize_t n;

	if (!x->writes || x->shut)
		return true;
	credit = (credit || t->torn) && has_room(m, x) &&
		 !resized(m, x);
	if (credit && len > x->kept.snd)
		len = x->kept.snd;
	if (!len)
		return true;
	len = es_len(t, len);
	had = t->lossy ? t->arrived(y->fd) : 0;
	lost = t->lossy ? t->dropped(y->fd) : 0;
	n = es_send(t, x->fd, len);
	/* "taken whole": over several writes, or one if that is all it says. */
	if (credit && n != len && (x->fresh || t->per_byte || t->by_page))
		FAIL(m, "end %d: %u of %u promised bytes to be written, %zd taken",
		     e, len, x->kept.snd, n);
	did_write(m, e, len, n);
	if (t->one_file)
		did_write(m, !e, len, n);
	/* R4, but it leaves by itself; after a refusal the next one is news. */
	if (t->idle || n < (ssize_t)len)
		x->may |= LEFT;
	if (n <= 0)
		return true;
	if (t->lossy && !es_soon(t->arrived(y->fd) != had ||
				 t->dropped(y->fd) != lost))
		FAIL(m, "end %d: a message is neither here nor dropped", !e);
	if (t->lossy && t->dropped(y->fd) != lost)
		return true;
	es_queue_put(x->out, t, n);
	/* What a worker hands over carries news of what was read before. */
	y->may |= CAME | (t->handed ? LEFT : 0);
	x->may |= t->one_file ? CAME : 0;
	m->moved = true;
	return true;
}

static void did_read(struct model *m, int e, ssize_t n)
{
	const struct es_type *t = m->type;
	struct epoll_state *s = &m->end[e].kept;

	errno = n < 0 ? -n : 0;
	if (t->messages)
		epollstate_did_receive(s, n);
	else
		epollstate_did_read(s, n);
	/* Events of one size, of which one read takes several. */
	if (t->msgs && !t->messages)
		s->msgs = s->rcv / t->item;
}

static bool do_read(struct model *m, int e, uint32_t len, bool peek)
{
	const struct es_type *t = m->type;
	struct end *x = &m->end[e], *y = &m->end[!e];
	const uint32_t there = to_read(m, x);
	const bool more = es_queue_rcv(x->in) > there;
	static char sink[LARGEST];
	ssize_t n, right;

	if (!x->reads)
		return true;
	/* Promised: so many bytes of a stream, so many messages. */
	if (!(t->messages && t->msgs) && x->kept.rcv > there)
		return wrong(m, e, "promised rcv");
	if (x->kept.msgs > es_queue_msgs(x->in, t))
		return wrong(m, e, "promised msgs");
	if (t->item)
		len = t->messages || len < t->item ? t->item : len - len % t->item;
	right = there ? (ssize_t)(len < there ? len : there) :
		y->shut && !x->in->n ? 0 : -EAGAIN;
	if (peek)
		n = recv(x->fd, sink, len, MSG_PEEK | MSG_DONTWAIT);
	else
		n = es_read(x->fd, len);
	if (peek && n < 0 && errno == ENOTSOCK)
		return true;
	if (peek && n < 0)
		n = -errno;
	/* What waits until there is room may follow at once. */
	if (n != right && !(x->moves & CAME) && !(more && n > right))
		FAIL(m, "end %d: a read of %u of %u returned %zd", e, len, there, n);
	if (peek)
		return rcv_of(m, x) == there || x->moves & CAME ||
		       wrong(m, e, "a peek");
	/* R4: silent, but for what waited until there is room. */
	if (more)
		x->may |= CAME;
	did_read(m, e, n);
	if (t->one_file)
		did_read(m, !e, n);
	if (n <= 0)
		return true;
	if (es_queue_take(x->in, t, t->messages ? len : (uint32_t)n) != n)
		FAIL(m, "end %d: %zd bytes that were not sent", e, n);
	y->may |= LEFT;
	x->may |= t->one_file ? LEFT : 0;
	m->moved = true;
	return true;
}

static bool mod(struct model *m, int e, uint32_t events)
{
	struct end *x = &m->end[e];
	int err;

	if (!x->events)
		return true;
	err = es_ctl(m->ep, EPOLL_CTL_MOD, x->fd, events, e);
	if (err)
		FAIL(m, "end %d: mod %#x: %s", e, events, strerror(-err));
	/* "A MOD that asks for EPOLLSTATE again begins at 0." */
	if (!(events & x->events & EPOLLSTATE))
		x->seq = 0;
	x->events = events;
	/* R1; it also ends the silence after a record of EPOLLONESHOT. */
	x->armed = true;
	x->owed = events & EPOLLSTATE;
	return true;
}

static bool do_mod(struct model *m, int e, uint32_t how)
{
	static const uint32_t masks[] = { ES_IO, ES_IO, EPOLLIN, EPOLLOUT };
	static const uint32_t modes[] = {
		EPOLLSTATE, EPOLLSTATE, EPOLLSTATE, EPOLLSTATE,
		EPOLLSTATE | EPOLLET, EPOLLSTATE | EPOLLONESHOT, 0, EPOLLONESHOT,
	};

	return mod(m, e, masks[how % ARRAY_SIZE(masks)] |
			 modes[how / 4 % ARRAY_SIZE(modes)]);
}

/* By either end. */
static bool resize_pipe(struct model *m, int fd, uint32_t size)
{
	const bool busy = m->end[RECEIVER].in->n;
	const int got = fcntl(fd, F_SETPIPE_SZ, size);
	struct end *x = &m->end[SENDER];

	/* More slots may be in use; an unprivileged user may have too many. */
	if (got < 0 ? !(errno == EBUSY && busy) && errno != EPERM :
		      got < (int)size)
		FAIL(m, "a pipe of %u: %d (%s)", size, got, strerror(errno));
	if (resized(m, x))
		x->may |= LEFT;
	return true;
}

static bool do_resize(struct model *m, int e, bool snd, uint32_t size)
{
	const int fd = m->end[e].fd;
	int opt = snd ? SO_SNDBUF : SO_RCVBUF;
	int had, err;

	if (fd < 0)
		return true;
	if (m->type->by_page)
		return resize_pipe(m, fd, size);
	had = es_int_opt(fd, SOL_SOCKET, opt);
	/* Only up, see the banner, and past the limit that tuning passes too. */
	if (!snd && m->type->jam) {
		opt = SO_RCVBUFFORCE;
		size = (uint32_t)had / 2 > size ? had / 2 : size;
	}
	err = es_set_opt(fd, SOL_SOCKET, opt, size);
	if (err != (had < 0 ? had : 0) && !(opt == SO_RCVBUFFORCE && err == -EPERM))
		FAIL(m, "end %d: resize to %u: %s", e, size, strerror(-err));
	/* Nobody is told of a receive buffer. */
	if (err || !snd)
		return true;
	m->end[e].kept.snd = 0;
	m->end[e].may |= LEFT;
	return mod(m, e, ES_IO | EPOLLSTATE);
}

static bool step(struct model *m, const struct op *op)
{
	const int e = op->end;
	struct end *x = &m->end[e];

	switch (op->kind) {
	case OP_WRITE:
	case OP_CREDIT:
		return do_write(m, e, op->arg, op->kind == OP_CREDIT) && settle(m);
	case OP_PEEK:
		/* It changes nothing: not what is read next, not what is told. */
		return do_read(m, e, op->arg, true) &&
		       (op->how % 2 || do_read(m, e, op->arg, false)) && settle(m);
	case OP_READ:
		return do_read(m, e, op->arg, false) && settle(m);
	case OP_MOD:
		return do_mod(m, e, op->how);
	case OP_WAIT:
		return do_wait(m, op->how);
	case OP_SNDBUF:
	case OP_RCVBUF:
		return do_resize(m, e, op->kind == OP_SNDBUF, op->arg);
	case OP_SHUT:
		if (!x->writes || x->shut || m->type->shut(&x->fd))
			return true;
		x->shut = true;
		x->kept.snd = 0;
		/* A pipe was closed, and with it the registration has gone. */
		if (x->fd < 0)
			*x = (struct end){ .fd = -1, .shut = true,
					   .in = &m->none, .out = &m->none };
		x->may = CAME | LEFT | CHANGED;
		m->end[!e].may = CAME | LEFT | CHANGED;
		m->moved = true;
		return settle(m);
	}
	return false;
}

/* True if the sequence runs through; else ->why tells. */
static bool run(struct model *m, const struct es_type *t, const struct op *op,
		int n)
{
	int sv[2], err, e, i;
	bool ok = true;

	*m = (struct model){ .type = t };
	err = t->pair(sv);
	if (err)
		FAIL(m, "no pair: %s", strerror(-err));
	m->ep = epoll_create1(EPOLL_CLOEXEC);
	for (e = 0; e < 2; e++) {
		struct end *x = &m->end[e];

		x->fd = sv[e];
		x->reads = t->both || t->one_file || e == RECEIVER;
		x->writes = t->both || t->one_file || e == SENDER;
		x->in = x->reads ? &m->queue[t->one_file ? 0 : e] : &m->none;
		x->out = x->writes ? &m->queue[t->one_file ? 0 : !e] : &m->none;
		/* What inotify looks at is no file that epoll takes. */
		if (e == SENDER && t->send && !t->one_file)
			continue;
		x->events = ES_IO | EPOLLSTATE;
		x->owed = true;
		x->armed = true;
		err = es_ctl(m->ep, EPOLL_CTL_ADD, x->fd, x->events, e);
		if (err)
			snprintf(m->why, sizeof(m->why), "add: %s", strerror(-err));
		ok = ok && !err;
	}
	for (i = 0; ok && i < n; i++)
		ok = step(m, &op[i]);
	/* All that is pending, and then nothing (R2, R5). */
	ok = ok && wait_for(m, SLOTS, 0) && wait_for(m, SLOTS, 0);
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

ES_FIXTURE(model, SENDER, ALL)

TEST_F_TIMEOUT(model, random_sequences_are_told_as_the_model_knows, 1800)
{
	const char *env = getenv("EPOLLSTATE_SEQUENCES");
	/* To close what looks at files waits for a grace period. */
	const int few = variant->type == &es_inotify ? SEQUENCES / 10 : SEQUENCES;
	int sequences = env ? atoi(env) : few;
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
			TH_LOG("  %d: %s, end %d, %u, %u", k, kinds[op[k].kind].name,
			       op[k].end, op[k].arg, op[k].how);
		/* Last, as what reads this shows the end of it. */
		TH_LOG("EPOLLSTATE_SEED=%llu; %d of %d operations are needed: %s",
		       (unsigned long long)(r.s + i), n, OPS,
		       m.why[0] ? m.why : "it does not always fail");
		TH_LOG("%s: %s", variant->type->name, why);
		ASSERT_TRUE(false);
	}
}

TEST_HARNESS_MAIN
