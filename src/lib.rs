#![forbid(unsafe_code)]
pub mod catalog;
pub mod config;
pub mod wire;
pub mod sse;
pub mod failover;
pub mod health;
pub mod routing;
pub mod redact;
pub mod paths;
pub mod journal;
pub mod upstream;
pub mod engine;
pub mod control;
pub mod demo;
pub mod gateway;
pub mod daemon;
pub mod cli;
