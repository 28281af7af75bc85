//! The configuration: what an operator may wish for, checked whole before anything starts.
//!
//! ```text
//! text ─► TOML with spans ─► file (walks sections, collects every problem) ─► Config
//!                              │ value (durations, sizes, rates, addresses, ladders)
//!                              └ problem (key path, line, words)
//! ```
//! A [`Config`] that exists is valid: no later code checks a range again. All defaults stand in
//! this file. What the wishes become on a channel's grid is [`packager::grid`]'s business.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::time::Duration;

use bytes::Bytes;
use ingest::av::ladder::Wish;
use ingest::secret::Secret;
use ingest::srt;
use packager::media::Name;
use packager::time::{FrameRate, Span};

use crate::network::Network;

mod cues;
mod file;
mod problem;
mod value;
pub use cues::{Cues, Periods};
pub use problem::{Problem, Problems};
pub(crate) use value::{
    address, endpoint, millis, print_bytes, print_millis, print_rate, s3_place, yes_or_no,
};

/// The file `headwater serve` reads when it is given none and finds this one.
pub const DEFAULT_FILE: &str = "headwater.toml";

/// What a publisher may send unless the operator says otherwise: a contribution of 2160p at 60
/// frames per second in H.264 is below it.
const MAX_BITRATE: u32 = 40_000_000;

/// Everything an operator can set.
#[derive(Clone, Debug, Default)]
pub struct Config {
    /// Where viewers and CDNs come.
    pub http: Http,
    /// Where RTMP publishers come.
    pub rtmp: Rtmp,
    /// Where SRT publishers come.
    pub srt: Srt,
    /// Where browsers come for a preview, or to publish.
    pub webrtc: WebRtc,
    /// Where operators and monitors come.
    pub admin: Admin,
    /// The spool on disk and the live edge in memory.
    pub store: Store,
    /// How many ladders the machine takes on.
    pub admission: Admission,
    /// The channels, in the order of the file; no two share a name.
    pub channels: Vec<Channel>,
}

/// `[http]`
#[derive(Clone, Debug)]
pub struct Http {
    /// Address of the listener.
    pub listen: SocketAddr,
    /// The origin's address as viewers see it, without a slash at the end; for absolute links.
    pub public_url: Option<String>,
    /// Connections of viewers at one time; those of the trusted are counted apart.
    pub connections: u32,
    /// Connections from one address.
    pub connections_per_address: u32,
    /// Requests that wait at one time; those of the trusted are counted apart.
    pub waiting: u32,
    /// Requests from one address that wait.
    pub waiting_per_address: u32,
    /// Networks of CDNs and proxies.
    pub trusted: Vec<Network>,
    /// Where viewers come over TLS, if they do.
    pub tls: Option<Tls>,
}

/// `[http.tls]`
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tls {
    /// Address of the listener.
    pub listen: SocketAddr,
    /// The certificate and those that lead to its root, in PEM.
    pub cert: PathBuf,
    /// Its private key, in PEM.
    pub key: PathBuf,
}

/// `[rtmp]`
#[derive(Clone, Debug)]
pub struct Rtmp {
    /// Address of the listener.
    pub listen: SocketAddr,
}

/// `[srt]`
#[derive(Clone, Debug)]
pub struct Srt {
    /// Address of the listener.
    pub listen: SocketAddr,
    /// The least latency a publisher's connection gets.
    pub latency: Duration,
}

/// `[webrtc]`
#[derive(Clone, Debug)]
pub struct WebRtc {
    /// Address of the one socket that all media goes through; `None`: there is no WebRTC.
    pub listen: Option<SocketAddr>,
    /// Where browsers find that socket, if that is not where it is bound: behind a NAT, in a container.
    /// Port 0 is the socket's own. Empty: the addresses of this machine.
    pub advertise: Vec<SocketAddr>,
    /// STUN and TURN servers that browsers are told of (RFC 9725 §4.6), as URIs.
    pub ice_servers: Vec<String>,
    /// Previews at one time, of all channels.
    pub viewers: u32,
    /// Previews of one channel at one time.
    pub viewers_per_channel: u32,
}

/// `[admin]`
#[derive(Clone, Debug)]
pub struct Admin {
    /// Address of the listener. It shows keys: loopback unless something in front asks who it is.
    pub listen: SocketAddr,
    /// Names it answers to besides those of loopback and plain addresses.
    pub hosts: Vec<String>,
}

