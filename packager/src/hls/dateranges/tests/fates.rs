//! What can become of a break of half a minute, each with its tags to the byte. Messages come on the
//! source's own clock of 33 bits, as in a transport stream.

use crate::grid::splices::nearest_frame;
use crate::scte35::section::{BreakDuration, Command, Insert, Splice, SpliceTime};
use crate::scte35::{CLOCK, clock};

use super::*;

/// Where the break of the vectors begins on the source's clock: 90 s.
const BEGINS: i64 = 90 * 90_000;
/// What is made when the message comes, 10 s before: up to 19:00:17.6. So the break is from 27.6 to 57.6,
/// and segment 16 of the channel begins with it.
const ID: &str = "05-100-1122270767";

/// A channel whose source's clock reads a time when ten segments are made.
struct Source {
    world: World,
    /// Where the source's clock is zero, in ticks of ours.
    zero: i64,
}

impl Source {
    fn reading(pts: i64) -> Self {
        let world = World::new();
        let zero = world.made().until - pts;
        Self { world, zero }
    }

    /// Ten seconds before the break.
    fn in_time() -> Self {
        Self::reading(BEGINS - 900_000)
    }

    /// Hears a section beside the newest picture that is made.
    fn hears(&mut self, raw: &Bytes) {
        let Self { world, zero } = self;
        let made = world.made();
        for signal in signals(&Section::decode(raw).unwrap()) {
            let wish = signal.time.map_or_else(
                || world.breaks.at_once(made.until),
                |time| {
                    let at = clock::unroll(time, made.until - *zero).ticks + *zero;
                    nearest_frame(world.example.grid.rate, Timestamp::new(at, CLOCK))
                },
            );
            world.breaks.take(&signal, raw, wish, made);
        }
        world.tell();
    }

    fn goes_on(&mut self, segments: u64) -> &mut Self {
        self.world.go_on(segments);
        self
    }

    /// The tags when everything is over.
    fn over(mut self) -> Vec<String> {
        self.world.go_on(40);
        self.world.tags()
    }
}

/// A break or its end, with all that makes a difference.
fn insert(event_id: u32, pts: i64, duration: Option<BreakDuration>) -> Section {
    let splice = Splice {
        out: duration.is_some(),
        compliance: true,
        time: SpliceTime::Program(Some(pts.rem_euclid(1 << 33).unsigned_abs())),
        duration,
        program_id: 1,
        avail: 0,
        avails: 0,
    };
    Section::new(Command::Insert(Insert { event_id, splice: Some(splice) }), Vec::new())
}

const HALF_A_MINUTE: BreakDuration = BreakDuration { auto_return: true, ticks: 2_700_000 };

fn hex(section: &[u8]) -> String {
    section.iter().fold("0x".to_owned(), |text, byte| text + &format!("{byte:02X}"))
}

/// The tag of a break from second 27.6 on: `rest` is all behind its beginning.
fn tag(id: &str, rest: &str) -> String {
    format!("#EXT-X-DATERANGE:ID=\"{id}\",START-DATE=\"2026-11-25T19:00:27.600Z\"{rest}")
}

/// What stands in it when it lasted as long as it was to.
const WHOLE: &str =
    ",END-DATE=\"2026-11-25T19:00:57.600Z\",DURATION=30.00000,PLANNED-DURATION=30.00000";

#[test]
fn it_returns_by_itself() {
    let mut source = Source::in_time();
    source.hears(&vectors::bytes(vectors::S1_OUT));
    let announced = tag(ID, &format!(",PLANNED-DURATION=30.00000,SCTE35-OUT={OUT}"));
    assert_eq!(source.world.tags(), [announced.as_str()]);
    // Its last segment but one is made.
    assert_eq!(source.goes_on(24).world.tags(), [announced]);
    assert_eq!(source.over(), [tag(ID, &format!("{WHOLE},SCTE35-OUT={OUT}"))]);
}

#[test]
fn it_is_ended_early() {
    let mut source = Source::in_time();
    source.hears(&vectors::bytes(vectors::S1_OUT));
    source.goes_on(19).hears(&vectors::bytes(vectors::S3_IN));
    let end = ",END-DATE=\"2026-11-25T19:00:52.600Z\",DURATION=25.00000,PLANNED-DURATION=30.00000";
    let back = hex(&vectors::bytes(vectors::S3_IN));
    let told = format!("{end},SCTE35-OUT={OUT},SCTE35-IN={back}");
    assert_eq!(source.over(), [tag(ID, &told)]);
}

