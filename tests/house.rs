//! The house: which room may name which.
//!
//! Cargo forbids circles between crates, not between the modules of one, so
//! they are forbidden here. The table is the plan of the house; where a better
//! cut is found, it is changed here, and the door of the room says why.

#![expect(clippy::unwrap_used, reason = "what this test cannot read or split, it cannot judge: it fails")]

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

/// Every room, from the ground up, and the rooms that it may name besides itself.
const ROOMS: &[(&str, &[&str])] = &[
    ("domain", &[]),
    ("protocol", &["domain"]),
    ("store", &["domain", "failpoint"]),
    ("metadata", &["domain", "failpoint"]),
    ("router", &["domain"]),
    ("auth", &["domain", "metadata"]),
    ("services", &["domain", "protocol", "store", "metadata", "router", "auth", "failpoint"]),
    ("layers", &["domain", "protocol", "router", "auth"]),
    ("server", &["domain", "protocol", "store", "metadata", "router", "auth", "services", "layers", "telemetry"]),
    (
        "config",
        &["domain", "protocol", "store", "metadata", "router", "auth", "services", "layers", "server", "telemetry"],
    ),
    (
        "cli",
        &[
            "domain",
            "protocol",
            "store",
            "metadata",
            "router",
            "auth",
            "services",
            "layers",
            "server",
            "config",
            "telemetry",
            "failpoint",
        ],
    ),
];

/// What stands in `src/` itself, and what it may name.
const LOOSE: &[(&str, &[&str])] =
    &[("main.rs", &["cli"]), ("lib.rs", &[]), ("telemetry.rs", &[]), ("failpoint.rs", &[])];

fn source() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("src")
}

/// The entries of a directory, in order; of an absent one, none.
fn entries(directory: &Path) -> Vec<PathBuf> {
    let mut found: Vec<PathBuf> =
        fs::read_dir(directory).into_iter().flatten().map(|entry| entry.unwrap().path()).collect();
    found.sort();
    found
}

fn rust_files(directory: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    for path in entries(directory) {
        if path.is_dir() {
            files.extend(rust_files(&path));
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            files.push(path);
        }
    }
    files
}

fn name(path: &Path) -> &str {
    path.file_name().unwrap().to_str().unwrap()
}

/// The words that follow `prefix` in a text: the rooms it names.
fn named<'t>(text: &'t str, prefix: &'t str) -> impl Iterator<Item = &'t str> {
    text.split(prefix).skip(1).map(|rest| rest.split(|c: char| !c.is_alphanumeric() && c != '_').next().unwrap())
}

/// What `room` names without leave, as sentences. `depth` is how far below the
/// crate's root the file's module stands: that many `super::` reach the root.
fn trespasses(file: &str, text: &str, room: &str, allowed: &[&str], depth: usize) -> Vec<String> {
    let to_the_root = "super::".repeat(depth);
    named(text, "crate::")
        .chain(named(text, &to_the_root).filter(|word| ROOMS.iter().any(|(room, _)| room == word)))
        .filter(|word| *word != room && !allowed.contains(word))
        .map(|word| match word {
            "" => format!("{file}: name one room per `use`, without braces"),
            _ => format!("{file}: `{room}` may not name `{word}`"),
        })
        .collect()
}

/// How deep a file's module is: `store/mod.rs` is 1, `store/upload.rs` is 2.
fn depth(file: &Path) -> usize {
    let below = file.strip_prefix(source()).unwrap().components().count();
    if name(file) == "mod.rs" { below - 1 } else { below }
}

fn assert_none(trespasses: Vec<String>) {
    assert!(trespasses.is_empty(), "\n{}\n", trespasses.join("\n"));
}

#[test]
fn no_room_names_one_above_it() {
    let mut found = Vec::new();
    for (room, allowed) in ROOMS {
        for file in rust_files(&source().join(room)) {
            let text = fs::read_to_string(&file).unwrap();
            found.extend(trespasses(&file.display().to_string(), &text, room, allowed, depth(&file)));
        }
    }
    for (file, allowed) in LOOSE {
        let mut text = fs::read_to_string(source().join(file)).unwrap();
        if *file == "main.rs" {
            // A binary calls the library by its name.
            text = text.replace("distribution::", "crate::");
        }
        found.extend(trespasses(file, &text, file.trim_end_matches(".rs"), allowed, 1));
    }
    assert_none(found);
}

/// The generated code is several files, so that arrows keep pointing down there too.
#[test]
fn generated_code_keeps_to_its_room() {
    let mut found = Vec::new();
    for (file, room) in [("router.rs", "router"), ("dispatch.rs", "server"), ("operations.rs", "services")] {
        let path = Path::new(env!("OUT_DIR")).join(file);
        let text = fs::read_to_string(&path).unwrap();
        let (_, allowed) = ROOMS.iter().find(|(name, _)| *name == room).unwrap();
        found.extend(trespasses(file, &text, room, allowed, 2));
    }
    assert_none(found);
}

#[test]
fn every_folder_is_a_room_with_a_door_that_says_why() {
    let planned: BTreeSet<&str> = ROOMS.iter().map(|(room, _)| *room).collect();
    let built = entries(&source());
    let folders: BTreeSet<&str> = built.iter().filter(|path| path.is_dir()).map(|path| name(path)).collect();
    assert_eq!(folders, planned, "the folders of src/ are the rooms of the plan");

    let loose: BTreeSet<&str> = built.iter().filter(|path| path.is_file()).map(|path| name(path)).collect();
    assert_eq!(loose, LOOSE.iter().map(|(file, _)| *file).collect(), "a file in src/ itself belongs in a room");

    for room in planned {
        let door = source().join(room).join("mod.rs");
        assert!(fs::read_to_string(&door).unwrap().starts_with("//!"), "{}: says what it is for", door.display());
    }
}

/// The lowest floors never look up, so the plan itself has no circle.
#[test]
fn the_plan_has_no_circle() {
    for (floor, (room, allowed)) in ROOMS.iter().enumerate() {
        for other in *allowed {
            let below = ROOMS[..floor].iter().any(|(name, _)| name == other)
                || LOOSE.iter().any(|(file, _)| file.strip_suffix(".rs") == Some(other));
            assert!(below, "`{room}` may name `{other}`, which does not stand below it");
        }
    }
}

/// One text for both databases, or two files of one name: a schema cannot
/// change on one side alone.
#[test]
fn both_databases_have_the_same_migrations() {
    let migrations = Path::new(env!("CARGO_MANIFEST_DIR")).join("migrations");
    let side = |database: &str| -> Vec<String> {
        entries(&migrations.join(database)).iter().map(|path| name(path).to_owned()).collect()
    };
    assert!(!side("sqlite").is_empty(), "there are migrations");
    assert_eq!(side("sqlite"), side("postgres"));
}

#[test]
fn a_trespass_is_seen() {
    let text =
        "use crate::domain::Digest;\nuse crate::services::Blobs;\nuse crate::{store, auth};\nuse super::super::cli;";
    assert_eq!(
        trespasses("store/a.rs", text, "store", &["domain"], 2),
        [
            "store/a.rs: `store` may not name `services`",
            "store/a.rs: name one room per `use`, without braces",
            "store/a.rs: `store` may not name `cli`",
        ]
    );
}
