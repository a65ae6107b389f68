//! What tests need: the contract of a store, a manual clock, a browser, private databases and servers.

pub mod browser;
pub mod chromium;
pub mod contract;
pub mod manual_clock;
pub mod seeded_entropy;
pub mod server;
pub mod service;
