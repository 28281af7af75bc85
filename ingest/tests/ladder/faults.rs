//! Workers that die, hang or are abandoned, and what the supervisor makes of it.

use std::os::unix::fs::symlink;

use packager::cmaf;
use rustix::process::{Pid, Signal, kill_process};

use super::*;

/// A worker under a path of its own, which is also the name of its channel and tells its process from
/// others.
struct Own {
    folder: tempfile::TempDir,
}

impl Own {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        symlink(fixture::worker(), folder.path().join("worker")).unwrap();
        Self { folder }
    }

    fn program(&self) -> PathBuf {
        self.folder.path().join("worker")
    }

    /// The worker's process; `None` when it is gone and reaped.
    fn pid(&self) -> Option<Pid> {
        let processes = std::fs::read_dir("/proc").unwrap().flatten();
        let mut pids = processes.filter_map(|entry| entry.file_name().to_str()?.parse().ok());
        let program = format!("headwater: {}", self.program().display()).into_bytes();
        pids.find(|pid: &i32| {
            let line = std::fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
            let name = line.split(|byte| *byte == 0).next().unwrap_or_default();
            name == program
        })
        .and_then(Pid::from_raw)
    }

    fn start(&self) -> Ladder {
        start_program(self.program(), &["180p", "96p"], (320, 180), FrameRate::new(30, 1))
    }
}

/// Plays a second, and waits until samples come; returns the renditions.
async fn get_going(ladder: &mut Ladder) -> Vec<Rendition> {
    let source = fixture::source(Recipe { seconds: 1, ..SMALL });
    play(&mut ladder.input, &source, 0).await;
    let mut started = Vec::new();
    loop {
        match timeout(SILENCE, ladder.outputs.recv()).await.unwrap().unwrap() {
            Output::Started { renditions, .. } => started = renditions,
            Output::Sample { .. } => return started,
            Output::Stats(_)
            | Output::Film(_)
            | Output::Rung { .. }
            | Output::Located { .. }
            | Output::Opus { .. } => {}
            Output::Exited { reason } => panic!("{reason}"),
        }
    }
}

/// Reads on until the end, and returns what was said of it.
async fn end_of(outputs: &mut Receiver<Output>) -> String {
    loop {
        let output = timeout(SILENCE, outputs.recv()).await.unwrap();
        if let Output::Exited { reason } = output.expect("the end is told") {
            assert!(outputs.recv().await.is_none(), "nothing comes after it");
            return reason;
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_worker_that_is_killed_is_told_and_reaped_and_the_next_one_has_the_same_init_segments() {
    let own = Own::new();
    let mut inits: Vec<Vec<_>> = Vec::new();
    for (signal, told) in [(Signal::KILL, "signal: 9"), (Signal::ABORT, "signal: 6")] {
        let mut ladder = own.start();
        let renditions = get_going(&mut ladder).await;
        assert_eq!(renditions.len(), 3);
        inits.push(renditions.iter().map(cmaf::init).collect());
        kill_process(own.pid().expect("it runs"), signal).unwrap();
        let reason = end_of(&mut ladder.outputs).await;
        assert!(reason.contains(told), "{reason}");
        assert!(own.pid().is_none(), "it is reaped");
    }
    assert_eq!(inits[0], inits[1], "byte for byte");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_worker_that_hangs_with_its_socket_full_is_killed_when_it_is_let_go() {
    let own = Own::new();
    let mut ladder = own.start();
    get_going(&mut ladder).await;
    kill_process(own.pid().expect("it runs"), Signal::STOP).unwrap();
    let source = fixture::source(Recipe { seconds: 2, ..SMALL });
    for timed in source.iter().cycle().take(5_000) {
        ladder.input.send(&fixture::moved(&timed.unit, 0));
    }
    assert!(ladder.input.dropped() > 0, "the way in is full");
    drop(ladder);
    timeout(SILENCE, async {
        while own.pid().is_some() {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    })
    .await
    .expect("it is killed and reaped");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_worker_can_open_neither_files_nor_sockets() {
    let own = Own::new();
    let mut ladder = own.start();
    get_going(&mut ladder).await;
    let pid = own.pid().expect("it runs").as_raw_nonzero();
    let limits = std::fs::read_to_string(format!("/proc/{pid}/limits")).unwrap();
    let files = limits.lines().find(|line| line.starts_with("Max open files")).unwrap();
    let numbers: Vec<_> = files.split_whitespace().skip(3).take(2).collect();
    assert_eq!(numbers, ["0", "0"], "{files}");
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    for line in ["NoNewPrivs:\t1", "Seccomp:\t2"] {
        assert!(status.contains(line), "{line} is not in\n{status}");
    }
}

#[test]
fn what_a_worker_must_not_do_is_refused_by_the_kernel() {
    let tried = std::process::Command::new(fixture::worker()).arg("confined").output().unwrap();
    assert!(tried.status.success(), "{}", String::from_utf8_lossy(&tried.stdout));
}
