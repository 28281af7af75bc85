//! The real program, started on ports from the system with a configuration of the test's.

use std::ffi::OsString;
use std::fmt::Write as _;
use std::net::{SocketAddr, TcpListener, UdpSocket};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus};
use std::time::Duration;

use rustix::process::Signal;
use tempfile::TempDir;

use crate::client::Client;
use crate::process::{Process, Stdout, harm, tree};
use crate::publisher::srt::Srt;
use crate::wait::{Look, until};
use crate::{Context, Failure, Result, workspace};

mod waiting;
mod workers;

/// How long a start may take, on a machine that runs other tests at the same time.
const READY_WITHIN: Duration = Duration::from_secs(15);
/// How often a start is tried with fresh ports: between asking the system for a free port and the
/// server's taking it, another program may have it.
const PORT_TRIES: usize = 4;

/// Segments at the start of a run that hold its first picture still.
pub const LEAD_IN: u64 = 3;

/// A channel to be configured.
#[derive(Clone, Debug)]
pub struct ChannelConfig {
    /// Its name.
    pub name: String,
    /// Its key, if it has one.
    pub key: Option<String>,
    /// Its rungs; none: the source is packaged as it is.
    pub ladder: Vec<String>,
    /// More lines of its table, such as `fps = "30"`.
    pub extra: String,
}

impl ChannelConfig {
    /// A channel with two tiny rungs and no key.
    pub fn tiny(name: &str) -> Self {
        Self {
            name: name.to_owned(),
            key: None,
            ladder: vec!["180p".to_owned(), "96p".to_owned()],
            extra: String::new(),
        }
    }

    /// A channel that packages its source as it is.
    pub fn pass_through(name: &str) -> Self {
        Self { ladder: Vec::new(), ..Self::tiny(name) }
    }

    /// The same with a key.
    pub fn with_key(mut self, key: &str) -> Self {
        self.key = Some(key.to_owned());
        self
    }

    /// The same with more lines in its table.
    pub fn with(mut self, line: &str) -> Self {
        self.extra.push_str(line);
        self.extra.push('\n');
        self
    }

    /// The same with other rungs.
    pub fn with_ladder(mut self, rungs: &[&str]) -> Self {
        self.ladder = rungs.iter().map(|r| (*r).to_owned()).collect();
        self
    }

    /// The same with long parts. Pictures that are late for theirs are left out, and where each of them
    /// is counted the hiccups of a machine that others use must not be.
    pub fn patient(self) -> Self {
        self.with("part = \"1s\"")
    }

    fn toml(&self) -> String {
        let mut text = format!("[[channel]]\nname = {:?}\n", self.name);
        if let Some(key) = &self.key {
            let _ = writeln!(text, "key = {key:?}");
        }
        let _ = match self.ladder.is_empty() {
            true => writeln!(text, "ladder = \"source\"\n{}", self.extra),
            false => writeln!(text, "ladder = {:?}\n{}", self.ladder, self.extra),
        };
        text
    }
}

/// A running server. Dropping it ends it and keeps its log.
#[derive(Debug)]
pub struct Server {
    process: Process,
    dir: TempDir,
    arguments: Vec<OsString>,
    disk: Option<String>,
    /// Where viewers go.
    pub http: SocketAddr,
    /// Where broadcasters go.
    pub rtmp: SocketAddr,
    /// Where those go that speak SRT.
    pub srt: SocketAddr,
    /// Where the media of WebRTC goes through.
    pub webrtc: SocketAddr,
    /// Where operators go.
    pub admin: SocketAddr,
    /// Where viewers go if an edge was asked for.
    pub edge: Option<SocketAddr>,
    /// Asks it things.
    pub client: Client,
}

impl Server {
    /// Starts `headwater serve` with these channels and waits until it is ready.
    ///
    /// # Errors
    /// If it does not become ready, with the end of its log.
    pub fn start(channels: &[ChannelConfig]) -> Result<Self> {
        Self::start_in(channels, &[])
    }

    /// The same with variables in its environment.
    ///
    /// # Errors
    /// As [`Self::start`].
    pub fn start_in(channels: &[ChannelConfig], environment: &[(&str, &Path)]) -> Result<Self> {
        Self::start_as(channels, "", environment)
    }

    /// The same with more lines in its `[http]` section, such as `waiting = "100"`.
    ///
    /// # Errors
    /// As [`Self::start`].
    pub fn start_with(channels: &[ChannelConfig], http: &str) -> Result<Self> {
        Self::start_as(channels, http, &[])
    }

