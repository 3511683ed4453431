// SPDX-License-Identifier: GPL-2.0
/*
 * A fuzzer: processes with threads that make random calls, most of them nearly
 * right, on epolls and on files of all types, and look at whatever a wait
 * returns.  What it is after are reports of the kernel, and arrays that are not
 * well formed.
 *
 *	fuzz [-t SECONDS] [-n STEPS] [-s SEED] [-p PROCESSES] [-T THREADS] [-v]
 *
 * A step comes from the seed alone, whatever the calls returned.  Process k has
 * the seed SEED + k, so "-p 1 -s SEED+k -n STEPS" repeats its steps; with -T 1
 * and -v, which prints them, in the same order as well.
 */
#include "common.h"
#include "ring.h"

#include <pthread.h>
#include <signal.h>
#include <stdarg.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/select.h>
#include <sys/signalfd.h>

#ifndef SYS_epoll_pwait2
#define SYS_epoll_pwait2	441
#endif

#define PROCESSES	32
#define THREADS		8
#define FDS		48	/* slots; the first EPOLLS of them hold epolls */
#define EPOLLS		8
#define COOKIES		64
#define ROOM		64	/* slots of a wait */
#define UNTOUCHED	0xa5
#define HANG		120	/* seconds without a step */
/*
 * A number that was closed may be used again by a step, and so be another file.
 * Files under construction are no such: they have lower numbers.
 */
#define FIRST_FD	100

/* All that a step is; what does not matter to it is drawn nevertheless. */
struct step {
	const struct op *op;
	uint32_t a, b;		/* slots of files */
	uint32_t mask, how;	/* events; what is wrong with the pointer */
	uint32_t len, x;
};

struct thread {
	struct es_rnd rnd;
	uint64_t seed;
	int process, number;
	bool child;
	const struct step *step;
	const char *volatile doing;	/* NULL between two steps */
	struct es_ring ring;	/* its ->fd is -1 where there is none */
	/* The last page that can be written, and the end of it */
	char *guard, *read_only, *hole;
};

/* Seen by all processes. */
static struct shared {
	bool given[PROCESSES][COOKIES];
	bool failed;
	struct count {
		uint64_t steps, waits, records, events, rings;
	} count[PROCESSES][THREADS];
} *shared;

static uint64_t option_seconds, option_steps;
static bool verbose;
static uint64_t end_ms;
/* Of this process, for all its threads. */
static int fds[FDS];
static int running;

static struct count *count_of(const struct thread *t)
{
	return &shared->count[t->process][t->number];
}

struct op {
	const char *name;
	int weight;
	void (*run)(struct thread *t, const struct step *s);
};

static void print_step(const struct thread *t, const struct step *s)
{
	printf("seed %llu thread %d step %llu: %s a %u b %u mask %#x how %u len %u x %u\n",
	       (unsigned long long)t->seed, t->number,
	       (unsigned long long)count_of(t)->steps, s->op->name, s->a, s->b,
	       s->mask, s->how, s->len, s->x);
}

/* Something is not as it must be: the end of this process. */
static void __attribute__((noreturn, format(printf, 2, 3)))
fail(const struct thread *t, const char *fmt, ...)
{
	va_list ap;

	shared->failed = true;
	printf("fuzz: FAILED: ");
	va_start(ap, fmt);
	vprintf(fmt, ap);
	va_end(ap);
	printf("\nfuzz: ");
	print_step(t, t->step);
	fflush(stdout);
	_exit(1);
}

/* files */

static int fd_of(uint32_t slot)
{
	return __atomic_load_n(&fds[slot], __ATOMIC_RELAXED);
}

static void put(uint32_t slot, int fd)
{
	int old;

	if (fd < 0)
		return;
	old = fcntl(fd, F_DUPFD_CLOEXEC, FIRST_FD);
	close(fd);
	old = __atomic_exchange_n(&fds[slot], old, __ATOMIC_RELAXED);
	if (old >= 0)
		close(old);
}

