// SPDX-License-Identifier: GPL-2.0
/*
 * Sends frames by a network device, for their instructions to be counted.
 *
 *	echo eth0 60 32 4096 >/sys/module/cost_frames/parameters/send
 *
 * sends 4096 frames of 60 bytes; up to 32 of them in one go, of which the driver is told that more
 * follow. They go past the queueing discipline.
 *
 * Each frame is a socket buffer of its own, as those of the network stack are. Those that pktgen
 * sends in one go are the same one, which not every driver can take.
 */
#include <linux/delay.h>
#include <linux/etherdevice.h>
#include <linux/kernel.h>
#include <linux/module.h>
#include <linux/netdevice.h>
#include <linux/skbuff.h>
#include <net/net_namespace.h>

/* How many frames are sent in one go at most. */
#define MOST		32

/* How long the device may take for the last ones, in milliseconds. */
#define REST		10

static struct sk_buff *make_frame(struct net_device *dev, unsigned int len)
{
	struct sk_buff *skb;

	skb = alloc_skb(LL_RESERVED_SPACE(dev) + len, GFP_KERNEL);
	if (!skb)
		return NULL;

	skb_reserve(skb, LL_RESERVED_SPACE(dev));
	skb_put(skb, len);
	skb_reset_mac_header(skb);
	eth_broadcast_addr(eth_hdr(skb)->h_dest);
	ether_addr_copy(eth_hdr(skb)->h_source, dev->dev_addr);
	eth_hdr(skb)->h_proto = htons(ETH_P_802_EX1);
	skb->protocol = htons(ETH_P_802_EX1);
	skb->dev = dev;
	return skb;
}

/* Sends so many of the frames, and says how many: fewer if there is no room. */
static unsigned int send_frames(struct net_device *dev, struct sk_buff **frames,
				unsigned int count)
{
	struct netdev_queue *txq = netdev_get_tx_queue(dev, 0);
	unsigned int sent = 0;

	local_bh_disable();
	HARD_TX_LOCK(dev, txq, smp_processor_id());
	while (sent < count && !netif_xmit_frozen_or_drv_stopped(txq)) {
		if (netdev_start_xmit(frames[sent], dev, txq, sent + 1 < count) != NETDEV_TX_OK)
			break;
		sent++;
	}
	HARD_TX_UNLOCK(dev, txq);
	local_bh_enable();
	return sent;
}

/* Makes frames and sends all of them. */
static int send_batch(struct net_device *dev, unsigned int len, unsigned int count)
{
	struct sk_buff *frames[MOST];
	unsigned int sent = 0;
	unsigned int made;

	for (made = 0; made < count; made++) {
		frames[made] = make_frame(dev, len);
		if (!frames[made])
			break;
	}
	while (sent < made && netif_running(dev)) {
		sent += send_frames(dev, frames + sent, made - sent);
		if (sent < made)
			usleep_range(100, 100);
	}
	while (made > sent)
		kfree_skb(frames[--made]);
	return sent < count ? -EIO : 0;
}

static int send_set(const char *text, const struct kernel_param *param)
{
	unsigned int count, batch, len;
	struct net_device *dev;
	char name[IFNAMSIZ];
	int err = 0;

	if (sscanf(text, "%15s %u %u %u", name, &len, &batch, &count) != 4 ||
	    len < ETH_ZLEN || len > ETH_FRAME_LEN || !batch || batch > MOST)
		return -EINVAL;

	dev = dev_get_by_name(&init_net, name);
	if (!dev)
		return -ENODEV;

	while (!err && count) {
		batch = min(batch, count);
		err = send_batch(dev, len, batch);
		count -= batch;
	}
	dev_put(dev);
	msleep(REST);
	return err;
}

static const struct kernel_param_ops send_ops = { .set = send_set };

module_param_cb(send, &send_ops, NULL, 0200);
MODULE_PARM_DESC(send, "Sends frames: DEVICE LENGTH AT-A-TIME COUNT");

MODULE_DESCRIPTION("Sends frames, for their instructions to be counted");
MODULE_LICENSE("GPL");
