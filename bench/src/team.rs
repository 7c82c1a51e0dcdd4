//! The threads, each with its own runtime and virtual users.

use std::{
    cell::RefCell,
    num::NonZeroUsize,
    rc::Rc,
    sync::{Arc, mpsc},
    thread,
    time::Duration,
};

use anyhow::{Result, anyhow};
use tokio::{
    runtime::Builder,
    sync::Semaphore,
    task::{JoinSet, LocalSet},
    time::timeout,
};

use crate::{
    arguments::Work,
    pace::Pace,
    plan::Plan,
    schedule::Schedule,
    tally::Tally,
    virtual_user::{Period, VirtualUser},
};

/// The time that units may take beyond the end of a period. Late units of an open loop get the
/// length of the period in addition.
const GRACE: Duration = Duration::from_secs(30);
/// The limit for preparing the connections of a work: thousands of handshakes by a slow server.
const PREPARATION: Duration = Duration::from_secs(300);
/// The number of connections made at the same time, lower than any server's backlog.
const AT_ONCE: usize = 32;

/// An order to the threads.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Order {
    /// Prepare what must exist before the first counted unit.
    Prepare,
    /// Run units for this time.
    Run(Duration),
}

/// The threads.
#[derive(Debug)]
pub(crate) struct Team {
    plan: Arc<Plan>,
    members: Vec<Member>,
}

#[derive(Debug)]
struct Member {
    orders: mpsc::Sender<Order>,
    results: mpsc::Receiver<Result<Tally>>,
}

/// The state of one thread.
struct Crew {
    plan: Arc<Plan>,
    thread: usize,
    users: Vec<VirtualUser>,
}

impl Team {
    /// Starts this number of threads, which share the connections.
    pub(crate) fn start(plan: &Arc<Plan>, threads: NonZeroUsize) -> Result<Self> {
        let members = (0..threads.get()).map(|thread| Member::start(Arc::clone(plan), thread));
        Ok(Self { plan: Arc::clone(plan), members: members.collect::<Result<_>>()? })
    }

    /// Gives all threads the order, and returns when all are done.
    pub(crate) fn order(&mut self, order: Order) -> Result<Tally> {
        self.plan.units.set(self.plan.max_units);
        for member in &self.members {
            member.orders.send(order)?;
        }
        let mut sum = Tally::new();
        for member in &self.members {
            sum.add(member.results.recv().map_err(|_| anyhow!("a thread panicked"))??);
        }
        Ok(sum)
    }
}

impl Member {
    fn start(plan: Arc<Plan>, thread: usize) -> Result<Self> {
        let (orders, receiver) = mpsc::channel();
        let (sender, results) = mpsc::channel();
        let runtime = Builder::new_current_thread().enable_all().build()?;
        thread::Builder::new().spawn(move || {
            let tasks = LocalSet::new();
            let mut crew = Crew::new(plan, thread);
            while let Ok(order) = receiver.recv() {
                let result = tasks.block_on(&runtime, crew.obey(order));
                if sender.send(result).is_err() {
                    break;
                }
            }
        })?;
        Ok(Self { orders, results })
    }
}

impl Crew {
    fn new(plan: Arc<Plan>, thread: usize) -> Self {
        let mut crew = Self { plan, thread, users: Vec::new() };
        crew.users = VirtualUser::all(&crew.plan, crew.connections());
        crew
    }

    async fn obey(&mut self, order: Order) -> Result<Tally> {
        let period = Rc::new(self.period(order)?);
        let permits = Rc::new(Semaphore::new(self.width(order)));
        let mut tasks = JoinSet::new();
        for user in self.users.drain(..) {
            tasks.spawn_local(obey(user, order, Rc::clone(&period), Rc::clone(&permits)));
        }
        let limit = self.limit(order);
        match timeout(limit, gather(&mut tasks, &mut self.users)).await {
            Ok(gathered) => gathered?,
            Err(_) => {
                for _ in 0..tasks.len() {
                    period.failed(anyhow!("no result within {limit:?}"))?;
                }
                self.users = VirtualUser::all(&self.plan, self.connections());
            }
        }
        Ok(period.tally.replace(Tally::new()))
    }

    fn period(&self, order: Order) -> Result<Period> {
        let plan = &self.plan;
        let time = match order {
            Order::Prepare => Duration::ZERO,
            Order::Run(time) => time,
        };
        let schedule = plan.rate.map(|rate| Schedule::new(rate, self.thread, plan.threads));
        let pace = Pace::new(time, Arc::clone(&plan.units), schedule)?;
        Ok(Period { plan: Arc::clone(plan), pace, tally: RefCell::new(Tally::new()) })
    }

    /// The number of users that may run at the same time.
    fn width(&self, order: Order) -> usize {
        match (order, self.plan.work) {
            (Order::Prepare, _) | (_, Work::Hold) => AT_ONCE,
            _ => Semaphore::MAX_PERMITS,
        }
    }

    fn limit(&self, order: Order) -> Duration {
        match order {
            Order::Prepare => PREPARATION,
            Order::Run(time) if self.plan.rate.is_some() => time.saturating_mul(2) + GRACE,
            Order::Run(_) if self.plan.work == Work::Hold => PREPARATION,
            Order::Run(time) => time + GRACE,
        }
    }

    /// This thread's share of the connections.
    fn connections(&self) -> usize {
        let Plan { connections, threads, .. } = *self.plan;
        connections / threads + usize::from(self.thread < connections % threads)
    }
}

async fn obey(
    mut user: VirtualUser,
    order: Order,
    period: Rc<Period>,
    permits: Rc<Semaphore>,
) -> Result<VirtualUser> {
    let _permit = permits.acquire().await?;
    match order {
        Order::Prepare => user.prepare(&period).await?,
        Order::Run(_) if period.plan.work == Work::Hold => user.prove(&period).await?,
        Order::Run(_) => user.run(&period).await?,
    }
    Ok(user)
}

async fn gather(
    tasks: &mut JoinSet<Result<VirtualUser>>,
    users: &mut Vec<VirtualUser>,
) -> Result<()> {
    while let Some(user) = tasks.join_next().await {
        users.push(user??);
    }
    Ok(())
}