/// `[store]`
#[derive(Clone, Debug)]
pub struct Store {
    /// Directory of the spool; made if it is not there.
    pub path: PathBuf,
    /// Bytes of media a channel may keep in memory.
    pub memory: u64,
    /// The durable store behind it, if there is one: `kind = "s3"`.
    pub s3: Option<S3>,
}

/// `[store]` with `kind = "s3"`
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct S3 {
    /// The bucket.
    pub bucket: String,
    /// What every key begins with: empty, or with a slash at the end.
    pub prefix: String,
    /// Address of a store that is not AWS's.
    pub endpoint: Option<String>,
    /// Region that requests are signed for.
    pub region: String,
    /// Whether the bucket stands in the path; `None`: with an endpoint, yes, and else not.
    pub path_style: Option<bool>,
    /// A file of credentials, instead of the usual chain.
    pub credentials: Option<PathBuf>,
    /// Which of the credentials in shared files.
    pub profile: Option<String>,
    /// Server-side encryption.
    pub encryption: Option<String>,
    /// Id of the key of that.
    pub encryption_key: Option<String>,
    /// Storage class of media.
    pub storage_class: Option<String>,
    /// Bytes of objects that were read back to be kept in memory.
    pub cache: u64,
    /// Whether playlists and manifests are written there too.
    pub playlists: bool,
    /// What this server does with it.
    pub role: Role,
}

impl Default for S3 {
    fn default() -> Self {
        Self {
            bucket: String::new(),
            prefix: String::new(),
            endpoint: None,
            // Of AWS the first, and what stores of one's own have where nobody set any.
            region: "us-east-1".to_owned(),
            path_style: None,
            credentials: None,
            profile: None,
            encryption: None,
            encryption_key: None,
            storage_class: None,
            // A window of a minute of a fat ladder, or ten of a thin one.
            cache: 256 << 20,
            playlists: false,
            role: Role::Primary,
        }
    }
}

/// What a server does with the durable store.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Role {
    /// It makes the channels, and sends what it makes.
    #[default]
    Primary,
    /// It serves what another server has sent.
    Replica,
}

/// `[admission]`
#[derive(Clone, Debug, Default)]
pub struct Admission {
    /// Cores that ladders may use.
    pub cores: Cores,
}

/// How many cores there are for ladders.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub enum Cores {
    /// As many as the system lets this process use.
    #[default]
    Auto,
    /// So many.
    Count(f64),
    /// They are not counted: every publisher with the key is let in.
    Off,
}

/// `[[channel]]`
#[derive(Clone, Debug)]
pub struct Channel {
    /// Its name in every URL.
    pub name: Name,
    /// The publisher's key. Without one the channel takes publishers from loopback only.
    pub key: Option<Secret>,
    /// What its SRT publishers' streams are encrypted with. Without one they are not.
    pub passphrase: Option<Secret>,
    /// Bits per second that a publisher may send; `None`: any.
    pub max_bitrate: Option<u32>,
    /// Whether the source is packaged as it is, without FFmpeg: `ladder = "source"`.
    pub pass_through: bool,
    /// What becomes of a source that can't be packaged as it is.
    pub fallback: Fallback,
    /// Where the channel takes its source from; `None`: from whoever publishes to it.
    pub source: Option<Source>,
    /// Number of the program that is read of a transport stream; `None`: its first.
    pub program: Option<u16>,
    /// What is made of the source otherwise, highest first; at least one rung.
    pub ladder: Vec<Rung>,
    /// Frame rate of the ladder; `None`: found on first publish.
    pub fps: Option<FrameRate>,
    /// Wished segment length, 1–6 s.
    pub segment: Span,
    /// Wished part length, 0.2–1 s.
    pub part: Span,
    /// How far back a live playlist reaches.
    pub window: Span,
    /// How long S3 keeps what is not listed any more; `None`: for ever.
    pub keep: Option<Duration>,
    /// Bytes of the channel's segments that S3 keeps; `None`: any number.
    pub keep_size: Option<u64>,
    /// How long the channel goes on without its source.
    pub hold: Duration,
    /// What it shows then, after the last picture; `None`: its name.
    pub slate: Option<Slate>,
    /// How long the last picture stands before that.
    pub slate_after: Duration,
    /// What is made of its cues.
    pub cues: Cues,
    /// Whether what its window holds is kept as an asset when it ends.
    pub record: bool,
}

