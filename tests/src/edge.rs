//! A real nginx or Varnish before a server, with the configuration that operators are given
//! (`infra/cdn`), or with a mistake in it; over TLS too, which hitch speaks for Varnish.

use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use tempfile::TempDir;

use crate::certificate::Certificate;
use crate::process::{Process, Stdout};
use crate::wait::{Look, until};
use crate::{Context, Failure, Result, workspace};

/// How long an edge may take to come up: Varnish compiles its configuration with a C compiler, beside
/// other tests.
const UP_WITHIN: Duration = Duration::from_secs(90);

/// Which edge.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// nginx.
    Nginx,
    /// Varnish.
    Varnish,
}

/// A running edge. Dropping it ends it.
#[derive(Debug)]
pub struct Edge {
    process: Process,
    /// What speaks TLS for it, where it does not itself.
    door: Option<Process>,
    dir: TempDir,
    /// Where viewers go.
    pub address: SocketAddr,
}

/// How an edge speaks TLS.
#[derive(Clone, Copy, Debug)]
pub struct Secure<'a> {
    /// To viewers: its own certificate.
    pub certificate: &'a Certificate,
    /// To the origin, at this address, where it can: whom it trusts.
    pub origin: Option<(SocketAddr, &'a Certificate)>,
}

impl Edge {
    /// Starts an edge before `origin`, with `mistakes` made in its configuration: texts, and what
    /// stands there instead.
    ///
    /// # Errors
    /// If a text is not there exactly once, or the edge does not come up.
    pub fn start(kind: Kind, origin: SocketAddr, mistakes: &[(&str, &str)]) -> Result<Self> {
        let dir = folder()?;
        let address = free()?;
        let mut command = match kind {
            Kind::Nginx => nginx(dir.path(), origin, address, mistakes)?,
            Kind::Varnish => varnish(dir.path(), origin, &address.to_string(), mistakes)?,
        };
        let process = spawn(kind, &mut command, &dir)?;
        Self { process, door: None, dir, address }.up(kind)
    }

    /// Starts an nginx that turns to a replica where the origin does not answer, as its configuration
    /// says how.
    ///
    /// # Errors
    /// As [`Self::start`].
    pub fn with_replica(origin: SocketAddr, replica: SocketAddr) -> Result<Self> {
        let backup = format!("    server {replica} backup;");
        Self::start(
            Kind::Nginx,
            origin,
            &[
                ("max_fails=0;", "max_fails=1 fail_timeout=1s;"),
                ("    # server 127.0.0.1:8090 backup;", backup.as_str()),
            ],
        )
    }

    /// Starts an edge that speaks TLS and HTTP/2.
    ///
    /// # Errors
    /// As [`Self::start`].
    pub fn start_secure(kind: Kind, origin: SocketAddr, secure: Secure<'_>) -> Result<Self> {
        let dir = folder()?;
        let (address, plain) = (free()?, free()?);
        if kind == Kind::Nginx {
            let mut command = secure_nginx(dir.path(), origin, (address, plain), secure)?;
            let process = spawn(kind, &mut command, &dir)?;
            return Self { process, door: None, dir, address }.up(kind);
        }
        let listen = format!("{plain},PROXY");
        let mut command = varnish(dir.path(), origin, &listen, &[])?;
        let process = spawn(kind, &mut command, &dir)?;
        let mut edge = Self { process, door: None, dir, address: plain }.up(kind)?;
        let mut command = hitch(edge.dir.path(), address, plain, secure.certificate)?;
        let log = edge.dir.path().join("hitch.log");
        edge.door = Some(Process::spawn("hitch", &mut command, Stdout::Log, &log)?);
        edge.address = address;
        edge.up(kind)
    }

    /// Waits until it listens.
    fn up(mut self, kind: Kind) -> Result<Self> {
        until(&format!("{kind:?} that listens"), UP_WITHIN, || {
            for process in [&mut self.process].into_iter().chain(&mut self.door) {
                if let Some(status) = process.exited() {
                    let log = process.log_tail(20);
                    return Err(Failure::new(format!("{kind:?} ended with {status}: {log}")));
                }
            }
            let listens = TcpStream::connect(self.address).is_ok();
            Ok(Look::at(listens.then_some(()), self.process.log_tail(3)))
        })?;
        Ok(self)
    }

    /// URL of a path at the edge.
    pub fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }
}

fn folder() -> Result<TempDir> {
    tempfile::Builder::new().prefix("headwater-edge-").tempdir().context("temporary folder")
}

/// An address of this machine that nobody listens on.
///
/// # Errors
/// If the system has none.
pub fn free() -> Result<SocketAddr> {
    let listener = TcpListener::bind("127.0.0.1:0").context("a free port")?;
    listener.local_addr().context("a free port")
}

fn spawn(kind: Kind, command: &mut Command, dir: &TempDir) -> Result<Process> {
    Process::spawn(&format!("{kind:?}"), command, Stdout::Log, &dir.path().join("log"))
}

fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}

