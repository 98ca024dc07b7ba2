//! Stored bytes that are no longer what was stored.

use std::fs::{self, OpenOptions};
use std::io::{Read, Write};
use std::net::TcpStream;
use std::os::unix::fs::FileExt;
use std::path::Path;

use super::{Registry, bytes};
use crate::content::sha256;

fn truncate(path: &Path, len: u64) {
    OpenOptions::new().write(true).open(path).unwrap().set_len(len).unwrap();
}

fn flip(path: &Path, at: u64) {
    let file = OpenOptions::new().read(true).write(true).open(path).unwrap();
    let mut byte = [0];
    file.read_exact_at(&mut byte, at).unwrap();
    file.write_all_at(&[byte[0] ^ 1], at).unwrap();
}

/// R-BLB-09: a truncated or missing file is an error before the first byte, never a short 200,
/// and a push of the same bytes heals it.
#[test]
fn a_short_or_missing_blob_is_never_served_and_a_push_heals_it() {
    let mut registry = Registry::start(|_, _| {});
    let keep = bytes(9, 500);
    registry.push("alice/app", &keep, 201);
    for (seed, len) in [(1, 700), (2, 300_000), (3, 5_000_000)] {
        let blob = bytes(seed, len);
        let path = format!("/v2/alice/app/blobs/{}", sha256(&blob));
        let damages = ["one byte short", "half", "empty", "missing", "too long"];
        // The first who asks is told, whatever part they ask for, and so is everybody after them.
        let parts = ["bytes=0-", "bytes=0-99", "bytes=0-9,20-29"];
        for (damage, part) in damages.into_iter().flat_map(|damage| parts.map(|part| (damage, part))) {
            registry.push("alice/app", &blob, 201);
            let object = registry.object(&blob);
            match damage {
                "one byte short" => truncate(&object, len as u64 - 1),
                "half" => truncate(&object, len as u64 / 2),
                "empty" => truncate(&object, 0),
                "missing" => fs::remove_file(&object).unwrap(),
                _ => truncate(&object, len as u64 + 1),
            }
            let reply = registry.ask("GET", &path, &[("Range", part)], b"");
            assert_eq!(reply.status, 500, "{damage}, {part}: {}", reply.text());
            let reply = registry.expect("GET", &path, b"", 500);
            assert!(reply.text().contains("UNKNOWN"), "{damage}: {}", reply.text());
            // Who looks whether to push it is told to.
            registry.expect("HEAD", &path, b"", 404);
            registry.expect(
                "POST",
                &format!("/v2/alice/app/blobs/uploads/?mount={}&from=alice/app", sha256(&blob)),
                b"",
                202,
            );
            registry.push("alice/app", &blob, 201);
            registry.pull("alice/app", &blob);
            registry.expect("HEAD", &path, b"", 200);
            // The damaged file is gone, and the blob has one file again.
            registry.object(&blob);
        }
    }
    assert_eq!(registry.command(&["store", "verify"]).0, Some(0));
    registry.pull("alice/app", &keep);
}

/// I2, R-BLB-09: a push that heals may die between any two of its steps; what is served is whole, and a push heals it.
#[test]
fn a_death_while_healing_does_no_harm() {
    let blob = bytes(1, 300_000);
    let path = format!("/v2/alice/app/blobs/{}", sha256(&blob));
    for place in ["push.stored", "push.linked", "push.adopted", "push.superfluous"] {
        let mut registry = Registry::start(|_, _| {});
        registry.push("alice/app", &blob, 201);
        truncate(&registry.object(&blob), 1000);
        registry.restart(|environment| {
            environment.insert("DISTRIBUTION_FAILPOINTS", format!("{place}=abort"));
        });
        let push = format!("/v2/alice/app/blobs/uploads/?digest={}", sha256(&blob));
        let died = registry.line.ask("POST", &push, &[], &blob);
        assert!(died.is_err(), "{place} was not passed");
        registry.restart(|environment| {
            environment.remove("DISTRIBUTION_FAILPOINTS");
        });
        let reply = registry.ask("GET", &path, &[], b"");
        assert!(matches!(reply.status, 200 | 500), "{place}: {}", reply.text());
        assert!(reply.status == 500 || reply.body == blob, "{place}");
        assert_eq!(reply.status == 200, matches!(place, "push.adopted" | "push.superfluous"), "{place}");
        registry.push("alice/app", &blob, 201);
        registry.pull("alice/app", &blob);
        assert_eq!(registry.command(&["store", "verify"]).0, Some(0));
    }
}

