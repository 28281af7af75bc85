//! An origin that lies: it passes on what a server says, but for what its lie changes.
//!
//! A small HTTP/1.1 server in this process, for proving that a reader of the real one notices.

use std::io::{BufRead as _, BufReader, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use crate::client::{Client, Response};
use crate::{Context, Result};

/// What a reader asks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Question {
    /// `GET` or `HEAD`.
    pub method: String,
    /// Path and query.
    pub path: String,
}

impl Question {
    /// The rendition whose media playlist is asked for.
    pub fn playlist(&self) -> Option<&str> {
        // /live/{channel}/{rendition}/index.m3u8
        let mut parts = self.path.split('/').skip(3);
        let rendition = parts.next()?;
        (parts.next() == Some("index.m3u8")).then_some(rendition)
    }

    /// The rendition and number of the segment that is asked for.
    pub fn segment(&self) -> Option<(&str, u64)> {
        let mut parts = self.path.rsplit('/');
        let k = parts.next()?.split('?').next()?.strip_suffix(".m4s")?.parse().ok()?;
        Some((parts.next()?, k))
    }
}

/// A lie: is told the question and how to get the honest answer, and answers.
pub type Lie = Box<dyn FnMut(&Question, &dyn Fn() -> Result<Response>) -> Result<Response> + Send>;

/// A running liar. Dropping it closes its port.
#[derive(Debug)]
pub struct Liar {
    /// Where it listens, `http://host:port`.
    pub origin: String,
    listen: SocketAddr,
    stop: Arc<AtomicBool>,
}

impl Liar {
    /// Starts to pass on what `upstream`, `http://host:port`, says.
    ///
    /// # Errors
    /// If there is no port.
    pub fn start(upstream: &str, lie: Lie) -> Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").context("port of the liar")?;
        let listen = listener.local_addr().context("port of the liar")?;
        let stop = Arc::new(AtomicBool::new(false));
        let (told, upstream, lie) =
            (Arc::clone(&stop), upstream.to_owned(), Arc::new(Mutex::new(lie)));
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                if told.load(Ordering::Relaxed) {
                    return;
                }
                let (upstream, lie) = (upstream.clone(), Arc::clone(&lie));
                // Ends when the reader closes its connection.
                std::thread::spawn(move || drop(converse(&stream, &upstream, &lie)));
            }
        });
        Ok(Self { origin: format!("http://{listen}"), listen, stop })
    }
}

impl Drop for Liar {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        // Its thread waits for somebody to come.
        drop(TcpStream::connect(self.listen));
    }
}

/// Answers questions until the reader has none.
fn converse(stream: &TcpStream, upstream: &str, lie: &Mutex<Lie>) -> Result {
    let client = Client::new();
    let mut lines = BufReader::new(stream).lines();
    let mut to = stream;
    loop {
        let Some(Ok(first)) = lines.next() else { return Ok(()) };
        let mut words = first.split(' ').map(str::to_owned);
        let (Some(method), Some(path)) = (words.next(), words.next()) else { return Ok(()) };
        while !lines.next().context("a request")?.context("a request")?.is_empty() {}
        let question = Question { method, path };
        let url = format!("{upstream}{}", question.path);
        let is_head = question.method == "HEAD";
        let honest = || if is_head { client.head(&url) } else { client.get(&url) };
        let answer = {
            let mut lie = lie.lock().unwrap_or_else(PoisonError::into_inner);
            lie(&question, &honest)?
        };
        let mut head = format!("HTTP/1.1 {} Answer\r\n", answer.status);
        for (name, value) in &answer.headers {
            if !["connection", "content-length", "transfer-encoding"].contains(&name.as_str()) {
                head.push_str(&format!("{name}: {value}\r\n"));
            }
        }
        head.push_str(&format!("content-length: {}\r\n\r\n", answer.body.len()));
        to.write_all(head.as_bytes()).context("an answer")?;
        if !is_head {
            to.write_all(&answer.body).context("an answer")?;
        }
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;

    #[test]
    fn a_liar_passes_on_the_truth_but_for_its_lie() {
        let truth = |_: &Question, _: &dyn Fn() -> Result<Response>| {
            let headers = vec![("x-true".to_owned(), "yes".to_owned())];
            Ok(Response { status: 201, headers, body: Bytes::from_static(b"truth") })
        };
        let truth = Liar::start("", Box::new(truth)).unwrap();
        let lie = |question: &Question, honest: &dyn Fn() -> Result<Response>| {
            let mut answer = honest()?;
            if question.segment() == Some(("96p", 7)) {
                answer.body = Bytes::from_static(b"lie");
            }
            Ok(answer)
        };
        let liar = Liar::start(&truth.origin, Box::new(lie)).unwrap();
        let client = Client::new();
        for (path, body) in [("/live/a/r/96p/7.m4s", "lie"), ("/live/a/r/96p/8.m4s", "truth")] {
            let answer = client.get(&format!("{}{path}", liar.origin)).unwrap();
            assert_eq!((answer.status, answer.header("x-true")), (201, Some("yes")));
            assert_eq!(answer.body, body);
        }
        let head = client.head(&format!("{}/live/a/r/96p/7.m4s", liar.origin)).unwrap();
        assert!(head.status == 201 && head.body.is_empty());
    }

    #[test]
    fn what_is_asked_for_is_told_from_the_path() {
        let ask = |path: &str| Question { method: "GET".to_owned(), path: path.to_owned() };
        assert_eq!(ask("/live/a/96p/index.m3u8").playlist(), Some("96p"));
        assert_eq!(ask("/live/a/index.m3u8").playlist(), None);
        assert_eq!(ask("/live/a/run/96p/12.m4s?x").segment(), Some(("96p", 12)));
        assert_eq!(ask("/live/a/run/96p/init.mp4").segment(), None);
    }
}
