/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Headers for which `bindgen` generates bindings. `rust/bindgen_parameters` selects the items.
 *
 * Sorted alphabetically.
 */
#include <linux/blk-mq.h>
#include <linux/ethtool.h>
#include <linux/hdreg.h>
#include <linux/hw_random.h>
#include <linux/if_link.h>
#include <linux/netdevice.h>
#include <linux/rtnetlink.h>
#include <linux/skbuff.h>
#include <linux/virtio.h>
#include <linux/virtio_config.h>
#include <net/netdev_queues.h>
#include <net/page_pool/types.h>
#include <uapi/linux/virtio_ids.h>
#include <uapi/linux/virtio_net.h>
#include <uapi/linux/virtio_ring.h>

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
const __u32 RUST_CONST_SKB_GSO_DODGY = SKB_GSO_DODGY;
const __u32 RUST_CONST_SKB_GSO_TCPV4 = SKB_GSO_TCPV4;
const __u32 RUST_CONST_SKB_GSO_TCPV6 = SKB_GSO_TCPV6;
const __u32 RUST_CONST_SKB_GSO_TCP_ECN = SKB_GSO_TCP_ECN;
const __u32 RUST_CONST_SKB_GSO_UDP = SKB_GSO_UDP;
const __u32 RUST_CONST_SKB_GSO_UDP_L4 = SKB_GSO_UDP_L4;
const __u32 RUST_CONST_SKB_GSO_UDP_TUNNEL = SKB_GSO_UDP_TUNNEL;
const __u32 RUST_CONST_SKB_GSO_UDP_TUNNEL_CSUM = SKB_GSO_UDP_TUNNEL_CSUM;

/* What a driver has in a network device comes after the core's part. */
const size_t RUST_CONST_NETDEV_PRIV = offsetof(struct net_device, priv);
const u32 RUST_CONST_ETHTOOL_COALESCE = ETHTOOL_COALESCE_USECS | ETHTOOL_COALESCE_MAX_FRAMES |
					ETHTOOL_COALESCE_USE_ADAPTIVE_RX;
const size_t RUST_CONST_SOCKADDR_DATA = offsetof(struct sockaddr, sa_data);