/// A flipped byte is found by reading everything, and is not served any more.
#[test]
fn a_flipped_byte_is_found_and_healed() {
    let mut registry = Registry::start(|_, _| {});
    let (good, bad, lost) = (bytes(1, 100_000), bytes(2, 2_000_000), bytes(3, 1_000));
    for blob in [&good, &bad, &lost] {
        registry.push("alice/app", blob, 201);
    }
    let (code, said) = registry.command(&["store", "verify"]);
    assert_eq!(code, Some(0), "{said}");
    assert!(said.contains("3 blobs with 2101000 bytes were read, 0 are damaged"), "{said}");

    flip(&registry.object(&bad), 1_234_567);
    fs::remove_file(registry.object(&lost)).unwrap();
    for _ in 0..2 {
        let (code, said) = registry.command(&["store", "verify"]);
        assert_eq!(code, Some(1), "{said}");
        assert!(said.contains(&format!("{} is damaged", sha256(&bad))), "{said}");
        assert!(said.contains(&format!("{} is damaged", sha256(&lost))), "{said}");
        assert!(!said.contains(&sha256(&good)), "{said}");
        assert!(said.contains("2 are damaged"), "{said}");
    }
    // The server has not been told; it sees what the command wrote within moments.
    let path = format!("/v2/alice/app/blobs/{}", sha256(&bad));
    let deadline = std::time::Instant::now() + std::time::Duration::from_secs(10);
    while registry.ask("GET", &path, &[], b"").status != 500 {
        assert!(std::time::Instant::now() < deadline, "a blob that is known to be damaged is served");
        std::thread::sleep(std::time::Duration::from_millis(50));
    }
    registry.expect("HEAD", &path, b"", 404);
    registry.pull("alice/app", &good);
    registry.push("alice/app", &bad, 201);
    registry.pull("alice/app", &bad);

    // Whoever puts the right file back may say so.
    flip(&registry.object(&good), 7);
    assert_eq!(registry.command(&["store", "verify"]).0, Some(1));
    flip(&registry.object(&good), 7);
    let (code, said) = registry.command(&["store", "verify"]);
    assert!(said.contains(&format!("{} was marked as damaged and is sound", sha256(&good))), "{said}");
    assert_eq!(code, Some(1), "one is still lost: {said}");
    registry.push("alice/app", &lost, 201);
    assert_eq!(registry.command(&["store", "verify"]).0, Some(0));
}

/// A store that is not the database's is not looked at: beside it, everything would be missing.
#[test]
fn a_strange_store_is_not_verified() {
    let mut registry = Registry::start(|_, _| {});
    let blob = bytes(1, 1000);
    registry.push("alice/app", &blob, 201);
    let elsewhere = registry.directory.path().join("elsewhere");
    let mut strange = registry.place.clone();
    strange.root = elsewhere;
    let output = strange.command(&[]).args(["store", "verify"]).output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&output.stderr).contains("belongs to the blob store"));
    registry.pull("alice/app", &blob);
}

/// R-BLB-09: a file that shrinks while it is being sent ends the connection, and nothing else.
#[test]
fn a_blob_that_shrinks_while_it_is_read_breaks_one_connection() {
    let mut registry = Registry::start(|_, _| {});
    let blob = bytes(1, 40_000_000);
    registry.push("alice/app", &blob, 201);
    let mut stream = TcpStream::connect(("127.0.0.1", registry.server.port)).unwrap();
    let path = format!("/v2/alice/app/blobs/{}", sha256(&blob));
    write!(stream, "GET {path} HTTP/1.1\r\nHost: x\r\nAuthorization: {}\r\n\r\n", registry.bearer).unwrap();
    let mut first = vec![0; 100_000];
    stream.read_exact(&mut first).unwrap();
    assert!(first.starts_with(b"HTTP/1.1 200"));
    truncate(&registry.object(&blob), 20_000_000);
    let mut rest = Vec::new();
    // Either an end or a reset; what counts is that it is no whole answer.
    let _ = stream.read_to_end(&mut rest);
    assert!(first.len() + rest.len() < blob.len(), "{}", rest.len());
    assert!(registry.server.is_running(), "the server died of it:\n{}", registry.place.log());
    registry.expect("GET", &path, b"", 500);
    registry.push("alice/app", &blob, 201);
    registry.pull("alice/app", &blob);
}
