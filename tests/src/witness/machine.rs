//! What a server takes from its machine (I18), and what it writes into its log (I23).

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use super::{Broken, Violation};
use crate::process::tree::Usage;
use crate::wait::{Look, until};
use crate::{Context, Failure, Result, clock};

/// How often usage is looked at.
const LOOK_EVERY: Duration = Duration::from_millis(250);
/// How long a server may take to give back what a fault made it take.
const BACK_WITHIN: Duration = Duration::from_secs(20);
/// What an allocator keeps, files of a moment and threads that are about to end are no leak.
const UNAVOIDABLE: Usage =
    Usage { resident_bytes: 8 << 20, open_files: 16, threads: 4, processes: 0 };

/// A watch over a server and its workers.
#[derive(Debug)]
pub struct Machine {
    root: u32,
    base: Usage,
    most: Usage,
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<Usage>>,
}

impl Machine {
    /// Watches process `root` and its descendants, which hold what is normal now and may never hold
    /// more than `most`.
    pub fn watch(root: u32, most: Usage) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let told = Arc::clone(&stop);
        let base = Usage::of(root);
        let thread = std::thread::spawn(move || {
            let mut peak = base;
            while !told.load(Ordering::Relaxed) {
                peak = greatest(peak, Usage::of(root));
                std::thread::sleep(LOOK_EVERY);
            }
            peak
        });
        Self { root, base, most, stop, thread: Some(thread) }
    }

    /// What is held now is normal from here on.
    pub fn rebase(&mut self) {
        self.base = Usage::of(self.root);
    }

    /// Ends the watch and gives what was held at most. Fails if that was above the limit, or if the
    /// server does not come back to within a tenth of what was normal.
    ///
    /// # Errors
    /// With what is too much.
    pub fn finish(mut self) -> Result<Usage> {
        self.stop.store(true, Ordering::Relaxed);
        let thread = self.thread.take().context("a watch")?;
        let peak = thread.join().map_err(|_| Failure::new("the watch panicked"))?;
        // What has come since its last look counts too.
        let peak = greatest(peak, Usage::of(self.root));
        let above = limits(self.most, peak);
        if !above.is_empty() {
            return Err(Failure::new(format!("I18: {above:?}")));
        }
        until("return to the normal (I18)", BACK_WITHIN, || {
            let left = leaks(self.base, Usage::of(self.root));
            Ok(Look::at(left.is_empty().then_some(()), format!("{left:?}")))
        })?;
        Ok(peak)
    }
}

impl Drop for Machine {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
    }
}

fn greatest(a: Usage, b: Usage) -> Usage {
    Usage {
        resident_bytes: a.resident_bytes.max(b.resident_bytes),
        open_files: a.open_files.max(b.open_files),
        threads: a.threads.max(b.threads),
        processes: a.processes.max(b.processes),
    }
}

fn named(usage: Usage) -> [(&'static str, u64); 4] {
    [
        ("resident bytes", usage.resident_bytes),
        ("open files", usage.open_files),
        ("threads", usage.threads),
        ("processes", usage.processes),
    ]
}

/// I18: what is above its limit.
fn limits(most: Usage, peak: Usage) -> Vec<Broken> {
    let pairs = named(most).into_iter().zip(named(peak));
    let above = pairs.filter(|((_, most), (_, peak))| peak > most);
    above.map(|((what, most), (_, peak))| ("I18", format!("{peak} {what} of {most}"))).collect()
}

/// I18: what has not come back to within a tenth of the base.
fn leaks(base: Usage, now: Usage) -> Vec<Broken> {
    let normal = named(base).into_iter().zip(named(UNAVOIDABLE));
    let pairs = normal.zip(named(now));
    let above =
        pairs.filter(|(((_, base), (_, small)), (_, now))| *now > base + (base / 10).max(*small));
    above
        .map(|(((what, base), _), (_, now))| ("I18", format!("{now} {what}, {base} before")))
        .collect()
}

/// I23: a log has no panic, and none of these texts.
pub fn log(text: &str, secrets: &[&str]) -> Vec<Violation> {
    const PANICS: [&str; 3] = ["panicked at", "unwrap()", "RUST_BACKTRACE"];
    let mut found = Vec::new();
    for line in text.lines() {
        let panics = PANICS.iter().any(|panic| line.contains(panic));
        let tells = secrets.iter().any(|secret| line.contains(secret));
        if panics || tells {
            let what = if panics { line } else { "a secret" };
            let text = format!("the log: {what}");
            found.push(Violation { invariant: "I23", at_ms: clock::now_ms(), text });
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use std::process::{Command, Stdio};

    use super::*;

    const NORMAL: Usage =
        Usage { resident_bytes: 100 << 20, open_files: 200, threads: 50, processes: 3 };

    #[test]
    fn each_kind_of_usage_is_held_against_its_limit_and_its_base() {
        assert!(limits(NORMAL, NORMAL).is_empty() && leaks(NORMAL, NORMAL).is_empty());
        let more: [fn(&mut Usage); 4] = [
            |u| u.resident_bytes += 11 << 20,
            |u| u.open_files += 21,
            |u| u.threads += 6,
            |u| u.processes += 1,
        ];
        for grow in more {
            let mut grown = NORMAL;
            grow(&mut grown);
            assert_eq!(limits(NORMAL, grown).len(), 1, "{grown:?}");
            assert_eq!(leaks(NORMAL, grown).len(), 1, "{grown:?}");
        }
        let small = Usage { resident_bytes: 107 << 20, open_files: 215, threads: 54, processes: 3 };
        assert!(leaks(NORMAL, small).is_empty());
    }

    #[test]
    fn a_process_that_opens_files_for_ever_is_found() {
        // Opens a file per round and never closes one.
        let grow = "n=10; while [ $n -lt 60 ]; do eval \"exec $n</dev/null\"; n=$((n+1)); done; \
                    echo done; read end";
        let mut child = Command::new("bash")
            .args(["-c", &format!("read go; {grow}")])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let most = Usage { open_files: 40, resident_bytes: 1 << 30, threads: 9, processes: 9 };
        let machine = Machine::watch(child.id(), most);
        let mut tell = child.stdin.take().unwrap();
        std::io::Write::write_all(&mut tell, b"go\n").unwrap();
        let mut said = [0; 4];
        std::io::Read::read_exact(&mut child.stdout.take().unwrap(), &mut said).unwrap();
        let found = machine.finish().unwrap_err().to_string();
        drop(tell);
        child.wait().unwrap();
        assert!(found.contains("open files"), "{found}");
    }

    #[test]
    fn panics_and_secrets_in_the_log_are_found() {
        let good = "INFO publisher connected peer=127.0.0.1:1 channel=a\nWARN refused reason=key";
        assert_eq!(log(good, &["k3y"]), []);
        for bad in ["thread 'x' panicked at src/a.rs:1:1:", "INFO url=rtmp://h/live/a?key=k3y"] {
            let found = log(&format!("{good}\n{bad}"), &["k3y"]);
            assert_eq!(found.len(), 1, "{bad}");
            assert_eq!(found[0].invariant, "I23");
            assert!(!found[0].text.contains("k3y"), "the finding tells the secret on");
        }
    }
}
