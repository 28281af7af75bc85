//! The command line: what can be asked of the `headwater` program.
//!
//! Parsing only; [`check`] is the one command that is all here. The others live in the crate's
//! other modules and are called from `main`. The commands that ask a running server stand in their own module.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::str::FromStr;

use clap::{Args, Parser, Subcommand, ValueEnum};
use packager::time::Span;

use crate::cdn_check;
use crate::config::{self, Rung};
use crate::telemetry::log;

mod asking;
pub mod check;

pub use asking::{Assets, AssetsCommand, Clip, Cue, CueKind};

/// Live video origin and packager: one stream in; HLS and DASH out, from one copy of the media.
#[derive(Clone, Debug, Parser)]
#[command(name = "headwater", version, arg_required_else_help = true)]
pub struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
    /// How to log.
    #[command(flatten)]
    pub log: Log,
}

/// How to log; to standard error, one line an event.
#[derive(Clone, Debug, Args)]
pub struct Log {
    /// What to log: error, warn, info, debug or trace, also by module: info,ingest=debug [default:
    /// the variable HEADWATER_LOG, else info]
    #[arg(long = "log", value_name = "FILTER", global = true)]
    pub filter: Option<String>,
    /// How to write it
    #[arg(long = "log-format", value_name = "FORMAT", global = true, default_value = "human")]
    pub format: log::Format,
}

/// The argument that gives the server its role; its guardian adds it.
pub const GUARDED: &str = "--guarded";

/// The commands.
#[derive(Clone, Debug, Subcommand)]
pub enum Command {
    /// Run the server
    ///
    /// Without a file it takes ./headwater.toml if that is there, else the defaults, which have no
    /// channel. It runs as two processes: the one that is started here holds the ports, and starts
    /// the other, which does the work, again at once when it dies. Viewers then wait for a moment and
    /// play on.
    Serve(Serve),
    /// Run the server with a channel `demo` and something to see in it
    ///
    /// A built-in broadcaster draws a clock and publishes it through the RTMP door, on loopback;
    /// the page's address is printed. Needs no configuration and leaves no files.
    Demo(Demo),
    /// Tell everything that is wrong with a configuration
    ///
    /// Without a file it takes ./headwater.toml, as `serve` does. Prints what the wishes in it become, and
    /// ends with 0; or prints every problem with its line and key, and ends with 2.
    Check {
        /// The configuration
        #[arg(long, value_name = "FILE", default_value = config::DEFAULT_FILE)]
        config: PathBuf,
        /// Try out too what the S3 store of the configuration can do: writes, reads and deletes an
        /// object there
        #[arg(long)]
        s3: bool,
    },
    /// Probe the CDN in front of a channel
    ///
    /// Asks as some viewers would, for about 15 s, and tells what is wrong with the edge and what to
    /// change. Ends with 0; or with 1 where there is a fault, and with 2 where nothing can be probed.
    CdnCheck(CdnCheck),
    /// Start, end or cancel an ad break of a channel
    ///
    /// Asks the running server at its admin address, and prints what becomes of it: the cue with the
    /// time and the segment where it is cut. Ends with 0; or with 1 where nothing was done, and with 2
    /// where there is no server.
    #[command(override_usage = "headwater cue [OPTIONS] <CHANNEL> <KIND>\n       \
                                headwater cue [OPTIONS] <CHANNEL> --section <TEXT>")]
    Cue(Cue),
    /// Keep what a channel has shown as a clip, under /vod
    ///
    /// Asks the running server at its admin address, and prints the asset that it is. Ends with 0; or with
    /// 1 where nothing was done, and with 2 where there is no server.
    Clip(Clip),
    /// List, rename and delete recordings and clips
    Assets(Assets),
    /// Package a file into a folder that any web server can serve, or into a bucket of S3
    ///
    /// Through the same encoder and packager as a channel, as fast as the machine can: HLS and DASH over one
    /// copy. One that was broken off goes on where it stopped. Ends with 0, or with 2 where it can't be done.
    /// For S3 the credentials come from the usual chain of AWS: environment, shared files, the machine's role.
    Package(Package),
    /// Run as a media worker; the server starts these itself
    #[command(hide = true)]
    Worker {
        /// A file to be read
        #[arg(long)]
        film: Option<PathBuf>,
    },
}