/* Epolls are rare enough: nothing else takes the place of one. */
static uint32_t other_slot(uint32_t slot)
{
	return slot < EPOLLS ? slot + EPOLLS : slot;
}

/* Mostly an epoll. */
static int ep_of(const struct step *s)
{
	return fd_of(s->x % 16 ? s->a % EPOLLS : s->a);
}

static int unix_listener(void)
{
	struct sockaddr_un un = { .sun_family = AF_UNIX };
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

	/* The kernel finds a name. */
	bind(fd, (struct sockaddr *)&un, sizeof(un.sun_family));
	listen(fd, 4);
	return fd;
}

/* Files that have no other end, or that cannot report. */
static int single(uint32_t kind)
{
	struct sockaddr_storage ss;
	sigset_t mask;

	switch (kind % 9) {
	case 0:
		return es_tcp_listen(&(struct es_tcp_opts){
				     .family = AF_INET }, 4, &ss);
	case 1:
		return unix_listener();
	case 2:
		return socket(AF_NETLINK, SOCK_RAW, 0);
	case 3:
		return socket(AF_PACKET, SOCK_RAW, htons(0x0800));
	case 4:
		return socket(AF_INET, SOCK_RAW, IPPROTO_ICMP);
	case 5:
		return socket(AF_INET, SOCK_STREAM, 0);
	case 6:
		return socket(AF_INET6, SOCK_DGRAM, 0);
	case 7:
		sigemptyset(&mask);
		sigaddset(&mask, SIGUSR2);
		return signalfd(-1, &mask, SFD_NONBLOCK);
	default:
		return syscall(SYS_pidfd_open, getpid(), 0);
	}
}

static void do_make(struct thread *t, const struct step *s)
{
	static const struct es_type *const types[] = {
		ES_TYPES(ES_POINTER, unused)
	};
	const uint32_t kind = s->x % (ARRAY_SIZE(types) + 4);
	int sv[2] = { -1, -1 };

	if (s->a < EPOLLS || s->mask % 4 == 0) {
		put(s->a % EPOLLS, epoll_create1(EPOLL_CLOEXEC));
	} else if (kind >= ARRAY_SIZE(types)) {
		sv[0] = single(s->len);
		es_nonblock(sv[0]);
		put(s->a, sv[0]);
	} else if (!types[kind]->pair(sv)) {
		put(s->a, sv[0]);
		put(other_slot(s->b), sv[1]);
	}
}

static void do_close(struct thread *t, const struct step *s)
{
	if (s->x % 4)
		close(__atomic_exchange_n(&fds[s->a], -1, __ATOMIC_RELAXED));
	else
		/* The number stays where it is. */
		close(fd_of(s->a));
}

static void do_dup(struct thread *t, const struct step *s)
{
	const uint32_t b = s->a < EPOLLS ? s->b : other_slot(s->b);

	if (fd_of(b) >= FIRST_FD && s->x % 2)
		dup2(fd_of(s->a), fd_of(b));
	else
		put(b, fcntl(fd_of(s->a), F_DUPFD_CLOEXEC, FIRST_FD));
}

static void do_accept(struct thread *t, const struct step *s)
{
	put(other_slot(s->b), accept4(fd_of(s->a), NULL, NULL,
				      SOCK_NONBLOCK | SOCK_CLOEXEC));
}

static void do_connect(struct thread *t, const struct step *s)
{
	struct sockaddr_storage ss;
	socklen_t len = sizeof(ss);
	int fd;

	if (getsockname(fd_of(s->a), (struct sockaddr *)&ss, &len))
		return;
	fd = socket(ss.ss_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC,
		    0);
	connect(fd, (struct sockaddr *)&ss, len);
	put(other_slot(s->b), fd);
}

/* data */

static void do_write(struct thread *t, const struct step *s)
{
	es_write(fd_of(s->a), s->len);
}

static void do_read(struct thread *t, const struct step *s)
{
	es_read(fd_of(s->a), s->len);
}

