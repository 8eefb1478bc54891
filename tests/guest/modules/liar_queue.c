// SPDX-License-Identifier: GPL-2.0
/*
 * The queues of the liar: buffers are used, and the driver is told so, or something else.
 */
#include <linux/io.h>

#include "liar.h"

/* Goes on counting. Of memory that must not be written, KASAN tells once for each chunk. */
static void fill(struct liar *l, u8 *memory, u32 len)
{
	u8 chunk[64];
	u32 part, i;

	for (; len; memory += part, len -= part) {
		part = min_t(u32, len, sizeof(chunk));
		for (i = 0; i < part; i++)
			chunk[i] = l->fill++;
		memcpy(memory, chunk, part);
	}
}

/* Writes to the writable parts of a buffer, and returns how many bytes they have. */
static u32 fill_buffer(struct liar *l, const struct vring *vr, u16 head)
{
	struct virtio_device *vdev = &l->vdev;
	struct vring_desc *table = vr->desc;
	unsigned int limit = vr->num;
	unsigned int at = head;
	u32 written = 0;
	unsigned int i;

	for (i = 0; i < limit && at < limit; i++) {
		struct vring_desc *desc = &table[at];
		u8 *memory = phys_to_virt(virtio64_to_cpu(vdev, desc->addr));
		u32 len = virtio32_to_cpu(vdev, desc->len);
		u16 flags = virtio16_to_cpu(vdev, desc->flags);

		if (flags & VRING_DESC_F_INDIRECT) {
			table = (struct vring_desc *)memory;
			limit = len / sizeof(*table);
			at = 0;
			i = -1;
			continue;
		}
		if (flags & VRING_DESC_F_WRITE) {
			fill(l, memory, len);
			written += len;
		}
		if (!(flags & VRING_DESC_F_NEXT))
			break;
		at = virtio16_to_cpu(vdev, desc->next);
	}
	return written;
}

/* Publishes a used index. */
void liar_write_index(struct liar *l, struct liar_queue *queue, u16 idx)
{
	const struct vring *vr = &queue->vring;

	/* Elements come before the index that tells of them. */
	virt_wmb();
	queue->used = idx;
	WRITE_ONCE(vr->used->idx, cpu_to_virtio16(&l->vdev, idx));
}

static void use(struct liar *l, struct liar_queue *queue, const struct vring *vr, u32 id, u32 len)
{
	vring_used_elem_t *element = &vr->used->ring[queue->used % vr->num];

	element->id = cpu_to_virtio32(&l->vdev, id);
	element->len = cpu_to_virtio32(&l->vdev, len);
	liar_write_index(l, queue, queue->used + 1);
}

/* Uses a buffer, or says something else. */
static void answer(struct liar *l, struct liar_queue *queue, const struct vring *vr, u16 head)
{
	u32 written, len;
	u32 id = head;

	atomic_inc(&liar_counters.buffers);
	if (lies(SILENT))
		return;
	if (lies(NEEDS_RESET)) {
		l->status |= VIRTIO_CONFIG_S_NEEDS_RESET;
		WRITE_ONCE(l->changed, true);
	}

	written = fill_buffer(l, vr, head);
	len = written;
	if (lies(ID_RANGE))
		id = vr->num;
	if (lies(ID_HUGE))
		id = U32_MAX;
	if (lies(ID_FREE))
		id = (head + 1) % vr->num;
	if (lies(LEN_LONG))
		len++;
	if (lies(LEN_HUGE))
		len = U32_MAX;
	if (lies(LEN_ZERO))
		len = 0;
	if (lies(ID_TWICE))
		use(l, queue, vr, id, len);
	if (lies(IDX_BACK))
		liar_write_index(l, queue, queue->used - 2);
	use(l, queue, vr, id, len);
	if (lies(IDX_JUMP))
		liar_write_index(l, queue, queue->used + vr->num + 1);
}

/* Tells whether the driver wants an interrupt, now that the used index was `old` before. */
static bool wants_interrupt(struct liar *l, struct liar_queue *queue, const struct vring *vr,
			    u16 old)
{
	/* The index comes before the question; the driver asks the other way round. */
	virt_mb();
	if (__virtio_test_bit(&l->vdev, VIRTIO_RING_F_EVENT_IDX))
		return vring_need_event(virtio16_to_cpu(&l->vdev, vring_used_event(vr)),
					queue->used, old);
	return !(virtio16_to_cpu(&l->vdev, vr->avail->flags) & VRING_AVAIL_F_NO_INTERRUPT);
}

