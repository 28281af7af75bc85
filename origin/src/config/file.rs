//! From the text of a file to a [`Config`], collecting every problem on the way.
//!
//! A [`Section`] is a table being read. It remembers each key it was asked for, so that what is
//! left over is an unknown key, and the nearest one it knows is the suggestion; nothing lists the
//! keys twice. A key with a problem takes its default and reading goes on: the configuration is
//! thrown away at the end, the problems are what counts.

use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::Duration;

use ingest::srt;
use packager::time::Span;
use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::{Config, Problem, Problems, Tls, value};

use crate::network::{Network, NoNetwork};

mod channel;
mod cues;
mod doors;
mod store;
mod unknown;
use unknown::Unknown;

/// Where TLS is spoken unless the file says otherwise: beside 8080.
const DEFAULT_TLS: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::UNSPECIFIED), 8443);
/// Live edge of one channel: less holds no open segment, more is a slip of the unit.
const MEMORY: (u64, u64) = (1 << 20, 16 << 30);
/// What viewers may hold: a million is beyond what a process can open.
const HELD: std::ops::RangeInclusive<u32> = 1..=1_000_000;
/// Names of the operator's listener: a machine has a few.
const MAX_HOSTS: usize = 16;
/// Networks that are trusted: the published lists of large CDNs are shorter.
const MAX_TRUSTED: usize = 1_024;

/// Addresses that are advertised: browsers try each of them, and 50 candidates is what they take.
const MAX_ADVERTISED: usize = 16;
/// STUN and TURN servers: with more than five, browsers warn that they are slow.
const MAX_ICE_SERVERS: usize = 8;
/// Previews at one time: each takes a share of a core.
const PREVIEWS: std::ops::RangeInclusive<u32> = 1..=10_000;

/// A file that was read.
#[derive(Debug)]
pub(super) struct Read {
    /// What it says.
    pub(super) config: Config,
    /// Every key that could have been set, as `http.listen` or `channel.name`.
    #[cfg_attr(not(test), allow(dead_code, reason = "the test of the example file reads it"))]
    pub(super) asked: BTreeSet<String>,
}

/// Reads a text; `env` looks up the variables that `key_env` names.
pub(super) fn parse(text: &str, env: &dyn Fn(&str) -> Option<String>) -> Result<Read, Problems> {
    let (root, errors) = DeTable::parse_recoverable(text);
    let mut walk =
        Walk { text, env, problems: Vec::new(), unknown: Vec::new(), asked: BTreeSet::new() };
    let mut bare = Vec::new();
    for error in errors {
        let at = error.span().map(|span| span.start);
        match at.filter(|at| is_bare(text, *at) && !error.message().contains("quoted")) {
            Some(at) => bare.push((at, format!("{}; a text stands in quotes", error.message()))),
            None => walk.problem("", at, worded(text, &error)),
        }
    }
    let config = walk.config(root.get_ref());
    walk.tell_unknown();
    // Of most the walk has found the key, and says what to write.
    for (at, message) in bare {
        let line = walk.line(at);
        if !walk.problems.iter().any(|problem| problem.line == line) {
            walk.problem("", Some(at), message);
        }
    }
    if walk.problems.is_empty() {
        return Ok(Read { config, asked: walk.asked });
    }
    walk.problems.sort_by_key(|problem| problem.line);
    Err(Problems(walk.problems))
}

/// What the reader of TOML says, and of what.
fn worded(text: &str, error: &toml::de::Error) -> String {
    let of =
        error.span().and_then(|span| text.get(span)).filter(|_| error.message() == "duplicate key");
    match of {
        Some(key) => format!("`{key}` is there twice"),
        None => error.message().to_owned(),
    }
}

struct Walk<'a> {
    text: &'a str,
    env: &'a dyn Fn(&str) -> Option<String>,
    problems: Vec<Problem>,
    unknown: Vec<Unknown>,
    asked: BTreeSet<String>,
}

