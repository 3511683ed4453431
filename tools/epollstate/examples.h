/* SPDX-License-Identifier: BSD-3-Clause OR GPL-2.0 */
/* What the examples of the documentation leave to the reader, to compile them. */
#include <stdbool.h>
#include <sys/socket.h>
#include "epollstate.h"

#ifdef README
struct conn {
	int fd;
	struct epoll_state state;
};

void echo_some(struct conn *conn, uint32_t len);
void finish(struct conn *conn);
void example(int epfd, struct conn *conn);

void example(int epfd, struct conn *conn)
{
	struct epoll_state *s;
	int i, n;

#else
struct conn;

int conn_add(int epfd, struct conn *c);
bool conn_flush(struct conn *c);
void conn_error(struct conn *c, int error);
void receive_all(struct conn *c, char *buf, size_t largest);
void message(struct conn *c, const char *data, size_t len);
void loop(int epfd);
bool conn_echo(struct conn *c);
bool conn_put(struct conn *c, const char *data, size_t len);
void conn_close(struct conn *c);
#endif
