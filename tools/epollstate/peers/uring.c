// SPDX-License-Identifier: BSD-3-Clause OR GPL-2.0
/*
 * io_uring: multishot accept and recv into provided buffers, send that waits
 * for all to be taken; as the io_uring transports of netty and of seastar do.
 *
 * Nothing is asked for ahead of the kernel: bytes come in a buffer of a pool,
 * and one call both submits and waits. What may have to pause is read with one
 * recv at a time, so that no cancellation is needed. The pool has to be as
 * large as all that may come between two rounds.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <linux/io_uring.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "peers.h"

#define ENTRIES		4096
#define BUFFERS		1024	/* a power of two */
#define BUFFER_SIZE	16384
#define GROUP		1

enum op { ACCEPT, RECV, SEND, QUIET, CANCEL };

/* Outlives its connection until the last operation has completed. */
struct handle {
	struct conn *c;
	int pending;
};

static int ring_fd;
static struct {
	unsigned int *head, *tail, mask;
	struct io_uring_sqe *sqes;
} sq;
static struct {
	unsigned int *head, *tail, mask;
	struct io_uring_cqe *cqes;
} cq;
static struct io_uring_buf_ring *buffers;
static char *pool;
static uint16_t buffers_tail;
static unsigned int unsubmitted;
static bool passed_on;		/* the buffer at hand is to be sent */

static void give_back(const char *at)
{
	unsigned int nr = (unsigned int)(at - pool) / BUFFER_SIZE;
	struct io_uring_buf *b = &buffers->bufs[buffers_tail & (BUFFERS - 1)];

	b->addr = (uintptr_t)pool + nr * BUFFER_SIZE;
	b->len = BUFFER_SIZE;
	b->bid = (uint16_t)nr;
	__atomic_store_n(&buffers->tail, ++buffers_tail, __ATOMIC_RELEASE);
}

static bool in_pool(const char *at)
{
	return at >= pool && at < pool + BUFFERS * BUFFER_SIZE;
}

static const char *open_buffers(void)
{
	struct io_uring_buf_reg reg = { .ring_entries = BUFFERS,
					.bgid = GROUP };
	int i;

	buffers = mmap(NULL, BUFFERS * sizeof(struct io_uring_buf),
		       PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS,
		       -1, 0);
	if (buffers == MAP_FAILED)
		return strerror(errno);
	reg.ring_addr = (uintptr_t)buffers;
	if (syscall(SYS_io_uring_register, ring_fd, IORING_REGISTER_PBUF_RING,
		    &reg, 1))
		return "no provided buffers";
	pool = mem_get(BUFFERS * BUFFER_SIZE);
	for (i = 0; i < BUFFERS; i++)
		give_back(pool + i * BUFFER_SIZE);
	return NULL;
}

static const char *open_ring(void)
{
	struct io_uring_params p = {
		.flags = IORING_SETUP_SINGLE_ISSUER |
			 IORING_SETUP_DEFER_TASKRUN | IORING_SETUP_CQSIZE,
		.cq_entries = 8 * ENTRIES,
	};
	unsigned int *array, i;
	size_t len;
	char *ring;

	ring_fd = (int)syscall(SYS_io_uring_setup, ENTRIES, &p);
	if (ring_fd < 0)
		return "no io_uring, or one that is too old";
	/* Both rings are in one mapping, since Linux 5.4. */
	len = p.cq_off.cqes + p.cq_entries * sizeof(struct io_uring_cqe);
	if (len < p.sq_off.array + p.sq_entries * sizeof(*array))
		len = p.sq_off.array + p.sq_entries * sizeof(*array);
	ring = mmap(NULL, len, PROT_READ | PROT_WRITE, MAP_SHARED, ring_fd,
		    IORING_OFF_SQ_RING);
	sq.sqes = mmap(NULL, p.sq_entries * sizeof(struct io_uring_sqe),
		       PROT_READ | PROT_WRITE, MAP_SHARED, ring_fd,
		       IORING_OFF_SQES);
	if (ring == MAP_FAILED || sq.sqes == MAP_FAILED)
		return strerror(errno);
	sq.head = (unsigned int *)(void *)(ring + p.sq_off.head);
	sq.tail = (unsigned int *)(void *)(ring + p.sq_off.tail);
	sq.mask = p.sq_entries - 1;
	array = (unsigned int *)(void *)(ring + p.sq_off.array);
	for (i = 0; i < p.sq_entries; i++)
		array[i] = i;
	cq.head = (unsigned int *)(void *)(ring + p.cq_off.head);
	cq.tail = (unsigned int *)(void *)(ring + p.cq_off.tail);
	cq.mask = p.cq_entries - 1;
	cq.cqes = (struct io_uring_cqe *)(void *)(ring + p.cq_off.cqes);
	return open_buffers();
}

