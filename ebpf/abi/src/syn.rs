//! The options of a SYN (RFC 9293 section 3.1), and what of them survives a SYN cookie.

use crate::Load;

/// The number of options that are read, with those that only pad. Clients send about eight.
pub const MAX_OPTIONS: u32 = 20;

const END: u8 = 0;
const NO_OPERATION: u8 = 1;
const MAXIMUM_SEGMENT_SIZE: u8 = 2;
const MAXIMUM_SEGMENT_SIZE_LEN: u32 = 4;
const TIMESTAMPS: u8 = 8;
const TIMESTAMPS_LEN: u32 = 10;

/// The options of a SYN that decide what a cookie keeps.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SynOptions {
    /// The maximum segment size; 0 if the SYN has none.
    pub mss: u32,
    /// Whether the client offers timestamps (RFC 7323), in which a cookie keeps window scale, SACK
    /// and ECN.
    pub timestamps: bool,
}

/// What a client loses by a SYN cookie.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub enum CookieLoss {
    /// Nothing that it would notice.
    Nothing,
    /// Window scale, SACK and ECN.
    Options,
    /// More than a twentieth of its segment size.
    SegmentSize,
}

impl SynOptions {
    const NONE: Self = Self { mss: 0, timestamps: false };

    /// Reads the options from `start` to `end` of `segment`, as Linux does: it stops at the first
    /// one that cannot be, and the last of two counts. A SYN with more than [`MAX_OPTIONS`] has
    /// none.
    #[inline(always)]
    pub fn read<L: Load + ?Sized>(segment: &L, start: u32, end: u32) -> Self {
        let mut options = Self::NONE;
        let mut at = start;
        for _ in 0..MAX_OPTIONS {
            if at >= end {
                return options;
            }
            let Some([kind]) = segment.load(at) else { return options };
            if kind == END {
                return options;
            }
            if kind == NO_OPERATION {
                at += 1;
                continue;
            }
            let Some([len]) = segment.load(at + 1) else { return options };
            let len = u32::from(len);
            if len < 2 || at + len > end {
                return options;
            }
            if kind == MAXIMUM_SEGMENT_SIZE && len == MAXIMUM_SEGMENT_SIZE_LEN {
                let Some(mss) = segment.load(at + 2) else { return options };
                let mss = u32::from(u16::from_be_bytes(mss));
                // Linux ignores a size of 0.
                options.mss = if mss == 0 { options.mss } else { mss };
            }
            options.timestamps |= kind == TIMESTAMPS && len == TIMESTAMPS_LEN;
            at += len;
        }
        Self::NONE
    }

    /// What a client with these options loses if its SYN is answered with a cookie.
    #[inline(always)]
    pub const fn cookie_loss(self, is_ipv6: bool) -> CookieLoss {
        if !self.timestamps {
            return CookieLoss::Options;
        }
        let default = if is_ipv6 { 1220 } else { 536 };
        let mss = if self.mss == 0 { default } else { self.mss };
        let kept = cookie_mss(mss, is_ipv6);
        if kept > mss || (mss - kept) * 20 > mss {
            return CookieLoss::SegmentSize;
        }
        CookieLoss::Nothing
    }
}

/// The segment size that a cookie keeps: `msstab` of `net/ipv4/syncookies.c` and
/// `net/ipv6/syncookies.c`. A size below the smallest becomes the smallest.
#[inline(always)]
const fn cookie_mss(mss: u32, is_ipv6: bool) -> u32 {
    if is_ipv6 {
        return match mss {
            8940.. => 8940,
            1440.. => 1440,
            1420.. => 1420,
            _ => 1220,
        };
    }
    match mss {
        1460.. => 1460,
        1440.. => 1440,
        1300.. => 1300,
        _ => 536,
    }
}