static void do_send(struct thread *t, const struct step *s)
{
	static const int flags[] = { 0, MSG_OOB, MSG_MORE, MSG_EOR };

	send(fd_of(s->a), es_buf(), s->len, flags[s->x % ARRAY_SIZE(flags)] |
	     MSG_DONTWAIT | MSG_NOSIGNAL);
}

static void do_recv(struct thread *t, const struct step *s)
{
	static const int flags[] = { MSG_OOB, MSG_PEEK, MSG_TRUNC,
				     MSG_ERRQUEUE };
	char buf[4096];

	recv(fd_of(s->a), buf, s->len % sizeof(buf),
	     flags[s->x % ARRAY_SIZE(flags)] | MSG_DONTWAIT);
}

static void do_splice(struct thread *t, const struct step *s)
{
	if (s->x % 2)
		splice(fd_of(s->a), NULL, fd_of(s->b), NULL, s->len,
		       SPLICE_F_NONBLOCK | (s->x & SPLICE_F_MORE));
	else
		tee(fd_of(s->a), fd_of(s->b), s->len, SPLICE_F_NONBLOCK);
}

static void do_shutdown(struct thread *t, const struct step *s)
{
	shutdown(fd_of(s->a), s->x % 3);
}

/* What makes a timer expire, a watched file change, a signal be pending. */
static void do_trigger(struct thread *t, const struct step *s)
{
	const struct itimerspec its = { .it_value.tv_nsec = 1 + s->len };
	const int fd = fd_of(s->a);
	struct stat st;

	if (!fstat(fd, &st) && S_ISREG(st.st_mode))
		es_inotify_send(fd, 16);
	else if (timerfd_settime(fd, 0, &its, NULL) && !(s->x % 8))
		raise(SIGUSR2);
}

static void do_option(struct thread *t, const struct step *s)
{
	const struct linger reset = { .l_onoff = 1 };
	const int fd = fd_of(s->a);

	switch (s->x % 8) {
	case 0:
	case 1:
		es_set_opt(fd, SOL_SOCKET, SO_SNDBUF, s->len);
		break;
	case 2:
		es_set_opt(fd, SOL_SOCKET, SO_RCVBUF, s->len);
		break;
	case 3:
		es_set_opt(fd, SOL_SOCKET, SO_RCVLOWAT, s->len % 5000);
		break;
	case 4:
		es_set_opt(fd, IPPROTO_TCP, TCP_NOTSENT_LOWAT, s->len);
		break;
	case 5:
		fcntl(fd, F_SETPIPE_SZ, s->len);
		break;
	case 6:
		setsockopt(fd, SOL_SOCKET, SO_LINGER, &reset, sizeof(reset));
		break;
	case 7:
		es_attach_tls(fd);
		break;
	}
}

/* epoll */

#define KINDS_OF_POINTER	24

static bool pointer_is_good(uint32_t how)
{
	return how > 5;
}

/* Where a call finds, or leaves, @room slots; right behind them is nothing. */
static struct epoll_event *pointer(const struct thread *t, uint32_t how,
				   uint32_t room)
{
	char *p = t->guard - room * sizeof(struct epoll_event);

	switch (how) {
	case 0:
		return NULL;
	case 1:
		return (void *)t->hole;
	case 2:
		return (void *)t->read_only;
	case 3:
		return (void *)(UINTPTR_MAX - 0xffff);
	case 4:
		/* The last one is half behind the end. */
		return (void *)(p + sizeof(struct epoll_event) / 2);
	case 5:
		return (void *)t->guard;
	default:
		return (void *)p;
	}
}

/* A number that is not met by accident, and tells which one it is. */
static uint64_t cookie(uint32_t k)
{
	return (k + 1) * 0x9e3779b97f4a7c15ULL;
}

