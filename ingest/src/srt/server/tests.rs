//! Callers against the real library on both sides, and what they are told.

use std::net::SocketAddr;

use packager::media::Name;

use super::*;
use crate::hub::{Access, Session, Subscription};
use crate::source::{Peer, Protocol};
use crate::srt::engine::{Call, CallError};
use crate::srt::reject::Reject;

const KEY: &str = "k-1";
const PASSPHRASE: &str = "correct horse";
/// Longest wait for what takes a moment.
const SOON: Duration = Duration::from_secs(10);

fn name(text: &str) -> Name {
    Name::parse(text).unwrap()
}

fn access(channel: &str, key: Option<&str>) -> Access {
    Access {
        channel: name(channel),
        key: key.map(Secret::new),
        max_bitrate: None,
        program: None,
        open_groups: false,
        has_source: false,
    }
}

/// Channels `news` with a key, `open` without, `secret` with a key and a passphrase.
fn channels() -> (Hub, HashMap<Name, Subscription>, HashMap<Name, Secret>) {
    let access = [access("news", Some(KEY)), access("open", None), access("secret", Some(KEY))];
    let (hub, subscriptions) = Hub::new(access);
    (hub, subscriptions, [(name("secret"), Secret::new(PASSPHRASE))].into())
}

/// A door on a port from the system, with somebody who can call it.
struct Fixture {
    engine: Engine,
    address: SocketAddr,
    stats: Arc<Stats>,
    cancel: CancellationToken,
    door: tokio::task::JoinHandle<()>,
    subscriptions: HashMap<Name, Subscription>,
    hub: Hub,
}

impl Fixture {
    fn new() -> Self {
        let (hub, subscriptions, passphrases) = channels();
        let udp = UdpSocket::bind("127.0.0.1:0").unwrap();
        let address = udp.local_addr().unwrap();
        let (stats, cancel) = (Arc::default(), CancellationToken::new());
        let options = Options { latency: Duration::from_millis(120), passphrases };
        let door = tokio::spawn(serve(
            Engine::start().unwrap(),
            udp,
            hub.clone(),
            options,
            Arc::clone(&stats),
            cancel.clone(),
        ));
        let engine = Engine::start().unwrap();
        Self { engine, address, stats, cancel, door, subscriptions, hub }
    }

    async fn call(&self, stream_id: &str, passphrase: Option<&str>) -> Result<Connection, Reject> {
        let call = Call {
            address: self.address,
            stream_id: stream_id.to_owned(),
            passphrase: passphrase.map(Secret::new),
            latency: Duration::from_millis(120),
            within: Duration::from_secs(5),
        };
        self.engine.call(call).await.map_err(|error| match error {
            CallError::Rejected(reject) => reject,
            error => panic!("{error}"),
        })
    }

    async fn code(&self, stream_id: &str, passphrase: Option<&str>) -> i32 {
        self.call(stream_id, passphrase).await.expect_err(stream_id).code()
    }

    async fn arrival(&mut self, channel: &str) -> Session {
        let subscription = self.subscriptions.get_mut(channel).unwrap();
        timeout(SOON, subscription.next()).await.expect("a publisher").unwrap()
    }

    async fn stop(self) {
        self.cancel.cancel();
        timeout(SOON, self.door).await.expect("the door closes").unwrap();
        timeout(SOON, self.engine.stop()).await.expect("the caller's engine ends");
    }
}

#[tokio::test]
async fn every_refusal_reaches_the_caller_as_a_code_and_the_right_key_is_let_in() {
    let mut door = Fixture::new();
    for (stream_id, passphrase, code) in [
        ("publish:news:wrong", None, 1401),
        ("publish:news", None, 1401),
        ("publish:nobody:k-1", None, 1401),
        ("publish:../news:k-1", None, 1400),
        ("", None, 1400),
        ("#!::m=publish", None, 1400),
        ("read:news:k-1", None, 1405),
        ("#!::m=request,r=news,s=k-1", None, 1405),
        ("#!::t=auth,m=publish,r=news,s=k-1", None, 1415),
        // The library's own: SRT_REJ_BADSECRET and SRT_REJ_UNSECURE.
        ("publish:secret:k-1", Some("battery staple"), 10),
        ("publish:secret:k-1", None, 11),
        ("publish:news:k-1", Some(PASSPHRASE), 11),
    ] {
        assert_eq!(door.code(stream_id, passphrase).await, code, "{stream_id} {passphrase:?}");
    }
    let refused = door.stats.snapshot().refused;
    assert_eq!((refused["denied"], refused["bad name"]), (3, 6), "{refused:?}");

    for (stream_id, passphrase, channel) in [
        ("publish:news:k-1", None, "news"),
        ("#!::m=publish,r=live/open", None, "open"),
        ("publish:secret:somebody:k-1", Some(PASSPHRASE), "secret"),
    ] {
        let connection = door.call(stream_id, passphrase).await.expect(stream_id);
        let session = door.arrival(channel).await;
        assert_eq!(session.protocol, Protocol::Srt);
        assert!(matches!(session.peer, Peer::At(peer) if peer.ip().is_loopback()));
        drop(connection);
    }
    door.stop().await;
}

