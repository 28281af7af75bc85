//! Restarts of the server: by its guardian, under viewers and publishers.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use harness::certificate::Certificate;
use harness::client::Client;
use harness::edge;
use harness::process::{self, Process, Stdout, harm, tree};
use harness::publisher::Source;
use harness::server::{ChannelConfig, Server};
use harness::wait::{Look, until};
use harness::{Context, Failure, Result, workspace};
use ingest::rtmp::client;
use packager::time::FrameRate;
use rustix::process::Signal;
use tokio::runtime::Runtime;

mod crashes;
pub(crate) mod viewers;

/// A start takes a tenth of a second on a machine of one's own.
const UP_WITHIN: Duration = Duration::from_secs(10);
/// What a server that goes down may take, and a little for a machine that is shared.
const ENDS_WITHIN: Duration = Duration::from_secs(30);

/// Waits until a process is gone.
fn gone(id: u32) -> Result {
    until("end of a process", Duration::from_secs(10), || {
        Ok(Look::at(tree::arguments(id).is_empty().then_some(()), format!("{id} runs")))
    })
}

/// Waits until another server than `old` runs, and gives its id.
fn successor(server: &Server, old: u32) -> Result<u32> {
    until("server that was started again", UP_WITHIN, || {
        let id = server.serving_id().ok().filter(|id| *id != old);
        Ok(Look::at(id, "none yet"))
    })
}

#[test]
fn a_server_that_is_killed_is_started_again_and_refuses_nobody() -> Result {
    let server = Server::start(&[ChannelConfig::tiny("a")])?;
    for _ in 0..3 {
        let old = server.kill()?;
        gone(old)?;
        // While nobody accepts, connections wait for whoever will.
        for door in [server.http, server.rtmp, server.admin] {
            TcpStream::connect(door).context("a connection while the server is gone")?;
        }
        let answer = Client::afresh().get(&server.url("/"))?;
        assert_eq!(answer.status, 200, "the answer waits, and comes");
        successor(&server, old)?;
    }
    let died = server.wait_log(&["the server died", "signal=9"], UP_WITHIN)?;
    assert!(died.contains("origin::guardian"), "{died}");
    server.wait_log(&["the server was started again", "pid="], UP_WITHIN)?;
    server.stop()
}

#[test]
fn the_server_dies_with_its_guardian() -> Result {
    let server = Server::start(&[])?;
    let id = server.serving_id()?;
    harm::signal(server.id(), Signal::KILL)?;
    gone(id)?;
    // Nobody holds the ports any more.
    TcpListener::bind(server.http).context("the port is free again")?;
    Ok(())
}

#[test]
fn a_signal_to_the_guardian_ends_both_in_order() -> Result {
    for signal in [Signal::TERM, Signal::INT] {
        let mut server = Server::start(&[])?;
        let id = server.serving_id()?;
        server.signal(signal)?;
        let status = server.wait(ENDS_WITHIN)?;
        assert!(status.success(), "{signal:?}: {status}");
        assert!(tree::arguments(id).is_empty(), "{signal:?}: the server was waited for");
        server.wait_log(&["stopped"], UP_WITHIN)?;
    }
    Ok(())
}

#[test]
fn a_hangup_that_no_terminal_sent_has_the_certificate_read_again_and_ends_nothing() -> Result {
    let (certificate, https) = (Certificate::new()?, edge::free()?);
    let server = Server::start_with(&[], &certificate.section(https))?;
    let id = server.serving_id()?;
    let asked = |trusted: &Path| {
        let mut curl = Command::new("curl");
        curl.args(["-sS", "--cacert"]).arg(trusted).arg(format!("https://{https}/"));
        Ok(process::run("curl", &mut curl, UP_WITHIN)?.status.success())
    };
    let old = server.dir().join("old.pem");
    std::fs::copy(certificate.cert(), &old).context("the old certificate")?;
    assert!(asked(&old)?);
    certificate.renew()?;
    // The guardian passes it on; the server takes it from an operator too.
    server.signal(Signal::HUP)?;
    server.wait_log(&["certificate read again"], UP_WITHIN)?;
    assert!(asked(&certificate.cert())? && !asked(&old)?);
    harm::signal(id, Signal::HUP)?;
    assert!(asked(&certificate.cert())?);
    assert_eq!(server.serving_id()?, id, "it goes on");
    server.stop()
}

