//! Virtual users: loops that run side by side, each with the state it keeps between units.

use std::{
    cell::RefCell,
    rc::Rc,
    sync::Arc,
    time::{Duration, Instant},
};

use anyhow::{Error, Result};
use rustls::ClientConfig;

use crate::{
    arguments::{Protocol, Work},
    hello, http1, http2,
    pace::Pace,
    plan::{Host, Plan},
    refusal,
    tally::{Seen, Tally, Terms},
    tls::{self, Stream},
};

/// The wait after a failed connect, so that the retries leave the server time to recover.
pub(crate) const PAUSE: Duration = Duration::from_millis(10);

/// The state that the virtual users of a thread share during one period.
#[derive(Debug)]
pub(crate) struct Period {
    pub(crate) plan: Arc<Plan>,
    pub(crate) pace: Pace,
    pub(crate) tally: RefCell<Tally>,
}

/// A client that repeats one unit of work.
#[derive(Debug)]
pub(crate) enum VirtualUser {
    /// Requests on a connection of its own.
    Http1(Option<Box<http1::Connection>>),
    /// Requests on a connection that several users share.
    Http2(Rc<http2::Shared>),
    /// A connection for each unit, with this configuration.
    Handshake(Arc<ClientConfig>),
    /// Only a hello for each unit.
    Hello,
}

impl VirtualUser {
    /// The virtual users of this number of connections.
    pub(crate) fn all(plan: &Plan, connections: usize) -> Vec<Self> {
        (0..connections).flat_map(|_| Self::of_connection(plan)).collect()
    }

    fn of_connection(plan: &Plan) -> Vec<Self> {
        match (plan.work, plan.protocol) {
            (Work::Refused | Work::Flood | Work::Tunnel | Work::FrameFlood, _) => vec![Self::Hello],
            (Work::FullHandshake | Work::RefusedClient, _) => {
                vec![Self::Handshake(Arc::clone(&plan.config))]
            }
            // Each user has its own tickets.
            (Work::ResumedHandshake, _) => {
                vec![Self::Handshake(tls::resuming(&plan.config, plan.hosts().len()))]
            }
            (Work::KeepAlive | Work::Hold, Protocol::Http1) => vec![Self::Http1(None)],
            (work, Protocol::Http2) => {
                let shared = Rc::<http2::Shared>::default();
                let streams = if work == Work::Hold { 1 } else { plan.streams };
                (0..streams).map(|_| Self::Http2(Rc::clone(&shared))).collect()
            }
        }
    }

    /// Prepares what the first counted unit needs.
    pub(crate) async fn prepare(&mut self, period: &Period) -> Result<()> {
        match period.plan.work {
            Work::KeepAlive => match self.connect(period).await {
                Err(error) if !period.plan.tolerate => Err(error),
                // Otherwise the first unit reports the failure.
                _ => Ok(()),
            },
            // The connection must have served a request.
            Work::Hold => self.one(period).await,
            Work::ResumedHandshake => self.get_tickets(period).await,
            Work::FullHandshake
            | Work::Refused
            | Work::RefusedClient
            | Work::Flood
            | Work::Tunnel
            | Work::FrameFlood => Ok(()),
        }
    }

    /// Repeats units until the period ends or a failure is not tolerated.
    pub(crate) async fn run(&mut self, period: &Period) -> Result<()> {
        while let Some(due) = period.pace.next().await? {
            let outcome = self.unit(period).await;
            period.record(due, outcome)?;
        }
        Ok(())
    }

    /// Makes another exchange on the prepared connection. If the preparation failed, that failure
    /// was counted then.
    pub(crate) async fn prove(&mut self, period: &Period) -> Result<()> {
        let due = Instant::now();
        let expected = &period.plan.expected;
        let outcome = match self {
            Self::Http1(Some(connection)) => connection.exchange(expected).await,
            Self::Http2(shared) => match shared.held().await {
                Some(mut connection) => connection.verified(expected).await,
                None => return Ok(()),
            },
            _ => return Ok(()),
        };
        period.record(due, outcome)
    }

