//! The parser in the kernel: the same table of hellos as in user space, by `BPF_PROG_TEST_RUN`.
//! Needs root.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::io;

use aya::{
    Ebpf, EbpfLoader, TestRun, TestRunOptions,
    maps::PerCpuArray,
    programs::{SkReuseport, SocketFilter},
};
use portcullis_abi::{HostName, NAME_KEY_LEN, NameKey, Outcome, cases, sni};
use portcullis_tests::tools::require_root;
use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};

static OBJECT: &[u8] =
    aya::include_bytes_aligned!(concat!(env!("CARGO_MANIFEST_DIR"), "/../ebpf/steer.bpf.o"));

const WHY: &str = "kernel steering: BPF programs need root";

/// The bytes that the kernel removes before a socket filter sees a packet in a test run.
const ETHERNET_HEADER: [u8; 14] = [0; 14];

/// The maximum packet of a test run: a page, less the bytes that the kernel adds around it.
const MAX_PACKET: usize = 3500;

/// The place of the program's results: the name, its key, and other fields.
const SCRATCH: usize = 592;
const NAME: usize = size_of::<HostName>();

/// The program under test.
struct Parser {
    object: Ebpf,
}

impl Parser {
    /// Loads the program, and keeps this thread on one core, whose scratch memory is read.
    fn load() -> Self {
        let allowed = sched_getaffinity(None).unwrap();
        let mut one = CpuSet::new();
        one.set((0..CpuSet::MAX_CPU).find(|core| allowed.is_set(*core)).unwrap());
        sched_setaffinity(None, &one).unwrap();
        let mut object = Ebpf::load(OBJECT).expect("an object that loads");
        filter(&mut object, "parse").load().expect("a program that the verifier takes");
        Self { object }
    }

    /// The kernel's result for a segment's payload: the outcome's number, the name, its key.
    fn parse(&mut self, segment: &[u8]) -> io::Result<(u32, Vec<u8>, Vec<u8>)> {
        let packet = [&ETHERNET_HEADER, segment].concat();
        let options = TestRunOptions { data_in: Some(&packet), ..TestRunOptions::new() };
        let run = filter(&mut self.object, "parse").test_run(options);
        let outcome = run.map_err(io::Error::other)?.return_value;
        let scratch = self.object.map("SCRATCH").expect("a map");
        let scratch: PerCpuArray<_, [u8; SCRATCH]> = scratch.try_into().unwrap();
        let cores = scratch.get(&0, 0).unwrap();
        let scratch = &cores[rustix::thread::sched_getcpu()];
        let (name, key) = (&scratch[4..NAME], &scratch[NAME..NAME + size_of::<NameKey>()]);
        let name_len = u32::from_ne_bytes(scratch[..4].try_into().unwrap()) as usize;
        Ok((outcome, name[..name_len].to_vec(), key.to_vec()))
    }
}

fn filter<'o>(object: &'o mut Ebpf, name: &str) -> &'o mut SocketFilter {
    object.program_mut(name).expect("a program").try_into().unwrap()
}

/// The significant bytes of a key in memory.
fn significant(key: &[u8]) -> &[u8] {
    let (bits, reversed) = key.split_at(4);
    &reversed[..u32::from_ne_bytes(bits.try_into().unwrap()) as usize / 8]
}

#[test]
fn the_kernel_reads_every_hello_of_the_table_as_user_space_does() {
    if !require_root(WHY) {
        return;
    }
    let mut parser = Parser::load();
    let mut compared = 0;
    for case in cases::all() {
        let segment = &case.bytes[..case.first_segment];
        if segment.len() > MAX_PACKET {
            continue; // the tests over real sockets have it
        }
        let (outcome, name, key) = parser.parse(segment).unwrap();
        let expected = case.kernel;
        assert_eq!((outcome, &*name), (expected.0 as u32, expected.1.as_bytes()), "{}", case.title);
        if expected.0 == Outcome::Name {
            let (mut name, mut expected) = (HostName::EMPTY, NameKey::EMPTY);
            sni(segment, 0, &mut name);
            expected.set(&name);
            assert_eq!(key.len(), 4 + NAME_KEY_LEN);
            let len = expected.prefix_bits as usize / 8;
            assert_eq!(significant(&key), &expected.reversed[..len], "{}", case.title);
        }
        compared += 1;
    }
    assert!(compared > 30, "{compared} cases");
}

#[test]
fn the_kernel_reads_a_hello_cut_anywhere_as_user_space_does() {
    if !require_root(WHY) {
        return;
    }
    let mut parser = Parser::load();
    let hello = cases::Hello::to(b"App.Example.com").record();
    for end in 1..=hello.len() {
        let (segment, mut name) = (&hello[..end], HostName::EMPTY);
        let expected = sni(segment, 0, &mut name);
        let (outcome, found, _) = parser.parse(segment).unwrap();
        assert_eq!((outcome, &*found), (expected as u32, name.as_bytes()), "{end} bytes");
    }
}

/// The kernel stops after a million instructions. Linux 6.1 counts most: 260,058 in `steer`.
#[test]
fn the_verifier_needs_half_of_its_budget_at_most() {
    if !require_root(WHY) {
        return;
    }
    let mut object = EbpfLoader::new().load(OBJECT).expect("an object that loads");
    let steer: &mut SkReuseport = object.program_mut("steer").unwrap().try_into().unwrap();
    steer.load().unwrap();
    filter(&mut object, "defer").load().unwrap();
    for (name, budget) in [("steer", 500_000), ("defer", 2_000)] {
        let info = object.program(name).unwrap().info().unwrap();
        let Some(verified) = info.verified_instruction_count() else { continue };
        assert!(verified < budget, "{name}: {verified} instructions");
    }
}