#[test]
fn a_server_that_was_ended_by_hand_is_started_again_with_what_is_configured_now() -> Result {
    let server = Server::start(&[ChannelConfig::tiny("a")])?;
    let file = server.dir().join("headwater.toml");
    let text = std::fs::read_to_string(&file).context("configuration")?;
    std::fs::write(&file, text.replace("name = \"a\"", "name = \"b\"")).context("configuration")?;
    let old = server.serving_id()?;
    harm::signal(old, Signal::TERM)?;
    successor(&server, old)?;
    assert_eq!(server.status("b")?["state"], "idle");
    assert_eq!(server.client.get(&server.url("/live/a/status.json"))?.status, 404);
    server.stop()
}

#[test]
fn a_configuration_broken_later_leaves_the_server_with_the_one_before() -> Result {
    let server = Server::start(&[ChannelConfig::tiny("a")])?;
    let file = server.dir().join("headwater.toml");
    let good = std::fs::read_to_string(&file).context("configuration")?;
    std::fs::write(&file, "nonsense").context("configuration")?;
    let mut old = server.kill()?;
    // Twice: the second one gets it from a server that had found none itself.
    for _ in 0..2 {
        old = successor(&server, old)?;
        assert_eq!(server.status("a")?["state"], "idle");
        harm::signal(old, Signal::TERM)?;
    }
    server
        .wait_log(&["the configuration can't be used: going on with the one before"], UP_WITHIN)?;
    old = successor(&server, old)?;
    std::fs::write(&file, good.replace("name = \"a\"", "name = \"b\"")).context("configuration")?;
    harm::signal(old, Signal::TERM)?;
    successor(&server, old)?;
    assert_eq!(server.status("b")?["state"], "idle", "what is mended counts");
    server.stop()
}

#[test]
fn doors_that_are_new_or_moved_in_the_configuration_do_not_stop_the_server() -> Result {
    let (certificate, https) = (Certificate::new()?, edge::free()?);
    let server = Server::start(&[])?;
    let file = server.dir().join("headwater.toml");
    let text = std::fs::read_to_string(&file).context("configuration")?;
    // The first address is that of HTTP.
    let moved = text.replacen("127.0.0.1:", "127.0.0.2:", 1);
    let text = format!("{moved}\n{}", certificate.section(https));
    std::fs::write(&file, text).context("configuration")?;
    let old = server.serving_id()?;
    harm::signal(old, Signal::TERM)?;
    successor(&server, old)?;
    assert_eq!(server.client.get(&server.url("/"))?.status, 200, "where it was");
    TcpStream::connect(https).context("the new door")?;
    server.wait_log(&["HTTPS is new in the configuration"], UP_WITHIN)?;
    server.wait_log(&["HTTP listens elsewhere from the next full stop and start on"], UP_WITHIN)?;
    server.stop()
}

/// Runs `headwater serve` with this configuration to its end.
fn serve(config: &str) -> Result<process::Output> {
    let dir = tempfile::tempdir().context("folder")?;
    let file = dir.path().join("headwater.toml");
    std::fs::write(&file, config).context("configuration")?;
    let mut command = Command::new(workspace::headwater()?);
    command.arg("serve").arg("--config").arg(&file).current_dir(dir.path());
    process::run("headwater serve", &mut command, UP_WITHIN)
}

/// The sections with ports from the system.
const ANYWHERE: &str = "[http]\nlisten = \"127.0.0.1:0\"\n[rtmp]\nlisten = \"127.0.0.1:0\"\n\
    [srt]\nlisten = \"127.0.0.1:0\"\n\
    [admin]\nlisten = \"127.0.0.1:0\"\n";

