//! Disks without space: what is refused says so, what is there goes on to be
//! served, and space that is freed makes everything work again.

use std::fs::{self, File};
use std::io::Write;
use std::path::PathBuf;
use std::process::Command;

use super::{Registry, bytes, is_root};
use crate::content::sha256;
use crate::line::Line;
use crate::server::Server;

/// A small file system, mounted until dropped.
struct Tmpfs {
    path: PathBuf,
    _directory: tempfile::TempDir,
}

impl Tmpfs {
    /// `None`, with the reason told, where this machine does not let us.
    fn new(mebibytes: u32) -> Option<Self> {
        let directory = super::directory();
        let path = directory.path().join("small");
        fs::create_dir(&path).unwrap();
        let size = format!("size={mebibytes}m");
        let mounted = is_root()
            && Command::new("mount")
                .args(["-t", "tmpfs", "-o", &size, "tmpfs"])
                .arg(&path)
                .status()
                .is_ok_and(|status| status.success());
        if !mounted {
            println!("skipped: mounting a tmpfs needs root");
            return None;
        }
        Some(Self { path, _directory: directory })
    }

    /// Takes all the space there is, but for so many bytes.
    fn fill(&self, but: u64) {
        let mut filler = File::create(self.filler()).unwrap();
        let block = vec![0; 64 * 1024];
        while filler.write_all(&block).is_ok() {}
        let mut block = &block[..1];
        while !block.is_empty() && filler.write(block).is_ok() {
            block = &block[..1];
        }
        let len = filler.metadata().unwrap().len();
        filler.set_len(len.saturating_sub(but)).unwrap();
    }

    fn free(&self) {
        fs::remove_file(self.filler()).unwrap();
    }

    fn filler(&self) -> PathBuf {
        self.path.join("filler")
    }
}

impl Drop for Tmpfs {
    fn drop(&mut self) {
        let unmounted = Command::new("umount").arg("--lazy").arg(&self.path).status();
        if !unmounted.is_ok_and(|status| status.success()) {
            eprintln!("{} stays mounted", self.path.display());
        }
    }
}

/// R-LIM, I2, I7: no space for blobs, in each request that needs some.
#[test]
fn a_full_store_refuses_pushes_and_serves_pulls() {
    let Some(disk) = Tmpfs::new(24) else { return };
    let mut registry = Registry::start(|place, _| place.root = disk.path.join("root"));
    let (config, layer, more) = (bytes(1, 2_000), bytes(2, 3_000_000), bytes(3, 6_000_000));
    registry.push("alice/app", &config, 201);
    registry.push("alice/app", &layer, 201);
    registry.tag("alice/app", "v1", &config, &layer, 201);
    let session = registry.expect("POST", "/v2/alice/app/blobs/uploads/", b"", 202);
    let session = session.header("location").unwrap().to_owned();
    registry.expect("PATCH", &session, &more[..1_000_000], 202);

    // Some of the chunk finds room, all of it does not.
    disk.fill(1_500_000);
    let refused = registry.expect("PATCH", &session, &more[1_000_000..], 507);
    assert!(refused.text().contains("no space is left"), "{}", refused.text());
    // What was refused was cut off again: the session is where it was.
    assert_eq!(registry.expect("GET", &session, b"", 204).header("range"), Some("0-999999"));
    let digest = sha256(&more);
    registry.expect("PUT", &format!("{session}?digest={digest}"), &more[1_000_000..], 507);
    assert_eq!(registry.expect("GET", &session, b"", 204).header("range"), Some("0-999999"));
    registry.push("alice/app", &more, 507);
    registry.expect("GET", &format!("/v2/alice/app/blobs/{digest}"), b"", 404);

    // Not a byte is left.
    fs::remove_file(disk.filler()).unwrap();
    disk.fill(0);
    registry.push("alice/app", &bytes(4, 100_000), 507);
    // Even an empty session takes some room; a page or two may have been left.
    let mut sessions = Vec::new();
    let refused = (0..100).find(|_| {
        let reply = registry.ask("POST", "/v2/alice/app/blobs/uploads/", &[], b"");
        assert!(matches!(reply.status, 202 | 507), "{}", reply.text());
        sessions.extend(reply.header("location").map(str::to_owned));
        reply.status == 507
    });
    assert!(refused.is_some(), "a hundred sessions found room");
    registry.pull("alice/app", &config);
    registry.pull("alice/app", &layer);
    registry.expect("GET", "/v2/alice/app/manifests/v1", b"", 200);
    // A manifest needs no room among the blobs; a tag that goes gives none.
    registry.tag("alice/app", "v2", &config, &layer, 201);
    // Pulls go on, so nobody is sent elsewhere for them.
    let ready = registry.expect("GET", "/readyz", b"", 200);
    assert!(ready.text().contains("store: full"), "{}", ready.text());
    // A restart in the middle of it changes nothing.
    registry.restart(|_| {});
    registry.pull("alice/app", &layer);
    registry.push("alice/app", &bytes(4, 100_000), 507);

    disk.free();
    assert_eq!(registry.expect("GET", &session, b"", 204).header("range"), Some("0-999999"));
    registry.expect("PUT", &format!("{session}?digest={digest}"), &more[1_000_000..], 201);
    registry.pull("alice/app", &more);
    registry.push("alice/app", &bytes(4, 100_000), 201);
    assert_eq!(registry.command(&["store", "verify"]).0, Some(0));
    for session in sessions {
        registry.expect("DELETE", &session, b"", 204);
    }
    // Refused pushes have left nothing behind: neither objects nor sessions.
    assert_eq!(registry.objects().len(), 4);
    assert_eq!(registry.unfinished_uploads(), [""; 0]);
}

