//! Every file Coati reads, into one model with source spans, and every error that points at file:line:column.
//!
//! One module for each format: [`racoon`], [`psk`], [`pki`], [`setkey`], [`rc_conf`], [`ospfd`], and [`bird`], which becomes the
//! last. [`site`] reads the folder that holds them and checks one against the other, [`sides`] compares the two ends of a
//! tunnel. Nothing here opens a file: texts are handed in.

#![forbid(unsafe_code)]

pub mod bird;
mod diagnostic;
mod lexer;
pub mod ospfd;
pub mod pki;
pub mod psk;
pub mod racoon;
pub mod rc_conf;
pub mod setkey;
pub mod sides;
pub mod site;

pub use diagnostic::{Diagnostic, Origin, Place, Severity, Source, Span};
