//! The subcommands that work on the database, as an operator runs them: with no
//! server, and nobody who could log in.

#![expect(clippy::unwrap_used, reason = "a test that is surprised should say so and stop")]

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::process::{Command, Output, Stdio};

use tempfile::TempDir;

/// A directory with a registry's database, and the binary that works on it.
struct Operator {
    home: TempDir,
}

impl Operator {
    fn new() -> Self {
        Self { home: tempfile::tempdir().unwrap() }
    }

    fn run_with(&self, arguments: &str, input: &str) -> Output {
        let mut child = Command::new(env!("CARGO_BIN_EXE_distribution"))
            .args(arguments.split(' '))
            .env_clear()
            .env("OCI_REGISTRY_ROOTDIR", "blobs")
            .env("PASSWORD_SALT", "0123456789abcdef")
            .current_dir(self.home.path())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        // A subcommand that reads nothing may be gone by now.
        let _ = child.stdin.take().unwrap().write_all(input.as_bytes());
        child.wait_with_output().unwrap()
    }

    /// What it writes where it succeeds.
    fn ok(&self, arguments: &str) -> String {
        let output = self.run_with(arguments, "");
        assert!(output.status.success(), "{arguments}: {}", text(&output.stderr));
        text(&output.stdout)
    }

    /// What it complains of where it fails, with exit code 1.
    fn refused(&self, arguments: &str) -> String {
        let output = self.run_with(arguments, "");
        assert_eq!(output.status.code(), Some(1), "{arguments}: {}", text(&output.stdout));
        assert_eq!(text(&output.stdout), "");
        text(&output.stderr)
    }
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

/// The words of the line that begins with this one.
fn row<'a>(table: &'a str, first: &str) -> Vec<&'a str> {
    let rows = table.lines().map(|line| line.split_whitespace().collect::<Vec<_>>());
    rows.into_iter().find(|row| row.first() == Some(&first)).unwrap_or_default()
}

#[test]
fn the_first_admin_needs_no_server() {
    let operator = Operator::new();
    assert!(operator.ok("user create alice --admin").starts_with("alice is an admin\npassword: "));
    assert_eq!(row(&operator.ok("user list"), "alice")[1..3], ["admin", "active"]);
}

#[test]
fn nothing_but_the_first_user_makes_a_database() {
    let operator = Operator::new();
    for subcommand in ["user list", "namespace list", "repository list", "token revoke 1", "audit export", "store pair"]
    {
        assert!(operator.refused(subcommand).contains("there is no database at db/registry.db"), "{subcommand}");
    }
    assert_eq!(operator.home.path().read_dir().unwrap().count(), 0);
}

#[test]
fn a_password_comes_from_standard_input_or_is_made_up() {
    let operator = Operator::new();
    let given = operator.run_with("user create alice --password-stdin", "correct horse\n");
    assert_eq!(text(&given.stdout), "alice is a user\n");
    for (input, complaint) in [("short", "at least 6 bytes"), ("", "at least 6 bytes"), (&*"x".repeat(1025), "at most")]
    {
        let refused = operator.run_with("user create bob --password-stdin", input);
        assert_eq!(refused.status.code(), Some(1));
        assert!(text(&refused.stderr).contains(complaint), "{}", text(&refused.stderr));
    }
    let passwords = ["bob", "carol"].map(|name| operator.ok(&format!("user create {name}")));
    let passwords = passwords.each_ref().map(|output| output.trim().rsplit_once("password: ").unwrap().1);
    assert_ne!(passwords[0], passwords[1]);
    assert!(passwords[0].len() == 32 && passwords[0].bytes().all(|b| b.is_ascii_alphanumeric()));
}

