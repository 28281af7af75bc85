//! Who may name whom: ARCHITECTURE's table as a check over the source text.
//!
//! [`violations`] takes source files as (path, text) and returns every import that breaks a rule.
//! It reads `crate::`, `packager::`, `ingest::` and `origin::` paths and the names of fenced
//! crates; comments and test modules are passed over. It knows nothing of macros that build paths,
//! which this code base has none of.

use std::fs;
use std::path::{Path, PathBuf};

/// Modules of `packager` from the bottom up: a module may name those of a lower rank only.
const PACKAGER_RANKS: &[(&str, u32)] = &[
    ("time", 0),
    ("media", 1),
    ("grid", 1),
    ("codec", 2),
    ("scte35", 3),
    ("cmaf", 3),
    ("repair", 1),
    ("filler", 3),
    ("timeline", 4),
    ("segmenter", 5),
    ("hls", 6),
    ("dash", 6),
];

/// What a manifest may read: it decides nothing, so it needs nothing else.
const MANIFEST_MAY_NAME: &[&str] = &["time", "media", "grid", "codec", "timeline"];

/// Modules of `origin` and the modules of `origin` each may name.
const ORIGIN_MAY_NAME: &[(&str, &[&str])] = &[
    ("admission", &[]),
    ("guardian", &["backoff", "cli", "config", "crash", "legacy", "signals", "sockets"]),
    ("legacy", &[]),
    (
        "app",
        &[
            "admin",
            "admission",
            "assets",
            "backoff",
            "channel",
            "cli",
            "clock",
            "config",
            "http",
            "legacy",
            "signals",
            "sockets",
            "store",
            "telemetry",
            "viewers",
            "webrtc",
        ],
    ),
    ("cli", &["cdn_check", "config", "cue", "telemetry"]),
    ("crash", &[]),
    ("asking", &[]),
    ("package", &["cli", "clock", "config", "store"]),
    ("cue", &["asking"]),
    ("assets", &["channel", "clock", "store"]),
    ("cdn_check", &["http"]),
    ("config", &["network"]),
    ("network", &[]),
    ("backoff", &[]),
    ("clock", &[]),
    ("signals", &[]),
    ("sockets", &["config"]),
    ("telemetry", &[]),
    ("viewers", &["network", "telemetry"]),
    ("store", &["clock", "crash", "telemetry"]),
    ("channel", &["admission", "backoff", "clock", "config", "crash", "store", "telemetry"]),
    ("http", &["assets", "channel", "clock", "network", "store", "telemetry", "viewers", "webrtc"]),
    ("webrtc", &["channel", "clock", "config", "network", "telemetry"]),
    (
        "admin",
        &[
            "admission",
            "assets",
            "channel",
            "clock",
            "http",
            "store",
            "telemetry",
            "viewers",
            "webrtc",
        ],
    ),
];

/// Modules of `origin` that may name `ingest`, and what of it (`""` is all). A stream key is the
/// same type at every door, so the configuration and the operator's page may name that; what an SRT
/// address may be is SRT's to say; and what a ladder that is wished for becomes, which `check` prints, is the
/// ladder's.
const ORIGIN_MAY_NAME_INGEST: &[(&str, &str)] = &[
    ("app", ""),
    ("channel", ""),
    ("cli", "av"),
    ("config", "av"),
    ("package", "av"),
    ("webrtc", ""),
    ("config", "secret"),
    ("config", "srt"),
    ("admin", "secret"),
];

/// Crates and standard modules that only some folders may name.
const FENCED: &[(&str, &[&str])] = &[
    ("ffmpeg_next", &["ingest/src/av/worker"]),
    ("rml_rtmp", &["ingest/src/rtmp"]),
    ("m3u8_rs", &["packager/src/hls", "tests/"]),
    ("dash_mpd_core", &["packager/src/dash", "tests/"]),
    ("axum", &["origin/src/http", "origin/src/admin"]),
    ("aws_sdk_s3", &["origin/src/store/s3/bucket.rs", "origin/src/store/s3/credentials.rs"]),
    ("anyhow", &["origin/src/main.rs", "tests/"]),
];

/// What the pure library must not know of.
const IMPURE: &[&str] = &[
    "tokio::",
    "std::fs",
    "std::net",
    "std::thread",
    "std::time::Instant",
    "std::time::SystemTime",
    "std::env",
];

/// An import that breaks a rule.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Violation {
    /// File, relative to the repository.
    pub path: String,
    /// Line, from 1.
    pub line: usize,
    /// The rule in words.
    pub rule: String,
}

/// Checks source files given as (path relative to the repository, text).
pub fn violations(files: &[(String, String)]) -> Vec<Violation> {
    let test_modules: Vec<String> =
        files.iter().flat_map(|(path, text)| test_modules(path, text)).collect();
    let mut found = Vec::new();
    for (path, text) in files {
        let test = path.ends_with("tests.rs") || path.contains("/src/") && path.contains("/tests/");
        if test || test_modules.contains(path) {
            continue;
        }
        for (line, code) in code_lines(text) {
            for rule in broken_rules(path, &code) {
                found.push(Violation { path: path.clone(), line, rule });
            }
        }
    }
    found
}

