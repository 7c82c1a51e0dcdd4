//! The command line as people type it who come from other programs.

use std::{ffi::OsString, process::ExitCode};

use clap::error::{ContextKind, ContextValue, ErrorKind};

/// Words of other programs, and what to type here.
const FOREIGN: [(&[&str], &str); 5] = [
    (&["-t", "-T", "test", "configtest"], "`portcullis check` checks the configuration"),
    (
        &["-s"],
        "a changed file is loaded by itself; `portcullis reload` loads it at once, and says what came of it",
    ),
    (
        &["stop", "quit", "restart"],
        "`systemctl stop portcullis`, or SIGTERM, drains and stops; `portcullis upgrade` \
         starts the next process",
    ),
    (&["start", "serve", "proxy"], "`portcullis run` starts the proxy"),
    (&["-v"], "`portcullis version`, or `--version`"),
];

/// Long options that Go's programs, such as Pomerium, take with one dash.
const LONG_WITH_ONE_DASH: [&str; 2] = ["-config", "-version"];

/// Puts a second dash before options that Go's programs take with one.
pub(super) fn with_two_dashes(argument: OsString) -> OsString {
    let Some(text) = argument.to_str() else { return argument };
    let name = text.split_once('=').map_or(text, |(name, _)| name);
    match LONG_WITH_ONE_DASH.contains(&name) {
        true => format!("-{text}").into(),
        false => argument,
    }
}

/// Prints why the command line is not valid, or the help that was asked for. `first` is the first
/// argument.
pub(super) fn explain(mut error: clap::Error, first: Option<&str>) -> ExitCode {
    let is_unknown =
        matches!(error.kind(), ErrorKind::InvalidSubcommand | ErrorKind::UnknownArgument);
    if let Some(tip) = first.and_then(tip).filter(|_| is_unknown) {
        let tip = ContextValue::StyledStrs(vec![tip.into()]);
        for guess in [ContextKind::SuggestedSubcommand, ContextKind::SuggestedArg] {
            error.remove(guess);
        }
        error.insert(ContextKind::Suggested, tip);
    }
    // Nobody is there to be told of a reader that has gone.
    let _ = error.print();
    ExitCode::from(u8::try_from(error.exit_code()).unwrap_or(2))
}

fn tip(word: &str) -> Option<&'static str> {
    FOREIGN.iter().find(|(words, _)| words.contains(&word)).map(|(_, tip)| *tip)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn options_of_go_get_their_second_dash() {
        for (typed, expected) in [
            ("-config", "--config"),
            ("-config=x.yaml", "--config=x.yaml"),
            ("-version", "--version"),
            ("--config", "--config"),
            ("-c", "-c"),
            ("-configs", "-configs"),
            ("config", "config"),
        ] {
            assert_eq!(with_two_dashes(typed.into()), expected);
        }
    }
}
