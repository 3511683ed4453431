// SPDX-License-Identifier: GPL-2.0
/*
 * What a pipe or FIFO reports to an EPOLLSTATE registration.
 *
 * A read end reports what can be read, a write end what can be written, a FIFO
 * open for both reports both.  A notification pipe reports nothing: what is in
 * it are no bytes but messages, and writes fail.
 *
 *	rcv	what FIONREAD says.  A read ends with the first packet (pipes
 *		with O_DIRECT), and so does rcv; msgs counts the packets then,
 *		with what is behind the last one as one more
 *	snd	free slots, times the page size.  One write takes at most a slot
 *		per page, and one more for the rest.  0 without a reader
 *	outq	all bytes in the pipe
 *	error	EPIPE, together with EPOLLERR: all readers are gone
 *
 * snd is what one write takes, whatever its size.  Many small ones may use up
 * more slots, as what does not fit into the rest of the last page starts another:
 * to be subtracted for n bytes written are n bytes, rounded up to pages.
 *
 * Looking at the ring without pipe->mutex
 * ---------------------------------------
 *
 * That mutex is held while a page of user memory is waited for, so it is not
 * even tried.  Head and tail are read without a lock; the array stays while
 * rd_wait.lock is held, as for watch_queue.  Slots from head on have len 0:
 * whoever consumes a buffer leaves it so, see pipe_poll_state_moved().
 *
 *	pipe_write() (pipe->mutex)		sampling (rd_wait.lock)
 *	--------------------------		-----------------------
 *	head++					head, tail
 *	page, offset = 0, flags			slot seen, len 0: no bytes
 *	copy, which may sleep or fail		slot seen, len 0: no bytes
 *	len = copied  (release)			slot seen: bytes, a packet or not
 *	unlock, wake rd_wait (poll_usage is set)
 *
 * (Linux 7.2 copies before it moves the head.)
 *
 * Nothing is counted that a reader will not get, and what was not counted is
 * followed by a wake-up.  A reader makes a slot shorter and moves the tail at
 * last: the sum is one that the pipe had during the walk.
 *
 * Stock moves the head by a plain store.  On a processor that lets it pass the
 * stores before it, a slot that is not the last can be seen without its data.
 * The position that is told then is one that the pipe never has, so that the
 * wake-up which ends the write is news.  A reader leaves such a slot as well,
 * until it moves the tail: then there is a record too many, for one who does not
 * read where he waits.  A packet that splice(2) or tee(2) moved there may be seen
 * without its mark, and is then told of with the next change only.  (Between
 * pipes these two make a slot shorter before they move the head: there rcv may
 * be too large, until then.)
 *
 * What came in
 * ------------
 *
 * in_pos is made of the head and of poll_merged, the bytes ever merged into a
 * last slot: data is added in no other way, and reads move neither.  The head
 * is multiplied by a constant, so that no number of slots looks like a number
 * of bytes.  A last slot without data (see above) does not count yet.  It is
 * sampled before the bytes are counted:
 *
 *	pipe_write() (pipe->mutex)		sampling
 *	--------------------------		--------
 *	len += n				poll_merged
 *	poll_merged += n  (release)		smp_rmb()
 *	unlock, wake				len of each slot
 *
 * What comes in between would be told again, and not be missed.  So that it is
 * not, both are added under rd_wait.lock once a read end was asked (poll_in); and
 * a sample during which a slot was filled is taken once more.
 *
 * F_SETPIPE_SZ begins a new array, whose slots are numbered from 0.  What the
 * tail loses by that, poll_origin gains, under rd_wait.lock: positions are made
 * of the sum, and stay.  __pipe_poll_state_drained() looks without that lock, may
 * see one without the other, and then wake for nothing, or not wake: but
 * F_SETPIPE_SZ ends with a wake-up of wr_wait.  Another size is told as a change
 * to those who ask for EPOLLOUT.
 *
 * A blocking write larger than the pipe sleeps with data in it.  Stock wakes
 * pollers then only if the pipe was empty before, for all others read until
 * EAGAIN; pipe_poll_state_filled() wakes those who read what they are told.
 *
 * Space coming back
 * -----------------
 *
 * out_pos is made of the tail.  Stock pipe_read() wakes pollers only when the
 * pipe was full, which a writer within its credit never sees (splice wakes for
 * each slot).  So pipe->poll_state asks it for a wake-up, once a quarter of the
 * slots has been consumed since pipe->poll_base or the pipe ran empty:
 *
 *	sampling (rd_wait.lock)			pipe_read()
 *	-----------------------			-----------
 *	poll_base = what was told		tail++, mutex_unlock()
 *	poll_state = true			smp_mb__after_atomic()
 *	smp_mb()				if poll_state and due
 *	sample head, tail			  poll_state = false, wake
 *
 * Either pipe_read() sees the flag, or the sample sees the tail.  Who clears the
 * flag wakes all EPOLLSTATE registrations of the write end, which sample again
 * and so set it.  Of several, the one that was told the least decides: they set
 * the base one after the other, under rd_wait.lock.
 *
 * The wake-up has EPOLLSTATE as its only event and goes to pollers alone: tasks
 * asleep in write(2) or splice(2) are left asleep, and in their order.
 *
 * A pipe that is spliced into /dev/fuse wakes nobody, with or without us.
 */