static void enter(unsigned int wait_for)
{
	long n;

	call_enter();
	n = syscall(SYS_io_uring_enter, ring_fd, unsubmitted, wait_for,
		    wait_for ? IORING_ENTER_GETEVENTS : 0, NULL, 0);
	call_waited();
	if (n < 0)
		die("io_uring_enter: %s", strerror(errno));
	unsubmitted -= (unsigned int)n;
}

static struct io_uring_sqe *submit(struct conn *c, enum op what)
{
	struct handle *h = c->own;
	struct io_uring_sqe *sqe;
	unsigned int tail;

	if (unsubmitted > sq.mask)
		enter(0);
	tail = *sq.tail;
	sqe = &sq.sqes[tail & sq.mask];
	memset(sqe, 0, sizeof(*sqe));
	sqe->fd = c->fd;
	sqe->user_data = (uintptr_t)h | what;
	h->pending++;
	__atomic_store_n(sq.tail, tail + 1, __ATOMIC_RELEASE);
	unsubmitted++;
	return sqe;
}

static void submit_recv(struct conn *c)
{
	struct io_uring_sqe *sqe = submit(c, RECV);

	sqe->opcode = IORING_OP_RECV;
	sqe->flags = IOSQE_BUFFER_SELECT;
	sqe->buf_group = GROUP;
	/* What goes to another connection may have to pause. */
	if (!c->to)
		sqe->ioprio = IORING_RECV_MULTISHOT;
}

static struct io_uring_sqe *submit_send(struct conn *c, enum op what,
					const char *data, size_t len)
{
	struct io_uring_sqe *sqe = submit(c, what);

	sqe->opcode = IORING_OP_SEND;
	sqe->addr = (uintptr_t)data;
	sqe->len = (uint32_t)len;
	sqe->msg_flags = MSG_WAITALL | MSG_NOSIGNAL;
	return sqe;
}

static void submit_accept(struct conn *c)
{
	struct io_uring_sqe *sqe = submit(c, ACCEPT);

	sqe->opcode = IORING_OP_ACCEPT;
	sqe->ioprio = IORING_ACCEPT_MULTISHOT;
	sqe->accept_flags = SOCK_CLOEXEC;
}

static void add(struct conn *c)
{
	struct handle *h = calloc(1, sizeof(*h));

	if (!h)
		die("no memory");
	h->c = c;
	c->own = h;
	if (c->kind == LISTEN)
		submit_accept(c);
	else
		submit_recv(c);
}

/* A request holds the file: what is pending would keep the socket open. */
static void cancel(struct conn *c)
{
	struct handle *h = c->own;
	struct io_uring_sqe *sqe;
	struct piece *p;

	for (p = c->out; p; p = p->next)
		if (in_pool(p->at))
			give_back(p->at);
	if (h->pending) {
		sqe = submit(c, CANCEL);
		sqe->opcode = IORING_OP_ASYNC_CANCEL;
		sqe->fd = c->fd;
		sqe->addr = (uintptr_t)h | RECV;
	}
	h->c = NULL;
	if (!h->pending)
		free(h);
}

