use super::*;
use crate::hls::Markers;
use crate::hls::dateranges::tests::World;
use crate::scte35::section::tests as vectors;
use crate::timeline::example::assert_golden;

/// A channel in whose window a break of 30 s has ended after 9.6 s, and another has begun that does not
/// say how long it is.
fn world() -> World {
    let mut world = World::new();
    world.hear(vectors::S1_OUT, world.next_k + 2, 0);
    world.go_on(4);
    world.hear(vectors::S2_IN_NOW, world.next_k + 4, 0);
    world.go_on(8);
    world.hear(vectors::NO_DURATION, world.next_k + 2, 0);
    world.go_on(5);
    world
}

fn markers(style: CueStyle) -> Markers {
    Markers { style: Some(style), date_ranges: false, asset_list: None }
}

/// The tags of breaks, and behind each the segment it stands before, counted from the first one's.
fn tags(world: &mut World, style: CueStyle) -> Vec<(String, u64)> {
    let words = ["#EXT-X-CUE", "#EXT-OATCLS", "#EXT-X-ASSET", "#EXT-X-SCTE35"];
    world.placed(&markers(style), &words)
}

#[test]
fn a_break_is_said_before_each_of_its_segments_and_the_first_behind_it() {
    let expected = [
        ("#EXT-X-CUE-OUT:30.000", 12),
        ("#EXT-X-CUE-OUT-CONT:1.600/30.000", 13),
        ("#EXT-X-CUE-OUT-CONT:3.200/30.000", 14),
        ("#EXT-X-CUE-OUT-CONT:4.800/30.000", 15),
        ("#EXT-X-CUE-OUT-CONT:6.400/30.000", 16),
        ("#EXT-X-CUE-OUT-CONT:8.000/30.000", 17),
        ("#EXT-X-CUE-IN", 18),
        ("#EXT-X-CUE-OUT", 24),
        // The last segment is not listed whole yet.
        ("#EXT-X-CUE-OUT-CONT:1.600", 25),
    ];
    let expected = expected.map(|(tag, k)| (tag.to_owned(), k));
    assert_eq!(tags(&mut world(), CueStyle::Elemental), expected);
}

#[test]
fn the_other_styles_carry_the_section() {
    let out = "/DAlAAAAAAAAAP/wFAUAAABkf+/+AHuYoP4AKTLgAAEAAAAANGKC0Q==";
    let enhanced = tags(&mut world(), CueStyle::Enhanced);
    assert_eq!(enhanced[0].0, format!("#EXT-OATCLS-SCTE35:{out}"));
    assert_eq!(enhanced[1].0, "#EXT-X-CUE-OUT:30.000");
    let cont = format!("#EXT-X-CUE-OUT-CONT:ElapsedTime=1.600,Duration=30.000,SCTE35={out}");
    assert_eq!(enhanced[2].0, cont);
    let world = &mut world();
    let id = format!("05-100-{}", world.next_k - 15);
    let scte35 = tags(world, CueStyle::Scte35);
    let start = format!("#EXT-X-SCTE35:CUE=\"{out}\",ID=\"{id}\",DURATION=30.000");
    assert_eq!(scte35[0].0, format!("{start},CUE-OUT=YES"));
    assert_eq!(scte35[1].0, format!("{start},ELAPSED=1.600,CUE-OUT=CONT"));
    let back = vectors::S2_IN_NOW;
    assert_eq!(scte35[6].0, format!("#EXT-X-SCTE35:CUE=\"{back}\",ID=\"{id}\",CUE-IN=YES"));
}

#[test]
fn the_id_of_what_is_advertised_is_told_where_there_is_one() {
    let mut world = World::new();
    world.hear(vectors::PPO_START, world.next_k + 2, 0);
    world.go_on(4);
    let text = world.playlist(0, &markers(CueStyle::Enhanced));
    assert!(
        text.contains("\n#EXT-X-ASSET:CAID=0x000000002CA0A18A\n#EXT-X-CUE-OUT:307.000\n"),
        "{text}"
    );
}

#[test]
fn of_breaks_that_overlap_the_first_is_told() {
    let mut world = World::new();
    // A placement opportunity of 307 s, and 8 s later one of 201.467 s under another number.
    world.hear(vectors::PPO_START, world.next_k + 2, 0);
    world.hear(vectors::MEDIALIVE, world.next_k + 7, 0);
    world.go_on(12);
    let tags = tags(&mut world, CueStyle::Elemental);
    assert_eq!(tags.iter().filter(|(tag, _)| tag.starts_with("#EXT-X-CUE-OUT:")).count(), 1);
    assert!(tags.iter().all(|(tag, _)| tag.contains("307.000")), "{tags:?}");
}

#[test]
fn playlists_with_these_tags_are_the_golden_ones() {
    for (name, style) in [
        ("elemental", CueStyle::Elemental),
        ("enhanced", CueStyle::Enhanced),
        ("scte35", CueStyle::Scte35),
    ] {
        let text = world().playlist(0, &markers(style));
        assert_golden(&format!("cue-out-{name}.m3u8"), &text);
    }
}
