//! Wired M-Bus (EN 13757-2/-3): frames, records, slave and master machines.