    /// The same with more lines in its `[store]` section, such as those of [`crate::s3::Store`].
    ///
    /// # Errors
    /// As [`Self::start`].
    pub fn start_storing(channels: &[ChannelConfig], store: &str) -> Result<Self> {
        Self::start_wholly(channels, "", store, (None, ""), (&[], None))
    }

    /// The same on a disk of its own of so many bytes, such as `8m`, that is seen by it alone: from
    /// outside below [`Self::spool`].
    ///
    /// # Errors
    /// As [`Self::start`]; or if the system lets nobody have a file system of his own.
    pub fn start_on_disk(channels: &[ChannelConfig], store: &str, size: &str) -> Result<Self> {
        Self::start_wholly(channels, "", store, (None, ""), (&[], Some(size)))
    }

    /// Starts it again where it was, on the same ports, when it has been killed.
    ///
    /// # Errors
    /// As [`Self::start`].
    pub fn start_again(&mut self) -> Result {
        let log = self.dir.path().join("log-again");
        let mut command = command(self.dir.path(), &self.arguments, self.disk.as_deref())?;
        self.process = Process::spawn("headwater", &mut command, Stdout::Log, &log)?;
        self.wait_ready()
    }

    /// Its spool, as it sees it.
    ///
    /// # Errors
    /// If it does not run just now.
    pub fn spool(&self) -> Result<PathBuf> {
        let data = self.dir.path().join("data");
        Ok(match &self.disk {
            Some(_) => {
                let root = PathBuf::from(format!("/proc/{}/root", self.serving_id()?));
                root.join(data.strip_prefix("/").context("an absolute path")?)
            }
            None => data,
        })
    }

    fn start_as(
        channels: &[ChannelConfig],
        lines: &str,
        environment: &[(&str, &Path)],
    ) -> Result<Self> {
        let around = (environment, None);
        Self::start_wholly(channels, lines, "kind = \"fs\"\n", (None, ""), around)
    }

    /// The same with more lines in its `[webrtc]` section, such as `viewers = "2"`; its media goes through
    /// this port, if one is given.
    ///
    /// # Errors
    /// As [`Self::start`].
    pub fn start_previewing(
        channels: &[ChannelConfig],
        at: Option<SocketAddr>,
        webrtc: &str,
    ) -> Result<Self> {
        Self::start_wholly(channels, "", "kind = \"fs\"\n", (at, webrtc), (&[], None))
    }

    fn start_wholly(
        channels: &[ChannelConfig],
        lines: &str,
        storing: &str,
        (at, previewing): (Option<SocketAddr>, &str),
        around: Around<'_>,
    ) -> Result<Self> {
        let tables: String = channels.iter().map(ChannelConfig::toml).collect();
        on_free_ports(around, |Ports { http, rtmp, srt, webrtc, admin }, dir| {
            let webrtc = at.unwrap_or(webrtc);
            let config = dir.join("headwater.toml");
            let store = dir.join("data");
            let text = format!(
                "[http]\nlisten = \"{http}\"\n{lines}\n[rtmp]\nlisten = \"{rtmp}\"\n\
                 [srt]\nlisten = \"{srt}\"\n[webrtc]\nlisten = \"{webrtc}\"\n{previewing}\n[admin]\nlisten = \"{admin}\"\n[store]\n{storing}path = {store:?}\n{tables}"
            );
            std::fs::write(&config, text).context("configuration of the server")?;
            Ok(vec!["serve".into(), "--config".into(), config.into()])
        })
    }

    /// Starts `headwater demo` and waits until it is ready.
    ///
    /// # Errors
    /// As [`Self::start`].
    pub fn demo() -> Result<Self> {
        Self::demo_with(&[])
    }

    /// The same with more arguments.
    ///
    /// # Errors
    /// As [`Self::start`].
    pub fn demo_with(more: &[&str]) -> Result<Self> {
        on_free_ports((&[], None), |ports, _| {
            let mut arguments = vec!["demo".into()];
            arguments.extend(more.iter().map(Into::into));
            arguments.extend(ports.arguments());
            Ok(arguments)
        })
    }

