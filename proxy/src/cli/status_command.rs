//! The arguments of `portcullis status`, and what it does with them.

use std::{
    io::{self, IsTerminal as _, Write as _},
    process::ExitCode,
    thread,
    time::Duration,
};

use clap::ValueEnum;
use serde::Serialize;

use super::{
    admin_address::AdminAddress,
    fail,
    status::{self, FetchError},
};

#[derive(Debug, clap::Args)]
pub(super) struct Status {
    #[command(flatten)]
    admin: AdminAddress,
    /// Show which worker gets the connections for this host, and why.
    #[arg(long)]
    host: Option<String>,
    /// The form of the output.
    #[arg(long, value_enum, default_value_t = StatusFormat::Text)]
    format: StatusFormat,
    /// The same as `--format json`.
    #[arg(long, hide = true)]
    json: bool,
    /// Show it again every 2 seconds, or every so many, until Ctrl-C or until the process has ended. In
    /// JSON, each state is a line.
    #[arg(
        long,
        value_name = "SECONDS",
        num_args = 0..=1,
        require_equals = true,
        default_missing_value = "2",
        value_parser = clap::value_parser!(u64).range(1..=3600)
    )]
    watch: Option<u64>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum StatusFormat {
    /// Tables.
    Text,
    /// One object.
    Json,
}

/// Moves to the upper left corner of a terminal, and clears what is below.
const CLEAR: &str = "\x1b[H\x1b[J";

impl Status {
    pub(super) fn run(&self) -> ExitCode {
        let shown = match self.watch {
            None => self.page().map(|page| write(&page)),
            Some(seconds) => self.watch(Duration::from_secs(seconds)),
        };
        match shown {
            Ok(Ok(())) => ExitCode::SUCCESS,
            // Whoever read it has read enough.
            Ok(Err(error)) if error.kind() == io::ErrorKind::BrokenPipe => ExitCode::SUCCESS,
            Ok(Err(error)) => fail(&format!("cannot write the status: {error}")),
            Err(error) => fail(&format!("cannot read the status: {error}")),
        }
    }

    /// Ends when the process that answered no longer does.
    fn watch(&self, pause: Duration) -> Result<io::Result<()>, FetchError> {
        let mut page = self.page()?;
        loop {
            let clear = if io::stdout().is_terminal() { CLEAR } else { "" };
            if let Err(error) = write(&format!("{clear}{page}")) {
                return Ok(Err(error));
            }
            thread::sleep(pause);
            page = match self.page() {
                Ok(page) if clear.is_empty() && !self.is_json() => format!("\n{page}"),
                Ok(page) => page,
                Err(FetchError::Connect(address, _)) => {
                    eprintln!("portcullis: nothing answers at {address} any more");
                    return Ok(Ok(()));
                }
                Err(error) => return Err(error),
            };
        }
    }

    fn page(&self) -> Result<String, FetchError> {
        match &self.host {
            None => self.admin.ask(status::fetch).map(|view| self.shown(&view, status::render)),
            Some(host) => {
                let view = self.admin.ask(|address| status::fetch_host(address, host))?;
                Ok(self.shown(&view, status::render_host))
            }
        }
    }

    fn shown<T: Serialize>(&self, view: &T, render: impl Fn(&T) -> String) -> String {
        let json = match (self.is_json(), self.watch) {
            (false, _) => return render(view),
            (true, None) => serde_json::to_string_pretty(view),
            (true, Some(_)) => serde_json::to_string(view),
        };
        // Nothing in it can fail: no map has keys that are no texts.
        json.unwrap_or_default() + "\n"
    }

    fn is_json(&self) -> bool {
        self.json || self.format == StatusFormat::Json
    }
}

fn write(page: &str) -> io::Result<()> {
    let mut out = io::stdout().lock();
    out.write_all(page.as_bytes())?;
    out.flush()
}
