//! Stories of one engine: what a holder that does not own its shard does and what its owner tells it, what edits and lost workers change, and
//! what becomes of fires that were told too late or replaced.

mod arming;
mod edits;
mod giving_up;
mod lost;
mod misfire;
mod scene;
mod telling;
mod watching;
