// SPDX-License-Identifier: GPL-2.0
/*
 * Writes to a file of the guest, in a window: see count.c. What the kernel does in it is that one
 * system call, and the interrupts that come meanwhile.
 *
 *	window FILE TEXT
 *
 * Or it only opens a window, or closes it: what other programs do in between counts, too, and what
 * it takes to start and to end them.
 *
 *	window begin
 *	window end
 *
 * It has no C library: its pages are all there when the window begins.
 */
#include <asm/unistd.h>
#include <fcntl.h>
#include <stddef.h>

#include "window.h"

static long call(long number, long a, long b, long c)
{
	long result;

	asm volatile("syscall" : "=a"(result) : "a"(number), "D"(a), "S"(b), "d"(c)
		     : "rcx", "r11", "memory");
	return result;
}

static int run(long argc, char **argv)
{
	size_t length = 0;
	long written;
	long file;

	if (argc == 2) {
		if (argv[1][0] == 'b')
			asm volatile("nopl %c0(%%rax)" : : "i"(WINDOW_BEGIN) : "memory");
		else
			asm volatile("nopl %c0(%%rax)" : : "i"(WINDOW_END) : "memory");
		return 0;
	}
	if (argc != 3)
		return 2;
	while (argv[2][length])
		length++;
	file = call(__NR_open, (long)argv[1], O_WRONLY, 0);
	if (file < 0)
		return -file;

	asm volatile("nopl %c0(%%rax)" : : "i"(WINDOW_BEGIN) : "memory");
	written = call(__NR_write, file, (long)argv[2], length);
	asm volatile("nopl %c0(%%rax)" : : "i"(WINDOW_END) : "memory");

	return written < 0 ? -written : 0;
}

/* On the stack is the number of arguments, then pointers to them. */
void start(long *stack)
{
	for (;;)
		call(__NR_exit_group, run(stack[0], (char **)(stack + 1)), 0, 0);
}

asm(".globl _start\n"
	"_start:\n"
	"	mov %rsp, %rdi\n"
	"	and $-16, %rsp\n"
	"	call start\n");
