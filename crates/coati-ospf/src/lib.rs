//! The OSPF engine, sans-IO: interfaces, neighbours, flooding, LSDB, SPF, routes.

#![forbid(unsafe_code)]
