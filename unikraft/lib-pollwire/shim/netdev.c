/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * Network devices: pollwire's frames lent to uknetdev, both ways by reference.
 *
 * Written for virtio-net of Unikraft 0.17, whose ways the comments name.
 */
#include <errno.h>
#include <string.h>

#include <uk/alloc.h>
#include <uk/essentials.h>
#include <uk/netbuf.h>
#include <uk/netdev.h>
#include <uk/plat/lcpu.h>
#include <uk/plat/time.h>

#include "pollwire_uk.h"

#ifdef CONFIG_LIBUKNETDEV_DISPATCHERTHREADS
#error "pollwire polls: switch LIBUKNETDEV_DISPATCHERTHREADS off"
#endif

/* The one queue pair that there is. */
#define QUEUE 0
/* Room for the driver's own header in front of a packet. */
#define TX_ROOM 64
/* Most packets that one call of rx_take passes over for being unfit. */
#define MOST_FAILURES 64
/* Buffers kept back from the ring, to take the place of received ones. */
#define MOST_SPARE 32u
/* How long sent pieces may stay with an idle device. */
#define REAP_AFTER (10ULL * 1000 * 1000)
/* How often a device without buffers looks whether there are any. */
#define STARVED_STEP (1000ULL * 1000)
#define REAPER_LEN 60

/* A buffer for reception, while it is the device's. */
struct rx_slot {
	struct uk_netbuf netbuf;
	struct pollwire_uk_buffer buffer;
	struct rx_slot *next;
};

/* A piece in transmission. The driver moves a netbuf's data and length and uses
 * its links, so a frame that is in two packets needs two of these. */
struct tx_slot {
	struct uk_netbuf netbuf;
	uint32_t cookie;
	struct tx_slot *next;
};

/* What goes before the pieces: an empty netbuf, in whose headroom the driver
 * writes its header. Frames are shared and read-only; this keeps it off them.
 * Without pieces behind it, it is a whole frame itself: see reap. */
struct tx_head {
	struct uk_netbuf netbuf;
	struct tx_head *next;
	uint8_t room[TX_ROOM + REAPER_LEN];
};

struct pollwire_uk_dev {
	struct uk_netdev *netdev;
	struct uk_alloc *alloc;
	uint16_t encap_tx;
	uint16_t encap_rx;
	int running;
	/* Buffers that the receive ring has room for. */
	uint32_t rx_ring;

	/* Unused slots, and slots whose buffers wait for a place in the ring. */
	struct rx_slot *rx_unused;
	struct rx_slot *rx_spare;

	struct tx_slot *tx_unused;
	struct tx_head *tx_heads;
	/* Cookies of pieces that the driver gave back. */
	uint32_t *tx_done;
	uint32_t tx_done_count;
	uint64_t tx_packets;
	/* What tx_packets was when the device was last found idle, and when. */
	uint64_t idle_packets;
	uint64_t idle_since;
	uint64_t reaped_at;

	struct pollwire_uk_stats stats;
};

static uint64_t idle_reap(struct pollwire_uk_dev *dev, uint64_t now);

/* --------------------------------------------------------------- reception */

static void rx_push_spare(struct pollwire_uk_dev *dev, struct rx_slot *slot)
{
	slot->next = dev->rx_spare;
	dev->rx_spare = slot;
	dev->stats.rx_spare++;
}

static struct rx_slot *rx_pop_spare(struct pollwire_uk_dev *dev)
{
	struct rx_slot *slot = dev->rx_spare;

	dev->rx_spare = slot->next;
	dev->stats.rx_spare--;
	return slot;
}

/* The driver found no place for a buffer that it had asked for. */
static void rx_unposted(struct uk_netbuf *netbuf)
{
	struct rx_slot *slot =
		__containerof(netbuf, struct rx_slot, netbuf);
	struct pollwire_uk_dev *dev = netbuf->priv;

	dev->stats.rx_posted--;
	rx_push_spare(dev, slot);
}

/* How many buffers the ring gets at the start, beside those that it has. */
static uint32_t rx_first_fill(const struct pollwire_uk_dev *dev)
{
	uint32_t all = dev->stats.rx_posted + dev->stats.rx_spare;
	uint32_t wanted = MIN(all - MIN(all / 2, MOST_SPARE), dev->rx_ring);

	return wanted - MIN(wanted, dev->stats.rx_posted);
}