/// A source that a channel takes by itself: a transport stream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Source {
    /// A file, read at the pace of its clock.
    File {
        /// Where it lies.
        path: PathBuf,
        /// Whether it is played again when it has ended.
        repeat: bool,
    },
    /// Datagrams that are sent to this machine or to a group.
    Datagrams(Datagrams),
    /// Somebody who is called over SRT.
    Call(srt::Url),
}

impl Source {
    /// Whether two channels can't both have their sources: of what is sent to one port of this machine
    /// only one gets anything, while any number may listen to a group.
    pub(crate) fn clashes(&self, other: &Self) -> bool {
        let (Self::Datagrams(one), Self::Datagrams(other)) = (self, other) else { return false };
        let (one, other) = (one.address, other.address);
        let is_any = one.ip().is_unspecified() || other.ip().is_unspecified();
        !one.ip().is_multicast()
            && !other.ip().is_multicast()
            && one.port() == other.port()
            && (one.ip() == other.ip() || is_any && one.is_ipv4() == other.is_ipv4())
    }
}

/// As the configuration writes it.
impl std::fmt::Display for Source {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::File { path, .. } => path.display().fmt(f),
            Self::Datagrams(Datagrams { rtp, address, .. }) => {
                write!(f, "{}://{address}", if *rtp { "rtp" } else { "udp" })
            }
            Self::Call(url) => url.fmt(f),
        }
    }
}

/// Where datagrams come.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Datagrams {
    /// Whether they have a header of RTP.
    pub rtp: bool,
    /// The local address to listen on, or the multicast group to join; and the port.
    pub address: SocketAddr,
    /// The address of the interface on which the group is joined.
    pub interface: Option<Ipv4Addr>,
    /// The one sender that is heard; `None`: the first.
    pub from: Option<IpAddr>,
}

/// What becomes of a source that a pass-through channel can't package as it is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Fallback {
    /// Its publisher is sent away with the reason.
    #[default]
    Refuse,
    /// It is encoded anew in its own size.
    Encode,
}

/// An image file, read when the configuration was.
#[derive(Clone, PartialEq, Eq)]
pub struct Slate {
    /// Where it lies.
    pub path: PathBuf,
    /// The file: PNG or JPEG, at most 4 MiB.
    pub image: Bytes,
}

impl std::fmt::Debug for Slate {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Slate({}, {} bytes)", self.path.display(), self.image.len())
    }
}

/// One video rendition of a ladder.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rung {
    /// The rendition's name: the height and `p`.
    pub name: Name,
    /// Picture height in pixels: even, 96–2160.
    pub height: u16,
    /// Bits per second; `None`: by the table of the ladder.
    pub bitrate: Option<u32>,
}

const ANY: IpAddr = IpAddr::V4(Ipv4Addr::UNSPECIFIED);
const LOOPBACK: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);

/// Heights of the ladder where the file names none: a phone, a tablet, a television.
const DEFAULT_LADDER: [u16; 3] = [720, 480, 360];

impl Default for Http {
    fn default() -> Self {
        Self {
            listen: SocketAddr::new(ANY, 8080),
            public_url: None,
            // 10,000 that wait, and room for the rest.
            connections: 16_384,
            // Some eighty viewers behind one address: a browser opens up to six.
            connections_per_address: 512,
            waiting: 10_000,
            // The same viewers: three requests each, for pictures, sound and the next part.
            waiting_per_address: 256,
            // What runs on this machine is the operator's: an edge, a proxy, a monitor.
            trusted: Network::LOOPBACK.to_vec(),
            tls: None,
        }
    }
}

impl Default for Rtmp {
    fn default() -> Self {
        Self { listen: SocketAddr::new(ANY, 1935) }
    }
}

impl Default for Srt {
    fn default() -> Self {
        // libsrt's own: who needs more asks for it.
        Self { listen: SocketAddr::new(ANY, 8890), latency: Duration::from_millis(120) }
    }
}

impl Default for WebRtc {
    fn default() -> Self {
        Self {
            listen: Some(SocketAddr::new(ANY, 8189)),
            advertise: Vec::new(),
            ice_servers: Vec::new(),
            // A preview of 2.5 Mb/s takes about 2 % of a core, so this is a core and 125 Mb/s.
            viewers: 50,
            viewers_per_channel: 20,
        }
    }
}

