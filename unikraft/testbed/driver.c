/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * A network driver that behaves as virtio-net of Unikraft 0.17 does, faults
 * included, and the host behind its rings.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include <uk/netdev.h>
#include <uk/plat/lcpu.h>

#include "testbed.h"

#define MOST_DESCRIPTORS 256
#define MOST_DEVICES 4
/* The legacy header, and what the driver pads it to. */
#define VNET_LEN 10
#define VNET_ROOM 16
#define ETHERNET 14
/* Descriptors of one packet, its header's included. */
#define MOST_SEGMENTS 17
#define REFILL_BATCH 64
/* The longest packet is the MTU's, whatever the MTU is set to. */
#define LONGEST (VNET_LEN + ETHERNET + UK_ETH_PAYLOAD_MAXLEN)

/* A first-in, first-out queue of descriptors; it never holds more than there
 * are. */
struct queue {
	struct {
		struct uk_netbuf *netbuf;
		uint32_t len;
		uint32_t segments;
	} entries[MOST_DESCRIPTORS];
	uint32_t head;
	uint32_t count;
};

struct uk_netdev {
	enum uk_netdev_state state;
	struct uk_hwaddr hwaddr;
};

struct testbed {
	struct uk_netdev netdev;
	struct testbed_config config;
	struct testbed_stats stats;
	uk_netdev_alloc_rxpkts alloc_rxpkts;
	void *alloc_rxpkts_argp;
	/* Buffers that the host has, and those that it has filled. */
	struct queue rx_posted;
	struct queue rx_used;
	uint32_t rx_free;
	/* Buffers that were ever posted. The host, out of buffers, waits for this
	 * number to be told past rx_event. */
	uint16_t rx_index;
	uint16_t rx_event;
	int rx_dry;
	/* Packets for the host, and those that it has done with. */
	struct queue tx_posted;
	struct queue tx_used;
	uint32_t tx_free;
	uint32_t last_pieces;
	/* The user wants interrupts; they are switched on. */
	int intr_wanted;
	int intr_enabled;
};

static _Thread_local struct testbed *devices[MOST_DEVICES];
static _Thread_local unsigned int device_count;
static _Thread_local uint64_t clock_now;
static _Thread_local int irqs_off;
static _Thread_local uint64_t (*halt_hook)(void *);
static _Thread_local void *halt_argument;

static struct testbed *to_bed(struct uk_netdev *netdev)
{
	return __containerof(netdev, struct testbed, netdev);
}

static int is_set(const struct testbed *bed, uint32_t trap)
{
	return (bed->config.traps & trap) != 0;
}

static void push(struct queue *queue, struct uk_netbuf *netbuf, uint32_t len,
		 uint32_t segments)
{
	uint32_t at = (queue->head + queue->count) % MOST_DESCRIPTORS;

	UK_ASSERT(queue->count < MOST_DESCRIPTORS);
	queue->entries[at].netbuf = netbuf;
	queue->entries[at].len = len;
	queue->entries[at].segments = segments;
	queue->count++;
}

static struct uk_netbuf *pop(struct queue *queue, uint32_t *len,
			     uint32_t *segments)
{
	uint32_t at = queue->head;

	if (queue->count == 0)
		return NULL;
	*len = queue->entries[at].len;
	*segments = queue->entries[at].segments;
	queue->head = (at + 1) % MOST_DESCRIPTORS;
	queue->count--;
	return queue->entries[at].netbuf;
}

/* Takes the youngest instead of the oldest. */
static struct uk_netbuf *pop_last(struct queue *queue, uint32_t *len,
				  uint32_t *segments)
{
	uint32_t at = (queue->head + queue->count - 1) % MOST_DESCRIPTORS;

	if (queue->count == 0)
		return NULL;
	*len = queue->entries[at].len;
	*segments = queue->entries[at].segments;
	queue->count--;
	return queue->entries[at].netbuf;
}

