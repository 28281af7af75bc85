use super::*;
use http_body_util::BodyExt as _;

fn chunks() -> Vec<Bytes> {
    ["ab", "", "cde", "f"].map(Bytes::from).to_vec()
}

async fn read(payload: Payload) -> Vec<u8> {
    payload.collect().await.unwrap().to_bytes().to_vec()
}

#[tokio::test]
async fn a_list_goes_out_without_being_joined() {
    let mut payload = Payload::bytes(chunks());
    assert_eq!(payload.size_hint().exact(), Some(6));
    let first = payload.frame().await.unwrap().unwrap().into_data().unwrap();
    assert_eq!((first.chunk(), first.remaining()), (&b"ab"[..], 6));
}

#[tokio::test]
async fn every_range_of_a_list_and_of_a_file_is_the_same_bytes() {
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), "abcdef").unwrap();
    for start in 0..6usize {
        for end in start..=6 {
            let range = start as u64..end as u64;
            let expected = &b"abcdef"[start..end];
            assert_eq!(read(Payload::slice(&chunks(), range.clone())).await, expected);
            assert_eq!(read(Payload::file(file.path(), range).await.unwrap()).await, expected);
        }
    }
}

#[tokio::test]
async fn a_file_that_is_too_short_is_an_error_and_no_short_answer() {
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), "abc").unwrap();
    let payload = Payload::file(file.path(), 0..4).await.unwrap();
    assert!(payload.collect().await.is_err());
}
