/* SPDX-License-Identifier: GPL-2.0 */
/*
 * What the parts of the liar share: see liar.c.
 */
#ifndef LIAR_H
#define LIAR_H

#include <linux/hrtimer.h>
#include <linux/irq_work.h>
#include <linux/virtio.h>
#include <linux/virtio_config.h>
#include <linux/virtio_ring.h>
#include <linux/workqueue.h>

#define MAX_QUEUES	4

enum lie {
	HONEST,
	SILENT,			/* Buffers are never used. */
	ID_RANGE,		/* The used id is the size of the queue. */
	ID_HUGE,		/* It is the largest there is. */
	ID_FREE,		/* Nothing is outstanding with that id. */
	ID_TWICE,		/* A buffer is used twice. */
	LEN_LONG,		/* One byte more is written than there is room for. */
	LEN_HUGE,
	LEN_ZERO,
	IDX_JUMP,		/* The used index goes further than there are buffers. */
	IDX_BACK,		/* It goes back. */
	IDX_EARLY,		/* It goes on before DRIVER_OK. */
	IRQ_EARLY,		/* Interrupts come before DRIVER_OK. */
	IRQ_LATE,		/* They come after a reset. */
	IRQ_STORM,		/* They come all the time. */
	NOTIFY_FAILS,
	STATUS_EARLY,		/* DRIVER_OK is set before the driver does so. */
	STATUS_STUCK,		/* A reset does not clear the status. */
	NEEDS_RESET,		/* DEVICE_NEEDS_RESET is set while the device works on. */
	RESET_SLOW,		/* A reset takes RESET_DELAY. */
	FEATURES_REFUSED,	/* FEATURES_OK is not taken. */
	FEATURES_FICKLE,	/* Each time, other features are offered. */
	CONFIG_RESTLESS,	/* The generation of the configuration is never the same. */
	CONFIG_STORM,		/* The configuration changes all the time. */
};

struct liar_queue {
	struct virtqueue *vq;
	struct vring vring;	/* Where the ring is: a device is told once. */
	u16 seen;	/* The available index up to which buffers were taken. */
	u16 used;	/* The used index that was published. */
};

struct liar {
	struct virtio_device vdev;
	struct liar_queue queue[MAX_QUEUES];
	struct work_struct work;
	struct irq_work irq;
	struct hrtimer storm;
	spinlock_t irq_lock;	/* Held while an interrupt is served; guards queue[].vq. */
	u8 status;
	u8 fill;
	u32 generation;
	bool changed;
};

/* What the driver did; bad_kicks are those while the device is not live. */
struct liar_counters {
	atomic_t kicks;
	atomic_t bad_kicks;
	atomic_t buffers;
	atomic_t interrupts;
	atomic_t resets;
	atomic_t config_reads;
};

extern struct liar_counters liar_counters;
extern unsigned int liar_period;

enum lie liar_lie(void);
bool lies(enum lie which);

void liar_setup_queues(struct liar *l);
bool liar_notify(struct virtqueue *vq);
void liar_write_index(struct liar *l, struct liar_queue *queue, u16 idx);
void liar_start_storm(struct liar *l);
void liar_stop(struct liar *l);

static inline struct liar *to_liar(struct virtio_device *vdev)
{
	return container_of(vdev, struct liar, vdev);
}

static inline bool is_live(struct liar *l)
{
	return READ_ONCE(l->status) & VIRTIO_CONFIG_S_DRIVER_OK;
}

#endif /* LIAR_H */
