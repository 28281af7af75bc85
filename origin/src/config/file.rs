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

use super::{Channel, Config, Datagrams, Fallback, Problem, Problems, Rung, Source, Tls, value};

use crate::network::{Network, NoNetwork};

mod cues;
mod doors;
mod store;
mod unknown;
use unknown::Unknown;

/// Where TLS is spoken unless the file says otherwise: beside 8080.
const DEFAULT_TLS: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::UNSPECIFIED), 8443);
/// Segments the grid can have, in milliseconds.
const SEGMENT: (u64, u64) = (1_000, 6_000);
/// Parts the grid can have, in milliseconds; half a segment is the other bound.
const PART: (u64, u64) = (200, 1_000);
/// A window below this is shorter than what players start behind the edge; above, lists
/// and the index of a channel grow beyond reason, and what is to be kept is better kept as a recording.
const WINDOW: (u64, u64) = (10_000, 7 * 24 * 3_600_000);
/// How long a channel may go on without its source.
const HOLD: (u64, u64) = (1_000, 24 * 3_600_000);
/// A slate within less would be seen at every hiccup of a link.
const SLATE_AFTER: (u64, u64) = (1_000, 24 * 3_600_000);
/// Live edge of one channel: less holds no open segment, more is a slip of the unit.
const MEMORY: (u64, u64) = (1 << 20, 16 << 30);
/// What S3 keeps beyond the window: less than a minute is a slip of the unit, and so is more than ten
/// years.
const KEEP: (u64, u64) = (60_000, 3_653 * 24 * 3_600_000);
/// Bytes that S3 keeps of a channel.
const KEEP_SIZE: (u64, u64) = (1 << 20, 1 << 50);
/// What viewers may hold: a million is beyond what a process can open.
const HELD: std::ops::RangeInclusive<u32> = 1..=1_000_000;
/// Names of the operator's listener: a machine has a few.
const MAX_HOSTS: usize = 16;
/// Networks that are trusted: the published lists of large CDNs are shorter.
const MAX_TRUSTED: usize = 1_024;
/// Rungs of one ladder: each is an encoder, and no player gains from more.
const MAX_RUNGS: usize = 8;

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
            None => walk.problem("", at, error.message().to_owned()),
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
        self.known.push(key);
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

    /// The channels, beside what the other sections say.
    fn channels(&mut self, others: &Config) -> Vec<Channel> {
        let mut channels: Vec<Channel> = Vec::new();
        let Some(value) = self.take("channel") else { return channels };
        let DeValue::Array(list) = value.get_ref() else {
            let message = format!("expected [[channel]], found {}", kind(value.get_ref()));
            self.problem("channel", value.span().start, message);
            return channels;
        };
        for (index, item) in list.iter().enumerate() {
            let path = format!("channel[{index}]");
            let DeValue::Table(table) = item.get_ref() else {
                let message = format!("expected a table, found {}", kind(item.get_ref()));
                self.walk.problem(&path, Some(item.span().start), message);
                continue;
            };
            let mut section = Section::new(self.walk, path, "channel", table);
            let channel = section.channel();
            if let Some(channel) = channel {
                if channels.iter().any(|other| other.name == channel.name) {
                    let at = section.take("name").map_or(0, |v| v.span().start);
                    section.problem(
                        "name",
                        at,
                        format!("there is another channel {:?}", channel.name.as_str()),
                    );
                }
                let taken = channel.source.as_ref().is_some_and(|source| {
                    channels
                        .iter()
                        .filter_map(|other| other.source.as_ref())
                        .any(|o| source.clashes(o))
                });
                if taken {
                    let at = section.take("source").map_or(0, |v| v.span().start);
                    let words = "another channel listens on this address and port";
                    section.problem("source", at, words.to_owned());
                }
                section.beside(&channel, others);
                channels.push(channel);
            } else if !section.table.iter().any(|(key, _)| key.get_ref() == "name") {
                section.problem("name", item.span().start, "a channel has a name".to_owned());
            }
            section.finish();
        }
        channels
    }

    /// What a channel can't wish for beside the other sections.
    fn beside(&mut self, channel: &Channel, others: &Config) {
        let kept = [("keep", channel.keep.is_some()), ("keep_size", channel.keep_size.is_some())];
        for (key, _) in kept.into_iter().filter(|(_, is_set)| *is_set && others.store.s3.is_none())
        {
            let at = self.take(key).map_or(0, |v| v.span().start);
            let words = "only what is in S3 is kept beyond the window: see [store]";
            self.problem(key, at, words.to_owned());
        }
        let doors = [
            ("callers of [srt]", Some(others.srt.listen)),
            ("browsers, by [webrtc],", others.webrtc.listen),
        ];
        for (who, address) in doors {
            let Some(address) = address else { continue };
            let rtp = false;
            let door = Source::Datagrams(Datagrams { rtp, address, interface: None, from: None });
            if channel.source.as_ref().is_some_and(|source| source.clashes(&door)) {
                let at = self.take("source").map_or(0, |v| v.span().start);
                self.problem("source", at, format!("{who} come to this address and port"));
            }
        }
    }

    /// Reads a channel; `None` where its name is missing or wrong.
    fn channel(&mut self) -> Option<Channel> {
        let mut name = None;
        self.read("name", &mut name, |text| value::channel_name(text).map(Some));
        let placeholder = packager::media::Name::parse("x").ok()?;
        let mut channel = Channel::named(name.clone().unwrap_or(placeholder));
        if let Some(Given { text, at, place }) = self.secret("key", "key_env") {
            match value::key(&text) {
                Ok(key) => channel.key = Some(key),
                Err(message) => self.problem(place, at, message),
            }
        }
        if let Some(Given { text, at, place }) = self.secret("passphrase", "passphrase_env") {
            match value::passphrase(&text) {
                Ok(passphrase) => channel.passphrase = Some(passphrase),
                Err(message) => self.problem(place, at, message),
            }
        }
        self.read("max_bitrate", &mut channel.max_bitrate, value::max_bitrate);
        self.ladder(&mut channel);
        self.read("fallback", &mut channel.fallback, value::fallback);
        if !channel.pass_through && channel.fallback != Fallback::Refuse {
            let at = self.take("fallback").map_or(0, |v| v.span().start);
            let message = "only a channel with ladder = \"source\" has a fallback".to_owned();
            self.problem("fallback", at, message);
        }
        self.source(&mut channel);
        if channel.source.is_some() && channel.key.is_some() {
            let at = self.take("source").map_or(0, |v| v.span().start);
            let message = "a channel with a source of its own takes no publisher, and needs no key";
            self.problem("source", at, message.to_owned());
        }
        self.read("program", &mut channel.program, |text| value::program(text).map(Some));
        self.read("fps", &mut channel.fps, |text| value::frame_rate(text).map(Some));
        self.span("segment", &mut channel.segment, SEGMENT);
        self.span("part", &mut channel.part, PART);
        self.span("window", &mut channel.window, WINDOW);
        self.read("keep", &mut channel.keep, |text| {
            value::millis(text, KEEP.0, KEEP.1).map(Duration::from_millis).map(Some)
        });
        self.read("keep_size", &mut channel.keep_size, |text| {
            value::bytes(text, KEEP_SIZE.0, KEEP_SIZE.1).map(Some)
        });
        self.duration("hold", &mut channel.hold, HOLD);
        self.duration("slate_after", &mut channel.slate_after, SLATE_AFTER);
        self.read("slate", &mut channel.slate, |text| value::slate(text).map(Some));
        self.read("record", &mut channel.record, value::record);
        self.cues(&mut channel.cues);
        if channel.part.ticks * 2 > channel.segment.ticks {
            let at =
                self.take("part").or_else(|| self.take("segment")).map_or(0, |v| v.span().start);
            let half = value::print_millis(channel.segment.ticks / 2);
            self.problem("part", at, format!("a part is at most half a segment, here {half}"));
        }
        name.map(|name| Channel { name, ..channel })
    }

    fn source(&mut self, channel: &mut Channel) {
        self.read("source", &mut channel.source, |text| value::source(text).map(Some));
        let Some((text, at)) = self.text("repeat") else { return };
        match (value::repeat(text), &mut channel.source) {
            (Err(message), _) => self.problem("repeat", at, message),
            (Ok(wish), Some(Source::File { repeat, .. })) => *repeat = wish,
            (Ok(_), _) => {
                let message = "only a channel whose source is a file repeats it".to_owned();
                self.problem("repeat", at, message);
            }
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

    fn ladder(&mut self, channel: &mut Channel) {
        const KEY: &str = "ladder";
        self.walk.asked.insert(join(&self.shape, KEY));
        let Some(value) = self.take(KEY) else { return };
        let at = value.span().start;
        let list = match value.get_ref() {
            DeValue::Array(list) => list,
            DeValue::String(text) if text == "source" => {
                channel.pass_through = true;
                channel.ladder = Vec::new();
                return;
            }
            other => {
                let message = format!(
                    "expected a list such as [\"720p\", \"480p\"], or \"source\", found {}",
                    kind(other)
                );
                return self.problem(KEY, at, message);
            }
        };
        if list.is_empty() || list.len() > MAX_RUNGS {
            let message = format!("a ladder has 1 to {MAX_RUNGS} rungs, this one {}", list.len());
            return self.problem(KEY, at, message);
        }
        let mut rungs: Vec<Rung> = Vec::new();
        for (index, item) in list.iter().enumerate() {
            let Some(rung) = self.rung(index, item) else { continue };
            if rungs.iter().any(|other| other.height == rung.height) {
                self.problem(
                    &format!("{KEY}[{index}]"),
                    item.span().start,
                    format!("{} is there twice", rung.name),
                );
            }
            rungs.push(rung);
        }
        rungs.sort_by_key(|rung| std::cmp::Reverse(rung.height));
        channel.ladder = rungs;
    }

    /// A rung: `"720p"`, or `{ height = "720p", bitrate = "3M" }`.
    fn rung(&mut self, index: usize, item: &Spanned<DeValue<'_>>) -> Option<Rung> {
        let path = join(&self.path, &format!("ladder[{index}]"));
        match item.get_ref() {
            DeValue::String(text) => match value::height(text) {
                Ok(height) => Rung::of_height(height, None),
                Err(message) => {
                    self.walk.problem(&path, Some(item.span().start), message);
                    None
                }
            },
            DeValue::Table(table) => {
                let mut section = Section::new(self.walk, path, "channel.ladder", table);
                let (mut height, mut bitrate) = (None, None);
                section.read("height", &mut height, |text| value::height(text).map(Some));
                section.read("bitrate", &mut bitrate, |text| value::bitrate(text).map(Some));
                if !table.iter().any(|(key, _)| key.get_ref() == "height") {
                    section.problem("height", item.span().start, "a rung has a height".to_owned());
                }
                section.finish();
                height.and_then(|height| Rung::of_height(height, bitrate))
            }
            other => {
                let message = format!("expected a height such as \"720p\", found {}", kind(other));
                self.walk.problem(&path, Some(item.span().start), message);
                None
            }
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
