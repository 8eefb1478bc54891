/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Out-of-line versions of C inline functions and macros, for Rust.
 *
 * Sorted by file, then alphabetically.
 */
#ifndef _KERNEL_EXT_HELPERS_H
#define _KERNEL_EXT_HELPERS_H

#include <linux/gfp_types.h>
#include <linux/types.h>
#include <linux/virtio_config.h>

struct completion;

/* completion.c */
void rust_helper_reinit_completion(struct completion *x);

/* virtio.c */
void rust_helper_virtio_del_vqs(struct virtio_device *vdev);
void rust_helper_virtio_device_ready(struct virtio_device *vdev);
int rust_helper_virtio_find_vqs(struct virtio_device *vdev, unsigned int nvqs,
				struct virtqueue *vqs[], struct virtqueue_info vqs_info[]);
void rust_helper_virtio_get_features(struct virtio_device *vdev, u64 *features_out);
void rust_helper_virtio_synchronize_cbs(struct virtio_device *vdev);

/* virtqueue.c */
int rust_helper_virtqueue_add_parts(struct virtqueue *vq, void *out, unsigned int out_len,
				    void *in, unsigned int in_len, void *token, gfp_t gfp);

#endif /* _KERNEL_EXT_HELPERS_H */
