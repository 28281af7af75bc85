//! What the process is asked for by signals: to end, in order or at once, or to read its certificates again.

use std::task::Poll;
use std::time::Duration;

use tokio::sync::Notify;
use tracing::{error, info, warn};

use super::Error;
use crate::signals::{self, Terminal, Wish};

/// When a process that was asked to end does so whatever hangs, a disk say: below the 30 s that
/// supervisors wait before they kill.
const GONE_WITHIN: Duration = Duration::from_secs(25);

/// The signals that the process heeds.
pub(super) struct Asked {
    listeners: Vec<(signals::Signal, tokio::signal::unix::Signal)>,
    terminal: Terminal,
}

impl Asked {
    /// Listens from now on.
    pub(super) fn listen() -> Result<Self, Error> {
        let listen = |signal: signals::Signal| {
            Ok((signal, tokio::signal::unix::signal(signal.as_raw().into())?))
        };
        let failed = |source| Error::System { what: "can't listen for signals", source };
        let listeners = signals::heeded().map(listen).collect::<Result<_, _>>().map_err(failed)?;
        Ok(Self { listeners, terminal: Terminal::of_this_process() })
    }

    /// Resolves when it is asked to end. From then on the process has [`GONE_WITHIN`] to live. Until
    /// then `reread` is told when certificates are to be read again.
    pub(super) async fn once(&mut self, reread: &Notify) {
        let signal = loop {
            let signal = self.next().await;
            match self.terminal.wish(signal) {
                Wish::End => break signal,
                Wish::Reread => reread.notify_one(),
            }
        };
        info!(signal = signals::name(signal), "going down");
        std::thread::spawn(|| {
            std::thread::sleep(GONE_WITHIN);
            error!(seconds = GONE_WITHIN.as_secs(), "something hangs: ending without it");
            std::process::exit(1);
        });
    }

    /// Waits for an orderly end, or ends the process at once when it is asked again: what is listed
    /// is in its files, and workers die with this process.
    pub(super) async fn unless_again(&mut self, end: impl Future<Output = ()>) {
        let again = async {
            loop {
                let signal = self.next().await;
                if self.terminal.wish(signal) == Wish::End {
                    break signal;
                }
            }
        };
        let signal = tokio::select! {
            () = end => return,
            signal = again => signal,
        };
        warn!(signal = signals::name(signal), "asked again: ending at once");
        std::process::exit(signals::exit_code(signal.as_raw()).into());
    }

    async fn next(&mut self) -> signals::Signal {
        std::future::poll_fn(|context| {
            // A listener that has ended hears nothing more; it does not while this runs.
            let came = self.listeners.iter_mut().find_map(|(signal, listener)| {
                match listener.poll_recv(context) {
                    Poll::Ready(Some(())) => Some(*signal),
                    _ => None,
                }
            });
            came.map_or(Poll::Pending, Poll::Ready)
        })
        .await
    }
}
