//! Breaks on the operator's page: buttons that start, end and cancel one, those there are, and what was
//! heard.

use std::fmt::{self, Write as _};

use packager::scte35::breaks::Outcome;
use packager::scte35::{Cue, Phase};
use packager::timeline::{EndsBy, Moved};

use super::{Escaped, utc};
use crate::channel::Channel;
use crate::channel::cues::{CueView, Entry};

/// Messages shown, newest first.
const HEARD: usize = 12;
/// Breaks shown, newest first; the API has them all.
const SHOWN: usize = 12;

/// Writes the part of the page that is about a channel's breaks.
pub(super) fn write(html: &mut String, channel: &Channel) -> fmt::Result {
    let Some(snapshot) = channel.snapshot.borrow().clone() else { return Ok(()) };
    let name = Escaped(channel.name.as_str());
    write!(
        html,
        "<div class=\"cues\"><h3>Ad breaks</h3>\
         <form method=\"post\" action=\"/api/v1/channels/{name}/cues\">\
         <button name=\"button\" value=\"out\">Start a break of {} s</button></form>",
        super::super::cues::BUTTON
    )?;
    let scale = snapshot.format.grid.video_scale();
    if !snapshot.cues.is_empty() {
        html.write_str("<ol>")?;
        for cue in snapshot.cues.iter().rev().take(SHOWN) {
            one(html, &CueView::of(cue, scale))?;
            if let Some((button, words)) = button(cue) {
                write!(
                    html,
                    " <form method=\"post\" action=\"/api/v1/channels/{name}/cues\">\
                     <input type=\"hidden\" name=\"event_id\" value=\"{}\">\
                     <button name=\"button\" value=\"{button}\">{words}</button></form>",
                    cue.event.id
                )?;
            }
            html.write_str("</li>")?;
        }
        html.write_str("</ol>")?;
    }
    heard(html, &channel.status.borrow().cues)?;
    html.write_str("</div>")
}

/// What an operator can do about a cue: a button, and the words on it.
fn button(cue: &Cue) -> Option<(&'static str, &'static str)> {
    match cue.phase {
        _ if !cue.is_break || !cue.event.is_insert() => None,
        Phase::Announced => Some(("cancel", "Cancel")),
        Phase::Active => Some(("in", "End now")),
        Phase::Ended | Phase::Cancelled => None,
    }
}

/// A cue, in an item that is left open.
fn one(html: &mut String, cue: &CueView) -> fmt::Result {
    let phase = match cue.phase {
        Phase::Announced => "to come",
        Phase::Active => "on",
        Phase::Ended => "over",
        Phase::Cancelled => "cancelled",
    };
    let what = if cue.is_break { "Break" } else { "Mark" };
    let time = |at: i64| utc(at.max(0).unsigned_abs());
    write!(html, "<li>{what} {} <em>{phase}</em>: {}", cue.event_id, time(cue.start_ms))?;
    if let (Some(end), Some(by)) = (cue.end_ms, cue.ends_by) {
        let words = match (by, cue.phase) {
            (EndsBy::ReturnLost, Phase::Ended) => " (nothing had ended it)",
            (EndsBy::ReturnLost, _) => " at the latest",
            (EndsBy::Replaced, _) => " (another takes over)",
            (EndsBy::AutoReturn | EndsBy::Return, _) => "",
        };
        write!(html, " to {}{words}", time(end))?;
    }
    let moved = match cue.moved {
        Some(Moved::Late) => "; its message was late",
        Some(Moved::Close) => "; another cut is too close",
        Some(Moved::RunStart) => "; a run begins there",
        None => "",
    };
    if let Some(segment) = cue.segment {
        write!(html, ", from segment {segment}")?;
    }
    html.write_str(moved)
}

/// What was heard, folded away.
fn heard(html: &mut String, entries: &[Entry]) -> fmt::Result {
    if entries.is_empty() {
        return Ok(());
    }
    html.write_str("<details><summary>Messages</summary><ol>")?;
    for entry in entries.iter().rev().take(HEARD) {
        let outcome = match (&entry.outcome, &entry.problem) {
            (Some(outcome), None) => words(outcome),
            (Some(outcome), Some(problem)) => format!("{}; {problem}", words(outcome)),
            (None, Some(problem)) => problem.clone(),
            (None, None) => String::new(),
        };
        let event = entry.event_id.map_or(String::new(), |id| format!(", event {id}"));
        write!(
            html,
            "<li><time>{}</time> by {}{event}{}: {}<br><code>{}</code>",
            utc(entry.received_ms),
            entry.from.word(),
            entry.late_ms.map_or(String::new(), lateness),
            Escaped(&outcome),
            Escaped(&entry.section)
        )?;
        if let Some(decoded) = entry.decoded() {
            write!(html, "<br><code class=\"decoded\">{}</code>", Escaped(&decoded))?;
        }
        html.write_str("</li>")?;
    }
    html.write_str("</ol></details>")
}

/// How long before or after its time a message came.
fn lateness(millis: i64) -> String {
    let seconds = millis.unsigned_abs() as f64 / 1_000.0;
    let word = if millis > 0 { "late" } else { "ahead" };
    format!(", {seconds:.1} s {word}")
}

fn words(outcome: &Outcome) -> String {
    match outcome {
        Outcome::Accepted { .. } => "accepted".to_owned(),
        Outcome::Repeated { .. } => "known already".to_owned(),
        Outcome::Ends { .. } => "ends its break".to_owned(),
        Outcome::Cancelled { .. } => "cancels its break".to_owned(),
        Outcome::Refused { reason } => format!("nothing is done: {reason}"),
    }
}
