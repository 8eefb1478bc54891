// SPDX-License-Identifier: GPL-2.0
/*
 * Makes an interrupt come at the worst time: just after ethtool has freed pages, such as those of a
 * ring. A message that was on its way can come so late, and a device that lies can send one then.
 *
 * insmod late.ko irq=NUMBER; it counts in the parameter "came".
 */
#include <linux/delay.h>
#include <linux/irq.h>
#include <linux/irq_work.h>
#include <linux/kprobes.h>
#include <linux/module.h>
#include <linux/sched.h>
#include <linux/string.h>

static unsigned int irq;
module_param(irq, uint, 0444);
MODULE_PARM_DESC(irq, "The interrupt");

static unsigned int came;
module_param(came, uint, 0444);
MODULE_PARM_DESC(came, "How often it has come");

/* As it does when the interrupt controller says so; nothing happens if it is disabled. */
static void interrupt(struct irq_work *work)
{
	generic_handle_irq(irq);
	came++;
}

static DEFINE_IRQ_WORK(late, interrupt);

static int freed(struct kretprobe_instance *instance, struct pt_regs *regs)
{
	int patience = 2000;

	if (strcmp(current->comm, "ethtool"))
		return 0;
	irq_work_queue(&late);
	while (irq_work_is_busy(&late) && patience--)
		udelay(5);
	return 0;
}

static struct kretprobe probe = {
	.kp.symbol_name = "free_pages_exact",
	.handler = freed,
};

static int __init late_init(void)
{
	return register_kretprobe(&probe);
}
module_init(late_init);

static void __exit late_exit(void)
{
	unregister_kretprobe(&probe);
	irq_work_sync(&late);
}
module_exit(late_exit);

MODULE_DESCRIPTION("An interrupt that comes late");
MODULE_LICENSE("GPL");