static bool send_later(struct conn *c, const char *data, size_t len)
{
	bool busy = c->out;

	/* Nothing waits for this to be sent: only a failure is to be told. */
	if (c->kind == ANSWER) {
		submit_send(c, QUIET, data, len)->flags |=
			IOSQE_CQE_SKIP_SUCCESS;
		((struct handle *)c->own)->pending--;
		return true;
	}
	if (in_pool(data))
		passed_on = true;
	flow_keep(c, data, len);
	if (!busy)
		submit_send(c, SEND, data, len);
	return c->out_len < HIGH;
}

static void received(struct conn *c, const struct io_uring_cqe *cqe)
{
	char *at = pool + (cqe->flags >> IORING_CQE_BUFFER_SHIFT) * BUFFER_SIZE;
	size_t n = (size_t)cqe->res;
	char *copy = at;

	passed_on = false;
	if (cqe->res > 0) {
		if (c->kind == DGRAM) {
			copy = mem_get(n);
			memcpy(copy, at, n);
		}
		work_data(c, copy, n);
	} else if (cqe->res == 0) {
		work_end(c);
	} else if (cqe->res != -ENOBUFS) {
		work_broken(c);
	}
	if (cqe->flags & IORING_CQE_F_BUFFER && !passed_on)
		give_back(at);
	if (!(cqe->flags & IORING_CQE_F_MORE) && !c->ended && !c->over &&
	    !c->paused)
		submit_recv(c);
}

static void sent(struct conn *c, int n)
{
	struct piece *p = c->out;

	if (n < 0) {
		work_broken(c);
		return;
	}
	c->out_len -= (size_t)n;
	p->at += n;
	p->len -= (size_t)n;
	if (!p->len) {
		c->out = p->next;
		if (in_pool(p->at - 1))
			give_back(p->at - 1);
		free(p);
	}
	if (c->out)
		submit_send(c, SEND, c->out->at, c->out->len);
	else
		work_drained(c);
}

static void handle(const struct io_uring_cqe *cqe)
{
	struct handle *h = (struct handle *)(uintptr_t)(cqe->user_data & ~7ULL);
	enum op what = cqe->user_data & 7;
	struct conn *c;

	/* A failure. The pending recv fails as well, or has; h may be gone. */
	if (what == QUIET)
		return;
	c = h->c;
	if (!(cqe->flags & IORING_CQE_F_MORE))
		h->pending--;
	if (!c) {
		if (cqe->flags & IORING_CQE_F_BUFFER)
			give_back(pool + (cqe->flags >> IORING_CQE_BUFFER_SHIFT)
				  * BUFFER_SIZE);
		if (what == ACCEPT && cqe->res >= 0)
			close(cqe->res);
		if (!h->pending)
			free(h);
	} else if (what == ACCEPT) {
		if (cqe->res >= 0)
			work_accepted(c, cqe->res);
		if (!(cqe->flags & IORING_CQE_F_MORE) && !c->over)
			submit_accept(c);
	} else if (what == RECV) {
		received(c, cqe);
	} else if (what == SEND) {
		sent(c, cqe->res);
	}
}

static void wait_some(void)
{
	unsigned int head = *cq.head, tail;

	enter(1);
	tail = __atomic_load_n(cq.tail, __ATOMIC_ACQUIRE);
	for (; head != tail; head++) {
		struct io_uring_cqe cqe = cq.cqes[head & cq.mask];

		__atomic_store_n(cq.head, head + 1, __ATOMIC_RELEASE);
		handle(&cqe);
	}
}

const struct peer uring_peer = {
	.name = "uring",
	.open = open_ring,
	.add = add,
	.close = cancel,
	.wait = wait_some,
	.send = send_later,
	.pause = no_change,
	.resume = submit_recv,
};
