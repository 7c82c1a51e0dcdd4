//! What the commands show.

pub mod status;
