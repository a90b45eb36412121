use super::sinks::{CONNECT_RETRY, DATAGRAM_BYTES_MAX};
use super::*;
use std::io::Read;
use std::net::{TcpListener, UdpSocket};

/// Returns 2026-11-22 19:02:30 UTC plus `millis`.
fn at(millis: u64) -> Moment {
    Moment {
        unix: Duration::from_secs(1_795_374_150) + Duration::from_millis(millis),
        monotonic: Instant::from_millis(millis),
    }
}

#[test]
fn the_dump_has_the_references_lines() {
    let mut metrics = Metrics::default();
    metrics.gauge("runtime.sys_bytes", 13_220_880.0, at(1));
    metrics.count("agent.ipc.accept", 1.0, at(5744));
    metrics.count("agent.ipc.accept", 1.0, at(5750));
    metrics.count_many("memberlist.udp.sent", 2, 430.0, at(5744));
    metrics.count_many("memberlist.udp.received", 0, 0.0, at(5744));
    for (millis, value) in [(100, 1.0), (200, 2.0), (300, 6.0)] {
        metrics.sample("serf.msgs.received", value, at(millis));
    }
    let script = Duration::from_micros(5232);
    metrics.time_free("agent.invoke", b"echo a:b\tc", script, at(7000));
    assert_eq!(metrics.dump(at(9999)), "", "nothing is finished");
    let expected = "\
[2026-11-22 19:02:30 +0000 UTC][G] 'serf-agent.runtime.sys_bytes': 13220880.000
[2026-11-22 19:02:30 +0000 UTC][C] 'serf-agent.agent.ipc.accept': Count: 2 Sum: 2.000 LastUpdated: 2026-11-22 19:02:35.75 +0000 UTC m=+5.750000000
[2026-11-22 19:02:30 +0000 UTC][C] 'serf-agent.memberlist.udp.sent': Count: 2 Sum: 430.000 LastUpdated: 2026-11-22 19:02:35.744 +0000 UTC m=+5.744000000
[2026-11-22 19:02:30 +0000 UTC][S] 'serf-agent.agent.invoke.echo_a:b_c': Count: 1 Sum: 5.232 LastUpdated: 2026-11-22 19:02:37 +0000 UTC m=+7.000000000
[2026-11-22 19:02:30 +0000 UTC][S] 'serf-agent.serf.msgs.received': Count: 3 Min: 1.000 Mean: 3.000 Max: 6.000 Stddev: 2.646 Sum: 9.000 LastUpdated: 2026-11-22 19:02:30.3 +0000 UTC m=+0.300000000
";
    assert_eq!(metrics.dump(at(10_000)), expected);
    assert_eq!(metrics.dump(at(69_999)), expected);
    assert_eq!(metrics.dump(at(70_000)), "", "older than a minute");
    assert_eq!(metrics.poll_timeout(), None, "nothing is to be sent");
}

#[test]
fn intervals_come_to_an_end() {
    let mut metrics = Metrics::default();
    for second in 0..1000 {
        metrics.count("x", 1.0, at(second * 1000));
    }
    assert_eq!(metrics.intervals.len(), INTERVALS_MAX + 1);
    let dump = metrics.dump(at(1_000_000));
    assert_eq!(dump.lines().count(), INTERVALS_MAX);
    assert!(
        dump.lines()
            .all(|line| line.contains("Count: 10 Sum: 10.000"))
    );
}

#[test]
fn made_up_names_are_bounded() {
    let mut metrics = Metrics::default();
    for number in 0..1000 {
        metrics.count_free("serf.events", format!("e{number}").as_bytes(), at(0));
    }
    metrics.time_free("agent.invoke", &[b'x'; 9000], Duration::ZERO, at(0));
    let dump = metrics.dump(at(10_000));
    assert_eq!(dump.lines().count(), FREE_NAMES_MAX + 2);
    assert!(dump.contains("'serf-agent.serf.events.other': Count: 744 "));
    assert!(dump.contains("'serf-agent.agent.invoke.other'"));
    assert_eq!(metrics.bounded("serf.events", b"e7"), "e7");
}

