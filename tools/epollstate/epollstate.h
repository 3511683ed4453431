/* SPDX-License-Identifier: BSD-3-Clause OR GPL-2.0 */
/*
 * epollstate.h - EPOLLSTATE for applications: copy this file into your program
 *
 * A file registered with EPOLLSTATE is reported not by a mere event but by a
 * record: how many bytes can be read and written now, how many have not left
 * yet, the pending error.  A record fills four consecutive slots of the array
 * that epoll_wait() fills; the slots after the first have .events == 0.
 *
 *	struct epoll_event ev = { .data.ptr = conn };
 *
 *	ev.events = EPOLLIN | EPOLLOUT | EPOLLRDHUP | EPOLLSTATE | EPOLLET;
 *	epoll_ctl(epfd, EPOLL_CTL_ADD, fd, &ev);	// once, never again
 *	...
 *	n = epoll_wait(epfd, slots, NSLOTS, -1);
 *	for (i = 0; i < n; i = epollstate_next(slots, n, i)) {
 *		conn = slots[i].data.ptr;
 *		epollstate_store(&conn->state, &slots[i]);
 *		// conn->state.rcv bytes can be read, .snd bytes written
 *	}
 *
 * A kernel without EPOLLSTATE ignores the bit and delivers edge-triggered
 * events, because EPOLLET stands beside it.  epollstate_store() then notes
 * EPOLLSTATE_UNKNOWN in place of the counts: more than any buffer holds, so
 * that the same code goes on until read() and write() say EAGAIN.
 *
 * C11 or later, C++17 or later; GCC or clang.  <linux/epoll_state.h> may be
 * included as well, before or after this file.  Not thread-safe by itself: a
 * stored record is guarded by whatever guards the connection it belongs to,
 * from the read or write to the epollstate_did_...() that goes with it.
 */
#ifndef EPOLLSTATE_H
#define EPOLLSTATE_H

#include <assert.h>
#include <errno.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/types.h>
#include <unistd.h>

/* Ask epoll_ctl() for records; set in the first slot of each record. */
#ifndef EPOLLSTATE
#define EPOLLSTATE (1U << 26)
#endif

#ifndef EPOLL_STATE_SLOTS
/* Slots that a record fills.  A later kernel may append some. */
#define EPOLL_STATE_SLOTS 4

/* All that the kernel's header would add is here. */
#define _LINUX_EPOLL_STATE_H
#define _UAPI_LINUX_EPOLL_STATE_H

#if defined(__x86_64__) || defined(__i386__)
#define EPOLLSTATE_PACKED __packed__,
#else
#define EPOLLSTATE_PACKED
#endif

/**
 * struct epoll_state - what the kernel knows about a file, in one record
 * @events:	ready events, with EPOLLSTATE set
 * @data:	what the registration gave as data, untouched
 * @rcv:	bytes that can be received now; where messages are received,
 *		bytes of the next one; see epollstate_eof()
 * @snd:	bytes that can be sent now
 * @outq:	bytes accepted for sending that have not left: not acknowledged
 *		(TCP), not consumed by the peer (local); 0: all gone
 * @msgs:	messages that wait to be received, or connections that wait to
 *		be accepted; 0 for byte streams
 * @error:	the pending error as a positive errno, not consumed; or 0
 * @seq:	number of this record, counted from 0 since the registration
 *
 * It lies over EPOLL_STATE_SLOTS elements of struct epoll_event, which may be
 * less aligned than its members: do not take the address of a member.
 */
struct epoll_state {
	uint32_t events;
	epoll_data_t data;
	uint32_t __cont1;
	__extension__ union {
		uint64_t __data1;
		struct {
			uint32_t rcv;
			uint32_t snd;
		};
	};
	uint32_t __cont2;
	__extension__ union {
		uint64_t __data2;
		struct {
			uint32_t outq;
			uint32_t msgs;
		};
	};
	uint32_t __cont3;
	__extension__ union {
		uint64_t __data3;
		struct {
			uint32_t error;
			uint32_t seq;
		};
	};
} __attribute__((EPOLLSTATE_PACKED __may_alias__));
#endif /* EPOLL_STATE_SLOTS */

#define EPOLLSTATE_DATA_(slot) \
	((slot) * sizeof(struct epoll_event) + offsetof(struct epoll_event, data))