#include <linux/fs.h>
#include <linux/hash.h>
#include <linux/pipe_fs_i.h>
#include <linux/poll.h>

/* Slots, as they were seen at one time. */
struct pipe_ring {
	unsigned int head;
	unsigned int tail;
	unsigned int usage;
	u32 origin;
};

static struct pipe_ring pipe_ring(const struct pipe_inode_info *pipe)
{
	struct pipe_ring r;

	/* The tail first: but for a resize, no later head is behind it. */
	r.tail = smp_load_acquire(&pipe->tail);
	/* The head, then what is in the slots before it. */
	r.head = smp_load_acquire(&pipe->head);
	r.usage = READ_ONCE(pipe->max_usage);
	r.origin = READ_ONCE(pipe->poll_origin);
	return r;
}

/*
 * A position has quarters of slots, of which a step is as many as there are
 * slots.  It wraps where 32 bits do: where slots are numbered with 16 bits, the
 * number makes up the upper half.
 */
#define PIPE_POS_SHIFT	(sizeof_field(struct pipe_inode_info, tail) == 2 ? 16 : 2)

static u32 pipe_out_pos(struct pipe_ring r)
{
	return (r.origin + r.tail) << PIPE_POS_SHIFT;
}

static u32 pipe_out_step(struct pipe_ring r)
{
	return r.usage << (PIPE_POS_SHIFT - 2);
}

/* True iff slots came back since @base that are worth telling. */
static bool pipe_space_is_news(struct pipe_ring r, u32 base, u32 step)
{
	u32 moved = pipe_out_pos(r) - base;

	return moved && (r.head == r.tail || moved >= min(step, pipe_out_step(r)));
}

/**
 * pipe_poll_state_wake - wake the EPOLLSTATE registrations of a pipe
 * @wq: pipe->rd_wait or pipe->wr_wait
 *
 * Only pollers are woken, and of these only who asked for EPOLLSTATE.  They are
 * not exclusive, and so come before all who are.
 *
 * Context: process context, pipe->mutex may be held.
 */
void pipe_poll_state_wake(struct wait_queue_head *wq)
{
	wait_queue_entry_t *entry, *next;
	unsigned long flags;

	spin_lock_irqsave(&wq->lock, flags);
	list_for_each_entry_safe(entry, next, &wq->head, entry) {
		if (entry->flags & WQ_FLAG_EXCLUSIVE)
			break;
		if (entry->func != autoremove_wake_function)
			entry->func(entry, TASK_INTERRUPTIBLE, 0,
				    poll_to_key(EPOLLSTATE));
	}
	spin_unlock_irqrestore(&wq->lock, flags);
}

