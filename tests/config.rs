//! The configuration as a person meets it: the real binary, its help, its
//! complaints and its exit codes (design: configuration).

#![expect(clippy::unwrap_used, reason = "a test that is surprised should say so and stop")]

use std::fs;
use std::path::Path;
use std::process::{Command, Output};

/// The binary in a directory of its own, with these variables and no others.
fn distribution(directory: &Path, arguments: &[&str], environment: &[(&str, &str)]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_distribution"))
        .args(arguments)
        .env_clear()
        .envs(environment.iter().copied())
        .current_dir(directory)
        .output()
        .unwrap()
}

fn stdout(output: &Output) -> &str {
    std::str::from_utf8(&output.stdout).unwrap()
}

fn stderr(output: &Output) -> &str {
    std::str::from_utf8(&output.stderr).unwrap()
}

/// The value and the origin that `config check` shows for a variable.
fn shown<'a>(output: &'a Output, variable: &str) -> (&'a str, &'a str) {
    let line = stdout(output).lines().find(|line| line.split(' ').next() == Some(variable));
    let (value, origin) = line.unwrap()[variable.len()..].trim().rsplit_once("  ").unwrap();
    (value.trim(), origin)
}

#[test]
fn help_shows_flags_variables_and_defaults() {
    let home = tempfile::tempdir().unwrap();
    let output = distribution(home.path(), &["--help"], &[]);
    assert!(output.status.success());
    let help = stdout(&output);
    for (flag, variable, default) in [
        ("--host <ADDRESS>", "OCI_REGISTRY_URL", "127.0.0.1"),
        ("-p, --port <PORT>", "OCI_REGISTRY_PORT", "8968"),
        ("-s, --storage <BACKEND>", "OCI_REGISTRY_STORAGE", "FILESYSTEM"),
        ("--root <DIRECTORY>", "OCI_REGISTRY_ROOTDIR", "/var/lib/registry"),
        ("--url <URL>", "OCI_REGISTRY_PUBLIC_URL", "http://127.0.0.1:8968"),
        ("--database-url <URL>", "DATABASE_URL", "sqlite:db/registry.db"),
        ("PASSWORD_SALT=", "PASSWORD_SALT", "none"),
        ("JWT_SECRET=", "JWT_SECRET", "generated once and kept in the database"),
        ("JWT_LIFETIME_SECONDS=", "JWT_LIFETIME_SECONDS", "3600"),
        ("RUST_LOG=", "RUST_LOG", "info"),
        ("OCI_REGISTRY_DEFAULT_VISIBILITY=", "OCI_REGISTRY_DEFAULT_VISIBILITY", "private"),
        ("OCI_REGISTRY_LOG_FORMAT=", "OCI_REGISTRY_LOG_FORMAT", "text"),
        ("OCI_REGISTRY_TRUSTED_PROXIES=", "OCI_REGISTRY_TRUSTED_PROXIES", "none"),
        ("OCI_REGISTRY_SPARSE_MANIFESTS=", "OCI_REGISTRY_SPARSE_MANIFESTS", "refuse"),
    ] {
        let (_, rest) = help.split_once(flag).unwrap_or_else(|| panic!("no {flag} in {help}"));
        let (_, rest) = rest.split_once(&format!("[env: {variable}")).unwrap();
        let default = format!("[default: {default}]");
        assert!(rest.find(&default).unwrap() < 40, "{default} does not follow {variable}");
    }
}

#[test]
fn help_shows_no_secret() {
    let home = tempfile::tempdir().unwrap();
    let secrets = [
        ("DATABASE_URL", "postgres://registry:hush@db/registry"),
        ("PASSWORD_SALT", "hushhushhushhush"),
        ("JWT_SECRET", "hush"),
        ("OCI_REGISTRY_ADMIN_PASSWORD", "hush"),
    ];
    for help in ["--help", "-h"] {
        assert!(!stdout(&distribution(home.path(), &[help], &secrets)).contains("hush"));
    }
}