#[test]
fn a_start_that_fails_is_told_once_and_ends_with_its_code() -> Result {
    let holder = TcpListener::bind("127.0.0.1:0").context("a port")?;
    let taken = holder.local_addr().context("its address")?;
    let port = ANYWHERE.replacen("127.0.0.1:0", &taken.to_string(), 1);
    let store = format!("{ANYWHERE}[store]\npath = \"headwater.toml\"\n");
    for (config, part) in [
        (port.as_str(), format!("headwater: can't listen on {taken} for HTTP: Address already")),
        (store.as_str(), "headwater: can't open the store in headwater.toml".to_owned()),
        ("[http]\nlisten = 1\n", "http.listen".to_owned()),
    ] {
        let output = serve(config)?;
        assert_eq!(output.status.code(), Some(2), "{}", output.stderr);
        assert_eq!(output.stderr.matches(&part).count(), 1, "{part:?} in {}", output.stderr);
        assert!(!output.stderr.contains("again"), "{}", output.stderr);
    }
    Ok(())
}

/// Opens three sockets as a service manager would, fills their ports into the configuration, and
/// becomes the program. Prints the ports.
const ACTIVATE: &str = r#"
import os, socket, sys
program, config, names = sys.argv[1:]
doors = [socket.create_server(("127.0.0.1", 0)) for _ in range(3)]
ports = [str(door.getsockname()[1]) for door in doors]
text = open(config).read()
for n, port in enumerate(ports):
    text = text.replace(f"PORT{n}", port)
open(config, "w").write(text)
print(*ports, flush=True)
for n, door in enumerate(doors):
    os.dup2(door.fileno(), 20 + n)
for n in range(3):
    os.dup2(20 + n, 3 + n)
os.environ.update(LISTEN_FDS="3", LISTEN_FDNAMES=names, LISTEN_PID=str(os.getpid()))
os.execv(program, [program, "serve", "--config", config])
"#;

/// Runs the program on sockets that are called `names`, with these three addresses in its
/// configuration; gives it with the ports.
fn activated(names: &str, listen: [&str; 3]) -> Result<(Process, tempfile::TempDir, [u16; 3])> {
    let dir = tempfile::tempdir().context("folder")?;
    let config = dir.path().join("headwater.toml");
    let [http, rtmp, admin] = listen;
    let text = format!(
        "[http]\nlisten = \"{http}\"\n[rtmp]\nlisten = \"{rtmp}\"\n\
         [srt]\nlisten = \"127.0.0.1:0\"\n[admin]\nlisten = \"{admin}\"\n"
    );
    std::fs::write(&config, text).context("configuration")?;
    let mut command = Command::new("python3");
    command.args(["-c", ACTIVATE]).arg(workspace::headwater()?).arg(config).arg(names);
    command.current_dir(dir.path());
    let log = dir.path().join("log");
    let process = Process::spawn("activated server", &mut command, Stdout::Log, &log)?;
    let ports = until("ports of the sockets", UP_WITHIN, || {
        let log = process.log();
        let ports = log.lines().next().unwrap_or_default().split(' ').map(str::parse);
        let ports = ports.collect::<std::result::Result<Vec<u16>, _>>().ok();
        Ok(Look::at(ports.and_then(|ports| ports.try_into().ok()), log))
    })?;
    Ok((process, dir, ports))
}

#[test]
fn sockets_of_a_service_manager_are_used() -> Result {
    let client = Client::afresh();
    // By name, whatever is configured; and by address, as one unit calls all its sockets the same.
    let anywhere = ["127.0.0.1:0"; 3];
    let by_port = ["127.0.0.1:PORT0", "127.0.0.1:PORT1", "127.0.0.1:PORT2"];
    for (names, listen) in [
        ("http:rtmp:admin", anywhere),
        ("headwater.socket:headwater.socket:headwater.socket", by_port),
        ("", by_port),
    ] {
        let (mut process, _dir, [http, _, admin]) = activated(names, listen)?;
        let page = client.get(&format!("http://127.0.0.1:{http}/"))?;
        assert_eq!(page.status, 200, "{names}: {}", process.log());
        assert_eq!(client.text(&format!("http://127.0.0.1:{admin}/readyz"))?, "ready\n");
        assert!(process.terminate()?.success(), "{names}: {}", process.log());
    }
    Ok(())
}

