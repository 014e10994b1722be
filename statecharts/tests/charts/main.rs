//! The charts, judged as a whole: every pair of state and event, scripted traces, random sequences, and the document
//! that is drawn from them.
//!
//! Goal: whoever changes a row sees what it changes, as text. `UPDATE_TABLES=1`, `UPDATE_TRACES=1` and
//! `UPDATE_DIAGRAMS=1` rewrite the texts; the difference is what is to be reviewed.

mod diagrams;
mod failures;
mod properties;
mod snapshot;
mod tables;
mod text;
mod traces;
