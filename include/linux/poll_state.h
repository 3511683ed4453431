/* SPDX-License-Identifier: GPL-2.0 */
/*
 * What a file tells about itself when it is polled for EPOLLSTATE.
 *
 * Included by <linux/poll.h>, which is what users include.  The consumer is
 * fs/epollstate.c; the functions that fill a struct poll_state ("providers")
 * live next to the subsystem of the file, in *_poll_state.c.
 */
#ifndef _LINUX_POLL_STATE_H
#define _LINUX_POLL_STATE_H

#include <linux/container_of.h>
#include <linux/types.h>

/**
 * enum poll_state_kind - how the changes of a file are told apart
 * @POLL_STATE_NONE: the file did not report: it cannot, or not any more
 * @POLL_STATE_COUNTED: @in_pos and @out_pos are cumulative, so that a wake-up
 *	without a change is recognised
 * @POLL_STATE_UNCOUNTED: there are no such counters, every wake-up is taken
 *	for a change
 */
enum poll_state_kind {
	POLL_STATE_NONE,
	POLL_STATE_COUNTED,
	POLL_STATE_UNCOUNTED,
};

/**
 * struct poll_state - what a file reports about its queues
 * @told: what was last handed to the application; set by the caller, NULL when
 *	the file is only asked whether it can report
 * @kind: filled in last; leaving it alone means "cannot report"
 * @seen: the provider's own, here and in @told: what it saw when it last looked
 * @rcv: bytes of payload that a non-blocking read returns now
 * @snd: bytes of payload that a non-blocking write accepts now
 * @outq: bytes of payload accepted for sending that have not left
 * @msgs: complete messages, or connections to accept, that are queued
 * @error: pending error as a positive errno, not consumed
 * @in_pos: changes with every byte or message that comes in (modulo 2^32)
 * @out_pos: grows with every byte that leaves the send queue (modulo 2^32)
 * @out_step: how far @out_pos has to move to be worth a record of its own,
 *	while something is still queued
 *
 * A provider runs in process context, inside ->poll, with the mutex of the
 * polling epoll held.  It must not sleep and must not take a lock under which
 * others sleep; it arms whatever wake-up it depends on before it samples.
 *
 * The hook is two lines of ->poll, at its top unless the provider needs what is
 * found out first: if poll_wants_state(), return what the provider says.  The
 * provider takes the question off the table; then it calls ->poll once more for
 * the mask, or is handed it, and samples.
 */
struct poll_state {
	struct poll_state	*told;
	enum poll_state_kind	kind;
	u32			seen;
	u32			rcv;
	u32			snd;
	u32			outq;
	u32			msgs;
	u32			error;
	u32			in_pos;
	u32			out_pos;
	u32			out_step;
};

/**
 * struct poll_state_table - a poll table that asks for the state of the file
 * @ps: where the file reports
 * @pt: what ->poll gets; @pt._asks_state is set, no other table has it set
 */
struct poll_state_table {
	struct poll_state	*ps;
	poll_table		pt;
};

#ifdef CONFIG_EPOLLSTATE

/* True iff the caller of ->poll wants the file to report its state. */
static inline bool poll_wants_state(const poll_table *p)
{
	return p && p->_asks_state;
}

/* For a poll_table that is not in a struct poll_state_table. */
static inline void poll_table_no_state(poll_table *p)
{
	p->_asks_state = false;
}

/* For the provider: where to report.  The table then asks for no more. */
static inline struct poll_state *poll_table_take_state(poll_table *p)
{
	p->_asks_state = false;
	return container_of_const(p, struct poll_state_table, pt)->ps;
}

/* fs/fixed_poll_state.c */
__poll_t fixed_poll_state(struct file *file, poll_table *wait, u32 size);

#else

static inline bool poll_wants_state(const poll_table *p)
{
	return false;
}

static inline void poll_table_no_state(poll_table *p)
{
}

static inline struct poll_state *poll_table_take_state(poll_table *p)
{
	return NULL;
}

static inline __poll_t fixed_poll_state(struct file *file, poll_table *wait,
					u32 size)
{
	return 0;
}

#endif /* CONFIG_EPOLLSTATE */

#endif /* _LINUX_POLL_STATE_H */