#[test]
fn users_are_changed_and_deleted() {
    let operator = Operator::new();
    operator.ok("user create alice --admin");
    operator.ok("user create bob");
    assert!(operator.refused("user create bob").contains("the username is taken"));

    operator.ok("user disable bob");
    operator.ok("user promote bob");
    assert_eq!(row(&operator.ok("user list"), "bob")[1..3], ["admin", "disabled"]);
    operator.ok("user enable bob");
    operator.ok("user demote bob");
    assert_eq!(row(&operator.ok("user list"), "bob")[1..3], ["user", "active"]);
    assert!(operator.ok("user reset-password bob").contains("password: "));
    operator.ok("user delete bob");
    assert!(row(&operator.ok("user list"), "bob").is_empty());

    for subcommand in ["disable", "enable", "promote", "demote", "delete", "reset-password"] {
        assert!(operator.refused(&format!("user {subcommand} bob")).contains("there is no user `bob`"));
    }
}

#[test]
fn a_registry_without_an_admin_is_warned_of() {
    let operator = Operator::new();
    operator.ok("user create alice --admin");
    let demoted = operator.run_with("user demote alice", "");
    assert!(demoted.status.success() && text(&demoted.stderr).contains("no admin is left"));
}

#[test]
fn a_list_is_json_where_that_is_wanted() {
    let operator = Operator::new();
    operator.ok("user create alice --admin");
    operator.ok("user create bob");
    let lines = operator.ok("user list --json");
    let users: Vec<serde_json::Value> = lines.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!((&users[0]["name"], &users[0]["role"]), (&"alice".into(), &"admin".into()));
    assert_eq!((&users[1]["name"], &users[1]["state"]), (&"bob".into(), &"active".into()));
}

#[test]
fn namespaces_have_owners_and_members() {
    let operator = Operator::new();
    for name in ["alice", "bob", "carol"] {
        operator.ok(&format!("user create {name}"));
    }
    operator.ok("namespace claim team alice");
    assert!(operator.refused("namespace claim team bob").contains("claimed already"));
    operator.ok("namespace member set team bob writer");
    operator.ok("namespace member set team carol reader");
    operator.ok("namespace member set team carol owner");
    let members = operator.ok("namespace member list team");
    assert_eq!((row(&members, "bob")[1], row(&members, "carol")[1]), ("writer", "owner"));

    operator.ok("namespace member remove team carol");
    assert!(operator.refused("namespace member remove team carol").contains("no member"));
    assert!(operator.refused("namespace member remove team alice").contains("hand it over first"));
    operator.ok("namespace transfer team bob");
    operator.ok("namespace default-visibility team internal");
    assert_eq!(row(&operator.ok("namespace list"), "team")[1..3], ["bob", "internal"]);
    let shown = operator.ok("namespace show team");
    assert!(shown.contains("owner: bob\n") && row(&shown, "alice")[1] == "owner", "{shown}");
    operator.ok("namespace default-visibility team");
    assert!(operator.ok("namespace show team").contains("default visibility: the registry's\n"));

    for arguments in ["show nobodys", "transfer nobodys bob", "member set nobodys bob reader", "member list nobodys"] {
        let complaint = operator.refused(&format!("namespace {arguments}"));
        assert!(complaint.contains("nobodys") || complaint.contains("no such namespace"), "{arguments}: {complaint}");
    }
}

#[test]
fn tokens_are_made_listed_and_revoked() {
    let operator = Operator::new();
    operator.ok("user create alice");
    operator.ok("namespace claim team alice");
    let robot = operator.ok(
        "token create --namespace team --name ci --scope repository:team/app:pull,push --scope namespace:team:pull \
         --expires-in-days 30",
    );
    assert!(robot.contains("username: team+ci\npassword: drob_"), "{robot}");
    let personal = operator.ok("token create --user alice --name laptop --scope *");
    assert!(personal.contains("username: alice\npassword: dpat_"), "{personal}");

    let id = robot.lines().next().unwrap().strip_prefix("token ").unwrap();
    let robots = operator.ok("token list --namespace team");
    assert_eq!(row(&robots, id)[1..5], ["robot", "ci", "repository:team/app:pull,push", "namespace:team:pull"]);
    assert!(!robots.contains("drob_"));
    assert!(
        operator.refused("token create --namespace team --name ci --scope namespace:team:pull").contains("that name")
    );
    for outside in ["*", "namespace:alice:pull", "repository:alice/app:pull"] {
        let complaint = operator.refused(&format!("token create --namespace team --name cd --scope {outside}"));
        assert!(complaint.contains("outside"), "{complaint}");
    }
    let long = "x".repeat(65);
    assert!(operator.refused(&format!("token create --user alice --name {long} --scope *")).contains("64 characters"));
    operator.ok(&format!("token revoke {id}"));
    assert!(operator.refused(&format!("token revoke {id}")).contains("there is no token"));
    assert!(row(&operator.ok("token list --namespace team"), id).is_empty());
    assert_eq!(operator.ok("token list --user alice").lines().count(), 2);
}

