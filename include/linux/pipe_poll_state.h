/* SPDX-License-Identifier: GPL-2.0 */
/*
 * EPOLLSTATE for pipes: what the hooks in fs/pipe.c and fs/splice.c call.  The
 * whole story is told in fs/pipe_poll_state.c.
 *
 * Included by <linux/pipe_fs_i.h>, which is what users include.
 */
#ifndef _LINUX_PIPE_POLL_STATE_H
#define _LINUX_PIPE_POLL_STATE_H

#include <linux/compiler.h>
#include <linux/types.h>
#include <linux/wait.h>

struct file;
struct poll_table_struct;

#ifdef CONFIG_EPOLLSTATE

__poll_t pipe_poll_state(struct file *file, struct poll_table_struct *wait);

/* poll_wants_state() so that it costs pipe_poll() no more than two instructions. */
#define pipe_poll_wants_state(wait)	((wait) && unlikely((wait)->_asks_state))

void pipe_poll_state_wake(struct wait_queue_head *wq);
void __pipe_poll_state_drained(struct pipe_inode_info *pipe);
void __pipe_poll_state_merge(struct pipe_inode_info *pipe,
			     struct pipe_buffer *buf, u32 n);

/* A reader, who has just dropped pipe->mutex, wakes no writer: anybody else? */
static inline void pipe_poll_state_drained(struct pipe_inode_info *pipe)
{
	/*
	 * The tail before the flag; pairs with pipe_poll_state_arm().  What
	 * mutex_unlock() ends with is an atomic read-modify-write.
	 */
	smp_mb__after_atomic();
	/*
	 * Set just now it is as good as set afterwards: the sample that follows
	 * has the tail.  READ_ONCE() would cost an instruction.
	 */
	if (unlikely(data_race(pipe->poll_state)))
		__pipe_poll_state_drained(pipe);
}

/* A writer of much, who has just dropped pipe->mutex, is about to sleep. */
static inline void pipe_poll_state_filled(struct pipe_inode_info *pipe)
{
	/* Set once and for all, by whoever polls: before it samples. */
	if (data_race(pipe->poll_usage))
		pipe_poll_state_wake(&pipe->rd_wait);
}

/* The first reader or writer of a FIFO has come: it may have had some before. */
static inline void pipe_poll_state_partner(struct pipe_inode_info *pipe)
{
	pipe_poll_state_wake(&pipe->wr_wait);
}

/* @n bytes are added to the last slot.  Whoever samples sees both or none. */
static inline void pipe_poll_state_merge(struct pipe_inode_info *pipe,
					 struct pipe_buffer *buf, u32 n)
{
	/* Set once and for all.  Who sets it just now may be told of this twice. */
	if (unlikely(data_race(pipe->poll_in))) {
		__pipe_poll_state_merge(pipe, buf, n);
		return;
	}
	buf->len += n;
	/* The bytes before the position; pairs with pipe_in_pos(). */
	smp_store_release(&pipe->poll_merged, pipe->poll_merged + n);
}

/* @n bytes were put into a new slot. */
static inline void pipe_poll_state_added(struct pipe_buffer *buf, u32 n)
{
	/* Whether it is a packet before its length; pairs with pipe_count(). */
	smp_store_release(&buf->len, n);
}

/* A buffer was moved elsewhere: leave the slot as one that was read. */
static inline void pipe_poll_state_moved(struct pipe_buffer *buf)
{
	buf->offset += buf->len;
	WRITE_ONCE(buf->len, 0);
}

/*
 * The ring is about to be replaced by one whose tail is 0: positions go on where
 * they are.  rd_wait.lock.
 */
static inline void pipe_poll_state_renumber(struct pipe_inode_info *pipe)
{
	WRITE_ONCE(pipe->poll_origin, pipe->poll_origin + pipe->tail);
}

#else

#define pipe_poll_wants_state(wait)	poll_wants_state(wait)

static inline __poll_t pipe_poll_state(struct file *file,
				       struct poll_table_struct *wait)
{
	return 0;
}

static inline void pipe_poll_state_drained(struct pipe_inode_info *pipe)
{
}

static inline void pipe_poll_state_filled(struct pipe_inode_info *pipe)
{
}

static inline void pipe_poll_state_partner(struct pipe_inode_info *pipe)
{
}

static inline void pipe_poll_state_merge(struct pipe_inode_info *pipe,
					 struct pipe_buffer *buf, u32 n)
{
	buf->len += n;
}

static inline void pipe_poll_state_added(struct pipe_buffer *buf, u32 n)
{
	buf->len = n;
}

static inline void pipe_poll_state_moved(struct pipe_buffer *buf)
{
}

static inline void pipe_poll_state_renumber(struct pipe_inode_info *pipe)
{
}

#endif /* CONFIG_EPOLLSTATE */

#endif /* _LINUX_PIPE_POLL_STATE_H */
