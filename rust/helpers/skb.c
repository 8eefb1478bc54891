// SPDX-License-Identifier: GPL-2.0

#include <linux/etherdevice.h>
#include <linux/netfilter.h>
#include <linux/scatterlist.h>
#include <linux/skbuff.h>
#include <linux/virtio_net.h>
#include <net/page_pool/helpers.h>

#include "helpers.h"

/* Tells whether this CPU's cache of sk_buffs may be used here. */
static __always_inline bool has_napi_cache(void)
{
	return in_softirq() && !in_hardirq() && !irqs_disabled();
}

/* Makes an skb of memory of a page pool: `len` bytes of data behind `headroom`. */
struct sk_buff *rust_helper_build_skb(void *data, unsigned int size, unsigned int headroom,
				      unsigned int len)
{
	struct sk_buff *skb;

	skb = has_napi_cache() ? napi_build_skb(data, size) : build_skb(data, size);
	if (unlikely(!skb))
		return NULL;

	skb_reserve(skb, headroom);
	__skb_put(skb, len);
	skb_mark_for_recycle(skb);
	return skb;
}

void rust_helper_consume_skb(struct sk_buff *skb)
{
	napi_consume_skb(skb, has_napi_cache());
}

struct sk_buff *rust_helper_netdev_alloc_skb(unsigned int len)
{
	return __netdev_alloc_skb(NULL, len, GFP_ATOMIC | __GFP_NOWARN);
}

/*
 * Adds a piece of a page pool's memory to the data, with the reference of the caller. Says whether
 * there was a place.
 */
bool rust_helper_skb_add_piece(struct sk_buff *skb, struct page *page, unsigned int offset,
			       unsigned int len, unsigned int truesize)
{
	struct skb_shared_info *shinfo = skb_shinfo(skb);
	unsigned int count = shinfo->nr_frags;

	if (skb->destructor || skb_cloned(skb) || shinfo->frag_list)
		return false;
	/* What is there already may be held in another way. */
	if (count && !skb->pp_recycle)
		return false;

	if (skb_can_coalesce(skb, count, page, offset)) {
		skb_coalesce_rx_frag(skb, count - 1, len, truesize);
		page_pool_put_full_page(pp_page_to_nmdesc(page)->pp, page, false);
		return true;
	}
	if (count >= MAX_SKB_FRAGS)
		return false;

	skb_mark_for_recycle(skb);
	skb_add_rx_frag(skb, count, page, offset, len, truesize);
	return true;
}

/*
 * Adds the data of another skb, and that skb itself. Says whether that can be: a segment of a long
 * frame may begin in it, only if its head is of pages.
 */
bool rust_helper_skb_add_tail(struct sk_buff *skb, struct sk_buff *tail)
{
	struct sk_buff **end = &skb_shinfo(skb)->frag_list;

	if (skb->destructor || skb_cloned(skb) || skb_has_frag_list(tail) ||
	    (skb_headlen(tail) && !tail->head_frag) || skb->len + tail->len < skb->len ||
	    skb->truesize + tail->truesize < skb->truesize)
		return false;

	while (*end)
		end = &(*end)->next;
	*end = tail;
	tail->next = NULL;
	skb->len += tail->len;
	skb->data_len += tail->len;
	skb->truesize += tail->truesize;
	return true;
}

/* Copies to the end of the data. Says whether there is room. */
bool rust_helper_skb_append(struct sk_buff *skb, const void *from, unsigned int len)
{
	if (skb_is_nonlinear(skb) || skb_cloned(skb) || skb_tailroom(skb) < len)
		return false;

	memcpy(__skb_put(skb, len), from, len);
	return true;
}

/* Copies all the data of another one to the end of the data. */
int rust_helper_skb_append_skb(struct sk_buff *skb, const struct sk_buff *from)
{
	unsigned int len = skb->len;
	int err;

	if (skb_is_nonlinear(skb) || skb_cloned(skb) || skb_tailroom(skb) < from->len)
		return -ENOSPC;

	err = skb_copy_bits(from, 0, __skb_put(skb, from->len), from->len);
	if (err)
		__skb_trim(skb, len);
	return err;
}

/* Writes right before the data, if that can be. */
bool rust_helper_skb_write_before(struct sk_buff *skb, const void *header, unsigned int len)
{
	void *place = skb->data - len;

	if (skb_headroom(skb) < len || !IS_ALIGNED((unsigned long)place, sizeof(__le16)) ||
	    skb_header_cloned(skb))
		return false;

	/* The compiler makes short code of this, which is the usual one. */
	if (likely(len == sizeof(struct virtio_net_hdr_v1)))
		memcpy(place, header, sizeof(struct virtio_net_hdr_v1));
	else
		memcpy(place, header, len);
	return true;
}

