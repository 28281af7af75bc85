use super::*;
use crate::source::DataMessage;
use bytes::Bytes;
use packager::time::{Timescale, Timestamp};
use std::future::Future;
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
    Request { channel, key, peer: peer.parse().unwrap(), protocol: Protocol::Rtmp }
}

fn hub() -> (Hub, HashMap<Name, Subscription>) {
    Hub::new([
        Access { channel: name("open"), key: None },
        Access { channel: name("news"), key: Some(Secret::new("k1")) },
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
