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
const blk_features_t RUST_CONST_BLK_FEAT_FUA = BLK_FEAT_FUA;
const blk_features_t RUST_CONST_BLK_FEAT_STABLE_WRITES = BLK_FEAT_STABLE_WRITES;
const blk_features_t RUST_CONST_BLK_FEAT_WRITE_CACHE = BLK_FEAT_WRITE_CACHE;
const blk_status_t RUST_CONST_BLK_STS_AGAIN = BLK_STS_AGAIN;
const blk_status_t RUST_CONST_BLK_STS_DEV_RESOURCE = BLK_STS_DEV_RESOURCE;
const blk_status_t RUST_CONST_BLK_STS_DM_REQUEUE = BLK_STS_DM_REQUEUE;
const blk_status_t RUST_CONST_BLK_STS_INVAL = BLK_STS_INVAL;
const blk_status_t RUST_CONST_BLK_STS_IOERR = BLK_STS_IOERR;
const blk_status_t RUST_CONST_BLK_STS_MEDIUM = BLK_STS_MEDIUM;
const blk_status_t RUST_CONST_BLK_STS_NOSPC = BLK_STS_NOSPC;
const blk_status_t RUST_CONST_BLK_STS_NOTSUPP = BLK_STS_NOTSUPP;
const blk_status_t RUST_CONST_BLK_STS_OFFLINE = BLK_STS_OFFLINE;
const blk_status_t RUST_CONST_BLK_STS_PROTECTION = BLK_STS_PROTECTION;
const blk_status_t RUST_CONST_BLK_STS_RESOURCE = BLK_STS_RESOURCE;
const blk_status_t RUST_CONST_BLK_STS_TARGET = BLK_STS_TARGET;
const blk_status_t RUST_CONST_BLK_STS_TIMEOUT = BLK_STS_TIMEOUT;
const blk_status_t RUST_CONST_BLK_STS_TRANSPORT = BLK_STS_TRANSPORT;
const blk_status_t RUST_CONST_BLK_STS_ZONE_ACTIVE_RESOURCE = BLK_STS_ZONE_ACTIVE_RESOURCE;
const blk_status_t RUST_CONST_BLK_STS_ZONE_OPEN_RESOURCE = BLK_STS_ZONE_OPEN_RESOURCE;
const __u32 RUST_CONST_BLK_MAX_BLOCK_SIZE = BLK_MAX_BLOCK_SIZE;
