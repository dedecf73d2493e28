//! Keeps the tables of README.md and docs/commands.md equal to the tables of this crate.
//!
//! `UPDATE_DOCS=1 cargo test -p anomaly-core docs` writes them anew.

use std::fmt::Write as _;
use std::path::Path;

use super::{COMMANDS, Spec};
use crate::setting::Setting;

fn every_spec() -> Vec<(Option<&'static str>, &'static Spec)> {
    let subs = |spec: &'static Spec| {
        spec.subcommands
            .iter()
            .map(move |sub| (Some(spec.name), sub))
    };
    COMMANDS
        .iter()
        .flat_map(|spec| {
            if spec.subcommands.is_empty() {
                vec![(None, spec)]
            } else {
                subs(spec).collect()
            }
        })
        .collect()
}

fn cell(text: &str) -> String {
    text.replace('|', "\\|")
}

fn commands() -> String {
    let mut out = String::from("| command | what it does |\n|---|---|\n");
    for (parent, spec) in every_spec() {
        writeln!(
            out,
            "| `{}` | {} |",
            cell(&spec.syntax(parent)),
            cell(spec.summary)
        )
        .unwrap();
    }
    out
}

fn settings() -> String {
    let mut out = String::from("| setting | default | takes | meaning |\n|---|---|---|---|\n");
    for spec in Setting::ALL.iter().map(|setting| setting.spec()) {
        let default = if spec.default.is_empty() {
            "\"\""
        } else {
            spec.default
        };
        let (takes, meaning) = (cell(&spec.domain.expected()), cell(spec.meaning));
        writeln!(
            out,
            "| `{}` | `{default}` | {takes} | {meaning} |",
            spec.name
        )
        .unwrap();
    }
    out
}

fn reference() -> String {
    let mut out = String::from(
        "# Commands\n\nMade from the command table in `src/core/command`; do not edit.\n",
    );
    for (parent, spec) in every_spec() {
        let rights = spec.categories().replace(' ', " @");
        write!(
            out,
            "\n## {}\n\n    {}\n\n{}.\n\n* Reply: {}.\n* Complexity: {}.\n* ACL categories: `@anomaly` `@{rights}`. Since {}.\n",
            spec.syntax(parent).split_whitespace().take(1 + usize::from(parent.is_some())).collect::<Vec<_>>().join(" "),
            spec.syntax(parent),
            spec.summary,
            spec.reply,
            spec.complexity,
            spec.since
        )
        .unwrap();
    }
    out.push_str("\n## Settings of a rule\n\n");
    out + &settings()
}

/// The file with the text between `<!-- name -->` and `<!-- /name -->` replaced.
fn with_section(file: &str, name: &str, text: &str) -> String {
    let (open, close) = (format!("<!-- {name} -->\n"), format!("<!-- /{name} -->"));
    let (before, rest) = file
        .split_once(&open)
        .unwrap_or_else(|| panic!("{open} is missing"));
    let (_, after) = rest
        .split_once(&close)
        .unwrap_or_else(|| panic!("{close} is missing"));
    format!("{before}{open}{text}{close}{after}")
}

fn check(path: &str, made: impl FnOnce(&str) -> String) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../..")
        .join(path);
    let file = std::fs::read_to_string(&path).unwrap_or_default();
    let made = made(&file);
    if std::env::var_os("UPDATE_DOCS").is_some() {
        std::fs::write(&path, &made).unwrap();
    }
    assert!(
        std::fs::read_to_string(&path).unwrap_or_default() == made,
        "{} is out of date: UPDATE_DOCS=1 cargo test -p anomaly-core docs",
        path.display()
    );
}

#[test]
fn the_readme_shows_the_commands_and_settings_there_are() {
    check("README.md", |file| {
        with_section(
            &with_section(file, "commands", &commands()),
            "settings",
            &settings(),
        )
    });
}

#[test]
fn the_reference_of_commands_is_made_from_their_table() {
    check("docs/commands.md", |_| reference());
}