/// The same for the database: every change is refused whole, and reads go on.
#[test]
fn a_full_database_refuses_changes_and_serves_pulls() {
    let Some(disk) = Tmpfs::new(12) else { return };
    let mut registry = Registry::start(|place, _| {
        place.database = format!("sqlite:{}", disk.path.join("registry.db").display());
    });
    let (config, layer) = (bytes(1, 2_000), bytes(2, 30_000));
    registry.push("alice/app", &config, 201);
    registry.push("alice/app", &layer, 201);
    registry.tag("alice/app", "v1", &config, &layer, 201);
    let objects = registry.objects();

    disk.fill(0);
    // The WAL may have room that it took before; it is used up soon.
    let mut made = Vec::new();
    let refused = (0..2000).find(|nth| {
        let tag = format!("t{nth}");
        let path = format!("/v2/alice/app/manifests/{tag}");
        let reply = registry.ask(
            "PUT",
            &path,
            &[("Content-Type", crate::content::IMAGE_MANIFEST)],
            &image_of(*nth, &config, &layer),
        );
        if reply.status == 201 {
            made.push(tag);
        }
        assert!(matches!(reply.status, 201 | 507), "{}", reply.text());
        reply.status == 507
    });
    assert!(refused.is_some(), "the database never filled up");
    println!("{} changes found room on the full disk", made.len());
    registry.tag("alice/app", "v2", &config, &layer, 507);
    registry.push("alice/app", &bytes(3, 5_000), 507);
    registry.expect("DELETE", "/v2/alice/app/manifests/v1", b"", 507);
    registry.expect("GET", "/v2/alice/app/manifests/v1", b"", 200);
    registry.expect("GET", "/v2/alice/app/manifests/v2", b"", 404);
    registry.pull("alice/app", &config);
    registry.expect("GET", "/v2/alice/app/tags/list", b"", 200);
    assert_eq!(registry.objects(), objects, "a blob that was refused has left no file");
    // Started anew it serves what it has.
    registry.restart(|_| {});
    registry.expect("GET", "/v2/alice/app/manifests/v1", b"", 200);
    registry.pull("alice/app", &layer);
    registry.push("alice/app", &bytes(3, 5_000), 507);

    disk.free();
    registry.push("alice/app", &bytes(3, 5_000), 201);
    registry.tag("alice/app", "v2", &config, &layer, 201);
    registry.expect("DELETE", "/v2/alice/app/manifests/v1", b"", 202);
    for tag in &made {
        registry.expect("GET", &format!("/v2/alice/app/manifests/{tag}"), b"", 200);
    }
    registry.restart(|_| {});
    registry.expect("GET", "/v2/alice/app/manifests/v2", b"", 200);
    registry.pull("alice/app", &bytes(3, 5_000));
    assert_eq!(registry.command(&["store", "verify"]).0, Some(0));
    let checked = Command::new("sqlite3").arg(disk.path.join("registry.db")).arg("PRAGMA integrity_check").output();
    if let Ok(checked) = checked {
        assert_eq!(String::from_utf8_lossy(&checked.stdout).trim(), "ok");
    }
}

