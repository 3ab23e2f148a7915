/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * The host's side of the test bed: what the tests do to the driver, the rings
 * and the clock. The machine's side is Unikraft's API (include/uk).
 *
 * All state is a thread's own, so that tests run side by side.
 */
#ifndef TESTBED_H
#define TESTBED_H

#include <stddef.h>
#include <stdint.h>

/* Ways of virtio-net 0.17 that a caller has to cope with. */
/* rx_one counts the virtio header in: lengths are 10 too high. */
#define TESTBED_LONG_LENGTH 1u
/* The receive ring is refilled only when a packet was taken from it. */
#define TESTBED_STUCK_REFILL 2u
/* The host writes frames that are too long as far as they fit, and tells their
 * whole length: rx_one fails, and the buffer is lost. Without, it drops them. */
#define TESTBED_OVERLONG_ERROR 4u
/* What is transmitted is freed in the next tx_one only. Without: at once. */
#define TESTBED_LATE_COMPLETIONS 8u
/* Descriptors come back with data, length, links and flags spoiled. */
#define TESTBED_MUTATE 16u
/* The host takes the youngest buffer first, and is done with what is transmitted
 * in the reverse order. */
#define TESTBED_DISORDER 32u
/* A host that has run out of buffers waits to be notified of the first new one,
 * and the driver notifies it as if each refill were one buffer. */
#define TESTBED_EVENT_INDEX 64u

struct testbed_config {
	/* TESTBED_*. */
	uint32_t traps;
	/* Ring sizes; powers of two up to 256. A received packet takes two, a
	 * transmitted one two or more. */
	uint16_t rx_descriptors;
	uint16_t tx_descriptors;
	uint16_t mtu;
	uint8_t mac[6];
	/* Offloads that the host offers. */
	uint8_t checksum;
	uint8_t tso4;
};

/* The vnet header, as the host sees it. */
struct testbed_vnet {
	uint8_t flags; /* 1: needs a checksum; 2: data is valid */
	uint8_t gso_type; /* 1: TCPv4 */
	uint16_t header_len;
	uint16_t gso_size;
	uint16_t csum_start;
	uint16_t csum_offset;
};

struct testbed_stats {
	/* Frames that the host dropped: ring empty; longer than the buffer. */
	uint64_t rx_no_buffer;
	uint64_t rx_too_long;
	/* Errors that rx_one returned, each with a buffer lost. */
	uint64_t rx_errors;
	/* Messages that the driver would have printed as errors. */
	uint64_t complaints;
	/* Times that the host was notified: of buffers when it has none, of packets
	 * always. */
	uint64_t rx_notified;
	uint64_t tx_notified;
	/* Halts, and those that an arrived packet ended. */
	uint64_t halts;
	uint64_t woken;
	/* Buffers in the receive ring, and packets in the transmit ring, done or
	 * not. */
	uint32_t rx_posted;
	uint32_t tx_queued;
};

struct testbed;

/* Attaches a device; the first of a thread has index 0. Never freed. */
struct testbed *testbed_attach(const struct testbed_config *config);

/* Takes all devices of this thread away and turns its clock back. */
void testbed_reset(void);

/* The host receives a frame for the machine. 1: it is in the ring. 0: dropped. */
int testbed_inject(struct testbed *bed, const void *frame, size_t len,
		   const struct testbed_vnet *vnet);

/* Buffers that the host knows of, to receive frames into. Asked when there are
 * none, the host waits to be notified. */
uint32_t testbed_rx_room(struct testbed *bed);

/* The host takes the next frame that the machine transmits: its length, and at
 * most `room` bytes of it; -1 when there is none. */
long testbed_extract(struct testbed *bed, void *frame, size_t room,
		     struct testbed_vnet *vnet);

/* How many pieces the frame that was last extracted had. */
uint32_t testbed_last_pieces(const struct testbed *bed);

void testbed_stats_get(const struct testbed *bed, struct testbed_stats *stats);

/* This thread's clock, in nanoseconds. */
void testbed_clock_set(uint64_t now);

/* Called in each halt, interrupts let in, to make something happen: at once, and
 * again at the time that it returns, unless the halt has ended by then. */
void testbed_on_halt(uint64_t (*hook)(void *), void *argument);

#endif
