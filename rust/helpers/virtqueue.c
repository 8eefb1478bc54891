// SPDX-License-Identifier: GPL-2.0

#include <linux/scatterlist.h>
#include <linux/virtio.h>

#include "helpers.h"

/*
 * Adds a buffer of at most one part that the device reads and one that it writes. The scatter
 * lists are needed only until the queue has copied them.
 */
int rust_helper_virtqueue_add_parts(struct virtqueue *vq, void *out, unsigned int out_len,
				    void *in, unsigned int in_len, void *token, gfp_t gfp)
{
	struct scatterlist parts[2];
	struct scatterlist *sgs[2] = { &parts[0], &parts[1] };
	unsigned int n = 0;

	if (out_len)
		sg_init_one(&parts[n++], out, out_len);
	if (in_len)
		sg_init_one(&parts[n++], in, in_len);

	return virtqueue_add_sgs(vq, sgs, !!out_len, !!in_len, token, gfp);
}
