//! c
#![no_std]
