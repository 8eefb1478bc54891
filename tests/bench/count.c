// SPDX-License-Identifier: GPL-2.0
/*
 * A plugin of QEMU that counts the instructions which the kernel of a guest executes in windows.
 *
 *	-plugin count.so,out=FILE
 *
 * A window is what happens between two magic instructions of a program in the guest: see
 * window.h. For each, FILE gets a line "window", a line "ADDRESS COUNT" for each bucket of code
 * in which something was executed, in hexadecimal and decimal, and a line "end". Functions start
 * at the boundary of a bucket, so that each bucket belongs to one.
 *
 * Each instruction is counted by itself, not with its block: QEMU may leave a block in the middle
 * and execute the rest as another one, as it does at each access to a device.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "plugin.h"
#include "window.h"

#define BUCKET		16
#define SLOTS		1048576UL

int qemu_plugin_version = PLUGIN_VERSION;

static struct qemu_plugin_scoreboard *counts;
static unsigned long addresses[SLOTS];
static unsigned long used;
static FILE *out;

/* Returns the counter of the bucket at an address. Nothing is at address 0. */
static struct qemu_plugin_entry counter(unsigned long address)
{
	unsigned long slot;

	address -= address % BUCKET;
	slot = address / BUCKET * 0x9e3779b97f4a7c15 / (~0UL / SLOTS + 1);
	while (addresses[slot] && addresses[slot] != address)
		slot = (slot + 1) % SLOTS;
	if (!addresses[slot]) {
		if (++used > SLOTS / 4 * 3) {
			fprintf(stderr, "count: the guest executes too much code\n");
			exit(1);
		}
		addresses[slot] = address;
	}
	return (struct qemu_plugin_entry){ counts, slot * sizeof(unsigned long) };
}

static void window_open(unsigned int cpu, void *data)
{
	(void)data;
	memset(qemu_plugin_scoreboard_find(counts, cpu), 0, SLOTS * sizeof(unsigned long));
}

static void window_close(unsigned int cpu, void *data)
{
	const unsigned long *count = qemu_plugin_scoreboard_find(counts, cpu);
	unsigned long i;

	(void)data;
	fprintf(out, "window\n");
	for (i = 0; i < SLOTS; i++)
		if (addresses[i] && count[i])
			fprintf(out, "%lx %lu\n", addresses[i], count[i]);
	fprintf(out, "end\n");
	fflush(out);
}

/* Returns the displacement of a long NOP, or 0. */
static unsigned int magic(struct qemu_plugin_insn *insn)
{
	static const unsigned char nopl[] = { 0x0f, 0x1f, 0x80 };
	unsigned char code[sizeof(nopl) + sizeof(unsigned int)];
	unsigned int displacement;

	if (qemu_plugin_insn_data(insn, code, sizeof(code)) != sizeof(code) ||
	    memcmp(code, nopl, sizeof(nopl)))
		return 0;
	memcpy(&displacement, code + sizeof(nopl), sizeof(displacement));
	return displacement;
}

static void translate_insn(struct qemu_plugin_insn *insn)
{
	unsigned long address = qemu_plugin_insn_vaddr(insn);

	/* The upper half of the address space is the kernel's. */
	if (address >> 63) {
		qemu_plugin_register_vcpu_insn_exec_inline_per_vcpu(insn, QEMU_PLUGIN_INLINE_ADD,
								    counter(address), 1);
		return;
	}
	switch (magic(insn)) {
	case WINDOW_BEGIN:
		qemu_plugin_register_vcpu_insn_exec_cb(insn, window_open, QEMU_PLUGIN_NO_REGS,
						       NULL);
		break;
	case WINDOW_END:
		qemu_plugin_register_vcpu_insn_exec_cb(insn, window_close, QEMU_PLUGIN_NO_REGS,
						       NULL);
		break;
	}
}

static void translate(struct qemu_plugin_tb *tb, void *data)
{
	size_t count = qemu_plugin_tb_n_insns(tb);
	size_t i;

	(void)data;
	for (i = 0; i < count; i++)
		translate_insn(qemu_plugin_tb_get_insn(tb, i));
}

int qemu_plugin_install(unsigned long id, const struct qemu_info *info, int argc, char **argv)
{
	(void)info;
	if (argc != 1 || strncmp(argv[0], "out=", 4)) {
		fprintf(stderr, "count: out=FILE is missing\n");
		return -1;
	}
	out = fopen(argv[0] + 4, "w");
	if (!out) {
		perror(argv[0] + 4);
		return -1;
	}
	counts = qemu_plugin_scoreboard_new(SLOTS * sizeof(unsigned long));
	qemu_plugin_register_vcpu_tb_trans_cb(id, translate, NULL);
	return 0;
}
