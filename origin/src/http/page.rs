//! The player's pages and their files, embedded from the build of `player-demo`.
//!
//! A binary built without the player says so on every page, in plain words.

use std::collections::BTreeMap;
use std::sync::{Arc, LazyLock};

use axum::http::HeaderValue;
use rust_embed::RustEmbed;

use super::class::Class;
use super::text::Text;

/// What pages may load: our own files, and what players make themselves (media sources and
/// workers are blobs; media-chrome writes styles into its shadow trees).
pub(super) const CONTENT_SECURITY_POLICY: &str = "default-src 'none'; script-src 'self'; \
    worker-src 'self' blob:; connect-src 'self'; media-src 'self' blob:; \
    img-src 'self' data: blob:; font-src 'self'; style-src 'self' 'unsafe-inline'; \
    base-uri 'none'; form-action 'none'; frame-ancestors 'self'";

#[derive(RustEmbed)]
#[folder = "../player-demo/dist"]
struct Dist;

/// A file of the build.
#[derive(Clone, Debug)]
pub(super) struct File {
    /// Its class.
    pub(super) class: Class,
    /// Its type, by its name.
    pub(super) content_type: HeaderValue,
    /// Its content.
    pub(super) text: Arc<Text>,
}

/// All files of the build by their paths. Read once: each is compressed once.
static FILES: LazyLock<BTreeMap<String, File>> = LazyLock::new(|| {
    Dist::iter()
        .filter_map(|path| {
            let file = Dist::get(&path)?;
            let content_type = HeaderValue::from_str(file.metadata.mimetype()).ok()?;
            let text = Text::new(file.data.into_owned());
            Some((path.to_string(), File { class: class(&path), content_type, text }))
        })
        .collect()
});

/// Vite puts a hash of the content into the names of what it bundles, and bundles into `assets`.
fn class(path: &str) -> Class {
    if path.ends_with(".html") {
        Class::Page
    } else if path.starts_with("assets/") {
        Class::Asset
    } else {
        Class::File
    }
}

/// A file of the build, if there is one of that path.
pub(super) fn file(path: &str) -> Option<File> {
    FILES.get(path).filter(|file| file.class != Class::Page).cloned()
}

/// The start page.
pub(super) fn start() -> Arc<Text> {
    page(&["index.html"])
}

/// The page that plays a channel; it reads the channel's name from its own address.
pub(super) fn watch() -> Arc<Text> {
    page(&["watch.html", "watch/index.html", "index.html"])
}

fn page(candidates: &[&str]) -> Arc<Text> {
    let found = candidates.iter().find_map(|path| FILES.get(*path));
    found.map_or_else(|| Arc::clone(&MISSING), |file| Arc::clone(&file.text))
}

static MISSING: LazyLock<Arc<Text>> =
    LazyLock::new(|| Text::new(include_str!("page/missing.html")));