/// The product's source files below `root`.
///
/// # Errors
/// The tree can't be read.
pub fn sources(root: &Path) -> std::io::Result<Vec<(String, String)>> {
    let mut files = Vec::new();
    let mut folders: Vec<PathBuf> =
        ["packager/src", "ingest/src", "origin/src", "tests/src", "tests/it"]
            .map(|f| root.join(f))
            .into();
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder)? {
            let path = entry?.path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|e| e == "rs") {
                let name = path.strip_prefix(root).unwrap_or(&path).to_string_lossy().into_owned();
                files.push((name, fs::read_to_string(&path)?));
            }
        }
    }
    files.sort();
    Ok(files)
}

/// Files of the modules that a file declares for tests only: `#[cfg(test)]` above `mod name;`.
fn test_modules(path: &str, text: &str) -> Vec<String> {
    let folder = match path.strip_suffix("/lib.rs") {
        Some(root) => root.to_owned(),
        None => path.trim_end_matches(".rs").to_owned(),
    };
    let lines: Vec<&str> = text.lines().map(str::trim).collect();
    lines
        .windows(2)
        .filter(|pair| pair[0] == "#[cfg(test)]")
        .filter_map(|pair| pair[1].strip_suffix(';')?.split("mod ").nth(1))
        .map(|name| format!("{folder}/{name}.rs"))
        .collect()
}

/// Lines of code outside comments and outside a trailing test module; statements that span lines
/// are joined, so that a grouped `use` is seen whole.
fn code_lines(text: &str) -> Vec<(usize, String)> {
    let mut lines: Vec<(usize, String)> = Vec::new();
    let mut open_use = false;
    let mut test_only = false;
    for (index, line) in text.lines().enumerate() {
        let code = line.split("//").next().unwrap_or_default();
        if std::mem::replace(&mut test_only, code.trim() == "#[cfg(test)]") {
            if code.trim_end().ends_with('{') {
                break;
            }
            continue;
        }
        match lines.last_mut() {
            Some((_, last)) if open_use => last.push_str(code.trim()),
            _ => lines.push((index + 1, code.to_owned())),
        }
        let statement = lines.last().map(|(_, l)| l.trim_start()).unwrap_or_default();
        let is_use =
            ["use ", "pub use ", "pub(crate) use "].iter().any(|p| statement.starts_with(p));
        open_use = is_use && !statement.contains(';');
    }
    lines
}

fn broken_rules(path: &str, code: &str) -> Vec<String> {
    let mut broken = Vec::new();
    let mut parts = path.split('/');
    let krate = parts.next().unwrap_or_default();
    let module = parts.nth(1).unwrap_or_default().trim_end_matches(".rs");
    for (name, allowed) in FENCED {
        let named = names_crate(code, name);
        if named && !allowed.iter().any(|folder| path.starts_with(folder)) {
            broken.push(format!("`{name}` may be named in {} only", allowed.join(", ")));
        }
    }
    match krate {
        "packager" => {
            for impure in IMPURE.iter().filter(|name| code.contains(**name)) {
                broken.push(format!("packager is pure and does not name `{impure}`"));
            }
            for crate_name in ["ingest", "origin"].iter().filter(|n| names_crate(code, n)) {
                broken.push(format!("packager does not know `{crate_name}`"));
            }
            broken.extend(
                named_modules(code, "crate").iter().filter_map(|m| packager_rule(module, m)),
            );
        }
        "ingest" if names_crate(code, "origin") => {
            broken.push("ingest does not know `origin`".into());
        }
        "origin" => {
            broken
                .extend(named_modules(code, "crate").iter().filter_map(|m| origin_rule(module, m)));
            for named in named_modules(code, "ingest") {
                let may = ORIGIN_MAY_NAME_INGEST
                    .iter()
                    .any(|(who, what)| *who == module && (what.is_empty() || *what == named));
                if !may {
                    broken.push(format!("origin's `{module}` does not name `ingest::{named}`"));
                }
            }
        }
        _ => {}
    }
    broken
}

fn packager_rule(module: &str, named: &str) -> Option<String> {
    let rank = |name: &str| PACKAGER_RANKS.iter().find(|(n, _)| *n == name).map(|(_, rank)| *rank);
    if module == named || module == "lib" {
        return None;
    }
    let (Some(mine), Some(theirs)) = (rank(module), rank(named)) else {
        return Some(format!("`{module}` or `{named}` has no place in packager's order"));
    };
    let manifest = matches!(module, "hls" | "dash") && !MANIFEST_MAY_NAME.contains(&named);
    (manifest || theirs >= mine).then(|| format!("packager's `{module}` does not name `{named}`"))
}

