// SPDX-License-Identifier: GPL-2.0

//! A driver of entropy devices that does with a queue what the drivers for users do not, or not yet:
//! it changes its size, resets it alone, moves its interrupt, and so on. It says what has worked.

#![forbid(unsafe_code)]

use core::{
    mem::forget,
    pin::Pin, //
};
use kernel::{
    cpu::CpuId,
    cpumask::CpumaskVar,
    device::{
        Bound,
        Core, //
    },
    new_mutex,
    prelude::*,
    sync::{
        atomic::{
            Atomic,
            Relaxed, //
        },
        Mutex, //
    },
    time::{
        delay::fsleep,
        msecs_to_jiffies,
        Delta, //
    },
};
use kernel_ext::virtio::{
    self,
    AddError,
    Context,
    Device,
    DeviceId,
    DeviceType,
    Exchange,
    QueueCallback,
    QueueSetup,
    Resetter,
    Virtqueue,
    Work, //
};
use virtio_wire::feature::Entropy;

kernel_ext::module_virtio_driver! {
    type: Exercise,
    name: "rust_virtio_exercise",
    authors: ["The rust-virtio developers"],
    description: "Driver that exercises queues",
    license: "GPL",
    params: {
        forget: u32 {
            default: 0,
            description: "Whether to forget the queue, and fail",
        },
    },
}

kernel_ext::virtio_device_table!(ID_TABLE, [DeviceId::new(DeviceType::ENTROPY)]);

/// How often one looks for something, and how long each time.
const LOOKS: u32 = 20_000;
const LOOK: Delta = Delta::from_millis(1);

/// How long what must not happen could have taken.
const LONG: Delta = Delta::from_millis(200);

type Buffer = Exchange<(), [u8; 64]>;
type Queue<'bound> = Virtqueue<'bound, Buffer>;
type Buffers = KVec<Buffer>;

struct Exercise;

#[pin_data]
struct Data<'bound> {
    /// Nothing while the device is reset.
    #[pin]
    queue: Mutex<Option<Queue<'bound>>>,
    interrupts: Atomic<i64>,
    work: Work<'bound>,
    /// How often the work was done.
    done: Atomic<i64>,
    resetter: Resetter<'bound>,
}

/// Fails, unless something is true, and says what.
fn check(vdev: &Device<Bound>, what: &CStr, is: bool) -> Result {
    if is {
        return Ok(());
    }
    dev_err!(vdev, "this is not true: {}\n", what);
    Err(EILSEQ)
}

/// Waits until something is true.
fn wait(mut is: impl FnMut() -> bool) -> Result {
    for _ in 0..LOOKS {
        if is() {
            return Ok(());
        }
        fsleep(LOOK);
    }
    Err(ETIMEDOUT)
}

fn make(count: u32) -> Result<Buffers> {
    let mut buffers = KVec::new();
    for _ in 0..count {
        buffers.push(Exchange::new((), [0; 64], GFP_KERNEL)?, GFP_KERNEL)?;
    }
    Ok(buffers)
}

/// Adds as many new buffers.
fn add(queue: &mut Queue<'_>, count: u32) -> Result {
    queue.add_all(make(count)?, Context::Process)?;
    Ok(())
}

/// Waits until the device has used as many buffers, and takes them.
fn take(queue: &mut Queue<'_>, count: usize) -> Result {
    let (mut taken, mut result, mut empty) = (0, Ok(()), false);
    wait(|| {
        let popped = queue.pop_all(count - taken, |used| empty |= used.written == 0);
        match popped {
            Ok(popped) => taken += popped,
            Err(error) => result = Err(error),
        }
        taken == count || result.is_err()
    })?;
    if empty {
        return Err(ENODATA);
    }
    result
}

/// Adds as many buffers, and gets them back from the device.
fn exchange(queue: &mut Queue<'_>, count: u32) -> Result {
    add(queue, count)?;
    queue.kick();
    take(queue, usize::try_from(count)?)
}

/// Several buffers are added and taken at once; what there is no room for comes back.
fn fills_up(vdev: &Device<Bound>, queue: &mut Queue<'_>) -> Result {
    let size = queue.size();
    let mut rest = make(size + 3)?.into_iter();
    let refused = queue.add_all(&mut rest, Context::Process);
    let full = matches!(&refused, Err(AddError { error, .. }) if *error == ENOSPC);
    check(vdev, c"the buffer after the last one is refused", full)?;
    check(vdev, c"those after it are not touched", rest.count() == 2)?;
    check(vdev, c"there is no room", queue.free() == 0)?;
    check(
        vdev,
        c"the device has as many as there are places",
        u32::from(queue.outstanding()) == size,
    )?;
    queue.kick();
    take(queue, usize::try_from(size)?)?;
    check(vdev, c"there is room", queue.free() == size)?;
    let none = queue.pop_all(3, |_| ())?;
    check(vdev, c"there is nothing to take", none == 0)
}