    /// Runs one unit that is due now.
    async fn one(&mut self, period: &Period) -> Result<()> {
        let due = Instant::now();
        let outcome = self.unit(period).await;
        period.record(due, outcome)
    }

    async fn get_tickets(&mut self, period: &Period) -> Result<()> {
        let Self::Handshake(config) = self else { return Ok(()) };
        for host in period.plan.hosts() {
            if let Err(error) = handshake(period, config, host).await {
                period.failed(error)?;
            }
        }
        Ok(())
    }

    async fn unit(&mut self, period: &Period) -> Result<Seen> {
        let plan = &period.plan;
        match self {
            Self::Http1(place) => kept(period, place).await,
            Self::Http2(shared) => shared.exchange(period).await,
            Self::Handshake(_) if plan.work == Work::RefusedClient => {
                Ok(Seen::Refused(refusal::of_client(period).await?))
            }
            Self::Handshake(config) => handshake(period, config, plan.host()?).await,
            Self::Hello if plan.work == Work::Flood => Ok(Seen::Answer(hello::flood(plan).await?)),
            Self::Hello => Ok(Seen::Answer(hello::be_refused(plan).await?)),
        }
    }

    async fn connect(&mut self, period: &Period) -> Result<()> {
        match self {
            Self::Http1(place) => {
                let plan = &period.plan;
                *place = Some(http1_connection(period, &plan.config, plan.host()?).await?);
            }
            Self::Http2(shared) => {
                shared.connection(period).await?;
            }
            Self::Handshake(_) | Self::Hello => {}
        }
        Ok(())
    }
}

impl Period {
    /// Opens a connection and counts its handshake.
    pub(crate) async fn connect(
        &self,
        host: &Host,
        config: &Arc<ClientConfig>,
    ) -> Result<(Stream, Terms)> {
        let connected = tls::connect(self.plan.address, &host.name, config).await;
        match &connected {
            Ok((_, terms)) => self.tally.borrow_mut().handshake(*terms),
            Err(_) => tokio::time::sleep(PAUSE).await,
        }
        connected
    }

    /// An error that is not tolerated ends the run.
    fn record(&self, due: Instant, outcome: Result<Seen>) -> Result<()> {
        match outcome {
            Ok(seen) => self.tally.borrow_mut().unit(due.elapsed(), seen),
            Err(error) => self.failed(error)?,
        }
        Ok(())
    }

    /// Counts a failure, or ends the run with it.
    pub(crate) fn failed(&self, error: Error) -> Result<()> {
        if !self.plan.tolerate {
            return Err(error);
        }
        self.tally.borrow_mut().error(&error);
        Ok(())
    }
}

async fn http1_connection(
    period: &Period,
    config: &Arc<ClientConfig>,
    host: &Host,
) -> Result<Box<http1::Connection>> {
    let (stream, terms) = period.connect(host, config).await?;
    Ok(Box::new(http1::Connection::new(stream, terms, host)?))
}

/// Makes an exchange on the kept connection, or on a new one if it ended between two units.
async fn kept(period: &Period, place: &mut Option<Box<http1::Connection>>) -> Result<Seen> {
    let plan = &period.plan;
    if let Some(connection) = place
        && !connection.is_open().await
    {
        *place = None;
    }
    let connection = match place {
        Some(connection) => connection,
        None => place.insert(http1_connection(period, &plan.config, plan.host()?).await?),
    };
    let seen = connection.exchange(&plan.expected).await;
    if seen.is_err() {
        *place = None;
    }
    seen
}

async fn handshake(period: &Period, config: &Arc<ClientConfig>, host: &Host) -> Result<Seen> {
    let expected = &period.plan.expected;
    if period.plan.protocol == Protocol::Http2 {
        let (stream, terms) = period.connect(host, config).await?;
        let mut connection = http2::Connection::new(stream, terms, host).await?;
        return connection.verified(expected).await;
    }
    let mut connection = http1_connection(period, config, host).await?;
    let seen = connection.exchange(expected).await?;
    connection.close().await;
    Ok(seen)
}