/// Whether the value in whose line `at` is begins with neither a quote nor a bracket.
fn is_bare(text: &str, at: usize) -> bool {
    let before = text.get(..at).unwrap_or_default();
    let begin = before.rfind('\n').map_or(0, |end| end + 1);
    let line = text.get(begin..).and_then(|rest| rest.lines().next()).unwrap_or_default();
    let value = line.split_once('=').map(|(_, value)| value.trim_start());
    value.is_some_and(|value| value.starts_with(|c: char| c.is_ascii_alphanumeric()))
}

impl<'a> Walk<'a> {
    /// The line, from 1, of a place in the text.
    fn line(&self, at: usize) -> Option<usize> {
        let before = self.text.as_bytes().get(..at)?;
        Some(before.iter().filter(|byte| **byte == b'\n').count() + 1)
    }

    fn problem(&mut self, key: &str, at: Option<usize>, message: String) {
        let line = at.and_then(|at| self.line(at));
        self.problems.push(Problem { key: key.to_owned(), line, message });
    }

    fn config(&mut self, table: &DeTable<'_>) -> Config {
        let mut config = Config::default();
        let mut root = Section::new(self, "", "", table);
        root.section("http", |http| {
            http.read("listen", &mut config.http.listen, value::address);
            http.read("public_url", &mut config.http.public_url, |t| {
                value::public_url(t).map(Some)
            });
            for (key, into) in [
                ("connections", &mut config.http.connections),
                ("connections_per_address", &mut config.http.connections_per_address),
                ("waiting", &mut config.http.waiting),
                ("waiting_per_address", &mut config.http.waiting_per_address),
            ] {
                http.read(key, into, |text| value::count(text, HELD));
            }
            http.trusted(&mut config.http.trusted);
            config.http.tls = http.tls();
        });
        root.section("rtmp", |rtmp| {
            rtmp.read("listen", &mut config.rtmp.listen, value::address);
        });
        root.section("srt", |section| {
            section.read("listen", &mut config.srt.listen, value::address);
            let [least, most] = [srt::LATENCY.start(), srt::LATENCY.end()]
                .map(|latency| u64::try_from(latency.as_millis()).unwrap_or(u64::MAX));
            section.duration("latency", &mut config.srt.latency, (least, most));
        });
        root.section("webrtc", |section| {
            let webrtc = &mut config.webrtc;
            section.read("listen", &mut webrtc.listen, value::address_or_off);
            section.list("advertise", MAX_ADVERTISED, &mut webrtc.advertise, value::advertised);
            section.list(
                "ice_servers",
                MAX_ICE_SERVERS,
                &mut webrtc.ice_servers,
                value::ice_server,
            );
            for (key, into) in [
                ("viewers", &mut webrtc.viewers),
                ("viewers_per_channel", &mut webrtc.viewers_per_channel),
            ] {
                section.read(key, into, |text| value::count(text, PREVIEWS));
            }
        });
        root.section("admin", |admin| {
            admin.read("listen", &mut config.admin.listen, value::address);
            admin.list("hosts", MAX_HOSTS, &mut config.admin.hosts, value::host);
        });
        root.section("store", |store| {
            store.read("path", &mut config.store.path, value::path);
            store.read("memory", &mut config.store.memory, |t| value::bytes(t, MEMORY.0, MEMORY.1));
            config.store.s3 = store.s3();
        });
        root.section("admission", |admission| {
            admission.read("cores", &mut config.admission.cores, value::cores);
        });
        config.channels = root.channels(&config);
        root.finish();
        self.doors(&config, table);
        config
    }
}

/// A secret as the operator gave it.
struct Given {
    text: String,
    /// The key that gave it, and where that stands.
    place: &'static str,
    at: usize,
}

/// A table being read.
struct Section<'w, 'a, 't> {
    walk: &'w mut Walk<'a>,
    /// Where it stands, for people: `channel[1]`.
    path: String,
    /// Where it stands, without positions: `channel`.
    shape: String,
    table: &'t DeTable<'t>,
    known: Vec<&'static str>,
}