static struct uk_netbuf *take(const struct testbed *bed, struct queue *queue,
			      uint32_t *len, uint32_t *segments)
{
	return is_set(bed, TESTBED_DISORDER) ? pop_last(queue, len, segments)
					     : pop(queue, len, segments);
}

/* ------------------------------------------------------------------- clock */

__nsec ukplat_monotonic_clock(void)
{
	return clock_now;
}

void testbed_clock_set(uint64_t now)
{
	clock_now = now;
}

void testbed_on_halt(uint64_t (*hook)(void *), void *argument)
{
	halt_hook = hook;
	halt_argument = argument;
}

unsigned long ukplat_lcpu_save_irqf(void)
{
	unsigned long flags = irqs_off;

	irqs_off = 1;
	return flags;
}

void ukplat_lcpu_restore_irqf(unsigned long flags)
{
	irqs_off = (int)flags;
}

/* The receive interrupt: it is switched off until somebody asks again. */
static int interrupt(void)
{
	unsigned int i;
	int any = 0;

	for (i = 0; i < device_count; i++) {
		struct testbed *bed = devices[i];

		if (bed->intr_enabled && bed->rx_used.count > 0) {
			bed->intr_enabled = 0;
			bed->stats.woken++;
			any = 1;
		}
	}
	return any;
}

void ukplat_lcpu_halt_irq_until(__nsec until)
{
	unsigned int i;

	UK_ASSERT(irqs_off);
	/* The platform compares times as signed numbers. */
	UK_ASSERT(until <= INT64_MAX);
	for (i = 0; i < device_count; i++)
		devices[i]->stats.halts++;
	irqs_off = 0;
	for (;;) {
		uint64_t next = halt_hook ? halt_hook(halt_argument) : until;

		if (interrupt() || clock_now >= until)
			break;
		clock_now = MIN(until, next > clock_now ? next : clock_now + 1);
	}
	irqs_off = 1;
}

/* ------------------------------------------------------------------ set-up */

struct testbed *testbed_attach(const struct testbed_config *config)
{
	struct testbed *bed = calloc(1, sizeof(*bed));

	UK_ASSERT(bed && device_count < MOST_DEVICES);
	UK_ASSERT(config->rx_descriptors <= MOST_DESCRIPTORS);
	UK_ASSERT(config->tx_descriptors <= MOST_DESCRIPTORS);
	bed->config = *config;
	bed->netdev.state = UK_NETDEV_UNPROBED;
	memcpy(bed->netdev.hwaddr.addr_bytes, config->mac,
	       sizeof(config->mac));
	devices[device_count++] = bed;
	return bed;
}

void testbed_reset(void)
{
	/* A device lives as long as its machine: whoever still has one may go on
	 * to use it. */
	device_count = 0;
	clock_now = 0;
	irqs_off = 0;
	testbed_on_halt(NULL, NULL);
}

struct uk_netdev *uk_netdev_get(unsigned int id)
{
	return id < device_count ? &devices[id]->netdev : NULL;
}

const char *uk_netdev_drv_name_get(struct uk_netdev *dev)
{
	UK_ASSERT(dev);
	return "virtio-net";
}

enum uk_netdev_state uk_netdev_state_get(struct uk_netdev *dev)
{
	return dev->state;
}

int uk_netdev_probe(struct uk_netdev *dev)
{
	UK_ASSERT(dev->state == UK_NETDEV_UNPROBED);
	dev->state = UK_NETDEV_UNCONFIGURED;
	return 0;
}

void uk_netdev_info_get(struct uk_netdev *dev, struct uk_netdev_info *info)
{
	const struct testbed_config *config = &to_bed(dev)->config;

	UK_ASSERT(dev->state >= UK_NETDEV_UNCONFIGURED);
	memset(info, 0, sizeof(*info));
	info->max_rx_queues = 1;
	info->max_tx_queues = 1;
	info->max_mtu = config->mtu;
	info->nb_encap_tx = VNET_ROOM;
	info->nb_encap_rx = VNET_ROOM;
	info->ioalign = 2048;
	info->features = UK_NETDEV_F_RXQ_INTR |
			 (config->checksum ? UK_NETDEV_F_PARTIAL_CSUM : 0) |
			 (config->tso4 ? UK_NETDEV_F_TSO4 : 0);
}

