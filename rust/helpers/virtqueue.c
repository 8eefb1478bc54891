// SPDX-License-Identifier: GPL-2.0

#include <linux/io.h>
#include <linux/kmsan.h>
#include <linux/scatterlist.h>
#include <linux/virtio.h>
#include <linux/virtio_config.h>
#include <linux/virtio_ring.h>
#include <xen/xen.h>

#include "helpers.h"

/* Like sg_init_one(), but inline: it is needed only until the queue has copied it. */
static __always_inline void sg_one(struct scatterlist *sg, void *buf, unsigned int len)
{
	*sg = (struct scatterlist) { };
	sg_mark_end(sg);
	sg_set_buf(sg, buf, len);
}

/* Moves the end of a table of `size` entries behind the first `count`. */
void rust_helper_sg_set_end(struct scatterlist *sg, unsigned int size, unsigned int count)
{
	unsigned int i;

	for (i = 0; i < size; i++)
		sg_unmark_end(&sg[i]);
	sg_mark_end(&sg[count - 1]);
}

void rust_helper_sg_set_mapped(struct scatterlist *sg, dma_addr_t address, unsigned int len)
{
	sg_init_table(sg, 1);
	sg->length = len;
	sg_dma_address(sg) = address;
	sg_dma_len(sg) = len;
}

/* Where a device finds memory that it sees where it is. */
dma_addr_t rust_helper_virtio_entry_address(struct scatterlist *sg, enum dma_data_direction dir)
{
	kmsan_handle_dma(sg_phys(sg), sg->length, dir);
	return sg_phys(sg);
}

dma_addr_t rust_helper_virtio_span_address(void *start, unsigned int len,
					   enum dma_data_direction dir)
{
	kmsan_handle_dma(virt_to_phys(start), len, dir);
	return virt_to_phys(start);
}

void rust_helper_virt_mb(void)
{
	/* What it orders is up to the caller. */
	virt_mb();
}

void rust_helper_virt_rmb(void)
{
	/* What it orders is up to the caller. */
	virt_rmb();
}

void rust_helper_virt_wmb(void)
{
	/* What it orders is up to the caller. */
	virt_wmb();
}

int rust_helper_virtqueue_add_in(struct virtqueue *vq, void *in, unsigned int in_len,
				 void *token, gfp_t gfp)
{
	struct scatterlist sg;

	sg_one(&sg, in, in_len);
	return virtqueue_add_inbuf(vq, &sg, 1, token, gfp);
}

int rust_helper_virtqueue_add_out(struct virtqueue *vq, void *out, unsigned int out_len,
				  void *token, gfp_t gfp)
{
	struct scatterlist sg;

	sg_one(&sg, out, out_len);
	return virtqueue_add_outbuf(vq, &sg, 1, token, gfp);
}

int rust_helper_virtqueue_add_out_in(struct virtqueue *vq, void *out, unsigned int out_len,
				     void *in, unsigned int in_len, void *token, gfp_t gfp)
{
	struct scatterlist parts[2];
	struct scatterlist *sgs[2] = { &parts[0], &parts[1] };

	sg_one(&parts[0], out, out_len);
	sg_one(&parts[1], in, in_len);
	return virtqueue_add_sgs(vq, sgs, 1, 1, token, gfp);
}

/* Adds the first entries of a table. It has no end there, save for the queue. */
int rust_helper_virtqueue_add_out_list(struct virtqueue *vq, struct scatterlist *sg,
				       unsigned int count, void *token, gfp_t gfp)
{
	struct scatterlist *last = &sg[count - 1];
	bool is_end = sg_is_last(last);
	int err;

	sg_mark_end(last);
	err = virtqueue_add_outbuf(vq, sg, count, token, gfp);
	if (!is_end)
		sg_unmark_end(last);

	return err;
}

dma_addr_t rust_helper_virtqueue_map_entry(struct virtqueue *vq, struct scatterlist *sg,
					   enum dma_data_direction dir)
{
	return virtqueue_map_page_attrs(vq, sg_page(sg), sg->offset, sg->length, dir, 0);
}

int rust_helper_virtqueue_set_affinity(struct virtqueue *vq, const struct cpumask *cpu_mask)
{
	return virtqueue_set_affinity(vq, cpu_mask);
}

/* A packed ring has no index: a descriptor says itself that it is used. */
const __virtio16 *rust_helper_virtqueue_used_index(struct virtqueue *vq)
{
	if (virtio_has_feature(vq->vdev, VIRTIO_F_RING_PACKED))
		return NULL;

	return &virtqueue_get_vring(vq)->used->idx;
}

/*
 * The packed ring of a queue, whose descriptors and two structures for notification are where the
 * three parts of a split ring would be. Returns nothing if it is not where its device finds it, as
 * the core tells that: then its state does not begin with them, or memory is mapped.
 */
const struct vring *rust_helper_virtqueue_packed_vring(struct virtqueue *vq)
{
	const struct vring *vring = virtqueue_get_vring(vq);

	if (rust_helper_virtqueue_uses_map(vq) ||
	    vring->num != virtqueue_get_vring_size(vq) ||
	    (void *)vring->desc != phys_to_virt(virtqueue_get_desc_addr(vq)) ||
	    (void *)vring->avail != phys_to_virt(virtqueue_get_avail_addr(vq)) ||
	    (void *)vring->used != phys_to_virt(virtqueue_get_used_addr(vq)))
		return NULL;

	return vring;
}

/* As the core decides it, for itself. */
bool rust_helper_virtqueue_uses_map(struct virtqueue *vq)
{
	return !virtio_has_dma_quirk(vq->vdev) || xen_domain();
}
