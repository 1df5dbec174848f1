//! tests/ha