/// What to package.
#[derive(Clone, Debug, Args)]
pub struct Package {
    /// The file: anything that FFmpeg reads
    #[arg(value_name = "INPUT")]
    pub input: PathBuf,
    /// Heights of the video renditions, or `source` for its own pictures, which are H.264 or HEVC with AAC
    /// then
    #[arg(long, value_name = "LIST", default_value = "source")]
    pub ladder: Ladder,
    /// The folder, made if it is not there; or a bucket and what keys begin with, such as s3://films/2026
    #[arg(long, value_name = "DIR|s3://…")]
    pub out: Out,
    /// How that bucket is reached
    #[command(flatten)]
    pub s3: S3,
    /// Wished length of a segment, 1s to 6s; a file's own end at its key frames
    #[arg(long, value_name = "TIME", default_value = "4s", value_parser = segment)]
    pub segment: Span,
}

/// A length of segments; a bare number is one of seconds.
fn segment(text: &str) -> Result<Span, String> {
    let is_bare = text.bytes().all(|b| b.is_ascii_digit());
    let text = if is_bare { format!("{text}s") } else { text.to_owned() };
    config::millis(&text, 1_000, 6_000).map(Span::millis)
}

/// Where a packaged file goes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Out {
    /// A folder.
    Folder(PathBuf),
    /// A bucket.
    S3 {
        /// Its name.
        bucket: String,
        /// What keys begin with: empty, or with a slash at the end.
        prefix: String,
    },
}

impl FromStr for Out {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if text.starts_with("s3://") {
            return config::s3_place(text).map(|(bucket, prefix)| Self::S3 { bucket, prefix });
        }
        Ok(Self::Folder(PathBuf::from(text)))
    }
}

/// How a bucket is reached: as `[store]` of a configuration has it.
#[derive(Clone, Debug, Args)]
pub struct S3 {
    /// Address of a store of S3 that is not AWS's, such as `https://s3.example.org`
    #[arg(long = "s3-endpoint", value_name = "URL", value_parser = config::endpoint)]
    pub endpoint: Option<String>,
    /// Region that requests are signed for
    #[arg(long = "s3-region", value_name = "NAME", default_value = "us-east-1")]
    pub region: String,
    /// Whether the bucket stands in the path rather than in the host's name, yes or no [default: yes with an
    /// endpoint of its own, else no]
    #[arg(long = "s3-path-style", value_name = "YES|NO", value_parser = config::yes_or_no)]
    pub path_style: Option<bool>,
}

/// How to run the server.
#[derive(Clone, Debug, Args)]
pub struct Serve {
    /// The configuration
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// Run as one process, which nothing starts again: for debuggers
    #[arg(long)]
    pub no_guardian: bool,
    /// Run on the sockets of a guardian; the guardian says this
    #[arg(long, hide = true, conflicts_with = "no_guardian")]
    pub guarded: bool,
}

/// An edge for the demo, with the configuration of `infra/cdn`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Cdn {
    /// nginx: simple, and best for few viewers of low latency.
    Nginx,
    /// Varnish: what crowds want.
    Varnish,
}

/// What to probe.
#[derive(Clone, Debug, Args)]
pub struct CdnCheck {
    /// The edge's address of a live channel: its playlist, manifest or watch page
    #[arg(value_name = "URL")]
    pub url: String,
    /// Print one JSON object
    #[arg(long)]
    pub json: bool,
    /// Viewers that ask for the same thing at the same moment
    #[arg(long, value_name = "N", default_value_t = cdn_check::VIEWERS,
          value_parser = clap::value_parser!(u16).range(2..=500))]
    pub viewers: u16,
}

