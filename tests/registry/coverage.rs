//! Which test covers which requirement, read from the tests themselves.
//!
//! A test names the requirements it would break in the doc comment above it. From
//! those the table in `tests/README.md` is made (`UPDATE=1` writes it anew), and
//! `requirements.txt`, which has every id of the specification's reference, says what
//! must appear in it. What has no test stands here with the reason.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;
use std::path::{Path, PathBuf};

/// Requirements that no test of this suite covers, and why.
const UNTESTED: [(&str, &str); 7] = [
    ("R-TAG-05", "not offered: there is no policy of immutable tags"),
    ("R-WRN-01", "not offered: no warnings are sent"),
    ("R-PNG-05", "there is no registry without authentication"),
    ("R-UPL-62", "needs a day to pass: the store's own tests turn the clock"),
    ("R-MPT-19", "not offered: a conditional PUT is an ordinary PUT"),
    ("R-MDL-04", "there is no setting that forbids deleting"),
    ("R-REF-20", "waits for importing from another registry"),
];

/// What a test says and does.
struct Test {
    name: String,
    doc: String,
    body: String,
}

fn here() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests")
}

/// Every test of the suite, in the order of its modules.
fn tests() -> Vec<Test> {
    let root = here().join("registry");
    let (mut files, mut open) = (Vec::new(), vec![root.clone()]);
    while let Some(directory) = open.pop() {
        for entry in std::fs::read_dir(directory).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                open.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                files.push(path);
            }
        }
    }
    files.sort();
    files.iter().flat_map(|path| tests_of(path, path.strip_prefix(&root).unwrap())).collect()
}

fn tests_of(path: &Path, within: &Path) -> Vec<Test> {
    let module = within.with_extension("").to_string_lossy().replace('/', "::");
    let mut tests: Vec<Test> = Vec::new();
    let (mut doc, mut is_test, mut inside) = (String::new(), false, false);
    for line in std::fs::read_to_string(path).unwrap().lines() {
        if inside {
            inside = line != "}";
            tests.last_mut().unwrap().body += line;
        } else if let Some(text) = line.strip_prefix("///") {
            doc += text;
        } else if line.starts_with("#[tokio::test") || line == "#[test]" {
            is_test = true;
        } else if !line.starts_with("#[") {
            let name = line.split_once("fn ").and_then(|(_, rest)| rest.split_once('('));
            if let (true, Some((name, _))) = (is_test, name) {
                tests.push(Test { name: format!("{module}::{name}"), doc: doc.clone(), body: String::new() });
                inside = true;
            }
            doc.clear();
            is_test = false;
        }
    }
    tests
}

/// The ids that a text names: `R-ABC-01`, `V-P01`, `H-01`, `N-01`, `C-ABC-01`.
fn ids(text: &str) -> BTreeSet<String> {
    let is_id = |word: &&str| {
        let parts: Vec<_> = word.split('-').collect();
        let number = |text: &str| text.len() >= 2 && text.bytes().all(|b| b.is_ascii_digit());
        match parts[..] {
            ["R" | "C", area, n] => area.bytes().all(|b| b.is_ascii_uppercase()) && number(n),
            ["H" | "N", n] => number(n),
            ["V", n] => n.is_char_boundary(1) && number(&n[1..]),
            _ => false,
        }
    };
    text.split(|c: char| !c.is_ascii_alphanumeric() && c != '-').filter(is_id).map(str::to_owned).collect()
}

/// Every id that must be covered, with its level where it has one.
fn requirements() -> Vec<(&'static str, &'static str)> {
    include_str!("requirements.txt").lines().map(|line| line.split_once(' ').unwrap_or((line, ""))).collect()
}

/// Which tests name each id.
fn coverage() -> BTreeMap<String, Vec<String>> {
    let mut coverage: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for test in tests() {
        for id in ids(&test.doc) {
            coverage.entry(id).or_default().push(test.name.clone());
        }
    }
    coverage
}

fn table() -> String {
    let mut coverage = coverage();
    let mut table = String::from("\n| requirement | level | tests |\n|---|---|---|\n");
    let row = |table: &mut String, id: &str, level: &str, tests: &[String]| {
        let tests: Vec<_> = tests.iter().map(|test| format!("`{test}`")).collect();
        writeln!(table, "| {id} | {level} | {} |", tests.join(", ")).unwrap();
    };
    for (id, level) in requirements() {
        if let Some(tests) = coverage.remove(id) {
            row(&mut table, id, level, &tests);
        }
    }
    for (id, tests) in &coverage {
        row(&mut table, id, "", tests);
    }
    table += "\nWithout a test here:\n\n| requirement | why |\n|---|---|\n";
    for (id, why) in UNTESTED {
        writeln!(table, "| {id} | {why} |").unwrap();
    }
    table
}

/// Nothing that the registry must do is left without a test, or without the reason for that.
#[test]
fn every_requirement_has_a_test_or_a_reason() {
    let coverage = coverage();
    let mut wrong = Vec::new();
    for (id, _) in requirements() {
        let excused = UNTESTED.iter().any(|(untested, _)| *untested == id);
        if coverage.contains_key(id) == excused {
            wrong.push(if excused { format!("{id} has a test by now") } else { format!("{id} has no test") });
        }
    }
    let known: BTreeSet<_> = requirements().iter().map(|(id, _)| *id).collect();
    for id in coverage.keys().filter(|id| id.starts_with(['R', 'V', 'H'])) {
        if !known.contains(&**id) {
            wrong.push(format!("{id} is named but unknown"));
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

/// Every test says what it is about, and looks at what it got.
#[test]
fn every_test_says_and_asserts_something() {
    // What panics where something is not as it should be.
    const ASSERTIONS: [&str; 11] = [
        "assert",
        ".is(",
        ".is_error(",
        "is_",
        "round_trip(",
        "live(",
        "at_once(",
        "look_alike(",
        "push_manifest(",
        ".none(",
        ".some(",
    ];
    let tests = tests();
    assert!(tests.len() > 150, "only {} tests were found", tests.len());
    for test in tests {
        assert!(test.doc.len() > 20, "{} says nothing", test.name);
        assert!(ASSERTIONS.iter().any(|what| test.body.contains(what)), "{} asserts nothing", test.name);
    }
}

/// The table in `tests/README.md` is the one that the tests make.
#[test]
#[expect(clippy::disallowed_methods, reason = "UPDATE=1 is said by whoever runs the test")]
fn the_table_in_the_readme_is_true() {
    const BEGIN: &str = "<!-- coverage: made by the suite, UPDATE=1 cargo test --test registry coverage -->\n";
    const END: &str = "<!-- end of coverage -->";
    let path = here().join("README.md");
    let readme = std::fs::read_to_string(&path).unwrap();
    let (before, rest) = readme.split_once(BEGIN).expect("tests/README.md has the marker of the table");
    let (old, after) = rest.split_once(END).expect("tests/README.md has the end of the table");
    let new = table();
    if std::env::var_os("UPDATE").is_some_and(|update| update == "1") {
        std::fs::write(&path, format!("{before}{BEGIN}{new}{END}{after}")).unwrap();
        return;
    }
    assert!(old == new, "the table is stale: run UPDATE=1 cargo test --test registry coverage");
}
