//! Cases, phases, deadlines and verdicts.