int uk_netdev_configure(struct uk_netdev *dev,
			const struct uk_netdev_conf *conf)
{
	UK_ASSERT(dev->state == UK_NETDEV_UNCONFIGURED);
	if (conf->nb_rx_queues != 1 || conf->nb_tx_queues != 1)
		return -ENOTSUP;
	dev->state = UK_NETDEV_CONFIGURED;
	return 0;
}

static int queue_info(uint16_t descriptors, struct uk_netdev_queue_info *info)
{
	memset(info, 0, sizeof(*info));
	info->nb_min = 1;
	info->nb_max = descriptors;
	info->nb_is_power_of_two = 1;
	return 0;
}

int uk_netdev_rxq_info_get(struct uk_netdev *dev, uint16_t queue_id,
			   struct uk_netdev_queue_info *info)
{
	UK_ASSERT(queue_id == 0 && dev->state == UK_NETDEV_CONFIGURED);
	return queue_info(to_bed(dev)->config.rx_descriptors, info);
}

int uk_netdev_txq_info_get(struct uk_netdev *dev, uint16_t queue_id,
			   struct uk_netdev_queue_info *info)
{
	UK_ASSERT(queue_id == 0 && dev->state == UK_NETDEV_CONFIGURED);
	return queue_info(to_bed(dev)->config.tx_descriptors, info);
}

static int rx_fillup(struct testbed *bed, uint16_t descriptors, int notify);

int uk_netdev_rxq_configure(struct uk_netdev *dev, uint16_t queue_id,
			    uint16_t nb_desc,
			    struct uk_netdev_rxqueue_conf *conf)
{
	struct testbed *bed = to_bed(dev);

	UK_ASSERT(queue_id == 0 && nb_desc == 0);
	UK_ASSERT(conf->alloc_rxpkts && conf->a);
	UK_ASSERT(dev->state == UK_NETDEV_CONFIGURED);
	bed->alloc_rxpkts = conf->alloc_rxpkts;
	bed->alloc_rxpkts_argp = conf->alloc_rxpkts_argp;
	bed->rx_free = bed->config.rx_descriptors;
	rx_fillup(bed, bed->config.rx_descriptors, 0);
	return 0;
}

int uk_netdev_txq_configure(struct uk_netdev *dev, uint16_t queue_id,
			    uint16_t nb_desc,
			    struct uk_netdev_txqueue_conf *conf)
{
	UK_ASSERT(queue_id == 0 && nb_desc == 0 && conf->a);
	UK_ASSERT(dev->state == UK_NETDEV_CONFIGURED);
	to_bed(dev)->tx_free = to_bed(dev)->config.tx_descriptors;
	return 0;
}

int uk_netdev_start(struct uk_netdev *dev)
{
	struct testbed *bed = to_bed(dev);

	UK_ASSERT(dev->state == UK_NETDEV_CONFIGURED);
	UK_ASSERT(bed->alloc_rxpkts && bed->config.tx_descriptors);
	dev->state = UK_NETDEV_RUNNING;
	return 0;
}

const struct uk_hwaddr *uk_netdev_hwaddr_get(struct uk_netdev *dev)
{
	return &dev->hwaddr;
}

uint16_t uk_netdev_mtu_get(struct uk_netdev *dev)
{
	return to_bed(dev)->config.mtu;
}

/* --------------------------------------------------------------- reception */

