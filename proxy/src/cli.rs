//! The command line.
#![expect(clippy::print_stdout, reason = "all commands but `run` write to standard output")]

mod admin_address;
mod check;
mod config_file;
mod drain;
mod explain;
mod health;
mod log;
mod process_orders;
mod sessions;
mod spelling;
pub(crate) mod status;
mod status_command;

use std::{env, path::PathBuf, process::ExitCode};

use clap::{CommandFactory, Parser, Subcommand, ValueHint};
use clap_complete::Shell;

use crate::{
    app::{self, RunningProcess},
    config::{self, Diagnostics},
};
use check::Check;
use config_file::{ConfigArgument, ConfigFile};
use drain::Drain;
use health::Health;
use process_orders::ProcessArguments;
use sessions::Sessions;
use status_command::Status;

/// Identity-aware TLS edge proxy: mutual TLS on both sides, configured like Pomerium.
#[derive(Debug, Parser)]
#[command(name = "portcullis", version, arg_required_else_help = true)]
struct Arguments {
    /// The configuration file, before a command or behind it. Without a command, `run` is meant.
    #[arg(short, long, global = true, value_name = "FILE", value_hint = ValueHint::FilePath)]
    config: Option<PathBuf>,
    #[command(subcommand)]
    command: Option<Command>,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Serve until SIGTERM or SIGINT, which drain; the second of them exits at once. SIGHUP reloads
    /// the configuration.
    Run(Run),
    /// Read the configuration and the files that it names, report every mistake, and exit.
    #[command(visible_alias = "validate")]
    Check(Check),
    /// Show workers, routes, certificates and upstream connections of a running proxy.
    Status(Status),
    /// Exit with 0 if a running proxy is ready, with 1 if it is not.
    Health(Health),
    /// Make a running proxy load its configuration again; fail with the reason if it is rejected.
    Reload(ProcessArguments),
    /// Make a running proxy start its program again, which may be another version by now, and leave its
    /// place to the new process; fail with the reason if that is not ready.
    Upgrade(ProcessArguments),
    /// Drain a worker: other workers get its new connections, and it keeps the connections it has.
    Drain(Drain),
    /// End sessions of users.
    Sessions(Sessions),
    /// Show the level of a running proxy's log, or set another one for a while.
    Log(log::LogCommand),
    /// Say what the configuration makes of a request, and why. Needs no running proxy.
    Explain(Box<explain::Explain>),
    /// Print completions for a shell.
    Completions {
        /// The shell.
        shell: Shell,
    },
    /// Write the manual pages of all commands into a directory.
    #[command(hide = true)]
    Manual {
        /// The directory, which must exist.
        directory: PathBuf,
    },
    /// Print the version.
    Version,
    /// Print the reference of all configuration keys, as Markdown.
    #[command(hide = true)]
    Reference,
    /// Print the reference of all metrics, as Markdown.
    #[command(hide = true)]
    MetricsReference,
}

#[derive(Debug, clap::Args)]
struct Run {
    #[command(flatten)]
    file: ConfigArgument,
    /// Replace this process, which serves at the same addresses: serve beside it, and tell it to
    /// drain and exit once the new process is ready.
    #[arg(long, value_name = "PID")]
    replace: Option<u32>,
}

/// Runs the command that the arguments of this process name.
pub fn run_command() -> ExitCode {
    let arguments: Vec<_> = env::args_os().map(spelling::with_two_dashes).collect();
    match Arguments::try_parse_from(&arguments) {
        Ok(arguments) => arguments.run(),
        Err(error) => spelling::explain(error, arguments.get(1).and_then(|word| word.to_str())),
    }
}

impl Arguments {
    fn run(self) -> ExitCode {
        match self.command.unwrap_or_else(|| Command::run(self.config)) {
            Command::Run(run) => run.run(),
            Command::Check(check) => check.run(),
            Command::Status(status) => status.run(),
            Command::Health(health) => health.run(),
            Command::Reload(process) => process.reload(),
            Command::Upgrade(process) => process.upgrade(),
            Command::Drain(drain) => drain.run(),
            Command::Sessions(sessions) => sessions.run(),
            Command::Log(log) => log.run(),
            Command::Explain(explain) => explain.run(),
            Command::Completions { shell } => {
                let mut command = Arguments::command();
                clap_complete::generate(shell, &mut command, "portcullis", &mut std::io::stdout());
                ExitCode::SUCCESS
            }
            Command::Manual { directory } => {
                match clap_mangen::generate_to(Arguments::command(), directory) {
                    Ok(()) => ExitCode::SUCCESS,
                    Err(error) => fail(&error.to_string()),
                }
            }
            Command::Version => print(concat!("portcullis ", env!("CARGO_PKG_VERSION"), "\n")),
            Command::Reference => print(&config::reference()),
            Command::MetricsReference => print(&crate::observe::metrics_reference()),
        }
    }
}

fn print(text: &str) -> ExitCode {
    print!("{text}");
    ExitCode::SUCCESS
}

impl Command {
    /// What is meant where no command is given, as with Pomerium: run.
    fn run(config: Option<PathBuf>) -> Command {
        let file = config.map(ConfigArgument::named).unwrap_or_default();
        Command::Run(Run { file, replace: None })
    }
}

impl Run {
    fn run(&self) -> ExitCode {
        let Err(error) = app::run(&self.file.file().location(), self.replace) else {
            return ExitCode::SUCCESS;
        };
        match error.downcast::<Diagnostics>() {
            Ok(refused) => {
                check::print_findings(&refused.findings);
                ExitCode::FAILURE
            }
            Err(error) => fail(&format!("{error:#}")),
        }
    }
}

fn not_ordered(process: &RunningProcess, error: &anyhow::Error) -> String {
    format!("cannot order process {}: {error:#}", process.id)
}

fn fail(message: &str) -> ExitCode {
    eprintln!("portcullis: error: {message}");
    ExitCode::FAILURE
}

fn plural(n: usize) -> &'static str {
    if n == 1 { "" } else { "s" }
}
