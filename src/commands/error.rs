//! How a command fails: one line and an exit code.

use crate::exit::ExitCode;
use std::error::Error;
use std::fmt;

/// Why a command did not do its work. It displays as one line that says what to do.
#[derive(Debug)]
pub struct CommandError {
    message: String,
    exit_code: ExitCode,
}

impl CommandError {
    /// The work could not be done.
    pub fn new(message: impl Into<String>) -> CommandError {
        CommandError::with_code(message, ExitCode::CannotRun)
    }

    /// With an exit code of its own.
    pub fn with_code(message: impl Into<String>, exit_code: ExitCode) -> CommandError {
        CommandError { message: message.into(), exit_code }
    }

    /// Somebody pressed Ctrl-C.
    pub fn interrupted(message: impl Into<String>) -> CommandError {
        CommandError::with_code(message, ExitCode::Interrupted)
    }

    /// An error with all that led to it, in one line.
    pub fn from_error(error: &dyn Error) -> CommandError {
        let mut message = error.to_string();
        let mut cause = error.source();
        while let Some(error) = cause {
            message.push_str(": ");
            message.push_str(&error.to_string());
            cause = error.source();
        }
        CommandError::new(message)
    }

    /// What the process exits with.
    pub fn exit_code(&self) -> ExitCode {
        self.exit_code
    }
}

impl fmt::Display for CommandError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl Error for CommandError {}
