//! What a worker says, read as it comes: many messages with one system call where many wait.
//!
//! Messages are slices of what was read, and keep it in memory for as long as any of them is needed.

use bytes::{Buf as _, Bytes, BytesMut};
use tokio::io::AsyncReadExt as _;
use tokio::net::unix::OwnedReadHalf;

use crate::av::protocol::{self, HEAD};

/// Bytes that are asked for at a time. Below 64 KiB: glibc joins all free memory anew whenever more than that is
/// given back at once.
const AT_ONCE: usize = 48 << 10;

/// A worker's end of the conversation.
#[derive(Debug)]
pub(super) struct Inbox {
    socket: OwnedReadHalf,
    read: BytesMut,
}

impl Inbox {
    pub(super) fn new(socket: OwnedReadHalf) -> Self {
        Self { socket, read: BytesMut::new() }
    }

    /// Kind and body of the next message; `None` when the worker says nothing any more.
    ///
    /// # Errors
    /// It is longer than any message can be.
    pub(super) async fn next(&mut self) -> Result<Option<(u8, Bytes)>, protocol::Error> {
        if !self.hold(HEAD).await {
            return Ok(None);
        }
        let Some(head) = self.read.first_chunk::<HEAD>() else { return Ok(None) };
        let (length, kind) = protocol::read_head(*head)?;
        if !self.hold(HEAD + length).await {
            return Ok(None);
        }
        self.read.advance(HEAD);
        Ok(Some((kind, self.read.split_to(length).freeze())))
    }

    /// Reads until so many bytes are there; false if they do not come.
    async fn hold(&mut self, bytes: usize) -> bool {
        while self.read.len() < bytes {
            let missing = bytes - self.read.len();
            if self.read.capacity() < bytes {
                self.read.reserve(missing.max(AT_ONCE));
            }
            if !matches!(self.socket.read_buf(&mut self.read).await, Ok(1..)) {
                return false;
            }
        }
        true
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;
    use std::os::unix::net::UnixStream;

    use super::*;
    use crate::av::protocol::FromWorker;

    /// Any sizes, in pieces of any size: what comes out is what went in.
    #[tokio::test]
    async fn messages_come_out_as_they_went_in_however_they_are_cut() {
        let texts: Vec<_> = [0, 1, 70_000, 3, 200_000, 65_536 - HEAD, 5, 900].repeat(3);
        let messages: Vec<_> = texts
            .iter()
            .map(|length| FromWorker::Failed { reason: "x".repeat(*length) }.to_wire())
            .collect();
        let bytes: Vec<u8> =
            messages.iter().flat_map(|wire| [&wire.head[..], &wire.payload[..]].concat()).collect();
        for piece in [3, 1_000, 65_536, 1 << 20] {
            let (ours, mut theirs) = UnixStream::pair().unwrap();
            ours.set_nonblocking(true).unwrap();
            let ours = tokio::net::UnixStream::from_std(ours).unwrap();
            let sent = bytes.clone();
            let writing = std::thread::spawn(move || {
                // Without its last byte at the end: a message that was broken off is none.
                for piece in sent[..sent.len() - 1].chunks(piece) {
                    theirs.write_all(piece).unwrap();
                }
            });
            let (reading, _writing) = ours.into_split();
            let mut inbox = Inbox::new(reading);
            for wire in &messages[..messages.len() - 1] {
                let (kind, body) = inbox.next().await.unwrap().unwrap();
                assert_eq!(kind, wire.head[HEAD - 1]);
                assert_eq!(body, [&wire.head[HEAD..], &wire.payload[..]].concat());
            }
            assert_eq!(inbox.next().await.unwrap(), None);
            writing.join().unwrap();
        }
    }

    #[tokio::test]
    async fn a_message_longer_than_any_ends_the_conversation() {
        let (ours, mut theirs) = UnixStream::pair().unwrap();
        ours.set_nonblocking(true).unwrap();
        theirs.write_all(&[0xff; HEAD]).unwrap();
        let (reading, _writing) = tokio::net::UnixStream::from_std(ours).unwrap().into_split();
        assert!(Inbox::new(reading).next().await.is_err());
    }
}
