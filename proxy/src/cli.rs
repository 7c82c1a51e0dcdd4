//! The command line.
#![expect(clippy::print_stdout, reason = "all commands but `run` write to standard output")]

mod process_orders;
mod sessions;
pub(crate) mod status;

use std::{
    net::SocketAddr,
    path::{Path, PathBuf},
    process::ExitCode,
};

use clap::{CommandFactory, Parser, Subcommand, ValueHint};
use clap_complete::Shell;
use process_orders::ProcessArguments;
use serde::Serialize;
use sessions::Sessions;

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
    /// Make a running proxy load its configuration again; fail with the reason if it is rejected.
    Reload(ProcessArguments),
    /// Make a running proxy start its program again, which may be another version by now, and leave its
    /// place to the new process; fail with the reason if that is not ready.
    Upgrade(ProcessArguments),
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

impl Arguments {
    /// Runs the command.
    pub fn run(self) -> ExitCode {
        match self.command {
            Command::Run(run) => run.run(),
            Command::Check(file) => check(&file.config),
            Command::Status(status) => status.run(),
            Command::Reload(process) => process.reload(),
            Command::Upgrade(process) => process.upgrade(),
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
        let loaded = config::load(&self.file.config, &Environment::of_process())
            .map_err(|failure| failure.to_string())?;
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
    eprintln!("portcullis: {message}");
    ExitCode::FAILURE
}

fn plural(n: usize) -> &'static str {
    if n == 1 { "" } else { "s" }
}
