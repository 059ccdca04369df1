#![forbid(unsafe_code)]
pub mod catalog;
pub mod config;
pub mod wire;
pub mod sse;
