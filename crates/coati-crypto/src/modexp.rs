//! Modular exponentiation by aws-lc, whose assembly takes less than half of what portable code takes and sets the rate
//! of handshakes. aws-lc-rs has no way to it, so this calls its C functions: all unsafe code of this crate is here.
//!
//! What it relies on, of `openssl/bn.h`: objects come from their `new` functions and go to their `free` functions once;
//! a function that gets a `const` pointer does not keep it; a Montgomery context is not changed after it was made.
//! `BN_mod_exp_mont_consttime` takes time and memory accesses that depend on the lengths alone, not on the exponent.

#![allow(unsafe_code)]

use std::ptr::NonNull;

use aws_lc_sys as sys;
use zeroize::Zeroizing;

/// What only a lack of memory can make fail; the rest of the program ends by that too.
const MEMORY: &str = "memory for a number";

/// An integer, wiped when dropped.
struct Number(NonNull<sys::BIGNUM>);

impl Number {
    fn new(big_endian: &[u8]) -> Self {
        // SAFETY: the pointer and length are those of a slice; a null result makes a new object, which is ours.
        let pointer = unsafe { sys::BN_bin2bn(big_endian.as_ptr(), big_endian.len(), std::ptr::null_mut()) };
        Self(NonNull::new(pointer).expect(MEMORY))
    }
}

impl Drop for Number {
    fn drop(&mut self) {
        // SAFETY: it came from BN_bin2bn and is freed here only.
        unsafe { sys::BN_clear_free(self.0.as_ptr()) }
    }
}

/// Room for intermediate results of one call.
struct Scratch(NonNull<sys::BN_CTX>);

impl Scratch {
    fn new() -> Self {
        // SAFETY: no preconditions.
        Self(NonNull::new(unsafe { sys::BN_CTX_new() }).expect(MEMORY))
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        // SAFETY: it came from BN_CTX_new and is freed here only.
        unsafe { sys::BN_CTX_free(self.0.as_ptr()) }
    }
}

/// An odd modulus, prepared once.
pub(crate) struct Modulus {
    number: Number,
    montgomery: NonNull<sys::BN_MONT_CTX>,
    len: usize,
}

// SAFETY: after `new` both objects are only read, through `const` pointers; nothing in them belongs to a thread.
unsafe impl Send for Modulus {}
// SAFETY: as above.
unsafe impl Sync for Modulus {}

impl Modulus {
    /// Prepares an odd number, big-endian.
    pub(crate) fn new(big_endian: &[u8]) -> Self {
        assert!(big_endian.last().is_some_and(|last| last & 1 == 1), "an odd modulus");
        let (number, scratch) = (Number::new(big_endian), Scratch::new());
        // SAFETY: both pointers are to live objects; the result is ours.
        let pointer = unsafe { sys::BN_MONT_CTX_new_for_modulus(number.0.as_ptr(), scratch.0.as_ptr()) };
        let montgomery = NonNull::new(pointer).expect(MEMORY);
        Self { number, montgomery, len: big_endian.len() }
    }

    /// base^exponent, big-endian and as long as the modulus; `None` when `base` is not below it.
    pub(crate) fn power(&self, base: &[u8], exponent: &[u8]) -> Option<Zeroizing<Vec<u8>>> {
        let (base, exponent) = (Number::new(base), Number::new(exponent));
        let (result, scratch) = (Number::new(&[]), Scratch::new());
        let mut bytes = Zeroizing::new(vec![0; self.len]);
        // SAFETY: all pointers are to live objects, and `result` is no other's; the Montgomery context is that of
        // the modulus.
        let done = unsafe {
            sys::BN_mod_exp_mont_consttime(
                result.0.as_ptr(),
                base.0.as_ptr(),
                exponent.0.as_ptr(),
                self.number.0.as_ptr(),
                scratch.0.as_ptr(),
                self.montgomery.as_ptr(),
            )
        };
        if done != 1 {
            // It has noted why for this thread, which nobody reads.
            // SAFETY: no preconditions.
            unsafe { sys::ERR_clear_error() };
            return None;
        }
        // SAFETY: the pointer and length are those of a buffer of ours.
        let written = unsafe { sys::BN_bn2bin_padded(bytes.as_mut_ptr(), bytes.len(), result.0.as_ptr()) };
        (written == 1).then_some(bytes)
    }
}

impl Drop for Modulus {
    fn drop(&mut self) {
        // SAFETY: it came from BN_MONT_CTX_new_for_modulus and is freed here only.
        unsafe { sys::BN_MONT_CTX_free(self.montgomery.as_ptr()) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crypto_bigint::modular::{BoxedMontyForm, BoxedMontyParams};
    use crypto_bigint::{BoxedUint, Odd, Resize};
    use proptest::prelude::*;

    proptest! {
        /// Another library comes to the same result.
        #[test]
        fn as_portable_code(
            mut modulus in prop::collection::vec(any::<u8>(), 32..160),
            base in prop::collection::vec(any::<u8>(), 1..32),
            exponent in prop::collection::vec(any::<u8>(), 0..=32),
        ) {
            modulus[0] |= 0x80;
            *modulus.last_mut().unwrap() |= 1;
            let bits = u32::try_from(modulus.len() * 8).unwrap();
            let number = |bytes: &[u8]| BoxedUint::from_be_slice_vartime(bytes).resize(bits.next_multiple_of(64));
            let params = BoxedMontyParams::new(Odd::new(number(&modulus)).into_option().unwrap());
            let power = BoxedMontyForm::new(number(&base), &params).pow(&number(&exponent)).retrieve();
            let expected = power.to_be_bytes();
            let expected = &expected[expected.len() - modulus.len()..];
            let power = Modulus::new(&modulus).power(&base, &exponent).unwrap();
            prop_assert_eq!(power.as_slice(), expected);
        }
    }

    #[test]
    fn small_numbers() {
        let modulus = Modulus::new(&[0, 101]);
        assert_eq!(modulus.power(&[2], &[10]).unwrap().as_slice(), [0, 14]);
        assert_eq!(modulus.power(&[2], &[]).unwrap().as_slice(), [0, 1]);
        assert_eq!(modulus.power(&[0], &[3]).unwrap().as_slice(), [0, 0]);
        assert_eq!(modulus.power(&[101], &[3]), None);
    }
}
