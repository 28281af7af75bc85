//! What is announced is found, and what is handed over arrives.

use std::process::Stdio;

use super::*;

fn anywhere() -> Config {
    let mut config = Config::default();
    let any = SocketAddr::from(([127, 0, 0, 1], 0));
    (config.http.listen, config.rtmp.listen, config.admin.listen) = (any, any, any);
    config.srt.listen = any;
    config.webrtc.listen = Some(any);
    config
}

fn listening(name: &str) -> (Given, SocketAddr) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    (Given { fd: listener.into(), name: name.into(), kind: SocketType::STREAM }, address)
}

#[test]
fn descriptors_are_counted_from_three_and_may_have_names() {
    let named = |count, names| announced(count, names).unwrap();
    assert_eq!(named("2", "http:rtmp"), [(3, "http".into()), (4, "rtmp".into())]);
    assert_eq!(named("2", "http"), [(3, "http".into()), (4, String::new())]);
    assert_eq!(named("1", ""), [(3, String::new())]);
    for count in ["", "0", "-1", "65", "three", "18446744073709551616"] {
        assert!(announced(count, "").is_err(), "{count}");
    }
}

#[test]
fn a_socket_is_known_by_its_name_or_by_where_it_listens() {
    let (given, address) = listening("headwater.socket");
    assert!(!given.is(Door::Rtmp) && given.listens_for(Door::Rtmp, address));
    let elsewhere = SocketAddr::from(([127, 0, 0, 2], address.port()));
    assert!(!given.listens_for(Door::Rtmp, elsewhere), "another address");
    assert!(listening("admin").0.is(Door::Admin));
}

#[test]
fn a_port_that_is_taken_is_told_with_its_purpose() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let mut config = anywhere();
    config.rtmp.listen = taken.local_addr().unwrap();
    let error = Sockets::open(&config).unwrap_err();
    assert_eq!(error.to_string(), format!("can't listen on {} for RTMP", config.rtmp.listen));
}

#[test]
fn a_door_for_tls_is_opened_where_there_is_a_certificate() {
    let mut config = anywhere();
    assert!(Sockets::open(&config).unwrap().listener(Door::Https).is_err());
    let (cert, key) = ("cert.pem".into(), "key.pem".into());
    config.http.tls = Some(crate::config::Tls { listen: config.http.listen, cert, key });
    assert!(Sockets::open(&config).unwrap().listener(Door::Https).is_ok());
}

#[test]
fn datagrams_for_a_port_are_no_connections_to_it() {
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    let address = socket.local_addr().unwrap();
    let given =
        Given { fd: socket.into(), name: "headwater.socket".into(), kind: SocketType::DGRAM };
    assert!(given.listens_for(Door::Srt, address) && !given.listens_for(Door::Rtmp, address));
    let taken = UdpSocket::bind("127.0.0.1:0").unwrap();
    let mut config = anywhere();
    config.srt.listen = taken.local_addr().unwrap();
    let error = Sockets::open(&config).unwrap_err();
    assert_eq!(error.to_string(), format!("can't listen on {} for SRT", config.srt.listen));
}

#[test]
fn a_listener_is_taken_once() {
    let mut sockets = Sockets::open(&anywhere()).unwrap();
    assert!(sockets.listener(Door::Http).is_ok());
    assert!(matches!(sockets.listener(Door::Http), Err(Error::Missing { purpose: "HTTP" })));
}

/// What a descriptor of this process is, such as `socket:[123]`.
fn identity(fd: &OwnedFd) -> String {
    let link = std::fs::read_link(format!("/proc/self/fd/{}", fd.as_raw_fd())).unwrap();
    link.to_str().unwrap().to_owned()
}

#[test]
fn another_process_gets_the_same_sockets_from_descriptor_three_on() {
    let sockets = Sockets::open(&anywhere()).unwrap();
    let script = "readlink /proc/$$/fd/3 /proc/$$/fd/4 /proc/$$/fd/5 /proc/$$/fd/6 /proc/$$/fd/7; \
        echo $LISTEN_FDS $LISTEN_FDNAMES ${LISTEN_PID-none}";
    let mut command = Command::new("sh");
    command.args(["-c", script]).env("LISTEN_PID", "1").stdin(Stdio::null());
    sockets.hand_to(&mut command).unwrap();
    let output = command.output().unwrap();
    let said = String::from_utf8(output.stdout).unwrap();
    let mut expected: Vec<_> = sockets.0.values().map(identity).collect();
    expected.push("5 http:rtmp:srt:webrtc:admin none".to_owned());
    assert_eq!(said.lines().collect::<Vec<_>>(), expected);
}

#[test]
fn a_program_that_is_not_there_is_told_in_spite_of_the_sockets() {
    let sockets = Sockets::open(&anywhere()).unwrap();
    let mut command = Command::new("/no/such/program");
    sockets.hand_to(&mut command).unwrap();
    assert_eq!(command.output().unwrap_err().kind(), io::ErrorKind::NotFound);
}
