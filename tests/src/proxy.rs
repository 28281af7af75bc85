//! A TCP proxy that delays what goes through it, by an amount that a test can change.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use tokio::time::Instant;

use crate::{Context, Result};

/// Blocks that may wait for their time, per direction: seconds of any stream of the tests.
const QUEUE_BLOCKS: usize = 4096;
/// Largest block that is forwarded at once.
const BLOCK_BYTES: usize = 16 * 1024;

/// A running proxy. Dropping it closes every connection.
#[derive(Debug)]
pub struct DelayProxy {
    /// Where to connect to.
    pub listen: SocketAddr,
    delay_ms: Arc<AtomicU64>,
    _runtime: tokio::runtime::Runtime,
}

impl DelayProxy {
    /// Starts a proxy on a port from the system, to `target`, that delays nothing at first.
    ///
    /// # Errors
    /// If there is no port.
    pub fn start(target: SocketAddr) -> Result<Self> {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .context("runtime of the proxy")?;
        let listener =
            runtime.block_on(TcpListener::bind("127.0.0.1:0")).context("port of the proxy")?;
        let listen = listener.local_addr().context("port of the proxy")?;
        let delay_ms = Arc::new(AtomicU64::new(0));
        runtime.spawn(accept(listener, target, Arc::clone(&delay_ms)));
        Ok(Self { listen, delay_ms, _runtime: runtime })
    }

    /// Delays everything that is read from now on by this much.
    pub fn set_delay(&self, delay: Duration) {
        self.delay_ms.store(delay.as_millis() as u64, Ordering::Relaxed);
    }
}

async fn accept(listener: TcpListener, target: SocketAddr, delay: Arc<AtomicU64>) {
    while let Ok((near, _)) = listener.accept().await {
        let Ok(far) = TcpStream::connect(target).await else { continue };
        // Without Nagle's algorithm the delay is the set one and no more.
        let _ = (near.set_nodelay(true), far.set_nodelay(true));
        let (near_read, near_write) = near.into_split();
        let (far_read, far_write) = far.into_split();
        for (from, to) in [(near_read, far_write), (far_read, near_write)] {
            let (blocks, queue) = mpsc::channel(QUEUE_BLOCKS);
            tokio::spawn(read(from, blocks, Arc::clone(&delay)));
            tokio::spawn(write(to, queue));
        }
    }
}

async fn read(
    mut from: OwnedReadHalf,
    blocks: mpsc::Sender<(Instant, Bytes)>,
    delay: Arc<AtomicU64>,
) {
    loop {
        let mut block = BytesMut::with_capacity(BLOCK_BYTES);
        match from.read_buf(&mut block).await {
            Ok(1..) => {}
            _ => return,
        }
        let due = Instant::now() + Duration::from_millis(delay.load(Ordering::Relaxed));
        if blocks.send((due, block.freeze())).await.is_err() {
            return;
        }
    }
}

async fn write(mut to: OwnedWriteHalf, mut queue: mpsc::Receiver<(Instant, Bytes)>) {
    while let Some((due, block)) = queue.recv().await {
        tokio::time::sleep_until(due).await;
        if to.write_all(&block).await.is_err() {
            return;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};
    use std::time::Instant;

    use super::*;

    #[test]
    fn what_goes_through_is_delayed_by_what_was_set() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let proxy = DelayProxy::start(listener.local_addr().unwrap()).unwrap();
        let mut near = std::net::TcpStream::connect(proxy.listen).unwrap();
        let (mut far, _) = listener.accept().unwrap();
        for millis in [0, 200] {
            proxy.set_delay(Duration::from_millis(millis));
            let sent = Instant::now();
            near.write_all(&[1]).unwrap();
            far.read_exact(&mut [0]).unwrap();
            let took = sent.elapsed();
            assert!(took >= Duration::from_millis(millis), "{took:?}");
            assert!(took < Duration::from_millis(millis + 150), "{took:?}");
        }
    }
}
