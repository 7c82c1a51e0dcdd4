//! The two kernel programs: loads and attaches them, and accesses the maps that they share with us.

mod error;
mod names;
mod sockets;

use std::{
    fmt, fs,
    os::fd::{AsFd, AsRawFd, BorrowedFd},
    sync::Arc,
    time::Duration,
};

use aya::{
    Ebpf, EbpfLoader,
    maps::{Array, Map, MapData, MapError, PerCpuArray},
    programs::{Program, ProgramError, SkReuseport, SocketFilter},
};
use portcullis_abi::{Home, NameKey, SteeringSettings, Verdict};
use rustix::thread::{CapabilitySet, capabilities};

pub(crate) use self::error::KernelError;
use self::{names::NameMap, sockets::SocketMap};
use crate::sys::MappedSlots;

/// Both programs, as `cargo xtask ebpf` built them.
static OBJECT: &[u8] =
    aya::include_bytes_aligned!(concat!(env!("CARGO_MANIFEST_DIR"), "/../ebpf/steer.bpf.o"));

const STEER: &str = "steer";
const DEFER: &str = "defer";

/// The attached programs. They live as long as the sockets that they are attached to.
pub struct Kernel {
    slots: Arc<MappedSlots>,
    settings: Array<MapData, [u32; 5]>,
    sockets: SocketMap,
    counters: PerCpuArray<MapData, u64>,
    names: NameMap,
    object: Ebpf,
}

impl Kernel {
    /// Attaches the programs to listening sockets: one group for each address, with one socket for
    /// each worker in order. No worker is available yet: see [`Kernel::slots`].
    ///
    /// # Errors
    /// See [`KernelError`]. No socket has a program then.
    pub fn attach(
        groups: &[Vec<BorrowedFd<'_>>],
        settings: SteeringSettings,
        names: &[(NameKey, Home)],
    ) -> Result<Self, KernelError> {
        if !may_load_programs() {
            return Err(KernelError::NotPermitted);
        }
        let mut object = EbpfLoader::new()
            .map_max_entries("SOCKETS", SocketMap::len_for(groups))
            .map_max_entries("GROUPS", u32::try_from(groups.len()).unwrap_or(u32::MAX).max(1))
            .load(OBJECT)
            .map_err(KernelError::of("create the maps"))?;
        let mut listening = take(&mut object, "GROUPS")?;
        let sockets = SocketMap::enter(take(&mut object, "SOCKETS")?, &mut listening, groups)
            .map_err(KernelError::of("register the listeners"))?;
        let slots = map_slots(&mut object).map_err(KernelError::of("map the load table"))?;
        let mut kernel = Self {
            slots: Arc::new(slots),
            settings: take(&mut object, "SETTINGS")?,
            sockets,
            counters: take(&mut object, "COUNTERS")?,
            names: NameMap::new(take(&mut object, "NAMES")?),
            object,
        };
        kernel.set_settings(settings)?;
        kernel.set_names(names)?;
        kernel.load().map_err(KernelError::of("load the programs"))?;
        let attached = kernel.attach_to(groups);
        if attached.is_err() {
            detach(groups);
        }
        attached.map_err(KernelError::of("attach the programs"))?;
        Ok(kernel)
    }

    /// The table of loads, which the program reads in place. A worker gets connections once its
    /// line is set to available.
    pub fn slots(&self) -> Arc<MappedSlots> {
        Arc::clone(&self.slots)
    }

    /// Replaces the names. A name that stays is found all the time.
    ///
    /// # Errors
    /// If the kernel rejects an entry; the entries before it have been changed.
    pub fn set_names(&mut self, names: &[(NameKey, Home)]) -> Result<(), KernelError> {
        self.names.set(names).map_err(KernelError::of("change the names"))
    }

    /// Changes how connections are spread.
    ///
    /// # Errors
    /// If the kernel rejects them; the former settings stay.
    pub fn set_settings(&mut self, settings: SteeringSettings) -> Result<(), KernelError> {
        self.settings.set(0, settings.to_words(), 0).map_err(KernelError::of("change the settings"))
    }

    /// Attaches the program that selects listeners once more, to the group of this socket, where
    /// another process may have attached its own.
    ///
    /// # Errors
    /// If the kernel rejects the socket.
    pub fn reattach(&mut self, socket: BorrowedFd<'_>) -> Result<(), KernelError> {
        program::<SkReuseport>(&mut self.object, STEER)
            .and_then(|steer| steer.attach(socket))
            .map_err(KernelError::of("attach the program again"))
    }

    /// Attaches the filter to a listener beside those of the workers. Without it, a bare ACK that
    /// comes there would complete a handshake before the hello.
    ///
    /// # Errors
    /// If the kernel rejects the socket.
    pub fn filter(&mut self, catcher: BorrowedFd<'_>) -> Result<(), KernelError> {
        program::<SocketFilter>(&mut self.object, DEFER)
            .and_then(|defer| defer.attach(catcher).map(drop))
            .map_err(KernelError::of("attach the filter to the SYN catcher"))
    }

    /// Sends SYNs to the catcher of an address, by the number of its group, or to no catcher.
    ///
    /// # Errors
    /// If the kernel rejects the socket; then SYNs go where they went before.
    pub fn use_catcher(
        &mut self,
        group: usize,
        catcher: Option<BorrowedFd<'_>>,
    ) -> Result<(), KernelError> {
        self.sockets
            .use_catcher(group, catcher)
            .map_err(KernelError::of("register the SYN catcher"))
    }

    /// The number of segments with one verdict.
    ///
    /// # Errors
    /// If the kernel's map cannot be read.
    pub fn count(&self, verdict: Verdict) -> Result<u64, KernelError> {
        let cores = self.counters.get(&(verdict as u32), 0);
        Ok(cores.map_err(KernelError::of("read a counter"))?.iter().sum())
    }

    /// Segments by verdict, in the order of [`Verdict::ALL`].
    ///
    /// # Errors
    /// If the kernel's map cannot be read.
    pub fn counters(&self) -> Result<[u64; Verdict::ALL.len()], KernelError> {
        let mut sums = [0; Verdict::ALL.len()];
        for (index, sum) in (0..).zip(&mut sums) {
            let cores = self.counters.get(&index, 0).map_err(KernelError::of("read counters"))?;
            *sum = cores.iter().sum();
        }
        Ok(sums)
    }

    /// Number of runs of `steer` and their total time; `None` if the kernel does not count them
    /// (`kernel.bpf_stats_enabled`).
    pub fn run_time(&self) -> Option<(u64, Duration)> {
        let Program::SkReuseport(steer) = self.object.program(STEER)? else { return None };
        let descriptor = steer.fd().ok()?.as_fd().as_raw_fd();
        let info = fs::read_to_string(format!("/proc/self/fdinfo/{descriptor}")).ok()?;
        let number = |name| {
            let line = info.lines().find_map(|line| line.strip_prefix(name))?;
            line.trim().parse::<u64>().ok()
        };
        let runs = number("run_cnt:").filter(|runs| *runs > 0)?;
        Some((runs, Duration::from_nanos(number("run_time_ns:")?)))
    }

    fn load(&mut self) -> Result<(), ProgramError> {
        program::<SkReuseport>(&mut self.object, STEER)?.load()?;
        program::<SocketFilter>(&mut self.object, DEFER)?.load()
    }

    fn attach_to(&mut self, groups: &[Vec<BorrowedFd<'_>>]) -> Result<(), ProgramError> {
        let steer: &mut SkReuseport = program(&mut self.object, STEER)?;
        // A program of one socket applies to its whole group.
        groups.iter().filter_map(|group| group.first()).try_for_each(|s| steer.attach(s))?;
        let defer: &mut SocketFilter = program(&mut self.object, DEFER)?;
        groups.iter().flatten().try_for_each(|socket| defer.attach(socket))
    }
}

impl fmt::Debug for Kernel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Kernel").field("names", &self.names).finish_non_exhaustive()
    }
}

