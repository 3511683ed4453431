// SPDX-License-Identifier: BSD-3-Clause OR GPL-2.0
/*
 * peers - one server under one workload, its events handled one way
 *
 *	peers PEER WORKLOAD [NUMBER...]
 *
 * prints what it cost, in one line:
 *
 *	figures WORKLOAD[-NUMBER...] PEER NAME=VALUE...
 *
 * and, with PEERS_MARKS in the environment, when it woke and when it wasted a
 * call:
 *
 *	mark WORKLOAD[-NUMBER...] PEER TIME BYTES wake|waste
 *
 * Meant for a guest under "qemu -icount shift=0" with one processor, where the
 * clock counts instructions. See scripts/peers.
 */
#define _GNU_SOURCE
#include <stdarg.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <unistd.h>

#include "peers.h"

#define MAX_ARGS 4

static const struct peer *const peers[] = {
	&lt_peer, &et_peer, &et_short_peer, &lt_fionread_peer, &libevent_peer,
	&poll_peer, &uring_peer, &state_peer,
};

bool over_link;
static char title[128];

static void say(const char *kind, const char *text)
{
	printf("%s %s %s%s", kind, title, peer ? peer->name : "-", text);
	fflush(stdout);
}

void die(const char *what, ...)
{
	va_list ap;

	say("fail", " ");
	va_start(ap, what);
	vprintf(what, ap);
	va_end(ap);
	printf("\n");
	fflush(stdout);
	client_stop();
	exit(1);
}

/* A process of the client ends by itself only if it found a fault. */
static void on_signal(int sig)
{
	die(sig == SIGCHLD ? "the client found a fault" : "no end");
}

static int by_value(const void *a, const void *b)
{
	uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;

	return x < y ? -1 : x > y;
}

static void report(const char *unit)
{
	const struct calls *c = &figures.calls;
	unsigned int n = shared->samples;

	say("figures", "");
	printf(" unit=%s units=%llu bytes=%llu data=%lu waits=%lu eagain=%lu",
	       unit, (unsigned long long)figures.units,
	       (unsigned long long)figures.bytes, c->data, c->waits, c->eagain);
	printf(" probes=%lu ctls=%lu fionread=%lu soerror=%lu", c->probes,
	       c->ctls, c->fionread, c->soerror);
	printf(" wakeups=%llu preempted=%llu user=%llu cpu=%llu all=%llu",
	       (unsigned long long)figures.wakeups,
	       (unsigned long long)figures.preempted,
	       (unsigned long long)c->user, (unsigned long long)figures.cpu,
	       (unsigned long long)figures.all);
	printf(" elapsed=%llu peak=%llu slab=%llu",
	       (unsigned long long)figures.elapsed,
	       (unsigned long long)figures.peak,
	       (unsigned long long)figures.slab);
	if (n) {
		qsort(shared->latency, n, sizeof(*shared->latency), by_value);
		printf(" samples=%u p50=%u p99=%u max=%u", n,
		       shared->latency[n / 2],
		       shared->latency[(unsigned long)n * 99 / 100],
		       shared->latency[n - 1]);
	}
	printf("\n");
}

static int usage(void)
{
	const struct load *l;

	fprintf(stderr, "usage: peers PEER WORKLOAD [NUMBER...]\nPEER:");
	for (size_t i = 0; i < sizeof(peers) / sizeof(*peers); i++)
		fprintf(stderr, " %s", peers[i]->name);
	fprintf(stderr, "\nWORKLOAD:\n");
	for (l = loads; l->name; l++)
		fprintf(stderr, "  %s %s\n", l->name, l->args);
	return 2;
}

int main(int argc, char **argv)
{
	struct rlimit files = { 1000000, 1000000 };
	unsigned long arg[MAX_ARGS] = { 0 };
	const struct load *load;
	const char *reason;
	int i;

	if (argc < 3 || argc > 3 + MAX_ARGS)
		return usage();
	for (load = loads; load->name && strcmp(load->name, argv[2]); load++)
		;
	for (i = 0; i < (int)(sizeof(peers) / sizeof(*peers)); i++)
		if (!strcmp(peers[i]->name, argv[1]))
			peer = peers[i];
	if (!load->name || !peer)
		return usage();
	snprintf(title, sizeof(title), "%s", load->name);
	for (i = 3; i < argc; i++) {
		arg[i - 3] = strtoul(argv[i], NULL, 10);
		snprintf(title + strlen(title), sizeof(title) - strlen(title),
			 "-%lu", arg[i - 3]);
	}

	over_link = load->link && !access("/run/netns/client", F_OK);
	setrlimit(RLIMIT_NOFILE, &files);
	shared = mmap(NULL, sizeof(*shared), PROT_READ | PROT_WRITE,
		      MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	if (shared == MAP_FAILED)
		die("mmap");
	if (getenv("PEERS_MARKS"))
		marks_wanted();
	signal(SIGALRM, on_signal);
	signal(SIGCHLD, on_signal);
	alarm(100);
	pattern(0);
	reason = peer->open();
	if (reason) {
		say("skip", " ");
		printf("%s\n", reason);
		return 0;
	}
	load->run(arg);
	client_stop();
	marks_print(title);
	report(load->unit);
	return 0;
}
