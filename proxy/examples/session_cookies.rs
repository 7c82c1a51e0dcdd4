//! Prints cookies of people who have signed in, for the benchmarks: `session_cookies HOST COUNT`
//! prints values of the `Cookie` header, and without arguments the settings that go with them.
#![expect(clippy::print_stdout, reason = "the cookies go to standard output")]

use std::{
    env,
    time::{SystemTime, UNIX_EPOCH},
};

use portcullis::facade::identity::{SETTINGS, session_cookies};

fn main() {
    let mut arguments = env::args().skip(1);
    let (Some(host), Some(count)) = (arguments.next(), arguments.next()) else {
        return print!("{SETTINGS}");
    };
    let count = count.parse().expect("a number of cookies");
    let now = SystemTime::now().duration_since(UNIX_EPOCH).expect("a clock after 1970");
    session_cookies(&host, now.as_secs(), count).iter().for_each(|cookie| println!("{cookie}"));
}