fn origin_rule(module: &str, named: &str) -> Option<String> {
    if module == named || matches!(module, "lib" | "main") {
        return None;
    }
    let allowed = ORIGIN_MAY_NAME.iter().find(|(name, _)| *name == module).map(|(_, may)| *may);
    let may = allowed.is_some_and(|may| may.contains(&named));
    (!may).then(|| format!("origin's `{module}` does not name `{named}`"))
}

/// Whether a line names a crate: as a path root, not as part of another word.
fn names_crate(code: &str, name: &str) -> bool {
    code.match_indices(name).any(|(at, _)| {
        let before = code[..at].chars().next_back();
        let after = &code[at + name.len()..];
        let starts =
            !before.is_some_and(|c| c.is_alphanumeric() || c == '_' || c == ':' || c == '.');
        let root = after.starts_with("::")
            || code.trim_start().starts_with("use ") && after.starts_with([';', ' ']);
        starts && root
    })
}

/// First path segments that follow `root::` in a line, also from a group `root::{a, b::c}`.
fn named_modules(code: &str, root: &str) -> Vec<String> {
    let mut modules = Vec::new();
    let pattern = format!("{root}::");
    for (at, _) in code.match_indices(&pattern) {
        let before = code[..at].chars().next_back();
        if before.is_some_and(|c| c.is_alphanumeric() || c == '_' || c == ':') {
            continue;
        }
        let rest = &code[at + pattern.len()..];
        match rest.strip_prefix('{') {
            None => modules.push(first_word(rest)),
            Some(group) => {
                let mut depth = 0;
                let mut start = true;
                for (index, c) in group.char_indices() {
                    match c {
                        '{' => depth += 1,
                        '}' if depth == 0 => break,
                        '}' => depth -= 1,
                        ',' if depth == 0 => start = true,
                        c if start && !c.is_whitespace() => {
                            modules.push(first_word(&group[index..]));
                            start = false;
                        }
                        _ => {}
                    }
                }
            }
        }
    }
    // Items of the crate root (macros, re-exports) are no modules: they begin with a capital.
    modules.retain(|m| m.starts_with(|c: char| c.is_lowercase()) && m != "self");
    modules
}

fn first_word(text: &str) -> String {
    text.chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn repository() -> PathBuf {
        Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
    }

    fn rules_broken_by(path: &str, code: &str) -> usize {
        violations(&[(path.to_owned(), code.to_owned())]).len()
    }

    #[test]
    fn the_tree_keeps_its_structure() {
        let files = sources(&repository()).unwrap();
        assert!(files.len() > 20, "the sources were not found");
        let found = violations(&files);
        assert!(found.is_empty(), "{found:#?}");
    }

    #[test]
    fn a_planted_violation_of_each_rule_is_found() {
        for (path, code) in [
            ("packager/src/hls/media.rs", "use crate::dash::Options;"),
            ("packager/src/hls.rs", "use crate::{time, segmenter::Segmenter};"),
            ("packager/src/time.rs", "fn f(_: crate::media::Sample) {}"),
            ("packager/src/codec/h264.rs", "use crate::{\n    cmaf,\n};"),
            ("packager/src/cmaf.rs", "use std::time::Instant;"),
            ("packager/src/cmaf.rs", "use tokio::sync::mpsc;"),
            ("packager/src/timeline.rs", "use ingest::hub::Hub;"),
            ("ingest/src/hub.rs", "use origin::app;"),
            ("ingest/src/hub.rs", "use ffmpeg_next as ffmpeg;"),
            ("ingest/src/av/supervisor.rs", "let x = ffmpeg_next::codec::Id::H264;"),
            ("origin/src/http/media.rs", "use ingest::hub::Hub;"),
            ("origin/src/config.rs", "use ingest::hub::Hub;"),
            ("origin/src/store/fs.rs", "use crate::channel::Channel;"),
            ("origin/src/channel.rs", "use crate::http::Context;"),
            ("origin/src/channel.rs", "use axum::Router;"),
            ("packager/src/time.rs", "#[cfg(test)]\nmod tests;\nuse crate::media::Sample;"),
        ] {
            assert_eq!(rules_broken_by(path, code), 1, "{path}: {code}");
        }
    }

    #[test]
    fn what_is_allowed_passes() {
        for (path, code) in [
            ("packager/src/hls/media.rs", "use crate::timeline::Snapshot;\nuse super::tag;"),
            ("packager/src/time.rs", "// crate::media is above us"),
            ("packager/src/time.rs", "#[cfg(test)]\nmod tests { use crate::media::Sample; }"),
            ("ingest/src/av/worker/decode.rs", "use ffmpeg_next::codec;"),
            ("origin/src/config.rs", "use ingest::secret::Secret;"),
            ("origin/src/app.rs", "use crate::{http, store};\nuse ingest::hub;"),
        ] {
            assert_eq!(rules_broken_by(path, code), 0, "{path}: {code}");
        }
    }
}
