// SPDX-License-Identifier: GPL-2.0
/*
 * Has the device find a descriptor in a ring that cannot be, as a driver with an error would: a
 * device that follows the specification says then that it needs a reset.
 *
 * insmod mislead.ko type=1 queue=1; the ring must be a split one, of the first device of the type.
 */
#include <linux/io.h>
#include <linux/module.h>
#include <linux/pci.h>
#include <linux/string.h>
#include <linux/virtio.h>
#include <linux/virtio_ring.h>

static unsigned int type;
module_param(type, uint, 0444);
MODULE_PARM_DESC(type, "What the device is");

static unsigned int queue;
module_param(queue, uint, 0444);
MODULE_PARM_DESC(queue, "The number of the queue");

static int is_wanted(struct device *dev, const void *unused)
{
	return !strcmp(dev->bus ? dev->bus->name : "", "virtio") &&
	       dev_to_virtio(dev)->id.device == type;
}

static int mislead(struct virtio_device *vdev)
{
	struct virtqueue *vq;
	struct vring_avail *avail;
	u16 size, at;

	virtio_device_for_each_vq(vdev, vq) {
		if (vq->index != queue)
			continue;
		avail = phys_to_virt(virtqueue_get_avail_addr(vq));
		size = virtqueue_get_vring_size(vq);
		at = le16_to_cpu((__force __le16)READ_ONCE(avail->idx));
		avail->ring[at % size] = (__force __virtio16)cpu_to_le16(size);
		virtio_wmb(true);
		WRITE_ONCE(avail->idx, (__force __virtio16)cpu_to_le16(at + 1));
		virtqueue_notify(vq);
		return 0;
	}
	return -ENOENT;
}

static int __init mislead_init(void)
{
	struct pci_dev *pci = NULL;
	struct device *dev;
	int error = -ENODEV;

	while (error == -ENODEV &&
	       (pci = pci_get_device(PCI_VENDOR_ID_REDHAT_QUMRANET, PCI_ANY_ID, pci))) {
		dev = device_find_child(&pci->dev, NULL, is_wanted);
		if (dev) {
			error = mislead(dev_to_virtio(dev));
			put_device(dev);
		}
	}
	pci_dev_put(pci);
	return error;
}
module_init(mislead_init);

static void __exit mislead_exit(void)
{
}
module_exit(mislead_exit);

MODULE_DESCRIPTION("A ring that cannot be");
MODULE_LICENSE("GPL");
