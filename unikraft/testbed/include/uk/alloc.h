/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* What the shim uses of ukalloc, for the test bed. */
#ifndef TESTBED_UK_ALLOC_H
#define TESTBED_UK_ALLOC_H

#include <stddef.h>

struct uk_alloc;

struct uk_alloc *uk_alloc_get_default(void);
void *uk_calloc(struct uk_alloc *a, size_t count, size_t size);

#endif
