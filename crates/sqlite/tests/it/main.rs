//! The SQLite store from outside.

mod contract;
mod damage;
mod durability;
mod serving;
