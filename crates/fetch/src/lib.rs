//! Outbound HTTP on a leash.
