//! end-2: parts of a blob.

use bytes::Bytes;

use crate::harness::{Client, OCTETS, Reply, TestRegistry, unique};

const SIZE: usize = 2048;

struct Blob {
    alice: Client,
    path: String,
    digest: String,
    bytes: Vec<u8>,
}

impl Blob {
    async fn pushed(registry: &TestRegistry, size: usize) -> Self {
        let alice = registry.user("alice").await;
        let app = alice.repository("app");
        let bytes = unique(size);
        let digest = alice.push_blob(&app, &bytes).await;
        Self { alice, path: format!("/v2/{app}/blobs/{digest}"), digest, bytes }
    }

    async fn range(&self, range: &str) -> Reply {
        self.alice.get(&self.path).header("range", range).await
    }

    /// Panics unless the range was answered with exactly the bytes `first..=last`.
    #[track_caller]
    fn is_part(&self, reply: &Reply, first: usize, last: usize) {
        reply.is(206).has_body(&self.bytes[first..=last]);
        reply.has("content-range", &format!("bytes {first}-{last}/{}", self.bytes.len()));
        reply.has("content-length", &(last - first + 1).to_string());
        reply.has("docker-content-digest", &self.digest).has("etag", &format!("\"{}\"", self.digest));
    }
}

/// R-BLB-10, R-BLB-11, R-BLB-12, R-BLB-19, H-23, C-DKR-03, C-CTD-04, C-REG-03: one range, in every form.
#[tokio::test]
async fn a_range_is_answered_with_exactly_its_bytes() {
    let registry = TestRegistry::shared().await;
    let blob = Blob::pushed(&registry, SIZE).await;
    for (range, first, last) in [
        ("bytes=500-1499", 500, 1499),
        ("bytes=0-0", 0, 0),
        ("bytes=2047-2047", 2047, 2047),
        ("bytes=0-2047", 0, 2047),
        ("bytes=500-", 500, 2047),
        ("bytes=0-", 0, 2047),
        ("bytes=-500", 1548, 2047),
        ("bytes=-1", 2047, 2047),
        ("bytes=-2048", 0, 2047),
        ("bytes=-99999", 0, 2047),
        ("bytes=2000-5000", 2000, 2047),
        ("bytes=1000-2048", 1000, 2047),
        ("bytes=0-18446744073709551615", 0, 2047),
        ("Bytes=1-2", 1, 2),
        ("bytes= 1-2", 1, 2),
    ] {
        blob.is_part(&blob.range(range).await, first, last);
    }
}

/// R-BLB-13, R-BLB-12, R-BLB-18, H-23: what lies beyond the end is 416, with the size and a body of its own length.
#[tokio::test]
async fn a_range_beyond_the_end_is_not_satisfiable() {
    let registry = TestRegistry::shared().await;
    let blob = Blob::pushed(&registry, SIZE).await;
    for range in ["bytes=2048-", "bytes=5000-10000", "bytes=2048-2048", "bytes=500-0", "bytes=-0", "bytes=5000-,6000-"]
    {
        let reply = blob.range(range).await;
        reply.is_error(416, "UNSUPPORTED").has("content-range", "bytes */2048");
        assert!(reply.body.len() < 1000, "{reply:?}");
    }
}

/// R-BLB-14: what is no range of bytes is as if it were not there; HEAD knows no ranges.
#[tokio::test]
async fn an_unknown_kind_of_range_is_ignored() {
    let registry = TestRegistry::shared().await;
    let blob = Blob::pushed(&registry, SIZE).await;
    for range in
        ["lines=1-2", "bytes=abc", "bytes=", "bytes=-", "bytes 0-1", "bytes=1-2-3", "bytes=+1-2", "0-5", "bytes=1-x"]
    {
        blob.range(range).await.is(200).lacks("content-range").has_body(&blob.bytes);
    }
    let head = blob.alice.head(&blob.path).header("range", "bytes=5-6").await;
    head.is(200).lacks("content-range").has("content-length", "2048");
}

/// R-BLB-14: absurd numbers are no fault of the server.
#[tokio::test]
async fn a_range_of_absurd_numbers_is_survived() {
    let registry = TestRegistry::shared().await;
    let blob = Blob::pushed(&registry, SIZE).await;
    for range in [
        "bytes=0-99999999999999999999999999",
        "bytes=99999999999999999999999999-",
        "bytes=-99999999999999999999999999",
        "bytes=18446744073709551615-18446744073709551615",
    ] {
        let reply = blob.range(range).await;
        match reply.status {
            200 | 206 => reply.has_body(&blob.bytes),
            _ => reply.is_error(416, "UNSUPPORTED"),
        };
    }
}

/// R-BLB-15: there is no part of nothing, and that is no error.
#[tokio::test]
async fn an_empty_blob_has_no_ranges() {
    let registry = TestRegistry::shared().await;
    let blob = Blob::pushed(&registry, 0).await;
    for range in ["bytes=0-", "bytes=0-0", "bytes=-5", "bytes=5-9", "bytes=0-1,3-4"] {
        blob.range(range).await.is(200).has("content-length", "0").has_body(b"");
    }
}

