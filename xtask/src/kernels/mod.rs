//! `cargo xtask kernels`: tests of what depends on the kernel, on the kernels of the Debian releases
//! that users run. Each boots in qemu with an initramfs that contains the proxy and the tests.
//!
//! The verifiers of two kernels differ, and so do their TCP stacks: what passes on the kernel of this
//! machine says nothing about others.

mod archive;
mod debian;
mod guest;
mod machine;

use std::{fs, path::Path, thread};

use anyhow::{Result, bail, ensure};

use self::{
    debian::{Kernel, RELEASES, Release},
    guest::Guest,
};
use crate::{
    command::{cargo, is_root, run, target},
    packages,
};

/// Options of `cargo xtask kernels`.
#[derive(Debug, clap::Args)]
pub(crate) struct Options {
    /// Boot the kernel of this Debian release alone: `bookworm` or `trixie`.
    #[arg(long)]
    release: Option<String>,
    /// Run the tests whose names contain this text alone.
    #[arg(long, value_name = "TEXT")]
    test: Option<String>,
}

/// A program of tests, and the tests of it that run on each kernel.
struct Tests {
    program: &'static str,
    /// Parts of the tests' names.
    named: &'static [&'static str],
    /// Parts of the names of tests that do not run: they take long where each instruction is
    /// emulated, and the kernel makes no difference to them.
    except: &'static [&'static str],
}

const TESTS: [Tests; 4] = [
    // Root loads both programs, and they steer. Before Linux 6.10, a SYN into TIME_WAIT gets a
    // cookie too.
    Tests {
        program: "steering_programs",
        named: &["catcher::", "hellos::", "refusals::an_unknown_name"],
        except: &["steering_time", "much_data"],
    },
    // The verifier's work.
    Tests { program: "steering_parser", named: &["verifier"], except: &[] },
    // The proxy in kernel mode: the three capabilities alone, mutual TLS, unknown names, and what
    // the SYN catcher leaves of clients' options.
    Tests {
        program: "steering_kernel",
        named: &[
            "modes::",
            "placement::mutual_tls",
            "refusals::an_unknown_name_is_reset",
            "held::without_descriptors",
            "catcher::clients_keep_their_options",
        ],
        except: &[],
    },
    // A connection that is reset sends no FIN, which depends on `connect` with AF_UNSPEC.
    Tests { program: "bodies", named: &["an_http10_client_sees_that"], except: &[] },
];

/// Runs the tests on the kernel of this machine, which must be Linux too, and then on the others.
pub(crate) fn run_with(options: &Options) -> Result<()> {
    let releases: Vec<&Release> = RELEASES
        .iter()
        .filter(|release| options.release.as_ref().is_none_or(|wanted| wanted == release.codename))
        .collect();
    ensure!(!releases.is_empty(), "the releases are bookworm and trixie");
    ensure!(is_root(), "the tests on the kernel of this machine need root");
    packages::ensure(packages::KERNELS)?;
    run(&mut cargo("build --package portcullis"))?;
    println!("\n==> this machine's kernel");
    // They also make the certificates that the guests use.
    for tests in &TESTS {
        run(&mut tests.here(options))?;
    }
    let directory = target().join("kernels");
    fs::create_dir_all(&directory)?;
    let guest = Guest::prepare(&TESTS, options.test.as_deref())?;
    let kernels = releases
        .into_iter()
        .map(|release| Ok((release, release.kernel(&directory)?)))
        .collect::<Result<Vec<_>>>()?;
    let booted = boot_all(&kernels, &guest, &directory);
    let mut failed = Vec::new();
    for ((release, kernel), booted) in kernels.iter().zip(booted) {
        match booted {
            Ok(passed) => println!("<== Linux {}: {passed} tests passed", kernel.version),
            Err(error) => {
                println!("<== Linux {}: {error:#}", kernel.version);
                failed.push(release.title);
            }
        }
    }
    if failed.is_empty() { Ok(()) } else { bail!("failed: {}", failed.join(", ")) }
}

/// Boots all kernels at once: each guest keeps one core busy for some minutes.
fn boot_all(kernels: &[(&Release, Kernel)], guest: &Guest, directory: &Path) -> Vec<Result<u64>> {
    thread::scope(|scope| {
        let guests: Vec<_> = kernels
            .iter()
            .map(|(release, kernel)| {
                println!("\n==> {}: Linux {}", release.title, kernel.version);
                scope.spawn(|| machine::boot(release.codename, kernel, guest, directory))
            })
            .collect();
        let joined = guests.into_iter().map(thread::ScopedJoinHandle::join);
        joined.map(|guest| guest.unwrap_or_else(|_| bail!("the guest's thread crashed"))).collect()
    })
}

impl Tests {
    /// The command that runs them on this machine.
    fn here(&self, options: &Options) -> std::process::Command {
        let mut test = cargo("test --package portcullis-tests --test");
        test.args([self.program, "--"]).args(self.arguments(options.test.as_deref()));
        test
    }

    /// The arguments of the program.
    fn arguments(&self, wanted: Option<&str>) -> Vec<String> {
        let named = self.named.iter().map(|name| (*name).to_owned());
        let named: Vec<_> = match wanted {
            Some(wanted) => vec![wanted.to_owned()],
            None => named.collect(),
        };
        let except = self.except.iter().flat_map(|name| ["--skip".to_owned(), (*name).to_owned()]);
        named.into_iter().chain(except).collect()
    }
}
