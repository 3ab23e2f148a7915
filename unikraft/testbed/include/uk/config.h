/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* Unikraft's build writes this file; the test bed switches nothing on. */
