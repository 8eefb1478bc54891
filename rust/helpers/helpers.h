/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Out-of-line versions of C inline functions and macros, for Rust.
 *
 * Sorted by file, then alphabetically.
 */
#ifndef _KERNEL_EXT_HELPERS_H
#define _KERNEL_EXT_HELPERS_H

#include <linux/blk-mq.h>
#include <linux/device.h>
#include <linux/gfp_types.h>
#include <linux/types.h>
#include <linux/virtio_config.h>
#include <linux/workqueue.h>

struct completion;

/* blk.c */
typedef ssize_t (*disk_attr_show_t)(struct device *dev, struct device_attribute *attr, char *buf);
typedef ssize_t (*disk_attr_store_t)(struct device *dev, struct device_attribute *attr,
				     const char *buf, size_t count);

bool rust_helper_blk_mq_add_to_batch(struct request *rq, struct io_comp_batch *iob);
unsigned int rust_helper_blk_mq_freeze_queue(struct request_queue *q);
void rust_helper_blk_mq_unfreeze_queue(struct request_queue *q, unsigned int memflags);
int rust_helper_blk_set_write_cache(struct request_queue *q, bool enabled);
void rust_helper_device_attribute_init(struct device_attribute *attr, const char *name,
				       umode_t mode, disk_attr_show_t show,
				       disk_attr_store_t store);
sector_t rust_helper_get_capacity(struct gendisk *disk);
void rust_helper_memcpy_from_bvec(void *to, struct bio_vec *from);
void rust_helper_memcpy_to_bvec(struct bio_vec *to, const void *from);
bool rust_helper_rq_next_segment(struct req_iterator *iter, struct bio_vec *part);

/* completion.c */
void rust_helper_reinit_completion(struct completion *x);

/* virtio.c */
u64 rust_helper_virtio_config_length(struct virtio_device *vdev);
void rust_helper_virtio_del_vqs(struct virtio_device *vdev);
void rust_helper_virtio_device_ready(struct virtio_device *vdev);
int rust_helper_virtio_find_vqs(struct virtio_device *vdev, unsigned int nvqs,
				struct virtqueue *vqs[], struct virtqueue_info vqs_info[]);
int rust_helper_virtio_find_vqs_spread(struct virtio_device *vdev, unsigned int nvqs,
				       struct virtqueue *vqs[], struct virtqueue_info vqs_info[],
				       unsigned int first, unsigned int last);
void rust_helper_virtio_get_features(struct virtio_device *vdev, u64 *features_out);
void rust_helper_virtio_synchronize_cbs(struct virtio_device *vdev);
bool rust_helper_virtio_trylock(struct virtio_device *vdev);
void rust_helper_virtio_unlock(struct virtio_device *vdev);

/* virtqueue.c */
void rust_helper_sg_set_mapped(struct scatterlist *sg, dma_addr_t address, unsigned int len);
int rust_helper_virtqueue_add_in(struct virtqueue *vq, void *in, unsigned int in_len,
				 void *token, gfp_t gfp);
int rust_helper_virtqueue_add_out(struct virtqueue *vq, void *out, unsigned int out_len,
				  void *token, gfp_t gfp);
int rust_helper_virtqueue_add_out_in(struct virtqueue *vq, void *out, unsigned int out_len,
				     void *in, unsigned int in_len, void *token, gfp_t gfp);
int rust_helper_virtqueue_set_affinity(struct virtqueue *vq, const struct cpumask *cpu_mask);
const __virtio16 *rust_helper_virtqueue_used_index(struct virtqueue *vq);

/* workqueue.c */
void rust_helper_init_delayed_work(struct delayed_work *dwork, work_func_t func);

#endif /* _KERNEL_EXT_HELPERS_H */
