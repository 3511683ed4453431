// SPDX-License-Identifier: BSD-3-Clause OR GPL-2.0
/*
 * The system calls of the server, counted.
 *
 * The time stamp counter, which counts instructions in a guest with -icount,
 * is read on the way into and out of each: what lies between two calls is the
 * user's share. What took longer than any handler does was somebody else's.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include "peers.h"

#define PREEMPTED 1000000

struct calls calls;
static uint64_t left;

void call_enter(void)
{
	uint64_t spent = now() - left;

	if (spent < PREEMPTED)
		calls.user += spent;
}

void call_leave(void)
{
	left = now();
}

static void waste(unsigned long *count)
{
	++*count;
	mark("waste");
}

static ssize_t moved(ssize_t n)
{
	call_leave();
	if (n > 0)
		calls.data++;
	else if (n < 0 && errno == EAGAIN)
		waste(&calls.eagain);
	else
		waste(&calls.probes);
	return n;
}

void call_waited(void)
{
	call_leave();
	calls.waits++;
	mark("wake");
}

ssize_t call_recv(int fd, void *buf, size_t len)
{
	call_enter();
	return moved(recv(fd, buf, len, MSG_DONTWAIT));
}

ssize_t call_send(int fd, const void *buf, size_t len)
{
	call_enter();
	return moved(send(fd, buf, len, MSG_DONTWAIT | MSG_NOSIGNAL));
}

int call_accept(int fd)
{
	int new;

	call_enter();
	new = accept4(fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
	/* A descriptor may be 0, and is as good as a byte. */
	moved(new < 0 ? -1 : 1);
	return new;
}

int call_fionread(int fd)
{
	int n = 0;

	call_enter();
	ioctl(fd, FIONREAD, &n);
	call_leave();
	waste(&calls.fionread);
	return n;
}

int call_soerror(int fd)
{
	socklen_t len = sizeof(int);
	int err = 0;

	call_enter();
	getsockopt(fd, SOL_SOCKET, SO_ERROR, &err, &len);
	call_leave();
	waste(&calls.soerror);
	return err;
}

int call_ctl(int ep, int op, int fd, struct epoll_event *ev)
{
	int ret;

	call_enter();
	ret = epoll_ctl(ep, op, fd, ev);
	call_leave();
	if (op != EPOLL_CTL_ADD)
		waste(&calls.ctls);
	return ret;
}

int call_epoll_wait(int ep, struct epoll_event *slots, int n)
{
	call_enter();
	n = epoll_wait(ep, slots, n, -1);
	call_waited();
	return n;
}

/* The same for all peers, and not counted. */
void call_close(int fd)
{
	call_enter();
	close(fd);
	call_leave();
}
