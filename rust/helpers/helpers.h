/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Out-of-line versions of C inline functions and macros, for Rust.
 *
 * Sorted by file, then alphabetically.
 */
#ifndef _KERNEL_EXT_HELPERS_H
#define _KERNEL_EXT_HELPERS_H

#include <linux/blk-mq.h>
#include <linux/cpuhotplug.h>
#include <linux/device.h>
#include <linux/dma-mapping.h>
#include <linux/etherdevice.h>
#include <linux/gfp_types.h>
#include <linux/netdevice.h>
#include <linux/skbuff.h>
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
bool rust_helper_blk_mq_freeze_queue_within(struct request_queue *q, unsigned long limit,
					    unsigned int *memflags);
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

/* cpu.c */
typedef int (*rust_cpu_came_t)(unsigned int cpu, struct hlist_node *node);

int rust_helper_cpuhp_setup_multi_state(const char *name, rust_cpu_came_t came);
void rust_helper_cpuhp_remove_multi_state(int state);
int rust_helper_cpuhp_state_add_instance(int state, struct hlist_node *node);
void rust_helper_cpuhp_state_remove_instance(int state, struct hlist_node *node);

/* net.c */
typedef void (*hw_addr_fn_t)(void *context, const u8 *address);
typedef int (*napi_poll_fn_t)(struct napi_struct *napi, int budget);

struct napi_setup {
	unsigned int queue;
	int weight;
	bool tx;
};

struct netdev_setup {
	const struct net_device_ops *ops;
	const struct ethtool_ops *ethtool;
	const struct netdev_stat_ops *stats;
	struct device *parent;
	netdev_features_t features;
	netdev_features_t hw_features;
	netdev_features_t vlan_features;
	netdev_features_t hw_enc_features;
	unsigned int min_mtu;
	unsigned int max_mtu;
	unsigned int mtu;
	unsigned int tx_queue_len;
	unsigned int tso_max_size;
	unsigned int tso_max_segs;
	int watchdog;
	u32 priv_flags;
	u16 headroom;
	u16 tailroom;
	u16 port;
	bool random_address;
	u8 address[ETH_ALEN];
};

struct netdev_state {
	netdev_features_t features;
	netdev_features_t hw_features;
	unsigned int mtu;
	unsigned int flags;
	int ifindex;
	unsigned int real_num_tx_queues;
	unsigned int real_num_rx_queues;
	u8 reg_state;
	bool running;
	bool present;
	bool carrier;
	u8 address[ETH_ALEN];
	char name[IFNAMSIZ];
};

void rust_helper_napi_add(struct net_device *dev, struct napi_struct *napi, napi_poll_fn_t poll,
			  const struct napi_setup *setup);
void rust_helper_napi_del(struct napi_struct *napi);
bool rust_helper_napi_may_complete(const struct napi_struct *napi, unsigned int work);
bool rust_helper_napi_receive(struct napi_struct *napi, struct sk_buff *skb, unsigned int queue);
bool rust_helper_napi_schedule(struct napi_struct *napi);
void rust_helper_napi_schedule_irqoff(struct napi_struct *napi);
unsigned int rust_helper_netdev_addr_lock(struct net_device *dev,
					  const struct netdev_hw_addr_list **uc,
					  const struct netdev_hw_addr_list **mc);
void rust_helper_netdev_addr_unlock(struct net_device *dev);
void rust_helper_netdev_detach(struct net_device *dev);
unsigned int rust_helper_netdev_flags(const struct net_device *dev);
struct netdev_queue *rust_helper_netdev_get_tx_queue(struct net_device *dev, unsigned int index);
size_t rust_helper_netdev_hw_addr_list_count(const struct netdev_hw_addr_list *list);
void rust_helper_netdev_hw_addr_list_for_each(const struct netdev_hw_addr_list *list,
					      hw_addr_fn_t function, void *context);
void rust_helper_netdev_set_mtu(struct net_device *dev, unsigned int mtu);
void rust_helper_netdev_setup(struct net_device *dev, const struct netdev_setup *setup);
void rust_helper_netdev_state(const struct net_device *dev, struct netdev_state *state);
void rust_helper_netdev_tx_completed_queue(struct netdev_queue *txq, unsigned int packets,
					   unsigned int bytes);
void rust_helper_netdev_tx_reset_queue(struct netdev_queue *txq);
bool rust_helper_netdev_tx_sent_queue(struct netdev_queue *txq, unsigned int bytes, bool more);
int rust_helper_netdev_xmit_begin(struct netdev_queue *txq);
int rust_helper_netif_set_xps_queue(struct net_device *dev, const struct cpumask *mask, u16 index);
void rust_helper_netif_tx_lock(struct netdev_queue *txq);
void rust_helper_netif_tx_lock_bh(struct netdev_queue *txq);
bool rust_helper_netif_tx_queue_stopped(const struct netdev_queue *txq);
void rust_helper_netif_tx_start_queue(struct netdev_queue *txq);
void rust_helper_netif_tx_stop_queue(struct netdev_queue *txq);
bool rust_helper_netif_tx_trylock(struct netdev_queue *txq);
bool rust_helper_netif_tx_trylock_bh(struct netdev_queue *txq);
void rust_helper_netif_tx_unlock(struct netdev_queue *txq);
void rust_helper_netif_tx_unlock_bh(struct netdev_queue *txq);
netdev_features_t rust_helper_vlan_features_check(struct sk_buff *skb, netdev_features_t features);

