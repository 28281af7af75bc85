//! What the program says on the terminal: addresses, for people.
#![allow(clippy::print_stdout, reason = "this is what the terminal is for; logs go to stderr")]

use std::net::{IpAddr, SocketAddr};

use super::Server;
use super::edge::Edge;
use crate::config::Config;

/// Where everything is, once a server is up.
pub(super) fn serving(server: &Server, config: &Config) {
    let (http, rtmp) = (reachable(server.http), reachable(server.rtmp));
    let srt = reachable(server.srt);
    println!("headwater {} is up", env!("CARGO_PKG_VERSION"));
    println!("  watch     http://{http}/");
    if let Some(https) = server.https {
        println!("            https://{}/", reachable(https));
    }
    println!("  publish   rtmp://{rtmp}/live/CHANNEL?key=KEY");
    println!("            srt://{srt}?streamid=publish:CHANNEL:KEY");
    if let Some(webrtc) = server.webrtc {
        println!("  preview   WebRTC over UDP port {}", webrtc.port());
    }
    println!("  operator  http://{}/   (keys, metrics, API)", reachable(server.admin));
    if config.channels.is_empty() {
        println!("  no channel is configured yet: add a [[channel]] to the configuration");
    }
    for channel in &config.channels {
        let door = match (&channel.source, &channel.key) {
            (Some(source), _) => format!("from {source}"),
            (None, Some(_)) => "key set".into(),
            (None, None) => "no key: loopback only".into(),
        };
        println!(
            "  channel   {:<12} http://{http}/watch/{}   ({door})",
            channel.name, channel.name
        );
    }
}

/// Where the demo is: behind its edge, if it has one; and what it makes, where that is less than usual.
pub(super) fn demo(server: &Server, edge: Option<&Edge>, reduced: Option<&str>) {
    let origin = reachable(server.http);
    let http = edge.map_or(origin, |edge| edge.address);
    println!();
    println!("  Headwater demo: a live picture with a running clock, on this machine.");
    println!();
    println!("  Watch it    http://{http}/watch/demo");
    println!("  HLS         http://{http}/live/demo/index.m3u8");
    println!("  DASH        http://{http}/live/demo/manifest.mpd");
    println!("  Operator    http://{}/", reachable(server.admin));
    if let Some(edge) = edge {
        println!();
        println!("  All of this goes through {}; the origin itself is http://{origin}/", edge.name);
        println!("  Probe it    headwater cdn-check http://{http}/watch/demo");
    }
    if let Some(renditions) = reduced {
        println!();
        println!("  It makes {renditions}: this machine has few cores, and plays it too.");
        println!("  --ladder 720p,480p,360p makes all.");
    }
    println!();
    println!("  Ctrl-C ends it.");
    println!();
}

/// An address somebody on this machine can type: the wildcard is no place to go to.
pub(super) fn reachable(address: SocketAddr) -> SocketAddr {
    match address.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => {
            SocketAddr::new([127, 0, 0, 1].into(), address.port())
        }
        IpAddr::V6(ip) if ip.is_unspecified() => {
            SocketAddr::new(std::net::Ipv6Addr::LOCALHOST.into(), address.port())
        }
        _ => address,
    }
}