/* The driver asks for buffers: from within start and rx_take only.
 *
 * Once it runs it gets one for each packet that it gives. It tells the host of
 * what it added as if that were one buffer: with event indices, a host that has
 * run dry and waits for the first of several would never learn of any, and
 * reception would stop for ever. A host that has not run dry asks for no
 * notification. So the ring cannot grow again where it has shrunk; buffers kept
 * back from it see to it that it does not shrink while frames are scarce. */
static uint16_t rx_refill(void *argp, struct uk_netbuf *pkts[], uint16_t count)
{
	struct pollwire_uk_dev *dev = argp;
	uint16_t given = 0;

	count = MIN(count, dev->running ? 1 : rx_first_fill(dev));
	while (given < count && dev->rx_spare) {
		struct rx_slot *slot = rx_pop_spare(dev);
		uint8_t *start = slot->buffer.data;

		uk_netbuf_init_indir(&slot->netbuf, start - dev->encap_rx,
				     dev->encap_rx + slot->buffer.len,
				     dev->encap_rx, dev, rx_unposted);
		slot->netbuf.len = slot->buffer.len;
		pkts[given++] = &slot->netbuf;
		dev->stats.rx_posted++;
	}
	return given;
}

static unsigned int rx_give(struct pollwire_uk_dev *dev,
			    const struct pollwire_uk_buffer *buffers,
			    unsigned int count)
{
	unsigned int taken = 0;

	while (taken < count && dev->rx_unused) {
		struct rx_slot *slot = dev->rx_unused;

		dev->rx_unused = slot->next;
		slot->buffer = buffers[taken++];
		rx_push_spare(dev, slot);
	}
	return taken;
}

/* Whether taking a packet leaves the driver with a buffer. */
static int rx_may_take(const struct pollwire_uk_dev *dev)
{
	return dev->stats.rx_posted + dev->stats.rx_spare >= 2;
}

/* How many pieces `packet` has; 0 when there is no room for them, or one does
 * not begin where it was asked to. */
static unsigned int rx_check(struct uk_netbuf *packet, unsigned int room)
{
	struct uk_netbuf *netbuf;
	unsigned int pieces = 0;

	UK_NETBUF_CHAIN_FOREACH(netbuf, packet) {
		const struct rx_slot *slot =
			__containerof(netbuf, struct rx_slot, netbuf);

		if (netbuf->data != slot->buffer.data || ++pieces > room)
			return 0;
	}
	return pieces;
}

static void rx_describe(const struct rx_slot *slot,
			struct pollwire_uk_received *received)
{
	const struct uk_netbuf *netbuf = &slot->netbuf;

	received->cookie = slot->buffer.cookie;
	/* virtio-net counts its own header in. */
	received->len = MIN(netbuf->len, slot->buffer.len);
	received->flags = 0;
	if (netbuf->flags & UK_NETBUF_F_DATA_VALID)
		received->flags |= POLLWIRE_UK_RX_VALID;
	if (netbuf->flags & UK_NETBUF_F_PARTIAL_CSUM)
		received->flags |= POLLWIRE_UK_RX_PARTIAL;
	if (netbuf->next)
		received->flags |= POLLWIRE_UK_RX_CONTINUES;
}

/* Takes `packet` over from the driver; `received` has room for its pieces. */
static void rx_accept(struct pollwire_uk_dev *dev, struct uk_netbuf *packet,
		      struct pollwire_uk_received *received)
{
	while (packet) {
		struct uk_netbuf *next = packet->next;
		struct rx_slot *slot =
			__containerof(packet, struct rx_slot, netbuf);

		rx_describe(slot, received++);
		dev->stats.rx_posted--;
		slot->next = dev->rx_unused;
		dev->rx_unused = slot;
		packet = next;
	}
}

/* Makes the buffers of `packet` spare ones again. */
static void rx_drop(struct pollwire_uk_dev *dev, struct uk_netbuf *packet)
{
	dev->stats.rx_dropped++;
	while (packet) {
		struct uk_netbuf *next = packet->next;

		dev->stats.rx_posted--;
		rx_push_spare(dev,
			      __containerof(packet, struct rx_slot, netbuf));
		packet = next;
	}
}