#[tokio::test]
async fn callers_whose_passphrase_does_not_match_are_counted_for_their_channel() {
    let door = Fixture::new();
    for (stream_id, passphrase, code) in [
        ("publish:secret:k-1", Some("battery staple"), 10),
        ("publish:secret:k-1", None, 11),
        ("publish:news:k-1", Some(PASSPHRASE), 11),
        ("publish:news:wrong", None, 1401),
    ] {
        assert_eq!(door.code(stream_id, passphrase).await, code, "{stream_id} {passphrase:?}");
    }
    let _let_in = door.call("publish:secret:k-1", Some(PASSPHRASE)).await.unwrap();
    let counted = |channel: &str| door.subscriptions[channel].doorway().turned_away;
    timeout(SOON, async {
        while counted("secret").is_empty() || counted("news").len() < 2 {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    })
    .await
    .expect("it is found out");
    assert_eq!(counted("secret"), [("passphrase", 2)].into());
    assert_eq!(counted("news"), [("denied", 1), ("passphrase", 1)].into());
    assert_eq!(door.stats.snapshot().refused["passphrase"], 3);
    door.stop().await;
}

#[tokio::test]
async fn a_call_that_is_turned_away_at_once_is_told_so_every_time() {
    let door = Fixture::new();
    for n in 0..300 {
        // As fast as they come: after a while the gate turns them away.
        let told = timeout(SOON, door.call("publish:nobody:k-1", None)).await;
        let reject = told.unwrap_or_else(|_| panic!("call {n} is never told"));
        assert!(matches!(reject.unwrap_err().code(), 1401 | 1402));
    }
    door.stop().await;
}

/// Waits for a connection to end, whatever it brings until then.
async fn ends(connection: &mut Connection) {
    timeout(SOON, async { while connection.next().await.is_some() {} }).await.expect("the end");
}

#[tokio::test]
async fn the_newest_caller_with_the_key_takes_over_and_one_without_the_passphrase_does_not() {
    let mut door = Fixture::new();
    let mut first = door.call("publish:secret:k-1", Some(PASSPHRASE)).await.unwrap();
    let mut session = door.arrival("secret").await;
    assert_eq!(door.code("publish:secret:k-1", Some("battery staple")).await, 10);
    assert!(
        timeout(Duration::from_millis(300), session.next()).await.is_err(),
        "who is there stays there"
    );
    let _second = door.call("publish:secret:k-1", Some(PASSPHRASE)).await.unwrap();
    ends(&mut first).await;
    assert!(session.next().await.is_none());
    let _session = door.arrival("secret").await;
    let ended = door.stats.snapshot().ended;
    assert_eq!(ended["taken over"], 1, "{ended:?}");
    door.stop().await;
}

/// A way to a server that takes so long, and on which everything comes twice.
async fn far_away(server: SocketAddr, one_way: Duration) -> SocketAddr {
    let bind = || tokio::net::UdpSocket::bind("127.0.0.1:0");
    let (near, far) = (Arc::new(bind().await.unwrap()), Arc::new(bind().await.unwrap()));
    far.connect(server).await.unwrap();
    let address = near.local_addr().unwrap();
    tokio::spawn(async move {
        let (mut up, mut down) = ([0; 2_048], [0; 2_048]);
        let mut caller = None;
        loop {
            let (bytes, to) = tokio::select! {
                Ok((count, from)) = near.recv_from(&mut up) => {
                    caller = Some(from);
                    (up[..count].to_vec(), None)
                }
                Ok(count) = far.recv(&mut down) => (down[..count].to_vec(), caller),
            };
            let (near, far) = (Arc::clone(&near), Arc::clone(&far));
            tokio::spawn(async move {
                tokio::time::sleep(one_way).await;
                for _ in 0..2 {
                    // Either end may have gone.
                    let _ = match to {
                        Some(caller) => near.send_to(&bytes, caller).await,
                        None => far.send(&bytes).await,
                    };
                }
            });
        }
    });
    address
}

#[tokio::test]
async fn a_caller_far_away_whose_packets_come_twice_is_one_publisher() {
    let mut door = Fixture::new();
    // Longer than the 250 ms after which a caller sends its handshake again.
    door.address = far_away(door.address, Duration::from_millis(200)).await;
    let _connection = door.call("publish:news:k-1", None).await.unwrap();
    let mut session = door.arrival("news").await;
    let silent = timeout(Duration::from_secs(1), session.next()).await;
    assert!(silent.is_err(), "nobody takes over from it, and it does not end: {silent:?}");
    let told = door.stats.snapshot();
    assert_eq!((told.connections, told.publishing), (1, 1), "{told:?}");
    assert!(told.refused.is_empty() && told.ended.is_empty(), "{told:?}");
    door.stop().await;
}

#[tokio::test]
async fn a_channel_that_has_changed_hands_too_often_tells_the_caller_so_in_the_handshake() {
    let mut door = Fixture::new();
    let (mut callers, mut sessions) = (Vec::new(), Vec::new());
    for n in 0..8 {
        match door.call("publish:news:k-1", None).await {
            Ok(connection) => {
                callers.push(connection);
                sessions.push(door.arrival("news").await);
            }
            Err(reject) => {
                assert_eq!((reject.code(), n), (1409, 7), "the first finds nobody, six take over");
                door.stop().await;
                return;
            }
        }
    }
    panic!("nobody was refused");
}

#[tokio::test]
async fn a_server_that_goes_down_says_so_and_lets_go_of_everybody() {
    let mut door = Fixture::new();
    let mut connection = door.call("publish:open", None).await.unwrap();
    let _session = door.arrival("open").await;
    door.hub.close();
    assert_eq!(door.code("publish:news:k-1", None).await, 1503);
    door.cancel.cancel();
    ends(&mut connection).await;
    door.stop().await;
}

#[tokio::test]
async fn nobody_at_the_other_end_is_told_in_time() {
    let door = Fixture::new();
    let nobody = UdpSocket::bind("127.0.0.1:0").unwrap();
    let call = Call {
        address: nobody.local_addr().unwrap(),
        stream_id: String::new(),
        passphrase: None,
        latency: Duration::from_millis(120),
        within: Duration::from_millis(300),
    };
    let answer = timeout(SOON, door.engine.call(call)).await.unwrap();
    let Err(CallError::Rejected(reject)) = answer else { panic!("{answer:?}") };
    assert_eq!(reject.code(), 16);
    door.stop().await;
}

#[test]
fn callers_of_one_address_that_come_too_fast_are_turned_away_unasked() {
    let (hub, _subscriptions, passphrases) = channels();
    let stats = Arc::<Stats>::default();
    let now = Instant::now();
    let port = UdpSocket::bind("127.0.0.1:0").unwrap();
    let sieve = Sieve::new(port.into(), now);
    let doorman = Doorman::new(hub, passphrases, sieve, Arc::clone(&stats));
    let from = |address: &str| {
        let peer = SocketAddr::new(address.parse().unwrap(), 5_000);
        doorman.decide(Caller { peer, stream_id: Some("publish:news:k-1") }, now)
    };
    let decided: Vec<_> = (0..40).map(|_| from("192.0.2.7").is_ok()).collect();
    assert!(decided[0] && !decided[39]);
    assert_eq!(from("192.0.2.7").unwrap_err(), Reject::OVERLOAD);
    assert!(from("192.0.2.8").is_ok(), "another one");
    assert_eq!(stats.snapshot().refused["connecting too fast"], 11);
    let secret = Caller {
        peer: SocketAddr::new("192.0.2.9".parse().unwrap(), 1),
        stream_id: Some("publish:secret:k-1"),
    };
    let passphrase = doorman.decide(secret, now).unwrap();
    assert_eq!(passphrase.as_ref().map(Secret::expose), Some(PASSPHRASE));
    let no_text = Caller { stream_id: None, ..secret };
    assert_eq!(doorman.decide(no_text, now).unwrap_err(), Reject::BAD_REQUEST);
    let open = Caller { stream_id: Some("publish:open"), ..secret };
    assert_eq!(doorman.decide(open, now).unwrap_err(), Reject::FORBIDDEN);
}
