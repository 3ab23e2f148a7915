/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* uknetdev's packet descriptors, for the test bed. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <uk/alloc.h>
#include <uk/netbuf.h>

void testbed_assertion_failed(const char *what, const char *file, int line)
{
	fprintf(stderr, "%s:%d: assertion failed: %s\n", file, line, what);
	abort();
}

struct uk_alloc {
	int unused;
};

struct uk_alloc *uk_alloc_get_default(void)
{
	static struct uk_alloc heap;

	return &heap;
}

void *uk_calloc(struct uk_alloc *a, size_t count, size_t size)
{
	UK_ASSERT(a);
	return calloc(count, size);
}

void uk_netbuf_init_indir(struct uk_netbuf *m, void *buf, size_t buflen,
			  uint16_t headroom, void *priv, uk_netbuf_dtor_t dtor)
{
	UK_ASSERT(m);
	UK_ASSERT(buf || buflen == 0);
	UK_ASSERT(headroom <= buflen);
	memset(m, 0, sizeof(*m));
	m->buf = buf;
	m->buflen = buflen;
	m->data = (uint8_t *)buf + headroom;
	m->priv = priv;
	m->dtor = dtor;
	m->refcount = 1;
}

void uk_netbuf_connect(struct uk_netbuf *headtail, struct uk_netbuf *tail)
{
	UK_ASSERT(headtail && !headtail->next);
	UK_ASSERT(tail && !tail->prev);
	headtail->next = tail;
	tail->prev = headtail;
}

void uk_netbuf_free(struct uk_netbuf *m)
{
	UK_ASSERT(m && !m->prev);
	while (m) {
		struct uk_netbuf *next = m->next;

		/* Its links first: the destructor may use it again at once. */
		m->next = NULL;
		if (next)
			next->prev = NULL;
		UK_ASSERT(m->refcount == 1);
		m->refcount = 0;
		if (m->dtor)
			m->dtor(m);
		m = next;
	}
}

int uk_netbuf_header(struct uk_netbuf *head, int16_t len)
{
	long headroom = (uint8_t *)head->data - (uint8_t *)head->buf;

	UK_ASSERT(head->buf && !head->prev);
	if (len > headroom || -len > head->len)
		return -ENOSPC;
	if (len + head->len > UINT16_MAX)
		return -EFAULT;
	head->data = (uint8_t *)head->data - len;
	head->len += len;
	if (head->flags & UK_NETBUF_F_PARTIAL_CSUM) {
		if (len < 0 && -len > head->csum_start)
			head->flags &= ~UK_NETBUF_F_PARTIAL_CSUM;
		else
			head->csum_start += len;
	}
	return 1;
}
