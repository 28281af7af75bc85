//! The commands that ask a running server at its admin listener: cues, clips and assets; and what they ask.
//!
//! What is sent is made here; [`crate::asking`] sends it.

use std::net::SocketAddr;

use clap::{Args, Subcommand, ValueEnum};

use super::address;
use crate::config;
use crate::cue::Order;

/// A cue.
#[derive(Clone, Debug, Args)]
pub struct Cue {
    /// The channel
    #[arg(value_name = "CHANNEL")]
    pub channel: String,
    /// What is to happen
    #[arg(value_name = "KIND", required_unless_present = "section", conflicts_with = "section")]
    pub kind: Option<CueKind>,
    /// A section of SCTE-35 in base64, or in hexadecimal behind 0x; --at says when, not the section
    #[arg(long, value_name = "TEXT")]
    pub section: Option<String>,
    /// Number of the event [default: one that is free; to end or to cancel, the newest break]
    #[arg(long, value_name = "N")]
    pub event: Option<u32>,
    /// When, in UTC, such as 2026-11-26T19:00:00Z [default: at once]
    #[arg(long, value_name = "TIME")]
    pub at: Option<String>,
    /// How long the break is to last: seconds, or such as 90s or 2m
    #[arg(long, value_name = "TIME", allow_negative_numbers = true, value_parser = seconds)]
    pub duration: Option<f64>,
    /// Do not end the break when it has lasted so long, unless nothing else does
    #[arg(long, requires = "duration")]
    pub no_auto_return: bool,
    /// Makes it safe to ask again: the same under the same key is done once, and gets the same answer
    #[arg(long, value_name = "TEXT")]
    pub key: Option<String>,
    /// Address of the server's admin listener
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:9997", value_parser = address)]
    pub admin: SocketAddr,
}

/// A clip.
#[derive(Clone, Debug, Args)]
pub struct Clip {
    /// The channel
    #[arg(value_name = "CHANNEL")]
    pub channel: String,
    /// When it begins, in UTC, such as 2026-11-26T19:00:00Z, or in seconds since 1970 [default: with the
    /// window]
    #[arg(long, value_name = "TIME")]
    pub start: Option<String>,
    /// When it ends [default: with what is there]
    #[arg(long, value_name = "TIME")]
    pub end: Option<String>,
    /// What people call it
    #[arg(long, value_name = "TEXT", default_value = "")]
    pub title: String,
    /// Its name in URLs [default: one is made up]
    #[arg(long, value_name = "NAME")]
    pub id: Option<String>,
    /// Address of the server's admin listener
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:9997", value_parser = address)]
    pub admin: SocketAddr,
}

/// What is asked of assets.
#[derive(Clone, Debug, Args)]
pub struct Assets {
    /// What to do
    #[command(subcommand)]
    pub what: AssetsCommand,
    /// Address of the server's admin listener
    #[arg(long, value_name = "ADDRESS", global = true, default_value = "127.0.0.1:9997",
          value_parser = address)]
    pub admin: SocketAddr,
}

/// What can be done with assets.
#[derive(Clone, Debug, Subcommand)]
pub enum AssetsCommand {
    /// Print all of them, the newest first
    List,
    /// Give one another title
    Rename {
        /// Its name in URLs
        #[arg(value_name = "ID", value_parser = asset_id)]
        id: String,
        /// The title
        #[arg(value_name = "TEXT")]
        title: String,
    },
    /// Delete one; what is in a channel's window stays there
    Delete {
        /// Its name in URLs
        #[arg(value_name = "ID", value_parser = asset_id)]
        id: String,
    },
}

/// A length of time that is one.
fn seconds(text: &str) -> Result<f64, &'static str> {
    let seconds = text.parse().ok().or_else(|| {
        let millis = config::millis(text, 1, 24 * 3_600_000).ok()?;
        Some(std::time::Duration::from_millis(millis).as_secs_f64())
    });
    let seconds = seconds.filter(|seconds: &f64| seconds.is_finite() && *seconds > 0.0);
    seconds.ok_or("a break lasts a number of seconds above 0, or such as 90s or 2m")
}

/// A name that can stand in a path.
fn asset_id(text: &str) -> Result<String, packager::media::InvalidName> {
    packager::media::Name::parse(text).map(|name| name.to_string())
}