/**
 * __pipe_poll_state_drained - wake for space that came back, if it is enough
 * @pipe: a pipe with poll_state set, from which was read
 *
 * Context: process context, without pipe->mutex.
 */
void __pipe_poll_state_drained(struct pipe_inode_info *pipe)
{
	if (!pipe_space_is_news(pipe_ring(pipe), READ_ONCE(pipe->poll_base),
				U32_MAX))
		return;
	WRITE_ONCE(pipe->poll_state, false);
	pipe_poll_state_wake(&pipe->wr_wait);
}

/**
 * __pipe_poll_state_merge - add bytes to the last slot, and say so, in one go
 * @pipe: a pipe whose read end was asked for its state
 * @buf: its last slot
 * @n: bytes that were copied behind those of the slot
 *
 * Context: process context, pipe->mutex held.
 */
void __pipe_poll_state_merge(struct pipe_inode_info *pipe,
			     struct pipe_buffer *buf, u32 n)
{
	spin_lock_irq(&pipe->rd_wait.lock);
	WRITE_ONCE(buf->len, buf->len + n);
	WRITE_ONCE(pipe->poll_merged, pipe->poll_merged + n);
	spin_unlock_irq(&pipe->rd_wait.lock);
}

/*
 * Ask pipe_read() to wake for space, counting from what was told.  What the
 * caller samples afterwards is safe against a read in between.  rd_wait.lock.
 */
static void pipe_poll_state_arm(struct pipe_inode_info *pipe,
				const struct poll_state *told)
{
	struct pipe_ring r = pipe_ring(pipe);
	u32 base = told->out_pos;

	/* About to be told: count from here. */
	if (told->kind == POLL_STATE_NONE ||
	    pipe_space_is_news(r, base, told->out_step))
		base = pipe_out_pos(r);

	if (!READ_ONCE(pipe->poll_state) ||
	    (s32)(base - READ_ONCE(pipe->poll_base)) < 0)
		WRITE_ONCE(pipe->poll_base, base);
	/* The base before the flag that makes it count. */
	smp_store_release(&pipe->poll_state, true);
	/* Pairs with the barrier in pipe_poll_state_drained(). */
	smp_mb();
}

static u32 pipe_in_pos(const struct pipe_inode_info *pipe, struct pipe_ring r,
		       const struct poll_state *told)
{
	/* No wider than what the ring counts with: it wraps where that does. */
	u32 head = (typeof(pipe->head))(r.origin + r.head);
	u32 pos = head * GOLDEN_RATIO_32 + READ_ONCE(pipe->poll_merged);

	/*
	 * A last slot without data is one that is being filled, or failed; it
	 * is being emptied if it was told of.
	 */
	if (r.head != r.tail && pos != told->in_pos &&
	    !READ_ONCE(pipe_buf(pipe, r.head - 1)->len))
		pos -= GOLDEN_RATIO_32;
	/* Pairs with pipe_poll_state_merge(): the position, then the bytes. */
	smp_rmb();
	return pos;
}

/*
 * Fill in what is in the slots: bytes in all, what one read returns, packets.
 * Returns whether there was one without data that is not the last.
 */
static bool pipe_count(const struct pipe_inode_info *pipe, struct pipe_ring r,
		       fmode_t mode, struct poll_state *ps)
{
	bool reads = mode & FMODE_READ, whole = reads;
	bool hole = false, rest = false;
	unsigned int n;

	/* Much has happened since the tail was read. */
	n = min(pipe_occupancy(r.head, r.tail), pipe->ring_size);

	for (; n; n--) {
		const struct pipe_buffer *buf = pipe_buf(pipe, r.head - n);
		/* The length, then whether it is that of a packet. */
		u32 len = smp_load_acquire(&buf->len);

		if (unlikely(!len && n > 1))
			hole = true;
		if (mode & FMODE_WRITE)
			ps->outq += len;
		if (whole)
			ps->rcv += len;
		/* Without data it is no packet, but a write that failed. */
		if (!len)
			continue;
		rest = !(READ_ONCE(buf->flags) & PIPE_BUF_FLAG_PACKET);
		if (!rest) {
			whole = false;
			ps->msgs += reads;
		}
	}
	/* One more read for what is behind the last packet. */
	if (rest && reads && !whole)
		ps->msgs++;
	return hole;
}