static bool is_given(const struct thread *t, uint64_t data)
{
	uint32_t k;

	for (k = 0; k < COOKIES; k++)
		if (data == cookie(k))
			return __atomic_load_n(&shared->given[t->process][k],
					       __ATOMIC_RELAXED);
	return false;
}

/* What epoll_ctl() is given. */
static struct epoll_event *request(struct thread *t, const struct step *s)
{
	struct epoll_event *ev = pointer(t, s->how, 1);
	const uint32_t k = s->len % COOKIES;

	if (pointer_is_good(s->how)) {
		ev->events = s->mask;
		ev->data.u64 = cookie(k);
		__atomic_store_n(&shared->given[t->process][k], true,
				 __ATOMIC_RELAXED);
	}
	return ev;
}

static void do_ctl(struct thread *t, const struct step *s, int op)
{
	/* As it is: a library may look at the event itself. */
	syscall(SYS_epoll_ctl, ep_of(s), op, fd_of(s->b), request(t, s));
}

static void do_add(struct thread *t, const struct step *s)
{
	do_ctl(t, s, EPOLL_CTL_ADD);
}

static void do_mod(struct thread *t, const struct step *s)
{
	do_ctl(t, s, EPOLL_CTL_MOD);
}

static void do_del(struct thread *t, const struct step *s)
{
	do_ctl(t, s, s->x % 32 ? EPOLL_CTL_DEL : (int)s->mask);
}

/* Where a slot has padding it is left alone, and so shows nothing. */
static bool is_padded_well(const struct epoll_event *ev)
{
	const char *byte = (const char *)ev + sizeof(ev->events);

	for (; byte < (const char *)&ev->data; byte++)
		if (*byte != (char)UNTOUCHED)
			return false;
	return true;
}

/* What a wait has left: @n slots are used of @room, and no byte behind them. */
static void look(struct thread *t, const struct epoll_event *ev, int n,
		 int max, int room)
{
	const char *byte = (const char *)(ev + n);
	const struct epoll_state *st;
	int i;

	for (i = 0; i < n && i < room; i++)
		if (!is_padded_well(&ev[i]))
			fail(t, "slot %d of %d: padding was written", i, n);
	i = 0;
	if (n > max || n > room)
		fail(t, "%d slots where %d were asked for, and %d are", n, max,
		     room);
	while (i < n) {
		if (!ev[i].events)
			fail(t, "slot %d of %d is no event", i, n);
		if (!is_given(t, ev[i].data.u64))
			fail(t, "slot %d of %d: nobody gave the cookie %#llx",
			     i, n, (unsigned long long)ev[i].data.u64);
		if (!(ev[i].events & EPOLLSTATE)) {
			count_of(t)->events++;
			i++;
			continue;
		}
		if (i + EPOLL_STATE_SLOTS > n)
			fail(t, "slot %d of %d: a record is cut off", i, n);
		st = (const void *)&ev[i];
		if (st->__cont1 || st->__cont2 || st->__cont3)
			fail(t, "slot %d of %d: a continuation has events", i,
			     n);
		/* Larger is no errno. */
		if (st->error > 4095)
			fail(t, "slot %d of %d: error %u", i, n, st->error);
		count_of(t)->records++;
		i += EPOLL_STATE_SLOTS;
	}
	for (; max <= room && byte < (const char *)(ev + room); byte++)
		if (*byte != (char)UNTOUCHED)
			fail(t, "%d slots, and something behind them", n);
}

/* Slots that a wait has, and those that it is told of. */
static int room_of(const struct step *s)
{
	return 1 + s->len % ROOM;
}

static int max_of(const struct step *s)
{
	static const int odd[] = { 0, -1, 1 << 20, INT32_MAX, 3, 4, 5, 8 };

	return s->mask % 4 ? room_of(s) : odd[s->x % ARRAY_SIZE(odd)];
}

