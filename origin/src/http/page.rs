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
/// workers are blobs; media-chrome writes styles into its shadow trees). `{twin}` is where else they
/// may ask.
const CONTENT_SECURITY_POLICY: &str = "default-src 'none'; script-src 'self'; \
    worker-src 'self' blob:; connect-src 'self'{twin}; media-src 'self' blob: data:; \
    img-src 'self'{twin} data: blob:; font-src 'self'; style-src 'self' 'unsafe-inline'; \
    base-uri 'none'; form-action 'none'; frame-ancestors 'self'";

/// The policy of a page that was asked of `host`. On loopback pages may ask the machine's other name
/// too: two players beside each other need more connections than a browser opens to one host.
pub(super) fn content_security_policy(host: Option<&HeaderValue>) -> HeaderValue {
    let host = host.and_then(|host| host.to_str().ok()).unwrap_or_default();
    let (name, port) = host.split_once(':').unwrap_or((host, "80"));
    let twin = match name {
        "127.0.0.1" => "localhost",
        "localhost" => "127.0.0.1",
        _ => "",
    };
    let twin = match port.parse::<u16>() {
        Ok(port) if !twin.is_empty() => format!(" http://{twin}:{port}"),
        _ => String::new(),
    };
    let policy = CONTENT_SECURITY_POLICY.replace("{twin}", &twin);
    HeaderValue::from_str(&policy).unwrap_or(HeaderValue::from_static("default-src 'none'"))
}

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

/// The page that publishes to a channel; as above.
pub(super) fn publish() -> Arc<Text> {
    page(&["publish.html"])
}

fn page(candidates: &[&str]) -> Arc<Text> {
    let found = candidates.iter().find_map(|path| FILES.get(*path));
    found.map_or_else(|| Arc::clone(&MISSING), |file| Arc::clone(&file.text))
}

static MISSING: LazyLock<Arc<Text>> =
    LazyLock::new(|| Text::new(include_str!("page/missing.html")));

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pages_may_ask_their_own_host_and_loopbacks_other_name() {
        for (host, may) in [
            ("127.0.0.1:8080", "connect-src 'self' http://localhost:8080;"),
            ("localhost", "connect-src 'self' http://127.0.0.1:80;"),
            ("tv.example:8080", "connect-src 'self';"),
            ("localhost:8080; script-src *", "connect-src 'self';"),
            ("localhost.example", "connect-src 'self';"),
        ] {
            let policy = content_security_policy(HeaderValue::from_str(host).ok().as_ref());
            assert!(policy.to_str().unwrap().contains(may), "{host}: {policy:?}");
        }
        assert!(content_security_policy(None).to_str().unwrap().contains("connect-src 'self';"));
    }
}
