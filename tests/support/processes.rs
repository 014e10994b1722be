//! Processes that are started while other threads of the same test program rely on file locks.
//!
//! Between fork and exec a child has every open file of its parent, and so holds the parent's locks: a lock that a test
//! has just released can still be taken.

use std::io;
use std::process::{Child, Command, Output, Stdio};
use std::sync::{PoisonError, RwLock};

static STARTING: RwLock<()> = RwLock::new(());

/// Starts a process. When this returns, the child has nothing of its parent's any more.
pub(crate) fn start(command: &mut Command) -> io::Result<Child> {
    let _alone = STARTING.write().unwrap_or_else(PoisonError::into_inner);
    command.spawn()
}

/// Starts a process and collects its output, as `Command::output` does.
pub(crate) fn output(command: &mut Command) -> io::Result<Output> {
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    start(command)?.wait_with_output()
}

/// Does something while no process is being started: a lock released here is free when this returns.
pub(crate) fn while_none_starts<T>(action: impl FnOnce() -> T) -> T {
    let _nobody = STARTING.read().unwrap_or_else(PoisonError::into_inner);
    action()
}
