// SPDX-License-Identifier: GPL-2.0

#include <linux/etherdevice.h>
#include <linux/if_vlan.h>
#include <linux/netdevice.h>
#include <net/netdev_lock.h>

#include "helpers.h"

void rust_helper_napi_add(struct net_device *dev, struct napi_struct *napi, napi_poll_fn_t poll,
			  const struct napi_setup *setup)
{
	unsigned int queue = setup->queue;

	if (setup->tx) {
		netif_napi_add_tx_weight(dev, napi, poll, setup->weight);
		netif_queue_set_napi(dev, queue, NETDEV_QUEUE_TYPE_TX, napi);
	} else {
		netif_napi_add_config(dev, napi, poll, queue);
		napi->weight = setup->weight;
		netif_queue_set_napi(dev, queue, NETDEV_QUEUE_TYPE_RX, napi);
	}
}

/* It must be disabled. Somebody may look at it until a grace period has passed. */
void rust_helper_napi_del(struct napi_struct *napi)
{
	__netif_napi_del(napi);
}

/*
 * Whether to have the device interrupt: not if napi_complete_done() is going to keep the instance,
 * or to poll it again by a timer.
 */
bool rust_helper_napi_may_complete(const struct napi_struct *napi, unsigned int work)
{
	u32 defer;

	if (napi->state & (NAPIF_STATE_NPSVC | NAPIF_STATE_IN_BUSY_POLL))
		return false;

	defer = work ? READ_ONCE(napi->defer_hard_irqs) : napi->defer_hard_irqs_count;
	return !defer || !READ_ONCE(napi->gro_flush_timeout);
}

/* Takes a frame that was received, unless it is too short to be one. */
bool rust_helper_napi_receive(struct napi_struct *napi, struct sk_buff *skb, unsigned int queue)
{
	if (unlikely(!pskb_may_pull(skb, ETH_HLEN)))
		return false;

	skb->protocol = eth_type_trans(skb, napi->dev);
	skb_record_rx_queue(skb, queue);
	napi_gro_receive(napi, skb);
	return true;
}

bool rust_helper_napi_schedule(struct napi_struct *napi)
{
	return napi_schedule(napi);
}

void rust_helper_napi_schedule_irqoff(struct napi_struct *napi)
{
	napi_schedule_irqoff(napi);
}

/* Returns the flags. The lists do not change until the lock is given back. */
unsigned int rust_helper_netdev_addr_lock(struct net_device *dev,
					  const struct netdev_hw_addr_list **uc,
					  const struct netdev_hw_addr_list **mc)
{
	netif_addr_lock_bh(dev);
	*uc = &dev->uc;
	*mc = &dev->mc;
	return dev->flags;
}

void rust_helper_netdev_addr_unlock(struct net_device *dev)
{
	netif_addr_unlock_bh(dev);
}

unsigned int rust_helper_netdev_flags(const struct net_device *dev)
{
	return READ_ONCE(dev->flags);
}

size_t rust_helper_netdev_hw_addr_list_count(const struct netdev_hw_addr_list *list)
{
	return netdev_hw_addr_list_count(list);
}

void rust_helper_netdev_hw_addr_list_for_each(const struct netdev_hw_addr_list *list,
					      hw_addr_fn_t function, void *context)
{
	const struct netdev_hw_addr *ha;

	netdev_hw_addr_list_for_each(ha, list)
		function(context, ha->addr);
}

void rust_helper_netdev_set_mtu(struct net_device *dev, unsigned int mtu)
{
	WRITE_ONCE(dev->mtu, mtu);
}

void rust_helper_netdev_setup(struct net_device *dev, const struct netdev_setup *setup)
{
	dev->netdev_ops = setup->ops;
	if (setup->ethtool)
		dev->ethtool_ops = setup->ethtool;
	dev->stat_ops = setup->stats;
	if (setup->parent)
		SET_NETDEV_DEV(dev, setup->parent);
	dev->features = setup->features;
	dev->hw_features = setup->hw_features;
	dev->vlan_features = setup->vlan_features;
	dev->hw_enc_features = setup->hw_enc_features;
	dev->min_mtu = setup->min_mtu;
	dev->max_mtu = setup->max_mtu;
	dev->mtu = setup->mtu;
	dev->tx_queue_len = setup->tx_queue_len;
	dev->watchdog_timeo = setup->watchdog;
	dev->needed_headroom = setup->headroom;
	dev->needed_tailroom = setup->tailroom;
	dev->dev_port = setup->port;
	dev->priv_flags |= setup->priv_flags;
	/* Whoever has a packet may change it. */
	dev->priv_flags &= ~IFF_TX_SKB_SHARING;
	netif_set_tso_max_size(dev, setup->tso_max_size);
	netif_set_tso_max_segs(dev, setup->tso_max_segs);
	if (setup->random_address)
		eth_hw_addr_random(dev);
	else
		eth_hw_addr_set(dev, setup->address);
}