/// Whether the process has the capabilities. The kernel's own error is not clear: without
/// `CAP_PERFMON` it accepts simple programs and rejects others.
pub(crate) fn may_load_programs() -> bool {
    let Ok(sets) = capabilities(None) else { return false };
    let has = |set| sets.effective.contains(set);
    let may_load =
        has(CapabilitySet::BPF | CapabilitySet::PERFMON) || has(CapabilitySet::SYS_ADMIN);
    may_load && has(CapabilitySet::NET_ADMIN)
}

/// Detaches both programs, if they are attached. They may belong to another process that listens on
/// the same addresses and is about to end: programs stay with the addresses.
pub(crate) fn detach(groups: &[Vec<BorrowedFd<'_>>]) {
    for socket in groups.iter().flatten() {
        let _ = SocketFilter::detach(socket);
        let _ = SkReuseport::detach(socket);
    }
}

fn map_slots(object: &mut Ebpf) -> Result<MappedSlots, MapError> {
    match borrow(object, "LOADS")? {
        Map::Array(array) => Ok(MappedSlots::map(array.fd().as_fd())?),
        _ => Err(MapError::ElementNotFound),
    }
}

fn borrow<'o>(object: &'o mut Ebpf, name: &str) -> Result<&'o mut Map, MapError> {
    object.map_mut(name).ok_or(MapError::ElementNotFound)
}

fn take<M: TryFrom<Map, Error = MapError>>(
    object: &mut Ebpf,
    name: &'static str,
) -> Result<M, KernelError> {
    let map = object.take_map(name).ok_or(MapError::ElementNotFound);
    map.and_then(M::try_from).map_err(KernelError::of(name))
}

fn program<'o, P>(object: &'o mut Ebpf, name: &str) -> Result<&'o mut P, ProgramError>
where
    &'o mut P: TryFrom<&'o mut Program, Error = ProgramError>,
{
    object.program_mut(name).ok_or(ProgramError::NotLoaded)?.try_into()
}
