// SPDX-License-Identifier: BSD-3-Clause OR GPL-2.0
/* What a stretch of the server's work cost. */
#define _GNU_SOURCE
#include <malloc.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <time.h>

#include "peers.h"

struct figures figures;
static size_t held;
static struct {
	uint64_t cpu, idle, at;
	struct rusage usage;
} start;

/* -------- buffers -------- */

void *mem_get(size_t len)
{
	void *buf = malloc(len);

	if (!buf)
		die("no memory");
	held += malloc_usable_size(buf);
	if (held > figures.peak)
		figures.peak = held;
	return buf;
}

void mem_put(void *buf)
{
	if (buf)
		held -= malloc_usable_size(buf);
	free(buf);
}

/* -------- time -------- */

static uint64_t cpu_ns(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &ts);
	return (uint64_t)ts.tv_sec * 1000000000 + (uint64_t)ts.tv_nsec;
}

/* How long the (only) processor was idle; 0 where the kernel does not tell. */
static uint64_t idle_ns(void)
{
	FILE *f = fopen("/proc/timer_list", "re");
	uint64_t sum = 0;
	char line[256];

	while (f && fgets(line, sizeof(line), f)) {
		char *at = strstr(line, "_sleeptime");

		/* Who waits for an io_uring is in .iowait_sleeptime. */
		if (at)
			sum += strtoull(strchr(at, ':') + 1, NULL, 10);
	}
	if (f)
		fclose(f);
	return sum;
}

/* Objects in use times their size, of all caches; 0 if not allowed to read. */
uint64_t slab_bytes(void)
{
	FILE *f = fopen("/proc/slabinfo", "re");
	unsigned long active, size;
	uint64_t sum = 0;
	char line[512];

	while (f && fgets(line, sizeof(line), f))
		if (sscanf(line, "%*s %lu %*u %lu", &active, &size) == 2)
			sum += active * size;
	if (f)
		fclose(f);
	return sum;
}

/* -------- what happened when, for a picture -------- */

#define MARKS 4096

static struct mark {
	uint64_t at, bytes;
	const char *what;
} marks[MARKS];
static int n_marks = -1;

void mark(const char *what)
{
	if (n_marks < 0 || n_marks == MARKS)
		return;
	marks[n_marks++] = (struct mark){ now() - start.at, work.bytes, what };
}

void marks_wanted(void)
{
	n_marks = 0;
}

void marks_print(const char *title)
{
	int i;

	for (i = 0; i < n_marks; i++)
		printf("mark %s %s %llu %llu %s\n", title, peer->name,
		       (unsigned long long)marks[i].at,
		       (unsigned long long)marks[i].bytes, marks[i].what);
}

/* What scripts/profile looks for; see bench.c. */
static inline void region_begin(void)
{
	__asm__ volatile("nopl 0x5e5e0001(%%rax)" ::: "memory");
}

static inline void region_end(void)
{
	__asm__ volatile("nopl 0x5e5e0002(%%rax)" ::: "memory");
}

void measure_begin(void)
{
	start.idle = idle_ns();
	getrusage(RUSAGE_SELF, &start.usage);
	memset(&calls, 0, sizeof(calls));
	figures.peak = held;
	work.bytes = 0;
	start.cpu = cpu_ns();
	start.at = now();
	if (n_marks > 0)
		n_marks = 0;
	region_begin();
	call_leave();
}

void measure_end(void)
{
	struct rusage usage;

	call_enter();
	region_end();
	figures.elapsed = now() - start.at;
	figures.cpu = cpu_ns() - start.cpu;
	getrusage(RUSAGE_SELF, &usage);
	figures.all = figures.elapsed - (idle_ns() - start.idle);
	figures.wakeups = (uint64_t)(usage.ru_nvcsw - start.usage.ru_nvcsw);
	figures.preempted = (uint64_t)(usage.ru_nivcsw - start.usage.ru_nivcsw);
	figures.calls = calls;
	figures.bytes = work.bytes;
	work.done = true;
}
