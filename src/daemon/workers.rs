//! The threads that serve the port, each with a runtime of its own.

use std::io;
use std::sync::Arc;
use std::thread::JoinHandle;

use tokio::sync::mpsc;

use super::StartError;
use crate::engine::Engine;
use crate::gateway::{Gateway, Listeners, Shared};

/// More threads than this do not make a proxy faster.
const MOST_WORKERS: usize = 4;

/// The threads at work.
pub(super) struct Workers {
    threads: Vec<JoinHandle<()>>,
    /// Ends when all of them have ended.
    ended: mpsc::Receiver<()>,
}

impl Workers {
    pub fn start(engine: &Arc<Engine>, listeners: &Listeners, shared: &Arc<Shared>) -> Result<Self, StartError> {
        let system = |problem: io::Error| StartError::System(format!("a worker thread cannot be started: {problem}"));
        let count = std::thread::available_parallelism().map_or(1, |cores| cores.get().min(MOST_WORKERS));
        let (alive, ended) = mpsc::channel(1);
        let mut threads = Vec::new();
        for number in 0..count {
            let runtime = crate::system::runtime().map_err(system)?;
            let (gateway, listeners) = (Gateway::new(engine, shared), listeners.try_clone().map_err(system)?);
            let (alive, engine) = (alive.clone(), Arc::clone(engine));
            let work = move || {
                if let Err(problem) = runtime.block_on(gateway.serve(listeners)) {
                    tracing::error!("a worker thread cannot serve: {problem}");
                }
                drop(engine);
                runtime.shutdown_background();
                drop(alive);
            };
            threads.push(std::thread::Builder::new().name(format!("routor-{number}")).spawn(work).map_err(system)?);
        }
        Ok(Self { threads, ended })
    }

    /// Waits until all have ended.
    pub async fn end(&mut self) {
        while self.ended.recv().await.is_some() {}
        for thread in self.threads.drain(..) {
            let _ = thread.join();
        }
    }
}
