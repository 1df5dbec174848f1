//! Programs that a user of Carillon would write.
//!
//! [`samples`] are the jobs that `carillon dev` shows; `src/bin/` holds whole workers.

pub mod samples;
