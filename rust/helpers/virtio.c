// SPDX-License-Identifier: GPL-2.0

#include <linux/device.h>
#include <linux/interrupt.h>
#include <linux/io.h>
#include <linux/pci.h>
#include <linux/virtio_config.h>
#include <linux/virtio_pci.h>
#include <linux/virtio_ring.h>

#include "helpers.h"

/*
 * How many bytes of configuration a device has, as far as one can know. The PCI transport takes
 * any access beyond them for a bug of the kernel.
 */
u64 rust_helper_virtio_config_length(struct virtio_device *vdev)
{
	struct device *parent = vdev->dev.parent;
	struct pci_dev *pdev;
	u8 cap, type, bar;
	u32 size;

	if (!parent || !dev_is_pci(parent))
		return U64_MAX;

	pdev = to_pci_dev(parent);
	for (cap = pci_find_capability(pdev, PCI_CAP_ID_VNDR); cap;
	     cap = pci_find_next_capability(pdev, cap, PCI_CAP_ID_VNDR)) {
		pci_read_config_byte(pdev, cap + VIRTIO_PCI_CAP_CFG_TYPE, &type);
		pci_read_config_byte(pdev, cap + VIRTIO_PCI_CAP_BAR, &bar);
		if (type != VIRTIO_PCI_CAP_DEVICE_CFG || bar >= PCI_STD_NUM_BARS)
			continue;
		pci_read_config_dword(pdev, cap + VIRTIO_PCI_CAP_LENGTH, &size);
		return min(size, PAGE_SIZE);
	}
	return U64_MAX;
}

/* The core frees what it has for a ring: if that is a decoy, the ring is put back before. */
void rust_helper_virtio_del_vqs(struct virtio_device *vdev, const void *decoy)
{
	struct virtqueue *vq;

	virtio_device_for_each_vq(vdev, vq) {
		struct vring *vring = (struct vring *)virtqueue_get_vring(vq);

		if (vring->desc == decoy)
			vring->desc = phys_to_virt(virtqueue_get_desc_addr(vq));
		/* Some transports forget where an interrupt was to go that several queues share. */
		virtqueue_set_affinity(vq, NULL);
	}
	vdev->config->del_vqs(vdev);
}

void rust_helper_virtio_device_ready(struct virtio_device *vdev)
{
	virtio_device_ready(vdev);
}

int rust_helper_virtio_find_vqs(struct virtio_device *vdev, unsigned int nvqs,
				struct virtqueue *vqs[], struct virtqueue_info vqs_info[])
{
	return virtio_find_vqs(vdev, nvqs, vqs, vqs_info, NULL);
}

/* The interrupts of all queues but the first and the last ones are spread over the CPUs. */
int rust_helper_virtio_find_vqs_spread(struct virtio_device *vdev, unsigned int nvqs,
				       struct virtqueue *vqs[], struct virtqueue_info vqs_info[],
				       unsigned int first, unsigned int last)
{
	struct irq_affinity affinity = {
		.pre_vectors = first,
		.post_vectors = last,
	};

	return virtio_find_vqs(vdev, nvqs, vqs, vqs_info, &affinity);
}

void rust_helper_virtio_get_features(struct virtio_device *vdev, u64 *features_out)
{
	virtio_get_features(vdev, features_out);
}

void rust_helper_virtio_synchronize_cbs(struct virtio_device *vdev)
{
	virtio_synchronize_cbs(vdev);
}

/* Keeps others from unbinding, suspending and resetting the device. */
bool rust_helper_virtio_trylock(struct virtio_device *vdev)
{
	struct device *parent = vdev->dev.parent;

	if (parent && !device_trylock(parent))
		return false;
	if (device_trylock(&vdev->dev))
		return true;
	if (parent)
		device_unlock(parent);
	return false;
}

void rust_helper_virtio_unlock(struct virtio_device *vdev)
{
	struct device *parent = vdev->dev.parent;

	device_unlock(&vdev->dev);
	if (parent)
		device_unlock(parent);
}

