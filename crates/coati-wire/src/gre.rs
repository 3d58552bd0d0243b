//! gre format.
