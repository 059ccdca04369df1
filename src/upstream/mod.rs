//! The way out: one attempt at one provider, and the calls that check a key.
//! It hands back what came; what follows from it is decided elsewhere.

mod attempt;
mod body;
mod client;
mod connect;
mod dialect;
mod head;
mod http1;
mod inflate;
mod pool;
mod received;
mod stream;
mod tls;
mod validate;

pub use attempt::{Failure, Refused, Sent, Task, Whole, send};
pub use client::Upstream;
pub use connect::proxy_for;
pub use head::{Caller, HOPS};
pub use http1::{Broken, Decoder, Found, Framing, Head, read_head};
pub use stream::{LARGEST_EVENT, Live, Look, Next};
pub use tls::{install_crypto, unused as no_tls};
pub use validate::{Checked, Standing, Validator};
