/* SPDX-License-Identifier: BSD-3-Clause OR GPL-2.0 */
/*
 * What echo-server shows of itself: a table of records as they arrive, the
 * same as comma-separated values for a picture, and the statistics at the end.
 * Nothing of this is needed to use EPOLLSTATE.
 */
#ifndef ECHO_TRACE_H
#define ECHO_TRACE_H

#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "epollstate.h"

struct echo_trace {
	unsigned long watch;	/* connections 0 (the listener) to this one */
	FILE *table;		/* NULL: none */
	FILE *csv;		/* NULL: none */
	double start;
};

struct echo_stats {
	uint64_t ctls;		/* calls of epoll_ctl */
	uint64_t files;		/* that it was called for */
	uint64_t waits;		/* returns of epoll_wait with something */
	uint64_t records;
	uint64_t ordinary;
	uint64_t bytes;
	uint64_t served;
	uint64_t failed;
	uint64_t reads, read_eagain, read_short;
	uint64_t writes, write_eagain, write_short;
	uint64_t accepts, accept_eagain;
	uint64_t segs_in;	/* TCP segments received, data and ACKs */
	uint64_t kept_max;	/* most bytes that waited in the server */
	uint64_t cpu_ms;	/* processor time, to see that it does not spin */
};

static inline double trace_now(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (double)ts.tv_sec + (double)ts.tv_nsec / 1e9;
}

static inline const char *trace_events(uint32_t events, char *buf, size_t size,
				       const char *none)
{
	static const struct {
		uint32_t bit;
		const char *name;
	} names[] = {
		{ EPOLLIN, "IN" },	 { EPOLLOUT, "OUT" },
		{ EPOLLRDHUP, "RDHUP" }, { EPOLLPRI, "PRI" },
		{ EPOLLHUP, "HUP" },	 { EPOLLERR, "ERR" },
	};
	size_t i, len = 0;

	buf[0] = '\0';
	for (i = 0; i < sizeof(names) / sizeof(names[0]); i++)
		if (events & names[i].bit && len < size)
			len += (size_t)snprintf(buf + len, size - len, "%s%s",
						len ? " " : "", names[i].name);
	return len ? buf : none;
}

static inline void trace_head(const struct echo_trace *t)
{
	if (t->table) {
		fprintf(t->table, "%8s %5s  %-17s %9s %9s %9s %5s %5s %6s\n",
			"seconds", "conn", "events", "rcv", "snd", "outq",
			"msgs", "error", "seq");
		fflush(t->table);
	}
	if (t->csv)
		fprintf(t->csv, "time,conn,what,events,rcv,snd,outq,msgs,error,seq\n");
}

/* @what: "record" as it came, "stored" after the server's own I/O. */
static inline void trace_csv(const struct echo_trace *t, unsigned long conn,
			     const char *what, const struct epoll_state *s)
{
	char ev[64];

	if (t->csv && conn <= t->watch && s->events & EPOLLSTATE)
		fprintf(t->csv, "%.6f,%lu,%s,%s,%u,%u,%u,%u,%u,%u\n",
			trace_now() - t->start, conn, what,
			trace_events(s->events, ev, sizeof(ev), "-"),
			s->rcv, s->snd, s->outq, s->msgs, s->error, s->seq);
}

static inline void trace_slot(const struct echo_trace *t, unsigned long conn,
			      const struct epoll_event *slot)
{
	const struct epoll_state *r = epollstate_record(slot);
	double time = trace_now() - t->start;
	char ev[64];

	if (conn > t->watch)
		return;
	trace_events(slot->events, ev, sizeof(ev), "-");
	if (t->table) {
		if (r)
			fprintf(t->table,
				"%8.3f %5lu  %-17s %9u %9u %9u %5u %5u %6u\n",
				time, conn, ev, r->rcv, r->snd, r->outq,
				r->msgs, r->error, r->seq);
		else
			fprintf(t->table,
				"%8.3f %5lu  %-17s %9s %9s %9s %5s %5s %6s\n",
				time, conn, ev, "?", "?", "?", "?", "?", "?");
		fflush(t->table);
	}
	if (r)
		trace_csv(t, conn, "record", r);
}

/* One "name value" pair a line, for people and for scripts. */
static inline void trace_stats(FILE *f, const struct echo_stats *s)
{
	const struct {
		const char *name;
		uint64_t value;
	} rows[] = {
		{ "connections_served", s->served },
		{ "connections_reset", s->failed },
		{ "bytes_echoed", s->bytes },
		{ "records", s->records },
		{ "ordinary_events", s->ordinary },
		{ "epoll_wait_returns", s->waits },
		{ "tcp_segments_in", s->segs_in },
		{ "reads", s->reads },
		{ "writes", s->writes },
		{ "accepts", s->accepts },
		{ "reads_eagain", s->read_eagain },
		{ "reads_short", s->read_short },
		{ "writes_eagain", s->write_eagain },
		{ "writes_short", s->write_short },
		{ "accepts_eagain", s->accept_eagain },
		{ "bytes_kept_in_server", s->kept_max },
		{ "cpu_milliseconds", s->cpu_ms },
		{ "epoll_ctl_registrations", s->files },
		{ "epoll_ctl_later", s->ctls - s->files },
	};
	size_t i;

	for (i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
		fprintf(f, "%-24s %" PRIu64 "\n", rows[i].name, rows[i].value);
}

#endif /* ECHO_TRACE_H */
