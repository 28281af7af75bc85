//! A program that is nothing but a worker: what `headwater worker` is, for this crate's tests. Given
//! the argument `confined` it tries what a worker must not be able to do, and tells what came of it.

use std::io::Error;
use std::net::{TcpListener, TcpStream, UdpSocket};
use std::os::unix::net::UnixStream;
use std::process::{Command, ExitCode};

/// EPERM.
const NOT_PERMITTED: i32 = 1;

fn main() -> ExitCode {
    if std::env::args().nth(1).as_deref() == Some("confined") {
        return tries();
    }
    ingest::av::worker::main()
}

/// Prints a line for every attempt that was not refused by the filter.
#[allow(clippy::print_stdout)]
fn tries() -> ExitCode {
    // Nowhere is where it goes if the filter fails.
    let nowhere = ("127.0.0.1", 9);
    if let Err(reason) = ingest::av::worker::confine() {
        println!("not confined: {reason}");
        return ExitCode::FAILURE;
    }
    let attempts: [(&str, Result<(), Error>); 8] = [
        ("read a file", std::fs::File::open("/etc/hostname").map(drop)),
        ("write a file", std::fs::write("/tmp/headwater-confined", "")),
        ("make a folder", std::fs::create_dir("/tmp/headwater-confined")),
        ("connect", TcpStream::connect(nowhere).map(drop)),
        ("listen", TcpListener::bind(("127.0.0.1", 0)).map(drop)),
        ("open a datagram socket", UdpSocket::bind(("127.0.0.1", 0)).map(drop)),
        ("open a socket pair", UnixStream::pair().map(drop)),
        ("run a program", Command::new("/bin/true").status().map(drop)),
    ];
    let mut code = ExitCode::SUCCESS;
    for (what, result) in attempts {
        match result {
            Err(error) if error.raw_os_error() == Some(NOT_PERMITTED) => {}
            other => {
                println!("{what}: {other:?}");
                code = ExitCode::FAILURE;
            }
        }
    }
    if std::thread::spawn(|| 1 + 1).join().ok() != Some(2) {
        println!("no threads");
        code = ExitCode::FAILURE;
    }
    code
}
