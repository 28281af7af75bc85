//! The composition root: makes every part, connects them, and takes them down in order.
//!
//! ```text
//! config ─► store, clock, metrics ─► hub ─► channels (one task each)
//!                                     │         └► http, admin
//!                                     └► rtmp, srt, sources, webrtc
//! ```
//! Listening sockets come first ([`crate::sockets`]), so that a port in use is told at once and
//! nothing is left half up.
//!
//! Going down, all within 25 s: at once the server is not ready any more, takes no new publisher and
//! answers the requests that wait; answers that are being sent get a few seconds; then publishers are
//! told, channels close their segments, the store is flushed, and S3 gets the last of them. Who asks a
//! second time does not want to wait for that.
//!
//! SIGHUP has the certificate read again at once; it is looked at every few seconds anyway.

use std::collections::BTreeMap;
use std::net::{SocketAddr, UdpSocket};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use ingest::hub::{self, Hub};
use ingest::rtmp::server as rtmp;
use ingest::srt;
use packager::media::Name;
use tokio::net::TcpListener;
use tokio::sync::{Notify, watch};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::{error, info, warn};

use crate::admission::Admission;
use crate::assets::{self, Assets};
use crate::channel::stills::Stills;
use crate::channel::{self, Channel, Channels};
use crate::clock::{Clock, SystemClock};
use crate::config::{self, Config};
use crate::legacy::Legacy;
use crate::sockets::{self, Door, Sockets};
use crate::store::{self, Store};
use crate::telemetry::metrics::Metrics;
use crate::viewers::Viewers;
use crate::webrtc::{self, WebRtc};
use crate::{admin, http};

mod announce;
mod asked;
mod broadcaster;
mod counters;
mod demo;
mod doorkeeper;
mod edge;
mod files;
mod libsrt;
mod sources;
pub(crate) mod upstream;
mod wishes;
use asked::Asked;
pub use demo::demo;
use doorkeeper::Doorkeeper;
use wishes::{clock_of, door_of, held, limits, manifests, srt_options};

/// How long the tasks may take to end.
const SHUTDOWN_WITHIN: Duration = Duration::from_secs(15);
/// How much of that viewers may take who are being answered.
const VIEWERS_WITHIN: Duration = Duration::from_secs(5);
/// How long S3 may take the last segments. With the above it is below what a process that was asked to end has
/// to live.
const UPLOADS_WITHIN: Duration = Duration::from_secs(7);