/* page_pool.c */
void *rust_helper_page_pool_alloc(struct page_pool *pool, gfp_t gfp, struct page **page,
				  unsigned int *offset, unsigned int *size);
struct page_pool *rust_helper_page_pool_create(unsigned int order, unsigned int pages, int node,
					       struct device *dev);
void rust_helper_page_pool_get(struct page_pool *pool);
unsigned int rust_helper_page_pool_held(const struct page_pool *pool);
void rust_helper_page_pool_put(struct page_pool *pool, struct page *page, bool direct);
void rust_helper_page_pool_sync_for_cpu(const struct page_pool *pool, const struct page *page,
					u32 offset, u32 len);
void rust_helper_sg_set_pool_page(struct scatterlist *sg, struct page *page, unsigned int offset,
				  unsigned int len, bool mapped);

/* skb.c */
struct skb_offload {
	u32 gso_type;
	u16 gso_size;
	u16 gso_segs;
	s32 csum_start;
	u16 csum_offset;
	s32 transport;
	s32 inner_network;
	s32 inner_transport;
	u8 ip_summed;
	bool ipv6;
};

struct skb_received {
	u16 gso_size;
	u16 csum_start;
	u16 csum_offset;
	u16 outer_transport;
	u16 inner_network;
	u8 flags;
	u8 gso_type;
};

struct sk_buff *rust_helper_build_skb(void *data, unsigned int size, unsigned int headroom,
				      unsigned int len);
void rust_helper_consume_skb(struct sk_buff *skb);
struct sk_buff *rust_helper_netdev_alloc_skb(unsigned int len);
void rust_helper_nf_reset_ct(struct sk_buff *skb);
bool rust_helper_skb_add_piece(struct sk_buff *skb, struct page *page, unsigned int offset,
			       unsigned int len, unsigned int truesize);
bool rust_helper_skb_add_tail(struct sk_buff *skb, struct sk_buff *tail);
bool rust_helper_skb_append(struct sk_buff *skb, const void *from, unsigned int len);
int rust_helper_skb_append_skb(struct sk_buff *skb, const struct sk_buff *from);
void rust_helper_skb_get_offload(const struct sk_buff *skb, struct skb_offload *offload);
bool rust_helper_skb_header_cloned(const struct sk_buff *skb);
int rust_helper_skb_linearize(struct sk_buff *skb);
int rust_helper_skb_list(struct sk_buff *skb, void *front, unsigned int front_len,
			 struct scatterlist *sg, unsigned int size);
void rust_helper_skb_orphan(struct sk_buff *skb);
void rust_helper_skb_set_checksum_verified(struct sk_buff *skb);
void rust_helper_skb_set_hash(struct sk_buff *skb, u32 hash, bool l4);
void rust_helper_skb_tx_timestamp(struct sk_buff *skb);
bool rust_helper_skb_write_before(struct sk_buff *skb, const void *header, unsigned int len);
int rust_helper_virtio_net_hdr_to_skb(struct sk_buff *skb, const struct skb_received *received);

/* virtio.c */
u64 rust_helper_virtio_config_length(struct virtio_device *vdev);
void rust_helper_virtio_del_vqs(struct virtio_device *vdev, const void *decoy);
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
void rust_helper_sg_set_end(struct scatterlist *sg, unsigned int size, unsigned int count);
void rust_helper_sg_set_mapped(struct scatterlist *sg, dma_addr_t address, unsigned int len);
void rust_helper_virt_mb(void);
void rust_helper_virt_rmb(void);
void rust_helper_virt_wmb(void);
dma_addr_t rust_helper_virtio_entry_address(struct scatterlist *sg, enum dma_data_direction dir);
dma_addr_t rust_helper_virtio_span_address(void *start, unsigned int len,
					   enum dma_data_direction dir);
int rust_helper_virtqueue_add_in(struct virtqueue *vq, void *in, unsigned int in_len,
				 void *token, gfp_t gfp);
int rust_helper_virtqueue_add_out(struct virtqueue *vq, void *out, unsigned int out_len,
				  void *token, gfp_t gfp);
int rust_helper_virtqueue_add_out_in(struct virtqueue *vq, void *out, unsigned int out_len,
				     void *in, unsigned int in_len, void *token, gfp_t gfp);
int rust_helper_virtqueue_add_out_list(struct virtqueue *vq, struct scatterlist *sg,
				       unsigned int count, void *token, gfp_t gfp);
dma_addr_t rust_helper_virtqueue_map_entry(struct virtqueue *vq, struct scatterlist *sg,
					   enum dma_data_direction dir);
const struct vring *rust_helper_virtqueue_packed_vring(struct virtqueue *vq);
int rust_helper_virtqueue_set_affinity(struct virtqueue *vq, const struct cpumask *cpu_mask);
const __virtio16 *rust_helper_virtqueue_used_index(struct virtqueue *vq);
bool rust_helper_virtqueue_uses_map(struct virtqueue *vq);

/* workqueue.c */
void rust_helper_init_delayed_work(struct delayed_work *dwork, work_func_t func);

#endif /* _KERNEL_EXT_HELPERS_H */
