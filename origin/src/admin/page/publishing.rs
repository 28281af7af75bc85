//! How a channel is published to, on the operator's page.

use std::fmt::{self, Write as _};

use super::{Addresses, Escaped};
use crate::admin::Door;

/// Publish settings, with the key folded away.
pub(super) fn settings(html: &mut String, door: &Door, addresses: &Addresses) -> fmt::Result {
    if let Some(source) = &door.source {
        return write!(
            html,
            "<div class=\"publish\"><h3>Source</h3><p>This channel takes its source from \
             <code>{}</code> and no publisher.</p></div>",
            Escaped(source)
        );
    }
    let name = door.channel.as_str();
    write!(
        html,
        "<div class=\"publish\"><h3>Publish</h3><p>In OBS: Settings, Stream, Service \
         <em>Custom…</em></p><dl><dt>Server</dt><dd><code>{}</code></dd>",
        Escaped(&addresses.rtmp)
    )?;
    let key = match &door.key {
        Some(key) => format!("{name}?key={}", percent(key.expose())),
        None => name.to_owned(),
    };
    html.write_str("<dt>Stream key</dt>")?;
    secret(html, &key, door.key.is_some())?;
    srt_address(html, door, &addresses.srt)?;
    html.write_str("</dl>")?;
    if door.key.is_none() {
        html.write_str(
            "<p class=\"note\">This channel has no key and takes publishers from this machine \
             only.</p>",
        )?;
    }
    html.write_str(
        "<details class=\"encoder\"><summary>Encoder settings</summary><dl>\
         <dt>Rate control</dt><dd>CBR</dd><dt>Keyframe interval</dt><dd>2 s</dd>\
         <dt>Profile</dt><dd>high</dd><dt>Tune</dt><dd>zerolatency, or 0 B-frames</dd>\
         <dt>Audio</dt><dd>AAC, 48 kHz, stereo</dd></dl></details></div>",
    )
}

/// Where SRT encoders publish, and the passphrase, for which they have a field of its own.
fn srt_address(html: &mut String, door: &Door, srt: &str) -> fmt::Result {
    let mut url = format!("{srt}?streamid=publish:{}", door.channel);
    if let Some(key) = &door.key {
        let _ = write!(url, ":{}", percent(key.expose()));
    }
    html.write_str("<dt>Or by SRT</dt>")?;
    secret(html, &url, door.key.is_some())?;
    if let Some(passphrase) = &door.passphrase {
        html.write_str("<dt>SRT passphrase</dt>")?;
        secret(html, passphrase.expose(), true)?;
    }
    Ok(())
}

/// A text to copy, folded away if it `is_secret`.
fn secret(html: &mut String, text: &str, is_secret: bool) -> fmt::Result {
    let text = Escaped(text);
    if is_secret {
        write!(html, "<dd><details><summary>Show</summary><code>{text}</code></details></dd>")
    } else {
        write!(html, "<dd><code>{text}</code></dd>")
    }
}

/// A key as it stands in a query: what could end it or be read as an escape is written as one.
fn percent(key: &str) -> String {
    let mut text = String::with_capacity(key.len());
    for byte in key.bytes() {
        if byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~') {
            text.push(char::from(byte));
        } else {
            let _ = write!(text, "%{byte:02X}");
        }
    }
    text
}
