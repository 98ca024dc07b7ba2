//! Flags, environment and `.env`: what they set, and how mistakes are told.

use std::collections::BTreeMap;
use std::path::Path;

use crate::harness::{Output, TestRegistry, distribution};

fn serve(directory: &Path, environment: &[(&str, &str)], arguments: &[&str]) -> Output {
    let environment: BTreeMap<_, _> = environment.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect();
    distribution(directory, &environment, arguments, "")
}

/// The whole configuration is checked before anything starts, every problem is told with its name, and 2 is the exit code.
#[test]
fn every_problem_is_told_at_once() {
    let directory = tempfile::tempdir().unwrap();
    let output = serve(
        directory.path(),
        &[
            ("OCI_REGISTRY_PORT", "eighty"),
            ("OCI_REGISTRY_STORAGE", "TAPE"),
            ("OCI_REGISTRY_PUBLIC_URL", "not a url"),
            ("DATABASE_URL", "mysql://user:hunter2@localhost/registry"),
            ("PASSWORD_SALT", "too-short-salt"),
            ("JWT_SECRET", ""),
            ("JWT_LIFETIME_SECONDS", "59"),
            ("OCI_REGISTRY_DEFAULT_VISIBILITY", "secret"),
            ("OCI_REGISTRY_LOG_FORMAT", "xml"),
            ("OCI_REGISTRY_TRUSTED_PROXIES", "10.0.0.0/99"),
            ("OCI_REGISTRY_SPARSE_MANIFESTS", "perhaps"),
        ],
        &[],
    );
    assert_eq!(output.code, Some(2), "{}", output.text());
    for name in [
        "OCI_REGISTRY_PORT",
        "OCI_REGISTRY_STORAGE",
        "OCI_REGISTRY_PUBLIC_URL",
        "DATABASE_URL",
        "PASSWORD_SALT",
        "JWT_SECRET",
        "JWT_LIFETIME_SECONDS",
        "OCI_REGISTRY_DEFAULT_VISIBILITY",
        "OCI_REGISTRY_LOG_FORMAT",
        "OCI_REGISTRY_TRUSTED_PROXIES",
        "OCI_REGISTRY_SPARSE_MANIFESTS",
    ] {
        assert!(output.stderr.contains(name), "{name} is not named:\n{}", output.text());
    }
    for secret in ["hunter2", "too-short-salt"] {
        assert!(!output.text().contains(secret), "{}", output.text());
    }
}

/// A flag that is wrong is told as a flag, together with the variables.
#[test]
fn a_wrong_flag_is_a_problem_like_any_other() {
    let directory = tempfile::tempdir().unwrap();
    let output = serve(directory.path(), &[("JWT_LIFETIME_SECONDS", "x")], &["--port", "99999"]);
    assert_eq!(output.code, Some(2), "{}", output.text());
    assert!(output.stderr.contains("port") && output.stderr.contains("JWT_LIFETIME_SECONDS"), "{}", output.text());
    let unknown = serve(directory.path(), &[], &["--no-such-flag"]);
    assert_eq!(unknown.code, Some(2), "{}", unknown.text());
}

