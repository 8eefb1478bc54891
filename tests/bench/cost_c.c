// SPDX-License-Identifier: GPL-2.0
/*
 * Passes buffers to a device and gets them back, for their instructions to be counted.
 *
 * It is what cost_rust.rs is measured by: the same loops as a driver in C has them. They run when
 * a device is bound. Both devices answer while they are kicked, and it is an error if one does not:
 *
 *	a console with a null device behind it	buffers of one part, which it reads
 *	a network card's control queue		buffers of two parts: a command that it does not
 *						know, and its answer
 */
#include <linux/err.h>
#include <linux/irqflags.h>
#include <linux/module.h>
#include <linux/scatterlist.h>
#include <linux/slab.h>
#include <linux/virtio.h>
#include <linux/virtio_config.h>
#include <uapi/linux/virtio_ids.h>

#define BATCH 32

static unsigned int rounds;
module_param(rounds, uint, 0444);
MODULE_PARM_DESC(rounds, "How many buffers are passed");

static bool batch;
module_param(batch, bool, 0444);
MODULE_PARM_DESC(batch, "Pass them in batches of 32");

struct cost_buffer {
	u8 out[64];
	u8 in ____cacheline_aligned;
};

struct cost {
	struct virtqueue *vq;
	bool two_parts;
	struct cost_buffer *buffers[BATCH];
};

static __always_inline int cost_add(struct virtqueue *vq, struct cost_buffer *buffer,
				    bool two_parts)
{
	struct scatterlist out;
	struct scatterlist in;
	struct scatterlist *sgs[] = { &out, &in };

	sg_init_one(&out, buffer->out, sizeof(buffer->out));
	if (!two_parts)
		return virtqueue_add_outbuf(vq, &out, 1, buffer, GFP_ATOMIC);

	sg_init_one(&in, &buffer->in, sizeof(buffer->in));
	return virtqueue_add_sgs(vq, sgs, 1, 1, buffer, GFP_ATOMIC);
}

static __always_inline struct cost_buffer *cost_get(struct virtqueue *vq)
{
	struct cost_buffer *buffer;
	unsigned int len;

	buffer = virtqueue_get_buf(vq, &len);
	/* Waiting would be counted, too: this device is not one to be measured with. */
	return buffer ?: ERR_PTR(virtqueue_is_broken(vq) ? -EIO : -EAGAIN);
}

static __always_inline int cost_singles(struct cost *cost, bool two_parts)
{
	struct cost_buffer *buffer = cost->buffers[0];
	unsigned int i;
	int err;

	for (i = 0; i < rounds; i++) {
		err = cost_add(cost->vq, buffer, two_parts);
		if (err)
			return err;
		virtqueue_kick(cost->vq);
		buffer = cost_get(cost->vq);
		if (IS_ERR(buffer))
			return PTR_ERR(buffer);
	}
	return 0;
}

static __always_inline int cost_batches(struct cost *cost, bool two_parts)
{
	unsigned int i, j;
	int err;

	for (i = 0; i < rounds / BATCH; i++) {
		for (j = 0; j < BATCH; j++) {
			err = cost_add(cost->vq, cost->buffers[j], two_parts);
			if (err)
				return err;
		}
		virtqueue_kick(cost->vq);
		for (j = 0; j < BATCH; j++) {
			cost->buffers[j] = cost_get(cost->vq);
			if (IS_ERR(cost->buffers[j]))
				return PTR_ERR(cost->buffers[j]);
		}
	}
	return 0;
}

/* What the devices are needs to be known outside the loops only. */
static noinline int cost_console(struct cost *cost)
{
	return batch ? cost_batches(cost, false) : cost_singles(cost, false);
}

static noinline int cost_net(struct cost *cost)
{
	return batch ? cost_batches(cost, true) : cost_singles(cost, true);
}

static int cost_probe(struct virtio_device *vdev)
{
	struct virtqueue_info infos[] = {
		{ .name = "in" }, { .name = "out" }, { .name = "control" },
	};
	struct virtqueue *vqs[ARRAY_SIZE(infos)];
	unsigned long flags;
	struct cost *cost;
	unsigned int i;
	int err;

	cost = devm_kzalloc(&vdev->dev, sizeof(*cost), GFP_KERNEL);
	if (!cost)
		return -ENOMEM;
	for (i = 0; i < BATCH; i++) {
		cost->buffers[i] = devm_kmalloc(&vdev->dev, sizeof(**cost->buffers), GFP_KERNEL);
		if (!cost->buffers[i])
			return -ENOMEM;
		/* No such class of commands. */
		memset(cost->buffers[i], 0xff, sizeof(**cost->buffers));
	}

	cost->two_parts = vdev->id.device == VIRTIO_ID_NET;
	err = virtio_find_vqs(vdev, cost->two_parts ? 3 : 2, vqs, infos, NULL);
	if (err)
		return err;
	cost->vq = vqs[cost->two_parts ? 2 : 1];
	virtio_device_ready(vdev);

	/* No interrupt is counted. */
	local_irq_save(flags);
	err = cost->two_parts ? cost_net(cost) : cost_console(cost);
	local_irq_restore(flags);
	if (err) {
		virtio_reset_device(vdev);
		vdev->config->del_vqs(vdev);
	}
	return err;
}

static void cost_remove(struct virtio_device *vdev)
{
	virtio_reset_device(vdev);
	vdev->config->del_vqs(vdev);
}

static const struct virtio_device_id cost_ids[] = {
	{ VIRTIO_ID_CONSOLE, VIRTIO_DEV_ANY_ID },
	{ VIRTIO_ID_NET, VIRTIO_DEV_ANY_ID },
	{ 0 },
};

static struct virtio_driver cost_driver = {
	.driver.name = KBUILD_MODNAME,
	.id_table = cost_ids,
	.probe = cost_probe,
	.remove = cost_remove,
};
module_virtio_driver(cost_driver);

MODULE_DESCRIPTION("Loops over buffers, to be measured");
MODULE_LICENSE("GPL");
