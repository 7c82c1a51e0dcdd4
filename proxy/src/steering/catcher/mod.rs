//! SYN catchers: one more listener for each address, whose request queue is kept full by half-open
//! connections of our own. With the default `net.ipv4.tcp_syncookies=1` the kernel then answers with
//! a cookie exactly the SYNs that the program sends there, and looks a listener up again for the
//! segment with the ClientHello.
//!
//! The program sends a SYN there only if its client loses nothing by a cookie; other clients have
//! ordinary handshakes and are handed over. A connection that is accepted at a catcher, since its
//! queue was not full or since its SYN met a connection in TIME_WAIT, is handed over too.

mod cookies;
mod held;
mod keeper;
mod one;
mod size;
mod state;
mod stop;

pub(crate) use cookies::{CookieSource, CookieSysctls, NoCookies, somaxconn};
pub(crate) use keeper::CatcherKeeper;
pub(crate) use one::Catcher;
pub(crate) use size::{CatcherSize, NoRoomForCatcher};
pub(crate) use state::CookieState;