/// Why the server can't run.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// There is nothing to listen on.
    #[error(transparent)]
    Sockets(#[from] sockets::Error),
    /// The demo can't listen where it is to.
    #[error("choose another with --{flag} ADDRESS")]
    Elsewhere {
        /// Which argument says where.
        flag: &'static str,
        /// What is in the way.
        source: sockets::Error,
    },
    /// The store can't be opened.
    #[error("can't open the store in {}", path.display())]
    Store {
        /// Its folder.
        path: PathBuf,
        /// Why not.
        source: store::Error,
    },
    /// The durable store can't be used.
    #[error("can't use {place}")]
    Upstream {
        /// Which.
        place: String,
        /// Why not, and what to do.
        source: store::s3::Unusable,
    },
    /// There is no durable store to try out.
    #[error("the configuration names no S3 store: [store] has kind = \"fs\"")]
    NoUpstream,
    /// The configuration can't be used.
    #[error(transparent)]
    Config(#[from] config::Error),
    /// The demo's edge does not run.
    #[error(transparent)]
    Edge(#[from] edge::Error),
    /// WebRTC can't be had.
    #[error("can't speak WebRTC")]
    WebRtc(#[from] webrtc::Error),
    /// The certificate can't be used.
    #[error("can't speak TLS")]
    Tls(#[from] http::TlsError),
    /// The operating system refuses something basic.
    #[error("{what}")]
    System {
        /// What was wanted.
        what: &'static str,
        /// Why not.
        source: std::io::Error,
    },
}

/// Runs the server on sockets of its own, until it is asked to end.
///
/// # Errors
/// It can't start; the message says which address or folder is the trouble.
pub fn serve(config: &Config) -> Result<(), Error> {
    files::allow_many();
    run(config, Sockets::open(config)?, || ())
}

/// Runs the server on the sockets of its guardian until it is asked to end: with the configuration that is
/// found at `path`, or with that of the server before it where there is none that can be used.
///
/// # Errors
/// As [`serve`].
pub fn serve_guarded(path: Option<&Path>) -> Result<(), Error> {
    files::allow_many();
    let legacy = Legacy::inherited();
    let config::Found { config, text } = found_or_left(path, legacy.as_ref())?;
    let sockets = Sockets::inherit(&config)?;
    run(&config, sockets, || {
        if let Some(Err(error)) = legacy.map(|legacy| legacy.leave(&text)) {
            warn!(%error, "the next server has to find a configuration that it can use");
        }
    })
}

fn found_or_left(
    path: Option<&Path>,
    legacy: Option<&Legacy>,
) -> Result<config::Found, config::Error> {
    Config::find(path).or_else(|error| {
        let text = legacy.and_then(Legacy::text);
        match text.and_then(|text| Some((Config::parse(&text).ok()?, text))) {
            Some((config, text)) => {
                error!(%error, "the configuration can't be used: going on with the one before");
                Ok(config::Found { config, text })
            }
            None => Err(error),
        }
    })
}

/// Runs the server until it is asked to end, and tells when it is up.
fn run(config: &Config, sockets: Sockets, is_up: impl FnOnce()) -> Result<(), Error> {
    block_on(async {
        let mut asked = Asked::listen()?;
        let server = Server::start(config, sockets)?;
        announce::serving(&server, config);
        is_up();
        tokio::select! {
            () = asked.once(&server.reread) => {}
            refusal = upstream::refusal(&server.store, &server.names) => return Err(refusal),
        }
        asked.unless_again(server.stop()).await;
        Ok(())
    })
}

/// Tries out what the durable store of a configuration can do; one line for people.
///
/// # Errors
/// The file has problems, names no such store, or that can't be used: the text says what to do.
pub fn try_store(path: &Path) -> Result<String, Error> {
    let config = Config::load(path)?;
    match &config.store.s3 {
        Some(s3) => upstream::try_out(s3),
        None => Err(Error::NoUpstream),
    }
}

/// What else stands in the way of a configuration, beside what its text says: the certificate, and what the
/// store has. A line for each thing that whoever changes it should know.
///
/// # Errors
/// The file has problems, or its certificate can't be used.
pub fn examine(path: &Path) -> Result<Vec<String>, Error> {
    let config = Config::load(path)?;
    if let Some(tls) = &config.http.tls {
        http::Tls::open(http::TlsFiles { cert: tls.cert.clone(), key: tls.key.clone() })?;
    }
    let anew = |channel: &&config::Channel| {
        store::stored_format(&config.store.path, &channel.name)
            .is_some_and(|format| channel::begins_anew(channel, format))
    };
    let replica = upstream::is_replica(&config);
    let told = config.channels.iter().filter(|_| !replica).filter(anew).map(|channel| {
        format!(
            "channel {} begins a new window, since it ran with another format: what is in its window \
             now can't be watched any more",
            channel.name
        )
    });
    Ok(told.collect())
}

/// Runs as a media worker, until the server that started it wants no more.
pub fn worker(film: Option<&Path>) -> ExitCode {
    match film {
        Some(film) => ingest::av::worker::main_with_film(film),
        None => ingest::av::worker::main(),
    }
}

/// Runs a future on the program's runtime.
fn block_on<T>(future: impl Future<Output = Result<T, Error>>) -> Result<T, Error> {
    tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .map_err(|source| Error::System { what: "can't start the runtime", source })?
        .block_on(future)
}

/// A running server.
struct Server {
    http: SocketAddr,
    https: Option<SocketAddr>,
    rtmp: SocketAddr,
    srt: SocketAddr,
    webrtc: Option<SocketAddr>,
    admin: SocketAddr,
    clock: Arc<SystemClock>,
    /// The tasks that answer viewers.
    front: TaskTracker,
    /// All others.
    tasks: TaskTracker,
    hub: Hub,
    /// Cancelled in this order.
    draining: CancellationToken,
    stop_http: CancellationToken,
    stop_ingest: CancellationToken,
    stop_rest: CancellationToken,
    /// Has the certificate read again.
    reread: Arc<Notify>,
    /// The channels.
    names: Vec<Name>,
    store: Store,
}

impl Server {
    fn start(config: &Config, mut sockets: Sockets) -> Result<Self, Error> {
        let mut listen = |door| listener(&mut sockets, door);
        let (http_listener, http) = listen(Door::Http)?;
        let https_listener = match &config.http.tls {
            Some(_) => Some(listen(Door::Https)?),
            None => None,
        };
        let (rtmp_listener, rtmp_address) = listen(Door::Rtmp)?;
        let (admin_listener, admin_address) = listen(Door::Admin)?;
        let (srt_socket, srt_address) = datagrams(&mut sockets, Door::Srt)?;
        let webrtc_socket = match config.webrtc.listen {
            Some(_) => Some(datagrams(&mut sockets, Door::WebRtc)?),
            None => None,
        };
        let failed = |source| Error::Store { path: config.store.path.clone(), source };
        let store = Store::open(&config.store.path, limits(config)).map_err(failed)?;
        let program = std::env::current_exe()
            .map_err(|source| Error::System { what: "can't find my own program file", source })?;
        let clock = Arc::new(SystemClock::new());
        let store = upstream::behind(store, config, &(Arc::clone(&clock) as Arc<dyn Clock>))?;
        let replica = upstream::is_replica(config);
        let metrics = Arc::new(Metrics::new(env!("CARGO_PKG_VERSION")));
        let (front, tasks) = (TaskTracker::new(), TaskTracker::new());
        let [draining, stop_http, stop_ingest, stop_rest] =
            std::array::from_fn(|_| CancellationToken::new());

        let admission = Arc::new(Admission::new(doorkeeper::cores(config.admission.cores)));
        let doorkeeper = Doorkeeper::new(Arc::clone(&admission), &config.channels);
        let (hub, mut subscriptions) = Hub::with_admission(
            // A replica takes no publisher.
            config.channels.iter().filter(|_| !replica).map(|channel| hub::Access {
                channel: channel.name.clone(),
                key: channel.key.clone(),
                max_bitrate: channel.max_bitrate,
                program: channel.program,
                open_groups: !channel.pass_through,
                has_source: channel.source.is_some(),
            }),
            Arc::new(doorkeeper),
        );
        let mut channels = Channels::new();
        let mut stores = BTreeMap::new();
        let mut counted = Vec::new();
        for wishes in &config.channels {
            let name = &wishes.name;
            let channel_store = store.channel_kept(name, upstream::keep(wishes)).map_err(failed)?;
            let (snapshots, snapshot) = watch::channel(None);
            let (status_sender, status) = watch::channel(Arc::default());
            let (cues, orders) = channel::cues::Desk::new();
            let channel_metrics = metrics.channel(name.as_str());
            counted.push((Arc::clone(&channel_store), channel_metrics.store.clone()));
            let preview = Arc::default();
            let channel = Channel {
                name: name.clone(),
                snapshot,
                status,
                cues,
                preview: Arc::clone(&preview),
            };
            channels.insert(name.clone(), Arc::new(channel));
            stores.insert(name.clone(), Arc::clone(&channel_store));
            if let Some(mirror) = channel_store.mirror().filter(|_| replica) {
                let context = channel::replica::Context {
                    config: wishes.clone(),
                    clock: Arc::clone(&clock) as Arc<dyn Clock>,
                    mirror,
                    metrics: channel_metrics,
                    snapshots,
                    status: status_sender,
                };
                tasks.spawn(channel::replica::run(context, stop_ingest.clone()));
                continue;
            }
            let Some(subscription) = subscriptions.remove(name) else { continue };
            if let Some(mirror) = channel_store.mirror().filter(|_| upstream::writes(config)) {
                let http::Options { hls, dash } = manifests(config, wishes);
                let context = channel::written::Context {
                    name: name.clone(),
                    store: Arc::clone(&channel_store),
                    mirror,
                    hls,
                    dash,
                };
                tasks.spawn(channel::written::run(context, stop_ingest.clone()));
            }
            let own_clock = clock_of(&channel_store, Arc::clone(&clock) as Arc<dyn Clock>, name);
            if wishes.pass_through {
                let sound = channel::preview::sound::Context {
                    preview: Arc::clone(&preview),
                    channel: name.to_string(),
                    program: program.clone(),
                };
                tasks.spawn(channel::preview::sound::run(sound, stop_ingest.clone()));
                let rung = channel::preview::rung::Context {
                    preview: Arc::clone(&preview),
                    channel: name.to_string(),
                    program: program.clone(),
                    clock: Arc::clone(&clock) as Arc<dyn Clock>,
                };
                tasks.spawn(channel::preview::rung::run(rung, stop_ingest.clone()));
            }
            let context = channel::Context {
                config: wishes.clone(),
                clock: Arc::new(own_clock),
                store: channel_store,
                metrics: channel_metrics,
                admission: Arc::clone(&admission),
                program: program.clone(),
                snapshots,
                status: status_sender,
                orders,
                preview,
            };
            tasks.spawn(channel::run(context, subscription, stop_ingest.clone()));
        }
        let channels = Arc::new(channels);

        tasks.spawn(counters::copy_stores(counted, stop_rest.clone()));
        let keeper = Arc::clone(&clock);
        let stop_clock = stop_rest.clone();
        tasks.spawn(async move { keeper.keep(stop_clock).await });
        libsrt::tell();
        let engine = srt::Engine::start()
            .map_err(|source| Error::System { what: "can't start libsrt", source })?;
        let srt_stats = Arc::default();
        let hands = sources::Hands {
            hub: hub.clone(),
            srt: engine.clone(),
            srt_stats: Arc::clone(&srt_stats),
            cancel: stop_ingest.clone(),
        };
        for channel in config.channels.iter().filter(|_| !replica) {
            if let Some(source) = &channel.source {
                let name = channel.name.clone();
                tasks.spawn(sources::keep(source.clone(), hands.clone(), name));
            }
        }
        tasks.spawn(srt::serve(
            engine,
            srt_socket,
            hub.clone(),
            srt_options(config),
            Arc::clone(&srt_stats),
            stop_ingest.clone(),
        ));
        tasks.spawn(counters::copy_door(srt_stats, metrics.srt.clone(), stop_rest.clone()));
        let rtmp_stats = Arc::default();
        let door =
            rtmp::serve(rtmp_listener, hub.clone(), Arc::clone(&rtmp_stats), stop_ingest.clone());
        tasks.spawn(door);
        tasks.spawn(counters::copy_door(rtmp_stats, metrics.rtmp.clone(), stop_rest.clone()));
        tasks.spawn(counters::copy_admission(
            Arc::clone(&admission),
            metrics.admission.clone(),
            stop_rest.clone(),
        ));
        let viewers = Arc::new(Viewers::new(channels.keys(), metrics.viewers.clone()));
        let (audience, stop_audience) = (Arc::clone(&viewers), stop_rest.clone());
        tasks.spawn(async move { audience.keep(stop_audience).await });
        let assets = Arc::new(Assets::new(
            Arc::clone(&channels),
            stores.clone(),
            Arc::clone(&clock) as Arc<dyn Clock>,
        ));
        for channel in config.channels.iter().filter(|channel| channel.record) {
            if let Some(channel) = channels.get(&channel.name) {
                let (assets, channel) = (Arc::clone(&assets), Arc::clone(channel));
                tasks.spawn(assets::record(assets, channel, stop_rest.clone()));
            }
        }
        let webrtc_address = webrtc_socket.as_ref().map(|(_, address)| *address);
        let webrtc = match webrtc_socket {
            Some((socket, _)) => Some(WebRtc::new(
                socket,
                &config.webrtc,
                (Arc::clone(&channels), hub.clone()),
                Arc::clone(&clock) as Arc<dyn Clock>,
                metrics.webrtc.clone(),
            )?),
            None => None,
        };
        if let Some(webrtc) = &webrtc {
            tasks.spawn(Arc::clone(webrtc).run(stop_ingest.clone()));
        }
        let (stills, desk) = Stills::new();
        tasks.spawn(desk.run(program.clone(), stop_ingest.clone()));
        let context = http::Context {
            channels: Arc::clone(&channels),
            stores,
            assets: Arc::clone(&assets),
            clock: Arc::clone(&clock) as Arc<dyn Clock>,
            metrics: Arc::clone(&metrics),
            viewers: Arc::clone(&viewers),
            stills,
            webrtc: webrtc.clone(),
            options: config
                .channels
                .iter()
                .map(|channel| (channel.name.clone(), manifests(config, channel)))
                .collect(),
        };
        let reread = Arc::new(Notify::new());
        let mut entrances = vec![http::Entrance { listener: http_listener, tls: None }];
        let https = https_listener.as_ref().map(|(_, address)| *address);
        if let (Some(config), Some((listener, _))) = (&config.http.tls, https_listener) {
            let (cert, key) = (config.cert.clone(), config.key.clone());
            let tls = Arc::new(http::Tls::open(http::TlsFiles { cert, key })?);
            entrances.push(http::Entrance { listener, tls: Some(Arc::clone(&tls)) });
            tasks.spawn(tls.keep(metrics.http.clone(), Arc::clone(&reread), stop_rest.clone()));
        }
        front.spawn(http::serve(entrances, context, held(&config.http), stop_http.clone()));
        let context = admin::Context {
            channels,
            assets,
            doors: config.channels.iter().map(door_of).collect(),
            metrics,
            viewers,
            webrtc,
            admission,
            rtmp_port: rtmp_address.port(),
            srt_port: srt_address.port(),
            http_port: http.port(),
            public_url: config.http.public_url.clone(),
            hosts: config.admin.hosts.clone(),
        };
        tasks.spawn(admin::serve(admin_listener, context, draining.clone(), stop_rest.clone()));
        Ok(Self {
            http,
            https,
            rtmp: rtmp_address,
            srt: srt_address,
            webrtc: webrtc_address,
            admin: admin_address,
            clock,
            front,
            tasks,
            hub,
            draining,
            stop_http,
            stop_ingest,
            stop_rest,
            reread,
            names: config.channels.iter().map(|channel| channel.name.clone()).collect(),
            store,
        })
    }

    /// Takes everything down, waiting requests first.
    async fn stop(self) {
        let all = async {
            self.draining.cancel();
            self.hub.close();
            self.stop_http.cancel();
            self.front.close();
            // Answers still being written have a grace of their own, shorter than this.
            if tokio::time::timeout(VIEWERS_WITHIN, self.front.wait()).await.is_err() {
                warn!("some viewers are still being answered");
            }
            self.stop_ingest.cancel();
            self.stop_rest.cancel();
            self.tasks.close();
            self.tasks.wait().await;
        };
        if tokio::time::timeout(SHUTDOWN_WITHIN, all).await.is_err() {
            let left = self.front.len() + self.tasks.len();
            warn!(left, "some tasks did not end in time");
        }
        if !self.store.finish(UPLOADS_WITHIN).await {
            warn!("S3 does not have everything yet: the rest waits on disk for the next start");
        }
        info!("stopped");
    }
}

/// A door's socket for datagrams, and where it is bound.
fn datagrams(sockets: &mut Sockets, door: Door) -> Result<(UdpSocket, SocketAddr), Error> {
    let socket = sockets.datagrams(door)?;
    let address = socket.local_addr();
    let failed = |source| Error::System { what: "can't use a socket", source };
    address.map_err(failed).map(|address| (socket, address))
}

/// A door's listener on this runtime, and where it listens.
fn listener(sockets: &mut Sockets, door: Door) -> Result<(TcpListener, SocketAddr), Error> {
    let listener = sockets.listener(door)?;
    let registered = || {
        listener.set_nonblocking(true)?;
        let address = listener.local_addr()?;
        Ok((TcpListener::from_std(listener)?, address))
    };
    registered().map_err(|source| Error::System { what: "can't use a listening socket", source })
}
