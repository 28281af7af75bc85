//! Certificates that are made here, and a client that trusts them.

use std::net::SocketAddr;

use tempfile::TempDir;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tokio_rustls::rustls::pki_types::ServerName;
use tokio_rustls::rustls::{ClientConfig, RootCertStore};

use super::super::Patience;
use super::super::tests::{SOON, Server, patient, unlimited};
use super::*;
use crate::telemetry::metrics::Cut;

const NAME: &str = "live.example.org";

/// A folder with a certificate and its key.
struct Folder(TempDir);

impl Folder {
    fn new() -> (Self, CertificateDer<'static>) {
        let folder = Self(tempfile::tempdir().unwrap());
        let cert = folder.renew();
        (folder, cert)
    }

    /// Writes another certificate; gives it.
    fn renew(&self) -> CertificateDer<'static> {
        let made = rcgen::generate_simple_self_signed([NAME.to_owned()]).unwrap();
        let Files { cert, key } = self.files();
        std::fs::write(cert, made.cert.pem()).unwrap();
        std::fs::write(key, made.signing_key.serialize_pem()).unwrap();
        made.cert.der().clone()
    }

    fn files(&self) -> Files {
        Files { cert: self.0.path().join("cert.pem"), key: self.0.path().join("key.pem") }
    }
}

async fn connect(
    address: SocketAddr,
    trusted: &CertificateDer<'static>,
    protocols: &[&[u8]],
) -> io::Result<TlsStream<TcpStream>> {
    let mut roots = RootCertStore::empty();
    roots.add(trusted.clone()).unwrap();
    let mut config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    config.alpn_protocols = protocols.iter().map(|p| p.to_vec()).collect();
    let stream = TcpStream::connect(address).await?;
    let name = ServerName::try_from(NAME).unwrap();
    TlsConnector::from(Arc::new(config)).connect(name, stream).await
}

async fn server(files: Files) -> (Server, Arc<Tls>) {
    let tls = Arc::new(Tls::open(files).unwrap());
    (Server::at(patient(), unlimited(), Some(Arc::clone(&tls))).await, tls)
}

#[tokio::test]
async fn http_1_and_2_are_spoken_over_tls_as_the_client_wishes() {
    let (folder, cert) = Folder::new();
    let (server, _) = server(folder.files()).await;
    for wish in [&[] as &[&[u8]], &[b"http/1.1"]] {
        let mut stream = connect(server.address, &cert, wish).await.unwrap();
        stream.write_all(b"GET /turn HTTP/1.1\r\nHost: a\r\n\r\n").await.unwrap();
        server.waits(1).await;
        server.turn.send_replace(1);
        let mut answer = String::new();
        while !answer.ends_with("turn 1") {
            answer.push(char::from(stream.read_u8().await.unwrap()));
        }
        assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
        stream.write_all(b"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n").await.unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.unwrap();
        assert!(answer.ends_with("hello"), "{answer}");
    }
    let stream = connect(server.address, &cert, &[b"h2", b"http/1.1"]).await.unwrap();
    assert_eq!(stream.get_ref().1.alpn_protocol(), Some(H2));
    let (client, connection) = h2::client::handshake(stream).await.unwrap();
    tokio::spawn(connection);
    let request = axum::http::Request::get("https://a/").body(()).unwrap();
    let (response, _) = client.ready().await.unwrap().send_request(request, true).unwrap();
    let mut body = response.await.unwrap().into_body();
    let body: Option<Result<bytes::Bytes, _>> = body.data().await;
    assert_eq!(body.unwrap().unwrap(), "hello");
}

#[tokio::test]
async fn a_renewed_certificate_is_used_and_a_broken_one_is_an_alarm() {
    let (folder, old) = Folder::new();
    let (server, tls) = server(folder.files()).await;
    connect(server.address, &old, &[]).await.unwrap();
    let new = folder.renew();
    tls.reload().await.unwrap();
    connect(server.address, &new, &[]).await.unwrap();
    assert!(connect(server.address, &old, &[]).await.is_err(), "the old one is still used");
    // A key that belongs to another certificate.
    let (other, _) = Folder::new();
    std::fs::copy(other.files().key, folder.files().key).unwrap();
    assert!(matches!(tls.reload().await, Err(Error::Unusable { .. })));
    std::fs::write(folder.files().cert, "rubbish").unwrap();
    assert!(matches!(tls.reload().await, Err(Error::Pem { wanted: "certificate", .. })));
    std::fs::remove_file(folder.files().cert).unwrap();
    assert!(matches!(tls.reload().await, Err(Error::Read { .. })));
    connect(server.address, &new, &[]).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn files_are_read_again_when_they_change() {
    let (folder, _) = Folder::new();
    let tls = Arc::new(Tls::open(folder.files()).unwrap());
    let (metrics, cancel) = (HttpMetrics::default(), CancellationToken::new());
    let told = Arc::new(Notify::new());
    let keeping = Arc::clone(&tls).keep(metrics.clone(), Arc::clone(&told), cancel.clone());
    let keeper = tokio::spawn(keeping);
    let served = || tls.current.0.read().unwrap().cert[0].clone();
    let eventually = async |there: &dyn Fn() -> bool| {
        for _ in 0..1_000 {
            if there() {
                return;
            }
            tokio::time::sleep(LOOK_EVERY).await;
        }
        panic!("it never came");
    };
    tokio::time::sleep(LOOK_EVERY).await;
    let new = folder.renew();
    eventually(&|| served() == new).await;
    std::fs::write(folder.files().key, "rubbish").unwrap();
    eventually(&|| metrics.certificate_alarm.get() == 1).await;
    assert_eq!(served(), new);
    let newest = folder.renew();
    eventually(&|| served() == newest && metrics.certificate_alarm.get() == 0).await;
    // Who says so need not wait for the next look.
    let renewed = folder.renew();
    let begin = tokio::time::Instant::now();
    told.notify_one();
    while served() != renewed {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    assert!(begin.elapsed() < LOOK_EVERY / 2);
    cancel.cancel();
    keeper.await.unwrap();
}

#[tokio::test]
async fn silence_where_a_handshake_should_be_is_ended() {
    let (folder, _) = Folder::new();
    let tls = Some(Arc::new(Tls::open(folder.files()).unwrap()));
    let patience = Patience { handshake: Duration::from_millis(100), ..patient() };
    let server = Server::at(patience, unlimited(), tls).await;
    let mut silent = TcpStream::connect(server.address).await.unwrap();
    let mut plain = TcpStream::connect(server.address).await.unwrap();
    plain.write_all(b"GET / HTTP/1.1\r\n\r\n").await.unwrap();
    let closed = async {
        let mut room = [0; 64];
        while let Ok(1..) = silent.read(&mut room).await {}
        while let Ok(1..) = plain.read(&mut room).await {}
    };
    tokio::time::timeout(SOON, closed).await.expect("an end");
    assert_eq!(server.metrics.cuts(Cut::SlowRequest), 1);
}
