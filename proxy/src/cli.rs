//! The command line.
#![expect(clippy::print_stdout, reason = "the commands other than `run` answer on standard output")]

pub(crate) mod status;

use std::{
    net::SocketAddr,
    path::{Path, PathBuf},
    process::ExitCode,
};

use clap::{CommandFactory, Parser, Subcommand, ValueHint};
use clap_complete::Shell;
use serde::Serialize;
use status::FetchError;

use crate::{
    app,
    config::{self, Environment},
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
    /// Serve until SIGTERM or SIGINT; SIGHUP reads the configuration again.
    Run(Run),
    /// Read the configuration and every file it names, report all that is wrong, and exit.
    Check(ConfigFile),
    /// Show workers, routes, certificates and upstream connections of a running proxy.
    Status(Status),
    /// Take a worker out: new connections go to the others, and what it has it keeps.
    Drain(Drain),
    /// Print a shell's completions.
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
    /// Take the place of this process, which serves at the same addresses: serve beside it, and
    /// tell it to finish what it has once this one is ready.
    #[arg(long, value_name = "PID")]
    replace: Option<u32>,
}

#[derive(Debug, clap::Args)]
struct Status {
    #[command(flatten)]
    admin: AdminAddress,
    /// Show where connections for this host go instead, and why.
    #[arg(long)]
    host: Option<String>,
    /// Print it as JSON.
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
    /// Take it in again.
    #[arg(long)]
    undo: bool,
}

#[derive(Debug, clap::Args)]
struct AdminAddress {
    /// The configuration that names the administrative address.
    #[command(flatten)]
    file: ConfigFile,
    /// The administrative address, instead of the configuration's.
    #[arg(long)]
    address: Option<SocketAddr>,
}

impl Arguments {
    /// Does what is asked for.
    pub fn run(self) -> ExitCode {
        match self.command {
            Command::Run(run) => run.run(),
            Command::Check(file) => check(&file.config),
            Command::Status(status) => status.run(),
            Command::Drain(drain) => drain.run(),
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
        Err(failure) => fail(&failure.to_string()),
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
        shown.unwrap_or_else(|error| fail(&format!("no status from {address}: {error}")))
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
        let ordered = self.admin.resolve().and_then(|address| {
            let ordered = status::order_drain(address, self.worker, !self.undo);
            ordered.map_err(|error: FetchError| error.to_string())
        });
        match ordered {
            Ok(()) if self.undo => print(&format!("worker {} is in use\n", self.worker)),
            Ok(()) => print(&format!("worker {} takes no more connections\n", self.worker)),
            Err(problem) => fail(&problem),
        }
    }
}

impl AdminAddress {
    fn resolve(&self) -> Result<SocketAddr, String> {
        if let Some(address) = self.address {
            return Ok(address);
        }
        let loaded = config::load(&self.file.config, &Environment::of_process())
            .map_err(|failure| failure.to_string())?;
        loaded
            .config
            .admin
            .address
            .ok_or_else(|| "the configuration switches portcullis.admin_address off".to_owned())
    }
}

fn fail(message: &str) -> ExitCode {
    eprintln!("portcullis: {message}");
    ExitCode::FAILURE
}

fn plural(n: usize) -> &'static str {
    if n == 1 { "" } else { "s" }
}
