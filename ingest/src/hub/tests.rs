use super::*;
use crate::source::DataMessage;
use bytes::Bytes;
use packager::time::{Timescale, Timestamp};
use std::future::Future;
use std::net::SocketAddr;
use std::task::Poll;

fn name(text: &str) -> Name {
    Name::parse(text).unwrap()
}

fn unit() -> Unit {
    Unit::Data(DataMessage {
        at: Timestamp::new(0, Timescale::MILLIS),
        name: "onMetaData".into(),
        values: Vec::new(),
        raw: Bytes::new(),
    })
}

fn request<'a>(channel: &'a str, key: Option<&'a str>, peer: &str) -> Request<'a> {
    let peer: SocketAddr = peer.parse().unwrap();
    Request { channel, key, peer: peer.into(), protocol: Protocol::Rtmp }
}

fn hub() -> (Hub, HashMap<Name, Subscription>) {
    Hub::new([
        Access {
            channel: name("open"),
            key: None,
            max_bitrate: None,
            program: None,
            open_groups: false,
            has_source: false,
        },
        Access {
            channel: name("news"),
            key: Some(Secret::new("k1")),
            max_bitrate: Some(1_000_000),
            program: None,
            open_groups: false,
            has_source: false,
        },
    ])
}

#[tokio::test]
async fn a_wrong_key_and_an_unknown_channel_read_the_same() {
    let (hub, _subscriptions) = hub();
    for (channel, key) in [("news", Some("k2")), ("news", None), ("none", Some("k1"))] {
        let refusal = hub.publish(&request(channel, key, "10.0.0.1:5")).unwrap_err();
        assert_eq!(refusal, Refusal::Denied);
    }
    assert!(hub.publish(&request("news", Some("k1"), "10.0.0.1:5")).is_ok());
}

#[tokio::test]
async fn a_channel_without_a_key_takes_loopback_only() {
    let (hub, _subscriptions) = hub();
    for peer in ["127.0.0.1:1", "[::1]:1", "[::ffff:127.0.0.1]:1"] {
        assert!(hub.publish(&request("open", None, peer)).is_ok(), "{peer}");
    }
    let refusal = hub.publish(&request("open", None, "192.168.0.2:1")).unwrap_err();
    assert_eq!(refusal, Refusal::LoopbackOnly);
}

#[tokio::test]
async fn a_bad_name_is_refused_before_anything_else() {
    let (hub, _subscriptions) = hub();
    let long = "x".repeat(10_000);
    for channel in ["../x", "", long.as_str()] {
        let refusal = hub.publish(&request(channel, None, "127.0.0.1:1")).unwrap_err();
        assert!(matches!(refusal, Refusal::BadName(_)), "{refusal:?}");
    }
}

#[tokio::test]
async fn the_newest_publisher_wins_and_the_old_one_is_told() {
    let (hub, mut subscriptions) = hub();
    let mut door = subscriptions.remove("open").unwrap();
    let first = hub.publish(&request("open", None, "127.0.0.1:1")).unwrap();
    let _session = door.next().await.unwrap();
    first.push(unit()).await.unwrap();
    let second = hub.publish(&request("open", None, "127.0.0.1:2")).unwrap();
    assert_eq!(first.closed().await, Closed::TakenOver);
    assert_eq!(first.push(unit()).await, Err(Closed::TakenOver));
    let mut session = door.next().await.unwrap();
    second.push(unit()).await.unwrap();
    assert!(session.next().await.is_some());
}