#[test]
fn statsd_gets_lines_in_datagrams() {
    let server = UdpSocket::bind("127.0.0.1:0").unwrap();
    server
        .set_read_timeout(Some(Duration::from_secs(10)))
        .unwrap();
    let mut metrics = Metrics::default();
    metrics.add_sink(Sink::Statsd, "my host".into());
    assert!(metrics.needs_address(Sink::Statsd));
    metrics.count("serf.events", 1.0, at(500));
    metrics.handle_timeout(at(600).monotonic);
    // The line waits for the address.
    let to = server.local_addr().unwrap();
    metrics.set_address(Sink::Statsd, to, at(600).monotonic);
    assert!(!metrics.needs_address(Sink::Statsd));
    metrics.handle_timeout(at(1000).monotonic);
    let mut bytes = [0; 1 << 16];
    let len = server.recv(&mut bytes).unwrap();
    assert_eq!(&bytes[..len], b"serf-agent.serf.events:1.000000|c\n");
    metrics.count("serf.events", 1.0, at(1000));
    metrics.time_free(
        "agent.invoke",
        b"echo a:b c",
        Duration::from_micros(1500),
        at(1050),
    );
    metrics.gauge("runtime.sys_bytes", 7.0, at(1060));
    assert_eq!(metrics.poll_timeout(), Some(Instant::from_millis(1100)));
    metrics.handle_timeout(Instant::from_millis(1099));
    metrics.handle_timeout(Instant::from_millis(1100));
    assert_eq!(metrics.poll_timeout(), None);
    let len = server.recv(&mut bytes).unwrap();
    assert_eq!(
        String::from_utf8_lossy(&bytes[..len]),
        "serf-agent.serf.events:1.000000|c\n\
         serf-agent.agent.invoke.echo_a_b_c:1.500000|ms\n\
         serf-agent.my_host.runtime.sys_bytes:7.000000|g\n"
    );
    for _ in 0..100 {
        metrics.sample("serf.msgs.received", 1.0, at(2000));
    }
    metrics.handle_timeout(Instant::from_millis(2100));
    let mut lines = 0;
    while lines < 100 {
        let len = server.recv(&mut bytes).unwrap();
        assert!(len <= DATAGRAM_BYTES_MAX);
        assert!(bytes[..len].ends_with(b"\n"));
        lines += bytes[..len].iter().filter(|&&byte| byte == b'\n').count();
    }
    assert_eq!(lines, 100);
}

#[test]
fn statsite_is_found_again() {
    let server = TcpListener::bind("127.0.0.1:0").unwrap();
    let addr = server.local_addr().unwrap();
    drop(server);
    let mut metrics = Metrics::default();
    metrics.add_sink(Sink::Statsite, "h".into());
    metrics.count("serf.events", 1.0, at(0));
    metrics.handle_timeout(at(200).monotonic);
    // Without an address, the timeout must not be the flush interval.
    assert!(metrics.poll_timeout() >= Some(at(1000).monotonic));
    assert!(metrics.needs_address(Sink::Statsite));
    metrics.set_address(Sink::Statsite, addr, at(200).monotonic);
    assert!(!metrics.needs_address(Sink::Statsite));
    let mut now = Instant::ORIGIN;
    // Refused, at the latest on writing.
    for _ in 0..3 {
        now += CONNECT_RETRY;
        metrics.handle_timeout(now);
    }
    assert!(metrics.needs_address(Sink::Statsite), "it may have moved");
    let server = TcpListener::bind(addr).unwrap();
    server.set_nonblocking(true).unwrap();
    let started = std::time::Instant::now();
    let mut stream = loop {
        now += CONNECT_RETRY;
        metrics.handle_timeout(now);
        match server.accept() {
            Ok((stream, _)) => break stream,
            Err(_) => assert!(started.elapsed() < Duration::from_secs(10)),
        }
        std::thread::yield_now();
    };
    while metrics.poll_timeout().is_some() {
        now += CONNECT_RETRY;
        metrics.handle_timeout(now);
        assert!(started.elapsed() < Duration::from_secs(10));
    }
    drop(metrics);
    let mut text = String::new();
    stream.set_nonblocking(false).unwrap();
    stream.read_to_string(&mut text).unwrap();
    assert_eq!(text, "serf-agent.serf.events:1.000000|c\n");
}