static int rx_enqueue(struct testbed *bed, struct uk_netbuf *netbuf)
{
	if (bed->rx_free == 0)
		return -ENOSPC;
	UK_ASSERT(!netbuf->next && netbuf->len > 0);
	if (uk_netbuf_header(netbuf, VNET_ROOM) != 1) {
		bed->stats.complaints++;
		return -EINVAL;
	}
	if (bed->rx_free < 2)
		return -ENOSPC;
	bed->rx_free -= 2;
	push(&bed->rx_posted, netbuf, 0, 2);
	bed->rx_index++;
	return 0;
}

static void rx_notify(struct testbed *bed)
{
	uint16_t before = bed->rx_index - 1;

	if (!bed->rx_dry)
		return;
	if (is_set(bed, TESTBED_EVENT_INDEX) && before != bed->rx_event)
		return;
	bed->rx_dry = 0;
	bed->stats.rx_notified++;
}

static int rx_fillup(struct testbed *bed, uint16_t descriptors, int notify)
{
	struct uk_netbuf *netbufs[REFILL_BATCH];
	uint16_t filled = 0;
	int status = 0;

	descriptors &= ~1;
	while (filled < descriptors) {
		uint16_t asked = MIN(descriptors / 2, REFILL_BATCH);
		uint16_t count = bed->alloc_rxpkts(bed->alloc_rxpkts_argp,
						   netbufs, asked);
		uint16_t i = 0;

		UK_ASSERT(count <= asked);
		while (i < count && rx_enqueue(bed, netbufs[i]) == 0) {
			filled += 2;
			i++;
		}
		if (i < count)
			bed->stats.complaints++;
		if (i < asked) {
			status = UK_NETDEV_STATUS_UNDERRUN;
			while (i < count)
				uk_netbuf_free(netbufs[i++]);
			break;
		}
	}
	if (notify && filled)
		rx_notify(bed);
	return status;
}

static void rx_read_header(struct uk_netbuf *netbuf)
{
	struct testbed_vnet vnet;

	memcpy(&vnet, netbuf->data, sizeof(vnet));
	netbuf->flags = vnet.flags & 2 ? UK_NETBUF_F_DATA_VALID : 0;
	if (vnet.flags & 1) {
		netbuf->flags |= UK_NETBUF_F_PARTIAL_CSUM;
		netbuf->csum_offset = vnet.csum_offset;
		netbuf->csum_start = vnet.csum_start + VNET_ROOM;
	}
}

/* 1: a packet. 0: none. Negative: an error, and its buffer is lost. */
static int rx_dequeue(struct testbed *bed, struct uk_netbuf **pkt)
{
	uint32_t len, segments;
	struct uk_netbuf *netbuf = pop(&bed->rx_used, &len, &segments);

	if (!netbuf)
		return 0;
	bed->rx_free += segments;
	if (len < VNET_LEN + ETHERNET || len > LONGEST) {
		bed->stats.complaints++;
		bed->stats.rx_errors++;
		return -EINVAL;
	}
	rx_read_header(netbuf);
	if (!is_set(bed, TESTBED_LONG_LENGTH))
		len -= VNET_LEN;
	netbuf->len = len + VNET_ROOM;
	UK_ASSERT(uk_netbuf_header(netbuf, -VNET_ROOM) == 1);
	*pkt = netbuf;
	return 1;
}

int uk_netdev_rx_one(struct uk_netdev *dev, uint16_t queue_id,
		     struct uk_netbuf **pkt)
{
	struct testbed *bed = to_bed(dev);
	int rc, status = 0;

	UK_ASSERT(queue_id == 0 && dev->state == UK_NETDEV_RUNNING && pkt);
	/* Queue interrupts have to be off. */
	UK_ASSERT(!bed->intr_enabled);
	/* The caller has no use for interrupts while it receives: this one would
	 * switch them on again. */
	UK_ASSERT(!bed->intr_wanted);
	*pkt = NULL;
	rc = rx_dequeue(bed, pkt);
	if (rc < 0)
		return rc;
	if (rc > 0)
		status = UK_NETDEV_STATUS_SUCCESS | UK_NETDEV_STATUS_MORE;
	if (rc > 0 || !is_set(bed, TESTBED_STUCK_REFILL))
		status |= rx_fillup(bed, bed->rx_free, 1);
	return status;
}

