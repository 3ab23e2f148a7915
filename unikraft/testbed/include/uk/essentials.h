/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* The names of Unikraft's header that the shim uses, for the test bed. */
#ifndef TESTBED_UK_ESSENTIALS_H
#define TESTBED_UK_ESSENTIALS_H

#include <stddef.h>
#include <stdint.h>

#define MIN(a, b) ((a) < (b) ? (a) : (b))
#define __containerof(member_ptr, type, member) \
	((type *)(void *)((char *)(member_ptr) - offsetof(type, member)))

#endif
