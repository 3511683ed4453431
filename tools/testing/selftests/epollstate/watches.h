/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Watches as a measure of memory: every registration is charged to the user
 * that created the epoll, one of EPOLLSTATE twice.  With a user of our own,
 * whether all of it came back can be asked to the unit.
 *
 * And memory itself, in objects of the slab caches that it is taken from, where
 * the kernel tells.
 */

#ifndef _EPOLLSTATE_WATCHES_H
#define _EPOLLSTATE_WATCHES_H

#include "common.h"

#include <ctype.h>
#include <dirent.h>

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

#define ES_SLAB_DIR	"/sys/kernel/slab/"

static inline long es_slab_attr(const char *cache, const char *attr)
{
	char path[96], text[64];
	int n;

	snprintf(path, sizeof(path), ES_SLAB_DIR "%s/%s", cache, attr);
	n = es_read_file(path, text, sizeof(text));
	return n < 0 ? n : atol(text);
}

/*
 * Objects of a slab cache that are in use.  What is kept ready for a processor,
 * or in quarantine, counts as used: it is given back first.
 *
 * -ENOENT where the kernel does not tell (CONFIG_SLUB_DEBUG).  -EBUSY where the
 * cache serves others as well: a kernel merges those of one size, unless it is
 * booted with slab_nomerge.  The bind bucket of a connection in TIME_WAIT is as
 * large as an epitem, so that nothing follows from such a count.
 */
static inline long es_slab_count(const char *cache)
{
	const long aliases = es_slab_attr(cache, "aliases");
	char path[96];
	int err;

	if (aliases)
		return aliases < 0 ? aliases : -EBUSY;
	snprintf(path, sizeof(path), ES_SLAB_DIR "%s/shrink", cache);
	err = es_write_file(path, "1");
	return err ?: es_slab_attr(cache, "objects");
}

/* One for each registration, freed in batches, seconds later: kfree_rcu() */
#define ES_EPI_SLAB	"eventpoll_epi"
/* One for each wait queue of a registered file */
#define ES_PWQ_SLAB	"eventpoll_pwq"
/* One for each of EPOLLSTATE; whatever else is accounted and of that size */
#define ES_STATE_SLAB	"kmalloc-cg-128"
/* So many of these may come and stay, whatever a test does. */
#define ES_STATE_NOISE	8

/* What is freed at once; a negative errno where that cannot be counted. */
struct es_memory {
	long pwq;
	long state;
};

static inline struct es_memory es_memory(void)
{
	return (struct es_memory){
		.pwq = es_slab_count(ES_PWQ_SLAB),
		.state = es_slab_count(ES_STATE_SLAB),
	};
}

/*
 * What @was used is used again, and no more, after so many registrations.
 * Returns the cache for which that is not so, or NULL.  Nobody else is to use
 * epoll meanwhile; of the cache for all, one object per registration is more
 * than chance.
 */
static inline const char *es_memory_left(const struct es_memory *was,
					 int registrations)
{
	const int few = registrations > ES_STATE_NOISE ? registrations :
			ES_STATE_NOISE;

	if (was->pwq >= 0 && !es_until(es_slab_count(ES_PWQ_SLAB) <= was->pwq))
		return ES_PWQ_SLAB;
	if (was->state >= 0 &&
	    !es_until(es_slab_count(ES_STATE_SLAB) < was->state + few))
		return ES_STATE_SLAB;
	return NULL;
}

/* Lines of files in the directory @dir that are registrations of an epoll. */
static inline long es_registrations_in(const char *dir)
{
	char path[64], line[512];
	struct dirent *d;
	long sum = 0;
	DIR *fds;
	FILE *f;

	fds = opendir(dir);
	while (fds && (d = readdir(fds))) {
		snprintf(path, sizeof(path), "%s/%.16s", dir, d->d_name);
		f = isdigit(d->d_name[0]) ? fopen(path, "re") : NULL;
		if (!f)
			continue;
		while (fgets(line, sizeof(line), f))
			sum += !strncmp(line, "tfd:", 4);
		fclose(f);
	}
	if (fds)
		closedir(fds);
	return sum;
}

/*
 * All registrations that there are, in the tables of all processes.  An epoll
 * that two of them share counts twice: there are no more than this.
 */
static inline long es_registrations(void)
{
	DIR *proc = opendir("/proc");
	struct dirent *d;
	char path[32];
	long sum = 0;

	while (proc && (d = readdir(proc))) {
		if (!isdigit(d->d_name[0]))
			continue;
		snprintf(path, sizeof(path), "/proc/%.16s/fdinfo", d->d_name);
		sum += es_registrations_in(path);
	}
	if (proc)
		closedir(proc);
	return sum;
}

/* A file that epoll takes, and that cannot report its state. */
static inline int es_mute_file(void)
{
	return syscall(SYS_pidfd_open, getpid(), 0);
}

#endif /* _EPOLLSTATE_WATCHES_H */
