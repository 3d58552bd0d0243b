//! A [`coati_kernel::Kernel`] over PF_KEYv2 (RFC 2367, with KAME's extensions), in the [`Layout`] of whichever
//! kernel it is: so that those of others can be tested on any machine.
//!
//! Sans-IO but for [`Sockets`], which whoever owns the sockets implements. What was made here is known again after a
//! crash, since the kernel itself keeps the mark: SAs and policies end [`OWN_MARK`] seconds after their first use.
//!
//! Four things are not as over XFRM netlink. Kernels allot numbers to `unique` policies anew whenever those are put: here
//! they are allotted from the range for numbers written by hand, from its end, and stay. Every socket hears what any other
//! has asked for, so an answer is told apart by process and number. Linux' af_key has replay windows of 32 packets at the
//! most, no AES-GCM, and sends 96 bits of HMAC-SHA-256. And only Linux has policies for forwarded packets (`fwd`): an `in`
//! policy gets its twin there.

#![forbid(unsafe_code)]

mod algorithm;
mod home;
mod policy;
mod sa;

pub use coati_wire::pfkey::Layout;
pub use home::{PfKey, Sockets, home, refusal_of, remark_of};
pub use sa::largest_window;

/// "coat" in ASCII: limits of so many seconds of use, 53 years, say that an SA or policy was made here.
pub const OWN_MARK: u64 = 0x636f_6174;

/// The number of `wanted` in a table.
fn number<T: PartialEq>(table: &[(T, u8)], wanted: &T) -> u8 {
    table.iter().find(|(value, _)| value == wanted).map_or(0, |(_, number)| *number)
}

/// What has this number in a table.
fn value<T: Copy>(table: &[(T, u8)], wanted: u8) -> Option<T> {
    table.iter().find(|(_, number)| *number == wanted).map(|(value, _)| *value)
}

#[cfg(test)]
#[path = "../../coati-kernel/tests/suite/mod.rs"]
mod suite;
#[cfg(test)]
mod tests;
