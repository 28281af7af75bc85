//! Viewers' reports at the door.

use super::*;

const PATH: &str = "/live/demo/cmcd";
const REPORT: &str = "br=(3000),ltc=1200,sf=h,sid=\"one\",sta=p,v=2";

/// A body whose first byte never comes.
struct Never;

impl http_body::Body for Never {
    type Data = bytes::Bytes;
    type Error = std::convert::Infallible;

    fn poll_frame(
        self: std::pin::Pin<&mut Self>,
        _: &mut std::task::Context<'_>,
    ) -> std::task::Poll<Option<Result<http_body::Frame<Self::Data>, Self::Error>>> {
        std::task::Poll::Pending
    }
}

async fn post(origin: &Fixture, kind: &str, body: String) -> Answer {
    origin.post(PATH, kind, body).await
}

#[tokio::test]
async fn a_report_is_taken_and_no_answer_is_cached() {
    let origin = Fixture::live(3).await;
    for kind in ["application/cmcd", "text/plain;charset=UTF-8"] {
        let answer = post(&origin, kind, REPORT.into()).await;
        assert_eq!(answer.status, StatusCode::NO_CONTENT);
        assert_eq!(answer.header(CACHE_CONTROL), "no-store");
        assert_eq!(answer.header(ACCESS_CONTROL_ALLOW_ORIGIN), "*");
    }
    let text = origin.metrics.encode();
    let taken = "headwater_viewer_reports_total{result=\"taken\"} 2";
    assert!(text.lines().any(|line| line == taken), "{text}");
    let counted = "headwater_http_requests_total{class=\"beacon\",status=\"204\"} 2";
    assert!(text.lines().any(|line| line == counted), "{text}");
}

#[tokio::test]
async fn what_is_no_report_is_refused_by_name() {
    let origin = Fixture::live(3).await;
    let long = format!("{REPORT}\n").repeat(1_000);
    for (kind, body, status) in [
        ("application/json", REPORT.into(), StatusCode::UNSUPPORTED_MEDIA_TYPE),
        ("", REPORT.into(), StatusCode::UNSUPPORTED_MEDIA_TYPE),
        ("application/cmcd", String::new(), StatusCode::BAD_REQUEST),
        ("application/cmcd", "sid=\"one\",v=1".into(), StatusCode::BAD_REQUEST),
        ("application/cmcd", "\0\u{fffd}".into(), StatusCode::BAD_REQUEST),
        ("application/cmcd", long, StatusCode::PAYLOAD_TOO_LARGE),
    ] {
        let answer = post(&origin, kind, body).await;
        assert_eq!(answer.status, status, "{kind}");
        assert_eq!(answer.header(CACHE_CONTROL), "no-store", "{kind}");
    }
    let unknown = origin.post("/live/nobody/cmcd", "application/cmcd", REPORT).await;
    assert_eq!(unknown.status, StatusCode::NOT_FOUND);
    let elsewhere = origin.post("/live/demo/index.m3u8", "application/cmcd", REPORT).await;
    assert_eq!(elsewhere.status, StatusCode::METHOD_NOT_ALLOWED);
    assert_eq!(elsewhere.header(ALLOW), "GET, HEAD, OPTIONS");
    let read = origin.get(PATH).await;
    assert_eq!(read.status, StatusCode::METHOD_NOT_ALLOWED);
    assert_eq!(read.header(ALLOW), "POST, OPTIONS");
}

#[tokio::test]
async fn a_player_of_another_site_may_report() {
    let origin = Fixture::live(3).await;
    let answer = origin.with(Method::OPTIONS, PATH, &[]).await;
    assert_eq!(answer.status, StatusCode::NO_CONTENT);
    assert_eq!(answer.header(ACCESS_CONTROL_ALLOW_METHODS), "POST, OPTIONS");
    let headers = answer.header(ACCESS_CONTROL_ALLOW_HEADERS);
    assert!(headers.split(", ").any(|name| name == "Content-Type"), "{headers}");
}

#[tokio::test]
async fn an_address_that_reports_too_fast_is_told_to_wait() {
    let origin = Fixture::live(3).await;
    let mut refused = None;
    for _ in 0..5_000 {
        let answer = post(&origin, "application/cmcd", REPORT.into()).await;
        if answer.status != StatusCode::NO_CONTENT {
            refused = Some(answer);
            break;
        }
    }
    let refused = refused.expect("a refusal");
    assert_eq!(refused.status, StatusCode::TOO_MANY_REQUESTS);
    assert_eq!(refused.header(axum::http::header::RETRY_AFTER), "1");
}

#[tokio::test(start_paused = true)]
async fn a_body_that_does_not_come_is_not_waited_for() {
    let origin = Fixture::live(3).await;
    let never = axum::body::Body::new(Never);
    let answer = origin.post(PATH, "application/cmcd", never).await;
    assert_eq!(answer.status, StatusCode::REQUEST_TIMEOUT);
}
