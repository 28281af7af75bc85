//! Streams made packet by packet, so that each fault is where a test wants it.

#![allow(clippy::indexing_slicing, clippy::arithmetic_side_effects)]

use super::Pid;
use super::demux::PAT_PID;
use super::packet::{PACKET, SYNC};
use super::pes::tests::pes;
use super::psi::tests::{pat, pmt};
use super::sound::tests::frame;

pub(super) const PMT: Pid = 0x1000;
pub(super) const VIDEO: Pid = 0x100;
pub(super) const SOUND: Pid = 0x101;
pub(super) const CUES: Pid = 0x102;
pub(super) const WRAP: u64 = 1 << 33;
/// Ticks of a picture at 25 fps.
pub(super) const PICTURE: u64 = 3600;
pub(super) const SPS: &[u8] = &[
    0x67, 0x42, 0xc0, 0x0c, 0xd9, 0x01, 0x41, 0x96, 0x9e, 0x10, 0x00, 0x00, 0x03, 0x00, 0x10, 0x00,
    0x00, 0x03, 0x03, 0x20, 0xf1, 0x42, 0x99, 0x20,
];
pub(super) const PPS: &[u8] = &[0x68, 0xcb, 0x83, 0xcb, 0x20];
/// A splice_null of SCTE 35 with its checksum.
pub(super) const SPLICE_NULL: &[u8] = &[
    0xfc, 0x30, 0x11, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0xff, 0xff, 0xff, 0x00, 0x00, 0x00,
    0x4f, 0x25, 0x33, 0x96,
];

/// Writes packets.
#[derive(Default)]
pub(super) struct Mux {
    pub(super) bytes: Vec<u8>,
    counters: std::collections::HashMap<Pid, u8>,
    /// Where the next unit's first packet announces a break of the counter.
    announced: std::collections::HashSet<Pid>,
}

impl Mux {
    /// The next unit on this PID comes with another counter than expected, and says so.
    pub(super) fn announce(&mut self, pid: Pid) -> &mut Self {
        self.announced.insert(pid);
        self.counters.insert(pid, 11);
        self
    }

    /// Writes a unit in as many packets as it needs, the first with an adaptation field if given.
    pub(super) fn unit(&mut self, pid: Pid, unit: &[u8], field: &[u8]) -> &mut Self {
        let mut field = field.to_vec();
        if self.announced.remove(&pid) {
            field.resize(field.len().max(1), 0);
            field[0] |= 0x80;
        }
        let (mut rest, mut start) = (unit, true);
        while start || !rest.is_empty() {
            let counter = self.counters.entry(pid).or_default();
            let room = 184 - if field.is_empty() { 0 } else { field.len() + 1 };
            let some = rest.len().min(room);
            let stuffing = room - some;
            let [high, low] = pid.to_be_bytes();
            let mut packet = vec![SYNC, u8::from(start) << 6 | high, low];
            if field.is_empty() && stuffing == 0 {
                packet.push(0x10 | *counter);
            } else {
                packet.push(0x30 | *counter);
                let length = 183 - some;
                packet.push(length as u8);
                let mut whole = field.clone();
                if whole.is_empty() && length > 0 {
                    whole.push(0);
                }
                whole.resize(length, 0xff);
                packet.extend(whole);
            }
            packet.extend(&rest[..some]);
            assert_eq!(packet.len(), PACKET);
            self.bytes.extend(packet);
            *counter = (*counter + 1) & 15;
            (rest, start) = (&rest[some..], false);
            field.clear();
        }
        self
    }

    pub(super) fn section(&mut self, pid: Pid, section: &[u8]) -> &mut Self {
        self.unit(pid, &[&[0], section].concat(), &[])
    }

    pub(super) fn tables(&mut self) -> &mut Self {
        self.section(PAT_PID, &pat(&[(1, PMT)])).section(
            PMT,
            &pmt(1, 0, VIDEO, &[(0x1b, VIDEO, &[]), (0x0f, SOUND, &[]), (0x86, CUES, &[])]),
        )
    }

    pub(super) fn picture(&mut self, dts: u64, delay: u64, key: bool) -> &mut Self {
        let slice: &[u8] = if key { &[0x65, 0xb8, 1, 2] } else { &[0x41, 0x9a, 3] };
        let mut units = vec![&[9u8, 0xf0][..]];
        if key {
            units.extend([SPS, PPS]);
        }
        units.push(slice);
        let stream: Vec<u8> = units.iter().flat_map(|u| [&[0, 0, 0, 1], *u].concat()).collect();
        let at = |time: u64| time % WRAP;
        self.unit(VIDEO, &pes(at(dts + delay), Some(at(dts)), &stream, false), &clock(at(dts)))
    }

    pub(super) fn sound(&mut self, pts: u64, frames: u8) -> &mut Self {
        let payload: Vec<u8> = (0..frames).flat_map(|n| frame(&[n; 40])).collect();
        self.unit(SOUND, &pes(pts % WRAP, None, &payload, true), &[])
    }

    /// Pictures and sound of `count` pictures' time.
    pub(super) fn program(&mut self, from: u64, count: u64) -> &mut Self {
        for n in 0..count {
            self.picture(from + n * PICTURE, 2 * PICTURE, n % 5 == 0);
            self.sound(from + n * PICTURE, 2);
        }
        self
    }
}

/// An adaptation field with a clock reference.
pub(super) fn clock(pcr: u64) -> Vec<u8> {
    let [_, _, _, a, b, c, d, e] = (pcr << 7).to_be_bytes();
    vec![0x10, a, b, c, d, e | 0x7e, 0]
}
