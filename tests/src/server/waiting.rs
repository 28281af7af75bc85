//! What a running server says of its channels, and waiting for it.

use std::time::Duration;

use super::{LEAD_IN, Server};
use crate::reader::hls;
use crate::wait::{Look, until};
use crate::{Context, Result};

impl Server {
    /// The public state of a channel.
    ///
    /// # Errors
    /// If there is none or it is not JSON.
    pub fn status(&self, channel: &str) -> Result<serde_json::Value> {
        let text = self.client.text(&self.url(&format!("/live/{channel}/status.json")))?;
        serde_json::from_str(&text).context("status.json")
    }

    /// Waits until a channel says that it is in this state, such as `holding`.
    ///
    /// # Errors
    /// As [`Self::wait_playable`].
    pub fn wait_state(&self, channel: &str, state: &str, bound: Duration) -> Result {
        let waited = until(&format!("{state} channel {channel}"), bound, || {
            let now = self.status(channel)?["state"].clone();
            Ok(Look::at((now == state).then_some(()), now.to_string()))
        });
        waited.map_err(|failure| self.explain(&failure))
    }

    /// Waits until a channel can be played in HLS.
    ///
    /// # Errors
    /// If it can't within `bound`, with its state and the end of the log.
    pub fn wait_playable(&self, channel: &str, bound: Duration) -> Result {
        let url = self.url(&format!("/live/{channel}/index.m3u8"));
        let waited = until(&format!("playable channel {channel}"), bound, || {
            let answer = self.client.get(&url)?;
            Ok(Look::at((answer.status == 200).then_some(()), format!("{}", answer.status)))
        });
        waited.map_err(|failure| self.explain(&failure))
    }

    /// Numbers of the oldest and newest segment that every playlist of a channel lists.
    ///
    /// # Errors
    /// If a playlist can't be read or is empty.
    pub fn numbers(&self, channel: &str) -> Result<(u64, u64)> {
        let lists = hls::fetch(&self.client, &self.url(&format!("/live/{channel}/index.m3u8")))?;
        let first = lists.iter().filter_map(|(_, list)| list.objects.first()).map(|o| o.k).max();
        let last = lists.iter().filter_map(|(_, list)| list.objects.last()).map(|o| o.k).min();
        first.zip(last).context("an empty playlist")
    }

    /// Waits until every playlist of a channel lists segment `k`.
    ///
    /// # Errors
    /// As [`Self::wait_playable`].
    pub fn wait_segment(&self, channel: &str, k: u64, bound: Duration) -> Result {
        let waited = until(&format!("segment {k} of {channel}"), bound, || {
            let (_, last) = self.numbers(channel)?;
            Ok(Look::at((last >= k).then_some(()), format!("the newest is {last}")))
        });
        waited.map_err(|failure| self.explain(&failure))
    }

    /// Waits for `more` segments of a channel after its newest one, and after those that hold its
    /// first picture still.
    ///
    /// # Errors
    /// As [`Self::wait_segment`].
    pub fn wait_more(&self, channel: &str, more: u64) -> Result {
        let (first, last) = self.numbers(channel)?;
        self.wait_segment(channel, last.max(first + LEAD_IN) + more, Duration::from_secs(30))
    }

    /// Waits until the segments behind `k` that every playlist of a channel lists last for `length`.
    ///
    /// # Errors
    /// As [`Self::wait_playable`], if they don't within twice that and ten seconds.
    pub fn wait_made(&self, channel: &str, k: u64, length: Duration) -> Result {
        let url = self.url(&format!("/live/{channel}/index.m3u8"));
        let bound = length * 2 + Duration::from_secs(10);
        let waited = until(&format!("{length:?} of {channel} behind {k}"), bound, || {
            let lists = hls::fetch(&self.client, &url)?;
            let behind = |list: &hls::Playlist| -> f64 {
                list.objects.iter().filter(|o| o.k > k).map(|o| o.duration).sum()
            };
            let made = lists.iter().map(|(_, list)| behind(list)).reduce(f64::min);
            let made = made.context("no playlist")?;
            Ok(Look::at((made >= length.as_secs_f64()).then_some(()), format!("{made:.1} s")))
        });
        waited.map_err(|failure| self.explain(&failure))
    }

    /// Waits until the log has a line that contains all of these texts.
    ///
    /// # Errors
    /// If there is none within `bound`.
    pub fn wait_log(&self, parts: &[&str], bound: Duration) -> Result<String> {
        until(&format!("log line with {parts:?}"), bound, || {
            let log = self.log();
            let line = log.lines().find(|l| parts.iter().all(|p| l.contains(p)));
            Ok(Look::at(line.map(str::to_owned), self.process.log_tail(10)))
        })
    }
}
