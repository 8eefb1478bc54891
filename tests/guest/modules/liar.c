// SPDX-License-Identifier: GPL-2.0
/*
 * A virtio device inside the guest, which lies as it is told, to see what its driver does then.
 *
 * It is a transport of its own, and the device behind it: it registers a virtio device of type
 * device_type, and serves its queues from a work item, with split rings. It fills what is writable
 * with a counter. Interrupts come in interrupt context, as those of other transports do.
 *
 * lie=NAME, one NAME for each line of names[], may be written at any time. The first `after`
 * occasions for the lie are passed over, and it is told `times` times. What the driver did is
 * counted below the directory "liar" of debugfs.
 */
#include <linux/debugfs.h>
#include <linux/delay.h>
#include <linux/module.h>
#include <linux/platform_device.h>
#include <linux/slab.h>
#include <uapi/linux/virtio_ids.h>

#include "liar.h"

#define CONFIG_SIZE	64
#define VENDOR		0x6c696172

static const char *const names[] = {
	[HONEST] = "",
	[SILENT] = "silent",
	[ID_RANGE] = "id_range",
	[ID_HUGE] = "id_huge",
	[ID_FREE] = "id_free",
	[ID_TWICE] = "id_twice",
	[LEN_LONG] = "len_long",
	[LEN_HUGE] = "len_huge",
	[LEN_ZERO] = "len_zero",
	[IDX_JUMP] = "idx_jump",
	[IDX_BACK] = "idx_back",
	[IDX_EARLY] = "idx_early",
	[IRQ_EARLY] = "irq_early",
	[IRQ_LATE] = "irq_late",
	[IRQ_STORM] = "irq_storm",
	[NOTIFY_FAILS] = "notify_fails",
	[STATUS_EARLY] = "status_early",
	[STATUS_STUCK] = "status_stuck",
	[NEEDS_RESET] = "needs_reset",
	[RESET_SLOW] = "reset_slow",
	[FEATURES_REFUSED] = "features_refused",
	[FEATURES_FICKLE] = "features_fickle",
	[CONFIG_RESTLESS] = "config_restless",
	[CONFIG_STORM] = "config_storm",
};

#define RESET_DELAY	3000	/* In milliseconds. */

static unsigned int device_type = VIRTIO_ID_RNG;
module_param(device_type, uint, 0444);
MODULE_PARM_DESC(device_type, "The type of the device (default 4, entropy)");

static unsigned long long features = BIT_ULL(VIRTIO_F_VERSION_1) |
	BIT_ULL(VIRTIO_RING_F_INDIRECT_DESC) | BIT_ULL(VIRTIO_RING_F_EVENT_IDX);
module_param(features, ullong, 0444);
MODULE_PARM_DESC(features, "The features that the device offers");

static ushort size = 8;
module_param(size, ushort, 0444);
MODULE_PARM_DESC(size, "The size of its queues, as it tells it");

static unsigned int queues = MAX_QUEUES;
module_param(queues, uint, 0444);
MODULE_PARM_DESC(queues, "How many queues it has, 4 at most");

static u8 config[CONFIG_SIZE];
module_param_array(config, byte, NULL, 0444);
MODULE_PARM_DESC(config, "The bytes of its configuration");

static unsigned int after;
module_param(after, uint, 0644);
MODULE_PARM_DESC(after, "How many occasions for the lie are passed over");

static unsigned int times = UINT_MAX;
module_param(times, uint, 0644);
MODULE_PARM_DESC(times, "How many times it is told");

unsigned int liar_period = 200;
module_param_named(period, liar_period, uint, 0444);
MODULE_PARM_DESC(period, "How long it is from one interrupt of a storm to the next, in microseconds");

static enum lie lie;
static atomic_t occasions;

static int lie_set(const char *value, const struct kernel_param *kp)
{
	int i = __sysfs_match_string(names, ARRAY_SIZE(names), value);

	if (i < 0) {
		pr_err("no lie is named '%s'\n", value);
		return i;
	}
	atomic_set(&occasions, 0);
	WRITE_ONCE(lie, i);
	return 0;
}

static int lie_get(char *buffer, const struct kernel_param *kp)
{
	return sysfs_emit(buffer, "%s\n", names[liar_lie()]);
}

static const struct kernel_param_ops lie_ops = {
	.set = lie_set,
	.get = lie_get,
};
module_param_cb(lie, &lie_ops, NULL, 0644);
MODULE_PARM_DESC(lie, "What to lie about");

enum lie liar_lie(void)
{
	return READ_ONCE(lie);
}

