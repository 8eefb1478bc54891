// SPDX-License-Identifier: GPL-2.0

#include <linux/virtio_config.h>

#include "helpers.h"

void rust_helper_virtio_get_features(struct virtio_device *vdev, u64 *features_out)
{
	virtio_get_features(vdev, features_out);
}
