// SPDX-License-Identifier: GPL-2.0

#include <linux/blk-mq.h>
#include <linux/blkdev.h>
#include <linux/bvec.h>
#include <linux/sched/mm.h>
#include <linux/sysfs.h>

#include "helpers.h"

/* From here on, the request does not time out. Says whether the batch has taken it. */
bool rust_helper_blk_mq_add_to_batch(struct request *rq, struct io_comp_batch *iob)
{
	blk_mq_set_request_complete(rq);

	return blk_mq_add_to_batch(rq, iob, false, blk_mq_end_request_batch);
}

unsigned int rust_helper_blk_mq_freeze_queue(struct request_queue *q)
{
	return blk_mq_freeze_queue(q);
}

/* If it takes too long, the queue is as it was. */
bool rust_helper_blk_mq_freeze_queue_within(struct request_queue *q, unsigned long limit,
					    unsigned int *memflags)
{
	*memflags = memalloc_noio_save();
	blk_freeze_queue_start(q);
	if (blk_mq_freeze_queue_wait_timeout(q, limit))
		return true;

	blk_mq_unfreeze_queue(q, *memflags);
	return false;
}

void rust_helper_blk_mq_unfreeze_queue(struct request_queue *q, unsigned int memflags)
{
	blk_mq_unfreeze_queue(q, memflags);
}

int rust_helper_blk_set_write_cache(struct request_queue *q, bool enabled)
{
	struct queue_limits lim = queue_limits_start_update(q);

	if (enabled)
		lim.features |= BLK_FEAT_WRITE_CACHE;
	else
		lim.features &= ~BLK_FEAT_WRITE_CACHE;

	return queue_limits_commit_update_frozen(q, &lim);
}

/* The name has to outlive the attribute. */
void rust_helper_device_attribute_init(struct device_attribute *attr, const char *name,
				       umode_t mode, disk_attr_show_t show, disk_attr_store_t store)
{
	sysfs_attr_init(&attr->attr);
	attr->attr.name = name;
	attr->attr.mode = mode;
	attr->show = show;
	attr->store = store;
}

sector_t rust_helper_get_capacity(struct gendisk *disk)
{
	return get_capacity(disk);
}

void rust_helper_memcpy_from_bvec(void *to, struct bio_vec *from)
{
	memcpy_from_bvec(to, from);
}

void rust_helper_memcpy_to_bvec(struct bio_vec *to, const void *from)
{
	memcpy_to_bvec(to, from);
}

/* Takes the next part of a request's data that lies within a page. */
bool rust_helper_rq_next_segment(struct req_iterator *iter, struct bio_vec *part)
{
	while (iter->bio && !iter->iter.bi_size) {
		iter->bio = iter->bio->bi_next;
		if (iter->bio)
			iter->iter = iter->bio->bi_iter;
	}
	if (!iter->bio)
		return false;

	*part = bio_iter_iovec(iter->bio, iter->iter);
	bio_advance_iter_single(iter->bio, &iter->iter, part->bv_len);
	return true;
}
