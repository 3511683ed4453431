// SPDX-License-Identifier: GPL-2.0
/*
 * A plugin of QEMU that counts how often each instruction is executed between
 * the two markers of tools/epollstate/bench.c.  Written when QEMU ends, to the
 * file named by out=FILE: "regions N", then a line "ADDRESS COUNT" for each.
 *
 * Debian has no header for plugins: the few declarations needed are repeated
 * here (version 1 of the interface, QEMU 4.2 to 8.2).
 */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef uint64_t qemu_plugin_id_t;
struct qemu_plugin_tb;
struct qemu_plugin_insn;

void qemu_plugin_register_vcpu_tb_trans_cb(qemu_plugin_id_t id,
		void (*cb)(qemu_plugin_id_t id, struct qemu_plugin_tb *tb));
void qemu_plugin_register_vcpu_insn_exec_cb(struct qemu_plugin_insn *insn,
		void (*cb)(unsigned int vcpu, void *data), int flags, void *data);
void qemu_plugin_register_atexit_cb(qemu_plugin_id_t id,
		void (*cb)(qemu_plugin_id_t id, void *data), void *data);
size_t qemu_plugin_tb_n_insns(const struct qemu_plugin_tb *tb);
struct qemu_plugin_insn *qemu_plugin_tb_get_insn(const struct qemu_plugin_tb *tb,
						 size_t i);
const void *qemu_plugin_insn_data(const struct qemu_plugin_insn *insn);
size_t qemu_plugin_insn_size(const struct qemu_plugin_insn *insn);
uint64_t qemu_plugin_insn_vaddr(const struct qemu_plugin_insn *insn);

int qemu_plugin_version = 1;

/* nopl 0x5e5e0001(%rax), and with 2 at its end: see bench.c. */
static const uint8_t marker[] = { 0x0f, 0x1f, 0x80, 0, 0, 0x5e, 0x5e };

/* Code is translated more than once, so an address may have several. */
struct counter {
	struct counter *next;
	uint64_t address;
	uint64_t count;
};

static struct counter *counters;
static uint64_t regions;
static int inside;
static const char *out;

static void begin(unsigned int vcpu, void *data)
{
	inside = 1;
	regions++;
}

static void end(unsigned int vcpu, void *data)
{
	inside = 0;
}

static void count(unsigned int vcpu, void *data)
{
	struct counter *c = data;

	c->count += inside;
}

/* 1 or 2 for the markers, 0 for all others. */
static int which_marker(const struct qemu_plugin_insn *insn)
{
	uint8_t code[sizeof(marker)];
	int which;

	if (qemu_plugin_insn_size(insn) != sizeof(code))
		return 0;
	memcpy(code, qemu_plugin_insn_data(insn), sizeof(code));
	which = code[3];
	code[3] = 0;
	return memcmp(code, marker, sizeof(code)) ? 0 : which;
}

static void translated(qemu_plugin_id_t id, struct qemu_plugin_tb *tb)
{
	size_t i, n = qemu_plugin_tb_n_insns(tb);

	for (i = 0; i < n; i++) {
		struct qemu_plugin_insn *insn = qemu_plugin_tb_get_insn(tb, i);
		int which = which_marker(insn);
		struct counter *c;

		if (which) {
			qemu_plugin_register_vcpu_insn_exec_cb(insn,
					which == 1 ? begin : end, 0, NULL);
			continue;
		}
		c = calloc(1, sizeof(*c));
		if (!c)
			abort();
		c->address = qemu_plugin_insn_vaddr(insn);
		c->next = counters;
		counters = c;
		qemu_plugin_register_vcpu_insn_exec_cb(insn, count, 0, c);
	}
}

static void done(qemu_plugin_id_t id, void *data)
{
	FILE *f = fopen(out, "w");
	struct counter *c;

	if (!f) {
		perror(out);
		return;
	}
	fprintf(f, "regions %llu\n", (unsigned long long)regions);
	for (c = counters; c; c = c->next)
		if (c->count)
			fprintf(f, "%llx %llu\n", (unsigned long long)c->address,
				(unsigned long long)c->count);
	fclose(f);
}

int qemu_plugin_install(qemu_plugin_id_t id, const void *info, int argc, char **argv)
{
	if (argc != 1 || strncmp(argv[0], "out=", 4))
		return 1;
	out = strdup(argv[0] + 4);
	qemu_plugin_register_vcpu_tb_trans_cb(id, translated);
	qemu_plugin_register_atexit_cb(id, done, NULL);
	return 0;
}
