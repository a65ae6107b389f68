//! What tests need: the contract of a store, a manual clock, a browser, private databases and servers.

pub mod audit_log;
pub mod browser;
pub mod cast;
pub mod chromium;
pub mod contract;
pub mod document_host;
pub mod failing_store;
pub mod manual_clock;
pub mod params;
pub mod seeded_entropy;
pub mod server;
pub mod service;
pub mod token_storage;
