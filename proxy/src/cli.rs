//! The command line.
#![expect(clippy::print_stdout, reason = "all commands but `run` write to standard output")]

mod admin_address;
mod drain;
mod sessions;
pub(crate) mod status;
mod status_command;

use std::{
    path::{Path, PathBuf},
    process::ExitCode,
};

use clap::{CommandFactory, Parser, Subcommand, ValueHint};
use clap_complete::Shell;
use drain::Drain;
use sessions::Sessions;
use status_command::Status;

use crate::{
    app::{self, RunningProcess},
    config::{self, Diagnostic, Environment, Severity},
};

/// Identity-aware TLS edge proxy: mutual TLS on both sides, configured like Pomerium.
#[derive(Debug, Parser)]
#[command(name = "portcullis", version)]
pub struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Serve until SIGTERM or SIGINT, which drain; the second of them exits at once. SIGHUP reloads
    /// the configuration.
    Run(Run),
    /// Read the configuration and the files that it names, report every mistake, and exit.
    Check(ConfigFile),
    /// Show workers, routes, certificates and upstream connections of a running proxy.
    Status(Status),
    /// Drain a worker: other workers get its new connections, and it keeps the connections it has.
    Drain(Drain),
    /// End sessions of users.
    Sessions(Sessions),
    /// Print completions for a shell.
    Completions {
        /// The shell.
        shell: Shell,
    },
    /// Print the reference of all configuration keys, as Markdown.
    #[command(hide = true)]
    Reference,
    /// Print the reference of all metrics, as Markdown.
    #[command(hide = true)]
    MetricsReference,
}

#[derive(Debug, clap::Args)]
struct ConfigFile {
    /// The configuration file.
    #[arg(long, default_value = "/etc/portcullis/config.yaml", value_hint = ValueHint::FilePath)]
    config: PathBuf,
}

#[derive(Debug, clap::Args)]
struct Run {
    #[command(flatten)]
    file: ConfigFile,
    /// Replace this process, which serves at the same addresses: serve beside it, and tell it to
    /// drain and exit once the new process is ready.
    #[arg(long, value_name = "PID")]
    replace: Option<u32>,
}

impl ConfigFile {
    fn path(&self) -> &Path {
        &self.config
    }
}

impl Arguments {
    /// Runs the command.
    pub fn run(self) -> ExitCode {
        match self.command {
            Command::Run(run) => run.run(),
            Command::Check(file) => check(&file.config),
            Command::Status(status) => status.run(),
            Command::Drain(drain) => drain.run(),
            Command::Sessions(sessions) => sessions.run(),
            Command::Completions { shell } => {
                let mut command = Arguments::command();
                clap_complete::generate(shell, &mut command, "portcullis", &mut std::io::stdout());
                ExitCode::SUCCESS
            }
            Command::Reference => print(&config::reference()),
            Command::MetricsReference => print(&crate::observe::metrics_reference()),
        }
    }
}

fn print(text: &str) -> ExitCode {
    print!("{text}");
    ExitCode::SUCCESS
}

fn check(path: &Path) -> ExitCode {
    match config::load(path, &Environment::of_process()) {
        Ok(loaded) => {
            for warning in &loaded.warnings {
                println!("{warning}");
            }
            let routes = loaded.config.routes.len();
            println!("{}: valid, {routes} route{}", path.display(), plural(routes));
            ExitCode::SUCCESS
        }
        Err(failure) => {
            let is_warning = |finding: &&Diagnostic| finding.severity == Severity::Warning;
            for warning in failure.findings.iter().filter(is_warning) {
                println!("{warning}");
            }
            fail(&failure.to_string())
        }
    }
}

impl Run {
    fn run(&self) -> ExitCode {
        match app::run(&self.file.config, self.replace) {
            Ok(()) => ExitCode::SUCCESS,
            Err(error) => fail(&format!("{error:#}")),
        }
    }
}

fn not_ordered(process: &RunningProcess, error: &anyhow::Error) -> String {
    format!("cannot order process {}: {error:#}", process.id)
}

fn fail(message: &str) -> ExitCode {
    eprintln!("portcullis: {message}");
    ExitCode::FAILURE
}

fn plural(n: usize) -> &'static str {
    if n == 1 { "" } else { "s" }
}
