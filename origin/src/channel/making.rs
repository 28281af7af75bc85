//! What a channel makes: decided once, from the configuration, what is stored of earlier processes,
//! and the source, in this order.
//!
//! A pure decision. It is stored with the channel and never changes by itself (ARCHITECTURE, "The path of a
//! picture").

use ingest::av::ladder::{self, Plan, Wish};
use packager::grid::{Cut, Grid};
use packager::media::Name;
use packager::time::FrameRate;

use crate::admission::Work;
use crate::config;
use crate::store::{Recovered, StoredFormat};

/// Sample rate of a ladder's audio.
pub(super) const AUDIO_RATE: u32 = 48_000;

/// The grid and the ladder of a channel.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Making {
    /// Segment and part lengths.
    pub(super) grid: Grid,
    /// The rungs, and those left out.
    pub(super) plan: Plan,
}

/// The frame rate of a channel: the operator's wish, else what it had before, else what its source
/// was found to have.
pub(super) fn rate(
    config: &config::Channel,
    recovered: &Recovered,
    found: Option<FrameRate>,
) -> Option<FrameRate> {
    let stored = recovered.format.as_ref().map(|format| format.grid.rate);
    config.fps.or(stored).or(found)
}

/// Name of a pass-through channel's pictures, and of the wish for them.
pub(super) const SOURCE: &str = "source";

impl Making {
    /// What a pass-through channel makes of a source of `rate` with a key frame every `gop` video
    /// ticks. A channel that ran before keeps its rate and its segments.
    pub(super) fn of_source(
        config: &config::Channel,
        recovered: &Recovered,
        rate: FrameRate,
        audio_rate: u32,
        gop: u64,
    ) -> Self {
        let stored = recovered.format.as_ref().map(|format| format.grid);
        let stored = stored.filter(|grid| grid.cut == Cut::Source);
        let (rate, audio_rate, gop) = stored.map_or((rate, audio_rate, gop), |grid| {
            (grid.rate, grid.audio_rate, grid.segment_ticks)
        });
        let grid = Grid::of_source(rate, audio_rate, gop, config.segment, config.part);
        Self { grid, plan: Plan { rungs: Vec::new(), left_out: Vec::new() } }
    }

    /// What a channel makes of a source of this size at this rate.
    ///
    /// A channel that ran before keeps its rungs, whatever this source's size is: players read the
    /// multivariant playlist once.
    pub(super) fn decide(
        config: &config::Channel,
        recovered: &Recovered,
        size: (u16, u16),
        rate: FrameRate,
    ) -> Self {
        let wishes: Vec<Wish> = config.ladder.iter().map(config::Rung::wish).collect();
        let kept = recovered.format.as_ref().and_then(|format| kept(format, &wishes, rate));
        let plan = kept.unwrap_or_else(|| ladder::plan_for_good(size, &wishes, rate));
        Self { grid: Grid::choose(rate, AUDIO_RATE, config.segment, config.part), plan }
    }

    /// What a channel goes on to make whose format is stored, before it has a source; `None` if its
    /// configuration asks for something else now.
    pub(super) fn stored(config: &config::Channel, recovered: &Recovered) -> Option<Self> {
        let stored = recovered.format.as_ref()?;
        let rate = rate(config, recovered, None)?;
        let making = if config.pass_through {
            Self::of_source(config, recovered, rate, stored.grid.audio_rate, 1)
        } else {
            Self::decide(config, recovered, (0, 0), rate)
        };
        let same = making.grid == stored.grid && wishes(config) == stored.wishes;
        same.then_some(making)
    }

    /// The highest rung that would be made of a source of this height, if it is not made: the ladder was
    /// planned for a smaller one.
    pub(super) fn outgrown(&self, config: &config::Channel, height: u16) -> Option<Name> {
        let highest = self.plan.rungs.iter().map(|rung| rung.height).max()?;
        let fitting = config.ladder.iter().filter(|wish| wish.height <= height);
        let wish = fitting.max_by_key(|wish| wish.height)?;
        (wish.height > highest).then(|| wish.name.clone())
    }