#[test]
fn it_is_cancelled() {
    let mut source = Source::in_time();
    source.hears(&vectors::bytes(vectors::S1_OUT));
    source.goes_on(2).hears(&vectors::bytes(vectors::S4_CANCEL));
    assert_eq!(source.world.tags(), [""; 0]);
    assert_eq!(source.world.removed(), format!("\"{ID}\""));
    assert_eq!(source.over(), [""; 0]);
}

#[test]
fn nothing_ends_it() {
    let mut source = Source::in_time();
    let section = insert(100, BEGINS, Some(BreakDuration { auto_return: false, ..HALF_A_MINUTE }));
    let section = section.encode().unwrap();
    source.hears(&section);
    let lost = format!("{WHOLE},X-HEADWATER-RETURN-LOST=\"YES\",SCTE35-OUT={}", hex(&section));
    assert_eq!(source.over(), [tag(ID, &lost)]);
}

#[test]
fn another_begins_within_it() {
    let mut source = Source::in_time();
    source.hears(&vectors::bytes(vectors::S1_OUT));
    let other = insert(101, BEGINS + 15 * 90_000, Some(HALF_A_MINUTE)).encode().unwrap();
    source.goes_on(8).hears(&other);
    let first =
        ",END-DATE=\"2026-11-25T19:00:42.600Z\",DURATION=15.00000,PLANNED-DURATION=30.00000";
    let second = format!(
        "#EXT-X-DATERANGE:ID=\"05-101-1122270777\",START-DATE=\"2026-11-25T19:00:42.600Z\",\
         END-DATE=\"2026-11-25T19:01:12.600Z\",DURATION=30.00000,PLANNED-DURATION=30.00000,\
         SCTE35-OUT={}",
        hex(&other)
    );
    assert_eq!(source.over(), [tag(ID, &format!("{first},SCTE35-OUT={OUT}")), second]);
}

#[test]
fn its_message_is_sent_four_times() {
    let mut source = Source::in_time();
    source.hears(&vectors::bytes(vectors::S1_OUT));
    let announced = source.world.tags();
    // About 7, 5, 4 and 2 s before it begins, and while it is on.
    for segments in [2, 1, 1, 1, 4] {
        source.goes_on(segments).hears(&vectors::bytes(vectors::S1_OUT));
        assert_eq!(source.world.tags(), announced);
    }
    assert_eq!(source.over(), [tag(ID, &format!("{WHOLE},SCTE35-OUT={OUT}"))]);
}

#[test]
fn its_message_comes_half_a_second_late() {
    let mut source = Source::reading(BEGINS + 45_000);
    source.hears(&vectors::bytes(vectors::S1_OUT));
    let late = format!(
        "#EXT-X-DATERANGE:ID=\"05-100-1122270761\",START-DATE=\"2026-11-25T19:00:17.600Z\",\
         END-DATE=\"2026-11-25T19:00:47.100Z\",DURATION=29.50000,PLANNED-DURATION=30.00000,\
         X-HEADWATER-SENT=\"2026-11-25T19:00:17.100Z\",X-HEADWATER-MOVED=\"LATE\",SCTE35-OUT={OUT}"
    );
    assert_eq!(source.over(), [late]);
}

#[test]
fn the_clock_wraps_in_it() {
    // Half a second before the wrap.
    let begins = (1 << 33) - 45_000;
    let mut source = Source::reading(begins - 900_000);
    let out = vectors::bytes(vectors::S5_WRAP);
    source.hears(&out);
    // Heard again, and ended, by a clock that has begun anew.
    source.goes_on(12).hears(&out);
    let back = insert(101, begins + 25 * 90_000, None).encode().unwrap();
    source.hears(&back);
    let end = ",END-DATE=\"2026-11-25T19:00:52.600Z\",DURATION=25.00000,PLANNED-DURATION=30.00000";
    let told = format!("{end},SCTE35-OUT={},SCTE35-IN={}", hex(&out), hex(&back));
    assert_eq!(source.over(), [tag("05-101-1122270767", &told)]);
}

#[test]
fn its_time_is_adjusted() {
    let mut section = Section::decode(&vectors::bytes(vectors::S1_OUT)).unwrap();
    // 80 s less, as a multiplexer says it that counts from another zero: without the carry.
    section.pts_adjustment = (1 << 33) - 80 * 90_000;
    let raw = section.encode().unwrap();
    let mut source = Source::reading(0);
    source.hears(&raw);
    assert_eq!(source.over(), [tag(ID, &format!("{WHOLE},SCTE35-OUT={}", hex(&raw)))]);
}
