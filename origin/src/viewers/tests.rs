use super::*;
use crate::telemetry::metrics::Metrics;

const ADDRESS: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(192, 0, 2, 7));

struct Fixture {
    metrics: Metrics,
    viewers: Viewers,
    channel: Name,
    now: Instant,
}

impl Fixture {
    fn new() -> Self {
        let metrics = Metrics::new("0");
        let channel = Name::parse("news").unwrap();
        let viewers = Viewers::new(std::iter::once(&channel), metrics.viewers.clone());
        Self { metrics, viewers, channel, now: Instant::now() }
    }

    fn pass(&mut self, seconds: u64) {
        self.now += Duration::from_secs(seconds);
    }

    fn say(&self, text: &str) -> Result<(), Refused> {
        self.viewers.take(&self.channel, Some(ADDRESS), text.as_bytes(), self.now)
    }

    fn audience(&self) -> Audience {
        self.viewers.audience(&self.channel, self.now)
    }

    fn has(&self, line: &str) {
        self.viewers.expire(self.now);
        let text = self.metrics.encode();
        assert!(text.lines().any(|l| l == line), "{line} is not in\n{text}");
    }
}

#[test]
fn reports_are_summed_and_no_id_is_kept() {
    let mut f = Fixture::new();
    f.say("br=(3000),ltc=1200,sf=h,sid=\"secret-one\",sta=p,v=2").unwrap();
    f.say("br=(1000),ltc=1400,sf=d,sid=\"secret-two\",sta=p,v=2").unwrap();
    f.pass(10);
    f.say("br=(3000),ltc=1300,sf=h,sid=\"secret-one\",sta=p,v=2").unwrap();
    let audience = f.audience();
    assert_eq!(audience.viewers, 2);
    assert_eq!(audience.by_protocol, [(Protocol::Hls, 1), (Protocol::Dash, 1)].into());
    assert_eq!(audience.bitrate, Some(2_000_000));
    assert_eq!(audience.latency_p95_ms, Some(1_400));
    assert_eq!(audience.rebuffer_ratio, Some(0.0));
    for line in [
        "headwater_viewers_cmcd{channel=\"news\",protocol=\"hls\"} 1",
        "headwater_viewers_cmcd{channel=\"news\",protocol=\"dash\"} 1",
        "headwater_viewers_cmcd{channel=\"news\",protocol=\"other\"} 0",
        "headwater_viewer_watched_seconds_total{channel=\"news\",protocol=\"hls\"} 10.0",
        "headwater_viewer_latency_seconds_count{channel=\"news\",protocol=\"hls\"} 2",
        "headwater_viewer_latency_seconds_bucket{le=\"1.25\",channel=\"news\",protocol=\"hls\"} 1",
        "headwater_viewer_bitrate_bits_per_second{channel=\"news\",protocol=\"hls\"} 3000000.0",
        "headwater_viewer_reports_total{result=\"taken\"} 3",
    ] {
        f.has(line);
    }
    assert!(!format!("{:?}", f.viewers).contains("secret"));
    assert!(!f.metrics.encode().contains("secret"));
}

#[test]
fn waiting_for_data_counts_by_state_and_by_what_is_told_of_it() {
    let mut f = Fixture::new();
    f.say("sf=h,sid=\"a\",sta=p,v=2").unwrap();
    f.pass(10);
    f.say("bs,e=ps,sf=h,sid=\"a\",sta=r,v=2").unwrap();
    f.pass(2);
    f.say("e=t,sf=h,sid=\"a\",sta=r,v=2").unwrap();
    f.pass(8);
    f.say("bs,bsd=(3000),e=ps,sf=h,sid=\"a\",sta=p,v=2").unwrap();
    f.has("headwater_viewer_watched_seconds_total{channel=\"news\",protocol=\"hls\"} 20.0");
    f.has("headwater_viewer_rebuffered_seconds_total{channel=\"news\",protocol=\"hls\"} 5.0");
    f.has("headwater_viewer_buffer_starved_total{channel=\"news\",protocol=\"hls\"} 1");
    let ratio = f.audience().rebuffer_ratio.unwrap();
    assert!((0.2..0.3).contains(&ratio), "{ratio}");
    // A player can't have waited for longer than it has been there.
    f.pass(1);
    f.say("bsd=(3000000),sf=h,sid=\"a\",sta=p,v=2").unwrap();
    f.has("headwater_viewer_rebuffered_seconds_total{channel=\"news\",protocol=\"hls\"} 6.0");
}

#[test]
fn who_leaves_or_goes_silent_is_no_viewer() {
    let mut f = Fixture::new();
    for id in ["a", "b"] {
        f.say(&format!("sf=h,sid=\"{id}\",sta=p,v=2")).unwrap();
    }
    f.pass(30);
    f.say("sf=h,sid=\"a\",sta=q,v=2").unwrap();
    assert_eq!(f.audience().viewers, 1);
    f.pass(80);
    assert_eq!(f.audience().viewers, 0);
    f.has("headwater_viewers_cmcd{channel=\"news\",protocol=\"hls\"} 0");
    assert!(lock(&f.viewers.channels[&f.channel].sessions).audience(f.now).by_protocol.is_empty());
}

#[test]
fn one_address_cannot_invent_an_audience() {
    let mut f = Fixture::new();
    let mut joined = 0;
    for id in 0..60_000 {
        if id % 1_000 == 0 {
            f.pass(1);
        }
        let taken = f.say(&format!("sf=h,sid=\"{id}\",sta=p,v=2"));
        joined += u64::from(taken.is_ok());
    }
    assert!((100..1_000).contains(&joined), "{joined}");
    assert_eq!(f.audience().viewers, joined);
    let other = IpAddr::V4(std::net::Ipv4Addr::LOCALHOST);
    let real = f.viewers.take(&f.channel, Some(other), b"sf=h,sid=\"real\",sta=p,v=2", f.now);
    assert!(real.is_ok(), "{real:?}");
}

#[test]
fn what_is_refused_is_counted_by_reason_only() {
    let f = Fixture::new();
    assert!(matches!(f.say("nonsense=("), Err(Refused::Malformed(_))));
    let unknown = Name::parse("unknown").unwrap();
    let taken = f.viewers.take(&unknown, Some(ADDRESS), b"sid=\"a\",v=2", f.now);
    assert!(matches!(taken, Err(Refused::NoChannel)));
    f.has("headwater_viewer_reports_total{result=\"malformed\"} 1");
    f.has("headwater_viewer_reports_total{result=\"no_channel\"} 1");
    assert_eq!(f.audience(), Audience::default());
}