static unsigned int rx_take(struct pollwire_uk_dev *dev,
			    struct pollwire_uk_received *received,
			    unsigned int most)
{
	unsigned int taken = 0, failures = 0;

	while (taken < most) {
		struct uk_netbuf *packet = NULL;
		unsigned int pieces;
		int status;

		if (!rx_may_take(dev)) {
			dev->stats.rx_starved++;
			break;
		}
		/* Rather than let the ring shrink, let the caller see first
		 * whether it has a use for what it got. */
		if (taken > 0 && !dev->rx_spare)
			break;
		status = uk_netdev_rx_one(dev->netdev, QUEUE, &packet);
		if (status < 0) {
			/* A packet of a length that virtio-net does not like. It
			 * has taken the buffer out of its ring, tells nobody
			 * which one it was, and has not refilled the ring. The
			 * buffer is gone: a guess could give away one that the
			 * host still writes to. Buffers of the MTU's length
			 * never get here, for such a packet does not fit. */
			dev->stats.rx_errors++;
			dev->stats.rx_posted--;
			if (++failures == MOST_FAILURES)
				break;
			continue;
		}
		if (!uk_netdev_status_successful(status))
			break;
		pieces = rx_check(packet, most - taken);
		if (pieces == 0) {
			rx_drop(dev, packet);
			if (++failures == MOST_FAILURES)
				break;
			continue;
		}
		rx_accept(dev, packet, received + taken);
		taken += pieces;
	}
	/* Not every loop sleeps, nor sleeps in this device. */
	if (taken == 0 && dev->stats.tx_held > 0)
		idle_reap(dev, ukplat_monotonic_clock());
	return taken;
}

/* ------------------------------------------------------------ transmission */

static void tx_head_freed(struct uk_netbuf *netbuf)
{
	struct tx_head *head = __containerof(netbuf, struct tx_head, netbuf);
	struct pollwire_uk_dev *dev = netbuf->priv;

	head->next = dev->tx_heads;
	dev->tx_heads = head;
}

static void tx_slot_unused(struct pollwire_uk_dev *dev, struct tx_slot *slot)
{
	slot->next = dev->tx_unused;
	dev->tx_unused = slot;
}

static void tx_piece_freed(struct uk_netbuf *netbuf)
{
	struct tx_slot *slot = __containerof(netbuf, struct tx_slot, netbuf);
	struct pollwire_uk_dev *dev = netbuf->priv;

	dev->stats.tx_held--;
	dev->tx_done[dev->tx_done_count++] = slot->cookie;
	tx_slot_unused(dev, slot);
}

static struct tx_head *tx_new_head(struct pollwire_uk_dev *dev)
{
	struct tx_head *head = dev->tx_heads;

	dev->tx_heads = head->next;
	uk_netbuf_init_indir(&head->netbuf, head->room, sizeof(head->room),
			     dev->encap_tx, dev, tx_head_freed);
	return head;
}

static void tx_ask(struct uk_netbuf *netbuf,
		   const struct pollwire_uk_request *request)
{
	if (request->flags & POLLWIRE_UK_TX_PARTIAL) {
		netbuf->flags |= UK_NETBUF_F_PARTIAL_CSUM |
				 UK_NETBUF_F_DATA_VALID;
		netbuf->csum_start = request->csum_start;
		netbuf->csum_offset = request->csum_offset;
	}
	if (request->flags & POLLWIRE_UK_TX_TSO4) {
		netbuf->flags |= UK_NETBUF_F_GSO_TCPV4;
		netbuf->header_len = request->header_len;
		netbuf->gso_size = request->gso_size;
	}
}

static struct uk_netbuf *tx_new_piece(struct pollwire_uk_dev *dev,
				      const struct pollwire_uk_piece *piece)
{
	struct tx_slot *slot = dev->tx_unused;

	dev->tx_unused = slot->next;
	slot->cookie = piece->cookie;
	uk_netbuf_init_indir(&slot->netbuf, (void *)(uintptr_t)piece->data,
			     piece->len, 0, dev, tx_piece_freed);
	slot->netbuf.len = piece->len;
	return &slot->netbuf;
}

