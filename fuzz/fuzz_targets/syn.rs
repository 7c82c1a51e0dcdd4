//! The options of a SYN against a second reader: same result.
#![no_main]

use libfuzzer_sys::fuzz_target;

#[path = "../../ebpf/abi/tests/syn/oracle.rs"]
mod oracle;

fuzz_target!(|bytes: &[u8]| oracle::compare(bytes));
