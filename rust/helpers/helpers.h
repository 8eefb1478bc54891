/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Out-of-line versions of C inline functions and macros, for Rust.
 *
 * Sorted by file, then alphabetically.
 */
#ifndef _KERNEL_EXT_HELPERS_H
#define _KERNEL_EXT_HELPERS_H

#include <linux/types.h>

struct virtio_device;

/* virtio.c */
void rust_helper_virtio_get_features(struct virtio_device *vdev, u64 *features_out);

#endif /* _KERNEL_EXT_HELPERS_H */
