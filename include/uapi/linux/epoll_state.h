/* SPDX-License-Identifier: GPL-2.0 WITH Linux-syscall-note */
/*
 * EPOLLSTATE: epoll_wait(2) delivers records that carry the state of a file.
 * See Documentation/userspace-api/epollstate.rst.
 *
 * Part of <linux/eventpoll.h>; on its own it goes together with the C
 * library's <sys/epoll.h>.
 */
#ifndef _UAPI_LINUX_EPOLL_STATE_H
#define _UAPI_LINUX_EPOLL_STATE_H

#include <linux/types.h>

/* Ask epoll_ctl(2) for records; set in the first slot of each record. */
#define EPOLLSTATE	((__force __poll_t)(1U << 26))

/* A record takes as many slots of struct epoll_event. */
#define EPOLL_STATE_SLOTS 4

/* As struct epoll_event: on x86-64 the layout of a 32-bit process. */
#ifdef __x86_64__
#define EPOLL_STATE_PACKED __attribute__((packed))
#else
#define EPOLL_STATE_PACKED
#endif

/**
 * struct epoll_state - a record, as it lies over its slots
 * @events: slot 0, ready events, with EPOLLSTATE set
 * @data: slot 0, the caller's cookie
 * @__cont1: slot 1, 0: not the start of an event
 * @__data1: slot 1, its two fields as one word
 * @rcv: bytes of payload that can be received now, without a FIN
 * @snd: bytes of payload that can be sent now
 * @__cont2: slot 2, 0
 * @__data2: slot 2, its two fields as one word
 * @outq: bytes of payload accepted for sending that have not left
 * @msgs: complete messages, or connections to accept, that are queued
 * @__cont3: slot 3, 0
 * @__data3: slot 3, its two fields as one word
 * @error: pending error as a positive errno, not consumed; 0 if none
 * @seq: number of the record in its registration, from 0, modulo 2^32
 */
struct epoll_state {
	__poll_t events;
	__u64 data;
	__poll_t __cont1;
	union {
		__u64 __data1;
		struct {
			__u32 rcv;
			__u32 snd;
		};
	};
	__poll_t __cont2;
	union {
		__u64 __data2;
		struct {
			__u32 outq;
			__u32 msgs;
		};
	};
	__poll_t __cont3;
	union {
		__u64 __data3;
		struct {
			__u32 error;
			__u32 seq;
		};
	};
} EPOLL_STATE_PACKED;

#endif /* _UAPI_LINUX_EPOLL_STATE_H */
