//! Orders to a running process, over the Unix socket `PID.sock` in its runtime directory.
//!
//! Both sides ask the kernel who the peer is (`SO_PEERCRED`): it must be root or the same user, and
//! the process that serves must have the ID that was asked for. One line orders, one line answers:
//!
//! ```text
//! portcullis/1 drain               another process serves: drain and exit    portcullis/1 draining
//!                                  all is in the state file    portcullis/1 draining state-written
//! portcullis/1 drain-worker 2      give worker 2 no new connections          portcullis/1 done
//! portcullis/1 undrain-worker 2    give it connections again                 portcullis/1 done
//! portcullis/1 end-sessions user "alice"       end all sessions of a user    portcullis/1 ended 3
//! portcullis/1 end-sessions email "a@b.com"    the same, by address          portcullis/1 ended 3
//! portcullis/1 tell-health         for a process that takes this one's place  portcullis/1 health JSON
//! portcullis/1 tell-addresses      for the same: where clients connect     portcullis/1 addresses A B
//! portcullis/1 log-level           say the level of the log      portcullis/1 log-level info info -
//! portcullis/1 log-level debug 600      set it for 600 s    portcullis/1 log-level debug info 600
//! portcullis/1 log-level configured     go back             portcullis/1 log-level info info -
//! portcullis/1 reload              load the configuration again            portcullis/1 reloaded 4
//! portcullis/1 upgrade             start the program again and leave        portcullis/1 upgraded 321
//! portcullis/1 cannot-replace "reason"         of the process that an upgrade started
//!                                                                            portcullis/1 done
//! portcullis/1 tell-whether-serving            refused by one that drains    portcullis/1 done
//!                                  an order that is not followed             portcullis/1 refused REASON
//!                                  the same in several lines             portcullis/1 failed "REASON"
//! ```
//!
//! Beside it, `PID.admin` names the administrative address for the commands of other users.
//!
//! IDs and addresses are JSON strings, so that no character of them ends the line.

mod client;
mod line;
mod log_level;
mod order;
mod peer;
mod runtime_dir;
mod server;

pub(super) use client::ControlConnection;
pub(crate) use client::RunningProcess;
pub(crate) use log_level::{LONGEST as LONGEST_LOG_LEVEL, LogLevelOrder, LogLevelState};
pub(super) use order::{Acknowledgment, Order};
pub(crate) use runtime_dir::recorded_admin_addresses;
pub(super) use server::{ControlSocket, ReceivedOrder, listen};

#[cfg(test)]
pub(super) mod testing {
    use std::path::{Path, PathBuf};

    pub(in super::super) fn block_on<F: Future>(future: F) -> F::Output {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(future)
    }

    /// The socket of a process.
    pub(in super::super) fn socket(directory: &Path, pid: u32) -> PathBuf {
        super::runtime_dir::socket(directory, pid)
    }
}