#[test]
fn a_socket_that_no_section_listens_on_is_told() -> Result {
    let addresses = ["127.0.0.1:PORT0", "127.0.0.1:PORT1", "127.0.0.1:0"];
    let (mut process, _dir, [.., unused]) = activated("", addresses)?;
    assert_eq!(process.wait(UP_WITHIN)?.code(), Some(2));
    assert!(process.log().contains(&format!("127.0.0.1:{unused}")), "{}", process.log());
    Ok(())
}

/// Asks for something so many times on a connection of its own, and reads no answer.
fn ask(server: &Server, path: &str, times: usize) -> Result<TcpStream> {
    let mut stream = TcpStream::connect(server.http).context("a connection")?;
    let request = format!("GET {path} HTTP/1.1\r\nHost: a\r\n\r\n");
    stream.write_all(request.repeat(times).as_bytes()).context("a request")?;
    Ok(stream)
}

/// Begins to publish and sends nothing.
fn publish_nothing(server: &Server, name: &str) -> Result<(Runtime, client::Publisher)> {
    let (runtime, publisher) = publish_to(server.rtmp, name)?;
    Ok((runtime, publisher?))
}

/// The same at an address; gives what came of it.
fn publish_to(rtmp: SocketAddr, name: &str) -> Result<(Runtime, Result<client::Publisher>)> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.context("a runtime")?;
    let publisher = runtime.block_on(client::Publisher::connect(rtmp, "live", name));
    Ok((runtime, publisher.context("publish")))
}

/// Waits until the server holds so many requests.
fn holds(server: &Server, count: usize) -> Result {
    let line = format!("headwater_http_waiting_requests {count}");
    until("requests that wait", UP_WITHIN, || {
        let metrics = server.client.text(&server.admin_url("/metrics"))?;
        Ok(Look::at(metrics.lines().any(|l| l == line).then_some(()), "other ones"))
    })
}

/// How long nothing must have been answered for all to stand: a server that can go on is given the
/// processor within that, also on a machine that is shared.
const STANDS_FOR: Duration = Duration::from_millis(500);

/// Waits until viewers who take nothing have brought the server to a stand: what it has to write has no
/// room in the system's buffers any more.
fn stands(server: &Server) -> Result {
    let mut last = (String::new(), Instant::now());
    until("full buffers", UP_WITHIN, || {
        let metrics = server.client.text(&server.admin_url("/metrics"))?;
        let answered = metrics.lines().filter(|l| l.starts_with("headwater_http_requests_total{"));
        let answered = answered.collect::<Vec<_>>().join(" ");
        if answered != last.0 {
            last = (answered, Instant::now());
        }
        let stands = !last.0.is_empty() && last.1.elapsed() >= STANDS_FOR;
        Ok(Look::at(stands.then_some(()), last.0.clone()))
    })
}

#[test]
fn going_down_answers_who_waits_at_once_and_ends_within_the_time() -> Result {
    let mut server = Server::start(&[ChannelConfig::tiny("a")])?;
    // A publisher that sends no picture: the channel starts, and its playlists are waited for.
    let _publisher = publish_nothing(&server, "a")?;
    // The publisher is accepted a little before the channel knows of it.
    server.wait_state("a", "starting", UP_WITHIN)?;
    let paths = ["/live/a/index.m3u8", "/live/a/manifest.mpd"];
    let held: Vec<_> = paths.iter().map(|path| ask(&server, path, 1)).collect::<Result<_>>()?;
    holds(&server, 2)?;
    let asked = Instant::now();
    server.signal(Signal::TERM)?;
    for mut connection in held {
        let mut answer = String::new();
        connection.read_to_string(&mut answer).context("an answer, and the connection's end")?;
        assert!(answer.starts_with("HTTP/1.1 503 "), "{answer}");
        assert!(answer.contains("retry-after: 1") && answer.contains("no-store"), "{answer}");
    }
    let answered = asked.elapsed();
    let status = server.wait(Duration::from_secs(25))?;
    assert!(status.success(), "{status}");
    // They would have waited for three seconds.
    assert!(answered < Duration::from_secs(2), "answered after {answered:?}");
    Ok(())
}

