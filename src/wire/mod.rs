//! The few OpenAI fields that routor reads, and how a request is changed
//! without touching the bytes of anything else.

mod answer;
mod ask;
mod conversation;
mod members;
mod plain;
mod skim;
mod splice;

pub use answer::{Answer, Chunk, Notes, Usage, read_answer, read_chunk};
pub use ask::{Ask, Fault, Needs, Profile, Wishes, parse};
pub use conversation::Conversation;
pub use plain::model_of;
pub use skim::is_plain;
pub use splice::{Edit, Pieces, splice};