static void serve_queue(struct liar *l, struct liar_queue *queue)
{
	const struct vring *vr = &queue->vring;
	u16 old = queue->used;

	for (;;) {
		u16 end = virtio16_to_cpu(&l->vdev, READ_ONCE(vr->avail->idx));

		if (queue->seen == end) {
			/* The driver kicks for the next one, unless it is there already. */
			vring_avail_event(vr) = cpu_to_virtio16(&l->vdev, queue->seen);
			/* The driver looks after it has added one. */
			virt_mb();
			if (queue->seen == virtio16_to_cpu(&l->vdev, READ_ONCE(vr->avail->idx)))
				break;
			continue;
		}
		/* The index comes before what it tells of. */
		virt_rmb();
		while (queue->seen != end) {
			u16 at = queue->seen++ % vr->num;

			answer(l, queue, vr, virtio16_to_cpu(&l->vdev, vr->avail->ring[at]));
		}
	}
	if (queue->used != old &&
	    (liar_lie() != HONEST || wants_interrupt(l, queue, vr, old)))
		irq_work_queue(&l->irq);
}

static void serve(struct work_struct *work)
{
	struct liar *l = container_of(work, struct liar, work);
	int i;

	for (i = 0; i < MAX_QUEUES && is_live(l); i++)
		if (l->queue[i].vq)
			serve_queue(l, &l->queue[i]);
}

static void interrupt(struct irq_work *work)
{
	struct liar *l = container_of(work, struct liar, irq);
	unsigned long flags;
	int i;

	if (xchg(&l->changed, false))
		virtio_config_changed(&l->vdev);
	spin_lock_irqsave(&l->irq_lock, flags);
	for (i = 0; i < MAX_QUEUES; i++)
		if (l->queue[i].vq) {
			atomic_inc(&liar_counters.interrupts);
			vring_interrupt(0, l->queue[i].vq);
		}
	spin_unlock_irqrestore(&l->irq_lock, flags);
}

/*
 * Interrupts without a reason. The core passes on those whose buffers somebody else has taken
 * meanwhile; so this calls the driver even if there is nothing.
 */
static enum hrtimer_restart storm(struct hrtimer *timer)
{
	struct liar *l = container_of(timer, struct liar, storm);
	unsigned long flags;
	int i;

	if (liar_lie() == CONFIG_STORM) {
		l->generation++;
		virtio_config_changed(&l->vdev);
	}
	spin_lock_irqsave(&l->irq_lock, flags);
	for (i = 0; i < MAX_QUEUES; i++) {
		struct virtqueue *vq = l->queue[i].vq;

		if (!vq || liar_lie() == CONFIG_STORM)
			continue;
		atomic_inc(&liar_counters.interrupts);
		if (liar_lie() == IRQ_LATE)
			vring_interrupt(0, vq);
		else if (vq->callback && !virtqueue_is_broken(vq))
			vq->callback(vq);
	}
	spin_unlock_irqrestore(&l->irq_lock, flags);

	hrtimer_forward_now(timer, us_to_ktime(liar_period));
	return HRTIMER_RESTART;
}

void liar_start_storm(struct liar *l)
{
	hrtimer_start(&l->storm, us_to_ktime(liar_period), HRTIMER_MODE_REL);
}

bool liar_notify(struct virtqueue *vq)
{
	struct liar *l = to_liar(vq->vdev);

	atomic_inc(&liar_counters.kicks);
	if (!is_live(l))
		atomic_inc(&liar_counters.bad_kicks);
	if (lies(NOTIFY_FAILS))
		return false;
	if (is_live(l))
		schedule_work(&l->work);
	return true;
}

/* Ends what the device does with queues; it may go on with interrupts. */
void liar_stop(struct liar *l)
{
	cancel_work_sync(&l->work);
	irq_work_sync(&l->irq);
	hrtimer_cancel(&l->storm);
}

void liar_setup_queues(struct liar *l)
{
	INIT_WORK(&l->work, serve);
	init_irq_work(&l->irq, interrupt);
	hrtimer_setup(&l->storm, storm, CLOCK_MONOTONIC, HRTIMER_MODE_REL);
	spin_lock_init(&l->irq_lock);
}