/// R-BLB-17: a range holds only for the blob it was meant for.
#[tokio::test]
async fn if_range_guards_a_range() {
    let registry = TestRegistry::shared().await;
    let blob = Blob::pushed(&registry, SIZE).await;
    let ask = |guard: String| blob.alice.get(&blob.path).header("range", "bytes=5-9").header("if-range", &guard);
    blob.is_part(&ask(format!("\"{}\"", blob.digest)).await, 5, 9);
    for other in
        [format!("W/\"{}\"", blob.digest), "\"other\"".into(), "Wed, 21 Oct 2015 07:28:00 GMT".into(), "*".into()]
    {
        ask(other).await.is(200).lacks("content-range").has_body(&blob.bytes);
    }
}

/// The parts of a `multipart/byteranges` reply: each one's `Content-Range` and bytes.
fn parts(reply: &Reply) -> Vec<(String, Bytes)> {
    let kind = reply.is(206).header("content-type");
    let boundary = kind.strip_prefix("multipart/byteranges; boundary=").unwrap_or_else(|| panic!("{reply:?}"));
    let boundary = boundary.trim_matches('"');
    let find = |from: usize, what: &[u8]| {
        let found = reply.body[from..].windows(what.len()).position(|window| window == what);
        from + found.unwrap_or_else(|| panic!("no {:?}: {reply:?}", String::from_utf8_lossy(what)))
    };
    let delimiter = format!("--{boundary}");
    let mut parts = Vec::new();
    let mut at = find(0, delimiter.as_bytes()) + delimiter.len();
    while !reply.body[at..].starts_with(b"--") {
        let head_end = find(at, b"\r\n\r\n");
        let head = std::str::from_utf8(&reply.body[at..head_end]).unwrap();
        let field = |name: &str| {
            let mut values =
                head.lines().filter_map(|line| line.split_once(": ")).filter(|(n, _)| n.eq_ignore_ascii_case(name));
            values.next().unwrap_or_else(|| panic!("no {name}: {head:?}")).1.to_owned()
        };
        assert_eq!(field("content-type"), OCTETS);
        let range = field("content-range");
        let (first, rest) = range.strip_prefix("bytes ").unwrap().split_once('-').unwrap();
        let last = rest.split_once('/').unwrap().0;
        let length = last.parse::<usize>().unwrap() - first.parse::<usize>().unwrap() + 1;
        let begin = head_end + 4;
        parts.push((range, reply.body.slice(begin..begin + length)));
        let closing = format!("\r\n{delimiter}");
        assert!(reply.body[begin + length..].starts_with(closing.as_bytes()), "{reply:?}");
        at = begin + length + closing.len();
    }
    parts
}

/// R-BLB-16, C-POD-06: several ranges come back as they were asked for, in that order.
#[tokio::test]
async fn several_ranges_are_answered_part_by_part() {
    let registry = TestRegistry::shared().await;
    let blob = Blob::pushed(&registry, SIZE).await;
    for (range, expected) in [
        ("bytes=0-9,100-199", &[(0, 9), (100, 199)][..]),
        ("bytes=100-199, 0-9", &[(100, 199), (0, 9)]),
        ("bytes=5-5,6-6,7-7", &[(5, 5), (6, 6), (7, 7)]),
        ("bytes=0-9,5-14", &[(0, 9), (5, 14)]),
        ("bytes=-5,0-0,2000-", &[(2043, 2047), (0, 0), (2000, 2047)]),
        ("bytes=7-7,7-7", &[(7, 7), (7, 7)]),
    ] {
        let reply = blob.range(range).await;
        reply.lacks("content-range").has("docker-content-digest", &blob.digest);
        let found = parts(&reply);
        assert_eq!(found.len(), expected.len(), "{range}");
        for ((name, bytes), (first, last)) in found.iter().zip(expected) {
            assert_eq!(*name, format!("bytes {first}-{last}/{SIZE}"), "{range}");
            assert_eq!(bytes, &blob.bytes[*first..=*last], "{range}");
        }
    }
}

/// R-BLB-16: a thousand parts are fine.
#[tokio::test]
async fn many_ranges_are_answered() {
    let registry = TestRegistry::shared().await;
    let blob = Blob::pushed(&registry, 20_000).await;
    let ranges: Vec<String> = (0..1024).map(|n| format!("{}-{}", n * 17, n * 17 + 9)).collect();
    let reply = blob.range(&format!("bytes={}", ranges.join(","))).await;
    let found = parts(&reply);
    assert_eq!(found.len(), 1024);
    for (n, (name, bytes)) in found.iter().enumerate() {
        assert_eq!(*name, format!("bytes {}/20000", ranges[n]));
        assert_eq!(bytes, &blob.bytes[n * 17..n * 17 + 10]);
    }
}

/// R-BLB-16: who asks for more than the blob gets the blob, and no more.
#[tokio::test]
async fn ranges_that_amount_to_more_than_the_blob_get_the_blob() {
    let registry = TestRegistry::shared().await;
    let blob = Blob::pushed(&registry, SIZE).await;
    let many = format!("bytes={}", vec!["0-"; 1000].join(","));
    for range in ["bytes=0-2000,0-2000", "bytes=0-,-2048", &many] {
        blob.range(range).await.is(200).lacks("content-range").has_body(&blob.bytes);
    }
}
