// SPDX-License-Identifier: GPL-2.0
/*
 * Prints how many times the time stamp counter ticks in a millisecond. An emulated guest has that
 * of the host; on a machine that has no other clock, its kernel cannot find out by itself.
 */
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <x86intrin.h>

#define NSEC_PER_MSEC 1000000LL
#define MEASURED (50 * NSEC_PER_MSEC)

static long long now(void)
{
	struct timespec time;

	if (clock_gettime(CLOCK_MONOTONIC_RAW, &time))
		exit(1);
	return time.tv_sec * 1000 * NSEC_PER_MSEC + time.tv_nsec;
}

int main(void)
{
	long long start = now(), end;
	unsigned long long ticks = __rdtsc();

	do
		end = now();
	while (end - start < MEASURED);
	ticks = __rdtsc() - ticks;
	printf("%lld\n", (long long)ticks * NSEC_PER_MSEC / (end - start));
	return 0;
}
