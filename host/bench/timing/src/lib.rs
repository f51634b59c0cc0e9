//! The bench clock, uncertainty, decision rules and distributions.