static_assert(sizeof(struct epoll_state) ==
	      EPOLL_STATE_SLOTS * sizeof(struct epoll_event), "record size");
static_assert(offsetof(struct epoll_state, events) ==
	      offsetof(struct epoll_event, events), "place of events");
static_assert(offsetof(struct epoll_state, data) == EPOLLSTATE_DATA_(0),
	      "place of data");
static_assert(offsetof(struct epoll_state, rcv) == EPOLLSTATE_DATA_(1),
	      "place of rcv");
static_assert(offsetof(struct epoll_state, snd) == EPOLLSTATE_DATA_(1) + 4,
	      "place of snd");
static_assert(offsetof(struct epoll_state, outq) == EPOLLSTATE_DATA_(2),
	      "place of outq");
static_assert(offsetof(struct epoll_state, msgs) == EPOLLSTATE_DATA_(2) + 4,
	      "place of msgs");
static_assert(offsetof(struct epoll_state, error) == EPOLLSTATE_DATA_(3),
	      "place of error");
static_assert(offsetof(struct epoll_state, seq) == EPOLLSTATE_DATA_(3) + 4,
	      "place of seq");

#undef EPOLLSTATE_DATA_

/* A count that an ordinary event did not tell: go on until EAGAIN. */
#define EPOLLSTATE_UNKNOWN UINT32_MAX

/**
 * epollstate_next - step over a slot array that may mix records and events
 * @slots:	the array epoll_wait() has filled
 * @n:		what epoll_wait() returned, in slots
 * @i:		index of the first slot of a record, or of an ordinary event
 *
 * Return: index of the next record or ordinary event, @n after the last one.
 */
static inline int epollstate_next(const struct epoll_event *slots, int n, int i)
{
	i += slots[i].events & EPOLLSTATE ? EPOLL_STATE_SLOTS : 1;
	while (i < n && !slots[i].events)
		i++;
	return i < n ? i : n;
}

/**
 * epollstate_record - the record that begins at a slot
 * @slot:	first slot of a record, or an ordinary event
 *
 * Return: the record, which lives as long as the slot array does; NULL for an
 * ordinary event.
 */
static inline const struct epoll_state *
epollstate_record(const struct epoll_event *slot)
{
	const void *record = slot;

	if (!(slot->events & EPOLLSTATE))
		return NULL;
	return (const struct epoll_state *)record;
}

/**
 * epollstate_store - keep what a slot tells about a file
 * @state:	where the caller keeps the latest state of this file, all zero
 *		before the first event
 * @slot:	first slot of a record, or an ordinary event
 *
 * A record replaces @state.  An ordinary edge event turns the counts of the
 * directions that it speaks of into EPOLLSTATE_UNKNOWN.
 *
 * Return: 1 if it was a record, 0 if it was an ordinary event.
 */
static inline int epollstate_store(struct epoll_state *state,
				   const struct epoll_event *slot)
{
	const struct epoll_state *record = epollstate_record(slot);

	if (record) {
		*state = *record;
		return 1;
	}
	state->events = slot->events;
	memcpy(&state->data, &slot->data, sizeof(state->data));
	if (slot->events & ~(uint32_t)(EPOLLOUT | EPOLLWRNORM | EPOLLWRBAND)) {
		state->rcv = EPOLLSTATE_UNKNOWN;
		state->msgs = EPOLLSTATE_UNKNOWN;
	}
	if (slot->events & (EPOLLOUT | EPOLLWRNORM | EPOLLWRBAND |
			    EPOLLERR | EPOLLHUP))
		state->snd = EPOLLSTATE_UNKNOWN;
	state->outq = 0;
	state->error = 0;
	return 0;
}

/* Was a call that returned @ret refused for want of data, or of room? */
static inline int epollstate_refused(ssize_t ret)
{
	return ret < 0 && errno == EAGAIN;
}

/**
 * epollstate_did_read - account for the caller's own read from a stream
 * @state:	the stored state
 * @ret:	what read() or recv() returned, -1 included; errno is as it left
 *		it
 *
 * The kernel does not report what the caller does itself; this subtracts it.
 * After EAGAIN or the end of file nothing is left until the next event.  Any
 * other error took nothing away.
 */
static inline void epollstate_did_read(struct epoll_state *state, ssize_t ret)
{
	if (ret == 0 || epollstate_refused(ret))
		state->rcv = 0;
	else if (ret > 0 && state->rcv != EPOLLSTATE_UNKNOWN)
		state->rcv -= (size_t)ret < state->rcv ? (uint32_t)ret
						       : state->rcv;
}