fn join(path: &str, key: &str) -> String {
    if path.is_empty() { key.to_owned() } else { format!("{path}.{key}") }
}

impl<'w, 'a, 't> Section<'w, 'a, 't> {
    fn new(
        walk: &'w mut Walk<'a>,
        path: impl Into<String>,
        shape: impl Into<String>,
        table: &'t DeTable<'t>,
    ) -> Self {
        Self { walk, path: path.into(), shape: shape.into(), table, known: Vec::new() }
    }

    fn problem(&mut self, key: &str, at: usize, message: String) {
        let key = join(&self.path, key);
        self.walk.problem(&key, Some(at), message);
    }

    /// The value of a key, which is known from now on.
    fn take(&mut self, key: &'static str) -> Option<&'t Spanned<DeValue<'t>>> {
        if !self.known.contains(&key) {
            self.known.push(key);
        }
        self.table.iter().find(|(name, _)| name.get_ref() == key).map(|(_, value)| value)
    }

    /// A text and where it stands.
    fn text(&mut self, key: &'static str) -> Option<(&'t str, usize)> {
        let name = join(&self.shape, key);
        self.walk.asked.insert(name);
        let value = self.take(key)?;
        match value.get_ref() {
            DeValue::String(text) => Some((text, value.span().start)),
            other => {
                let message = format!("expected a text in quotes, found {}", kind(other));
                self.problem(key, value.span().start, message);
                None
            }
        }
    }

    /// Reads a typed text into `into`, which keeps its default if there is none or a wrong one. Of
    /// something else that would be right in quotes it says so.
    fn read<T>(
        &mut self,
        key: &'static str,
        into: &mut T,
        reader: impl FnOnce(&str) -> Result<T, String>,
    ) {
        self.walk.asked.insert(join(&self.shape, key));
        let Some(value) = self.take(key) else { return };
        let at = value.span().start;
        let found = match value.get_ref() {
            DeValue::String(text) => match reader(text) {
                Ok(value) => {
                    *into = value;
                    return;
                }
                Err(message) => return self.problem(key, at, message),
            },
            other => other,
        };
        let meant = match found {
            DeValue::Boolean(true) => Some("yes"),
            DeValue::Boolean(false) => Some("no"),
            DeValue::Integer(_) | DeValue::Float(_) => self.walk.text.get(value.span()),
            _ => None,
        };
        // An address of SRT can hold a passphrase.
        let meant = meant.filter(|text| !text.contains("passphrase"));
        let advice = meant.map(|text| match reader(text) {
            Ok(_) => format!("; write {text:?}"),
            Err(message) => format!("; {message}"),
        });
        let (kind, advice) = (kind(found), advice.unwrap_or_default());
        self.problem(key, at, format!("expected a text in quotes, found {kind}{advice}"));
    }

