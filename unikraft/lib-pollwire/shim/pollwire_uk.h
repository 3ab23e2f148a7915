/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * What pollwire's Rust code asks of Unikraft, as exported functions.
 *
 * Much of Unikraft's C API is inline functions, macros and structures whose
 * layout depends on the build's configuration. This shim is compiled within
 * that configuration and keeps all of it to itself: no `struct uk_netbuf` is
 * ever seen from Rust. The structures below are the whole contract; their Rust
 * twins are in `pollwire_rings::unikraft`.
 *
 *   netdev.c    network devices (over uknetdev)
 *   platform.c  clocks, console, memory, the way in and the end
 *
 * Nothing here may be called from an interrupt handler, and nothing here calls
 * into Rust: Unikraft saves no SSE state when an interrupt comes, and Rust code
 * uses SSE. All functions are for one thread.
 */
#ifndef POLLWIRE_UK_H
#define POLLWIRE_UK_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/* ---------------------------------------------------------------- netdev.c */

/* Changes whenever anything in this section does. */
#define POLLWIRE_UK_NET_VERSION 1

/* Most pieces of one transmitted packet on any device. virtio-net of Unikraft
 * 0.17 has room for 17, its own header included. */
#define POLLWIRE_UK_TX_PIECES 16

/* A device. Opaque; lives until the machine stops. */
struct pollwire_uk_dev;

/* What a device is and can do. */
struct pollwire_uk_caps {
	/* Ethernet address. */
	uint8_t mac[6];
	/* Largest IP packet of one frame, bytes. */
	uint16_t mtu;
	/* It completes checksums (POLLWIRE_UK_TX_PARTIAL). */
	uint8_t tx_checksum;
	/* It segments TCP over IPv4 (POLLWIRE_UK_TX_TSO4). */
	uint8_t tso4;
	/* Most pieces of one transmitted packet. */
	uint16_t tx_pieces;
	/* Bytes that it writes in front of received data. */
	uint16_t rx_headroom;
	/* Most buffers that it takes for reception. */
	uint16_t rx_slots;
	/* Most pieces that it holds for transmission: cookies are below this. */
	uint16_t tx_slots;
};

/* A buffer to receive into: `len` bytes at `data`, with `rx_headroom` more
 * before them. It is the device's until pollwire_uk_rx_take names its cookie. */
struct pollwire_uk_buffer {
	void *data;
	uint32_t len;
	/* Chosen by the caller, given back with the data. */
	uint32_t cookie;
};

/* The packet's checksum was verified, or never left the host. */
#define POLLWIRE_UK_RX_VALID 1u
/* The packet's checksum is incomplete: it never left the host. */
#define POLLWIRE_UK_RX_PARTIAL 2u
/* More pieces of the same packet follow. */
#define POLLWIRE_UK_RX_CONTINUES 4u

/* A received packet, or a piece of one. */
struct pollwire_uk_received {
	uint32_t cookie;
	/* Bytes received, from the buffer's `data` on; at most the buffer's `len`. */
	uint32_t len;
	/* POLLWIRE_UK_RX_*. */
	uint32_t flags;
};

/* A piece of a packet to transmit: `len` bytes at `data`, which must not change
 * until pollwire_uk_tx_done names the cookie. */
struct pollwire_uk_piece {
	const void *data;
	uint32_t len;
	/* Chosen by the caller; below 2^31. */
	uint32_t cookie;
};

/* Sum from `csum_start` on, and add the result at `csum_start + csum_offset`. */
#define POLLWIRE_UK_TX_PARTIAL 1u
/* Segment: `gso_size` bytes of payload each behind `header_len` of headers. */
#define POLLWIRE_UK_TX_TSO4 2u

/* What is asked of the device for a packet. Offsets count from its first byte. */
struct pollwire_uk_request {
	/* POLLWIRE_UK_TX_*. */
	uint32_t flags;
	uint16_t csum_start;
	uint16_t csum_offset;
	uint16_t header_len;
	uint16_t gso_size;
};

/* What happened to a device since it was opened. */
struct pollwire_uk_stats {
	/* Buffers that the driver holds, and buffers that wait for a place there. */
	uint32_t rx_posted;
	uint32_t rx_spare;
	/* Pieces that the driver holds. */
	uint32_t tx_held;
	/* rx_one's errors; each costs a buffer, for the driver drops it. */
	uint64_t rx_errors;
	/* Received packets dropped: in more pieces than the caller has room for, or
	 * not where they were asked to be. */
	uint64_t rx_dropped;
	/* Times that reception waited, for no buffer could take a packet's place. */
	uint64_t rx_starved;
	/* Packets that the driver refused with an error. */
	uint64_t tx_errors;
	/* Frames sent for no other reason than to have completions reaped. */
	uint64_t tx_reapers;
	/* Sleeps. */
	uint64_t halts;
};

