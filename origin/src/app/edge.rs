//! The demo's edge: this machine's nginx or Varnish in front of the server.
//!
//! It runs with the very configuration that operators are given (`infra/cdn`), of which only what is
//! theirs to set is replaced: the origin, the door, the cache's folder. All it writes lies in a
//! temporary folder; it runs as whoever runs the demo, and ends with it whatever happens.

use std::fs::{self, File};
use std::io;
use std::net::SocketAddr;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};
use tokio::net::TcpStream;
use tokio::process::Child;
use tokio::time::{Instant, sleep, timeout};

use crate::cli::Cdn;
use crate::signals;

/// The configuration for nginx.
const NGINX: &str =
    include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/../infra/cdn/nginx/headwater.conf"));
/// The configuration for Varnish.
const VARNISH: &str =
    include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/../infra/cdn/varnish/headwater.vcl"));

/// How long an edge may take to come up: Varnish compiles its configuration with a C compiler.
const UP_WITHIN: Duration = Duration::from_secs(60);
/// How often it is looked for.
const LOOK_EVERY: Duration = Duration::from_millis(50);
/// How long it may take to end.
const ENDS_WITHIN: Duration = Duration::from_secs(5);
/// Where servers lie that are in nobody's PATH but root's.
const SYSTEM_FOLDERS: [&str; 2] = ["/usr/sbin", "/usr/local/sbin"];
/// Lines of its log that are told when it does not come up.
const TOLD_LINES: usize = 10;

/// Why there is no edge.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// Its program is not there.
    #[error(
        "{program} is not installed: `infra/setup.sh {package}` or `apt-get install {package}`"
    )]
    NotInstalled {
        /// The program.
        program: &'static str,
        /// The package that has it.
        package: &'static str,
    },
    /// A file or process of it can't be made.
    #[error("can't {what} {}", path.display())]
    System {
        /// What was wanted.
        what: &'static str,
        /// Of what.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// It does not come up.
    #[error("{name} does not come up on {address}:\n{log}")]
    Down {
        /// Which.
        name: &'static str,
        /// Where.
        address: SocketAddr,
        /// The end of what it said.
        log: String,
    },
}

/// An edge that runs.
#[derive(Debug)]
pub(super) struct Edge {
    /// Which it is.
    pub(super) name: &'static str,
    /// Where viewers go.
    pub(super) address: SocketAddr,
    child: Child,
    folder: PathBuf,
}

impl Edge {
    /// Starts one before the origin at `origin`. [`Self::stop`] has to end it: dropped it would be
    /// killed, and what it has started would stay.
    ///
    /// # Errors
    /// It is not installed, or its files can't be written.
    pub(super) fn start(kind: Cdn, origin: SocketAddr, address: SocketAddr) -> Result<Self, Error> {
        let folder = std::env::temp_dir().join(format!("headwater-edge-{}", std::process::id()));
        let log = folder.join("log");
        let failed = |what, path: &Path| {
            let path = path.to_owned();
            move |source| Error::System { what, path, source }
        };
        fs::create_dir_all(&folder).map_err(failed("make the folder", &folder))?;
        let (name, mut command) = match kind {
            Cdn::Nginx => ("nginx", nginx(&folder, origin, address)?),
            Cdn::Varnish => ("Varnish", varnish(&folder, origin, address)?),
        };
        let file = File::create(&log).map_err(failed("write", &log))?;
        let again = file.try_clone().map_err(failed("write", &log))?;
        command.stdin(Stdio::null()).stdout(file).stderr(again);
        // A Ctrl-C at the terminal is for the demo, which ends its server first.
        command.process_group(0);
        // Both take this as the order to end at once, with all of their processes.
        signals::die_with_parent(&mut command, Signal::TERM);
        let child = tokio::process::Command::from(command)
            .kill_on_drop(true)
            .spawn()
            .map_err(failed("start the edge in", &folder))?;
        Ok(Self { name, address, child, folder })
    }

    /// Waits until it takes connections.
    ///
    /// # Errors
    /// It does not, and says why.
    pub(super) async fn up(&mut self) -> Result<(), Error> {
        if self.is_up().await {
            return Ok(());
        }
        let said = fs::read_to_string(self.folder.join("log")).unwrap_or_default();
        let skip = said.lines().count().saturating_sub(TOLD_LINES);
        let log = said.lines().skip(skip).collect::<Vec<_>>().join("\n");
        Err(Error::Down { name: self.name, address: self.address, log })
    }

    async fn is_up(&mut self) -> bool {
        let deadline = Instant::now() + UP_WITHIN;
        while Instant::now() < deadline {
            // Looked at first: the door may be another program's, and this one gone because of it.
            if !matches!(self.child.try_wait(), Ok(None)) {
                return false;
            }
            if TcpStream::connect(self.address).await.is_ok() {
                return true;
            }
            sleep(LOOK_EVERY).await;
        }
        false
    }

