// SPDX-License-Identifier: GPL-2.0
/*
 * What a terminal with the N_TTY line discipline reports to an EPOLLSTATE
 * registration.  Other disciplines report nothing.
 *
 *	rcv	what TIOCINQ says: all lines that are complete, without the
 *		characters that end a file; all bytes if not canonical, however
 *		many VMIN waits for.  In packet mode also the byte that is put
 *		in front, and the one that tells of a change
 *	snd	what one write takes, whatever is in it
 *	outq	what TIOCOUTQ says; 0 for a pseudo-terminal, whose bytes are at
 *		the other end at once
 *
 * In canonical mode a read returns one line, or less: rcv is what several reads
 * return then.  0 with EPOLLIN means that an end of file was typed.  With a
 * VMIN of more than 64 a read returns no more than 64 bytes.  In packet mode the
 * byte that tells of a change is a read of its own; what is behind it counts,
 * as no further record would tell of it.
 *
 * snd is tty_write_room(), over the largest number of bytes that one may become
 * on output: eight if tabs are expanded, two otherwise with OPOST.  (Two, too,
 * if newlines stay as they are: output processing writes in pieces, and what
 * the pieces leave unused of a pseudo-terminal's buffers is lost until they are
 * read.)  Without OPOST n_tty_write() passes pieces of 2 KiB, and these cost a
 * pseudo-terminal no more than their size, since a buffer without flags holds
 * twice what is accounted for it.  Echo that did not fit yet goes first and is
 * not counted.  Nothing is promised after a hang-up, nor for a stopped
 * pseudo-terminal.
 *
 * Locks
 * -----
 *
 * termios_rwsem is slept under, so it is not taken.  Bytes are published by a
 * release of commit_head or canon_head, wake-ups follow.  This is called last in
 * n_tty_poll(), when the mask is known, so that a record with EPOLLHUP counts
 * the last byte:
 *
 *	n_tty_poll() (ep->mtx)			input (worker of the port)
 *	----------------------			--------------------------
 *						publish bytes
 *	mask: EPOLLIN, EPOLLHUP			wake read_wait
 *	count bytes
 *
 * A byte that was not counted is followed by its wake-up.
 *
 * What is news
 * ------------
 *
 * in_pos is the head that bytes or lines are published by.  Heads begin at 0 again
 * when input is flushed (tcflush(3), an interrupt character), which
 * tty_poll_state_pos() makes up for.
 *
 * Space on a pseudo-terminal comes back when the other end reads, flushes, or
 * throws away what is too long for a line.  The writer is woken with EPOLLOUT
 * then, full before or not: by each read that leaves no more than
 * TTY_THRESHOLD_UNTHROTTLE bytes in the input buffer of 4 KiB, so credit flows
 * back without our help.  But it is woken by the end of its own writes as well.
 * So the other end counts what it gave back, before it wakes, and out_pos is
 * that count; its buffers have no cumulative one.  A write that was refused
 * counts too, once there is room: the terminal may have been stopped and started
 * since it was told.
 *
 * A record comes for each of these wake-ups, which is as often as EPOLLET tells,
 * for the same reason: who reads little at a time does so without a counter.
 *
 * Drivers of real terminals count nothing.  There every wake-up is a change, the
 * one that ends a write included; and so it is while a status byte of packet mode
 * waits, and while the other end changes its line discipline.
 */
#include <linux/poll.h>
#include <linux/tty.h>
#include <linux/tty_poll_state.h>

/* What N_TTY holds for its readers: N_TTY_BUF_SIZE, which only n_tty.c knows. */
#define TTY_INPUT_MAX	4096

/* Bytes that one may become on output, whatever it is. */
static u32 tty_out_factor(const struct tty_struct *tty)
{
	if (!O_OPOST(tty))
		return 1;
	return O_TABDLY(tty) == XTABS ? 8 : 2;
}

/* Bytes that reads return when @inq are queued, if all are read by one. */
static u32 tty_rcv_bytes(const struct tty_struct *tty, u32 inq)
{
	if (!tty->ctrl.packet || !tty->link)
		return inq;
	if (inq && !L_ICANON(tty))
		inq++;
	return inq + !!READ_ONCE(tty->link->ctrl.pktstatus);
}

/*
 * Where @tty is with its output: in eighths, of which a step is as many as one
 * byte may need.  Returns false if that is not known.
 */
static bool tty_out_pos(struct tty_struct *tty, u32 *pos)
{
	const struct tty_poll_count *own = tty->disc_data, *peer;
	struct tty_ldisc *ld;
	bool same;

	if (tty->driver->type != TTY_DRIVER_TYPE_PTY || !tty->link)
		return false;
	/* Never sleeps: the discipline is being changed if there is none. */
	ld = tty_ldisc_ref(tty->link);
	if (!ld)
		return false;

	same = ld->ops->poll == tty->ldisc->ops->poll;
	if (same) {
		peer = tty->link->disc_data;
		*pos = 8 * (READ_ONCE(peer->drained) +
			    READ_ONCE(peer->dropped) +
			    READ_ONCE(own->refused));
	}
	tty_ldisc_deref(ld);
	return same;
}

/**
 * tty_poll_state - report the state of a terminal, if that is wanted
 * @tty: the terminal, whose line discipline is N_TTY
 * @pos: position up to which input can be read
 * @inq: bytes to be read, at least up to @pos
 * @mask: its events
 * @wait: a poll table that wants the state
 *
 * Context: process context under ep->mtx, the line discipline referenced; does
 * not sleep.
 */
void tty_poll_state(struct tty_struct *tty, u32 pos, u32 inq, __poll_t mask,
		    struct poll_table_struct *wait)
{
	struct poll_state *ps = poll_table_take_state(wait);
	struct poll_state *told = ps->told;

	*ps = (struct poll_state){ .told = told, .kind = POLL_STATE_COUNTED };
	if (!tty_out_pos(tty, &ps->out_pos) ||
	    (tty->ctrl.packet && tty->link &&
	     READ_ONCE(tty->link->ctrl.pktstatus)))
		ps->kind = POLL_STATE_UNCOUNTED;
	/* Head and tail, not read at once: a flush, or a reader, was quicker. */
	if (inq > TTY_INPUT_MAX)
		inq = 0;
	/* The position, then what it says has come back. */
	smp_rmb();

	ps->in_pos = pos;
	ps->rcv = tty_rcv_bytes(tty, inq);
	ps->out_step = tty_out_factor(tty);
	if (tty->ops->write && !(mask & EPOLLHUP))
		ps->snd = tty_write_room(tty) / ps->out_step;
	ps->outq = tty_chars_in_buffer(tty);
	/* Nothing came back yet: a write that was refused waits to be told. */
	if (!ps->snd && told && told->kind != POLL_STATE_NONE)
		ps->out_pos = told->out_pos;

	/* Other settings. */
	if (told && told->kind != POLL_STATE_NONE &&
	    told->out_step != ps->out_step)
		ps->kind = POLL_STATE_UNCOUNTED;
}