    /// The same with an edge in front, and with more arguments.
    ///
    /// # Errors
    /// As [`Self::start`].
    pub fn demo_behind(cdn: &str, more: &[&str]) -> Result<Self> {
        let [edge] = free_ports()?;
        let mut server = on_free_ports((&[], None), |ports, _| {
            let mut arguments = vec!["demo".into(), "--cdn".into(), cdn.into()];
            arguments.extend(ports.arguments());
            arguments.extend(["--cdn-listen".into(), edge.to_string().into()]);
            arguments.extend(more.iter().map(Into::into));
            Ok(arguments)
        })?;
        server.edge = Some(edge);
        Ok(server)
    }

    fn launch(
        dir: TempDir,
        Ports { http, rtmp, srt, webrtc, admin }: Ports,
        arguments: Vec<OsString>,
        (environment, disk): Around<'_>,
    ) -> Result<Self> {
        let mut command = command(dir.path(), &arguments, disk)?;
        command.envs(environment.iter().copied());
        let log = dir.path().join("log");
        let process = Process::spawn("headwater", &mut command, Stdout::Log, &log)?;
        // From here on its log is kept whatever happens.
        let client = Client::afresh();
        let disk = disk.map(str::to_owned);
        let mut server = Self {
            process,
            dir,
            arguments,
            disk,
            http,
            rtmp,
            srt,
            webrtc,
            admin,
            edge: None,
            client,
        };
        server.wait_ready()?;
        Ok(server)
    }

    fn wait_ready(&mut self) -> Result {
        let ready = self.admin_url("/readyz");
        let waited = until("ready server", READY_WITHIN, || {
            if let Some(status) = self.process.exited() {
                return Err(Failure::new(format!("the server ended with {status}")));
            }
            Ok(match self.client.get(&ready) {
                Ok(answer) if answer.status == 200 => Look::There(()),
                Ok(answer) => Look::NotYet(format!("/readyz answers {}", answer.status)),
                Err(failure) => Look::NotYet(failure.to_string()),
            })
        });
        waited.map_err(|failure| self.explain(&failure))
    }

    /// URL of a path at the viewers' door.
    pub fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.http)
    }

    /// URL of a path at the operators' door.
    pub fn admin_url(&self, path: &str) -> String {
        format!("http://{}{path}", self.admin)
    }

    /// URL for publishing to a channel.
    pub fn publish_url(&self, channel: &str, key: Option<&str>) -> String {
        publish_url(self.rtmp, channel, key)
    }

    /// How to publish to a channel over SRT.
    pub fn srt(&self, channel: &str, key: Option<&str>) -> Srt {
        Srt::to(self.srt, channel, key)
    }

    /// Everything it has logged.
    pub fn log(&self) -> String {
        self.process.log()
    }

    /// Folder of its configuration and store.
    pub fn dir(&self) -> &Path {
        self.dir.path()
    }

    /// Process id of the program that was started: of the guardian, where there is one.
    pub fn id(&self) -> u32 {
        self.process.id()
    }

    /// Process id of the server behind the guardian.
    ///
    /// # Errors
    /// If none runs just now.
    pub fn serving_id(&self) -> Result<u32> {
        let guarded = |id: &u32| tree::arguments(*id).iter().any(|word| word == "--guarded");
        let found = tree::members(self.id()).into_iter().find(guarded);
        found.context("a server behind the guardian")
    }

    /// Kills the server behind the guardian, as a crash would, and gives the id it had.
    ///
    /// # Errors
    /// If none runs just now.
    pub fn kill(&self) -> Result<u32> {
        let id = self.serving_id()?;
        harm::signal(id, Signal::KILL)?;
        Ok(id)
    }

    /// Sends a signal to the program that was started, and to nothing else.
    ///
    /// # Errors
    /// If it has ended.
    pub fn signal(&self, signal: Signal) -> Result {
        harm::signal(self.id(), signal)
    }

    /// Waits for the program to end by itself or after a signal.
    ///
    /// # Errors
    /// If it still runs after `bound`.
    pub fn wait(&mut self, bound: Duration) -> Result<ExitStatus> {
        self.process.wait(bound)
    }

    /// Its resident memory with that of its children, in bytes.
    pub fn resident_bytes(&self) -> u64 {
        self.process.resident_bytes()
    }

    /// Asks it to end and waits for it.
    ///
    /// # Errors
    /// If it does not end in time or ends with an error.
    pub fn stop(mut self) -> Result {
        let status = self.process.terminate()?;
        if status.success() { Ok(()) } else { Err(Failure::new(format!("it ended with {status}"))) }
    }

    fn explain(&self, failure: &Failure) -> Failure {
        Failure::new(format!("{failure}; the server's log ends:\n{}", self.process.log_tail(30)))
    }
}