    /// Ends it and takes its folder away.
    pub(super) async fn stop(mut self) {
        if let Some(id) = self.child.id().and_then(|id| Pid::from_raw(id.cast_signed())) {
            // One that is gone already is what is wanted.
            let _ = kill_process(id, Signal::TERM);
        }
        if timeout(ENDS_WITHIN, self.child.wait()).await.is_err() {
            let _ = self.child.kill().await;
        }
        // What is left there is of no use to anybody, and the system clears its folder anyway.
        let _ = fs::remove_dir_all(&self.folder);
    }
}

/// nginx with a main configuration of its own around that of `infra/cdn`.
fn nginx(folder: &Path, origin: SocketAddr, address: SocketAddr) -> Result<Command, Error> {
    let program = installed("nginx", "nginx")?;
    let path = folder.display();
    // Root's workers would become nobody, who can't read what root's umask hides.
    let user = if rustix::process::geteuid().is_root() { "user root;\n" } else { "" };
    let main = format!(
        "{user}daemon off;\nworker_processes 1;\npid {path}/pid;\nerror_log stderr warn;\n\
         events {{ worker_connections 4096; }}\n\
         http {{\naccess_log off;\nclient_body_temp_path {path}/body;\n\
         proxy_temp_path {path}/proxy;\nfastcgi_temp_path {path}/fastcgi;\n\
         uwsgi_temp_path {path}/uwsgi;\nscgi_temp_path {path}/scgi;\n\
         include {path}/headwater.conf;\n}}\n"
    );
    write(&folder.join("headwater.conf"), &nginx_text(folder, origin, address))?;
    write(&folder.join("nginx.conf"), &main)?;
    let mut command = Command::new(program);
    command.arg("-e").arg("stderr").arg("-p").arg(folder);
    command.arg("-c").arg(folder.join("nginx.conf"));
    Ok(command)
}

fn nginx_text(folder: &Path, origin: SocketAddr, address: SocketAddr) -> String {
    NGINX
        .replace("server 127.0.0.1:8080 ", &format!("server {origin} "))
        .replace("listen 8081;", &format!("listen {address};"))
        .replace("/var/cache/nginx/headwater", &folder.join("cache").display().to_string())
}

/// Varnish in one foreground process tree, without its command line interface.
fn varnish(folder: &Path, origin: SocketAddr, address: SocketAddr) -> Result<Command, Error> {
    let program = installed("varnishd", "varnish")?;
    let file = folder.join("headwater.vcl");
    write(&file, &varnish_text(origin))?;
    let mut command = Command::new(program);
    command.args(["-F", "-j", "none", "-T", "none", "-n"]).arg(folder.join("work"));
    command.arg("-a").arg(address.to_string()).arg("-f").arg(file);
    // Some minutes of the demo's ladder, and a log of 4 MB instead of 80.
    command.args(["-s", "malloc,256m", "-p", "vsl_space=4M", "-p", "feature=+http2"]);
    Ok(command)
}

fn varnish_text(origin: SocketAddr) -> String {
    VARNISH
        .replace(".host = \"127.0.0.1\";", &format!(".host = \"{}\";", origin.ip()))
        .replace(".port = \"8080\";", &format!(".port = \"{}\";", origin.port()))
}

fn write(path: &Path, text: &str) -> Result<(), Error> {
    fs::write(path, text).map_err(|source| Error::System {
        what: "write",
        path: path.to_owned(),
        source,
    })
}

/// Where a program lies.
fn installed(program: &'static str, package: &'static str) -> Result<PathBuf, Error> {
    let folders = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&folders)
        .chain(SYSTEM_FOLDERS.map(PathBuf::from))
        .map(|folder| folder.join(program))
        .find(|file| file.is_file())
        .ok_or(Error::NotInstalled { program, package })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_the_operators_is_replaced_and_nothing_else() {
        let origin: SocketAddr = "127.0.0.1:18080".parse().unwrap();
        let door: SocketAddr = "127.0.0.1:18081".parse().unwrap();
        let changed = |before: &str, after: &str| {
            assert_eq!(before.lines().count(), after.lines().count());
            before.lines().zip(after.lines()).filter(|(one, other)| one != other).count()
        };
        let nginx = nginx_text(Path::new("/run/edge"), origin, door);
        assert_eq!(changed(NGINX, &nginx), 3, "{nginx}");
        for line in ["server 127.0.0.1:18080 ", "listen 127.0.0.1:18081;", "/run/edge/cache "] {
            assert!(nginx.contains(line), "{line} is not in\n{nginx}");
        }
        // Both parts of the address: one line each, of which the first stays as it is here.
        let varnish = varnish_text(origin);
        assert_eq!(changed(VARNISH, &varnish), 1, "{varnish}");
        assert!(varnish.contains(".host = \"127.0.0.1\";\n    .port = \"18080\";"), "{varnish}");
        assert!(varnish_text("10.0.0.1:80".parse().unwrap()).contains(".host = \"10.0.0.1\";"));
    }
}
