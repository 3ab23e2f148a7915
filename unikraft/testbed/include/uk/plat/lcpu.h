/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* What the shim uses of interrupts and sleep, for the test bed. */
#ifndef TESTBED_UK_PLAT_LCPU_H
#define TESTBED_UK_PLAT_LCPU_H

#include <uk/plat/time.h>

unsigned long ukplat_lcpu_save_irqf(void);
void ukplat_lcpu_restore_irqf(unsigned long flags);
/* Interrupts must be off; they are let in for the time of the halt. */
void ukplat_lcpu_halt_irq_until(__nsec until);

#endif
