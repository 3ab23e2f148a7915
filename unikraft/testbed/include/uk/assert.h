/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* An assertion that fails stops a Unikraft machine, and the test bed. */
#ifndef TESTBED_UK_ASSERT_H
#define TESTBED_UK_ASSERT_H

void testbed_assertion_failed(const char *what, const char *file, int line)
	__attribute__((noreturn));

#define UK_ASSERT(x) \
	((x) ? (void)0 : testbed_assertion_failed(#x, __FILE__, __LINE__))

#endif
