/* SPDX-License-Identifier: GPL-2.0 */
/*
 * The instructions that delimit a window, for the program that executes them and the plugin that
 * looks for them: "nopl WINDOW_BEGIN(%rax)" and "nopl WINDOW_END(%rax)", which do nothing. No
 * compiler makes them.
 */
#ifndef _BENCH_WINDOW_H
#define _BENCH_WINDOW_H

#define WINDOW_BEGIN	0x78627600
#define WINDOW_END	0x78627601

#endif /* _BENCH_WINDOW_H */
