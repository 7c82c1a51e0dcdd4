//! The command line.
#![expect(clippy::print_stdout, reason = "all commands but `run` write to standard output")]

mod check;
mod config_file;
mod sessions;
mod spelling;
pub(crate) mod status;

use std::{env, net::SocketAddr, path::PathBuf, process::ExitCode};

use clap::{CommandFactory, Parser, Subcommand, ValueHint};
use clap_complete::Shell;
use serde::Serialize;

use crate::{
    app::{self, RunningProcess},
    config::{self, Diagnostics},
};
use check::Check;
use config_file::{ConfigArgument, ConfigFile};
use sessions::Sessions;

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
    /// Drain a worker: other workers get its new connections, and it keeps the connections it has.
    Drain(Drain),
    /// End sessions of users.
    Sessions(Sessions),
    /// Print completions for a shell.
    Completions {
        /// The shell.
        shell: Shell,
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

#[derive(Debug, clap::Args)]
struct Status {
    #[command(flatten)]
    admin: AdminAddress,
    /// Show which worker gets the connections for this host, and why.
    #[arg(long)]
    host: Option<String>,
    /// Print JSON.
    #[arg(long)]
    json: bool,
}

#[derive(Debug, clap::Args)]
struct Drain {
    #[command(flatten)]
    admin: AdminAddress,
    /// The worker's number.
    #[arg(long)]
    worker: u32,
    /// Use the worker again.
    #[arg(long)]
    undo: bool,
}

#[derive(Debug, clap::Args)]
struct AdminAddress {
    /// The configuration file, which has the administrative address.
    #[command(flatten)]
    file: ConfigFile,
    /// The administrative address, if it is not the configuration's.
    #[arg(long)]
    address: Option<SocketAddr>,
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
            Command::Drain(drain) => drain.run(),
            Command::Sessions(sessions) => sessions.run(),
            Command::Completions { shell } => {
                let mut command = Arguments::command();
                clap_complete::generate(shell, &mut command, "portcullis", &mut std::io::stdout());
                ExitCode::SUCCESS
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

impl Status {
    fn run(&self) -> ExitCode {
        let address = match self.admin.resolve() {
            Ok(address) => address,
            Err(problem) => return fail(&problem),
        };
        let shown = match &self.host {
            None => status::fetch(address).map(|view| self.show(&view, status::render)),
            Some(host) => {
                status::fetch_host(address, host).map(|view| self.show(&view, status::render_host))
            }
        };
        shown.unwrap_or_else(|error| {
            fail(&format!("cannot read the status from {address}: {error}"))
        })
    }

    fn show<T: Serialize>(&self, view: &T, render: impl Fn(&T) -> String) -> ExitCode {
        if !self.json {
            return print(&render(view));
        }
        match serde_json::to_string_pretty(view) {
            Ok(json) => print(&(json + "\n")),
            Err(error) => fail(&error.to_string()),
        }
    }
}

impl Drain {
    fn run(&self) -> ExitCode {
        match self.order() {
            Ok(()) if self.undo => {
                print(&format!("worker {} takes new connections again\n", self.worker))
            }
            Ok(()) => print(&format!("worker {} takes no new connections\n", self.worker)),
            Err(problem) => fail(&problem),
        }
    }
}

impl Drain {
    fn order(&self) -> Result<(), String> {
        let process = self.admin.process()?;
        process.drain_worker(self.worker, !self.undo).map_err(|error| not_ordered(&process, &error))
    }
}

impl AdminAddress {
    fn resolve(&self) -> Result<SocketAddr, String> {
        if let Some(address) = self.address {
            return Ok(address);
        }
        let loaded = self.file.load().map_err(|failure| failure.to_string())?;
        loaded.config.admin.address.ok_or_else(|| {
            "portcullis.admin_address is off in this configuration; set it, or use --address"
                .to_owned()
        })
    }

    /// The process that serves there, for orders: the status names it and its socket. Orders go over
    /// that, since anybody on this machine can reach the administrative address.
    fn process(&self) -> Result<RunningProcess, String> {
        let running = status::fetch(self.resolve()?).map_err(|error| error.to_string())?;
        let Some(socket) = running.control_socket else {
            return Err("the running process has no socket for orders: set RUNTIME_DIRECTORY or \
                XDG_RUNTIME_DIR for it"
                .to_owned());
        };
        Ok(RunningProcess { id: running.pid, socket: socket.into() })
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
