//! The rehearsal catalogue.
