//! The gateway's measuring core: registration grid, value lists, status words; sans-IO.