/* Takes a packet apart that the driver did not take. */
static void tx_undo(struct pollwire_uk_dev *dev, struct tx_head *head)
{
	struct uk_netbuf *netbuf = head->netbuf.next;

	while (netbuf) {
		struct uk_netbuf *next = netbuf->next;

		tx_slot_unused(dev,
			       __containerof(netbuf, struct tx_slot, netbuf));
		netbuf = next;
	}
	tx_head_freed(&head->netbuf);
}

/* Whether there are `count` pieces, none of them empty or too long. */
static int tx_valid(const struct pollwire_uk_piece *pieces, unsigned int count)
{
	unsigned int i;

	if (count == 0 || count > POLLWIRE_UK_TX_PIECES)
		return 0;
	for (i = 0; i < count; i++)
		if (pieces[i].len == 0 || pieces[i].len > UINT16_MAX)
			return 0;
	return 1;
}

static int tx_has_room(const struct pollwire_uk_dev *dev, unsigned int count)
{
	const struct tx_slot *slot = dev->tx_unused;

	while (slot && count) {
		slot = slot->next;
		count--;
	}
	return count == 0 && dev->tx_heads;
}

static int tx(struct pollwire_uk_dev *dev,
	      const struct pollwire_uk_request *request,
	      const struct pollwire_uk_piece *pieces, unsigned int count)
{
	struct tx_head *head;
	struct uk_netbuf *last;
	unsigned int i;
	int status;

	if (!tx_valid(pieces, count)) {
		dev->stats.tx_errors++;
		return -EINVAL;
	}
	if (!tx_has_room(dev, count))
		return 0;
	head = tx_new_head(dev);
	tx_ask(&head->netbuf, request);
	last = &head->netbuf;
	for (i = 0; i < count; i++) {
		struct uk_netbuf *next = tx_new_piece(dev, &pieces[i]);

		uk_netbuf_connect(last, next);
		last = next;
	}
	status = uk_netdev_tx_one(dev->netdev, QUEUE, &head->netbuf);
	if (uk_netdev_status_successful(status)) {
		dev->stats.tx_held += count;
		dev->tx_packets++;
		return 1;
	}
	tx_undo(dev, head);
	if (status >= 0)
		return 0;
	dev->stats.tx_errors++;
	return status;
}

static unsigned int tx_done(struct pollwire_uk_dev *dev, uint32_t *cookies,
			    unsigned int most)
{
	unsigned int count = MIN(most, dev->tx_done_count);

	dev->tx_done_count -= count;
	memcpy(cookies, dev->tx_done + dev->tx_done_count,
	       count * sizeof(*cookies));
	return count;
}

/* ---------------------------------------------------- completions when idle */

/* A frame like those with which routers test their own links: from this device,
 * to this device, of Ethernet's type for loopback. A bridge knows the address
 * to be where the frame came from and forwards it nowhere. */
static void reaper_write(uint8_t *frame, const struct uk_hwaddr *mac)
{
	memset(frame, 0, REAPER_LEN);
	memcpy(frame, mac->addr_bytes, UK_NETDEV_HWADDR_LEN);
	memcpy(frame + UK_NETDEV_HWADDR_LEN, mac->addr_bytes,
	       UK_NETDEV_HWADDR_LEN);
	frame[12] = 0x90;
	frame[13] = 0x00;
}

/* Even a driver whose ring is full looks for completions first. There is always
 * a head: a packet takes two places, and there is one head more than places for
 * packets. */
static void reap(struct pollwire_uk_dev *dev)
{
	struct tx_head *head = tx_new_head(dev);
	int status;

	head->netbuf.len = REAPER_LEN;
	reaper_write(head->netbuf.data, uk_netdev_hwaddr_get(dev->netdev));
	status = uk_netdev_tx_one(dev->netdev, QUEUE, &head->netbuf);
	if (uk_netdev_status_successful(status))
		dev->stats.tx_reapers++;
	else
		tx_head_freed(&head->netbuf);
}

static int tx_reap(struct pollwire_uk_dev *dev, uint64_t interval)
{
	uint64_t now;

	if (dev->stats.tx_held == 0)
		return 0;
	now = ukplat_monotonic_clock();
	if (now - dev->reaped_at < interval)
		return 0;
	dev->reaped_at = now;
	reap(dev);
	return 1;
}

/* Sees to pieces that lie with the driver although nothing is transmitted any
 * more. Returns when to look again. */