    /// What it costs the machine, from a source as large as its largest rung.
    pub(super) fn work(&self) -> Work {
        let sizes = || self.plan.rungs.iter().map(|rung| (rung.width, rung.height));
        Work::ladder(sizes(), sizes().max().unwrap_or_default(), self.grid.rate)
    }
}

/// A ladder of one, for a source that can't be packaged as it is: its own size, or the nearest that can
/// be encoded, under the name that a source has.
pub(super) fn own_size(size: (u16, u16), rate: FrameRate) -> Plan {
    let name = Name::parse(SOURCE).ok();
    let wishes: Vec<_> =
        name.map(|name| Wish { name, height: size.1 & !1, bitrate: None }).into_iter().collect();
    ladder::plan(size, &wishes, rate)
}

/// The plan that gave the stored rungs, unless the operator wishes for others now.
fn kept(stored: &StoredFormat, wishes: &[Wish], rate: FrameRate) -> Option<Plan> {
    let names = wishes.iter().map(|wish| wish.name.as_str());
    let highest = stored.renditions.iter().find_map(|rendition| rendition.size)?;
    names
        .eq(stored.wishes.iter().map(String::as_str))
        .then(|| ladder::plan_for_good(highest, wishes, rate))
}

/// The rungs the operator wishes for, by name: another list is another ladder.
pub(super) fn wishes(config: &config::Channel) -> Vec<String> {
    if config.pass_through {
        return vec![SOURCE.to_owned()];
    }
    config.ladder.iter().map(|rung| rung.name.to_string()).collect()
}

/// The last number that counts as used on `grid`, of what was stored.
///
/// Numbers are those of the stored grid. When the operator has changed the length of a segment they
/// begin anew on the new grid, behind the end of the last segment: a number that is kept would lie
/// years ahead of the clock, and the channel would wait for it.
pub(super) fn last_k(recovered: &Recovered, grid: &Grid) -> Option<u64> {
    let last_k = recovered.last_k?;
    Some(recovered.format.as_ref().map_or(last_k, |stored| stored.renumbered(last_k, grid)))
}

#[cfg(test)]
mod tests {
    use packager::media::Name;
    use packager::time::{Span, Timescale};

    use super::*;
    use crate::store::StoredRendition;

    const FULL_HD: (u16, u16) = (1920, 1080);

    fn config() -> config::Channel {
        config::Channel::named(Name::parse("news").unwrap())
    }

    fn stored(config: &config::Channel, making: &Making, last_k: Option<u64>) -> Recovered {
        let rendition = |name: &str, size| StoredRendition {
            name: name.into(),
            timescale: Timescale::MPEG,
            rate: None,
            codec: String::new(),
            size,
            average_bitrate: 0,
            peak_bitrate: 0,
        };
        let rungs = making.plan.rungs.iter();
        let mut renditions: Vec<_> =
            rungs.map(|r| rendition(r.name.as_str(), Some((r.width, r.height)))).collect();
        renditions.push(rendition("audio", None));
        let (grid, window, publish_delay) = (making.grid, config.window, Span::millis(150));
        let wishes = wishes(config);
        let format = Some(StoredFormat { grid, publish_delay, window, wishes, renditions });
        Recovered { last_k, format, ..Recovered::default() }
    }

    fn names(making: &Making) -> Vec<&str> {
        making.plan.rungs.iter().map(|rung| rung.name.as_str()).collect()
    }

    #[test]
    fn a_rate_is_the_operators_else_the_stored_else_the_sources() {
        let (mut config, empty) = (config(), Recovered::default());
        let [r25, r30, r50] = [25, 30, 50].map(|n| FrameRate::new(n, 1));
        let before = stored(&config, &Making::decide(&config, &empty, FULL_HD, r30), None);
        assert_eq!(rate(&config, &empty, None), None);
        assert_eq!(rate(&config, &empty, Some(r25)), Some(r25));
        assert_eq!(rate(&config, &before, Some(r25)), Some(r30));
        config.fps = Some(r50);
        assert_eq!(rate(&config, &before, Some(r25)), Some(r50));
    }

    #[test]
    fn a_smaller_source_gets_the_rungs_the_channel_had() {
        let (config, rate) = (config(), FrameRate::new(30, 1));
        let first = Making::decide(&config, &Recovered::default(), FULL_HD, rate);
        let small = Making::decide(&config, &Recovered::default(), (640, 360), rate);
        assert_ne!(names(&first), names(&small), "else this shows nothing");
        let later = Making::decide(&config, &stored(&config, &first, None), (640, 360), rate);
        assert_eq!(names(&later), names(&first));
    }