int uk_netdev_rxq_intr_enable(struct uk_netdev *dev, uint16_t queue_id)
{
	struct testbed *bed = to_bed(dev);

	UK_ASSERT(queue_id == 0 && dev->state == UK_NETDEV_RUNNING);
	UK_ASSERT(irqs_off);
	bed->intr_wanted = 1;
	bed->intr_enabled = bed->rx_used.count == 0;
	return !bed->intr_enabled;
}

int uk_netdev_rxq_intr_disable(struct uk_netdev *dev, uint16_t queue_id)
{
	struct testbed *bed = to_bed(dev);

	UK_ASSERT(queue_id == 0 && dev->state == UK_NETDEV_RUNNING);
	bed->intr_wanted = 0;
	bed->intr_enabled = 0;
	return 0;
}

uint32_t testbed_rx_room(struct testbed *bed)
{
	if (bed->rx_posted.count == 0 && !bed->rx_dry) {
		bed->rx_dry = 1;
		bed->rx_event = bed->rx_index;
	}
	return bed->rx_dry ? 0 : bed->rx_posted.count;
}

int testbed_inject(struct testbed *bed, const void *frame, size_t len,
		   const struct testbed_vnet *vnet)
{
	struct uk_netbuf *netbuf;
	uint32_t unused, segments;
	size_t room;

	if (testbed_rx_room(bed) == 0) {
		bed->stats.rx_no_buffer++;
		return 0;
	}
	room = bed->rx_posted.entries[bed->rx_posted.head].netbuf->len -
	       VNET_ROOM;
	if (len > room && !is_set(bed, TESTBED_OVERLONG_ERROR)) {
		bed->stats.rx_too_long++;
		return 0;
	}
	netbuf = take(bed, &bed->rx_posted, &unused, &segments);
	memcpy(netbuf->data, vnet, sizeof(*vnet));
	memcpy((uint8_t *)netbuf->data + VNET_ROOM, frame, MIN(len, room));
	push(&bed->rx_used, netbuf, VNET_LEN + len, segments);
	return 1;
}


/* ------------------------------------------------------------ transmission */

/* Leaves nothing in a descriptor that somebody might rely on. */
static void spoil(struct uk_netbuf *netbuf)
{
	for (; netbuf; netbuf = netbuf->next) {
		netbuf->data = (uint8_t *)netbuf->buf + netbuf->buflen;
		netbuf->len = 0xdead;
		netbuf->flags = 0xff;
		netbuf->csum_start = 0xdead;
		netbuf->gso_size = 0xdead;
	}
}

static void tx_free_done(struct testbed *bed)
{
	uint32_t len, segments;
	struct uk_netbuf *netbuf;

	while ((netbuf = take(bed, &bed->tx_used, &len, &segments))) {
		bed->tx_free += segments;
		if (is_set(bed, TESTBED_MUTATE))
			spoil(netbuf);
		uk_netbuf_free(netbuf);
	}
}

static void tx_write_header(struct uk_netbuf *pkt)
{
	struct testbed_vnet vnet = { 0 };

	if (pkt->flags & UK_NETBUF_F_PARTIAL_CSUM) {
		vnet.flags = 1;
		vnet.csum_start = pkt->csum_start - VNET_ROOM;
		vnet.csum_offset = pkt->csum_offset;
	}
	if (pkt->flags & UK_NETBUF_F_GSO_TCPV4) {
		vnet.gso_type = 1;
		vnet.header_len = pkt->header_len;
		vnet.gso_size = pkt->gso_size;
	}
	memcpy(pkt->data, &vnet, sizeof(vnet));
}

/* Descriptors and bytes of a packet whose header is in place. Empty pieces take
 * no descriptor, and one that adjoins the piece before shares its. */
