/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Headers for which `bindgen` generates bindings. `rust/bindgen_parameters` selects the items.
 *
 * Sorted alphabetically.
 */
#include <linux/hw_random.h>
#include <linux/virtio.h>
#include <linux/virtio_config.h>
#include <uapi/linux/virtio_ids.h>

#include "../helpers/helpers.h"
