//! Moving over: tokens of the Python package's tables, taken in with a grant of their own.
//!
//! | file | what |
//! |---|---|
//! | `mapping` | a row of theirs → a token of ours, or why not |
//! | `read_through` | tokens that were not copied yet, honoured when they are presented |
//!
//! `cli/import` copies them all, ahead of anybody who asks.

mod mapping;
mod read_through;

pub(crate) use self::{
    mapping::{Mapping, Skip, within_ceilings},
    read_through::ReadThrough,
};
