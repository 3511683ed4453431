// SPDX-License-Identifier: GPL-2.0
/*
 * What files report whose reads and writes come in items of one size: eventfd,
 * timerfd, signalfd.
 *
 *	eventfd		8 bytes: one read takes the whole count.  A semaphore
 *			gives one token per read, so that msgs says how many
 *			reads there are
 *	timerfd		8 bytes: one read takes all expirations.  If the clock
 *			was set (TFD_TIMER_CANCEL_ON_SET) it says ECANCELED
 *	signalfd	128 bytes per signal that is pending, and one read
 *			takes them all; msgs is their number
 *
 * News
 * ----
 *
 * None of them has a cumulative count of what came in: two signals of an
 * eventfd that come with a read in between leave its counter as it was, and a
 * read sets the ticks of a timer to 0.  So every wake-up that finds the file
 * ready, for what was asked for, is a change.  One that does not is none: a
 * signalfd is woken by every signal of the process, not only by those of its
 * mask, and what is unreadable now was read by the caller itself.
 *
 * A timer that is set anew loses the expiration that was not read, without a
 * wake-up: that is the caller's own doing.
 *
 * Whose signals
 * -------------
 *
 * A signalfd has no queue of its own.  ->poll looks at the pending signals of
 * the task that calls it: here that is the one in epoll_wait(2), with those
 * sent to this thread alone, and read(2) by that same thread is what rcv is
 * about.  The wake-ups come from the process that made the registration.  If
 * the two differ (after a fork), nobody is told, as with any epoll.
 */
#include <linux/bitops.h>
#include <linux/event_poll_state.h>
#include <linux/eventfd.h>
#include <linux/poll.h>
#include <linux/sched/signal.h>
#include <uapi/linux/signalfd.h>

/*
 * @rcv and @snd: what one call reads and writes.  @events: what there is, news
 * if it is what @wait asks for.
 */
static void fixed_poll_fill(struct poll_state *ps, const poll_table *wait,
			    __poll_t events, u32 rcv, u32 snd, u32 msgs)
{
	ps->rcv = rcv;
	ps->snd = snd;
	ps->outq = 0;
	ps->msgs = msgs;
	ps->error = 0;
	ps->in_pos = 0;
	ps->out_pos = 0;
	ps->out_step = 0;
	/* Counted, with counters that never move: this wake-up is no news. */
	ps->kind = events & poll_requested_events(wait) ? POLL_STATE_UNCOUNTED :
							   POLL_STATE_COUNTED;
}

/**
 * fixed_poll_state - ->poll for an EPOLLSTATE registration, by size of an item
 * @file: the file, whose ->poll called this
 * @wait: a poll table that wants the state
 * @size: what a read returns or a write takes, in bytes
 *
 * Context: that of ->poll, under ep->mtx; does not sleep.
 * Return: what ->poll returns to others.
 */
__poll_t fixed_poll_state(struct file *file, poll_table *wait, u32 size)
{
	struct poll_state *ps = poll_table_take_state(wait);
	__poll_t events = vfs_poll(file, wait);

	fixed_poll_fill(ps, wait, events, events & EPOLLIN ? size : 0,
			events & EPOLLOUT ? size : 0, 0);
	return events;
}

/**
 * eventfd_poll_state - ->poll of an eventfd for an EPOLLSTATE registration
 * @file: the file, whose ->poll called this
 * @wait: a poll table that wants the state
 * @flags: its flags, EFD_SEMAPHORE perhaps among them
 * @count: its count
 *
 * Context: that of ->poll, under ep->mtx; does not sleep.
 * Return: what ->poll returns to others.
 */
__poll_t eventfd_poll_state(struct file *file, poll_table *wait,
			    unsigned int flags, const u64 *count)
{
	struct poll_state *ps = poll_table_take_state(wait);
	__poll_t events = vfs_poll(file, wait);
	u64 tokens = flags & EFD_SEMAPHORE ? READ_ONCE(*count) : 0;

	fixed_poll_fill(ps, wait, events, events & EPOLLIN ? sizeof(*count) : 0,
			events & EPOLLOUT ? sizeof(*count) : 0,
			min_t(u64, tokens, U32_MAX));
	return events;
}

/* Signals in @pending that are not in @others: what a signalfd would return. */
static u32 signals_pending(const struct sigpending *pending,
			   const sigset_t *others)
{
	const struct sigqueue *q;
	sigset_t wanted, seen;
	u32 n = 0;
	int i;

	sigandnsets(&wanted, &pending->signal, others);
	for (i = 0; i < _NSIG_WORDS; i++)
		n += hweight_long(wanted.sig[i]);
	if (!n)
		return 0;

	/* A real-time signal may be queued more than once. */
	sigemptyset(&seen);
	list_for_each_entry(q, &pending->list, list) {
		if (!sigismember(&wanted, q->info.si_signo))
			continue;
		if (sigismember(&seen, q->info.si_signo))
			n++;
		sigaddset(&seen, q->info.si_signo);
	}
	return n;
}

/**
 * signalfd_poll_state - ->poll of a signalfd for an EPOLLSTATE registration
 * @file: the file, whose ->poll called this
 * @wait: a poll table that wants the state
 * @mask: the signals that the signalfd is not for
 *
 * Context: that of ->poll, under ep->mtx; does not sleep.
 * Return: what ->poll returns to others.
 */
__poll_t signalfd_poll_state(struct file *file, poll_table *wait,
			     const sigset_t *mask)
{
	struct poll_state *ps = poll_table_take_state(wait);
	struct sighand_struct *sighand;
	__poll_t events;
	sigset_t others;
	u32 n;
	int i;

	/* Nobody but a task itself gives it another one. */
	sighand = rcu_dereference_protected(current->sighand, true);
	spin_lock_irq(&sighand->siglock);
	others = *mask;
	/*
	 * Those that the kernel forces on the task are not for reading.  (Linux
	 * 7.2 still reads them: another process that shares the handlers can.)
	 */
	for (i = 0; i < _NSIG; i++)
		if (sighand->action[i].sa.sa_flags & SA_IMMUTABLE)
			sigaddset(&others, i + 1);
	n = signals_pending(&current->pending, &others) +
	    signals_pending(&current->signal->shared_pending, &others);
	spin_unlock_irq(&sighand->siglock);

	events = n ? EPOLLIN : 0;
	fixed_poll_fill(ps, wait, events, n * sizeof(struct signalfd_siginfo),
			0, n);
	return events;
}
