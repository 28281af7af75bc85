//! What a configuration may say, and whoever says it has seldom meant.

use crate::config::{Channel, Config, Fallback};

/// The key of the example file and of what is shipped with it.
const EXAMPLE_KEY: &str = "change-me";
/// Characters from which on nobody finds a key of letters and digits by trying.
const SHORT_KEY: usize = 12;

/// Of the sections.
pub(super) fn of_the_server(config: &Config) -> Vec<String> {
    let mut told = Vec::new();
    let admin = config.admin.listen;
    if !admin.ip().is_loopback() {
        told.push(format!(
            "[admin] listens on {admin}: whoever reaches it sees keys and can end what is on; put \
             something in front that asks who it is"
        ));
    }
    let credentials = config.store.s3.as_ref().and_then(|s3| s3.credentials.as_ref());
    if let Some(path) = credentials
        && let Err(error) = std::fs::File::open(path)
    {
        let path = path.display();
        told.push(format!("the file of credentials, {path}, can't be read: {error}"));
    }
    told
}

/// Of a channel.
pub(super) fn of(channel: &Channel) -> Vec<String> {
    let mut told = Vec::new();
    match channel.key.as_ref().map(|key| key.expose()) {
        Some(EXAMPLE_KEY) => {
            told.push("the key is the example's, which everybody knows: choose another".to_owned())
        }
        Some(key) if key.len() < SHORT_KEY => told.push(format!(
            "the key has {} characters and can be found by trying: take {SHORT_KEY} or more",
            key.len()
        )),
        _ => {}
    }
    if channel.passphrase.is_some() && channel.source.is_some() {
        told.push("passphrase means nothing to a channel with a source of its own".to_owned());
    }
    if channel.fps.is_some() && channel.pass_through && channel.fallback == Fallback::Refuse {
        told.push("fps means nothing to a channel that is not encoded".to_owned());
    }
    told
}