static uint64_t idle_reap(struct pollwire_uk_dev *dev, uint64_t now)
{
	if (dev->stats.tx_held == 0)
		return INT64_MAX;
	if (dev->idle_packets != dev->tx_packets) {
		dev->idle_packets = dev->tx_packets;
		dev->idle_since = now;
	} else if (now - dev->idle_since >= REAP_AFTER) {
		dev->idle_since = now;
		reap(dev);
	}
	return dev->idle_since + REAP_AFTER;
}

/* ------------------------------------------------------------------- sleep */

/* Halts until `until`, or an interrupt; with `rx`, only while nothing waits to
 * be received. Interrupts are off from the look at the ring to the halt, which
 * lets them in, so that none can slip in between. */
static void halt(struct pollwire_uk_dev *dev, uint64_t until, int rx)
{
	unsigned long flags = ukplat_lcpu_save_irqf();

	if (!rx || uk_netdev_rxq_intr_enable(dev->netdev, QUEUE) == 0) {
		dev->stats.halts++;
		ukplat_lcpu_halt_irq_until((__nsec)until);
	}
	ukplat_lcpu_restore_irqf(flags);
	/* rx_one wants them off. */
	if (rx)
		uk_netdev_rxq_intr_disable(dev->netdev, QUEUE);
}

static void net_wait(struct pollwire_uk_dev *dev, uint64_t timeout)
{
	uint64_t now = ukplat_monotonic_clock();
	uint64_t until;
	int rx = rx_may_take(dev);

	/* The platform compares times as signed numbers. */
	until = timeout < INT64_MAX - now ? now + timeout : INT64_MAX;
	until = MIN(until, idle_reap(dev, now));
	if (!rx)
		until = MIN(until, now + STARVED_STEP);
	if (until > now && dev->tx_done_count == 0)
		halt(dev, until, rx);
}

/* ------------------------------------------------------------------ set-up */

static int make_slots(struct pollwire_uk_dev *dev, unsigned int rx,
		      unsigned int tx, unsigned int heads)
{
	struct rx_slot *rx_slots = uk_calloc(dev->alloc, rx, sizeof(*rx_slots));
	struct tx_slot *tx_slots = uk_calloc(dev->alloc, tx, sizeof(*tx_slots));
	struct tx_head *tx_heads =
		uk_calloc(dev->alloc, heads, sizeof(*tx_heads));

	dev->tx_done = uk_calloc(dev->alloc, tx, sizeof(*dev->tx_done));
	if (!rx_slots || !tx_slots || !tx_heads || !dev->tx_done)
		return -ENOMEM;
	while (rx--) {
		rx_slots[rx].next = dev->rx_unused;
		dev->rx_unused = &rx_slots[rx];
	}
	while (tx--)
		tx_slot_unused(dev, &tx_slots[tx]);
	while (heads--) {
		tx_heads[heads].next = dev->tx_heads;
		dev->tx_heads = &tx_heads[heads];
	}
	return 0;
}

static int probe(struct uk_netdev *netdev, struct uk_netdev_info *info)
{
	const char *driver = uk_netdev_drv_name_get(netdev);
	int rc;

	/* Another driver may take no chains (Xen's), or take none with an empty
	 * netbuf in front. */
	if (!driver || strcmp(driver, "virtio-net") != 0)
		return -ENOTSUP;
	if (uk_netdev_state_get(netdev) == UK_NETDEV_UNPROBED) {
		rc = uk_netdev_probe(netdev);
		if (rc < 0)
			return rc;
	}
	if (uk_netdev_state_get(netdev) != UK_NETDEV_UNCONFIGURED)
		return -EBUSY;
	uk_netdev_info_get(netdev, info);
	return info->nb_encap_tx <= TX_ROOM ? 0 : -ENOTSUP;
}