/// Buffers that are in the queue come back, each once, when it is reset; and it works again. Returns
/// whether it can be reset.
fn is_reset_alone(vdev: &Device<Bound>, queue: &mut Queue<'_>) -> Result<bool> {
    let size = queue.size();
    add(queue, size)?;
    queue.kick();
    take(queue, 1)?;

    let mut recycled = KVec::new();
    let result = queue.reset(|buffer| {
        // If this fails, one is missing.
        let _ = recycled.push(buffer, GFP_KERNEL);
    });
    if result == Err(ENOENT) {
        check(
            vdev,
            c"none comes back from a queue that stays",
            recycled.is_empty(),
        )?;
        dev_info!(vdev, "cannot reset a queue alone\n");
        take(queue, usize::try_from(size - 1)?)?;
        return Ok(false);
    }
    result?;
    let count = u32::try_from(recycled.len())?;
    check(
        vdev,
        c"all but the one that was taken come back",
        count == size - 1,
    )?;
    check(vdev, c"the device has none", queue.outstanding() == 0)?;
    check(vdev, c"all places are free", queue.free() == size)?;

    // They can be used again.
    queue.add_all(recycled, Context::Process)?;
    queue.kick();
    take(queue, usize::try_from(size - 1)?)?;
    fills_up(vdev, queue)?;
    Ok(true)
}

/// Changes the size while all places are taken.
fn resize(vdev: &Device<Bound>, queue: &mut Queue<'_>, size: u32) -> Result {
    let before = queue.size();
    add(queue, before)?;
    let mut recycled = 0;
    let result = queue.resize(size, |_| recycled += 1);

    if result.is_err() || size == before {
        check(vdev, c"the size stays", queue.size() == before)?;
        // Nothing has happened; the buffers are still there.
        check(vdev, c"none comes back", recycled == 0)?;
        queue.kick();
        take(queue, usize::try_from(before)?)?;
    } else {
        check(vdev, c"the size is another", queue.size() == size)?;
        check(vdev, c"all come back", recycled == before)?;
    }
    fills_up(vdev, queue)?;
    result
}

/// The ring becomes smaller, and larger again; what cannot be changes nothing.
fn is_resized(vdev: &Device<Bound>, queue: &mut Queue<'_>) -> Result {
    let max = queue.max_size();
    check(vdev, c"the ring has its full size", queue.size() == max)?;
    check(
        vdev,
        c"it cannot be empty",
        resize(vdev, queue, 0) == Err(EINVAL),
    )?;
    check(
        vdev,
        c"it cannot be larger",
        resize(vdev, queue, max + 1) == Err(E2BIG),
    )?;
    check(vdev, c"it can stay", resize(vdev, queue, max).is_ok())?;

    let half = resize(vdev, queue, max / 2);
    if half == Err(ENOENT) {
        dev_info!(vdev, "cannot resize a queue\n");
        return Ok(());
    }
    half?;
    check(vdev, c"the most is what it was", queue.max_size() == max)?;
    resize(vdev, queue, 2)?;
    resize(vdev, queue, max)
}

/// A ring of three places exists if it is packed. If not, it stays as it was, but empty.
fn is_resized_oddly(vdev: &Device<Bound>, queue: &mut Queue<'_>) -> Result {
    let before = queue.size();
    add(queue, before)?;
    queue.kick();
    let mut recycled = 0;
    let result = queue.resize(3, |_| recycled += 1);
    check(vdev, c"all come back from an odd size", recycled == before)?;
    let size = if result.is_ok() { 3 } else { before };
    check(vdev, c"the size is one of two", queue.size() == size)?;
    fills_up(vdev, queue)?;
    resize(vdev, queue, before)
}

/// A used buffer is noticed, by looking, and by an interrupt.
fn is_told(vdev: &Device<Bound>, this: &Data<'_>, queue: &mut Queue<'_>) -> Result {
    let interrupts = || this.interrupts.load(Relaxed);

    queue.disable_callback();
    let progress = queue.enable_callback_prepare();
    check(
        vdev,
        c"nothing was used yet",
        !queue.has_used_since(progress),
    )?;
    let before = interrupts();
    add(queue, 1)?;
    queue.kick();
    wait(|| queue.has_used_since(progress))?;
    wait(|| interrupts() > before)?;
    take(queue, 1)?;

    // Whatever most of them are, the device has used it in the end.
    let size = queue.size();
    add(queue, size)?;
    let before = interrupts();
    if !queue.enable_callback_delayed() {
        queue.kick();
        wait(|| interrupts() > before)?;
    } else {
        return check(vdev, c"nothing was used before the kick", false);
    }
    take(queue, usize::try_from(size)?)?;

    // One that nobody has asked for before comes, too, with the first of these, if it can be said so.
    queue.disable_callback();
    let before = interrupts();
    queue.defer_callback();
    add(queue, 2)?;
    queue.kick();
    if queue.can_defer_callback() {
        wait(|| interrupts() > before)?;
    }
    take(queue, 2)?;

    // It comes even if some of those before are taken meanwhile.
    queue.disable_callback();
    add(queue, 2)?;
    queue.kick();
    fsleep(LOOK);
    queue.defer_callback();
    take(queue, 1)?;
    let before = interrupts();
    add(queue, 1)?;
    queue.kick();
    if queue.can_defer_callback() {
        wait(|| interrupts() > before)?;
    }
    take(queue, 2)?;

    queue.disable_callback();
    exchange(queue, 1)?;
    add(queue, 1)?;
    queue.kick();
    wait(|| queue.enable_callback())?;
    take(queue, 1)
}

