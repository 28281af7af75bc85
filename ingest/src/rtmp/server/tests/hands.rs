//! A channel changing hands: takeovers, lines that are cut without a word, and crashes.

use std::io;
use std::pin::Pin;
use std::process::Output;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::task::{Context, Poll};

use tokio::io::ReadBuf;

use super::real::ffmpeg;
use super::*;
use crate::hub::Session;
use crate::rtmp::client::Publisher;

/// A session recorded from ffmpeg 5.1, publishing to `news` with the right key.
const RECORDED: &[u8] = include_bytes!("../../session/tests/ffmpeg.rtmp");

/// Time for what takes a moment on a machine with much else to do.
const PATIENCE: Duration = Duration::from_secs(30);

/// Reads a session until it ends.
async fn drain(mut session: Session) {
    while session.next().await.is_some() {}
}

/// A session whose first unit has come.
async fn live(server: &mut Server, channel: &str) -> Session {
    let mut session = timeout(PATIENCE, server.door(channel).next()).await.unwrap().unwrap();
    assert!(timeout(PATIENCE, session.next()).await.unwrap().is_some());
    session
}

#[tokio::test]
async fn the_newest_publisher_takes_over_and_the_old_one_hears_why() {
    let mut server = Server::start().await;
    let mut old = Publisher::connect(server.address, "live", "news?key=canary").await.unwrap();
    old.send_audio_config(&[0x11, 0x90], 0).await.unwrap();
    let mut first = server.door("news").next().await.unwrap();
    assert!(first.next().await.is_some());
    let mut new = Publisher::connect(server.address, "live/news", "canary").await.unwrap();
    new.send_audio_config(&[0x11, 0x90], 0).await.unwrap();
    let mut second = server.door("news").next().await.unwrap();
    assert!(second.next().await.is_some());
    assert!(first.next().await.is_none());
    let error = loop {
        if let Err(error) = old.send_audio(0, b"x").await {
            break error;
        }
        tokio::task::yield_now().await;
    };
    assert!(error.to_string().contains("a newer publisher took over"), "{error}");
    assert_eq!(server.stats.snapshot().ended.get("taken over"), Some(&1));
    server.stop().await;
}

#[tokio::test]
async fn ffmpeg_that_is_taken_over_by_ffmpeg_is_told_and_ends() {
    let mut server = Server::start().await;
    let url = format!("rtmp://{}/live/news?key=canary", server.address);
    let old = ffmpeg(&[], "600", &url);
    let first = tokio::spawn(drain(live(&mut server, "news").await));
    let mut new = ffmpeg(&[], "600", &url);
    let mut second = live(&mut server, "news").await;
    timeout(PATIENCE, first).await.unwrap().unwrap();
    let Output { status, stderr, .. } =
        timeout(PATIENCE, old.wait_with_output()).await.unwrap().unwrap();
    assert!(!status.success());
    let text = String::from_utf8_lossy(&stderr);
    assert!(text.contains("a newer publisher took over the channel"), "{text}");
    assert!(second.next().await.is_some());
    assert!(new.try_wait().unwrap().is_none(), "the new one goes on");
    assert_eq!(server.stats.snapshot().ended.get("taken over"), Some(&1));
    drop((second, new));
    server.stop().await;
}

#[tokio::test]
async fn a_seventh_takeover_is_refused_with_a_reason_and_the_sixth_publisher_goes_on() {
    let mut server = Server::start().await;
    let mut sessions = Vec::new();
    let mut publishers = Vec::new();
    for _ in 0..7 {
        publishers.push(Publisher::connect(server.address, "live", "open").await.unwrap());
        sessions.push(server.door("open").next().await.unwrap());
    }
    let error = Publisher::connect(server.address, "live", "open").await.unwrap_err();
    let text = error.to_string();
    assert!(text.starts_with("NetStream.Publish.Rejected: another publisher is live"), "{text}");
    assert!(text.contains("try again in "), "{text}");
    let mut newest = publishers.pop().unwrap();
    newest.send_audio_config(&[0x11, 0x90], 0).await.unwrap();
    assert!(matches!(sessions[6].next().await, Some(Unit::AudioConfig(_))));
    let snapshot = server.stats.snapshot();
    assert_eq!(snapshot.refused.get("too often"), Some(&1));
    assert_eq!(snapshot.publishing, 1);
    server.stop().await;
}

#[tokio::test]
async fn twenty_quick_reconnects_are_all_let_in_and_leave_nothing_behind() {
    let mut server = Server::start().await;
    for n in 0..20 {
        let mut publisher = Publisher::connect(server.address, "live", "open").await.unwrap();
        publisher.send_audio_config(&[0x11, 0x90], n).await.unwrap();
        let session = live(&mut server, "open").await;
        drop(publisher);
        timeout(PATIENCE, drain(session)).await.unwrap();
    }
    let snapshot = server.stats.snapshot();
    assert_eq!((snapshot.publications, snapshot.publishing), (20, 0));
    server.stop().await;
}

/// A line to the server that can be cut without either end being told.
struct Line {
    address: SocketAddr,
    cut: Arc<AtomicBool>,
    task: tokio::task::JoinHandle<()>,
}

