//! Golden manifests and what holds for every manifest.

use super::{Options, manifest};
use crate::timeline::example;

#[test]
fn an_independent_reader_takes_every_example() {
    for snapshot in [example::live(), example::two_runs(), example::ended()] {
        let text = manifest(&snapshot, &Options::default());
        let mpd = dash_mpd_core::parse(&text).unwrap();
        assert!(!mpd.periods.is_empty());
    }
}
