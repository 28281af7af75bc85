//! The demo's broadcaster: what a worker draws, published through the server's own RTMP door.
//!
//! Once a minute it announces an ad break, as encoders do over RTMP.
//!
//! A broadcaster that loses its connection, or its worker, begins again, as OBS would.

use std::net::SocketAddr;
use std::time::Duration;

use ingest::av::protocol::{ClockBase, Scene};
use ingest::av::supervisor::{BroadcastConfig, broadcast};
use ingest::rtmp::amf0::Value;
use ingest::rtmp::client::{self, Publisher};
use ingest::source::{PictureConfig, Unit};
use packager::media::VideoCodec;
use packager::time::{FrameRate, Rounding, Timescale, Timestamp};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use tracing::warn;

use super::{Error, Server};
use crate::clock::Clock;

/// The demo's channel.
pub(super) const CHANNEL: &str = "demo";
/// From one break to the next, and from the beginning to the first message, in milliseconds.
const BREAK_EVERY: u32 = 60_000;
const FIRST_BREAK: u32 = 12_000;
/// How long before its break a message is sent, in milliseconds: what SCTE 35 has at the least, twice.
const PRE_ROLL: u32 = 8_000;
/// How long a break lasts, in seconds.
const BREAK: f64 = 15.0;
/// How long a broadcaster waits before it tries again, as encoders do.
const RETRY_AFTER: Duration = Duration::from_secs(1);

/// A broadcaster that runs.
pub(super) struct Broadcaster {
    cancel: CancellationToken,
    task: JoinHandle<()>,
}

impl Broadcaster {
    /// Ends it and waits until it has.
    pub(super) async fn stop(self) {
        self.cancel.cancel();
        // A panic in it has been told already, and the demo is over.
        let _ = self.task.await;
    }
}

/// What can end a broadcast.
#[derive(Debug, thiserror::Error)]
enum Broken {
    #[error("the broadcaster does not start: {0}")]
    Start(std::io::Error),
    #[error(transparent)]
    Client(#[from] client::Error),
    #[error("the broadcaster's worker ended")]
    Ended,
}

/// Starts the broadcaster of the demo.
pub(super) fn start(server: &Server) -> Result<Broadcaster, Error> {
    let program = std::env::current_exe()
        .map_err(|source| Error::System { what: "can't find my own program file", source })?;
    let clock = ClockBase { utc_minus_monotonic_nanos: server.clock.utc_minus_monotonic_nanos() };
    let scene = Scene {
        title: "Headwater demo".into(),
        width: 1280,
        height: 720,
        rate: FrameRate::new(30, 1),
        bitrate: 4_000_000,
    };
    let config = BroadcastConfig { program, clock, scene };
    let door = server.rtmp;
    let cancel = CancellationToken::new();
    let cancelled = cancel.clone();
    let task = tokio::spawn(async move {
        let forever = async {
            loop {
                let Err(broken) = publish(config.clone(), door).await else { continue };
                warn!(error = %broken, "the demo's broadcaster begins again");
                tokio::time::sleep(RETRY_AFTER).await;
            }
        };
        tokio::select! {
            () = cancelled.cancelled() => {}
            () = forever => {}
        }
    });
    Ok(Broadcaster { cancel, task })
}

/// Publishes until something breaks.
async fn publish(config: BroadcastConfig, door: SocketAddr) -> Result<(), Broken> {
    let mut units = broadcast(config).map_err(Broken::Start)?;
    let mut publisher = Publisher::connect(door, "live", CHANNEL).await?;
    let mut codec = VideoCodec::H264;
    let (mut next_break, mut breaks) = (FIRST_BREAK, 0.0);
    while let Some(unit) = units.recv().await {
        match unit {
            Unit::VideoConfig(PictureConfig::Packaged(video)) => {
                codec = video.codec;
                publisher.send_video_config(codec, &video.record, 0).await?;
            }
            Unit::AudioConfig(audio) => publisher.send_audio_config(&audio.record(), 0).await?,
            Unit::Video(sample) => {
                let at = millis(sample.dts);
                let composition = millis(sample.pts).wrapping_sub(at).cast_signed();
                publisher.send_video(codec, sample.sync, at, composition, &sample.data).await?;
                if at >= next_break {
                    next_break = at.saturating_add(BREAK_EVERY);
                    breaks += 1.0;
                    announce_break(&mut publisher, at, breaks).await?;
                }
            }
            Unit::Audio(sample) => publisher.send_audio(millis(sample.dts), &sample.data).await?,
            // The demo makes H.264.
            Unit::VideoConfig(PictureConfig::Foreign(_))
            | Unit::Data(_)
            | Unit::Section(_)
            | Unit::Notice(_) => {}
        }
    }
    Err(Broken::Ended)
}

/// Announces a break, at `at` milliseconds of the stream (SCTE 67's `onAdCue`, simple mode).
async fn announce_break(publisher: &mut Publisher, at: u32, id: f64) -> Result<(), client::Error> {
    let time = f64::from(at.saturating_add(PRE_ROLL)) / 1_000.0;
    let fields = [
        ("cue", Value::string("SpliceOut")),
        ("id", Value::Number(id)),
        ("duration", Value::Number(BREAK)),
        ("time", Value::Number(time)),
        ("elapsed", Value::Number(0.0)),
    ];
    let fields = fields.map(|(name, value)| (name.to_owned(), value));
    publisher.metadata("onAdCue", &[Value::Object(fields.into())], at).await
}

/// RTMP's clock: milliseconds modulo 2^32.
fn millis(at: Timestamp) -> u32 {
    let millis = at.ticks_in(Timescale::MILLIS, Rounding::Nearest);
    (millis.rem_euclid(1 << 32)) as u32
}
