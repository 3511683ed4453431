/* SPDX-License-Identifier: GPL-2.0 */
/* io_uring by its system calls: few submissions, and all of them waited for. */

#ifndef _EPOLLSTATE_RING_H
#define _EPOLLSTATE_RING_H

#include <linux/io_uring.h>
#include <sys/mman.h>

#include "common.h"

#ifndef SYS_io_uring_setup
#define SYS_io_uring_setup	425
#define SYS_io_uring_enter	426
#endif

/* Newer than the headers of many a system; 6.15 has it. */
#define ES_IORING_OP_EPOLL_WAIT	59

struct es_ring {
	int fd;
	unsigned int pushed;
	unsigned int *sq_tail, *sq_mask, *sq_array;
	unsigned int *cq_head, *cq_tail, *cq_mask;
	struct io_uring_sqe *sqes;
	struct io_uring_cqe *cqes;
};

static inline int es_ring_open(struct es_ring *r)
{
	struct io_uring_params p = {};
	char *sq, *cq;

	r->pushed = 0;
	r->fd = syscall(SYS_io_uring_setup, 4, &p);
	if (r->fd < 0)
		return -errno;
	sq = mmap(NULL, p.sq_off.array + p.sq_entries * sizeof(unsigned int),
		  PROT_READ | PROT_WRITE, MAP_SHARED | MAP_POPULATE, r->fd,
		  IORING_OFF_SQ_RING);
	cq = mmap(NULL, p.cq_off.cqes + p.cq_entries *
		  sizeof(struct io_uring_cqe), PROT_READ | PROT_WRITE,
		  MAP_SHARED | MAP_POPULATE, r->fd, IORING_OFF_CQ_RING);
	r->sqes = mmap(NULL, p.sq_entries * sizeof(struct io_uring_sqe),
		       PROT_READ | PROT_WRITE, MAP_SHARED | MAP_POPULATE,
		       r->fd, IORING_OFF_SQES);
	if (sq == MAP_FAILED || cq == MAP_FAILED || r->sqes == MAP_FAILED)
		return -ENOMEM;
	r->sq_tail = (void *)(sq + p.sq_off.tail);
	r->sq_mask = (void *)(sq + p.sq_off.ring_mask);
	r->sq_array = (void *)(sq + p.sq_off.array);
	r->cq_head = (void *)(cq + p.cq_off.head);
	r->cq_tail = (void *)(cq + p.cq_off.tail);
	r->cq_mask = (void *)(cq + p.cq_off.ring_mask);
	r->cqes = (void *)(cq + p.cq_off.cqes);
	return 0;
}

/* For es_ring_next() to submit; four at most. */
static inline void es_ring_push(struct es_ring *r,
				const struct io_uring_sqe *sqe)
{
	const unsigned int tail = *r->sq_tail, at = tail & *r->sq_mask;

	r->sqes[at] = *sqe;
	r->sq_array[at] = at;
	__atomic_store_n(r->sq_tail, tail + 1, __ATOMIC_RELEASE);
	r->pushed++;
}

static inline bool es_ring_has(const struct es_ring *r)
{
	return *r->cq_head != __atomic_load_n(r->cq_tail, __ATOMIC_ACQUIRE);
}

/* Submits what was pushed, waits for one completion; signals are no end. */
static inline int es_ring_next(struct es_ring *r, struct io_uring_cqe *cqe)
{
	const unsigned int head = *r->cq_head;
	int err;

	while (r->pushed || !es_ring_has(r)) {
		err = syscall(SYS_io_uring_enter, r->fd, r->pushed, 1,
			      IORING_ENTER_GETEVENTS, NULL, 0);
		if (err < 0 && errno != EINTR)
			return -errno;
		if (err > 0)
			r->pushed -= err;
	}
	*cqe = r->cqes[head & *r->cq_mask];
	__atomic_store_n(r->cq_head, head + 1, __ATOMIC_RELEASE);
	return 0;
}

/* Submits @sqe, waits for its completion, returns its result. */
static inline int es_ring_do(struct es_ring *r, const struct io_uring_sqe *sqe)
{
	struct io_uring_cqe cqe;
	int err;

	es_ring_push(r, sqe);
	err = es_ring_next(r, &cqe);
	return err ? err : cqe.res;
}

/*
 * The same, but calls @sqe off each @ns for which it does not come.  Once is
 * not enough, nor is a time-out that is linked to it: a request that is about
 * to wait, or is looked at again, is not found (Linux 7.2, whatever it is).
 */
static inline int es_ring_try(struct es_ring *r, const struct io_uring_sqe *sqe,
			      long ns, int *res)
{
	const struct io_uring_sqe cancel = {
		.opcode = IORING_OP_ASYNC_CANCEL,
		.addr = sqe->user_data,
		.user_data = ~sqe->user_data,
	};
	const struct timespec pause = { .tv_nsec = ns };
	bool done = false, cancelling = false;
	struct io_uring_cqe cqe;
	int err;

	es_ring_push(r, sqe);
	err = syscall(SYS_io_uring_enter, r->fd, r->pushed, 0, 0, NULL, 0);
	if (err > 0)
		r->pushed -= err;
	while (!done || cancelling) {
		if (!cancelling && !es_ring_has(r)) {
			nanosleep(&pause, NULL);
			es_ring_push(r, &cancel);
			cancelling = true;
		}
		err = es_ring_next(r, &cqe);
		if (err)
			return err;
		if (cqe.user_data == sqe->user_data) {
			done = true;
			*res = cqe.res;
		} else {
			cancelling = false;
		}
	}
	return 0;
}

#endif /* _EPOLLSTATE_RING_H */