void rust_helper_netdev_detach(struct net_device *dev)
{
	/* Whoever sends has finished when this returns. */
	netif_tx_lock_bh(dev);
	netif_device_detach(dev);
	netif_tx_unlock_bh(dev);
}

struct netdev_queue *rust_helper_netdev_get_tx_queue(struct net_device *dev, unsigned int index)
{
	return netdev_get_tx_queue(dev, index);
}

void rust_helper_netdev_state(const struct net_device *dev, struct netdev_state *state)
{
	strscpy(state->name, dev->name);
	ether_addr_copy(state->address, dev->dev_addr);
	state->features = dev->features;
	state->hw_features = dev->hw_features;
	state->mtu = READ_ONCE(dev->mtu);
	state->flags = READ_ONCE(dev->flags);
	state->ifindex = READ_ONCE(dev->ifindex);
	state->real_num_tx_queues = READ_ONCE(dev->real_num_tx_queues);
	state->real_num_rx_queues = READ_ONCE(dev->real_num_rx_queues);
	state->reg_state = READ_ONCE(dev->reg_state);
	state->running = netif_running(dev);
	state->present = netif_device_present(dev);
	state->carrier = netif_carrier_ok(dev);
}

/* The device can never complete more than it was given: that would be a bug to the core. */
void rust_helper_netdev_tx_completed_queue(struct netdev_queue *txq, unsigned int packets,
					   unsigned int bytes)
{
#ifdef CONFIG_BQL
	bytes = min(bytes, READ_ONCE(txq->dql.num_queued) - txq->dql.num_completed);
#endif
	netdev_tx_completed_queue(txq, packets, bytes);
}

void rust_helper_netdev_tx_reset_queue(struct netdev_queue *txq)
{
	netdev_tx_reset_queue(txq);
}

bool rust_helper_netdev_tx_sent_queue(struct netdev_queue *txq, unsigned int bytes, bool more)
{
#ifdef CONFIG_BQL
	bytes = min_t(unsigned int, bytes, DQL_MAX_OBJECT);
#endif
	return __netdev_tx_sent_queue(txq, bytes, more);
}

/* Whether another packet follows; -1 if this CPU does not have the lock of the queue. */
int rust_helper_netdev_xmit_begin(struct netdev_queue *txq)
{
	if (unlikely(!netif_tx_owned(txq, smp_processor_id())))
		return -1;
	return netdev_xmit_more();
}

void rust_helper_netif_tx_lock(struct netdev_queue *txq)
{
	__netif_tx_lock(txq, smp_processor_id());
}

void rust_helper_netif_tx_lock_bh(struct netdev_queue *txq)
{
	__netif_tx_lock_bh(txq);
}

bool rust_helper_netif_tx_queue_stopped(const struct netdev_queue *txq)
{
	return netif_tx_queue_stopped(txq);
}

void rust_helper_netif_tx_start_queue(struct netdev_queue *txq)
{
	netif_tx_start_queue(txq);
}

int rust_helper_netif_set_xps_queue(struct net_device *dev, const struct cpumask *mask, u16 index)
{
	return netif_set_xps_queue(dev, mask, index);
}

/* The caller looks again whether there is room. */
void rust_helper_netif_tx_stop_queue(struct netdev_queue *txq)
{
	netif_tx_stop_queue(txq);
	/* Whoever makes room after that look sees that the queue is stopped. */
	smp_mb__after_atomic();
}

bool rust_helper_netif_tx_trylock(struct netdev_queue *txq)
{
	return __netif_tx_trylock(txq);
}

bool rust_helper_netif_tx_trylock_bh(struct netdev_queue *txq)
{
	bool locked;

	local_bh_disable();
	locked = __netif_tx_trylock(txq);
	if (!locked)
		local_bh_enable();
	return locked;
}

void rust_helper_netif_tx_unlock(struct netdev_queue *txq)
{
	__netif_tx_unlock(txq);
}

void rust_helper_netif_tx_unlock_bh(struct netdev_queue *txq)
{
	__netif_tx_unlock_bh(txq);
}

netdev_features_t rust_helper_vlan_features_check(struct sk_buff *skb, netdev_features_t features)
{
	return vlan_features_check(skb, features);
}
