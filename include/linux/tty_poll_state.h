/* SPDX-License-Identifier: GPL-2.0 */
/*
 * EPOLLSTATE for terminals: what the hooks in drivers/tty/n_tty.c call; see
 * fs/tty_poll_state.c.
 */
#ifndef _LINUX_TTY_POLL_STATE_H
#define _LINUX_TTY_POLL_STATE_H

#include <linux/hash.h>
#include <linux/jiffies.h>
#include <linux/poll.h>

struct tty_struct;

#ifdef CONFIG_EPOLLSTATE

/**
 * struct tty_poll_count - what a terminal has seen come and go
 * @flushed: times that input was flushed, and its heads began at 0 again
 *	(termios_rwsem for writing)
 * @drained: times that the other end of a pseudo-terminal was given room by a
 *	read or flush (one reader at a time, or termios_rwsem for writing)
 * @dropped: and by input that was thrown away (only the input worker)
 * @refused: writes that found no room (atomic_write_lock)
 *
 * Begins what N_TTY keeps of a terminal, so that the other end finds it.
 */
struct tty_poll_count {
	u32 flushed;
	u32 drained;
	u32 dropped;
	u32 refused;
};

void tty_poll_state(struct tty_struct *tty, u32 pos, u32 inq, __poll_t mask,
		    struct poll_table_struct *wait);

/*
 * N_TTY was set again: its heads begin at 0, as they may have before.  Time
 * makes the positions begin elsewhere.
 */
static inline void tty_poll_state_opened(struct tty_poll_count *count)
{
	count->flushed = (u32)jiffies;
	count->drained = (u32)jiffies;
}

static inline void tty_poll_state_flushed(struct tty_poll_count *count)
{
	WRITE_ONCE(count->drained, count->drained + 1);
	/* After the heads; pairs with tty_poll_state_pos(). */
	smp_store_release(&count->flushed, count->flushed + 1);
}

/* A position without end, of a head that begins at 0 again when flushed. */
static inline u32 tty_poll_state_pos(const struct tty_poll_count *count,
				     const size_t *head)
{
	/* A head from before a flush is not added to what comes after it. */
	u32 base = smp_load_acquire(&count->flushed) * GOLDEN_RATIO_32;

	/* The head, then the bytes before it. */
	return base + smp_load_acquire(head);
}

static inline void tty_poll_state_drained(struct tty_poll_count *count)
{
	WRITE_ONCE(count->drained, count->drained + 1);
}

static inline void tty_poll_state_dropped(struct tty_poll_count *count)
{
	WRITE_ONCE(count->dropped, count->dropped + 1);
}

static inline void tty_poll_state_refused(struct tty_poll_count *count)
{
	WRITE_ONCE(count->refused, count->refused + 1);
}

#else

struct tty_poll_count { };

static inline void tty_poll_state(struct tty_struct *tty, u32 pos, u32 inq,
				  __poll_t mask,
				  struct poll_table_struct *wait)
{
}

static inline void tty_poll_state_opened(struct tty_poll_count *count)
{
}

static inline void tty_poll_state_flushed(struct tty_poll_count *count)
{
}

static inline u32 tty_poll_state_pos(const struct tty_poll_count *count,
				     const size_t *head)
{
	return 0;
}

static inline void tty_poll_state_drained(struct tty_poll_count *count)
{
}

static inline void tty_poll_state_dropped(struct tty_poll_count *count)
{
}

static inline void tty_poll_state_refused(struct tty_poll_count *count)
{
}

#endif /* CONFIG_EPOLLSTATE */

#endif /* _LINUX_TTY_POLL_STATE_H */
