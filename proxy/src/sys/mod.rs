//! The only room with `unsafe` and raw system calls.
