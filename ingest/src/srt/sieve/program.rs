//! The filter as the kernel takes it: a classic BPF program, which needs no privilege.
//!
//! Offsets count from the UDP header, behind which the header of SRT has the receiver's socket as its
//! fourth word (draft-sharabayko-srt-01 §3): zero where there is no connection yet, which is a
//! handshake. A packet too short for that is dropped, as the kernel does where a program reads beyond
//! its end.

use std::io;
use std::net::IpAddr;
use std::os::fd::{AsRawFd, OwnedFd};

use libc::{
    BPF_ABS, BPF_ALU, BPF_AND, BPF_B, BPF_H, BPF_JA, BPF_JEQ, BPF_JGE, BPF_JMP, BPF_K, BPF_LD,
    BPF_MISC, BPF_MUL, BPF_RET, BPF_RSH, BPF_TAX, BPF_W, BPF_X, BPF_XOR, SKF_AD_OFF, SKF_AD_RANDOM,
    SKF_NET_OFF, sock_filter, sock_fprog,
};

/// Where it stands what a packet is: behind eight bytes of UDP.
const KIND: u32 = 8;
/// What is not below is a control packet (§3.2).
const CONTROL: u32 = 0x8000;
/// Those that senders have for a receiver: handshakes, keep-alives, the end, answers to
/// acknowledgements, and news of keys.
///
/// The others speak to who sends, which the server never does, but for drop requests (§3.2.9): the
/// library walks through all the numbers that one names, one by one, on the thread that serves the
/// whole port, and 2^31 - 1 of them for ever. Nothing is lost without them, since a receiver gives up
/// by itself what is too late.
const FOR_RECEIVERS: [u32; 5] = [0x8000, 0x8001, 0x8005, 0x8006, 0xffff];
/// Where the receiver's socket stands, the fourth word.
const RECEIVER: u32 = 8 + 12;
/// Spreads addresses over groups: 2^32 by the golden ratio, an odd number.
const SPREAD: u32 = 0x9e37_79b1;
/// Bits of a group's number.
const GROUP_BITS: u32 = 6;
/// What a program returns for a packet that passes: all of it.
const ALL: u32 = u32::MAX;

const _: () = assert!(1 << GROUP_BITS == super::GROUPS);

/// The group of an address; of IPv6 that of its /64, which one subscriber holds.
pub(super) fn group_of(address: IpAddr) -> usize {
    let word = match address.to_canonical() {
        IpAddr::V4(address) => u32::from(address),
        IpAddr::V6(address) => {
            let network = (u128::from(address) >> 64) as u64;
            (network >> 32) as u32 ^ network as u32
        }
    };
    (word.wrapping_mul(SPREAD) >> (32 - GROUP_BITS)) as usize
}

/// A program that lets pass so many of 2^32 handshakes of the groups given, by number, all those of
/// others, and what a receiver needs of connections that are there.
pub(super) fn of(shares: &[(u32, u32)]) -> Vec<sock_filter> {
    let network = |offset: i32| (SKF_NET_OFF + offset) as u32;
    let load = |width, at| step(BPF_LD | width | BPF_ABS, at);
    let alu = |what, with| step(BPF_ALU | what | BPF_K, with);
    let kinds = FOR_RECEIVERS.len();
    let mut program = vec![load(BPF_H, KIND), jump(BPF_JGE, CONTROL, 0, kinds as u8 + 1)];
    for (nth, kind) in FOR_RECEIVERS.into_iter().enumerate() {
        program.push(jump(BPF_JEQ, kind, (kinds - nth) as u8, 0));
    }
    program.extend([
        step(BPF_RET | BPF_K, 0),
        load(BPF_W, RECEIVER),
        // To what is told apart, or over it: 10 instructions and three for every group.
        jump(BPF_JEQ, 0, 1, 0),
        step(BPF_RET | BPF_K, ALL),
        // The version of IP.
        load(BPF_B, network(0)),
        alu(BPF_AND, 0xf0),
        jump(BPF_JEQ, 0x60, 2, 0),
        // The source of IPv4.
        load(BPF_W, network(12)),
        step(BPF_JMP | BPF_JA, 4),
        // The first half of the source of IPv6.
        load(BPF_W, network(8)),
        step(BPF_MISC | BPF_TAX, 0),
        load(BPF_W, network(12)),
        step(BPF_ALU | BPF_XOR | BPF_X, 0),
        alu(BPF_MUL, SPREAD),
        alu(BPF_RSH, 32 - GROUP_BITS),
    ]);
    for (left, (group, share)) in (0..shares.len()).rev().zip(shares) {
        // Groups are at most 64, so that the end is less than 256 instructions away.
        let to_pass = (3 * left) as u8;
        program.push(jump(BPF_JEQ, *group, 0, 2));
        program.push(load(BPF_W, (SKF_AD_OFF + SKF_AD_RANDOM) as u32));
        program.push(jump(BPF_JGE, *share, to_pass + 1, to_pass));
    }
    program.push(step(BPF_RET | BPF_K, ALL));
    program.push(step(BPF_RET | BPF_K, 0));
    program
}

fn step(code: u32, k: u32) -> sock_filter {
    sock_filter { code: code as u16, jt: 0, jf: 0, k }
}

/// So many instructions are skipped where the accumulator is as said, and where not.
fn jump(comparison: u32, k: u32, jt: u8, jf: u8) -> sock_filter {
    sock_filter { code: (BPF_JMP | comparison | BPF_K) as u16, jt, jf, k }
}

/// Has the kernel ask a program about everything that arrives at a port, instead of the one before.
pub(super) fn attach(port: &OwnedFd, program: &[sock_filter]) -> io::Result<()> {
    let len = u16::try_from(program.len()).map_err(io::Error::other)?;
    let program = sock_fprog { len, filter: program.as_ptr().cast_mut() };
    // SAFETY: the program is there while the kernel copies it, as long as said, and is only read.
    #[allow(unsafe_code)]
    let result = unsafe {
        libc::setsockopt(
            port.as_raw_fd(),
            libc::SOL_SOCKET,
            libc::SO_ATTACH_FILTER,
            (&raw const program).cast(),
            size_of::<sock_fprog>() as libc::socklen_t,
        )
    };
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}