/// The interrupt goes where it is sent.
fn moves_interrupt(queue: &mut Queue<'_>) -> Result {
    let mut cpus = CpumaskVar::new_zero(GFP_KERNEL)?;
    cpus.set(CpuId::from_u32(1).ok_or(EINVAL)?);
    queue.set_affinity(&cpus)
}

/// Work that was cancelled is not done; what is queued again is.
fn cancels(vdev: &Device<Bound>, this: &Data<'_>) -> Result {
    let done = || this.done.load(Relaxed);
    this.work.queue_after(msecs_to_jiffies(100));
    this.work.cancel();
    fsleep(LONG);
    check(vdev, c"work that was cancelled is not done", done() == 0)?;
    this.work.queue();
    wait(|| done() == 1)?;
    this.work.cancel();
    Ok(())
}

impl Exercise {
    fn queue<'bound>(vdev: &'bound Device<Core<'_>>) -> Result<Queue<'bound>> {
        let mut setup = QueueSetup::<Self>::new(vdev)?;
        let callback = QueueCallback::<Self>::new(Self::used, 0);
        let queue = setup.queue(c"input", Some(callback))?;
        setup.make()?.take(queue)
    }

    fn used(this: Pin<&Data<'_>>, _: usize) {
        this.interrupts.fetch_add(1, Relaxed);
    }

    fn work(_: &Device<Bound>, this: Pin<&Data<'_>>) {
        this.done.fetch_add(1, Relaxed);
    }
}

#[vtable]
impl virtio::Driver for Exercise {
    type Class = Entropy;
    type Data<'bound> = Data<'bound>;
    const ID_TABLE: virtio::IdTable = &ID_TABLE;

    fn probe<'bound>(vdev: &'bound Device<Core<'_>>) -> impl PinInit<Data<'bound>, Error> + 'bound {
        pin_init::pin_init_scope(move || {
            let queue = Self::queue(vdev)?;
            if module_parameters::forget.value() != 0 {
                // Anybody may do that; what the core has for the queue is to be freed all the same.
                forget(queue);
                return Err(ENODEV);
            }
            let work = Work::new::<Self>(vdev, Self::work)?;
            let resetter = Resetter::new::<Self>(vdev)?;
            Ok(try_pin_init!(Data {
                queue <- new_mutex!(Some(queue)),
                interrupts: Atomic::new(0),
                work,
                done: Atomic::new(0),
                resetter,
            }))
        })
    }

    fn start<'bound>(vdev: &'bound Device<Core<'_>>, this: Pin<&'bound Data<'bound>>) -> Result {
        let mut guard = this.queue.lock();
        let queue = (*guard).as_mut().ok_or(ENODEV)?;
        fills_up(vdev, queue)?;
        dev_info!(vdev, "fills up\n");
        is_told(vdev, &this, queue)?;
        dev_info!(vdev, "is told\n");
        let resets = is_reset_alone(vdev, queue)?;
        dev_info!(vdev, "is reset alone\n");
        is_resized(vdev, queue)?;
        // The core goes back to the old ring by a reset.
        if resets {
            is_resized_oddly(vdev, queue)?;
        }
        dev_info!(vdev, "is resized\n");
        is_told(vdev, &this, queue)?;
        dev_info!(vdev, "is told afterwards\n");
        moves_interrupt(queue)?;
        is_told(vdev, &this, queue)?;
        dev_info!(vdev, "moves its interrupt\n");
        cancels(vdev, &this)?;
        dev_info!(vdev, "cancels its work\n");
        check(
            vdev,
            c"the device has done nothing wrong",
            vdev.violations() == 0,
        )?;

        // This waits until the device is not being bound any more.
        this.resetter.request_after(msecs_to_jiffies(50));
        Ok(())
    }

    fn release<'bound>(this: Pin<&'bound Data<'bound>>) {
        *this.queue.lock() = None;
    }

    fn restore<'bound>(vdev: &'bound Device<Core<'_>>, this: Pin<&'bound Data<'bound>>) -> Result {
        *this.queue.lock() = Some(Self::queue(vdev)?);
        Ok(())
    }

    fn resume<'bound>(vdev: &'bound Device<Core<'_>>, this: Pin<&'bound Data<'bound>>) -> Result {
        let mut guard = this.queue.lock();
        let queue = (*guard).as_mut().ok_or(ENODEV)?;
        moves_interrupt(queue)?;
        is_told(vdev, &this, queue)?;
        dev_info!(vdev, "works after it was reset\n");
        Ok(())
    }
}
