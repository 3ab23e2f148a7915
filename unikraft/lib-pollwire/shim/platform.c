/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * What a program asks of Unikraft besides the network: clocks, console, memory,
 * the way in and the way out. Entropy is not among it: the Rust side asks the
 * CPU itself, and does not start without RDRAND or RDSEED.
 */
#include <stddef.h>
#include <stdint.h>

#include <uk/alloc.h>
#include <uk/arch/limits.h>
#include <uk/config.h>
#include <uk/console.h>
#include <uk/essentials.h>
#include <uk/plat/bootstrap.h>
#include <uk/plat/memory.h>
#include <uk/plat/time.h>

#include "pollwire_uk.h"

#if __STACK_SIZE < 1048576
#error "pollwire needs a stack of 1 MiB: set CONFIG_STACK_SIZE_PAGE_ORDER=8"
#endif

/* Most bytes of the console's line ends that are written in one go. */
#define CONSOLE_CHUNK 256

uint64_t pollwire_uk_monotonic(void)
{
	return ukplat_monotonic_clock();
}

uint64_t pollwire_uk_wall(void)
{
	return ukplat_wall_clock();
}

void pollwire_uk_console(const char *text, size_t len)
{
	char out[CONSOLE_CHUNK];
	size_t used = 0;
	size_t i;

	/* A serial line moves down without going back to the line's start. */
	for (i = 0; i < len; i++) {
		if (used + 2 > sizeof(out)) {
			uk_console_out(out, used);
			used = 0;
		}
		if (text[i] == '\n')
			out[used++] = '\r';
		out[used++] = text[i];
	}
	uk_console_out(out, used);
}

uint64_t pollwire_uk_memory(void)
{
	struct ukplat_memregion_desc *region;
	uint64_t pages = 0;

	ukplat_memregion_foreach(&region,
				 UKPLAT_MEMRT_FREE | UKPLAT_MEMRT_KERNEL |
				 UKPLAT_MEMRT_INITRD | UKPLAT_MEMRT_STACK, 0, 0)
		pages += region->pg_count;
	return pages * __PAGE_SIZE;
}

void *pollwire_uk_heap(size_t *size)
{
	struct uk_alloc *alloc = uk_alloc_get_default();
	/* The driver's rings come from the same place. */
	long spare = uk_alloc_pavailmem(alloc) / 2;
	unsigned long pages = 1;
	void *heap = NULL;

	/* Unikraft's buddy allocator has blocks of powers of two. */
	while ((long)(pages * 2) <= spare)
		pages *= 2;
	for (; !heap && pages >= 16; pages /= 2) {
		heap = uk_palloc(alloc, pages);
		*size = pages * __PAGE_SIZE;
	}
	return heap;
}

void pollwire_uk_exit(int code)
{
#if CONFIG_KVM_VMM_QEMU && defined(__X86_64__)
	/* QEMU's isa-debug-exit, when the machine has it; nothing listens at its
	 * port elsewhere. Code 0 would look like a failure of QEMU's own. */
	if (code) {
		__asm__ __volatile__("outw %0, %1" : : "a"((uint16_t)code),
				     "Nd"((uint16_t)0x501));
	}
#endif
	ukplat_terminate(code ? UKPLAT_CRASH : UKPLAT_HALT);
}

int main(int argc, char *argv[])
{
	pollwire_uk_main(argc, argv);
}