fn nginx(
    dir: &Path,
    origin: SocketAddr,
    address: SocketAddr,
    mistakes: &[(&str, &str)],
) -> Result<Command> {
    let path = dir.display();
    let mut text = configuration("nginx/headwater.conf")?;
    let server = format!("server {origin} ");
    let (listen, cache) = (format!("listen {address};"), format!("{path}/cache"));
    let own: [(&str, &str); 3] = [
        ("server 127.0.0.1:8080 ", &server),
        ("listen 8081;", &listen),
        ("/var/cache/nginx/headwater", &cache),
    ];
    for (from, to) in own.iter().chain(mistakes) {
        text = replaced(&text, from, to)?;
    }
    let user = if is_root() { "user root;" } else { "" };
    let main = format!(
        "{user}\ndaemon off;\nworker_processes 1;\npid {path}/pid;\nerror_log stderr warn;\n\
         events {{ worker_connections 4096; }}\nhttp {{\naccess_log off;\n\
         client_body_temp_path {path}/b;\nproxy_temp_path {path}/p;\n\
         fastcgi_temp_path {path}/f;\nuwsgi_temp_path {path}/u;\nscgi_temp_path {path}/s;\n\
         include {path}/headwater.conf;\n}}\n"
    );
    std::fs::write(dir.join("headwater.conf"), text).context("configuration of nginx")?;
    std::fs::write(dir.join("nginx.conf"), main).context("configuration of nginx")?;
    let mut command = Command::new("nginx");
    command.args(["-e", "stderr", "-p"]).arg(dir).arg("-c").arg(dir.join("nginx.conf"));
    Ok(command)
}

/// nginx with the lines of its file that are there for TLS.
fn secure_nginx(
    dir: &Path,
    origin: SocketAddr,
    (address, plain): (SocketAddr, SocketAddr),
    Secure { certificate, origin: over_tls }: Secure<'_>,
) -> Result<Command> {
    let text = |line: &str, to: String| (line.to_owned(), to);
    let mut lines = vec![
        text("    # listen 443 ssl http2;", format!("    listen {address} ssl http2;")),
        text(
            "    # ssl_certificate     /etc/ssl/live.example.pem;",
            format!("    ssl_certificate {};", certificate.cert().display()),
        ),
        text(
            "    # ssl_certificate_key /etc/ssl/private/live.example.key;",
            format!("    ssl_certificate_key {};", certificate.key().display()),
        ),
    ];
    if let Some((_, trusted)) = over_tls {
        lines.extend([
            text("http://headwater;", "https://headwater;".to_owned()),
            text(
                "# proxy_ssl_name origin.example;",
                format!("proxy_ssl_name {};", Certificate::NAME),
            ),
            text("# proxy_ssl_server_name on;", "proxy_ssl_server_name on;".to_owned()),
            text("# proxy_ssl_verify on;", "proxy_ssl_verify on;".to_owned()),
            text(
                "# proxy_ssl_trusted_certificate /etc/ssl/certs/ca-certificates.crt;",
                format!("proxy_ssl_trusted_certificate {};", trusted.cert().display()),
            ),
        ]);
    }
    let lines: Vec<_> = lines.iter().map(|(from, to)| (from.as_str(), to.as_str())).collect();
    nginx(dir, over_tls.map_or(origin, |(address, _)| address), plain, &lines)
}

fn varnish(
    dir: &Path,
    origin: SocketAddr,
    listen: &str,
    mistakes: &[(&str, &str)],
) -> Result<Command> {
    let mut text = configuration("varnish/headwater.vcl")?;
    let port = format!(".port = \"{}\";", origin.port());
    for (from, to) in [(".port = \"8080\";", &*port)].iter().chain(mistakes) {
        text = replaced(&text, from, to)?;
    }
    let file = dir.join("headwater.vcl");
    std::fs::write(&file, text).context("configuration of Varnish")?;
    // Debian has it where only root looks.
    let mut command = Command::new("/usr/sbin/varnishd");
    command.args(["-F", "-j", "none", "-T", "none", "-n"]).arg(dir.join("work"));
    command.arg("-a").arg(listen).arg("-f").arg(file);
    command.args(["-s", "malloc,128m", "-p", "vsl_space=4M", "-p", "feature=+http2"]);
    Ok(command)
}

/// hitch before a Varnish that listens at `backend` for what it says of its viewers.
fn hitch(
    dir: &Path,
    address: SocketAddr,
    backend: SocketAddr,
    certificate: &Certificate,
) -> Result<Command> {
    let mut text = configuration("varnish/hitch.conf")?;
    let address_of = |at: SocketAddr| format!("\"[{}]:{}\"", at.ip(), at.port());
    for (from, to) in [
        ("\"[*]:443\"", address_of(address)),
        ("\"/run/varnish-hitch.sock\"", address_of(backend)),
        ("\"/etc/hitch/live.example.pem\"", format!("{:?}", certificate.both())),
    ] {
        text = replaced(&text, from, &to)?;
    }
    if !is_root() {
        // Only root can become another.
        text = text.replace("user = ", "# user = ").replace("group = ", "# group = ");
    }
    let file = dir.join("hitch.conf");
    std::fs::write(&file, text).context("configuration of hitch")?;
    let mut command = Command::new("/usr/sbin/hitch");
    command.arg(format!("--config={}", file.display()));
    Ok(command)
}

fn configuration(name: &str) -> Result<String> {
    let file = workspace::root().join("infra/cdn").join(name);
    std::fs::read_to_string(&file).context(format!("{}", file.display()))
}

fn replaced(text: &str, from: &str, to: &str) -> Result<String> {
    match text.matches(from).count() {
        1 => Ok(text.replace(from, to)),
        times => Err(Failure::new(format!("{from:?} is there {times} times in the configuration"))),
    }
}
