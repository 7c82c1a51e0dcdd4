//! Which worker a connection goes to.

mod kernel;

pub use kernel::{Kernel, KernelError, syncookies};
