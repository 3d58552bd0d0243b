//! Every file Coati reads, into one model with source spans, and every error that points at file:line:column.

#![forbid(unsafe_code)]
