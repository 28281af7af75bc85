use crate::hls::Markers;
use crate::hls::dateranges::tests::World;
use crate::scte35::section::tests as vectors;
use crate::timeline::example::assert_golden;

fn markers() -> Markers {
    let list = "https://ads.example.org/list?break={id}&d={duration}&s={section}".parse().unwrap();
    Markers { asset_list: Some(list), ..Markers::default() }
}

fn tags(world: &mut World) -> Vec<String> {
    world.lines(&markers(), |line| line.contains("CLASS=\"com.apple.hls.interstitial\""))
}

#[test]
fn a_break_says_where_players_find_what_to_play_in_its_place() {
    let mut world = World::new();
    let k = world.next_k + 4;
    world.hear(vectors::S1_OUT, k, 3);
    let told = format!(
        "#EXT-X-DATERANGE:ID=\"05-100-{k}-ads\",CLASS=\"com.apple.hls.interstitial\",\
         START-DATE=\"2026-11-25T19:00:24.100Z\",PLANNED-DURATION=30.00000,\
         X-ASSET-LIST=\"https://ads.example.org/list?break=05-100-{k}&d=30.00000&\
         s=_DAlAAAAAAAAAP_wFAUAAABkf-_-AHuYoP4AKTLgAAEAAAAANGKC0Q\",X-SNAP=\"OUT,IN\""
    );
    assert_eq!(tags(&mut world), std::slice::from_ref(&told));
    // Back early: what is played ends there.
    world.go_on(8);
    world.hear(vectors::S2_IN_NOW, k + 6, 0);
    world.go_on(4);
    assert_eq!(tags(&mut world), [format!("{told},X-PLAYOUT-LIMIT=9.50000")]);
}

#[test]
fn a_break_as_long_as_planned_has_no_limit_and_a_mark_is_none() {
    let mut world = World::new();
    world.hear(vectors::S1_OUT, world.next_k + 4, 0);
    world.hear(vectors::PROGRAMS, world.next_k + 8, 0);
    world.go_on(30);
    let tags = tags(&mut world);
    assert_eq!(tags.len(), 1);
    assert!(!tags[0].contains("X-PLAYOUT-LIMIT"), "{tags:?}");
}

#[test]
fn a_playlist_with_interstitials_is_the_golden_one() {
    let mut world = World::new();
    world.hear(vectors::S1_OUT, world.next_k + 2, 0);
    world.go_on(4);
    world.hear(vectors::S2_IN_NOW, world.next_k + 4, 0);
    world.go_on(6);
    assert_golden("interstitials.m3u8", &world.playlist(0, &markers()));
}
