//! Puts load on a TLS server, verifies every response, and counts what the load cost the server and
//! the client.
#![expect(clippy::print_stdout, clippy::print_stderr, reason = "this is its output")]

mod arguments;
mod body;
mod cpu;
mod frame_flood;
mod hello;
mod http1;
mod http2;
mod pace;
mod plan;
mod process;
mod refusal;
mod report;
mod response;
mod schedule;
mod tally;
mod team;
mod timer;
mod tls;
mod tunnel;
mod virtual_user;

use std::{
    io::Read as _,
    process::ExitCode,
    sync::Arc,
    time::{Duration, Instant},
};

use anyhow::Result;
use clap::Parser as _;

use crate::{
    arguments::{Arguments, Work},
    cpu::Meter,
    plan::Plan,
    report::Report,
    tally::Tally,
    team::{Order, Team},
};

fn main() -> ExitCode {
    match generate(&Arguments::parse()) {
        Ok(report) => {
            println!("{report}");
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("{error:#}");
            ExitCode::FAILURE
        }
    }
}

fn generate(arguments: &Arguments) -> Result<String> {
    process::pin(&arguments.cpu)?;
    process::allow_many_sockets();
    let plan = Arc::new(Plan::new(arguments)?);
    if let (Work::Tunnel, Some(upstream)) = (arguments.work, arguments.tunnel) {
        tunnel::run(&plan, upstream)?;
    }
    if arguments.work == Work::FrameFlood {
        return Ok(serde_json::to_string(&frame_flood::run(&plan)?)?);
    }
    let mut team = Team::start(&plan, arguments.threads)?;
    let report = match arguments.work {
        Work::Hold => hold(&mut team, &plan, arguments)?,
        _ => run(&mut team, &plan, arguments)?,
    };
    Ok(serde_json::to_string(&report)?)
}

fn run(team: &mut Team, plan: &Plan, arguments: &Arguments) -> Result<Report> {
    team.order(Order::Prepare)?;
    if arguments.warm_up_seconds > 0.0 {
        team.order(Order::Run(Duration::from_secs_f64(arguments.warm_up_seconds)))?;
    }
    // Between two orders all loops are idle: nothing is in flight when the count begins or ends.
    let meter = Meter::start(&arguments.pid)?;
    let begun = Instant::now();
    let tally = team.order(Order::Run(Duration::from_secs_f64(arguments.seconds)))?;
    Ok(Report::new(plan, &tally, begun.elapsed(), &meter.stop()))
}

/// The units are the connections that were still open at the end.
fn hold(team: &mut Team, plan: &Plan, arguments: &Arguments) -> Result<Report> {
    let meter = Meter::start(&arguments.pid)?;
    let begun = Instant::now();
    let opened = team.order(Order::Prepare)?;
    println!("{}", serde_json::json!({ "held": opened.units }));
    std::io::stdin().read_to_end(&mut Vec::new())?;
    let mut tally =
        Tally { handshakes: opened.handshakes, resumed: opened.resumed, ..Tally::new() };
    tally.errors = opened.errors;
    tally.first_error = opened.first_error;
    tally.add(team.order(Order::Run(Duration::ZERO))?);
    Ok(Report::new(plan, &tally, begun.elapsed(), &meter.stop()))
}