/* What a wait returned that had the room pointer() gave. */
static void waited(struct thread *t, const struct step *s,
		   const struct epoll_event *ev, int n)
{
	count_of(t)->waits++;
	if (n < 0)
		return;
	if (n && !pointer_is_good(s->how) && s->how != 4)
		fail(t, "%d slots were put where nothing can be", n);
	if (pointer_is_good(s->how))
		look(t, ev, n, max_of(s), room_of(s));
}

/* Where a wait may leave them, and nobody has yet. */
static struct epoll_event *slots(const struct thread *t, const struct step *s)
{
	struct epoll_event *ev = pointer(t, s->how, room_of(s));

	if (pointer_is_good(s->how))
		memset(ev, UNTOUCHED, room_of(s) * sizeof(*ev));
	return ev;
}

static void do_wait(struct thread *t, const struct step *s)
{
	struct epoll_event *ev = slots(t, s);
	const int max = max_of(s);
	/* 64 bits each, on all machines. */
	const int64_t ts[2] = { 0, s->x % 3000000 };
	const bool second = s->x % 3 == 0;
	const int ep = ep_of(s);
	sigset_t none;
	int n;

	sigemptyset(&none);
	if (!second)
		n = epoll_pwait(ep, ev, max, s->x % 4 ? 0 : s->x % 3,
				s->x % 7 ? NULL : &none);
	else if (s->mask % 16)
		n = syscall(SYS_epoll_pwait2, ep, ev, max, ts, NULL, 8);
	else
		n = syscall(SYS_epoll_pwait2, ep, ev, max, t->hole, t->hole, 8);
	waited(t, s, ev, n);
}

/*
 * The same by io_uring: registering, waiting, and the one-shot poll.  What does
 * not come soon is called off.
 */
static void do_ring(struct thread *t, const struct step *s)
{
	struct io_uring_sqe sqe = {
		.flags = s->x & 64 ? IOSQE_ASYNC : 0,
		.user_data = 1,
	};
	struct epoll_event *ev = NULL;
	int res = 0;

	if (t->ring.fd < 0)
		return;
	switch (s->x % 4) {
	case 0:
		ev = slots(t, s);
		sqe.opcode = ES_IORING_OP_EPOLL_WAIT;
		sqe.fd = ep_of(s);
		sqe.addr = (uintptr_t)ev;
		sqe.len = max_of(s);
		break;
	case 1:
		sqe.opcode = IORING_OP_POLL_ADD;
		sqe.fd = fd_of(s->b);
		sqe.poll32_events = s->mask;
		break;
	default:
		ev = request(t, s);
		sqe.opcode = IORING_OP_EPOLL_CTL;
		sqe.fd = ep_of(s);
		sqe.off = fd_of(s->b);
		sqe.len = 1 + s->len % 3;
		sqe.addr = (uintptr_t)ev;
		break;
	}
	if (es_ring_try(&t->ring, &sqe, s->x % 1000000, &res))
		fail(t, "io_uring_enter: %s", strerror(errno));
	count_of(t)->rings++;
	if (s->x % 4 == 0)
		waited(t, s, ev, res);
}

static void do_poll(struct thread *t, const struct step *s)
{
	struct pollfd p[4];
	int i;

	for (i = 0; i < 4; i++) {
		p[i].fd = fd_of((s->a + i * s->b) % (i ? FDS : EPOLLS));
		p[i].events = s->mask >> i;
	}
	poll(p, 1 + s->x % 4, s->x % 8 ? 0 : 1);
}

static void do_select(struct thread *t, const struct step *s)
{
	struct timeval tv = { .tv_usec = s->x % 8 ? 0 : 1000 };
	const int a = fd_of(s->a % EPOLLS), b = fd_of(s->b);
	fd_set in, out;

	FD_ZERO(&in);
	FD_ZERO(&out);
	if (a >= 0 && a < FD_SETSIZE)
		FD_SET(a, &in);
	if (b >= 0 && b < FD_SETSIZE)
		FD_SET(b, &out);
	select(FD_SETSIZE, &in, &out, s->x % 2 ? &in : NULL, &tv);
}

static void do_fork(struct thread *t, const struct step *s);

