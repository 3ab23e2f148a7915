/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* What the shim uses of uknetdev, for the test bed: the API's names and
 * meanings, over the one driver in driver.c. */
#ifndef TESTBED_UK_NETDEV_H
#define TESTBED_UK_NETDEV_H

#include <uk/alloc.h>
#include <uk/config.h>
#include <uk/netbuf.h>

#define UK_ETH_PAYLOAD_MAXLEN 1500
#define UK_NETDEV_HWADDR_LEN 6

struct uk_hwaddr {
	uint8_t addr_bytes[UK_NETDEV_HWADDR_LEN];
} __attribute__((packed));

#define UK_NETDEV_F_RXQ_INTR 1u
#define UK_NETDEV_F_PARTIAL_CSUM 4u
#define UK_NETDEV_F_TSO4 8u

#define uk_netdev_partial_csum_supported(feature) \
	((feature) & UK_NETDEV_F_PARTIAL_CSUM)
#define uk_netdev_tso4_supported(feature) ((feature) & UK_NETDEV_F_TSO4)

struct uk_netdev_info {
	uint16_t max_rx_queues;
	uint16_t max_tx_queues;
	int in_queue_pairs;
	uint16_t max_mtu;
	uint16_t nb_encap_tx;
	uint16_t nb_encap_rx;
	uint16_t ioalign;
	uint32_t features;
};

struct uk_netdev_queue_info {
	uint16_t nb_max;
	uint16_t nb_min;
	uint16_t nb_align;
	int nb_is_power_of_two;
};

struct uk_netdev_conf {
	uint16_t nb_rx_queues;
	uint16_t nb_tx_queues;
};

enum uk_netdev_state {
	UK_NETDEV_INVALID = 0,
	UK_NETDEV_UNPROBED,
	UK_NETDEV_UNCONFIGURED,
	UK_NETDEV_CONFIGURED,
	UK_NETDEV_RUNNING,
};

struct uk_netdev;

typedef void (*uk_netdev_queue_event_t)(struct uk_netdev *dev,
					uint16_t queue_id, void *argp);
typedef uint16_t (*uk_netdev_alloc_rxpkts)(void *argp, struct uk_netbuf *pkts[],
					   uint16_t count);

struct uk_netdev_rxqueue_conf {
	uk_netdev_queue_event_t callback;
	void *callback_cookie;
	struct uk_alloc *a;
	uk_netdev_alloc_rxpkts alloc_rxpkts;
	void *alloc_rxpkts_argp;
};

struct uk_netdev_txqueue_conf {
	struct uk_alloc *a;
};

#define UK_NETDEV_STATUS_SUCCESS 1
#define UK_NETDEV_STATUS_MORE 2
#define UK_NETDEV_STATUS_UNDERRUN 4
#define uk_netdev_status_successful(status) \
	((status) >= 0 && ((status) & UK_NETDEV_STATUS_SUCCESS))

struct uk_netdev *uk_netdev_get(unsigned int id);
const char *uk_netdev_drv_name_get(struct uk_netdev *dev);
enum uk_netdev_state uk_netdev_state_get(struct uk_netdev *dev);
int uk_netdev_probe(struct uk_netdev *dev);
void uk_netdev_info_get(struct uk_netdev *dev, struct uk_netdev_info *info);
int uk_netdev_configure(struct uk_netdev *dev,
			const struct uk_netdev_conf *conf);
int uk_netdev_rxq_info_get(struct uk_netdev *dev, uint16_t queue_id,
			   struct uk_netdev_queue_info *info);
int uk_netdev_txq_info_get(struct uk_netdev *dev, uint16_t queue_id,
			   struct uk_netdev_queue_info *info);
int uk_netdev_rxq_configure(struct uk_netdev *dev, uint16_t queue_id,
			    uint16_t nb_desc,
			    struct uk_netdev_rxqueue_conf *conf);
int uk_netdev_txq_configure(struct uk_netdev *dev, uint16_t queue_id,
			    uint16_t nb_desc,
			    struct uk_netdev_txqueue_conf *conf);
int uk_netdev_start(struct uk_netdev *dev);
const struct uk_hwaddr *uk_netdev_hwaddr_get(struct uk_netdev *dev);
uint16_t uk_netdev_mtu_get(struct uk_netdev *dev);
int uk_netdev_rxq_intr_enable(struct uk_netdev *dev, uint16_t queue_id);
int uk_netdev_rxq_intr_disable(struct uk_netdev *dev, uint16_t queue_id);
int uk_netdev_rx_one(struct uk_netdev *dev, uint16_t queue_id,
		     struct uk_netbuf **pkt);
int uk_netdev_tx_one(struct uk_netdev *dev, uint16_t queue_id,
		     struct uk_netbuf *pkt);

#endif