#[test]
fn what_an_operator_does_is_in_the_audit_log() {
    let operator = Operator::new();
    operator.ok("user create alice --admin");
    operator.ok("user disable alice");
    let log = operator.ok("audit export");
    let entries: Vec<serde_json::Value> = log.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert!(entries.len() >= 2 && entries.iter().all(|entry| entry["actor"] == "system"), "{log}");
    assert!(entries.iter().all(|entry| entry["target"] == "user:alice"), "{log}");
    let later = operator.ok(&format!("audit export --after {}", entries[0]["id"]));
    assert_eq!(later.lines().count(), entries.len() - 1);
}

#[test]
fn a_store_is_paired_with_its_database() {
    let operator = Operator::new();
    operator.ok("user create alice");
    let first = operator.ok("store pair");
    assert!(first.starts_with("blobs and sqlite:db/registry.db belong together as "), "{first}");
    assert_eq!(operator.ok("store pair"), first);
}

/// The first admin from the environment, a log that keeps secrets, and an end
/// with exit code 0 after SIGTERM.
#[test]
fn a_server_starts_from_its_environment_and_ends_when_told() {
    let home = tempfile::tempdir().unwrap();
    fs::write(home.path().join(".env"), "OCI_REGISTRY_LOG_FORMAT=json\nRUST_LOG=debug\n").unwrap();
    let secrets = ["OCI_REGISTRY_ADMIN_PASSWORD", "JWT_SECRET", "OCI_REGISTRY_JWT_PREVIOUS_SECRET", "PASSWORD_SALT"];
    let mut server = Command::new(env!("CARGO_BIN_EXE_distribution"))
        .args(["--root", "blobs", "--port", "0"])
        .env_clear()
        .envs(secrets.map(|name| (name, "hush-hush-hush-h")))
        .env("OCI_REGISTRY_ADMIN_USERNAME", "root")
        .current_dir(home.path())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut log = BufReader::new(server.stdout.take().unwrap());
    let mut seen = String::new();
    while !seen.contains("listening") {
        assert_ne!(log.read_line(&mut seen).unwrap(), 0, "it ended: {seen}");
    }

    assert!(Command::new("kill").args(["-TERM", &server.id().to_string()]).status().unwrap().success());
    log.read_to_string(&mut seen).unwrap();

    assert_eq!(server.wait().unwrap().code(), Some(0), "{seen}");
    assert!(seen.contains("JWT_SECRET has 16 bytes") && !seen.contains("hush"), "{seen}");
    assert!(seen.lines().all(|line| serde_json::from_str::<serde_json::Value>(line).is_ok()), "{seen}");
    let operator = Operator { home };
    assert_eq!(row(&operator.ok("user list"), "root")[1..3], ["admin", "active"]);
}

#[test]
fn what_makes_no_sense_is_exit_code_2() {
    let operator = Operator::new();
    for arguments in [
        "user create Alice",
        "user create",
        "namespace member set team bob boss",
        "repository visibility team/app secret",
        "token list",
        "token list --user alice --namespace team",
        "token create --user alice --name x --scope everything",
    ] {
        let output = operator.run_with(arguments, "");
        assert_eq!(output.status.code(), Some(2), "{arguments}: {}", text(&output.stderr));
    }
}
