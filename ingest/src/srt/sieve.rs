//! A filter in the kernel before a port of the library's: what would hold the library up never gets
//! to it.
//!
//! ```text
//! hook: asked(address) ─► too many of its group ─► half as many of the group's handshakes pass
//! task: ease()         ─► few of a group's came ─► twice as many do, in the end all
//! ```
//! The library serves its port with one thread, and makes a socket for every handshake whose cookie is
//! right before anybody is asked about it: ten thousand of those a second, which one stranger can send,
//! hold up all who publish. Addresses fall into [`GROUPS`]; of a group that asks too often a share of
//! handshakes passes, drawn by lot, and callers who mean well try again four times a second.
//!
//! Packets of connections that are there pass always, but for control packets that no sender has for a
//! receiver: with one kind of them a publisher could stop all others (`program`).
//!
//! Not here: who may publish (`server`), and the cookies, which the library asks for first.

use std::net::IpAddr;
use std::os::fd::OwnedFd;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use tracing::{info, warn};

mod program;

/// Groups that addresses fall into. A stranger is at the expense of the sixty-fourth part of all
/// others; every group that is limited costs three instructions.
const GROUPS: usize = 64;
/// How long is counted.
pub(super) const WINDOW: Duration = Duration::from_millis(100);
/// Handshakes of a group within [`WINDOW`] that are too many: all encoders of a site come back within
/// moments of a cut, and need no more.
const MOST: u32 = 50;
/// The same of all groups together: 2,000 a second.
const MOST_OF_ALL: u32 = 200;
/// A group of which fewer have come within a window is let ask more.
const FEW: u32 = MOST / 4;
/// Halvings at the most: one of 4,096 passes, a hundred a second of what a line of 1 Gb/s may bring.
const MAX_HALVINGS: u32 = 12;

/// The filter of a port.
#[derive(Debug)]
pub(super) struct Sieve {
    port: OwnedFd,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    groups: [Group; GROUPS],
    /// Of all groups in this window.
    asked: u32,
    since: Instant,
}

/// What is known of the addresses of a group.
#[derive(Clone, Copy, Debug, Default)]
struct Group {
    /// Handshakes in this window that have come through.
    asked: u32,
    /// Handshakes since it was last eased.
    lately: u32,
    /// One of two to this power passes.
    halvings: u32,
}

impl Sieve {
    /// The filter of a port that lets all handshakes pass yet. The port outlives the process: one that
    /// died in a flood has left its filter, which this one takes the place of.
    pub(super) fn new(port: OwnedFd, now: Instant) -> Arc<Self> {
        guard(&port);
        let state = State { groups: [Group::default(); GROUPS], asked: 0, since: now };
        Arc::new(Self { port, state: Mutex::new(state) })
    }

    /// Takes into account that somebody has asked to be let in, whatever came of it.
    pub(super) fn asked(&self, address: IpAddr, now: Instant) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        if state.count(address, now) {
            self.apply(&state);
        }
    }

    /// Lets more pass of those groups of which little has come since the last time; to be called once a
    /// [`WINDOW`] while [`Self::is_tight`].
    pub(super) fn ease(&self) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        if state.ease() {
            self.apply(&state);
            if !state.is_tight() {
                info!("srt handshakes are let in as they come again");
            }
        }
    }

    /// Whether any handshake is held back.
    pub(super) fn is_tight(&self) -> bool {
        self.state.lock().unwrap_or_else(PoisonError::into_inner).is_tight()
    }

    fn apply(&self, state: &State) {
        attach(&self.port, &state.shares());
    }
}

/// Keeps from a port what is for no receiver, and lets all handshakes pass.
pub(super) fn guard(port: &OwnedFd) {
    attach(port, &[]);
}

fn attach(port: &OwnedFd, shares: &[(u32, u32)]) {
    if let Err(error) = program::attach(port, &program::of(shares)) {
        warn!(%error, "what comes to the srt port can't be filtered");
    }
}

impl State {
    /// Counts one of an address; whether less is to pass from now on.
    fn count(&mut self, address: IpAddr, now: Instant) -> bool {
        if now.duration_since(self.since) >= WINDOW {
            self.since = now;
            self.asked = 0;
            for group in &mut self.groups {
                group.asked = 0;
            }
        }
        let was_tight = self.is_tight();
        self.asked += 1;
        let mut changed = false;
        if let Some(group) = self.groups.get_mut(program::group_of(address)) {
            group.asked += 1;
            group.lately += 1;
            if group.asked >= MOST {
                changed = group.halve();
            }
        }
        if self.asked >= MOST_OF_ALL {
            self.asked = 0;
            for group in self.groups.iter_mut().filter(|group| group.asked > 0) {
                changed |= group.halve();
            }
        }
        if changed && !was_tight {
            warn!(%address, "a flood of srt handshakes: some are dropped, and whoever means well tries again");
        }
        changed
    }

    /// Lets more pass where little has come; whether that has changed anything.
    fn ease(&mut self) -> bool {
        let mut changed = false;
        for group in &mut self.groups {
            if group.halvings > 0 && group.lately < FEW {
                group.halvings -= 1;
                changed = true;
            }
            group.lately = 0;
        }
        changed
    }

    fn is_tight(&self) -> bool {
        self.groups.iter().any(|group| group.halvings > 0)
    }

    /// The groups that are limited, and the draws of 2^32 that pass.
    fn shares(&self) -> Vec<(u32, u32)> {
        let limited = (0..).zip(&self.groups).filter(|(_, group)| group.halvings > 0);
        limited.map(|(number, group)| (number, u32::MAX >> group.halvings)).collect()
    }
}

impl Group {
    fn halve(&mut self) -> bool {
        self.asked = 0;
        let changed = self.halvings < MAX_HALVINGS;
        self.halvings += u32::from(changed);
        changed
    }
}

#[cfg(test)]
mod tests;
