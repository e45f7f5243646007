//! Medians of several windows.

use std::time::{Duration, Instant};

/// How long to measure.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Plan {
    windows: usize,
    window: Duration,
}

impl Plan {
    /// Long enough to quote, or just long enough to see that it works.
    pub(crate) fn new(quick: bool) -> Plan {
        if quick {
            Plan { windows: 3, window: Duration::from_millis(30) }
        } else {
            Plan { windows: 7, window: Duration::from_millis(100) }
        }
    }

    /// The mean time of a call within each window, in nanoseconds; of those the median.
    pub(crate) fn nanoseconds(self, mut call: impl FnMut()) -> f64 {
        // The first window warms caches, helpers and branch predictors up, and is not counted.
        let mut means: Vec<f64> = (0..=self.windows).map(|_| self.one_window(&mut call)).collect();
        means.remove(0);
        means.sort_by(f64::total_cmp);
        means[means.len() / 2]
    }

    /// How much more something counts in a second: the median of the windows.
    pub(crate) fn rate(self, count: impl Fn() -> u64) -> f64 {
        let mut rates: Vec<f64> = (0..=self.windows)
            .map(|_| {
                let (start, before) = (Instant::now(), count());
                std::thread::sleep(self.window);
                (count() - before) as f64 / start.elapsed().as_secs_f64()
            })
            .collect();
        rates.remove(0);
        rates.sort_by(f64::total_cmp);
        rates[rates.len() / 2]
    }

    fn one_window(self, call: &mut impl FnMut()) -> f64 {
        let start = Instant::now();
        let mut calls = 0_u32;
        loop {
            call();
            calls += 1;
            let elapsed = start.elapsed();
            if elapsed >= self.window {
                return elapsed.as_nanos() as f64 / f64::from(calls);
            }
        }
    }
}
