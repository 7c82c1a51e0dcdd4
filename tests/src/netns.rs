//! Private networks: a namespace for a thread, removed with its last thread and socket.
//!
//! Only code inside may change sysctls, links and filters, so that the machine's own network is
//! never affected.

use std::{
    fs,
    marker::PhantomData,
    panic::resume_unwind,
    path::Path,
    process::{Command, Stdio},
    sync::Barrier,
    thread,
};

use rustix::thread::{UnshareFlags, gettid};

use crate::tools::need;

/// A rule for [`Network::drop_incoming`] that matches only the first segment that `rule` matches on
/// each client port. A retransmission passes: each flow loses exactly one segment.
pub fn first_of_each_flow(rule: &str) -> String {
    format!("{rule} tcp sport != @seen add @seen {{ tcp sport }}")
}

/// The network of the calling thread and of all its child threads and processes.
#[derive(Debug)]
pub struct Network {
    /// Private, so that it is neither made elsewhere nor moved to another thread.
    _here: PhantomData<*const ()>,
}

/// Runs on a thread in a new network, which has only a loopback interface.
///
/// # Panics
/// When the namespace cannot be made, and with whatever `inside` panics with.
pub fn private<T: Send>(inside: impl FnOnce(&Network) -> T + Send) -> T {
    thread::scope(|scope| {
        let thread = scope.spawn(|| inside(&Network::new()));
        thread.join().unwrap_or_else(|panic| resume_unwind(panic))
    })
}

impl Network {
    #[expect(deprecated, reason = "its successor is unsafe, for the sake of another flag")]
    fn new() -> Self {
        rustix::thread::unshare(UnshareFlags::NEWNET).expect("a network namespace needs root");
        let network = Self { _here: PhantomData };
        network.ip("link set lo up");
        network
    }

    /// Writes a value to `path` below `/proc/sys/net`.
    ///
    /// # Panics
    /// When the kernel does not take it.
    pub fn sysctl(&self, path: &str, value: &str) {
        let file = Path::new("/proc/sys/net").join(path);
        fs::write(&file, value).unwrap_or_else(|error| panic!("{}: {error}", file.display()));
    }

    /// Runs `ip` with arguments separated by blanks.
    ///
    /// # Panics
    /// When it fails.
    pub fn ip(&self, arguments: &str) {
        run(Command::new(need("ip")).args(arguments.split_whitespace()));
    }

    /// Adds filter rules, in nft's language, to a chain for incoming packets.
    ///
    /// # Panics
    /// When nft does not take them.
    pub fn drop_incoming(&self, rules: &[&str]) {
        let rules: String = rules.iter().map(|rule| format!("{rule} drop\n")).collect();
        let chain = "type filter hook prerouting priority raw; policy accept;";
        let seen = "set seen {\ntype inet_service; flags dynamic; size 65535;\n}";
        let table =
            format!("table inet loss {{\n{seen}\nchain incoming {{\n{chain}\n{rules}}}\n}}");
        run(Command::new(need("nft")).arg(table));
    }

    /// Removes the rules, so that all packets pass again.
    ///
    /// # Panics
    /// When no rule was there.
    pub fn drop_nothing(&self) {
        run(Command::new(need("nft")).args(["delete", "table", "inet", "loss"]));
    }

    /// The number of retransmitted segments.
    ///
    /// # Panics
    /// When the kernel does not tell.
    pub fn retransmitted(&self) -> u64 {
        self.counter("Tcp:", "RetransSegs")
    }

    /// The number of SYNs with data of which the data was not acknowledged, and was sent again.
    ///
    /// # Panics
    /// When the kernel does not tell.
    pub fn unanswered_fast_opens(&self) -> u64 {
        self.counter("TcpExt:", "TCPFastOpenActiveFail")
    }

    /// A counter of `/proc/net/snmp` or `netstat`, which have a line of names above each line of
    /// numbers.
    fn counter(&self, protocol: &str, name: &str) -> u64 {
        let read = |file: &str| fs::read_to_string(format!("/proc/thread-self/net/{file}"));
        let file = ["snmp", "netstat"].map(|file| read(file).expect("counters")).concat();
        let mut lines = file.lines().filter(|line| line.starts_with(protocol));
        let (names, numbers) = (lines.next().expect("names"), lines.next().expect("numbers"));
        let mut both = names.split_whitespace().zip(numbers.split_whitespace());
        let number = both.find(|(found, _)| *found == name).expect("such a counter").1;
        number.parse().expect("a number")
    }

    /// Runs `there` in a second network, joined to this one by a cable, and `here` in this one at
    /// the same time. This end of the cable is 10.0.0.1 and fd00::1, the other 10.0.0.2 and
    /// fd00::2. No packet on the cable exceeds 1,500 bytes, and none is merged from several.
    ///
    /// # Panics
    /// As [`private`].
    pub fn beside<T: Send, U>(
        &self,
        there: impl FnOnce(&Self) -> T + Send,
        here: impl FnOnce() -> U,
    ) -> (T, U) {
        let this = gettid().as_raw_nonzero();
        let (plugged, both_plugged) = (&Barrier::new(2), &Barrier::new(2));
        thread::scope(|scope| {
            let there = scope.spawn(move || {
                let network = Self::new();
                network.ip(&format!("link add cable type veth peer name cable netns {this}"));
                plugged.wait();
                network.set_up_cable("10.0.0.2/24", "fd00::2/64");
                both_plugged.wait();
                there(&network)
            });
            plugged.wait();
            self.set_up_cable("10.0.0.1/24", "fd00::1/64");
            both_plugged.wait();
            let here = here();
            (there.join().unwrap_or_else(|panic| resume_unwind(panic)), here)
        })
    }

    /// Sets whether this end of the cable of [`Self::beside`] leaves it to the other end to split
    /// what TCP sends into packets.
    ///
    /// # Panics
    /// When the device does not take it.
    pub fn send_large_packets(&self, on: bool) {
        ethtool(&["tso", "gso"], on);
    }

    /// Sets whether this end of the cable of [`Self::beside`] merges packets that it receives in a
    /// row.
    ///
    /// # Panics
    /// As [`Self::send_large_packets`].
    pub fn merge_received_packets(&self, on: bool) {
        ethtool(&["gro"], on);
    }

    /// The thread whose network this is, for programs that move devices into it.
    pub fn thread(&self) -> i32 {
        gettid().as_raw_nonzero().get()
    }

    fn set_up_cable(&self, ipv4: &str, ipv6: &str) {
        ethtool(&["tso", "gso", "gro"], false);
        self.ip(&format!("address add {ipv4} dev cable"));
        self.ip(&format!("address add {ipv6} dev cable nodad"));
        self.ip("link set cable up");
    }
}

fn ethtool(features: &[&str], on: bool) {
    let state = if on { "on" } else { "off" };
    let features = features.iter().flat_map(|feature| [*feature, state]);
    run(Command::new(need("ethtool")).args(["-K", "cable"]).args(features));
}

fn run(command: &mut Command) {
    let output = command.stdin(Stdio::null()).output();
    let output = output.unwrap_or_else(|error| panic!("{command:?}: {error}"));
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{command:?}: {errors}");
}
