#![allow(clippy::indexing_slicing, clippy::arithmetic_side_effects)]

use std::sync::Arc;

use packager::media::Name;

use super::super::demux::PAT_PID;
use super::super::fixture::*;
use super::super::packet::PACKET;
use super::super::psi::tests::{pat, pmt};
use super::*;
use crate::hub::{Access, Hub, Request, Session};
use crate::source::{Peer, Protocol};

/// A channel's two ends.
async fn channel(program: Option<u16>) -> (Publication, Session) {
    let channel = Name::parse("news").unwrap();
    let access = Access {
        channel: channel.clone(),
        key: None,
        max_bitrate: None,
        program,
        open_groups: false,
        has_source: true,
    };
    let (hub, mut subscriptions) = Hub::new([access]);
    let request = Request {
        channel: "news",
        key: None,
        peer: Peer::Configured(Arc::from("a test")),
        protocol: Protocol::File,
    };
    let publication = hub.publish(&request).unwrap();
    (publication, subscriptions.remove(&channel).unwrap().next().await.unwrap())
}

/// All units up to the end of the publication.
async fn units(session: &mut Session) -> Vec<Unit> {
    let mut units = Vec::new();
    while let Some(unit) = session.next().await {
        units.push(unit);
    }
    units
}

fn notices(units: &[Unit]) -> Vec<&str> {
    let mut told = Vec::new();
    for unit in units {
        if let Unit::Notice(words) = unit {
            told.push(words.as_str());
        }
    }
    told
}

/// Pushes the same bytes every tenth of a second until the feed ends.
async fn push_for_ever(feed: &mut Feed, bytes: &[u8]) -> (Error, Duration) {
    let begun = Instant::now();
    for n in 0.. {
        let now = begun + Duration::from_millis(100) * n;
        if let Err(error) = feed.push(bytes, now).await {
            return (error, now - begun);
        }
    }
    unreachable!()
}

#[tokio::test]
async fn a_program_reaches_its_channel_with_its_sections_and_figures() {
    let (publication, mut session) = channel(None).await;
    let mut mux = Mux::default();
    mux.tables().program(900_000, 5).section(CUES, SPLICE_NULL).program(918_000, 5);
    let mut lost = mux.bytes.clone();
    let end = lost.len();
    lost.drain(end - 3 * PACKET..end - 2 * PACKET);
    let mut feed = Feed::new(publication);
    for piece in lost.chunks(1316) {
        feed.push(piece, Instant::now()).await.unwrap();
    }
    feed.finish().await.unwrap();
    let counts = feed.counts();
    drop(feed);
    let report = session.report().transport.unwrap();
    assert_eq!((report, report.lost), (counts, 1));
    let units = units(&mut session).await;
    let of = |kind: fn(&Unit) -> bool| units.iter().filter(|unit| kind(unit)).count();
    assert_eq!(of(|unit| matches!(unit, Unit::VideoConfig(_))), 1);
    assert_eq!(of(|unit| matches!(unit, Unit::AudioConfig(_))), 1);
    assert!(of(|unit| matches!(unit, Unit::Video(_))) >= 9);
    assert_eq!(of(|unit| matches!(unit, Unit::Section(_))), 1);
}

#[tokio::test]
async fn what_is_missing_is_told_and_ends_the_feed() {
    let mut no_map = Mux::default();
    no_map.section(PAT_PID, &pat(&[(7, PMT)]));
    let mut no_tables = Mux::default();
    no_tables.program(0, 1);
    let mut no_media = Mux::default();
    no_media.tables();
    for (bytes, words) in [
        (vec![0x11; 2000], "no MPEG-TS packets in what is sent"),
        (no_tables.bytes, "no program association table (PAT)"),
        (no_map.bytes, "no map (PMT) of program 7 on PID 4096"),
        (no_media.bytes, "no picture or sound of program 1 that can be used"),
    ] {
        let (publication, mut session) = channel(None).await;
        let mut feed = Feed::new(publication);
        let (error, after) = push_for_ever(&mut feed, &bytes).await;
        assert_eq!((error.to_string(), after), (words.to_owned(), DEADLINE_MEDIA));
        drop(feed);
        assert_eq!(notices(&units(&mut session).await), [words]);
    }
}