static const struct op ops[] = {
	{ "add", 16, do_add },		{ "mod", 10, do_mod },
	{ "del", 4, do_del },		{ "wait", 24, do_wait },
	{ "poll", 4, do_poll },		{ "select", 2, do_select },
	{ "make", 4, do_make },		{ "close", 2, do_close },
	{ "dup", 3, do_dup },		{ "accept", 2, do_accept },
	{ "connect", 2, do_connect },	{ "write", 10, do_write },
	{ "read", 10, do_read },	{ "send", 4, do_send },
	{ "recv", 2, do_recv },		{ "splice", 2, do_splice },
	{ "shutdown", 1, do_shutdown },	{ "trigger", 3, do_trigger },
	{ "option", 3, do_option },	{ "fork", 1, do_fork },
	{ "ring", 6, do_ring },
};

/* steps */

static uint32_t make_mask(struct es_rnd *r)
{
	const uint32_t sane = es_rnd(r) & (ES_IO | EPOLLPRI | EPOLLET);
	const uint32_t wild = es_rnd(r) << 1;

	switch (es_rnd(r) % 10) {
	case 0:
		return wild;
	case 1:
		return wild | EPOLLSTATE;
	case 2:
		return sane;
	case 3:
		return sane | EPOLLEXCLUSIVE | (wild & EPOLLSTATE);
	case 4:
		return sane | EPOLLSTATE | EPOLLONESHOT | (wild & EPOLLWAKEUP);
	default:
		return sane | EPOLLSTATE | EPOLLIN;
	}
}

static void make_step(struct es_rnd *r, struct step *s)
{
	static const uint32_t lens[] = { 8, 100, 5000, 70000 };
	uint32_t dice = 0;
	size_t i;

	for (i = 0; i < ARRAY_SIZE(ops); i++)
		dice += ops[i].weight;
	dice = es_rnd(r) % dice;
	for (s->op = ops; dice >= (uint32_t)s->op->weight; s->op++)
		dice -= s->op->weight;
	s->a = es_rnd(r) % FDS;
	s->b = es_rnd(r) % FDS;
	s->mask = make_mask(r);
	s->how = es_rnd(r) % KINDS_OF_POINTER;
	s->len = es_rnd_upto(r, lens[es_rnd(r) % ARRAY_SIZE(lens)]);
	s->x = es_rnd(r);
}

static void do_step(struct thread *t)
{
	struct step s;

	make_step(&t->rnd, &s);
	t->step = &s;
	if (verbose)
		print_step(t, &s);
	t->doing = s.op->name;
	s.op->run(t, &s);
	t->doing = NULL;
	__atomic_fetch_add(&count_of(t)->steps, 1, __ATOMIC_RELAXED);
}

/* The same files in a process of one thread, which has steps of its own. */
static void do_fork(struct thread *t, const struct step *s)
{
	/* Nobody there wakes it from a call that blocks. */
	const struct itimerspec tick = {
		.it_interval.tv_nsec = 100000000, .it_value.tv_nsec = 100000000,
	};
	struct sigevent wake = {
		.sigev_notify = SIGEV_SIGNAL, .sigev_signo = SIGUSR1,
	};
	int pid, status, i;
	timer_t timer;

	if (t->child)
		return;
	pid = fork();
	if (!pid) {
		signal(SIGALRM, SIG_DFL);
		alarm(HANG);
		if (timer_create(CLOCK_MONOTONIC, &wake, &timer) ||
		    timer_settime(timer, 0, &tick, NULL))
			_exit(1);
		t->child = true;
		t->rnd.s = s->x;
		for (i = s->len % 16; i; i--)
			do_step(t);
		_exit(0);
	}
	while (pid > 0 && waitpid(pid, &status, 0) < 0 && errno == EINTR)
		;
	if (pid > 0 && status)
		fail(t, "a forked process ended with status %#x", status);
}