#[tokio::test]
async fn a_seventh_takeover_within_a_minute_is_refused_and_the_publisher_stays() {
    let (hub, mut subscriptions) = hub();
    let mut door = subscriptions.remove("open").unwrap();
    let now = Instant::now();
    let publish = |after: u64| {
        let at = now + Duration::from_secs(after);
        hub.publish_at(&request("open", None, "127.0.0.1:1"), at)
    };
    let mut newest = publish(0).unwrap();
    for n in 1..=6 {
        let next = publish(n).unwrap();
        assert_eq!(newest.closed().await, Closed::TakenOver);
        newest = next;
    }
    let refusal = publish(7).unwrap_err();
    assert_eq!(refusal, Refusal::TooOften { wait: Duration::from_secs(4) });
    assert!(refusal.to_string().ends_with("try again in 4 s"), "{refusal}");
    for _ in 0..6 {
        door.next().await.unwrap();
    }
    let mut session = door.next().await.unwrap();
    newest.push(unit()).await.unwrap();
    assert!(session.next().await.is_some());
    publish(11).unwrap();
    assert_eq!(newest.closed().await, Closed::TakenOver);
}

#[tokio::test]
async fn a_publisher_who_comes_back_to_an_empty_channel_is_never_slowed() {
    let (hub, mut subscriptions) = hub();
    let mut door = subscriptions.remove("open").unwrap();
    let now = Instant::now();
    for _ in 0..100 {
        let publication = hub.publish_at(&request("open", None, "127.0.0.1:1"), now).unwrap();
        drop(publication);
        assert!(door.next().await.unwrap().next().await.is_none());
    }
}

#[tokio::test]
async fn publishers_nobody_picks_up_are_bounded_and_told() {
    let (hub, _subscriptions) = hub();
    for _ in 0..QUEUE_SESSIONS {
        drop(hub.publish(&request("open", None, "127.0.0.1:1")).unwrap());
    }
    let refusal = hub.publish(&request("open", None, "127.0.0.1:1")).unwrap_err();
    assert_eq!(refusal, Refusal::Busy);
}

/// Takes nobody on.
#[derive(Debug)]
struct Full;

impl Admit for Full {
    fn admit(&self, channel: &Name) -> Result<(), String> {
        Err(format!("no room for {channel}"))
    }

    fn would_admit(&self, channel: &Name) -> Result<(), String> {
        self.admit(channel)
    }
}

#[tokio::test]
async fn a_machine_without_room_says_so_and_only_to_those_with_the_key() {
    let access = Access {
        channel: name("news"),
        key: Some(Secret::new("k1")),
        max_bitrate: None,
        program: None,
        open_groups: false,
        has_source: false,
    };
    let (hub, _subscriptions) = Hub::with_admission([access], Arc::new(Full));
    let refused = |key| hub.publish(&request("news", Some(key), "10.0.0.1:5")).unwrap_err();
    assert_eq!(refused("k2"), Refusal::Denied);
    assert_eq!(refused("k1"), Refusal::NoCapacity("no room for news".into()));
    let asked = hub.ask(&request("news", Some("k1"), "10.0.0.1:5")).unwrap_err();
    assert_eq!(asked, refused("k1"));
}

#[tokio::test]
async fn asking_is_answered_as_publishing_would_be_and_changes_nothing() {
    let (hub, mut subscriptions) = hub();
    let wish = request("open", None, "127.0.0.1:1");
    let _publication = hub.publish(&wish).unwrap();
    let mut session = subscriptions.get_mut("open").unwrap().next().await.unwrap();
    for _ in 0..100 {
        hub.ask(&wish).unwrap();
    }
    let still = tokio::time::timeout(Duration::from_millis(50), session.next()).await;
    assert!(still.is_err(), "who is there stays");
    let publications: Vec<_> = (0..6).map(|_| hub.publish(&wish).unwrap()).collect();
    assert!(matches!(hub.ask(&wish), Err(Refusal::TooOften { .. })));
    drop(publications);
    hub.ask(&wish).unwrap();
    assert!(matches!(hub.ask(&request("a b", None, "127.0.0.1:1")), Err(Refusal::BadName(_))));
    hub.close();
    assert_eq!(hub.ask(&wish), Err(Refusal::ShuttingDown));
}