#[tokio::test]
async fn what_can_not_be_used_is_the_reason_of_the_end() {
    let mut mux = Mux::default();
    mux.section(PAT_PID, &pat(&[(1, PMT)]));
    mux.section(PMT, &pmt(1, 0, VIDEO, &[(0x02, VIDEO, &[])]));
    let (publication, mut session) = channel(None).await;
    let mut feed = Feed::new(publication);
    let (error, _) = push_for_ever(&mut feed, &mux.bytes).await;
    assert_eq!(error.label(), "media");
    drop(feed);
    let units = units(&mut session).await;
    let told = notices(&units);
    assert!(told[0].starts_with("MPEG-2 video on PID 256 is not read"), "{told:?}");

    let (publication, mut session) = channel(Some(3)).await;
    let mut feed = Feed::new(publication);
    let (error, _) = push_for_ever(&mut feed, &mux.bytes).await;
    assert_eq!(error.to_string(), "no program 3: there are [1]");
    drop(feed);
    assert_eq!(notices(&self::units(&mut session).await)[0], "no program 3: there are [1]");
}

#[tokio::test]
async fn a_stream_whose_pictures_stop_is_let_go() {
    let (publication, session) = channel(None).await;
    let mut mux = Mux::default();
    mux.tables().program(0, 3);
    let mut feed = Feed::new(publication);
    feed.push(&mux.bytes, Instant::now()).await.unwrap();
    let mut tables = Mux::default();
    tables.tables();
    let (error, _) = push_for_ever(&mut feed, &tables.bytes).await;
    assert_eq!(error, Error::Stopped);
    drop(session);
}

#[tokio::test]
async fn a_file_is_read_at_the_pace_of_its_clock_and_goes_on_where_it_ended() {
    let (publication, mut session) = channel(None).await;
    let mut mux = Mux::default();
    // 200 ms near the end of the clock.
    mux.tables().program(WRAP - 2 * PICTURE, 5).section(CUES, SPLICE_NULL);
    let begun = Instant::now();
    let feeding = async {
        let mut feed = Feed::paced(publication);
        for _ in 0..3 {
            feed.push(&mux.bytes, Instant::now()).await.unwrap();
            feed.again().await.unwrap();
        }
        feed.counts()
    };
    let (counts, units) = tokio::join!(feeding, units(&mut session));
    // Two whole passes and four of five pictures of the third.
    assert!(begun.elapsed() >= Duration::from_millis(560), "{:?}", begun.elapsed());
    assert_eq!(counts.lost, 0, "a beginning is no loss");
    let pictures = units.iter().filter_map(|unit| match unit {
        Unit::Video(sample) => Some(sample.dts.ticks),
        _ => None,
    });
    let first = (WRAP - 2 * PICTURE).cast_signed();
    assert_eq!(pictures.collect::<Vec<_>>(), (0..15).map(|n| first + n * 3600).collect::<Vec<_>>());
    let sections: Vec<_> = units
        .iter()
        .filter_map(|unit| match unit {
            Unit::Section(section) => {
                Some((section.at.ticks - first, section.time_of(2 * PICTURE).ticks - first))
            }
            _ => None,
        })
        .collect();
    // A splice at the fifth picture is at the fifth picture of every pass.
    assert_eq!(sections, [0, 5, 10].map(|n| ((n + 4) * 3600, (n + 4) * 3600)));
    let configs = units.iter().filter(|unit| matches!(unit, Unit::VideoConfig(_)));
    assert_eq!(configs.count(), 1);
}