/// The same where both are on one disk, as they are unless somebody sets that up: blobs take the database's last room.
#[test]
fn a_disk_that_is_full_for_both_refuses_changes_and_serves_pulls() {
    let Some(disk) = Tmpfs::new(24) else { return };
    let mut registry = Registry::start(|place, _| {
        place.root = disk.path.join("root");
        place.database = format!("sqlite:{}", disk.path.join("registry.db").display());
    });
    let (config, layer, more) = (bytes(1, 2_000), bytes(2, 1_000_000), bytes(3, 5_000));
    registry.push("alice/app", &config, 201);
    registry.push("alice/app", &layer, 201);
    registry.tag("alice/app", "v1", &config, &layer, 201);
    disk.fill(0);
    // Pages that are taken already may hold a little more.
    let manifest = |nth| image_of(nth, &config, &layer);
    let headers = [("Content-Type", crate::content::IMAGE_MANIFEST)];
    let refused = (0..2000).find(|nth| {
        let path = format!("/v2/alice/app/manifests/t{nth}");
        let status = registry.ask("PUT", &path, &headers, &manifest(*nth)).status;
        assert!(matches!(status, 201 | 507), "{status}");
        status == 507
    });
    let made = refused.expect("the database never filled up");
    for _ in 0..3 {
        registry.push("alice/app", &layer[1..], 507);
        registry.tag("alice/app", "v2", &config, &layer, 507);
        registry.expect("DELETE", "/v2/alice/app/manifests/v1", b"", 507);
        registry.pull("alice/app", &layer);
        registry.expect("GET", "/v2/alice/app/manifests/v1", b"", 200);
        // A login that fails cannot be written down, and fails all the same.
        let mut wrong = Line::new(registry.server.port, "Basic YWxpY2U6d3JvbmcgcGFzc3dvcmQ=");
        assert_eq!(wrong.ask("GET", "/auth/token", &[], b"").unwrap().status, 401);
    }
    for stop in [Server::stop, |server: &mut Server| {
        server.kill();
    }] {
        stop(&mut registry.server);
        // What the database gave back at its end is somebody else's by now.
        fs::remove_file(disk.filler()).unwrap();
        disk.fill(0);
        registry.restart(|_| {});
        registry.pull("alice/app", &layer);
        registry.expect("GET", "/v2/alice/app/manifests/v1", b"", 200);
    }

    disk.free();
    registry.push("alice/app", &more, 201);
    registry.tag("alice/app", "v2", &config, &more, 201);
    for nth in 0..made {
        registry.expect("GET", &format!("/v2/alice/app/manifests/t{nth}"), b"", 200);
    }
    registry.pull("alice/app", &more);
    assert_eq!(registry.command(&["store", "verify"]).0, Some(0));
    assert_eq!(registry.objects().len(), 3);
}

/// An image that differs from every other one by an annotation.
fn image_of(nth: u32, config: &[u8], layer: &[u8]) -> Vec<u8> {
    let image = super::image(config, layer);
    let mut content: serde_json::Value = serde_json::from_slice(&image.bytes).unwrap();
    content["annotations"] = serde_json::json!({ "nth": nth.to_string(), "filler": "x".repeat(2000) });
    content.to_string().into_bytes()
}