/// Keeps the log where a failed test's reader finds it: `<target>/it-logs/<test>.log`.
impl Drop for Server {
    fn drop(&mut self) {
        let thread = std::thread::current();
        let test = thread.name().unwrap_or("unnamed").replace("::", "-");
        if let Ok(folder) = workspace::logs() {
            // A log that can't be kept must not fail a test that has passed.
            let _ = std::fs::write(folder.join(format!("{test}.log")), self.process.log());
        }
    }
}

/// URL for publishing to a channel of a server at `rtmp`.
pub fn publish_url(rtmp: SocketAddr, channel: &str, key: Option<&str>) -> String {
    match key {
        Some(key) => format!("rtmp://{rtmp}/live/{channel}?key={key}"),
        None => format!("rtmp://{rtmp}/live/{channel}"),
    }
}

/// Where the doors of a server are.
#[derive(Clone, Copy, Debug)]
struct Ports {
    http: SocketAddr,
    rtmp: SocketAddr,
    srt: SocketAddr,
    webrtc: SocketAddr,
    admin: SocketAddr,
}

impl Ports {
    /// Addresses with ports that were free a moment ago.
    fn free() -> Result<Self> {
        let [http, rtmp, admin] = free_ports()?;
        let udp = || UdpSocket::bind("127.0.0.1:0").context("a free port");
        // Both are held until both are known, so that they differ.
        let (srt, webrtc) = (udp()?, udp()?);
        let address = |socket: &UdpSocket| socket.local_addr().context("a free port");
        Ok(Self { http, rtmp, srt: address(&srt)?, webrtc: address(&webrtc)?, admin })
    }

    /// As arguments of the demo.
    fn arguments(self) -> impl Iterator<Item = OsString> {
        let Self { http, rtmp, srt, webrtc, admin } = self;
        let media = [("--http", http), ("--rtmp", rtmp), ("--srt", srt), ("--webrtc", webrtc)];
        media
            .into_iter()
            .chain([("--admin", admin)])
            .flat_map(|(name, address)| [name.into(), address.to_string().into()])
    }
}

/// What is around a server: variables in its environment, and the size of a disk of its own.
type Around<'a> = (&'a [(&'a str, &'a Path)], Option<&'a str>);

/// How the program is started; with a disk of its own where it is to have one.
fn command(dir: &Path, arguments: &[OsString], disk: Option<&str>) -> Result<Command> {
    // A hangup that is ignored where the tests run, as under nohup, is none that the program heeds.
    let mut command = Command::new(if disk.is_some() { "unshare" } else { "env" });
    if let Some(size) = disk {
        let mount =
            "mkdir -p \"$1\" && mount -t tmpfs -o size=\"$0\" none \"$1\" && shift && exec \"$@\"";
        command.args(["--user", "--map-root-user", "--mount", "sh", "-c", mount, size]);
        command.arg(dir.join("data")).arg("env");
    }
    command.arg("--default-signal=HUP").arg(workspace::headwater()?);
    command.args(arguments).current_dir(dir);
    Ok(command)
}

/// Starts a server whose arguments are made of addresses and a folder; again with other ports if
/// another program was faster to take one.
fn on_free_ports(
    around: Around<'_>,
    arguments: impl Fn(Ports, &Path) -> Result<Vec<OsString>>,
) -> Result<Server> {
    let mut last = None;
    for _ in 0..PORT_TRIES {
        let prefix = tempfile::Builder::new().prefix("headwater-it-").tempdir();
        let dir = prefix.context("temporary folder")?;
        let ports = Ports::free()?;
        let arguments = arguments(ports, dir.path())?;
        match Server::launch(dir, ports, arguments, around) {
            Err(failure) if failure.to_string().contains("in use") => last = Some(failure),
            result => return result,
        }
    }
    Err(last.unwrap_or_else(|| Failure::new("no free ports")))
}

/// Addresses with ports that were free a moment ago.
fn free_ports<const N: usize>() -> Result<[SocketAddr; N]> {
    let mut listeners = Vec::with_capacity(N);
    for _ in 0..N {
        listeners.push(TcpListener::bind("127.0.0.1:0").context("a free port")?);
    }
    let mut ports = [SocketAddr::from(([127, 0, 0, 1], 0)); N];
    for (port, listener) in ports.iter_mut().zip(&listeners) {
        *port = listener.local_addr().context("a free port")?;
    }
    Ok(ports)
}
