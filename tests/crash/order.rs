//! The order in which a real server writes, syncs, renames and answers.

use std::collections::BTreeMap;
use std::fs;
use std::process::Command;
use std::time::Duration;

use crate::content::{Content, sha256};
use crate::line::Line;
use crate::model::Manifest;
use crate::random::Random;
use crate::server::{Place, Server};
use crate::{people, trace};

/// I2: at each answer that acknowledges a change, everything it needs is durable,
/// from the directories that the first start made to the WAL; and every sync of
/// a blob's is needed.
#[test]
fn an_answer_comes_after_what_it_promises_is_durable() {
    if Command::new("strace").arg("-V").output().is_err() {
        println!("skipped: strace is not installed");
        return;
    }
    let directory = tempfile::Builder::new().prefix("order-").tempdir().unwrap();
    let place = Place {
        directory: directory.path().to_owned(),
        root: directory.path().join("some/where/root"),
        database: format!("sqlite:{}", directory.path().join("else/db/registry.db").display()),
    };
    let written = directory.path().join("trace");
    let call = format!("trace={}", trace::CALLS);
    let strace = ["strace", "-f", "-y", "-s", "32", "-e", &call, "-o", written.to_str().unwrap()];
    let Some(mut server) = Server::start(&place, &BTreeMap::new(), &strace.map(str::to_owned)) else {
        println!("skipped: strace may not trace here: {}", place.log());
        return;
    };
    let pushed = push(server.port);
    // The one that is traced, not the tracer, which ends with it.
    let text = fs::read_to_string(&written).unwrap();
    let process = text.split(' ').next().unwrap();
    assert!(Command::new("kill").args(["-KILL", process]).status().unwrap().success());
    assert!(server.dies_within(Duration::from_secs(20)));

    let calls = trace::read(&fs::read_to_string(&written).unwrap());
    let database = directory.path().join("else/db/registry.db");
    let judge = |calls: &[trace::Call]| trace::faults(calls, &place.root, &database);
    let answers = calls.iter().filter(|call| matches!(call.step(), Some(trace::Step::Answer(201 | 202)))).count();
    assert!(answers >= pushed, "{answers} answers are in the trace, {pushed} were given");
    let faults = judge(&calls);
    if !faults.is_empty() {
        panic!("see the trace in {}:\n{}", directory.keep().display(), faults.join("\n"));
    }

    // Would it be seen if one were missing? Each sync of a blob or its directories, left out.
    let mut needed = 0;
    for nth in 0.. {
        let Some((rest, path)) = trace::without_sync(&calls, nth) else { break };
        let of_a_blob =
            path.starts_with(place.root.join("uploads")) || path.starts_with(place.root.join("blobs/sha256"));
        if of_a_blob && !judge(&rest).is_empty() {
            needed += 1;
        }
    }
    println!(
        "{} calls, {answers} acknowledged changes, {needed} syncs of blobs that none could be left out of",
        calls.len()
    );
    // Four blobs at least: bytes and directory; three new shards: the parent once each.
    assert!(needed >= 11, "{needed}");
}

/// Pushes in every way there is; how many changes were acknowledged.
fn push(port: u16) -> usize {
    let bearer = people::register(port);
    let mut line = Line::new(port, &bearer);
    let mut ask = |method: &str, path: &str, headers: &[(&str, &str)], body: &[u8], status: u16| {
        let reply = line.ask(method, path, headers, body).unwrap();
        assert_eq!(reply.status, status, "{method} {path}: {}", reply.text());
        reply
    };
    let mut random = Random::new(1);
    // In one request; the second shares the first one's shard, and the third is the first once more.
    let first = Content::new(&mut random).bytes();
    let shard = sha256(&first)[..9].to_owned();
    let second = std::iter::repeat_with(|| Content::new(&mut random).bytes())
        .find(|bytes| sha256(bytes).starts_with(&shard))
        .unwrap();
    for (repository, bytes) in [("alice/app", &first), ("alice/app", &second), ("alice/base", &first)] {
        ask("POST", &format!("/v2/{repository}/blobs/uploads/?digest={}", sha256(bytes)), &[], bytes, 201);
    }
    // In chunks, and by one PUT.
    let layer: Vec<u8> = std::iter::repeat_with(|| Content::new(&mut random).bytes()).take(60).flatten().collect();
    let session = ask("POST", "/v2/alice/app/blobs/uploads/", &[], b"", 202);
    let path = session.header("location").unwrap().to_owned();
    let (one, rest) = layer.split_at(layer.len() / 3);
    let (two, three) = rest.split_at(rest.len() / 2);
    ask("PATCH", &path, &[], one, 202);
    ask("PATCH", &path, &[], two, 202);
    ask("PUT", &format!("{path}?digest={}", sha256(&layer)), &[], three, 201);
    let config = Content::new(&mut random).bytes();
    let session = ask("POST", "/v2/alice/app/blobs/uploads/", &[], b"", 202);
    ask("PUT", &format!("{}?digest={}", session.header("location").unwrap(), sha256(&config)), &[], &config, 201);
    let named = |bytes: &[u8]| (sha256(bytes), bytes.len());
    let image = Manifest::image(&named(&config), &[named(&layer), named(&first)], None);
    ask("PUT", "/v2/alice/app/manifests/v1", &[("Content-Type", image.media_type)], &image.bytes, 201);
    ask("POST", &format!("/v2/alice/base/blobs/uploads/?mount={}&from=alice/app", sha256(&layer)), &[], b"", 201);
    ask("DELETE", "/v2/alice/app/manifests/v1", &[], b"", 202);
    ask("DELETE", &format!("/v2/alice/app/blobs/{}", sha256(&second)), &[], b"", 202);
    9 + 4
}
