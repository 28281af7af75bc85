//! What holds for every answer, whatever was asked for.

use super::Broken;
use crate::client::Response;

/// I15 (headers), I16 (no secret), I22 (5xx).
pub(super) fn any(answer: &Response, secrets: &[String]) -> Vec<Broken> {
    let mut broken = Vec::new();
    let cache = answer.header("cache-control");
    if answer.header("set-cookie").is_some() {
        broken.push(("I15", "a cookie".to_owned()));
    }
    if cache.is_none() {
        broken.push(("I15", "no Cache-Control".to_owned()));
    }
    if answer.header("access-control-allow-origin").is_none() {
        broken.push(("I15", "no CORS".to_owned()));
    }
    for secret in secrets {
        let in_head = answer.headers.iter().any(|(_, value)| value.contains(secret));
        let in_body = answer.body.windows(secret.len()).any(|w| w == secret.as_bytes());
        if in_head || in_body {
            broken.push(("I16", "a secret".to_owned()));
        }
    }
    let status = answer.status;
    if status >= 500 {
        let cache = cache.unwrap_or("");
        if !["no-store", "max-age=1"].contains(&cache) {
            broken.push(("I22", format!("status {status} with Cache-Control {cache:?}")));
        }
        if status == 503 && answer.header("retry-after").is_none() {
            broken.push(("I22", "status 503 without Retry-After".to_owned()));
        }
    }
    broken
}

/// I15: a media object may be kept for ever.
pub(super) fn media(answer: &Response) -> Vec<Broken> {
    let mut broken = Vec::new();
    let cache = answer.header("cache-control").unwrap_or("");
    if !cache.contains("immutable") {
        broken.push(("I15", format!("Cache-Control is {cache:?}")));
    }
    if answer.header("etag").is_none() {
        broken.push(("I15", "no ETag".to_owned()));
    }
    broken
}

/// I21: a playlist ends with a whole line, and no segment is announced without its address.
pub(super) fn whole(text: &str) -> Option<Broken> {
    if !text.ends_with('\n') {
        return Some(("I21", "it ends within a line".to_owned()));
    }
    let announced = text.lines().rev().take_while(|line| line.is_empty() || line.starts_with('#'));
    let dangling = announced.into_iter().find(|line| line.starts_with("#EXTINF"))?;
    Some(("I21", format!("{dangling} without an address")))
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;

    fn answer(status: u16, headers: &[(&str, &str)]) -> Response {
        let common = [("cache-control", "no-store"), ("access-control-allow-origin", "*")];
        let headers = common.iter().chain(headers);
        let headers = headers.map(|(n, v)| ((*n).to_owned(), (*v).to_owned())).collect();
        Response { status, headers, body: Bytes::from_static(b"body with topsecret inside") }
    }

    fn found(answer: &Response, secret: &str) -> Vec<&'static str> {
        any(answer, &[secret.to_owned()]).into_iter().map(|(invariant, _)| invariant).collect()
    }

    #[test]
    fn good_answers_are_good_and_a_secret_is_found_anywhere() {
        assert!(found(&answer(200, &[]), "other").is_empty());
        assert!(found(&answer(503, &[("retry-after", "1")]), "other").is_empty());
        assert_eq!(found(&answer(200, &[]), "topsecret"), ["I16"]);
        assert_eq!(found(&answer(200, &[("server", "key=k1")]), "k1"), ["I16"]);
    }

    #[test]
    fn a_5xx_that_may_be_kept_or_says_nothing_of_later_is_found() {
        let mut kept = answer(500, &[]);
        kept.headers[0].1 = "max-age=60".to_owned();
        assert_eq!(found(&kept, "other"), ["I22"]);
        assert_eq!(found(&answer(503, &[]), "other"), ["I22"]);
        assert!(found(&answer(502, &[]), "other").is_empty());
    }

    #[test]
    fn half_an_update_is_found_wherever_it_ends() {
        let list = "#EXTM3U\n#EXTINF:1.6,\n1.m4s\n#EXTINF:1.6,\n2.m4s\n";
        assert_eq!(whole(list), None);
        assert_eq!(whole(&format!("{list}#EXT-X-ENDLIST\n")), None);
        for cut in list.rfind("#EXTINF").unwrap() + 8..list.len() {
            assert!(whole(&list[..cut]).is_some(), "{:?}", &list[..cut]);
        }
    }
}
