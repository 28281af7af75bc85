use std::collections::HashMap;

use super::*;
use crate::hub::{Access, Subscription};
use crate::secret::Secret;
use packager::media::Name;

mod attacks;
mod hands;
mod real;

/// A server on a port of the system's choice, with the channels `open` (no key) and `news`.
struct Server {
    address: SocketAddr,
    hub: Hub,
    doors: HashMap<Name, Subscription>,
    stats: Arc<Stats>,
    cancel: CancellationToken,
    task: tokio::task::JoinHandle<()>,
}

fn channels() -> [Access; 2] {
    let name = |text| Name::parse(text).unwrap();
    [
        Access {
            channel: name("open"),
            key: None,
            max_bitrate: None,
            program: None,
            open_groups: false,
            has_source: false,
        },
        Access {
            channel: name("news"),
            key: Some(Secret::new("canary")),
            max_bitrate: None,
            program: None,
            open_groups: false,
            has_source: false,
        },
    ]
}

impl Server {
    async fn start() -> Self {
        let (hub, doors) = Hub::new(channels());
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let stats = Arc::new(Stats::default());
        let cancel = CancellationToken::new();
        let task = tokio::spawn(serve(listener, hub.clone(), stats.clone(), cancel.clone()));
        Self { address, hub, doors, stats, cancel, task }
    }

    fn door(&mut self, name: &str) -> &mut Subscription {
        self.doors.get_mut(name).unwrap()
    }

    async fn stop(self) {
        self.cancel.cancel();
        self.task.await.unwrap();
    }
}

/// All units of the next publisher's session.
async fn units(door: &mut Subscription) -> Vec<Unit> {
    let mut session = door.next().await.unwrap();
    let mut units = Vec::new();
    while let Some(unit) = session.next().await {
        units.push(unit);
    }
    units
}
