//! Tests of procession through its public API: see `api`.