/* Tells whether to lie, at an occasion for it. */
bool lies(enum lie which)
{
	unsigned int nth;

	if (READ_ONCE(lie) != which)
		return false;
	nth = atomic_fetch_inc(&occasions);
	return nth >= READ_ONCE(after) && nth - READ_ONCE(after) < READ_ONCE(times);
}

struct liar_counters liar_counters;

static void liar_get(struct virtio_device *vdev, unsigned int offset, void *buffer,
		     unsigned int len)
{
	unsigned int i;

	/* There is nothing behind the end. */
	for (i = 0; i < len; i++)
		((u8 *)buffer)[i] = offset + i < CONFIG_SIZE ? READ_ONCE(config[offset + i]) : 0xff;
	atomic_inc(&liar_counters.config_reads);
}

static void liar_set(struct virtio_device *vdev, unsigned int offset, const void *buffer,
		     unsigned int len)
{
	unsigned int i;

	for (i = 0; i < len && offset + i < CONFIG_SIZE; i++)
		WRITE_ONCE(config[offset + i], ((const u8 *)buffer)[i]);
}

static u32 liar_generation(struct virtio_device *vdev)
{
	struct liar *l = to_liar(vdev);

	if (lies(CONFIG_RESTLESS)) {
		l->generation++;
		config[0]++;
	}
	return READ_ONCE(l->generation);
}

static u8 liar_get_status(struct virtio_device *vdev)
{
	struct liar *l = to_liar(vdev);

	if (l->queue[0].vq && lies(STATUS_EARLY))
		return l->status | VIRTIO_CONFIG_S_DRIVER_OK;
	return l->status;
}

static void liar_set_status(struct virtio_device *vdev, u8 status)
{
	struct liar *l = to_liar(vdev);
	bool started = !is_live(l) && status & VIRTIO_CONFIG_S_DRIVER_OK;

	if (liar_lie() == IRQ_EARLY)
		hrtimer_cancel(&l->storm);
	if (lies(FEATURES_REFUSED))
		status &= ~VIRTIO_CONFIG_S_FEATURES_OK;
	WRITE_ONCE(l->status, status);
	if (!started)
		return;
	schedule_work(&l->work);
	if (lies(IRQ_STORM) || lies(CONFIG_STORM))
		liar_start_storm(l);
}

static void liar_reset(struct virtio_device *vdev)
{
	struct liar *l = to_liar(vdev);
	struct liar_queue *queue = &l->queue[0];

	atomic_inc(&liar_counters.resets);
	if (queue->vq && lies(RESET_SLOW))
		msleep(RESET_DELAY);
	if (!(queue->vq && lies(STATUS_STUCK)))
		l->status = 0;
	else
		l->status &= ~VIRTIO_CONFIG_S_DRIVER_OK;
	liar_stop(l);

	if (queue->vq && lies(IRQ_LATE)) {
		liar_write_index(l, queue, queue->used + 1);
		liar_start_storm(l);
	}
}

static void liar_del_vqs(struct virtio_device *vdev)
{
	struct liar *l = to_liar(vdev);
	int i;

	liar_stop(l);
	for (i = 0; i < MAX_QUEUES; i++) {
		struct virtqueue *vq = l->queue[i].vq;

		spin_lock_irq(&l->irq_lock);
		l->queue[i].vq = NULL;
		spin_unlock_irq(&l->irq_lock);
		if (vq)
			vring_del_virtqueue(vq);
	}
}

static int make_queue(struct liar *l, int index, const struct virtqueue_info *info)
{
	struct liar_queue *queue = &l->queue[index];
	struct virtqueue *vq;

	/* As with PCI, a queue of size 0 is not there. */
	if (!size || index >= queues)
		return -ENOENT;
	vq = vring_create_virtqueue(index, size, SMP_CACHE_BYTES, &l->vdev, true, false,
				    info->ctx, liar_notify, info->callback, info->name);
	if (!vq)
		return -ENOMEM;
	vq->num_max = size;

	queue->vring = *virtqueue_get_vring(vq);
	queue->seen = 0;
	queue->used = 0;
	spin_lock_irq(&l->irq_lock);
	queue->vq = vq;
	spin_unlock_irq(&l->irq_lock);
	if (lies(IDX_EARLY))
		liar_write_index(l, queue, 1);
	return 0;
}

static int liar_find_vqs(struct virtio_device *vdev, unsigned int nvqs, struct virtqueue *vqs[],
			 struct virtqueue_info vqs_info[], struct irq_affinity *desc)
{
	struct liar *l = to_liar(vdev);
	int index = 0;
	int i, err;

