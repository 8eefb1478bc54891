// SPDX-License-Identifier: GPL-2.0

use super::*;

const SECOND: Duration = Duration::from_secs(1);
const FRAMES: u8 = 200;

/// Some of everything.
const ALL: Shape = Shape {
    delay: Duration::from_millis(1),
    jitter: Duration::from_millis(3),
    loss: 20,
    duplicate: 20,
    reorder: 20,
    seed: 7,
};

/// A shaper, and what comes out of it.
struct Bench {
    shaper: Shaper,
    timer: Timer,
    outlet: Arc<Outlet>,
    now: Instant,
}

impl Bench {
    fn new(shape: Shape) -> Self {
        let outlet = Arc::new(Outlet::new(1024, None));
        outlet.set_open(true);
        Self {
            shaper: Shaper::new(shape),
            timer: Timer::default(),
            outlet,
            // Nothing is in time before all are sent.
            now: Instant::now() + SECOND,
        }
    }

    /// Lets frames pass that have the numbers from 0.
    fn pass(&mut self) {
        for number in 0..FRAMES {
            let frame = Arc::new(Frame::plain(vec![number]));
            self.shaper.pass(frame, &self.outlet, &self.timer, self.now);
        }
    }

    /// Returns by how much each frame is late that waits, those first that come first.
    fn delays(&self) -> Vec<Duration> {
        let waiting = self.timer.clock.waiting.lock().expect("a lock");
        let times = waiting.0.keys().rev();
        times.map(|Reverse((when, _))| *when - self.now).collect()
    }

    /// Waits for all frames, and returns their numbers.
    fn numbers(&self) -> Vec<u8> {
        let wanted = u64::from(FRAMES) - self.shaper.lost + self.shaper.duplicated;
        let wanted = usize::try_from(wanted).expect("a number");
        let (start, mut numbers) = (Instant::now(), Vec::new());
        while numbers.len() < wanted {
            numbers.extend(self.outlet.take().iter().map(|frame| frame.bytes[0]));
            assert!(start.elapsed() < 20 * SECOND, "{}", numbers.len());
            thread::sleep(Duration::from_millis(1));
        }
        numbers
    }
}

#[test]
fn the_same_seed_does_the_same() {
    let [first, again, other] = [7, 7, 8].map(|seed| {
        let mut bench = Bench::new(Shape { seed, ..ALL });
        bench.pass();
        let delays = bench.delays();
        (delays, bench.numbers())
    });

    assert_eq!(first, again);
    assert_ne!(first.0, other.0);
    assert_ne!(first.1, other.1);
}

#[test]
fn a_seed_that_is_set_again_begins_again() {
    let mut bench = Bench::new(Shape {
        loss: 50,
        ..Shape::default()
    });
    bench.pass();
    let first = bench.numbers();
    bench.shaper.set(bench.shaper.shape());
    bench.shaper.lost = 0;
    bench.pass();
    assert_eq!(bench.numbers(), first);
}

#[test]
fn shares_are_kept() {
    let mut bench = Bench::new(ALL);
    for _ in 0..50 {
        bench.pass();
    }
    let shaper = &bench.shaper;
    // Of 10000 frames, 8000 are left, and become 9600.
    for (what, count, wanted) in [
        ("lost", shaper.lost, 2000),
        ("duplicated", shaper.duplicated, 1600),
        ("reordered", shaper.reordered, 1920),
        ("delayed", shaper.delayed, 9600),
    ] {
        assert!(count.abs_diff(wanted) < wanted / 8, "{what}: {count}");
    }
}

#[test]
fn a_delay_is_for_all_and_keeps_their_order() {
    let delay = Duration::from_millis(2);
    let mut bench = Bench::new(Shape {
        delay,
        ..Shape::default()
    });
    bench.pass();

    assert!(bench.delays().iter().all(|late| *late == delay));
    let numbers: Vec<u8> = (0..FRAMES).collect();
    assert_eq!(bench.numbers(), numbers);
    assert!(bench.now.elapsed() >= delay, "not before it is time");
}

#[test]
fn jitter_is_between_nothing_and_its_most() {
    let (delay, jitter) = (Duration::from_millis(1), Duration::from_millis(3));
    let mut bench = Bench::new(Shape {
        delay,
        jitter,
        ..Shape::default()
    });
    bench.pass();

    let delays = bench.delays();
    assert_eq!(delays.len(), usize::from(FRAMES));
    assert!(
        delays
            .iter()
            .all(|late| (delay..delay + jitter).contains(late))
    );
    // They are spread, not all alike.
    let (first, last) = (delays[0], delays[delays.len() - 1]);
    assert!(last - first > jitter / 2, "{first:?} to {last:?}");
}

#[test]
fn all_or_none_is_certain() {
    for (share, lost, twice, late) in [(0, 0, 0, 0), (100, 200, 200, 200)] {
        let count = |shape: Shape| {
            let mut bench = Bench::new(shape);
            bench.pass();
            let shaper = bench.shaper;
            (shaper.lost, shaper.duplicated, shaper.reordered)
        };
        let loss = count(Shape {
            loss: share,
            ..Shape::default()
        });
        let duplicate = count(Shape {
            duplicate: share,
            ..Shape::default()
        });
        let reorder = count(Shape {
            reorder: share,
            ..Shape::default()
        });
        assert_eq!(loss, (lost, 0, 0));
        assert_eq!(duplicate, (0, twice, 0));
        assert_eq!(reorder, (0, 0, late));
    }
}

#[test]
fn what_comes_late_is_behind_the_others() {
    let mut bench = Bench::new(Shape {
        reorder: 50,
        ..Shape::default()
    });
    bench.pass();
    let numbers = bench.numbers();

    let early = numbers.len() - usize::try_from(bench.shaper.reordered).expect("a number");
    let (early, late) = numbers.split_at(early);
    assert!(early.is_sorted() && late.is_sorted());
    assert!(!early.is_empty() && !late.is_empty());
}