/// An address and port of this machine; names are not looked up.
fn address(text: &str) -> Result<SocketAddr, String> {
    config::address(text)
}

/// Where the demo listens. Port 0 lets the system choose.
#[derive(Clone, Debug, Args)]
pub struct Demo {
    /// Address of the pages, playlists and media
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:8080", value_parser = address)]
    pub http: SocketAddr,
    /// Address of the RTMP door
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:1935", value_parser = address)]
    pub rtmp: SocketAddr,
    /// Address of the SRT door
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:8890", value_parser = address)]
    pub srt: SocketAddr,
    /// Address of the socket that WebRTC's media goes through
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:8189", value_parser = address)]
    pub webrtc: SocketAddr,
    /// Address of the operator's page
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:9997", value_parser = address)]
    pub admin: SocketAddr,
    /// Directory for the segments [default: a temporary one, deleted at the end]
    #[arg(long, value_name = "DIR")]
    pub data: Option<PathBuf>,
    /// Put this CDN edge in front: the page's address is the edge's. It has to be installed
    #[arg(long, value_name = "EDGE")]
    pub cdn: Option<Cdn>,
    /// Address of that edge
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:8081", requires = "cdn",
          value_parser = address)]
    pub cdn_listen: SocketAddr,
    /// Heights of the video renditions, or `source` for the broadcaster's own [default: 720p,480p,360p;
    /// 720p,360p on two or three cores, 360p on one]
    #[arg(long, value_name = "LIST")]
    pub ladder: Option<Ladder>,
}

/// What the demo makes of its broadcaster's pictures.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Ladder {
    /// They are packaged as they are.
    Source,
    /// These rungs.
    Rungs(Vec<Rung>),
}

impl FromStr for Ladder {
    type Err = <Rung as FromStr>::Err;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text {
            "source" => Ok(Self::Source),
            list => list.split(',').map(str::parse).collect::<Result<_, _>>().map(Self::Rungs),
        }
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    pub(super) fn parse(line: &str) -> Result<Cli, clap::Error> {
        Cli::try_parse_from(std::iter::once("headwater").chain(line.split_whitespace()))
    }

    #[test]
    fn the_definition_is_sound() {
        Cli::command().debug_assert();
    }