	if (nvqs > MAX_QUEUES)
		return -ENOENT;
	for (i = 0; i < nvqs; i++) {
		vqs[i] = NULL;
		if (!vqs_info[i].name)
			continue;
		err = make_queue(l, index, &vqs_info[i]);
		if (err) {
			liar_del_vqs(vdev);
			return err;
		}
		vqs[i] = l->queue[index++].vq;
	}
	if (lies(IRQ_EARLY))
		liar_start_storm(l);
	return 0;
}

static void liar_synchronize_cbs(struct virtio_device *vdev)
{
	struct liar *l = to_liar(vdev);

	/* Whoever serves an interrupt has the lock. */
	spin_lock_irq(&l->irq_lock);
	spin_unlock_irq(&l->irq_lock);
}

static u64 liar_get_features(struct virtio_device *vdev)
{
	/* Not those of the transport: it must understand what is negotiated. */
	if (lies(FEATURES_FICKLE))
		features ^= GENMASK_ULL(23, 0);
	return features;
}

static int liar_finalize_features(struct virtio_device *vdev)
{
	vring_transport_features(vdev);
	/* This device knows split rings only. */
	__virtio_clear_bit(vdev, VIRTIO_F_RING_PACKED);
	return 0;
}

static const char *liar_bus_name(struct virtio_device *vdev)
{
	return "liar";
}

static const struct virtio_config_ops liar_config_ops = {
	.get = liar_get,
	.set = liar_set,
	.generation = liar_generation,
	.get_status = liar_get_status,
	.set_status = liar_set_status,
	.reset = liar_reset,
	.find_vqs = liar_find_vqs,
	.del_vqs = liar_del_vqs,
	.synchronize_cbs = liar_synchronize_cbs,
	.get_features = liar_get_features,
	.finalize_features = liar_finalize_features,
	.bus_name = liar_bus_name,
};

static struct platform_device *parent;
static struct liar *liar;
static struct dentry *directory;

static void liar_release(struct device *dev)
{
	kfree(to_liar(dev_to_virtio(dev)));
}

static struct liar *new_liar(void)
{
	struct liar *l = kzalloc_obj(*l);

	if (!l)
		return NULL;
	liar_setup_queues(l);
	l->vdev.dev.parent = &parent->dev;
	l->vdev.dev.release = liar_release;
	l->vdev.id.device = device_type;
	l->vdev.id.vendor = VENDOR;
	l->vdev.config = &liar_config_ops;
	return l;
}

/* Changes the first 8 bytes of the configuration, as an honest device does. */
static int change_set(void *data, u64 value)
{
	__le64 bytes = cpu_to_le64(value);

	memcpy(config, &bytes, sizeof(bytes));
	liar->generation++;
	WRITE_ONCE(liar->changed, true);
	irq_work_queue(&liar->irq);
	return 0;
}
DEFINE_DEBUGFS_ATTRIBUTE(change_fops, NULL, change_set, "%llu\n");

static int __init liar_init(void)
{
	int err;

	parent = platform_device_register_simple("liar", PLATFORM_DEVID_NONE, NULL, 0);
	if (IS_ERR(parent))
		return PTR_ERR(parent);
	liar = new_liar();
	if (!liar) {
		err = -ENOMEM;
		goto unregister_parent;
	}

	directory = debugfs_create_dir("liar", NULL);
	debugfs_create_atomic_t("kicks", 0444, directory,
				&liar_counters.kicks);
	debugfs_create_atomic_t("bad_kicks", 0444, directory,
				&liar_counters.bad_kicks);
	debugfs_create_atomic_t("buffers", 0444, directory,
				&liar_counters.buffers);
	debugfs_create_atomic_t("interrupts", 0444, directory,
				&liar_counters.interrupts);
	debugfs_create_atomic_t("resets", 0444, directory,
				&liar_counters.resets);
	debugfs_create_atomic_t("config_reads", 0444, directory,
				&liar_counters.config_reads);
	debugfs_create_file_unsafe("change", 0200, directory, NULL, &change_fops);

	err = register_virtio_device(&liar->vdev);
	if (err)
		goto put_device;
	return 0;

put_device:
	debugfs_remove(directory);
	put_device(&liar->vdev.dev);
unregister_parent:
	platform_device_unregister(parent);
	return err;
}

static void __exit liar_exit(void)
{
	debugfs_remove(directory);
	get_device(&liar->vdev.dev);
	unregister_virtio_device(&liar->vdev);
	liar_stop(liar);
	put_device(&liar->vdev.dev);
	platform_device_unregister(parent);
}

module_init(liar_init);
module_exit(liar_exit);
MODULE_DESCRIPTION("A virtio device that lies");
MODULE_LICENSE("GPL");