impl Default for Admin {
    fn default() -> Self {
        Self { listen: SocketAddr::new(LOOPBACK, 9997), hosts: Vec::new() }
    }
}

impl Default for Store {
    fn default() -> Self {
        // 30 s of three rungs at 720p is some 20 MB; the rest is room for fatter ladders.
        Self { path: PathBuf::from("data"), memory: 64 << 20, s3: None }
    }
}

impl Channel {
    /// A channel with every setting at its default.
    pub fn named(name: Name) -> Self {
        Self {
            name,
            key: None,
            passphrase: None,
            pass_through: false,
            fallback: Fallback::Refuse,
            source: None,
            program: None,
            max_bitrate: Some(MAX_BITRATE),
            ladder: DEFAULT_LADDER.into_iter().filter_map(|h| Rung::of_height(h, None)).collect(),
            fps: None,
            segment: Span::millis(2_000),
            part: Span::millis(300),
            window: Span::millis(600_000),
            keep: None,
            keep_size: None,
            hold: Duration::from_secs(90),
            slate: None,
            // A link's hiccups are over by then, and a viewer begins to doubt.
            slate_after: Duration::from_secs(5),
            cues: Cues::default(),
            record: false,
        }
    }
}

impl Rung {
    /// The rung of a height; `None` unless it is even and 96–2160.
    pub fn of_height(height: u16, bitrate: Option<u32>) -> Option<Self> {
        if !(value::MIN_HEIGHT..=value::MAX_HEIGHT).contains(&height) || !height.is_multiple_of(2) {
            return None;
        }
        Name::parse(&format!("{height}p")).ok().map(|name| Self { name, height, bitrate })
    }

    /// What is asked of the ladder.
    pub(crate) fn wish(&self) -> Wish {
        Wish { name: self.name.clone(), height: self.height, bitrate: self.bitrate }
    }
}

/// A text that is no height of a rung; says what would be one.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct BadHeight(String);

/// Reads `720p`.
impl std::str::FromStr for Rung {
    type Err = BadHeight;

    fn from_str(text: &str) -> Result<Self, BadHeight> {
        let height = value::height(text).map_err(BadHeight)?;
        Self::of_height(height, None).ok_or_else(|| BadHeight(format!("{text:?} is no rung")))
    }
}

/// Why there is no configuration.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The file can't be read.
    #[error("can't read {path}", path = path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// What the system says.
        source: std::io::Error,
    },
    /// The file is read and says something that can't be.
    #[error("{path}: {problems}", path = path.display())]
    Invalid {
        /// The file.
        path: PathBuf,
        /// Everything that is wrong with it.
        problems: Problems,
    },
}

/// A configuration and what it was read from.
#[derive(Debug)]
pub struct Found {
    /// What it says.
    pub config: Config,
    /// The text of its file; empty where there is none.
    pub text: String,
}

impl Config {
    /// Reads a file; relative paths in it stand as they are, relative to the working directory.
    ///
    /// # Errors
    /// The file can't be read, or [`Problems`]: all of them, not the first.
    pub fn load(path: &Path) -> Result<Self, Error> {
        read(path).map(|found| found.config)
    }

    /// What `headwater serve` runs with: the file given, else [`DEFAULT_FILE`] if it is there,
    /// else the defaults.
    ///
    /// # Errors
    /// As [`Self::load`].
    pub fn find(path: Option<&Path>) -> Result<Found, Error> {
        match path {
            Some(path) => read(path),
            None if Path::new(DEFAULT_FILE).exists() => read(Path::new(DEFAULT_FILE)),
            None => Ok(Found { config: Self::default(), text: String::new() }),
        }
    }

    /// Reads the text of a file. `key_env` is looked up in this process's environment.
    ///
    /// # Errors
    /// Every problem of the text.
    pub fn parse(text: &str) -> Result<Self, Problems> {
        file::parse(text, &|name| std::env::var(name).ok()).map(|read| read.config)
    }
}

fn read(path: &Path) -> Result<Found, Error> {
    let text = std::fs::read_to_string(path)
        .map_err(|source| Error::Read { path: path.to_owned(), source })?;
    match Config::parse(&text) {
        Ok(config) => Ok(Found { config, text }),
        Err(problems) => Err(Error::Invalid { path: path.to_owned(), problems }),
    }
}

#[cfg(test)]
mod tests;