/*
 * Fill in @ps for a file open for @mode whose events are @mask; with @out the
 * caller asked for EPOLLOUT.  rd_wait.lock.
 */
static void pipe_sample(const struct pipe_inode_info *pipe, fmode_t mode,
			__poll_t mask, bool out, struct poll_state *ps)
{
	struct poll_state *told = ps->told;
	unsigned int used, tries = 4;
	struct pipe_ring r;
	bool hole;

	do {
		r = pipe_ring(pipe);
		*ps = (struct poll_state){ .told = told };
		if (mode & FMODE_READ)
			ps->in_pos = pipe_in_pos(pipe, r, told);
		hole = pipe_count(pipe, r, mode, ps);
		/* The bytes, then the position once more. */
		smp_rmb();
	} while ((mode & FMODE_READ) && --tries &&
		 ps->in_pos != pipe_in_pos(pipe, pipe_ring(pipe), told));

	/* Not there yet, see the banner: a position that no merge leads to. */
	if (unlikely(hole) && ps->in_pos != told->in_pos)
		ps->in_pos -= 1U << 31;
	ps->kind = POLL_STATE_COUNTED;
	if (!(mode & FMODE_WRITE))
		return;

	ps->out_pos = pipe_out_pos(r);
	ps->out_step = pipe_out_step(r);
	used = pipe_occupancy(r.head, r.tail);
	if (mask & EPOLLERR)
		ps->error = EPIPE;
	else if (used < r.usage)
		ps->snd = (r.usage - used) << PAGE_SHIFT;

	/* Another size, or readers again: no position shows that. */
	if (told->kind != POLL_STATE_NONE && !ps->error &&
	    ((out && told->out_step != ps->out_step) || told->error))
		ps->kind = POLL_STATE_UNCOUNTED;
}

/**
 * pipe_poll_state - pipe_poll() for an EPOLLSTATE registration
 * @file: an end of the pipe
 * @wait: a poll table that wants the state
 *
 * Context: process context under ep->mtx; does not sleep.  Interrupts are off
 * for as long as it takes to look at all slots, 256 unless root allows more.
 * Return: what pipe_poll() returns.
 */
__poll_t pipe_poll_state(struct file *file, struct poll_table_struct *wait)
{
	struct poll_state *ps = poll_table_take_state(wait);
	struct pipe_inode_info *pipe = file->private_data;
	__poll_t mask;
	bool out;

	if (pipe_has_watch_queue(pipe))
		return vfs_poll(file, wait);
	if (!ps->told) {
		ps->kind = POLL_STATE_COUNTED;
		if (file->f_mode & FMODE_READ)
			WRITE_ONCE(pipe->poll_in, true);
		return 0;
	}

	out = (file->f_mode & FMODE_WRITE) &&
	      (poll_requested_events(wait) &
	       (EPOLLOUT | EPOLLWRNORM | EPOLLWRBAND));
	if (out) {
		spin_lock_irq(&pipe->rd_wait.lock);
		pipe_poll_state_arm(pipe, ps->told);
		spin_unlock_irq(&pipe->rd_wait.lock);
	}

	mask = vfs_poll(file, wait);
	/* Bytes after the end of file that the mask may tell of. */
	smp_rmb();

	spin_lock_irq(&pipe->rd_wait.lock);
	pipe_sample(pipe, file->f_mode, mask, out, ps);
	spin_unlock_irq(&pipe->rd_wait.lock);

	if (ps->rcv)
		mask |= EPOLLIN | EPOLLRDNORM;
	if (ps->snd)
		mask |= EPOLLOUT | EPOLLWRNORM;
	return mask;
}