    #[test]
    fn the_contract_of_the_command_line_holds() {
        let Command::Serve(serve) = parse("serve").unwrap().command else { panic!("a server") };
        assert!(serve.config.is_none() && !serve.no_guardian && !serve.guarded);
        assert!(matches!(
            parse(&format!("serve {GUARDED}")).unwrap().command,
            Command::Serve(Serve { guarded: true, .. })
        ));
        assert!(matches!(
            parse("serve --no-guardian").unwrap().command,
            Command::Serve(Serve { no_guardian: true, .. })
        ));
        let cli = parse("serve --config a.toml --log debug --log-format json").unwrap();
        assert!(matches!(cli.command, Command::Serve(Serve { config: Some(_), .. })));
        assert_eq!((cli.log.filter.as_deref(), cli.log.format), (Some("debug"), log::Format::Json));
        assert!(matches!(parse("check --config a.toml").unwrap().command, Command::Check { .. }));
        let Command::Check { config, s3: false } = parse("check").unwrap().command else {
            panic!("a check")
        };
        assert_eq!(config.to_str(), Some(config::DEFAULT_FILE), "as the server");
        assert!(matches!(parse("worker").unwrap().command, Command::Worker { film: None }));
        let Command::Package(package) =
            parse("package a.mp4 --ladder 180p,96p --out b").unwrap().command
        else {
            panic!("a file")
        };
        assert!(matches!(package.ladder, Ladder::Rungs(rungs) if rungs.len() == 2));
        assert_eq!(package.out, Out::Folder("b".into()));
        let Command::Package(package) =
            parse("package a.mp4 --out s3://films/2026 --s3-endpoint http://127.0.0.1:9000")
                .unwrap()
                .command
        else {
            panic!("a file")
        };
        let (bucket, prefix) = ("films".to_owned(), "2026/".to_owned());
        assert_eq!(package.out, Out::S3 { bucket, prefix });
        assert_eq!((package.s3.path_style, package.s3.region.as_str()), (None, "us-east-1"));
        for wrong in ["s3://", "s3://A b", "s3://films/a?b", "s3://films --s3-endpoint films"] {
            assert!(parse(&format!("package a.mp4 --out {wrong}")).is_err(), "{wrong}");
        }
        assert!(parse("package a.mp4").is_err(), "a place to put it");
        for (segment, millis) in
            [("2", Some(2_000)), ("1.5s", Some(1_500)), ("9", None), ("s", None)]
        {
            let parsed = parse(&format!("package a.mp4 --out b --segment {segment}")).ok();
            let found = parsed.map(|cli| match cli.command {
                Command::Package(package) => package.segment,
                other => panic!("{other:?}"),
            });
            assert_eq!(found, millis.map(Span::millis), "{segment}");
        }
        let Command::Demo(demo) = parse("demo --http 127.0.0.1:0").unwrap().command else {
            panic!("a demo")
        };
        assert_eq!((demo.http.port(), demo.rtmp.port(), demo.admin.port()), (0, 1935, 9997));
        assert!(demo.http.ip().is_loopback() && demo.rtmp.ip().is_loopback());
        assert_eq!(demo.srt.to_string(), "127.0.0.1:8890");
        assert!(demo.ladder.is_none());
        let Command::Demo(demo) = parse("demo --ladder 180p,96p").unwrap().command else {
            panic!("a demo")
        };
        let Some(Ladder::Rungs(rungs)) = demo.ladder else { panic!("rungs") };
        assert_eq!(rungs.iter().map(|rung| rung.height).collect::<Vec<_>>(), [180, 96]);
        let Command::Demo(demo) = parse("demo --ladder source").unwrap().command else {
            panic!("a demo")
        };
        assert_eq!(demo.ladder, Some(Ladder::Source));
        assert!(parse("demo --ladder 180p,source").is_err());
        assert!(parse("demo --cdn-listen 127.0.0.1:0").is_err(), "an address of no edge");
        assert!(parse("demo --cdn squid").is_err());
        let Command::Demo(demo) = parse("demo --cdn varnish").unwrap().command else {
            panic!("a demo")
        };
        assert_eq!((demo.cdn, demo.cdn_listen.port()), (Some(Cdn::Varnish), 8081));
        let Command::CdnCheck(check) = parse("cdn-check http://e/live/a --json").unwrap().command
        else {
            panic!("a check")
        };
        assert!(check.json && check.viewers == cdn_check::VIEWERS);
        assert!(parse("cdn-check http://e/ --viewers 1").is_err(), "one is no crowd");
        assert!(parse("demo --ladder 181p").is_err());
        for (line, words) in [
            ("demo --http nowhere", "is not an address and port such as"),
            ("demo --http 8080", "is not an address and port such as"),
            ("demo --srt localhost:8080", "is not an address and port such as"),
        ] {
            let told = parse(line).unwrap_err().to_string();
            assert!(told.contains(words), "{line}: {told}");
        }
        assert!(parse("dance").is_err());
    }

    #[test]
    fn roles_of_processes_are_not_for_people() {
        let help = Cli::command().render_long_help().to_string();
        assert!(help.contains("serve") && !help.contains("worker"), "{help}");
        let mut cli = Cli::command();
        let serve = cli.find_subcommand_mut("serve").unwrap().render_long_help().to_string();
        assert!(serve.contains("--no-guardian") && !serve.contains("--guarded"), "{serve}");
    }
}