#[tokio::test]
async fn a_dropped_publication_ends_the_session() {
    let (hub, mut subscriptions) = hub();
    let mut door = subscriptions.remove("open").unwrap();
    let publication = hub.publish(&request("open", None, "127.0.0.1:1")).unwrap();
    let mut session = door.next().await.unwrap();
    publication.push(unit()).await.unwrap();
    drop(publication);
    assert!(session.next().await.is_some());
    assert!(session.next().await.is_none());
}

#[tokio::test]
async fn a_rejected_source_hears_the_reason() {
    let (hub, mut subscriptions) = hub();
    let mut door = subscriptions.remove("open").unwrap();
    let publication = hub.publish(&request("open", None, "127.0.0.1:1")).unwrap();
    let session = door.next().await.unwrap();
    session.close(Closed::Rejected("no".into()));
    drop(session);
    assert_eq!(publication.push(unit()).await, Err(Closed::Rejected("no".into())));
}

#[tokio::test]
async fn a_source_far_above_its_channels_bit_rate_is_told_to_go() {
    let (hub, mut subscriptions) = hub();
    let mut door = subscriptions.remove("news").unwrap();
    let publication = hub.publish(&request("news", Some("k1"), "10.0.0.1:5")).unwrap();
    let mut session = door.next().await.unwrap();
    let megabit = || match unit() {
        // The raw bytes count twice: the values stand beside them.
        Unit::Data(data) => Unit::Data(DataMessage { raw: vec![0; 62_500].into(), ..data }),
        other => other,
    };
    for _ in 0..7 {
        publication.push(megabit()).await.unwrap();
        assert!(session.next().await.is_some());
    }
    let told = publication.push(megabit()).await.unwrap_err();
    assert_eq!(told, Closed::TooMuch { agreed: 1_000_000 });
    assert!(told.to_string().contains("1000 kb/s"), "{told}");
}

#[tokio::test]
async fn the_queue_is_bounded_in_bytes_and_a_unit_read_makes_room() {
    let (hub, mut subscriptions) = hub();
    let mut door = subscriptions.remove("open").unwrap();
    let publication = hub.publish(&request("open", None, "127.0.0.1:1")).unwrap();
    let mut session = door.next().await.unwrap();
    let large = |kib: u32| match unit() {
        // The raw bytes count twice: the values stand beside them.
        Unit::Data(data) => {
            let raw = Bytes::from(vec![0; kib as usize * 512]);
            Unit::Data(DataMessage { raw, ..data })
        }
        other => other,
    };
    publication.push(large(QUEUE_KIB * 2)).await.unwrap();
    let mut waiting = Box::pin(publication.push(unit()));
    assert!(std::future::poll_fn(|cx| Poll::Ready(waiting.as_mut().poll(cx).is_pending())).await);
    assert!(session.next().await.is_some());
    waiting.await.unwrap();
    assert!(session.next().await.is_some());
}

#[tokio::test]
async fn what_crashes_its_session_three_times_within_a_minute_is_not_let_in_for_one() {
    let (hub, _subscriptions) = hub();
    let wish = request("news", Some("k1"), "10.0.0.1:5");
    let begun = Instant::now();
    for _ in 0..3 {
        let publication = hub.publish(&wish).unwrap();
        let crash = move || {
            let _live = publication;
            std::panic::resume_unwind(Box::new("a bug"));
        };
        assert!(std::panic::catch_unwind(std::panic::AssertUnwindSafe(crash)).is_err());
    }
    let refusal = hub.publish(&wish).unwrap_err();
    assert!(matches!(refusal, Refusal::Quarantined { .. }), "{refusal}");
    assert!(hub.publish(&request("open", None, "127.0.0.1:1")).is_ok(), "the other channel");
    let later = begun + Duration::from_secs(130);
    assert!(hub.publish_at(&wish, later).is_ok());
}

#[tokio::test]
async fn ends_that_are_no_crashes_are_never_held_against_a_publisher() {
    let (hub, _subscriptions) = hub();
    for _ in 0..10 {
        drop(hub.publish(&request("news", Some("k1"), "10.0.0.1:5")).unwrap());
    }
}