    #[test]
    fn a_source_above_the_ladder_that_was_planned_is_told() {
        let (config, rate) = (config(), FrameRate::new(30, 1));
        let first = Making::decide(&config, &Recovered::default(), (640, 360), rate);
        let later = Making::decide(&config, &stored(&config, &first, None), FULL_HD, rate);
        assert_eq!(names(&later), ["360p"]);
        let told = |height| later.outgrown(&config, height).map(|name| name.to_string());
        assert_eq!(told(1080).as_deref(), Some("720p"));
        assert_eq!(told(480).as_deref(), Some("480p"));
        assert_eq!((told(360), told(96)), (None, None));
        let large = Making::decide(&config, &Recovered::default(), FULL_HD, rate);
        assert_eq!(large.outgrown(&config, 2160), None, "all that is wished for is made");
    }

    #[test]
    fn a_ladder_the_operator_changed_is_planned_anew() {
        let (mut config, rate) = (config(), FrameRate::new(30, 1));
        let first = Making::decide(&config, &Recovered::default(), FULL_HD, rate);
        let before = stored(&config, &first, None);
        let highest = config.ladder.remove(0);
        let fewer = Making::decide(&config, &before, FULL_HD, rate);
        assert_eq!(names(&fewer), names(&first)[1..]);
        let before = stored(&config, &fewer, None);
        config.ladder.insert(0, highest);
        assert_eq!(names(&Making::decide(&config, &before, FULL_HD, rate)), names(&first));
    }

    #[test]
    fn what_makes_segments_and_rungs_others_begins_a_new_window() {
        let (mut config, rate) = (config(), FrameRate::new(30, 1));
        config.fps = Some(rate);
        let made = Making::decide(&config, &Recovered::default(), FULL_HD, rate);
        let format = stored(&config, &made, None).format.unwrap();
        let anew = |change: fn(&mut config::Channel)| {
            let mut changed = config.clone();
            change(&mut changed);
            crate::channel::begins_anew(&changed, format.clone())
        };
        assert!(!anew(|_| ()));
        assert!(!anew(|config| config.window = Span::millis(20_000)));
        assert!(!anew(|config| config.fps = None), "the rate is kept");
        assert!(anew(|config| config.fps = Some(FrameRate::new(25, 1))));
        assert!(anew(|config| config.segment = Span::millis(4_000)));
        assert!(anew(|config| config.part = Span::millis(400)));
        assert!(anew(|config| drop(config.ladder.pop())));
        assert!(anew(|config| config.pass_through = true));
    }

    #[test]
    fn numbers_go_on_while_the_segments_keep_their_length() {
        let (mut config, rate) = (config(), FrameRate::new(30, 1));
        let first = Making::decide(&config, &Recovered::default(), FULL_HD, rate);
        let before = stored(&config, &first, Some(1_100_000_000));
        assert_eq!(last_k(&before, &first.grid), Some(1_100_000_000));
        config.part = Span::millis(400);
        let parts = Making::decide(&config, &before, FULL_HD, rate);
        assert_eq!(last_k(&before, &parts.grid), Some(1_100_000_000));
        assert_eq!(last_k(&Recovered::default(), &first.grid), None);
    }

    #[test]
    fn numbers_begin_anew_behind_the_last_segment_when_its_length_changes() {
        let (mut config, rate) = (config(), FrameRate::new(30, 1));
        let first = Making::decide(&config, &Recovered::default(), FULL_HD, rate);
        let before = stored(&config, &first, Some(1_100_000_000));
        config.segment = Span::millis(4_000);
        let longer = Making::decide(&config, &before, FULL_HD, rate);
        assert_ne!(longer.grid.segment_ticks, first.grid.segment_ticks, "else this shows nothing");
        let next = last_k(&before, &longer.grid).unwrap() + 1;
        let end = first.grid.boundary(1_100_000_001);
        assert!(longer.grid.boundary(next) >= end);
        assert!(longer.grid.boundary(next - 1) < end);
    }
}
