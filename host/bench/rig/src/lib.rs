//! Rig, ICS and assumption files: model, diagnostics, schema, locks, discovery.