/**
 * epollstate_did_receive - account for a message that the caller received
 * @state:	the stored state of a datagram or seqpacket socket
 * @ret:	what recv() returned, -1 included; errno is as it left it
 *
 * A record tells how many messages wait, and the length of the first.  As long
 * as @state->msgs is not 0 afterwards there is another one; how long it is,
 * is not known (EPOLLSTATE_UNKNOWN in @state->rcv).  An error other than
 * EAGAIN was no message.
 */
static inline void epollstate_did_receive(struct epoll_state *state,
					  ssize_t ret)
{
	if (epollstate_refused(ret))
		state->msgs = 0;
	else if (ret >= 0 && state->msgs && state->msgs != EPOLLSTATE_UNKNOWN)
		state->msgs--;
	if (!state->msgs)
		state->rcv = 0;
	else if (ret >= 0)
		state->rcv = EPOLLSTATE_UNKNOWN;
}

/**
 * epollstate_did_write - account for the caller's own write
 * @state:	the stored state
 * @len:	how many bytes write() or send() was given
 * @ret:	what it returned, -1 included; errno is as it left it
 *
 * After a short write or EAGAIN there is no room until the next event.  Any
 * other error took no room.
 */
static inline void epollstate_did_write(struct epoll_state *state, size_t len,
					ssize_t ret)
{
	if (ret > 0 && state->snd != EPOLLSTATE_UNKNOWN)
		state->outq += (uint32_t)ret;
	if (epollstate_refused(ret) || (ret >= 0 && (size_t)ret < len))
		state->snd = 0;
	else if (ret > 0 && state->snd != EPOLLSTATE_UNKNOWN)
		state->snd -= (size_t)ret < state->snd ? (uint32_t)ret
						       : state->snd;
}

/**
 * epollstate_eof - is this the end of file, with everything before it read?
 * @state:	the stored state of a stream, registered with EPOLLRDHUP
 *
 * A socket tells of the end by EPOLLRDHUP, a pipe or a terminal by EPOLLHUP.
 *
 * Return: whether a read would return 0, or fail as it does on a terminal that
 * was hung up.
 */
static inline int epollstate_eof(const struct epoll_state *state)
{
	return state->events & (EPOLLRDHUP | EPOLLHUP) && !state->rcv;
}

/**
 * epollstate_newer - order two records of one registration
 * @a:	a record
 * @b:	another one, perhaps stored by another thread; all zero if there was
 *	none yet
 *
 * Return: whether @a was sampled after @b.
 */
static inline int epollstate_newer(const struct epoll_state *a,
				   const struct epoll_state *b)
{
	return !(b->events & EPOLLSTATE) || (int32_t)(a->seq - b->seq) > 0;
}

/**
 * epollstate_supported - ask in advance whether the kernel knows EPOLLSTATE
 *
 * Not needed to be correct: the events themselves tell.  Every registration
 * begins with a record, so one of an eventfd that nothing has happened to is
 * enough.
 *
 * Return: 1 if it does, 0 if not, a negative errno if that could not be found
 * out (EMFILE, for example).
 */
static inline int epollstate_supported(void)
{
	struct epoll_event slots[4 * EPOLL_STATE_SLOTS], ev;
	int epfd, evfd, n, ret;

	epfd = epoll_create1(EPOLL_CLOEXEC);
	if (epfd < 0)
		return -errno;
	evfd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (evfd < 0) {
		ret = -errno;
		goto out;
	}
	ev.events = EPOLLOUT | EPOLLSTATE | EPOLLET;
	ev.data.u64 = 0;
	if (epoll_ctl(epfd, EPOLL_CTL_ADD, evfd, &ev) < 0) {
		ret = errno == EINVAL || errno == EOPNOTSUPP ? 0 : -errno;
		goto out;
	}
	do
		n = epoll_wait(epfd, slots, 4 * EPOLL_STATE_SLOTS, 0);
	while (n < 0 && errno == EINTR);
	if (n < 0)
		ret = -errno;
	else
		ret = n >= EPOLL_STATE_SLOTS && epollstate_record(slots) != NULL;
out:
	if (evfd >= 0)
		close(evfd);
	close(epfd);
	return ret;
}

#endif /* EPOLLSTATE_H */
