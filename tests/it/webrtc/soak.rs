//! The must-holds of WebRTC that take minutes: `make soak`.

use super::*;

/// Who watch at once, of whom some vanish.
const WATCHING: usize = 8;
const VANISHING: usize = 2;
/// Memory of the server with its workers may be more than before anybody came by this much: allocators keep
/// what they had.
const MOST_LEFT: u64 = 6 << 20;

#[test]
#[ignore = "minutes of real time: `make soak`"]
fn ten_who_watch_at_once_on_one_port_leave_nothing_behind() -> Result {
    let server = Server::start(&[ChannelConfig::pass_through("a")])?;
    let mut publisher = on_air(&server, "a", Source::tiny(RATE))?;
    let watch = |count: usize, seconds: &str, more: &[&str]| {
        let count = count.to_string();
        watch_with_aiortc(
            &server,
            "a",
            &[&["--viewers", &count, "--seconds", seconds], more].concat(),
        )
    };
    // What is made once stays: the first viewer's sound worker, what the allocator keeps.
    watch(WATCHING + VANISHING, "3", &[])?;
    let settled = || -> Result<_> {
        wait_sessions(&server, 0.0, Duration::from_secs(35))?;
        // The guardian and the server.
        until("its workers to end", Duration::from_secs(60), || {
            let usage = server.usage();
            Ok(Look::at((usage.processes <= 2).then_some(usage), format!("{usage:?}")))
        })
    };
    let before = settled()?;
    std::thread::scope(|scope| {
        let staying = scope.spawn(|| watch(WATCHING, "20", &[]));
        let vanishing = scope.spawn(|| watch(VANISHING, "8", &["--vanish"]));
        wait_sessions(&server, (WATCHING + VANISHING) as f64, Duration::from_secs(20))?;
        for (watchers, least) in [(staying, 20 * 20), (vanishing, 0)] {
            let seen = watchers.join().map_err(|_| Failure::new("a viewer panicked"))??;
            for seen in seen {
                assert!(seen["pictures"].as_u64() > Some(least), "{seen:#}");
            }
        }
        Ok::<_, Failure>(())
    })?;
    let after = settled()?;
    publisher.check()?;
    assert_eq!(after.open_files, before.open_files, "{before:?} {after:?}");
    assert_eq!(after.processes, before.processes, "{before:?} {after:?}");
    let left = after.resident_bytes.saturating_sub(before.resident_bytes);
    assert!(left <= MOST_LEFT, "{left} bytes more: {before:?} {after:?}");
    Ok(())
}

#[test]
#[ignore = "minutes of real time: `make soak`"]
fn a_camera_for_two_minutes_through_a_cut_of_three_seconds_plays_on_elsewhere() -> Result {
    const SECONDS: u64 = 120;
    const CUT: Duration = Duration::from_secs(3);
    let port = UdpSocket::bind("127.0.0.1:0").and_then(|s| s.local_addr()).context("a port")?;
    let proxy = UdpProxy::start(port, 7)?;
    let lines = format!("advertise = [\"{}\"]", proxy.listen);
    let channel = ChannelConfig::tiny("a").with_key("K").patient();
    let server = Server::start_previewing(&[channel], Some(port), &lines)?;
    std::thread::scope(|scope| {
        let publisher = scope.spawn(|| publish(&server, "a", SECONDS, &["--key", "K"]));
        server.wait_playable("a", Duration::from_secs(40))?;
        let (first, _) = server.numbers("a")?;
        let viewer = scope.spawn(|| play(&server.url("/watch/a"), "hls", SECONDS - 30, &[]));
        // In the middle of it all; everybody is there long since.
        std::thread::sleep(Duration::from_secs(SECONDS / 3));
        proxy.set_both(Faults { loss: Loss::ALL, ..Faults::default() });
        std::thread::sleep(CUT);
        proxy.set_both(Faults::default());
        let seen = viewer.join().map_err(|_| Failure::new("the viewer panicked"))??;
        plays_well_without_clock(&seen);
        assert_eq!(seen["stalls"], 0, "{seen:#}");
        assert!(seen["playedSeconds"].as_f64() >= Some((SECONDS - 32) as f64), "{seen:#}");
        let sent = publisher.join().map_err(|_| Failure::new("the publisher panicked"))??;
        assert_eq!(sent["connections"], 1, "it began anew: {sent:#}");
        assert!(proxy.tally(Way::Up).lost > 0, "nothing was cut off");
        // One run: numbers are without a hole.
        let list = server.client.text(&server.url("/live/a/180p/index.m3u8"))?;
        assert!(!list.contains("#EXT-X-DISCONTINUITY\n") && !list.contains("#EXT-X-GAP"), "{list}");
        assert!(server.numbers("a")?.1 > first);
        Ok(())
    })
}