static void *run_thread(void *arg)
{
	struct thread *t = arg;
	uint64_t n;

	for (n = 0; !option_steps || n < option_steps; n++) {
		if (option_seconds && es_now_ms() >= end_ms)
			break;
		do_step(t);
	}
	__atomic_fetch_sub(&running, 1, __ATOMIC_RELAXED);
	return NULL;
}

static void on_signal(int number)
{
}

static struct thread thread[THREADS];

/* Nothing moves: where are they?  Then the end of this process, as without. */
static void on_alarm(int number)
{
	const char *name;
	char text[128];
	int i, n;

	/* Should it hang here: the next one ends it. */
	signal(SIGALRM, SIG_DFL);
	for (i = 0; i < THREADS; i++) {
		name = thread[i].doing;
		if (!name)
			continue;
		n = snprintf(text, sizeof(text),
			     "fuzz: seed %llu thread %d does not come back from '%s'\n",
			     (unsigned long long)thread[i].seed, i, name);
		write(1, text, n);
	}
	alarm(1);
}

static void map_pages(struct thread *t)
{
	const size_t page = sysconf(_SC_PAGESIZE);
	char *p = mmap(NULL, 5 * page, PROT_READ | PROT_WRITE,
		       MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	const struct epoll_event ev = { .events = EPOLLIN | EPOLLSTATE,
					.data.u64 = cookie(0) };

	t->guard = p + page;
	t->read_only = p + 2 * page;
	memcpy(t->read_only, &ev, sizeof(ev));
	shared->given[t->process][0] = true;
	t->hole = p + 4 * page;
	if (p == MAP_FAILED || mprotect(t->guard, page, PROT_NONE) ||
	    mprotect(t->read_only, page, PROT_READ) ||
	    mprotect(p + 3 * page, 2 * page, PROT_NONE))
		exit(2);
}

/* One process: its files, its threads, and signals for them. */
static int run_process(int process, uint64_t seed, int threads)
{
	const struct timespec tick = { .tv_nsec = 5000000 };
	struct sigaction act = { .sa_handler = on_signal };
	const struct rlimit small = { 1 << 20, 1 << 20 };
	struct step s = { .mask = 1 };
	struct es_rnd rnd = { seed };
	uint64_t seen = 0, sum;
	pthread_t id[THREADS];
	sigset_t mask;
	int i;

	sigaction(SIGUSR1, &act, NULL);
	sigaction(SIGUSR2, &act, NULL);
	signal(SIGALRM, on_alarm);
	signal(SIGPIPE, SIG_IGN);
	signal(SIGXFSZ, SIG_IGN);
	sigemptyset(&mask);
	sigaddset(&mask, SIGUSR2);
	sigprocmask(SIG_BLOCK, &mask, NULL);
	setrlimit(RLIMIT_FSIZE, &small);
	es_buf();
	es_read(-1, 1);

	for (i = 0; i < FDS; i++)
		fds[i] = -1;
	for (s.a = 0; s.a < FDS; s.a++) {
		s.b = es_rnd(&rnd) % FDS;
		s.x = es_rnd(&rnd);
		s.len = es_rnd(&rnd);
		do_make(NULL, &s);
	}
	running = threads;
	for (i = 0; i < threads; i++) {
		thread[i] = (struct thread){ .process = process, .number = i,
					     .seed = seed };
		/* Far apart, so that no two draw the same numbers. */
		thread[i].rnd.s = seed ^ (i + 1) * 0x9e3779b97f4a7c15ULL;
		map_pages(&thread[i]);
		if (es_ring_open(&thread[i].ring))
			thread[i].ring.fd = -1;
		if (pthread_create(&id[i], NULL, run_thread, &thread[i]))
			return 2;
	}
	for (i = 0; __atomic_load_n(&running, __ATOMIC_RELAXED) > 0; i++) {
		nanosleep(&tick, NULL);
		pthread_kill(id[i % threads], SIGUSR1);
		sum = 0;
		for (int k = 0; k < threads; k++)
			sum += shared->count[process][k].steps;
		if (sum != seen)
			alarm(HANG);
		seen = sum;
	}
	/* What is left is the end of the process, which may hang as well. */
	alarm(HANG);
	return 0;
}

static bool came_well(int pid, int status, uint64_t seed)
{
	if (!status)
		return true;
	if (WIFSIGNALED(status) && WTERMSIG(status) == SIGALRM)
		printf("fuzz: FAILED: seed %llu: no step for %d s\n",
		       (unsigned long long)seed, HANG);
	else
		printf("fuzz: FAILED: seed %llu: process %d ended with status %#x\n",
		       (unsigned long long)seed, pid, status);
	return false;
}

static bool fuzz(uint64_t seed, int processes, int threads)
{
	const bool knows = es_kernel_has_epollstate();
	const uint64_t start = es_now_ms();
	struct count sum = {}, *c;
	int pid[PROCESSES], i, status;
	bool ok = true;

	end_ms = start + option_seconds * 1000;
	for (i = 0; i < processes; i++) {
		pid[i] = fork();
		if (!pid[i])
			exit(run_process(i, seed + i, threads));
		ok = ok && pid[i] > 0;
	}
	for (i = 0; i < processes; i++)
		if (pid[i] > 0 && waitpid(pid[i], &status, 0) == pid[i] &&
		    !came_well(pid[i], status, seed + i))
			ok = false;
	for (c = shared->count[0]; c < shared->count[PROCESSES]; c++) {
		sum.steps += c->steps;
		sum.waits += c->waits;
		sum.records += c->records;
		sum.events += c->events;
		sum.rings += c->rings;
	}
	if (shared->failed)
		ok = false;
	if (knows && !sum.records && sum.waits > 10000) {
		printf("fuzz: FAILED: no wait has returned a record\n");
		ok = false;
	}
	printf("fuzz: seed %llu, %d x %d threads: %llu steps, %llu per second; ",
	       (unsigned long long)seed, processes, threads,
	       (unsigned long long)sum.steps,
	       (unsigned long long)(sum.steps * 1000 /
				    (es_now_ms() - start + 1)));
	printf("%llu waits, %llu records, %llu events, %llu by io_uring; %s\n",
	       (unsigned long long)sum.waits, (unsigned long long)sum.records,
	       (unsigned long long)sum.events, (unsigned long long)sum.rings,
	       ok ? "ok" : "FAILED");
	return ok;
}

int main(int argc, char **argv)
{
	uint64_t seed = es_now_ms() * 1000003 ^ getpid();
	int processes = 4, threads = 3, opt;

	/* It comes with common.h, and nothing of it is a test here. */
	(void)test_harness_run;
	while ((opt = getopt(argc, argv, "t:n:s:p:T:v")) != -1) {
		switch (opt) {
		case 't':
			option_seconds = strtoull(optarg, NULL, 0);
			break;
		case 'n':
			option_steps = strtoull(optarg, NULL, 0);
			break;
		case 's':
			seed = strtoull(optarg, NULL, 0);
			break;
		case 'p':
			processes = atoi(optarg);
			break;
		case 'T':
			threads = atoi(optarg);
			break;
		case 'v':
			verbose = true;
			break;
		default:
			return 2;
		}
	}
	if (processes < 1 || processes > PROCESSES || threads < 1 ||
	    threads > THREADS) {
		fprintf(stderr, "fuzz: 1 to %d processes of 1 to %d threads\n",
			PROCESSES, THREADS);
		return 2;
	}
	if (!option_seconds && !option_steps)
		option_seconds = 10;
	shared = mmap(NULL, sizeof(*shared), PROT_READ | PROT_WRITE,
		      MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	if (shared == MAP_FAILED)
		return 2;
	setvbuf(stdout, NULL, _IOLBF, 0);
	printf("fuzz: seed %llu\n", (unsigned long long)seed);
	return fuzz(seed, processes, threads) ? 0 : 1;
}