    /// Reads a table inside this one; an absent one is an empty one.
    fn section(&mut self, key: &'static str, read: impl FnOnce(&mut Section<'_, 'a, '_>)) {
        let empty = DeTable::new();
        let table = match self.take(key) {
            None => &empty,
            Some(value) => match value.get_ref() {
                DeValue::Table(table) => table,
                other => {
                    let message = format!("expected a section [{key}], found {}", kind(other));
                    self.problem(key, value.span().start, message);
                    return;
                }
            },
        };
        let path = join(&self.path, key);
        let mut inner = Section::new(self.walk, path, join(&self.shape, key), table);
        read(&mut inner);
        inner.finish();
    }

    /// Networks in a list.
    fn trusted(&mut self, into: &mut Vec<Network>) {
        self.list("trusted", MAX_TRUSTED, into, |text| {
            text.parse().map_err(|error: NoNetwork| error.to_string())
        });
    }

    /// Reads a list of at most `most` typed texts, which takes the place of the default.
    fn list<T>(
        &mut self,
        key: &'static str,
        most: usize,
        into: &mut Vec<T>,
        reader: impl Fn(&str) -> Result<T, String>,
    ) {
        self.walk.asked.insert(join(&self.shape, key));
        let Some(value) = self.take(key) else { return };
        let at = value.span().start;
        let DeValue::Array(list) = value.get_ref() else {
            let message = format!(
                "expected a list of texts such as [\"…\"], found {}",
                kind(value.get_ref())
            );
            return self.problem(key, at, message);
        };
        if list.len() > most {
            return self.problem(key, at, format!("there are at most {most} of them"));
        }
        into.clear();
        for (index, item) in list.iter().enumerate() {
            let read = match item.get_ref() {
                DeValue::String(text) => reader(text),
                other => Err(format!("expected a text in quotes, found {}", kind(other))),
            };
            match read {
                Ok(read) => into.push(read),
                Err(message) => {
                    self.problem(&format!("{key}[{index}]"), item.span().start, message);
                }
            }
        }
    }

    /// `[http.tls]`, if it is there.
    fn tls(&mut self) -> Option<Tls> {
        const KEY: &str = "tls";
        let at =
            self.table.iter().find(|(name, _)| name.get_ref() == KEY).map(|(k, _)| k.span().start);
        let (mut listen, mut cert, mut key) = (DEFAULT_TLS, None, None);
        self.section(KEY, |tls| {
            tls.read("listen", &mut listen, value::address);
            for (name, into) in [("cert", &mut cert), ("key", &mut key)] {
                tls.read(name, into, |text| value::file(text).map(Some));
                if let (Some(at), None) = (at, &into)
                    && !tls.table.iter().any(|(known, _)| known.get_ref() == name)
                {
                    tls.problem(name, at, "TLS needs a certificate and its key".to_owned());
                }
            }
        });
        at?;
        Some(Tls { listen, cert: cert?, key: key? })
    }

    /// Notes every key nobody asked for.
    fn finish(self) {
        for (name, _) in self.table {
            let key = name.get_ref().as_ref();
            if self.known.contains(&key) {
                continue;
            }
            self.walk.unknown.push(Unknown {
                path: join(&self.path, key),
                at: name.span().start,
                key: key.to_owned(),
                known: self.known.clone(),
            });
        }
    }

    fn span(&mut self, key: &'static str, into: &mut Span, (min, max): (u64, u64)) {
        self.read(key, into, |text| value::millis(text, min, max).map(Span::millis));
    }

    fn duration(&mut self, key: &'static str, into: &mut Duration, (min, max): (u64, u64)) {
        self.read(key, into, |text| value::millis(text, min, max).map(Duration::from_millis));
    }

    /// A text that stands under one key, or in the environment under the name that another has.
    fn secret(&mut self, key: &'static str, key_env: &'static str) -> Option<Given> {
        let there = self.text(key);
        let variable = self.text(key_env);
        match (there, variable) {
            (None, None) => None,
            (Some(_), Some((_, at))) => {
                let message = format!("there is a `{key}` too; one of them is enough");
                self.problem(key_env, at, message);
                None
            }
            (Some((text, at)), None) => Some(Given { text: text.to_owned(), place: key, at }),
            (None, Some((name, at))) => match (self.walk.env)(name) {
                Some(text) => Some(Given { text, place: key_env, at }),
                None => {
                    let message = format!("the environment has no variable {name:?}");
                    self.problem(key_env, at, message);
                    None
                }
            },
        }
    }
}

/// What a value is, for people.
fn kind(value: &DeValue<'_>) -> &'static str {
    match value {
        DeValue::String(_) => "a text",
        DeValue::Integer(_) => "a whole number",
        DeValue::Float(_) => "a number",
        DeValue::Boolean(_) => "true or false",
        DeValue::Datetime(_) => "a date",
        DeValue::Array(_) => "a list",
        DeValue::Table(_) => "a table",
    }
}
