//! Smart Message Language 1.03-1.05: transport, messages, encoder.