#[test]
fn all_problems_are_reported_at_once() {
    let home = tempfile::tempdir().unwrap();
    fs::write(home.path().join(".env"), "JWT_LIFETIME_SECONDS=59\nhush hush\n").unwrap();
    fs::write(home.path().join("file"), "").unwrap();
    let environment = [
        ("PASSWORD_SALT", "hush"),
        ("JWT_SECRET", ""),
        ("OCI_REGISTRY_PUBLIC_URL", "registry.example.com"),
        ("OCI_REGISTRY_DEFAULT_VISIBILITY", "secret"),
        ("DATABASE_URL", "mysql://registry:hush@db/registry"),
    ];
    let arguments = ["--port", "eighty", "--storage", "S3", "--root", "file/below"];

    for subcommand in [&["config", "check"][..], &[]] {
        let output = distribution(home.path(), &[subcommand, &arguments].concat(), &environment);

        assert_eq!(output.status.code(), Some(2));
        assert_eq!(stdout(&output), "");
        let complaint = stderr(&output);
        assert!(complaint.contains("10 problems"), "{complaint}");
        for subject in [
            "PASSWORD_SALT:",
            "JWT_SECRET:",
            "OCI_REGISTRY_PUBLIC_URL:",
            "OCI_REGISTRY_DEFAULT_VISIBILITY:",
            "DATABASE_URL:",
            "JWT_LIFETIME_SECONDS in .env:",
            ".env:",
            "--port (OCI_REGISTRY_PORT):",
            "--storage (OCI_REGISTRY_STORAGE):",
            "--root (OCI_REGISTRY_ROOTDIR):",
        ] {
            let (_, problem) =
                complaint.split_once(&format!("  {subject}")).unwrap_or_else(|| panic!("no {subject} in {complaint}"));
            assert!(problem.lines().nth(1).unwrap().trim().starts_with("Fix: "), "{problem}");
        }
        assert!(!complaint.contains("hush"), "{complaint}");
    }
}

#[test]
fn a_command_line_that_makes_no_sense_is_exit_code_2() {
    let home = tempfile::tempdir().unwrap();
    for arguments in [&["--prot", "80"][..], &["serv"], &["config"], &["routes", "extra"]] {
        assert_eq!(distribution(home.path(), arguments, &[]).status.code(), Some(2), "{arguments:?}");
    }
}

#[test]
fn a_check_shows_what_holds_and_changes_nothing() {
    let home = tempfile::tempdir().unwrap();
    fs::write(home.path().join(".env"), "OCI_REGISTRY_PORT=1\nRUST_LOG=debug\nJWT_SECRET=hush\n").unwrap();
    let environment = [("OCI_REGISTRY_PORT", "2"), ("DATABASE_URL", "sqlite:new/registry.db")];

    let output = distribution(home.path(), &["config", "check", "--root", "blobs", "-p", "3"], &environment);

    assert!(output.status.success(), "{}", stderr(&output));
    assert_eq!(shown(&output, "OCI_REGISTRY_PORT"), ("3", "command line"));
    assert_eq!(shown(&output, "OCI_REGISTRY_ROOTDIR"), ("blobs", "command line"));
    assert_eq!(shown(&output, "DATABASE_URL"), ("sqlite:new/registry.db", "environment"));
    assert_eq!(shown(&output, "RUST_LOG"), ("debug", ".env"));
    assert_eq!(shown(&output, "JWT_SECRET"), ("set, not shown", ".env"));
    assert_eq!(shown(&output, "OCI_REGISTRY_URL"), ("127.0.0.1", "default"));
    assert!(stderr(&output).contains("JWT_SECRET has 4 bytes") && !stderr(&output).contains("hush"));
    assert_eq!(fs::read_dir(home.path()).unwrap().count(), 1);
}

#[test]
fn the_example_is_a_configuration() {
    let home = tempfile::tempdir().unwrap();
    let example = include_str!("../.env.example");
    let settings = example.lines().filter_map(|line| line.strip_prefix('#')).filter(|line| !line.starts_with(' '));
    let settings: Vec<_> = settings.filter(|line| line.contains('=')).collect();
    fs::write(home.path().join(".env"), settings.join("\n")).unwrap();

    let output = distribution(home.path(), &["config", "check"], &[]);

    assert!(output.status.success(), "{}", stderr(&output));
    assert_eq!(stdout(&output).matches("  .env\n").count(), settings.len());
}

#[test]
fn the_routes_are_listed_for_people_and_for_the_readme() {
    let home = tempfile::tempdir().unwrap();
    let text = distribution(home.path(), &["routes"], &[]);
    let markdown = distribution(home.path(), &["routes", "--markdown"], &[]);
    assert!(stdout(&text).starts_with("ID "));
    let ping = "| end-1 | GET, HEAD | `/v2/` | identity | ";
    assert!(stdout(&markdown).lines().any(|line| line.starts_with(ping)), "{}", stdout(&markdown));
    assert_eq!(stdout(&text).lines().count() + 1, stdout(&markdown).lines().count());
}
