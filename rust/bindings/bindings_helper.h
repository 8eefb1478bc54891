/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Headers for which `bindgen` generates bindings. `rust/bindgen_parameters` selects the items.
 *
 * Sorted alphabetically.
 */
#include <linux/blk-mq.h>
#include <linux/hdreg.h>
#include <linux/hw_random.h>
#include <linux/virtio.h>
#include <linux/virtio_config.h>
#include <uapi/linux/virtio_ids.h>

#include "../helpers/helpers.h"

/* Macros that are casts, which `bindgen` does not evaluate: it takes constants. */
#define CONSTANT(type, name) const type RUST_CONST_##name = name

CONSTANT(blk_features_t, BLK_FEAT_FUA);
CONSTANT(blk_features_t, BLK_FEAT_STABLE_WRITES);
CONSTANT(blk_features_t, BLK_FEAT_WRITE_CACHE);
CONSTANT(blk_status_t, BLK_STS_AGAIN);
CONSTANT(blk_status_t, BLK_STS_DEV_RESOURCE);
CONSTANT(blk_status_t, BLK_STS_DM_REQUEUE);
CONSTANT(blk_status_t, BLK_STS_INVAL);
CONSTANT(blk_status_t, BLK_STS_IOERR);
CONSTANT(blk_status_t, BLK_STS_MEDIUM);
CONSTANT(blk_status_t, BLK_STS_NOSPC);
CONSTANT(blk_status_t, BLK_STS_NOTSUPP);
CONSTANT(blk_status_t, BLK_STS_OFFLINE);
CONSTANT(blk_status_t, BLK_STS_PROTECTION);
CONSTANT(blk_status_t, BLK_STS_RESOURCE);
CONSTANT(blk_status_t, BLK_STS_TARGET);
CONSTANT(blk_status_t, BLK_STS_TIMEOUT);
CONSTANT(blk_status_t, BLK_STS_TRANSPORT);
CONSTANT(blk_status_t, BLK_STS_ZONE_ACTIVE_RESOURCE);
CONSTANT(blk_status_t, BLK_STS_ZONE_OPEN_RESOURCE);
CONSTANT(__u32, BLK_MAX_BLOCK_SIZE);
