// SPDX-License-Identifier: GPL-2.0
/*
 * Does on purpose what a kernel complains of, to prove that the test harness sees it.
 *
 * insmod splat.ko what=NAME; one NAME for each line of faults[].
 */
#include <linux/delay.h>
#include <linux/dma-mapping.h>
#include <linux/list.h>
#include <linux/module.h>
#include <linux/mutex.h>
#include <linux/platform_device.h>
#include <linux/preempt.h>
#include <linux/rcupdate.h>
#include <linux/refcount.h>
#include <linux/slab.h>
#include <linux/smp.h>
#include <linux/spinlock.h>

static char *what = "";
module_param(what, charp, 0444);
MODULE_PARM_DESC(what, "The fault to provoke");

static int fault_warn(void)
{
	WARN(1, "provoked\n");
	return 0;
}

static int fault_bug(void)
{
	BUG();
}

static int fault_oops(void)
{
	int *volatile nowhere = NULL;

	return READ_ONCE(*nowhere);
}

static int fault_panic(void)
{
	panic("provoked");
}

/* A read behind the end, and a use after free. */
static int fault_kasan(void)
{
	char *volatile object = kmalloc(32, GFP_KERNEL);

	if (!object)
		return -ENOMEM;
	READ_ONCE(object[32]);
	kfree(object);
	READ_ONCE(object[0]);
	return 0;
}

static int fault_ubsan(void)
{
	volatile int bits = 33;
	volatile int value = 1;

	value = value << bits;
	return 0;
}

static DEFINE_MUTEX(lock_a);
static DEFINE_MUTEX(lock_b);

/* Two locks in both orders: a deadlock in waiting. */
static int fault_lockdep(void)
{
	mutex_lock(&lock_a);
	mutex_lock(&lock_b);
	mutex_unlock(&lock_b);
	mutex_unlock(&lock_a);

	mutex_lock(&lock_b);
	mutex_lock(&lock_a);
	mutex_unlock(&lock_a);
	mutex_unlock(&lock_b);
	return 0;
}

static DEFINE_SPINLOCK(spin);

static int fault_atomic_sleep(void)
{
	spin_lock(&spin);
	might_sleep();
	spin_unlock(&spin);
	return 0;
}

static int fault_refcount(void)
{
	refcount_t zero = REFCOUNT_INIT(0);

	refcount_inc(&zero);
	return 0;
}

static int fault_list(void)
{
	LIST_HEAD(head);
	struct list_head entry;
	struct list_head elsewhere = LIST_HEAD_INIT(elsewhere);

	list_add(&entry, &head);
	head.next = &elsewhere;
	list_del(&entry);
	return 0;
}

/* Frees a mapping that was never made. */
static int fault_dma(void)
{
	struct platform_device *pdev;
	int err;

	pdev = platform_device_register_simple("splat", PLATFORM_DEVID_NONE, NULL, 0);
	if (IS_ERR(pdev))
		return PTR_ERR(pdev);
	err = dma_coerce_mask_and_coherent(&pdev->dev, DMA_BIT_MASK(64));
	if (!err)
		dma_unmap_single(&pdev->dev, 0x1000, 64, DMA_TO_DEVICE);
	platform_device_unregister(pdev);
	return err;
}

static int fault_leak(void)
{
	void *volatile object;
	int i;

	for (i = 0; i < 16; i++) {
		object = kmalloc(128, GFP_KERNEL);
		if (!object)
			return -ENOMEM;
	}
	object = NULL;
	return 0;
}

/* Nobody wakes this task. The test sets a short time limit. */
static int fault_hung_task(void)
{
	ssleep(15);
	return 0;
}

/*
 * Nobody else runs on this CPU while a grace period waits for it, which is made to have begun
 * before. The test sets a short time limit.
 */
static int fault_rcu_stall(void)
{
	rcu_read_lock();
	start_poll_synchronize_rcu();
	mdelay(500);
	preempt_disable();
	mdelay(15000);
	preempt_enable();
	rcu_read_unlock();
	return 0;
}

static void die(void *unused)
{
	local_irq_disable();
	for (;;)
		cpu_relax();
}

/* No CPU ever takes an interrupt again. */
static int fault_dead_cpus(void)
{
	preempt_disable();
	smp_call_function(die, NULL, 0);
	die(NULL);
	return 0;
}

static const struct {
	const char *name;
	int (*provoke)(void);
} faults[] = {
	{ "warn", fault_warn },
	{ "bug", fault_bug },
	{ "oops", fault_oops },
	{ "panic", fault_panic },
	{ "kasan", fault_kasan },
	{ "ubsan", fault_ubsan },
	{ "lockdep", fault_lockdep },
	{ "atomic_sleep", fault_atomic_sleep },
	{ "refcount", fault_refcount },
	{ "list", fault_list },
	{ "dma", fault_dma },
	{ "leak", fault_leak },
	{ "hung_task", fault_hung_task },
	{ "rcu_stall", fault_rcu_stall },
	{ "dead_cpus", fault_dead_cpus },
};

static int __init splat_init(void)
{
	int i;

	for (i = 0; i < ARRAY_SIZE(faults); i++)
		if (!strcmp(what, faults[i].name))
			return faults[i].provoke();
	pr_err("no fault is named '%s'\n", what);
	return -EINVAL;
}

static void __exit splat_exit(void)
{
}

module_init(splat_init);
module_exit(splat_exit);
MODULE_DESCRIPTION("Faults on purpose");
MODULE_LICENSE("GPL");
