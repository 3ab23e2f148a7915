/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * What the shim uses of uknetdev's packet descriptors, for the test bed: the
 * API's names and meanings. The order of the members is not Unikraft's, on
 * purpose: nothing may depend on it.
 */
#ifndef TESTBED_UK_NETBUF_H
#define TESTBED_UK_NETBUF_H

#include <stddef.h>
#include <stdint.h>

#include <uk/assert.h>
#include <uk/essentials.h>

#define UK_NETBUF_F_DATA_VALID 1
#define UK_NETBUF_F_PARTIAL_CSUM 2
#define UK_NETBUF_F_GSO_TCPV4 4

struct uk_netbuf;
typedef void (*uk_netbuf_dtor_t)(struct uk_netbuf *);

struct uk_netbuf {
	uk_netbuf_dtor_t dtor;
	void *priv;
	void *buf;
	size_t buflen;
	void *data;
	struct uk_netbuf *prev;
	struct uk_netbuf *next;
	uint32_t refcount;
	uint16_t len;
	uint16_t csum_start;
	uint16_t csum_offset;
	uint16_t header_len;
	uint16_t gso_size;
	uint8_t flags;
};

#define UK_NETBUF_CHAIN_FOREACH(var, head) \
	for ((var) = (head); (var); (var) = (var)->next)

void uk_netbuf_init_indir(struct uk_netbuf *m, void *buf, size_t buflen,
			  uint16_t headroom, void *priv, uk_netbuf_dtor_t dtor);
void uk_netbuf_connect(struct uk_netbuf *headtail, struct uk_netbuf *tail);
void uk_netbuf_free(struct uk_netbuf *m);
/* Moves the data's start to the front by `len` bytes, or back. 1: done. */
int uk_netbuf_header(struct uk_netbuf *head, int16_t len);

#endif
