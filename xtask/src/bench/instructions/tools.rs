//! The tools and the processor that counts depend on.

use std::{env, fmt, fs};

use anyhow::Result;
use serde::{Deserialize, Serialize};

use crate::command::{command, said_by};

/// The margin with the same tools. Seeds of hash tables, keys and signatures are random: from run
/// to run that moves handshakes by 0.1 % and the smallest works by 1.5 %. The margin is twice as
/// much.
const MARGIN: f64 = 0.03;

/// The margin with another C library or valgrind: the library provides `memcpy` and its kin.
const MARGIN_OF_OTHER_LIBRARIES: f64 = 0.15;

/// The tools and the processor that counts depend on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Tools {
    rustc: String,
    /// callgrind emulates a processor with AVX2 if the real one has it, and without any newer
    /// features; ring chooses its code by this.
    processor: String,
    c_library: String,
    valgrind: String,
}

impl Tools {
    pub(super) fn here() -> Result<Tools> {
        let rustc = env::var_os("RUSTC").unwrap_or_else(|| "rustc".into());
        let line = |text: String| text.trim().to_owned();
        Ok(Tools {
            rustc: line(said_by(command(rustc).arg("--version"))?),
            processor: processor(),
            c_library: line(said_by(command("getconf").arg("GNU_LIBC_VERSION"))?),
            valgrind: line(said_by(command("valgrind").arg("--version"))?),
        })
    }

    /// The share of 1 by which a count may exceed one that was made with other tools. `None` if
    /// they cannot be compared: another compiler generates other code, and ring has other code for
    /// another processor.
    pub(super) fn margin_to(&self, other: &Tools) -> Option<f64> {
        if (&self.rustc, &self.processor) != (&other.rustc, &other.processor) {
            None
        } else if self == other {
            Some(MARGIN)
        } else {
            Some(MARGIN_OF_OTHER_LIBRARIES)
        }
    }
}

impl fmt::Display for Tools {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Tools { rustc, processor, c_library, valgrind } = self;
        write!(f, "{rustc}, {processor}, {c_library}, {valgrind}")
    }
}

fn processor() -> String {
    let facts = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let has_avx2 = facts.split_whitespace().any(|word| word == "avx2");
    format!("{}{}", env::consts::ARCH, if has_avx2 { " with AVX2" } else { "" })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tools() -> Tools {
        Tools {
            rustc: "rustc 1".to_owned(),
            processor: "x86_64".to_owned(),
            c_library: "glibc 2".to_owned(),
            valgrind: "valgrind 3".to_owned(),
        }
    }

    #[test]
    fn the_margin_is_narrow_with_the_same_tools_alone() {
        let other = Tools { c_library: "glibc 3".to_owned(), ..tools() };
        assert_eq!(tools().margin_to(&tools()), Some(MARGIN));
        assert_eq!(tools().margin_to(&other), Some(MARGIN_OF_OTHER_LIBRARIES));
    }

    #[test]
    fn counts_of_another_compiler_or_processor_are_not_compared() {
        for other in [
            Tools { rustc: "rustc 2".to_owned(), ..tools() },
            Tools { processor: "aarch64".to_owned(), ..tools() },
        ] {
            assert_eq!(tools().margin_to(&other), None);
        }
    }
}