/// `--help` shows every flag with its variable and default, and never a value from the environment.
#[test]
fn help_shows_variables_and_defaults_but_no_secret() {
    let directory = tempfile::tempdir().unwrap();
    let environment = [
        ("DATABASE_URL", "postgres://user:hunter2@localhost/registry"),
        ("JWT_SECRET", "the-secret-of-all-the-tokens"),
        ("PASSWORD_SALT", "0123456789abcdef"),
    ];
    let output = serve(directory.path(), &environment, &["--help"]).ok();
    for (flag, variable, default) in [
        ("--host", "OCI_REGISTRY_URL", "127.0.0.1"),
        ("--port", "OCI_REGISTRY_PORT", "8968"),
        ("--storage", "OCI_REGISTRY_STORAGE", "FILESYSTEM"),
        ("--root", "OCI_REGISTRY_ROOTDIR", "/var/lib/registry"),
        ("--url", "OCI_REGISTRY_PUBLIC_URL", "http://127.0.0.1:8968"),
        ("--database-url", "DATABASE_URL", "sqlite:db/registry.db"),
    ] {
        assert!(output.stdout.contains(flag), "{flag}:\n{}", output.stdout);
        assert!(output.stdout.contains(&format!("[env: {variable}")), "{variable}:\n{}", output.stdout);
        assert!(output.stdout.contains(&format!("[default: {default}]")), "{default}:\n{}", output.stdout);
    }
    for variable in ["PASSWORD_SALT", "JWT_SECRET", "JWT_LIFETIME_SECONDS", "OCI_REGISTRY_DEFAULT_VISIBILITY"] {
        assert!(output.stdout.contains(variable), "{variable}:\n{}", output.stdout);
    }
    for secret in ["hunter2", "the-secret-of-all", "0123456789abcdef"] {
        assert!(!output.text().contains(secret), "{}", output.text());
    }
    let short = serve(directory.path(), &[], &["-h"]).ok();
    assert!(short.stdout.contains("-p, --port"), "{}", short.stdout);
}

/// `distribution routes` lists the whole API.
#[test]
fn routes_are_listed() {
    let directory = tempfile::tempdir().unwrap();
    let output = serve(directory.path(), &[], &["routes"]).ok();
    for path in ["/v2/{repository}/manifests/{reference}", "/v2/_catalog", "/auth/token", "/api/v1/users", "/metrics"] {
        assert!(output.stdout.contains(path), "{path}:\n{}", output.stdout);
    }
    for id in [
        "end-1", "end-2", "end-3", "end-4a", "end-5", "end-6", "end-7a", "end-8a", "end-9", "end-10", "end-11",
        "end-12a", "end-13", "end-14",
    ] {
        assert!(output.stdout.contains(id), "{id}:\n{}", output.stdout);
    }
}

async fn is_public_by_default(registry: &TestRegistry) -> bool {
    let alice = registry.user("alice").await;
    let app = alice.repository("app");
    alice.push_blob(&app, b"x").await;
    registry.anonymous().log_in().await.get(&format!("/v2/{app}/tags/list")).await.status == 200
}

/// `.env` is read where the server starts, and the environment stands above it.
#[tokio::test]
async fn the_environment_stands_above_dot_env() {
    let registry = TestRegistry::with(|settings| {
        settings
            .file(".env", "# a comment\nOCI_REGISTRY_DEFAULT_VISIBILITY=public\nOCI_REGISTRY_LOG_FORMAT=\"json\"\n");
    })
    .await;
    assert!(is_public_by_default(&registry).await);
    assert!(registry.log().lines().all(|line| line.starts_with('{')), "{}", registry.log());
    let registry = TestRegistry::with(|settings| {
        settings.file(".env", "OCI_REGISTRY_DEFAULT_VISIBILITY=public\n");
        settings.set("OCI_REGISTRY_DEFAULT_VISIBILITY", "private");
    })
    .await;
    assert!(!is_public_by_default(&registry).await);
}

/// The command line stands above the environment.
#[tokio::test]
async fn the_command_line_stands_above_the_environment() {
    // The harness passes host, port and root as flags.
    let registry = TestRegistry::with(|settings| {
        settings
            .set("OCI_REGISTRY_PORT", "1")
            .set("OCI_REGISTRY_URL", "192.0.2.1")
            .set("OCI_REGISTRY_ROOTDIR", "/proc/nowhere");
    })
    .await;
    let alice = registry.user("alice").await;
    alice.push_blob(&alice.repository("app"), b"x").await;
    assert!(registry.root().is_dir());
}

