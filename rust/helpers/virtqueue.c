// SPDX-License-Identifier: GPL-2.0

#include <linux/scatterlist.h>
#include <linux/virtio.h>
#include <linux/virtio_config.h>
#include <linux/virtio_ring.h>

#include "helpers.h"

/* Like sg_init_one(), but inline: it is needed only until the queue has copied it. */
static __always_inline void sg_one(struct scatterlist *sg, void *buf, unsigned int len)
{
	*sg = (struct scatterlist) { };
	sg_mark_end(sg);
	sg_set_buf(sg, buf, len);
}

void rust_helper_sg_set_mapped(struct scatterlist *sg, dma_addr_t address, unsigned int len)
{
	sg_init_table(sg, 1);
	sg->length = len;
	sg_dma_address(sg) = address;
	sg_dma_len(sg) = len;
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
