//! IKEv1 (RFC 2407, 2408, 2409): its two phases, its informational exchange, its keys and messages.
//!
//! `phase1` is what is known of one ISAKMP SA. `greeting` keeps strangers small; `main_mode` and `aggressive_mode` bring
//! it up with what `negotiation` has for both; `nat` sees what lies between, `auth` proves who is who and `identity` knows
//! the kinds of names. `quick_mode` negotiates SA pairs under it: `proposal` chooses how, `compression` whether IPComp comes before ESP, `selector` and `policy` say for
//! what, `commit` waits where a peer wants that, `install` hands over. `informational` carries Delete, notifications and dead peer detection. `keys` derives,
//! `message` encrypts and hashes, `fragment` cuts and joins.

pub(crate) mod aggressive_mode;
pub(crate) mod auth;
pub(crate) mod commit;
pub(crate) mod compression;
pub(crate) mod fragment;
pub(crate) mod greeting;
pub(crate) mod identity;
pub(crate) mod informational;
pub(crate) mod install;
pub(crate) mod keys;
pub(crate) mod main_mode;
pub(crate) mod message;
pub(crate) mod mode_config;
pub(crate) mod nat;
pub(crate) mod negotiation;
pub(crate) mod phase1;
pub(crate) mod policy;
pub(crate) mod proposal;
pub(crate) mod quick_mode;
pub(crate) mod selector;
pub(crate) mod signature;
pub(crate) mod transaction;
pub(crate) mod xauth;