/*
 * Lists some memory and that of an skb, which may lie right behind it. Says how many entries that
 * takes; the last one of `size` must be marked as the end.
 */
int rust_helper_skb_list(struct sk_buff *skb, void *front, unsigned int front_len,
			 struct scatterlist *sg, unsigned int size)
{
	const struct skb_shared_info *shinfo = skb_shinfo(skb);
	unsigned int head = skb_headlen(skb);
	unsigned int used = 0;
	unsigned int i;

	if (size < 2 || !skb_frags_readable(skb))
		return -EINVAL;

	if (front + front_len == skb->data) {
		sg_set_buf(&sg[used++], front, front_len + head);
	} else {
		sg_set_buf(&sg[used++], front, front_len);
		if (head)
			sg_set_buf(&sg[used++], skb->data, head);
	}
	if (unlikely(shinfo->frag_list)) {
		int more;

		if (used == size)
			return -EMSGSIZE;
		more = skb_to_sgvec_nomark(skb, &sg[used], head, skb->data_len);
		return more < 0 ? more : used + more;
	}
	if (shinfo->nr_frags > size - used)
		return -EMSGSIZE;

	for (i = 0; i < shinfo->nr_frags; i++) {
		const skb_frag_t *frag = &shinfo->frags[i];

		sg_set_page(&sg[used++], skb_frag_page(frag), skb_frag_size(frag),
			    skb_frag_off(frag));
	}
	return used;
}

bool rust_helper_skb_header_cloned(const struct sk_buff *skb)
{
	return skb_header_cloned(skb);
}

int rust_helper_skb_linearize(struct sk_buff *skb)
{
	return skb_linearize(skb);
}

void rust_helper_skb_set_hash(struct sk_buff *skb, u32 hash, bool l4)
{
	skb_set_hash(skb, hash, l4 ? PKT_HASH_TYPE_L4 : PKT_HASH_TYPE_L3);
}

void rust_helper_skb_set_checksum_verified(struct sk_buff *skb)
{
	__skb_incr_checksum_unnecessary(skb);
}

/* What a driver does before it keeps an skb that the stack has sent. */
void rust_helper_skb_tx_timestamp(struct sk_buff *skb)
{
	skb_tx_timestamp(skb);
}

void rust_helper_skb_orphan(struct sk_buff *skb)
{
	skb_orphan(skb);
}

void rust_helper_nf_reset_ct(struct sk_buff *skb)
{
	nf_reset_ct(skb);
}

/* Tells what is left to be done with a frame that the stack has sent. */
void rust_helper_skb_get_offload(const struct sk_buff *skb, struct skb_offload *offload)
{
	const struct skb_shared_info *shinfo = skb_shinfo(skb);

	offload->ip_summed = skb->ip_summed;
	offload->csum_start = skb_checksum_start_offset(skb);
	offload->csum_offset = skb->csum_offset;
	offload->gso_size = shinfo->gso_size;
	if (!shinfo->gso_size)
		return;

	offload->gso_type = shinfo->gso_type;
	offload->gso_segs = shinfo->gso_segs;
	offload->transport = skb_transport_offset(skb);
	offload->inner_network = skb->encapsulation ? skb_inner_network_offset(skb) : 0;
	offload->inner_transport = skb->encapsulation ? skb_inner_transport_offset(skb) : 0;
	offload->ipv6 = skb->protocol == htons(ETH_P_IPV6);
}

/* Takes over what a device said of a received frame, which begins with the MAC header. */
int rust_helper_virtio_net_hdr_to_skb(struct sk_buff *skb, const struct skb_received *received)
{
	struct virtio_net_hdr_v1_hash_tunnel hdr = {
		.hash_hdr.hdr.flags = received->flags,
		.hash_hdr.hdr.gso_type = received->gso_type,
		.hash_hdr.hdr.gso_size = __cpu_to_virtio16(true, received->gso_size),
		.hash_hdr.hdr.csum_start = __cpu_to_virtio16(true, received->csum_start),
		.hash_hdr.hdr.csum_offset = __cpu_to_virtio16(true, received->csum_offset),
		.outer_th_offset = cpu_to_le16(received->outer_transport),
		.inner_nh_offset = cpu_to_le16(received->inner_network),
	};

	return virtio_net_hdr_tnl_to_skb(skb, &hdr, true, true, true);
}
