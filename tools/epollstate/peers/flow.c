// SPDX-License-Identifier: BSD-3-Clause OR GPL-2.0
/*
 * Reading into a buffer and keeping what could not be sent, for the peers that
 * do not know in advance what a connection takes.  A buffer that still has
 * something to be sent changes hands; nothing is copied.
 */
#include <errno.h>
#include <stdlib.h>

#include "peers.h"

static char *buffer;		/* what was read last is in it */
static size_t buffer_len;

static char *get_buffer(size_t len)
{
	if (buffer && buffer_len < len) {
		mem_put(buffer);
		buffer = NULL;
	}
	if (!buffer) {
		buffer = mem_get(len);
		buffer_len = len;
	}
	return buffer;
}

ssize_t flow_read(struct conn *c, size_t len)
{
	char *buf = c->kind == DGRAM ? mem_get(len) :
		    get_buffer(len < CHUNK ? CHUNK : len);
	ssize_t n = call_recv(c->fd, buf, len);

	if (n > 0) {
		work_data(c, buf, (size_t)n);
		return n;
	}
	if (c->kind == DGRAM)
		mem_put(buf);
	if (n < 0 && errno == EAGAIN)
		return READ_NONE;
	if (n == 0)
		work_end(c);
	else
		work_broken(c);
	return READ_OVER;
}

void flow_keep(struct conn *c, const char *data, size_t len)
{
	struct piece *p = calloc(1, sizeof(*p));

	if (!p)
		die("no memory");
	p->at = data;
	p->len = len;
	if (buffer && data >= buffer && data < buffer + buffer_len) {
		p->buf = buffer;
		buffer = NULL;
	}
	if (!c->out)
		c->out_end = &c->out;
	*c->out_end = p;
	c->out_end = &p->next;
	c->out_len += len;
}

/* Returns how much was sent, or -1 if the connection is broken. */
static ssize_t put(struct conn *c, const char *data, size_t len, bool insist)
{
	size_t done = 0;
	ssize_t n;

	do {
		n = call_send(c->fd, data + done, len - done);
		if (n < 0 && errno == EAGAIN)
			break;
		if (n < 0) {
			work_broken(c);
			return -1;
		}
		done += (size_t)n;
	} while (insist && done < len);
	return (ssize_t)done;
}

void flow_send(struct conn *c, const char *data, size_t len, bool insist)
{
	ssize_t n = c->out ? 0 : put(c, data, len, insist);

	if (n >= 0 && (size_t)n < len)
		flow_keep(c, data + n, len - (size_t)n);
}

bool flow_flush(struct conn *c, bool insist)
{
	while (c->out) {
		struct piece *p = c->out;
		ssize_t n = put(c, p->at, p->len, insist);

		if (n < 0)
			return false;
		p->at += n;
		p->len -= (size_t)n;
		c->out_len -= (size_t)n;
		if (p->len)
			return false;
		c->out = p->next;
		mem_put(p->buf);
		free(p);
	}
	return true;
}

void flow_free(struct conn *c)
{
	while (c->out) {
		struct piece *p = c->out;

		c->out = p->next;
		mem_put(p->buf);
		free(p);
	}
	c->out_len = 0;
}