impl Line {
    async fn to(server: SocketAddr) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let cut = Arc::new(AtomicBool::new(false));
        let flag = Arc::clone(&cut);
        let task = tokio::spawn(async move {
            let (near, _) = listener.accept().await.unwrap();
            let far = TcpStream::connect(server).await.unwrap();
            let ((from_near, to_near), (from_far, to_far)) = (near.into_split(), far.into_split());
            tokio::join!(
                carry(from_near, to_far, Arc::clone(&flag)),
                carry(from_far, to_near, Arc::clone(&flag))
            );
        });
        Self { address, cut, task }
    }

    fn cut(&self) {
        self.cut.store(true, Relaxed);
    }
}

impl Drop for Line {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// Carries bytes until the line is cut; then holds both ends open for ever.
async fn carry(
    mut from: impl AsyncRead + Unpin,
    mut to: impl AsyncWrite + Unpin,
    cut: Arc<AtomicBool>,
) {
    let mut block = vec![0; 16 * 1024];
    while !cut.load(Relaxed) {
        match from.read(&mut block).await {
            Ok(count) if count > 0 && !cut.load(Relaxed) => {
                to.write_all(&block[..count]).await.unwrap();
            }
            _ => break,
        }
    }
    std::future::pending::<()>().await;
}

#[tokio::test]
async fn a_line_that_is_cut_without_a_word_is_found_within_five_seconds() {
    let mut server = Server::start().await;
    let line = Line::to(server.address).await;
    let _ffmpeg = ffmpeg(&[], "600", &format!("rtmp://{}/live/open", line.address));
    let session = live(&mut server, "open").await;
    line.cut();
    let begin = Instant::now();
    timeout(PATIENCE, drain(session)).await.unwrap();
    let after = begin.elapsed();
    let expected = DEADLINE_SILENCE.as_secs_f64();
    assert!((after.as_secs_f64() - expected).abs() < 2.0, "{after:?}");
    assert_eq!(server.stats.snapshot().publishing, 0);
    server.stop().await;
}

#[tokio::test]
async fn a_publisher_whose_line_was_cut_takes_his_channel_back_at_once() {
    let mut server = Server::start().await;
    let line = Line::to(server.address).await;
    let _ffmpeg = ffmpeg(&[], "600", &format!("rtmp://{}/live/open", line.address));
    let dead = tokio::spawn(drain(live(&mut server, "open").await));
    line.cut();
    let begin = Instant::now();
    let mut again = Publisher::connect(server.address, "live", "open").await.unwrap();
    again.send_audio_config(&[0x11, 0x90], 0).await.unwrap();
    let _session = live(&mut server, "open").await;
    timeout(PATIENCE, dead).await.unwrap().unwrap();
    assert!(begin.elapsed() < DEADLINE_SILENCE, "{:?}", begin.elapsed());
    assert_eq!(server.stats.snapshot().ended.get("taken over"), Some(&1));
    server.stop().await;
}

/// A connection whose bytes run into a bug of ours: it panics where a parser would.
struct Trap {
    rest: &'static [u8],
}

impl AsyncRead for Trap {
    fn poll_read(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
        into: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        assert!(!self.rest.is_empty(), "a bug");
        let count = self.rest.len().min(into.remaining());
        let (now, later) = self.rest.split_at(count);
        into.put_slice(now);
        self.rest = later;
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Trap {
    fn poll_write(self: Pin<&mut Self>, _: &mut Context<'_>, b: &[u8]) -> Poll<io::Result<usize>> {
        Poll::Ready(Ok(b.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

#[tokio::test]
async fn a_panic_in_one_publishers_session_ends_that_session_and_nothing_else() {
    let mut server = Server::start().await;
    let mut neighbour = Publisher::connect(server.address, "live", "open").await.unwrap();
    neighbour.send_audio_config(&[0x11, 0x90], 0).await.unwrap();
    let mut beside = live(&mut server, "open").await;

    let tasks = TaskTracker::new();
    let peer = "127.0.0.1:9".parse().unwrap();
    let connection =
        Connection::new(peer, server.hub.clone(), server.stats.clone(), Arc::default(), None);
    let trap = Trap { rest: &RECORDED[..RECORDED.len() - 500] };
    attend(&tasks, connection, trap, server.cancel.clone());
    let struck = live(&mut server, "news").await;
    // For the channel it is a source that is lost.
    timeout(PATIENCE, drain(struck)).await.unwrap();
    tasks.close();
    timeout(PATIENCE, tasks.wait()).await.unwrap();
    let snapshot = server.stats.snapshot();
    assert_eq!((snapshot.crashes, snapshot.publications, snapshot.publishing), (1, 2, 1));

    neighbour.send_audio(1, b"x").await.unwrap();
    assert!(matches!(beside.next().await, Some(Unit::Audio(_))));
    // The channel it happened to takes the next publisher.
    let mut next = Publisher::connect(server.address, "live/news", "canary").await.unwrap();
    next.send_audio_config(&[0x11, 0x90], 0).await.unwrap();
    live(&mut server, "news").await;
    server.stop().await;
}
