//! The ClientHello parser against rustls's `Acceptor`: same name, or a stated reason.
#![no_main]

use libfuzzer_sys::fuzz_target;

#[path = "../../ebpf/abi/tests/client_hello/oracle.rs"]
#[expect(dead_code, reason = "alerts are compared in the table's test only")]
mod oracle;

fuzz_target!(|bytes: &[u8]| oracle::compare(bytes));
