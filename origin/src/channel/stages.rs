//! How long pictures spend in each stage on their way through a channel: the last few hundred of
//! them, as a median and a 95th percentile.
//!
//! Only measures; who looks at a picture where is the task's and the packaging's business.

use std::time::Duration;

use super::status::StageLatency;

/// Times kept of a stage: some ten seconds of a ladder's pictures.
const KEPT: usize = 512;

/// The newest times of one stage.
#[derive(Clone, Debug, Default)]
pub(super) struct Recent {
    millis: Vec<f32>,
    next: usize,
}

impl Recent {
    /// Notes a time.
    pub(super) fn add(&mut self, took: Duration) {
        let millis = took.as_secs_f32() * 1_000.0;
        match self.millis.get_mut(self.next) {
            Some(oldest) => *oldest = millis,
            None => self.millis.push(millis),
        }
        self.next = (self.next + 1) % KEPT;
    }

    /// Median and 95th percentile in milliseconds, to a tenth; `None` before the first time.
    pub(super) fn quantiles(&self) -> Option<(f64, f64)> {
        let mut sorted = self.millis.clone();
        sorted.sort_unstable_by(f32::total_cmp);
        let rank = |percent: usize| {
            let index = (sorted.len() * percent).div_ceil(100).saturating_sub(1);
            sorted.get(index).map(|millis| (f64::from(*millis) * 10.0).round() / 10.0)
        };
        rank(50).zip(rank(95))
    }
}

/// A picture's way to its coded frame.
#[derive(Clone, Debug, Default)]
pub(super) struct Stages {
    /// From the last byte off the socket to its place on the output clock.
    pub(super) ingest: Recent,
    /// From there to the coded frame.
    pub(super) encode: Recent,
}

/// A coded frame's way to the viewer's reach.
#[derive(Clone, Debug, Default)]
pub(super) struct Publishing {
    /// From a part's first frame to the part being fetchable.
    pub(super) part: Recent,
    /// From a part's last frame to the part being fetchable.
    pub(super) package: Recent,
}

/// As the status shows it.
pub(super) fn summary(stages: &Stages, publishing: Option<&Publishing>) -> StageLatency {
    let split = |stage: Option<&Recent>| stage.and_then(Recent::quantiles).unzip();
    let (ingest_ms, ingest_p95_ms) = split(Some(&stages.ingest));
    let (encode_ms, encode_p95_ms) = split(Some(&stages.encode));
    let (part_ms, part_p95_ms) = split(publishing.map(|p| &p.part));
    let (package_ms, package_p95_ms) = split(publishing.map(|p| &p.package));
    StageLatency {
        ingest_ms,
        ingest_p95_ms,
        encode_ms,
        encode_p95_ms,
        part_ms,
        part_p95_ms,
        package_ms,
        package_p95_ms,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_newest_times_count() {
        let mut recent = Recent::default();
        assert_eq!(recent.quantiles(), None);
        (0..KEPT).for_each(|_| recent.add(Duration::from_secs(9)));
        assert_eq!(recent.quantiles(), Some((9_000.0, 9_000.0)));
        (0..KEPT * 95 / 100 + 1).for_each(|_| recent.add(Duration::from_millis(20)));
        assert_eq!(recent.quantiles(), Some((20.0, 20.0)));
        (0..KEPT * 6 / 100).for_each(|_| recent.add(Duration::from_micros(70_460)));
        assert_eq!(recent.quantiles(), Some((20.0, 70.5)));
        assert_eq!(recent.millis.len(), KEPT);
    }

    #[test]
    fn a_stage_that_is_not_there_has_no_time() {
        let mut stages = Stages::default();
        stages.ingest.add(Duration::from_millis(3));
        let summary = summary(&stages, None);
        assert_eq!((summary.ingest_ms, summary.ingest_p95_ms), (Some(3.0), Some(3.0)));
        assert_eq!((summary.encode_ms, summary.part_ms, summary.package_ms), (None, None, None));
    }
}
