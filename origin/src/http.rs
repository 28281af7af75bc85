//! The HTTP origin: playlists, manifests, media, the player's pages.
//!
//! ```text
//! serve ─► path ─► route ─► page, playlist (+ render), media (+ standing, store) ─► answer ─► body
//!                                 │ error                                    │ class: the one table
//!                                 └──────────────────────────────────────────┘
//! ```
//! What viewers post goes to `beacon`, offers of WebRTC to `signalling`. Every other answer can be cached by the rule of its `class`,
//! and one media URL has one content for ever. Of a query only the delivery directives
//! of HLS are read (`reload`). Requests at the live edge are held on the channel's snapshots; no lock
//! is held while something is rendered or written. A segment that is being written is answered part by
//! part as it grows.
//!
//! It serves what channels and the store have and changes nothing.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::sync::Arc;

use axum::body::Body;
use axum::http::{HeaderMap, Method, Request, Response, Uri};
use packager::hls::Skip;
use packager::media::Name;
use packager::time::{self, Timescale, Timestamp};
use packager::timeline::{Snapshot, State};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

mod answer;
mod answer_id;
mod beacon;
mod body;
mod class;
mod error;
mod excerpts;
mod hold;
mod media;
mod negotiate;
mod page;
mod pieces;
mod playlist;
mod reload;
mod render;
mod route;
mod serve;
mod signalling;
mod standing;
mod text;

pub use answer_id::ANSWER_ID;
pub use render::Options;
pub(crate) use serve::{Caps, Entrance, serve as serve_connections};
pub use serve::{Limits, Tls, TlsError, TlsFiles};

use self::answer::{Entity, Found};
use self::answer_id::AnswerIds;
use self::body::Payload;
use self::class::Class;
use self::error::Error;
use self::excerpts::{Ends, View, Views, Vods};
use self::hold::Hold;
use self::playlist::Reloads;
use self::reload::Directives;
use self::render::{Renders, Resource};
use self::route::{Piece, Route, Sheet};
use self::serve::{Answering, Handler, Visitor};
use self::text::Text;
use crate::assets::Assets;
use crate::channel::stills::Stills;
use crate::channel::{Channel, Channels};
use crate::clock::Clock;
use crate::store::ChannelStore;
use crate::telemetry::metrics::Metrics;
use crate::viewers::Viewers;
use crate::webrtc::WebRtc;

/// Bytes of path and query: the longest of our URLs is below 300.
const MAX_URI: usize = 2 * 1024;

/// What the origin serves from.
#[derive(Clone, Debug)]
pub struct Context {
    /// The channels.
    pub channels: Arc<Channels>,
    /// The media of each channel.
    pub stores: BTreeMap<Name, Arc<ChannelStore>>,
    /// Recordings and clips.
    pub assets: Arc<Assets>,
    /// For `/time` and `Date`.
    pub clock: Arc<dyn Clock>,
    /// Where requests are counted.
    pub metrics: Arc<Metrics>,
    /// Where viewers report.
    pub viewers: Arc<Viewers>,
    /// Where stills are made.
    pub stills: Arc<Stills>,
    /// Where offers go; `None`: there is no WebRTC.
    pub webrtc: Option<Arc<WebRtc>>,
    /// How a channel's manifests are written; as ever, where nothing is said.
    pub options: BTreeMap<Name, Options>,
}

/// Serves the origin at its entrances until cancelled, and then until its connections have ended.
pub(crate) async fn serve(
    entrances: Vec<Entrance>,
    context: Context,
    limits: Limits,
    cancel: CancellationToken,
) {
    let caps = Caps::new(limits, context.metrics.http.clone());
    let origin = Origin::new(context, cancel.clone());
    let mut doors = JoinSet::new();
    for entrance in entrances {
        let (origin, caps) = (Arc::clone(&origin), Arc::clone(&caps));
        doors.spawn(serve::serve(entrance, origin, caps, cancel.clone()));
    }
    while doors.join_next().await.is_some() {}
}

#[derive(Debug)]
struct Origin {
    context: Context,
    texts: BTreeMap<Name, Texts>,
    views: BTreeMap<Name, Views>,
    vods: Vods,
    ids: AnswerIds,
    cancel: CancellationToken,
}

/// The texts of a channel: those that are rendered, and those that are waited for.
#[derive(Debug, Default)]
struct Texts {
    options: Options,
    renders: Renders,
    reloads: Reloads,
}

impl Handler for Arc<Origin> {
    type Body = Payload;

