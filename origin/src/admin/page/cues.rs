//! Breaks on the operator's page: a button that starts one, those there are, and what was heard.

use std::fmt::{self, Write as _};

use packager::scte35::Phase;
use packager::scte35::breaks::{Outcome, Refusal};
use packager::timeline::{EndsBy, Moved};

use super::{Escaped, utc};
use crate::channel::Channel;
use crate::channel::cues::{CueView, Entry};

/// Messages shown, newest first.
const HEARD: usize = 12;

/// Writes the part of the page that is about a channel's breaks.
pub(super) fn write(html: &mut String, channel: &Channel) -> fmt::Result {
    let Some(snapshot) = channel.snapshot.borrow().clone() else { return Ok(()) };
    let name = Escaped(channel.name.as_str());
    write!(
        html,
        "<div class=\"cues\"><h3>Ad breaks</h3>\
         <form method=\"post\" action=\"/api/v1/channels/{name}/cues\">\
         <button>Start a break of {} s</button></form>",
        super::super::cues::BUTTON
    )?;
    let scale = snapshot.format.grid.video_scale();
    let mut cues = snapshot.cues.iter().rev().map(|cue| CueView::of(cue, scale)).peekable();
    if cues.peek().is_some() {
        html.write_str("<ol>")?;
        cues.try_for_each(|cue| one(html, &cue))?;
        html.write_str("</ol>")?;
    }
    heard(html, &channel.status.borrow().cues)?;
    html.write_str("</div>")
}

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
    write!(html, "{moved}</li>")
}

/// What was heard, folded away.
fn heard(html: &mut String, entries: &[Entry]) -> fmt::Result {
    if entries.is_empty() {
        return Ok(());
    }
    html.write_str("<details><summary>Messages</summary><ol>")?;
    for entry in entries.iter().rev().take(HEARD) {
        let outcome = match (&entry.outcome, &entry.problem) {
            (Some(outcome), None) => words(outcome).to_owned(),
            (Some(outcome), Some(problem)) => format!("{}; {problem}", words(outcome)),
            (None, Some(problem)) => problem.clone(),
            (None, None) => String::new(),
        };
        let event = entry.event_id.map_or(String::new(), |id| format!("event {id}, "));
        write!(
            html,
            "<li><time>{}</time> {event}{}<br><code>{}</code></li>",
            utc(entry.received_ms),
            Escaped(&outcome),
            Escaped(&entry.section)
        )?;
    }
    html.write_str("</ol></details>")
}

fn words(outcome: &Outcome) -> &'static str {
    match outcome {
        Outcome::Accepted { .. } => "accepted",
        Outcome::Repeated { .. } => "known already",
        Outcome::Ends { .. } => "ends its break",
        Outcome::Cancelled { .. } => "cancels its break",
        Outcome::Refused { reason: Refusal::Over } => "came when its break was over",
        Outcome::Refused { reason: Refusal::TooSoon } => "changes a break that begins too soon",
        Outcome::Refused { reason: Refusal::Unknown } => "is about a break that is not to come",
        Outcome::Refused { reason: Refusal::TooMany } => "is one too many",
    }
}