/*
 * The network half of the shim: one table, so that the Rust back end names no
 * symbol that a program without Unikraft would lack. Functions return 0 or a
 * count where nothing else is said, and a negative errno for errors.
 */
struct pollwire_uk_net {
	/* POLLWIRE_UK_NET_VERSION */
	uint32_t version;

	/* Probes and sets up device `index`. It does not run yet.
	 * -ENODEV: there is none. -EBUSY: somebody else has it.
	 * -ENOTSUP: its driver is not virtio-net. */
	int (*open)(unsigned int index, struct pollwire_uk_dev **dev,
		    struct pollwire_uk_caps *caps);

	/* Starts it, receiving into the buffers that rx_give brought (at least
	 * two). */
	int (*start)(struct pollwire_uk_dev *dev);

	/* Gives buffers for reception. Returns how many were taken, from the
	 * front; the others stay the caller's. */
	unsigned int (*rx_give)(struct pollwire_uk_dev *dev,
				const struct pollwire_uk_buffer *buffers,
				unsigned int count);

	/* Takes received packets, at most `most` pieces. It never takes the last
	 * buffer from a driver that would get none in its place: virtio-net
	 * refills its ring only when a packet comes, so that an empty ring would
	 * stay empty for ever. When nothing is received, it sees to pieces that
	 * were transmitted long ago, as wait does. */
	unsigned int (*rx_take)(struct pollwire_uk_dev *dev,
				struct pollwire_uk_received *received,
				unsigned int most);

	/* Transmits one packet by reference. 1: the driver holds the pieces until
	 * tx_done names them. 0: no room now. Negative: refused for good. The
	 * pieces are held with 1 only; `request` and `pieces` themselves need not
	 * outlive the call. The driver writes to none of the pieces. */
	int (*tx)(struct pollwire_uk_dev *dev,
		  const struct pollwire_uk_request *request,
		  const struct pollwire_uk_piece *pieces, unsigned int count);

	/* Names pieces that are transmitted, at most `most` cookies. virtio-net
	 * looks for them only when something is transmitted. */
	unsigned int (*tx_done)(struct pollwire_uk_dev *dev, uint32_t *cookies,
				unsigned int most);

	/* When pieces are held: transmits a frame from the device to itself,
	 * which every bridge discards, so that the driver looks for what is
	 * transmitted. At most once per `interval` nanoseconds. 1 if it did. */
	int (*tx_reap)(struct pollwire_uk_dev *dev, uint64_t interval);

	/* Sleeps until a packet arrives or `timeout` nanoseconds have passed
	 * (UINT64_MAX: without bound). May return early. While pieces are held it
	 * sleeps in short steps and sees to it that they come back. */
	void (*wait)(struct pollwire_uk_dev *dev, uint64_t timeout);

	void (*stats)(const struct pollwire_uk_dev *dev,
		      struct pollwire_uk_stats *stats);
};

extern const struct pollwire_uk_net pollwire_uk_net;

/* -------------------------------------------------------------- platform.c */

/* Nanoseconds since boot; never runs backwards. */
uint64_t pollwire_uk_monotonic(void);

/* Nanoseconds since 1970-01-01 00:00 UTC, as far as the platform knows. */
uint64_t pollwire_uk_wall(void);

/* Writes to the console, line feeds with carriage returns. */
void pollwire_uk_console(const char *text, size_t len);

/* Bytes of memory that the machine has. */
uint64_t pollwire_uk_memory(void);

/* A block for the heap, and its size in `size`: as large as can be had without
 * taking more than half of what is free. NULL when there is none. It is the
 * caller's for good. */
void *pollwire_uk_heap(size_t *size);

/* Ends the machine. 0 turns it off. Anything else ends QEMU with the status
 * 2 * code + 1 when it has an isa-debug-exit device, and counts as a crash
 * elsewhere. (With that device, Unikraft 0.17 itself ends QEMU with 83 when it
 * turns the machine off, and with 85 when it crashes.) */
void pollwire_uk_exit(int code) __attribute__((noreturn));

/* The way into Rust, called by platform.c's main with its arguments. */
void pollwire_uk_main(int argc, char *argv[]) __attribute__((noreturn));

#ifdef __cplusplus
}
#endif

#endif /* POLLWIRE_UK_H */
