use super::*;

const FPS30: FrameRate = FrameRate::new(30, 1);

fn wishes(texts: &[&str]) -> Vec<Wish> {
    texts.iter().map(|text| text.parse().expect("a good wish")).collect()
}

fn sizes(plan: &Plan) -> Vec<(String, u16, u16)> {
    plan.rungs.iter().map(|rung| (rung.name.to_string(), rung.width, rung.height)).collect()
}

#[test]
fn a_wish_is_an_even_height_from_96_to_2160() {
    for (text, height) in [("96p", 96), ("720p", 720), ("2160p", 2160), ("98p", 98)] {
        assert_eq!(text.parse::<Wish>().map(|wish| wish.height), Ok(height));
    }
    for text in ["94p", "2162p", "721p", "99999p"] {
        assert!(matches!(text.parse::<Wish>(), Err(WishError::Height { .. })), "{text}");
    }
    for text in ["", "p", "720", "720P", "+720p", "0720p", "7 20p", "source", "720pp", "-96p"] {
        assert!(matches!(text.parse::<Wish>(), Err(WishError::Form { .. })), "{text}");
    }
}

#[test]
fn no_rung_stands_above_the_source_and_each_missing_one_has_a_reason() {
    let plan = plan((1280, 720), &wishes(&["1080p", "720p", "480p"]), FPS30);
    assert_eq!(sizes(&plan), [("720p".into(), 1280, 720), ("480p".into(), 854, 480)]);
    assert_eq!(plan.left_out.len(), 1);
    assert_eq!(plan.left_out[0].reason, "above the source's 720 lines");
}

#[test]
fn a_source_below_every_wish_is_made_once_at_its_own_size() {
    let plan = plan((320, 180), &wishes(&["720p", "480p", "360p"]), FPS30);
    assert_eq!(sizes(&plan), [("360p".into(), 320, 180)]);
    assert_eq!(plan.left_out.len(), 3);
    assert!(plan.left_out[2].reason.contains("made at 180 lines"), "{:?}", plan.left_out[2]);
}

#[test]
fn the_reasons_of_a_plan_that_is_kept_hold_for_whatever_source_comes() {
    let wishes = wishes(&["720p", "360p"]);
    let kept = plan_for_good((320, 180), &wishes, FPS30);
    assert_eq!(kept.rungs, plan((320, 180), &wishes, FPS30).rungs);
    for out in &kept.left_out {
        assert!(out.reason.contains("change `ladder` to plan anew"), "{out:?}");
        assert!(!out.reason.contains("the source's"), "{out:?}");
    }
}

#[test]
fn widths_are_even_and_keep_the_aspect() {
    for (source, wish, width) in [
        ((1920, 1080), "360p", 640),
        ((1920, 1080), "96p", 170),
        ((720, 576), "480p", 600),
        ((1080, 1920), "720p", 406),
        ((608, 1080), "96p", 54),
    ] {
        assert_eq!(
            plan(source, &wishes(&[wish]), FPS30).rungs[0].width,
            width,
            "{source:?} {wish}"
        );
    }
}

#[test]
fn bit_rates_come_from_the_table_grow_with_height_and_speed_and_yield_to_the_wish() {
    let at = |height, rate| table_bitrate(height, rate);
    assert_eq!(at(720, FPS30), 2_800_000);
    assert_eq!(at(2160, FPS30), 12_000_000);
    assert_eq!(at(96, FPS30), 120_000);
    assert_eq!(at(600, FPS30), 2_000_000);
    assert_eq!(at(720, FrameRate::new(60_000, 1001)), 3_920_000);
    assert_eq!(at(720, FrameRate::new(30_000, 1001)), 2_800_000);
    let rates: Vec<_> = (48..=1080).map(|half| at(half * 2, FPS30)).collect();
    assert!(rates.is_sorted());
    let mut wish = wishes(&["720p"]);
    wish[0].bitrate = Some(1_000_000);
    let rung = &plan((1280, 720), &wish, FPS30).rungs[0];
    assert_eq!((rung.average_bitrate, rung.peak_bitrate), (1_000_000, 1_250_000));
}

#[test]
fn odd_sources_do_not_break_the_plan() {
    for source in [(0, 0), (1, 1), (65_535, 2), (2, 65_535), (16_384, 16_384)] {
        for rung in plan(source, &wishes(&["96p", "2160p"]), FPS30).rungs {
            assert!(rung.width >= 2 && rung.width.is_multiple_of(2) && rung.width <= 4096);
        }
    }
    assert_eq!(plan((1280, 720), &[], FPS30).rungs, []);
}
