//! Stories of a holder that does not own its shard, and of what an owner tells it.

mod arming;
mod edits;
mod scene;
mod telling;
mod watching;
