//! `portcullis check`: what is wrong with a configuration, for people and for programs.

use std::{
    env,
    ffi::OsString,
    io::{self, Write as _},
    os::unix::process::CommandExt as _,
    process::{Command, ExitCode},
};

use clap::ValueEnum;

use super::{config_file::ConfigArgument, fail, plural, print};
use crate::{
    accounts::Account,
    config::{Diagnostic, Diagnostics, Loaded},
};

#[derive(Debug, clap::Args)]
#[command(after_help = "Exit codes: 0 if the configuration is valid, 1 if it has an error (with \
    --strict, or a warning), 2 if the command line is not valid.")]
pub(super) struct Check {
    #[command(flatten)]
    file: ConfigArgument,
    /// Fail if there is a warning, too.
    #[arg(long)]
    strict: bool,
    /// How findings are written: as lines of text on standard error, or as JSON on standard output,
    /// one object a line with `file`, `line`, `key`, `severity`, `message` and `hint`.
    #[arg(long, value_enum, default_value_t = Format::Text)]
    format: Format,
    /// Check as this user, who can read fewer files than root: the one that the service runs as. Its
    /// groups beside its own, such as `ssl-cert`, do not count here.
    #[arg(long, value_name = "NAME")]
    user: Option<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Format {
    Text,
    Json,
}

/// What a check found.
struct Outcome {
    findings: Vec<Diagnostic>,
    /// The number of routes of a valid configuration.
    routes: Option<usize>,
}

impl Check {
    pub(super) fn run(&self) -> ExitCode {
        if let Some(name) = &self.user {
            return as_user(name);
        }
        let file = self.file.file();
        let outcome = match file.load() {
            Ok(Loaded { config, warnings }) => {
                Outcome { findings: warnings, routes: Some(config.routes.len()) }
            }
            Err(Diagnostics { findings, .. }) => Outcome { findings, routes: None },
        };
        let is_good = outcome.routes.is_some() && (!self.strict || outcome.findings.is_empty());
        let path = file.path();
        match self.format {
            Format::Json => outcome.print_json(),
            Format::Text => outcome.print_text(&path.display().to_string(), is_good),
        }
        if is_good { ExitCode::SUCCESS } else { ExitCode::FAILURE }
    }
}

impl Outcome {
    fn print_json(&self) {
        let mut lines = String::new();
        for finding in &self.findings {
            // Texts and a number always have a form in JSON.
            if let Ok(line) = serde_json::to_string(finding) {
                lines.push_str(&line);
                lines.push('\n');
            }
        }
        print(&lines);
    }

    fn print_text(&self, path: &str, is_good: bool) {
        print_findings(&self.findings);
        let summary = self.summary();
        if is_good {
            print(&format!("{path}: valid, {summary}\n"));
        } else {
            eprintln!("{path}: {summary}");
        }
    }

    /// `2 routes, 1 warning`, or `3 errors, 1 warning`.
    fn summary(&self) -> String {
        let errors = self.findings.iter().filter(|finding| finding.is_error()).count();
        let warnings = self.findings.len() - errors;
        let counted = |number: usize, what: &str| format!("{number} {what}{}", plural(number));
        let first = match self.routes {
            Some(routes) => counted(routes, "route"),
            None => counted(errors, "error"),
        };
        match warnings {
            0 => first,
            _ => format!("{first}, {}", counted(warnings, "warning")),
        }
    }
}

/// Writes one line for each finding to standard error, in the order of the file.
pub(super) fn print_findings(findings: &[Diagnostic]) {
    let mut out = io::stderr().lock();
    for finding in findings {
        // Nobody is there to be told of a reader that has gone.
        let _ = writeln!(out, "{finding}");
    }
}

/// Runs the same command as another user.
fn as_user(name: &str) -> ExitCode {
    let Some(account) = Account::of_name(name) else {
        return fail(&format!("/etc/passwd has no user {name}"));
    };
    let mut command = Command::new("/proc/self/exe");
    command.args(without_user(env::args_os().skip(1))).uid(account.uid).gid(account.gid);
    let error = command.exec();
    fail(&format!("cannot check as user {name}: {error}"))
}

/// The arguments but for `--user NAME`.
fn without_user(arguments: impl Iterator<Item = OsString>) -> Vec<OsString> {
    let mut kept = Vec::new();
    let mut arguments = arguments;
    while let Some(argument) = arguments.next() {
        if argument == "--user" {
            arguments.next();
        } else if !argument.as_encoded_bytes().starts_with(b"--user=") {
            kept.push(argument);
        }
    }
    kept
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_user_is_left_out_in_both_spellings() {
        let left = |text: &str| without_user(text.split(' ').map(OsString::from));
        for text in ["check --user web -c x", "check --user=web -c x", "check -c x --user web"] {
            assert_eq!(left(text), ["check", "-c", "x"], "{text}");
        }
    }
}
