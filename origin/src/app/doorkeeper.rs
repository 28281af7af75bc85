//! Answers the hub's question whether the machine can take a channel on, from what its
//! configuration wishes for: its source is not known yet.

use std::collections::HashMap;
use std::sync::Arc;

use ingest::hub::Admit;
use packager::media::Name;
use packager::time::FrameRate;
use tracing::warn;

use crate::admission::{Admission, NoRoom, Work};
use crate::config::{self, Cores};

/// The rate of a channel whose source's is not known: the dearer one of the usual two.
const USUAL_RATE: FrameRate = FrameRate::new(30, 1);

/// Stands at the door.
#[derive(Debug)]
pub(super) struct Doorkeeper {
    admission: Arc<Admission>,
    wished: HashMap<Name, Work>,
}

impl Doorkeeper {
    /// Lets in to `channels` while `admission` has room.
    pub(super) fn new(admission: Arc<Admission>, channels: &[config::Channel]) -> Self {
        let wished = channels.iter().map(|channel| (channel.name.clone(), wished(channel)));
        Self { admission, wished: wished.collect() }
    }

    fn wish(&self, channel: &Name) -> Work {
        self.wished.get(channel).copied().unwrap_or_default()
    }
}

impl Admit for Doorkeeper {
    fn would_admit(&self, channel: &Name) -> Result<(), String> {
        let refused = self.admission.would_admit(channel, self.wish(channel));
        refused.map_err(|refusal| told(channel, refusal))
    }

    fn admit(&self, channel: &Name) -> Result<(), String> {
        let admitted = self.admission.admit(channel, self.wish(channel));
        admitted.map(drop).map_err(|refusal| told(channel, refusal))
    }
}

/// A refusal in words for the publisher, and told to the operator.
fn told(channel: &Name, refusal: NoRoom) -> String {
    warn!(%channel, reason = %refusal, "no room for the channel");
    refusal.to_string()
}

/// The cores that ladders may use on this machine; `None` if they are not counted.
pub(super) fn cores(wish: Cores) -> Option<f64> {
    match wish {
        Cores::Off => None,
        Cores::Count(count) => Some(count),
        // Heeds the scheduler's mask and the control group's quota.
        Cores::Auto => std::thread::available_parallelism().ok().map(|count| count.get() as f64),
    }
}

/// What a channel's ladder would make of a source as high as its highest rung.
fn wished(channel: &config::Channel) -> Work {
    if channel.pass_through {
        return Work::default();
    }
    let size = |height: u16| (u32::from(height) * 16 / 9, height);
    let sizes = channel.ladder.iter().map(|rung| size(rung.height));
    let sizes: Vec<_> =
        sizes.map(|(width, height)| (u16::try_from(width).unwrap_or(u16::MAX), height)).collect();
    let source = sizes.iter().copied().max().unwrap_or_default();
    Work::ladder(sizes, source, channel.fps.unwrap_or(USUAL_RATE))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::admission::Admitted;

    fn channels(names: &[&str]) -> Vec<config::Channel> {
        names.iter().map(|name| config::Channel::named(Name::parse(name).unwrap())).collect()
    }

    #[test]
    fn a_second_ladder_that_does_not_fit_is_refused_and_the_first_is_let_back_in() {
        let channels = channels(&["news", "sport"]);
        let admission = Arc::new(Admission::new(Some(2.0)));
        let door = Doorkeeper::new(Arc::clone(&admission), &channels);
        door.admit(&channels[0].name).unwrap();
        assert_eq!(admission.admitted(&channels[0].name), Some(Admitted::Whole));
        let refusal = door.admit(&channels[1].name).unwrap_err();
        assert!(refusal.starts_with("this machine is used up"), "{refusal}");
        door.admit(&channels[0].name).unwrap();
        admission.release(&channels[0].name);
        door.admit(&channels[1].name).unwrap();
    }

    #[test]
    fn a_wish_is_taken_for_sixteen_to_nine() {
        let [channel] = &channels(&["news"])[..] else { panic!() };
        let work = wished(channel);
        assert_eq!(work.decoded, 1280 * 720 * 30);
        assert_eq!(work.encoded, (1280 * 720 + 853 * 480 + 640 * 360) * 30);
    }

    #[test]
    fn cores_are_the_machines_the_operators_or_none() {
        assert!(cores(Cores::Auto).unwrap() >= 1.0);
        assert_eq!(cores(Cores::Count(3.5)), Some(3.5));
        assert_eq!(cores(Cores::Off), None);
    }
}
