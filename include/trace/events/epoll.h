/* SPDX-License-Identifier: GPL-2.0 */
#undef TRACE_SYSTEM
#define TRACE_SYSTEM epoll

#if !defined(_TRACE_EPOLL_H) || defined(TRACE_HEADER_MULTI_READ)
#define _TRACE_EPOLL_H

#include <linux/poll.h>
#include <linux/tracepoint.h>

/**
 * epoll_state - a record was delivered to an EPOLLSTATE registration
 * @events: slot 0, with EPOLLSTATE set
 * @data: the caller's cookie
 * @ps: the counts of the record
 * @seq: number of the record in its registration
 *
 * Context: process context, under ep->mtx, after the copy to user space.
 */
TRACE_EVENT(epoll_state,

	TP_PROTO(__poll_t events, u64 data, const struct poll_state *ps,
		 u32 seq),

	TP_ARGS(events, data, ps, seq),

	TP_STRUCT__entry(
		__field(u64, data)
		__field(u32, events)
		__field(u32, rcv)
		__field(u32, snd)
		__field(u32, outq)
		__field(u32, msgs)
		__field(u32, error)
		__field(u32, seq)
	),

	TP_fast_assign(
		__entry->data = data;
		__entry->events = (__force u32)events;
		__entry->rcv = ps->rcv;
		__entry->snd = ps->snd;
		__entry->outq = ps->outq;
		__entry->msgs = ps->msgs;
		__entry->error = ps->error;
		__entry->seq = seq;
	),

	TP_printk("events=0x%x data=0x%llx rcv=%u snd=%u outq=%u msgs=%u error=%u seq=%u",
		  __entry->events, __entry->data, __entry->rcv, __entry->snd,
		  __entry->outq, __entry->msgs, __entry->error, __entry->seq)
);

#endif /* _TRACE_EPOLL_H */

/* This part must be outside protection */
#include <trace/define_trace.h>
