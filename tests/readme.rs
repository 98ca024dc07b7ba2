//! README.md says what is: its tables are those that the program itself would write.

#![expect(clippy::unwrap_used, reason = "what this test cannot read or start, it cannot judge: it fails")]

use std::process::Command;

use distribution::config::settings;

const README: &str = include_str!("../README.md");

/// What stands between `<!-- name -->` and `<!-- /name -->`.
fn block(name: &str) -> &str {
    let (_, rest) = README.split_once(&format!("<!-- {name} -->\n")).unwrap();
    rest.split_once(&format!("<!-- /{name} -->")).unwrap().0
}

fn assert_block(name: &str, wanted: &str) {
    assert!(block(name) == wanted, "README.md, between <!-- {name} --> and <!-- /{name} -->, wants to be:\n{wanted}");
}

/// What the binary says to these arguments.
fn said(arguments: &[&str]) -> String {
    let output = Command::new(env!("CARGO_BIN_EXE_distribution")).args(arguments).output().unwrap();
    assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

#[test]
fn the_table_of_endpoints_is_the_table_of_the_api() {
    assert_block("routes", &said(&["routes", "--markdown"]));
}

#[test]
fn the_table_of_settings_is_the_configuration() {
    let mut wanted = "| flag | variable | default | |\n|---|---|---|---|\n".to_owned();
    for setting in settings::ALL {
        let flag = setting.flag.as_ref().map_or(String::new(), |flag| {
            let short = flag.short.map_or(String::new(), |short| format!("`-{short}`, "));
            format!("{short}`--{}`", flag.long)
        });
        let help = setting.help.replace('|', "\\|");
        wanted += &format!("| {flag} | `{}` | {} | {help} |\n", setting.variable, setting.default_text());
    }
    assert_block("configuration", &wanted);
}

#[test]
fn the_list_of_commands_is_that_of_the_help() {
    let help = said(&["--help"]);
    let (_, rest) = help.split_once("Commands:\n").unwrap();
    let mut wanted = String::new();
    for line in rest.lines().take_while(|line| !line.is_empty()) {
        let (command, about) = line.trim().split_once("  ").unwrap();
        if command != "help" {
            wanted += &format!("- `distribution {command}`: {}\n", about.trim());
        }
    }
    assert_block("commands", &wanted);
}