static int configure(struct pollwire_uk_dev *dev, struct pollwire_uk_caps *caps)
{
	struct uk_netdev_conf conf = { .nb_rx_queues = 1, .nb_tx_queues = 1 };
	struct uk_netdev_txqueue_conf txq_conf = { .a = dev->alloc };
	struct uk_netdev_queue_info rxq, txq;
	unsigned int packets;
	int rc;

	rc = uk_netdev_configure(dev->netdev, &conf);
	if (rc < 0)
		return rc;
	rc = uk_netdev_rxq_info_get(dev->netdev, QUEUE, &rxq);
	if (rc < 0)
		return rc;
	rc = uk_netdev_txq_info_get(dev->netdev, QUEUE, &txq);
	if (rc < 0)
		return rc;
	/* A received packet takes two descriptors, a transmitted one at least
	 * two: pieces that adjoin share one. One packet more than the ring holds,
	 * so that it is the ring that says when it is full: asking it is what
	 * reaps completions, and nothing else does. */
	packets = txq.nb_max / 2 + 1;
	dev->rx_ring = rxq.nb_max / 2;
	caps->rx_slots = dev->rx_ring + MOST_SPARE;
	caps->tx_slots = MIN(packets * POLLWIRE_UK_TX_PIECES,
			     (unsigned int)INT16_MAX);
	caps->tx_pieces = MIN(POLLWIRE_UK_TX_PIECES, txq.nb_max - 1);
	rc = make_slots(dev, caps->rx_slots, caps->tx_slots, packets);
	if (rc < 0)
		return rc;
	return uk_netdev_txq_configure(dev->netdev, QUEUE, 0, &txq_conf);
}

static void describe(struct pollwire_uk_dev *dev,
		     const struct uk_netdev_info *info,
		     struct pollwire_uk_caps *caps)
{
	uint32_t features = info->features;
	uint16_t mtu = uk_netdev_mtu_get(dev->netdev);

	memcpy(caps->mac, uk_netdev_hwaddr_get(dev->netdev)->addr_bytes,
	       sizeof(caps->mac));
	/* virtio-net carries no longer packets whatever MTU it tells, and it
	 * tells a wrong one when the host sets it. */
	caps->mtu = MIN(mtu, UK_ETH_PAYLOAD_MAXLEN);
	caps->tx_checksum = !!uk_netdev_partial_csum_supported(features);
	caps->tso4 = caps->tx_checksum && uk_netdev_tso4_supported(features);
	caps->rx_headroom = info->nb_encap_rx;
}

static int net_open(unsigned int index, struct pollwire_uk_dev **opened,
		    struct pollwire_uk_caps *caps)
{
	struct uk_netdev *netdev = uk_netdev_get(index);
	struct uk_alloc *alloc = uk_alloc_get_default();
	struct pollwire_uk_dev *dev;
	struct uk_netdev_info info;
	int rc;

	if (!netdev)
		return -ENODEV;
	rc = probe(netdev, &info);
	if (rc < 0)
		return rc;
	dev = uk_calloc(alloc, 1, sizeof(*dev));
	if (!dev)
		return -ENOMEM;
	dev->netdev = netdev;
	dev->alloc = alloc;
	dev->encap_tx = info.nb_encap_tx;
	dev->encap_rx = info.nb_encap_rx;
	rc = configure(dev, caps);
	if (rc < 0)
		/* What was allocated stays so: there is no way to take a device
		 * back, and a program that wanted one ends. */
		return rc;
	describe(dev, &info, caps);
	*opened = dev;
	return 0;
}

static int net_start(struct pollwire_uk_dev *dev)
{
	/* No callback: that an interrupt came is enough to end a halt, and what
	 * runs in it must not use SSE. */
	struct uk_netdev_rxqueue_conf conf = {
		.a = dev->alloc,
		.alloc_rxpkts = rx_refill,
		.alloc_rxpkts_argp = dev,
	};
	int rc;

	if (!rx_may_take(dev))
		return -ENOMEM;
	rc = uk_netdev_rxq_configure(dev->netdev, QUEUE, 0, &conf);
	if (rc < 0)
		return rc;
	dev->running = 1;
	return uk_netdev_start(dev->netdev);
}

static void net_stats(const struct pollwire_uk_dev *dev,
		      struct pollwire_uk_stats *stats)
{
	*stats = dev->stats;
}

const struct pollwire_uk_net pollwire_uk_net = {
	.version = POLLWIRE_UK_NET_VERSION,
	.open = net_open,
	.start = net_start,
	.rx_give = rx_give,
	.rx_take = rx_take,
	.tx = tx,
	.tx_done = tx_done,
	.tx_reap = tx_reap,
	.wait = net_wait,
	.stats = net_stats,
};
