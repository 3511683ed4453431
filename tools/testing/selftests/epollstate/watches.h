/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Watches as a measure of memory: every registration is charged to the user
 * that created the epoll, one of EPOLLSTATE twice.  With a user of our own,
 * whether all of it came back can be asked to the unit.
 */

#ifndef _EPOLLSTATE_WATCHES_H
#define _EPOLLSTATE_WATCHES_H

#include "common.h"

#define ES_LIMIT_FILE	"/proc/sys/fs/epoll/max_user_watches"
#define ES_UID		54321

/* An epoll whose watches are paid by our user; needs root. */
static inline int es_other_epoll(void)
{
	int ep;

	if (setresuid(ES_UID, ES_UID, 0))
		return -1;
	ep = epoll_create1(EPOLL_CLOEXEC);
	if (setresuid(0, 0, 0))
		return -1;
	return ep;
}

static inline int es_set_watch_limit(const char *text)
{
	return es_write_file(ES_LIMIT_FILE, text);
}

/*
 * True iff the user of @ep has no watch at all: two, and not three, can be had
 * where two are allowed.  @mute is a file that cannot report.
 */
static inline bool es_watches_back(int ep, int mute)
{
	const int other = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
	char saved[32];
	bool ok;

	ok = other >= 0 &&
	     es_read_file(ES_LIMIT_FILE, saved, sizeof(saved)) > 0 &&
	     !es_set_watch_limit("2");
	if (ok) {
		ok = !es_add(ep, other, EPOLLIN | EPOLLSTATE) &&
		     es_add(ep, mute, EPOLLIN) == -ENOSPC &&
		     !es_ctl(ep, EPOLL_CTL_DEL, other, 0, 0);
		es_set_watch_limit(saved);
	}
	close(other);
	return ok;
}

/* A file that epoll takes, and that cannot report its state. */
static inline int es_mute_file(void)
{
	return syscall(SYS_pidfd_open, getpid(), 0);
}

#endif /* _EPOLLSTATE_WATCHES_H */
