//! End-to-end tests over the public commands.