#[test]
fn a_server_that_drains_is_not_ready_and_takes_no_publisher() -> Result {
    let mut server = Server::start(&[ChannelConfig::tiny("a").with_key("k")])?;
    // A viewer who takes no more of his answers keeps it from ending, for a few seconds.
    let page = server.client.text(&server.url("/watch/a"))?;
    let script = page.split("src=\"").nth(1).and_then(|rest| rest.split('"').next());
    let mut viewer = ask(&server, script.context("a script of the page")?, 2_000)?;
    viewer.read_exact(&mut [0; 15]).context("the first answer's beginning")?;
    // Asked before that, it would write the answer it is at and end.
    stands(&server)?;
    let ready = server.admin_url("/readyz");
    let rtmp = server.rtmp;
    // Whoever is already asking has those seconds, however slow the machine is.
    let unready = std::thread::spawn(move || {
        until("server that is not ready", ENDS_WITHIN, || {
            Ok(match Client::afresh().get(&ready) {
                Ok(answer) if answer.status == 503 => Look::There(()),
                Ok(answer) => Look::NotYet(format!("{}", answer.status)),
                Err(failure) => Look::NotYet(failure.to_string()),
            })
        })
    });
    let refused = std::thread::spawn(move || {
        until("refused publisher", ENDS_WITHIN, || {
            // Each takes over from the one before, until that is slowed; nobody is told to go away.
            let (_runtime, outcome) = publish_to(rtmp, "a?key=k")?;
            let text = outcome.err().map(|error| error.to_string()).unwrap_or_default();
            Ok(Look::at(text.contains("shutting down").then_some(()), text))
        })
    });
    server.signal(Signal::TERM)?;
    unready.join().map_err(|_| Failure::new("a monitor panicked"))??;
    refused.join().map_err(|_| Failure::new("a publisher panicked"))??;
    drop(viewer);
    let status = server.wait(ENDS_WITHIN)?;
    assert!(status.success(), "{status}");
    Ok(())
}

#[test]
fn a_server_that_goes_down_ends_at_once_when_asked_again() -> Result {
    let mut server = Server::start(&[ChannelConfig::tiny("a").with_key("k")])?;
    let publisher =
        Source::tiny(FrameRate::new(25, 1)).publish(&server.publish_url("a", Some("k")))?;
    server.wait_playable("a", UP_WITHIN)?;
    // A disk that hangs: opening a pipe for writing waits for a reader.
    let (_, last) = server.numbers("a")?;
    let run = server.client.text(&server.url("/live/a/audio/index.m3u8"))?;
    let run = run.split("/init.mp4").next().and_then(|text| text.rsplit("../").next());
    let track = server.dir().join("data/a").join(run.context("the run's folder")?);
    for k in last + 3..last + 40 {
        let mode = rustix::fs::Mode::RUSR | rustix::fs::Mode::WUSR;
        let pipe = track.join(format!("{k}.m4s"));
        match rustix::fs::mknodat(rustix::fs::CWD, &pipe, rustix::fs::FileType::Fifo, mode, 0) {
            // Segments that were begun since; those behind will do.
            Ok(()) | Err(rustix::io::Errno::EXIST) => {}
            Err(error) => return Err(error).context("a pipe"),
        }
    }
    // The live edge goes on without it.
    server.wait_segment("a", last + 5, ENDS_WITHIN)?;
    let serving = server.serving_id()?;
    server.signal(Signal::TERM)?;
    server.wait_log(&["going down"], UP_WITHIN)?;
    server.signal(Signal::TERM)?;
    let status = server.wait(UP_WITHIN)?;
    assert_eq!(status.code(), Some(143), "{status}");
    assert!(tree::arguments(serving).is_empty());
    server.wait_log(&["asked again"], UP_WITHIN)?;
    drop(publisher);
    Ok(())
}
