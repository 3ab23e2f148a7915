/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* What the shim uses of the platform's clock, for the test bed. */
#ifndef TESTBED_UK_PLAT_TIME_H
#define TESTBED_UK_PLAT_TIME_H

#include <stdint.h>

typedef uint64_t __nsec;

/* Virtual here: halts and testbed_clock_set move it. */
__nsec ukplat_monotonic_clock(void);

#endif