/// A problem in `.env` is told like any other.
#[test]
fn a_problem_in_dot_env_is_told() {
    let directory = tempfile::tempdir().unwrap();
    std::fs::write(directory.path().join(".env"), "PASSWORD_SALT=short\nJWT_LIFETIME_SECONDS=1\n").unwrap();
    let output = serve(directory.path(), &[], &[]);
    assert_eq!(output.code, Some(2), "{}", output.text());
    assert!(
        output.stderr.contains("PASSWORD_SALT") && output.stderr.contains("JWT_LIFETIME_SECONDS"),
        "{}",
        output.text()
    );
}

/// Unset, the secret of the tokens is made once and kept: tokens survive a restart, and a warning says what to set.
#[tokio::test]
async fn a_generated_secret_is_kept() {
    let registry = TestRegistry::start().await;
    let alice = registry.user("alice").await;
    assert!(registry.log().contains("JWT_SECRET"), "{}", registry.log());
    registry.crash();
    alice.get("/v2/").await.is(200);
    alice.log_in().await.get("/v2/").await.is(200);
}

/// R-JWT-05, R-JWT-01: another secret ends the tokens that the old one signed, unless that is named as the previous one.
#[tokio::test]
async fn another_secret_ends_old_tokens_unless_the_old_one_is_named() {
    const FIRST: &str = "the first secret, which is long enough for us";
    const SECOND: &str = "the second secret, which is also long enough";
    let registry = TestRegistry::with(|settings| {
        settings.set("JWT_SECRET", FIRST);
    })
    .await;
    let alice = registry.user("alice").await;
    // Where replicas change one after the other, each first knows the new one as the previous one.
    registry.crash_with(|settings| {
        settings.set("JWT_SECRET", FIRST).set("OCI_REGISTRY_JWT_PREVIOUS_SECRET", SECOND);
    });
    alice.get("/v2/").await.is(200);
    registry.crash_with(|settings| {
        settings.set("JWT_SECRET", SECOND).set("OCI_REGISTRY_JWT_PREVIOUS_SECRET", FIRST);
    });
    alice.get("/v2/").await.is(200);
    let renewed = alice.log_in().await;
    registry.crash_with(|settings| {
        settings.set("JWT_SECRET", FIRST).set("OCI_REGISTRY_JWT_PREVIOUS_SECRET", SECOND);
    });
    renewed.get("/v2/").await.is(200);
    registry.crash_with(|settings| {
        settings.set("JWT_SECRET", SECOND);
    });
    alice.get("/v2/").await.is_error(401, "UNAUTHORIZED");
    renewed.get("/v2/").await.is(200);
}

/// The pepper is part of every password: with another one, none fits.
#[tokio::test]
async fn the_salt_is_part_of_every_password() {
    let registry = TestRegistry::with(|settings| {
        settings.set("PASSWORD_SALT", "0123456789abcdef");
    })
    .await;
    let alice = registry.user("alice").await;
    registry.crash();
    alice.log_in().await.get("/v2/").await.is(200);
    registry.crash_with(|settings| {
        settings.set("PASSWORD_SALT", "fedcba9876543210");
    });
    alice.with_basic().elsewhere().get("/auth/token").await.is_error(401, "UNAUTHORIZED");
}

/// A directory and a database that do not belong together refuse to start, and say what to do.
#[tokio::test]
async fn a_strange_database_is_not_served() {
    let registry = TestRegistry::start().await;
    let alice = registry.user("alice").await;
    alice.push_blob(&alice.repository("app"), b"x").await;
    let other = format!("sqlite:{}", registry.directory().join("other.db").display());
    let root = registry.root().display().to_string();
    let output = serve(registry.directory(), &[("DATABASE_URL", &other)], &["--root", &root, "--port", "0"]);
    assert!(output.code.is_some_and(|code| code != 0), "{}", output.text());
    assert!(output.text().contains("distribution "), "no way out is shown:\n{}", output.text());
    alice.get(&format!("/v2/{}/tags/list", alice.repository("app"))).await.is(200);
}
