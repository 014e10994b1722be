//! What the tests against real servers share.
#![allow(dead_code, reason = "each test binary uses its own part")]

pub(crate) mod broker;
pub(crate) mod daemon;