static uint32_t tx_segments(const struct uk_netbuf *pkt, size_t *total)
{
	const struct uk_netbuf *netbuf;
	const uint8_t *end = NULL;
	uint32_t segments = 1;

	*total = VNET_LEN;
	UK_NETBUF_CHAIN_FOREACH(netbuf, pkt) {
		size_t skip = netbuf == pkt ? VNET_ROOM : 0;
		const uint8_t *start = (const uint8_t *)netbuf->data + skip;
		size_t len = netbuf->len - skip;

		UK_ASSERT(start >= (const uint8_t *)netbuf->buf);
		UK_ASSERT(start + len <=
			  (const uint8_t *)netbuf->buf + netbuf->buflen);
		if (len == 0)
			continue;
		segments += start != end;
		end = start + len;
		*total += len;
	}
	return segments;
}

int uk_netdev_tx_one(struct uk_netdev *dev, uint16_t queue_id,
		     struct uk_netbuf *pkt)
{
	struct testbed *bed = to_bed(dev);
	uint32_t segments;
	size_t total;

	UK_ASSERT(queue_id == 0 && dev->state == UK_NETDEV_RUNNING && pkt);
	UK_ASSERT(bed->config.checksum ||
		  !(pkt->flags & UK_NETBUF_F_PARTIAL_CSUM));
	UK_ASSERT(bed->config.tso4 || !(pkt->flags & UK_NETBUF_F_GSO_TCPV4));
	tx_free_done(bed);
	if (uk_netbuf_header(pkt, VNET_ROOM) != 1) {
		bed->stats.complaints++;
		return -ENOSPC;
	}
	tx_write_header(pkt);
	segments = tx_segments(pkt, &total);
	if (segments > MOST_SEGMENTS || segments > bed->config.tx_descriptors) {
		bed->stats.complaints++;
		uk_netbuf_header(pkt, -VNET_ROOM);
		return -EINVAL;
	}
	if (!(pkt->flags & UK_NETBUF_F_GSO_TCPV4) && total > LONGEST) {
		bed->stats.complaints++;
		uk_netbuf_header(pkt, -VNET_ROOM);
		return -ENOTSUP;
	}
	if (segments > bed->tx_free) {
		uk_netbuf_header(pkt, -VNET_ROOM);
		return 0;
	}
	bed->tx_free -= segments;
	push(&bed->tx_posted, pkt, total, segments);
	bed->stats.tx_notified++;
	return UK_NETDEV_STATUS_SUCCESS |
	       (bed->tx_free > 0 ? UK_NETDEV_STATUS_MORE : 0);
}

long testbed_extract(struct testbed *bed, void *frame, size_t room,
		     struct testbed_vnet *vnet)
{
	uint32_t len, segments;
	struct uk_netbuf *pkt, *netbuf;
	uint8_t *to = frame;

	pkt = pop(&bed->tx_posted, &len, &segments);
	if (!pkt)
		return -1;
	memcpy(vnet, pkt->data, sizeof(*vnet));
	bed->last_pieces = 0;
	UK_NETBUF_CHAIN_FOREACH(netbuf, pkt) {
		size_t skip = netbuf == pkt ? VNET_ROOM : 0;
		size_t count = netbuf->len - skip;

		bed->last_pieces += count > 0;
		UK_ASSERT(count <= room);
		memcpy(to, (uint8_t *)netbuf->data + skip, count);
		to += count;
		room -= count;
	}
	push(&bed->tx_used, pkt, len, segments);
	if (!is_set(bed, TESTBED_LATE_COMPLETIONS))
		tx_free_done(bed);
	return len - VNET_LEN;
}

uint32_t testbed_last_pieces(const struct testbed *bed)
{
	return bed->last_pieces;
}

void testbed_stats_get(const struct testbed *bed, struct testbed_stats *stats)
{
	*stats = bed->stats;
	stats->rx_posted = bed->rx_posted.count + bed->rx_used.count;
	stats->tx_queued = bed->tx_posted.count + bed->tx_used.count;
}
