//! A real nginx or Varnish before a server, with the configuration that operators are given
//! (`infra/cdn`), or with a mistake in it.

use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use tempfile::TempDir;

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
    _dir: TempDir,
    /// Where viewers go.
    pub address: SocketAddr,
}

impl Edge {
    /// Starts an edge before `origin`, with `mistakes` made in its configuration: texts, and what
    /// stands there instead.
    ///
    /// # Errors
    /// If a text is not there exactly once, or the edge does not come up.
    pub fn start(kind: Kind, origin: SocketAddr, mistakes: &[(&str, &str)]) -> Result<Self> {
        let dir = tempfile::Builder::new().prefix("headwater-edge-").tempdir();
        let dir = dir.context("temporary folder")?;
        let address = {
            let listener = TcpListener::bind("127.0.0.1:0").context("a free port")?;
            listener.local_addr().context("a free port")?
        };
        let mut command = match kind {
            Kind::Nginx => nginx(dir.path(), origin, address, mistakes)?,
            Kind::Varnish => varnish(dir.path(), origin, address, mistakes)?,
        };
        let log = dir.path().join("log");
        let process = Process::spawn(&format!("{kind:?}"), &mut command, Stdout::Log, &log)?;
        let mut edge = Self { process, _dir: dir, address };
        until(&format!("{kind:?} that listens"), UP_WITHIN, || {
            if let Some(status) = edge.process.exited() {
                let log = edge.process.log_tail(20);
                return Err(Failure::new(format!("{kind:?} ended with {status}: {log}")));
            }
            let listens = TcpStream::connect(address).is_ok();
            Ok(Look::at(listens.then_some(()), edge.process.log_tail(3)))
        })?;
        Ok(edge)
    }

    /// URL of a path at the edge.
    pub fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }
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
    let user = if rustix::process::geteuid().is_root() { "user root;" } else { "" };
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

fn varnish(
    dir: &Path,
    origin: SocketAddr,
    address: SocketAddr,
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
    command.arg("-a").arg(address.to_string()).arg("-f").arg(file);
    command.args(["-s", "malloc,128m", "-p", "vsl_space=4M", "-p", "feature=+http2"]);
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