    fn handle(&self, request: Request<Body>, visitor: &Arc<Visitor>) -> Answering<Payload> {
        let (origin, visitor) = (Self::clone(self), Arc::clone(visitor));
        if matches!(*request.method(), Method::POST | Method::PATCH | Method::DELETE) {
            return Box::pin(async move {
                let (request, body) = request.into_parts();
                let mut class = None;
                let taken = match Route::parse(request.uri.path()) {
                    Some(Route::Signal(signal)) => {
                        origin.signal(&request, body, &signal, &visitor, &mut class).await
                    }
                    _ if request.method == Method::POST => {
                        origin.take_report(&request, body, &visitor, &mut class).await
                    }
                    _ => Err(Error::Method),
                };
                origin.response(taken, &request.method, request.uri.path(), class)
            });
        }
        let (method, uri, headers) = negotiate::kept(request);
        Box::pin(async move {
            let mut class = None;
            let found = origin.answer(&method, &uri, &headers, &visitor, &mut class).await;
            origin.response(found, &method, uri.path(), class)
        })
    }
}

impl Origin {
    /// An origin whose requests that wait are answered when `cancel` is.
    fn new(context: Context, cancel: CancellationToken) -> Arc<Self> {
        let texts_of = |name: &Name| {
            let options = context.options.get(name).cloned().unwrap_or_default();
            (name.clone(), Texts { options, ..Texts::default() })
        };
        let texts = context.channels.keys().map(texts_of).collect();
        let views = context.channels.keys().map(|name| (name.clone(), Views::default())).collect();
        Arc::new(Self {
            context,
            texts,
            views,
            vods: Vods::default(),
            ids: AnswerIds::new(),
            cancel,
        })
    }

    /// The response to a request, whatever came of it.
    fn response(
        &self,
        answered: Result<Response<Payload>, Error>,
        method: &Method,
        path: &str,
        class: Option<Class>,
    ) -> Response<Payload> {
        let mut response = answered.unwrap_or_else(|error| {
            if let Error::Read(cause) = &error {
                tracing::error!(%cause, path, "reading the store failed");
            }
            answer::error(&error, method)
        });
        answer::everywhere(response.headers_mut(), self.context.clock.now_millis());
        response.headers_mut().insert(ANSWER_ID, self.ids.next());
        let http = &self.context.metrics.http;
        let label = class.map_or("none", Class::label);
        let sent = http.answered(label, response.status().as_u16());
        response.map(|payload| payload.counted(sent))
    }

    /// Answers a request; leaves its resource class in `class` as soon as that is known.
    async fn answer(
        &self,
        method: &Method,
        uri: &Uri,
        headers: &HeaderMap,
        visitor: &Arc<Visitor>,
        class: &mut Option<Class>,
    ) -> Result<Response<Payload>, Error> {
        match *method {
            Method::GET | Method::HEAD => {}
            Method::OPTIONS => {
                return Ok(answer::options(Route::parse(uri.path()).as_ref()));
            }
            _ => return Err(Error::Method),
        }
        if uri.path_and_query().is_some_and(|text| text.as_str().len() > MAX_URI) {
            return Err(Error::UriTooLong);
        }
        let route = Route::parse(uri.path()).ok_or(Error::NoRoute)?;
        let held = Hold { cancel: &self.cancel, visitor };
        let found = self.find(&route, (uri.query(), headers), held, class).await?;
        *class = Some(found.class);
        // Boxed, so that those who wait are small.
        Box::pin(answer::found(found, method, headers)).await
    }

    async fn find(
        &self,
        route: &Route,
        (query, headers): (Option<&str>, &HeaderMap),
        held: Hold<'_>,
        class: &mut Option<Class>,
    ) -> Result<Found, Error> {
        let mut is = |known| *class = Some(known);
        match route {
            Route::Start => Ok(Found::text(Class::Page, page::start())),
            Route::Watch(name) => {
                self.channel(name)?;
                Ok(Found::text(Class::Page, page::watch()))
            }
            Route::Publish(name) => {
                self.channel(name)?;
                Ok(Found::text(Class::Page, page::publish()))
            }
            Route::Asset(path) => {
                let file = page::file(path).ok_or(Error::Gone)?;
                Ok(Found {
                    class: file.class,
                    content_type: Some(file.content_type),
                    entity: Entity::Text(file.text),
                })
            }
            Route::Time => Ok(self.time(0)),
            Route::ChannelTime(name) => {
                Ok(self.time(self.channel(name)?.status.borrow().clock_ahead_ms))
            }
            Route::ChannelList => json(&self.list()),
            Route::Beacon(_) => Err(Error::BeaconMethod),
            Route::Signal(signal) => Err(Error::SignalMethod { session: signal.session.is_some() }),
            Route::Status(name) => {
                let status = self.channel(name)?.status.borrow().clone();
                json(&*status)
            }
            Route::Live(name, sheet) => {
                is(sheet.class());
                let channel = self.channel(name)?;
                let snapshot = playlist::ready(channel, held).await?;
                let texts = self.texts.get(name).ok_or(Error::Gone)?;
                self.sheet((channel, texts), sheet, None, snapshot, (query, held)).await
            }
            Route::Excerpt(name, ends, sheet) => {
                is(sheet.class());
                // Boxed, so that the many who wait for a channel's own playlist are small.
                Box::pin(self.excerpt(name, *ends, sheet, (query, held))).await
            }
            Route::NoInstant => Err(Error::Instant),
            Route::Vod(asset, sheet) => {
                is(Class::Whole { manifest: *sheet == Sheet::Manifest, seconds: excerpts::KEPT });
                Box::pin(self.vod(asset, sheet)).await
            }
            Route::Media(wanted) => {
                is(Class::Video);
                let channel = self.channel(&wanted.channel)?;
                let store = self.context.stores.get(&wanted.channel).ok_or(Error::Gone)?;
                if let Some(held) = Box::pin(self.held(store, wanted)).await? {
                    return Ok(held);
                }
                // Boxed, so that the many who wait for a playlist are small.
                let with = (&*self.context.clock, &*self.context.stills);
                let found = media::find(channel, store, wanted, headers, with, held);
                let found = Box::pin(found).await?;
                Ok(Found { class: found.class, content_type: None, entity: found.entity })
            }
        }
    }