impl Clip {
    /// What is asked of the server: a path, and a body.
    pub fn order(&self) -> (String, serde_json::Value) {
        let fields = [
            ("start", self.start.clone()),
            ("end", self.end.clone()),
            ("title", Some(self.title.clone())),
            ("id", self.id.clone()),
        ];
        let fields =
            fields.into_iter().filter_map(|(name, value)| Some((name.to_owned(), value?.into())));
        let body: serde_json::Map<_, _> = fields.collect();
        (format!("/api/v1/channels/{}/clips", self.channel), body.into())
    }
}

impl AssetsCommand {
    /// What is asked of the server: a method, a path, and a body.
    pub fn order(&self) -> (&'static str, String, Option<serde_json::Value>) {
        match self {
            Self::List => ("GET", "/api/v1/assets".to_owned(), None),
            Self::Rename { id, title } => {
                let body = serde_json::json!({ "title": title });
                ("PATCH", format!("/api/v1/assets/{id}"), Some(body))
            }
            Self::Delete { id } => ("DELETE", format!("/api/v1/assets/{id}"), None),
        }
    }
}

/// What is to happen.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum CueKind {
    /// A break begins.
    Out,
    /// A break ends.
    In,
    /// A break that has not begun is not to be.
    Cancel,
}

impl Cue {
    /// What is asked of the server.
    pub fn order(&self) -> Order {
        let kind = self.kind.map(|kind| match kind {
            CueKind::Out => "out",
            CueKind::In => "in",
            CueKind::Cancel => "cancel",
        });
        let fields = [
            ("kind", kind.map(Into::into)),
            ("section", self.section.clone().map(Into::into)),
            ("event_id", self.event.map(Into::into)),
            ("at", self.at.clone().map(Into::into)),
            ("duration", self.duration.map(Into::into)),
            ("auto_return", self.no_auto_return.then(|| false.into())),
            ("idempotency_key", self.key.clone().map(Into::into)),
        ];
        let fields = fields.into_iter().filter_map(|(name, value)| Some((name.to_owned(), value?)));
        Order { channel: self.channel.clone(), fields: fields.collect() }
    }
}

#[cfg(test)]
mod tests {
    use crate::cli::Command;
    use crate::cli::tests::parse;

    #[test]
    fn a_cue_asks_for_what_was_said_and_no_more() {
        let Command::Cue(cue) =
            parse("cue news out --duration 15s --no-auto-return --event 7").unwrap().command
        else {
            panic!("a cue")
        };
        let fields = serde_json::Value::Object(cue.order().fields);
        let expected = r#"{"auto_return":false,"duration":15.0,"event_id":7,"kind":"out"}"#;
        assert_eq!((cue.admin.port(), fields.to_string().as_str()), (9997, expected));
        assert!(parse("cue news --section 0xFC").is_ok() && parse("cue news").is_err());
        assert!(parse("cue news out --section 0xFC").is_err());
        for wrong in ["-1", "long"] {
            let told = parse(&format!("cue news out --duration {wrong}")).unwrap_err().to_string();
            let clear = told.contains("a number of seconds above 0") && !told.contains("-- -1");
            assert!(clear, "{told}");
        }
    }

    #[test]
    fn a_clip_asks_for_a_span() {
        let Command::Clip(clip) =
            parse("clip news --start 1795633201 --end 2026-11-26T19:00:00Z --title Goal")
                .unwrap()
                .command
        else {
            panic!("a clip")
        };
        let (path, body) = clip.order();
        assert_eq!(path, "/api/v1/channels/news/clips");
        let expected = r#"{"end":"2026-11-26T19:00:00Z","start":"1795633201","title":"Goal"}"#;
        assert_eq!(body.to_string(), expected);
    }

    #[test]
    fn assets_are_asked_for_by_names_that_stand_in_a_path() {
        let Command::Assets(assets) = parse("assets rename goal-1 Second").unwrap().command else {
            panic!("assets")
        };
        let body = serde_json::json!({ "title": "Second" });
        assert_eq!(assets.what.order(), ("PATCH", "/api/v1/assets/goal-1".to_owned(), Some(body)));
        assert!(parse("assets delete ../x").is_err() && parse("assets").is_err());
    }
}