    /// The time of a clock that is ahead of ours: UTCTiming, urn:mpeg:dash:utc:http-xsdate:2014, in
    /// whole milliseconds.
    fn time(&self, ahead_millis: u64) -> Found {
        let millis = self.context.clock.now_millis().saturating_add(ahead_millis).cast_signed();
        let now = time::iso(Timestamp::new(millis, Timescale::MILLIS));
        Found::text(Class::Time, Text::new(now))
    }

    fn channel(&self, name: &Name) -> Result<&Channel, Error> {
        self.context.channels.get(name).map(Arc::as_ref).ok_or(Error::NoChannel)
    }

    /// A playlist or manifest of an excerpt of a channel.
    async fn excerpt(
        &self,
        name: &Name,
        ends: Ends,
        sheet: &Sheet,
        asked: (Option<&str>, Hold<'_>),
    ) -> Result<Found, Error> {
        let channel = self.channel(name)?;
        ends.check(self.context.clock.now_millis())?;
        let snapshot = playlist::ready(channel, asked.1).await?;
        let views = self.views.get(name).ok_or(Error::Gone)?;
        let options = self.texts.get(name).map(|texts| &texts.options).ok_or(Error::Gone)?;
        let view = views.view(ends, options);
        let cut = view.cut(&snapshot)?;
        if cut.state != State::Whole {
            return self.sheet((channel, &view.texts), sheet, Some(&view), cut, asked).await;
        }
        let seconds = excerpts::kept_for(&cut, &snapshot);
        let Texts { options, renders, .. } = &view.texts;
        let text = renders.text(sheet.resource(&cut)?, &cut, options);
        let manifest = *sheet == Sheet::Manifest;
        Ok(Found::text(Class::Whole { manifest, seconds }, text))
    }

    /// A playlist or manifest of an asset.
    async fn vod(&self, asset: &Name, sheet: &Sheet) -> Result<Found, Error> {
        let (channel, timeline) = self.context.assets.timeline(asset.as_str()).await?;
        let options = self.texts.get(&channel).map(|texts| &texts.options).ok_or(Error::Gone)?;
        let texts = self.vods.texts(&timeline, || options.based(&format!("../../live/{channel}/")));
        let text = texts.renders.text(sheet.resource(&timeline)?, &timeline, &texts.options);
        let manifest = *sheet == Sheet::Manifest;
        Ok(Found::text(Class::Whole { manifest, seconds: excerpts::KEPT }, text))
    }

    /// Media that only an asset has any more.
    async fn held(
        &self,
        store: &ChannelStore,
        wanted: &route::Media,
    ) -> Result<Option<Found>, Error> {
        let Some((class, media)) = media::held(store, wanted) else { return Ok(None) };
        let media = match wanted.piece {
            Piece::KeyFrame { k } | Piece::Still { k } => {
                let assets = &self.context.assets;
                let timeline = assets.holding(&wanted.channel, wanted.run.as_str(), k).await?;
                let name = wanted.rendition.as_str();
                let (index, ..) = timeline.track(name).ok_or(Error::Gone)?;
                media::made(&timeline, index, (store, &*self.context.stills), wanted).await?
            }
            _ => media,
        };
        Ok(Some(Found { class, content_type: None, entity: Entity::Media(media) }))
    }

    /// A playlist or manifest of what goes on: a channel, of which `snapshot` is the newest, or a `view` of
    /// it.
    async fn sheet(
        &self,
        (channel, texts): (&Channel, &Texts),
        sheet: &Sheet,
        view: Option<&View>,
        snapshot: Arc<Snapshot>,
        (query, held): (Option<&str>, Hold<'_>),
    ) -> Result<Found, Error> {
        match sheet {
            Sheet::Multivariant | Sheet::Manifest => {
                let Texts { options, renders, .. } = texts;
                let mut options = Cow::Borrowed(options);
                if channel.status.borrow().clock_ahead_ms > 0 {
                    options.to_mut().dash.clock = format!("/live/{}/time", channel.name);
                }
                let text = renders.text(sheet.resource(&snapshot)?, &snapshot, &options);
                Ok(Found::text(sheet.class(), text))
            }
            Sheet::Playlist(rendition) | Sheet::KeyFrames(rendition) | Sheet::Images(rendition) => {
                self.playlist((channel, texts), (sheet, rendition), view, snapshot, (query, held))
                    .await
            }
        }
    }

    /// A playlist of a rendition, as the delivery directives of the request want it.
    async fn playlist(
        &self,
        (channel, texts): (&Channel, &Texts),
        (sheet, rendition): (&Sheet, &Name),
        view: Option<&View>,
        snapshot: Arc<Snapshot>,
        (query, held): (Option<&str>, Hold<'_>),
    ) -> Result<Found, Error> {
        let Directives { mut wanted, skip } = Directives::parse(query)?;
        let have = wanted.map(|wanted| wanted.msn);
        let resource = sheet.resource(&snapshot)?;
        let render = |snapshot: &Arc<Snapshot>, index| {
            // What was cut out of an earlier snapshot goes on in a later one.
            let cut = view.and_then(|view| view.cut(snapshot).ok());
            let snapshot = cut.as_ref().unwrap_or(snapshot);
            let skip = skip.usable(snapshot, index, have);
            texts.renders.text(resource.of(index, skip), snapshot, &texts.options)
        };
        let (index, ..) = snapshot.track(rendition.as_str()).ok_or(Error::Gone)?;
        let Some(wanted) = &mut wanted else {
            let skip = skip.usable(&snapshot, index, have);
            let text = texts.renders.text(resource.of(index, skip), &snapshot, &texts.options);
            return Ok(Found::text(Class::Playlist, text));
        };
        if matches!(sheet, Sheet::KeyFrames(_) | Sheet::Images(_)) {
            // It has no parts: who waits for one of these waits for the segment.
            wanted.part = None;
        }
        // Not held while it waits.
        drop(snapshot);
        let key = (resource.of(index, skip), *wanted);
        let waited = texts.reloads.wait(key, channel, rendition.as_str(), held, render);
        let (class, text) = waited.await?;
        Ok(Found::text(class, text))
    }

    fn list(&self) -> Vec<Listed> {
        let listed = |(name, channel): (&Name, &Arc<Channel>)| {
            let status = channel.status.borrow();
            Listed { name: name.to_string(), state: status.state, since: status.since }
        };
        self.context.channels.iter().map(listed).collect()
    }
}

impl Sheet {
    /// The class of one that goes on.
    fn class(&self) -> Class {
        match self {
            Self::Multivariant => Class::Multivariant,
            Self::Manifest => Class::Manifest,
            Self::Playlist(_) | Self::KeyFrames(_) | Self::Images(_) => Class::Playlist,
        }
    }

    /// What is rendered for it, all of it.
    fn resource(&self, snapshot: &Snapshot) -> Result<Resource, Error> {
        let index = |name: &Name| snapshot.track(name.as_str()).ok_or(Error::Gone);
        Ok(match self {
            Self::Multivariant => Resource::Multivariant,
            Self::Manifest => Resource::Manifest,
            Self::Playlist(name) => Resource::Playlist(index(name)?.0, Skip::Nothing),
            Self::KeyFrames(name) => {
                let (index, rendition, _) = index(name)?;
                // Sound has none.
                rendition.video().ok_or(Error::Gone)?;
                Resource::KeyFrames(index, Skip::Nothing)
            }
            Self::Images(name) => {
                let (index, rendition, _) = index(name)?;
                rendition.video().ok_or(Error::Gone)?;
                Resource::Images(index, Skip::Nothing)
            }
        })
    }
}

/// A channel in the public list.
#[derive(Debug, serde::Serialize)]
struct Listed {
    name: String,
    state: crate::channel::Health,
    since: u64,
}

fn json(value: &impl serde::Serialize) -> Result<Found, Error> {
    let text = serde_json::to_string(value).map_err(|error| Error::Read(error.into()))?;
    Ok(Found::text(Class::Status, Text::new(text)))
}

#[cfg(test)]
mod tests;
