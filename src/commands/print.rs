//! Output that may be cut off by whoever reads it.

use super::error::CommandError;
use std::io::{self, Write};

/// Lines on their way to standard output, in large pieces.
#[derive(Debug)]
pub(super) struct Output<W: Write> {
    target: W,
    buffer: Vec<u8>,
}

/// Why printing stops.
#[derive(Debug)]
pub(super) enum Stop {
    /// Nobody reads any more (`| head`): the end of the work, and no failure.
    NobodyReads,
    /// The work failed.
    Failed(CommandError),
}

const PIECE_BYTES: usize = 256 * 1024;

impl<W: Write> Output<W> {
    pub(super) fn new(target: W) -> Output<W> {
        Output { target, buffer: Vec::with_capacity(PIECE_BYTES + 4096) }
    }

    /// Where to append the next line; [`Output::line_done`] follows.
    pub(super) fn line(&mut self) -> &mut Vec<u8> {
        &mut self.buffer
    }

    /// Writes what has come together if it is enough.
    pub(super) fn line_done(&mut self) -> Result<(), Stop> {
        if self.buffer.len() < PIECE_BYTES { Ok(()) } else { self.write_buffer() }
    }

    /// Takes whole lines, and leaves the buffer empty.
    pub(super) fn take_lines(&mut self, lines: &mut Vec<u8>) -> Result<(), Stop> {
        if self.buffer.is_empty() && lines.len() >= PIECE_BYTES / 4 {
            let written = self.target.write_all(lines);
            lines.clear();
            return written.map_err(|error| stop(&error));
        }
        self.buffer.append(lines);
        self.line_done()
    }

    /// Writes all there is.
    pub(super) fn flush(&mut self) -> Result<(), Stop> {
        self.write_buffer()?;
        self.target.flush().map_err(|error| stop(&error))
    }

    fn write_buffer(&mut self) -> Result<(), Stop> {
        let written = self.target.write_all(&self.buffer);
        self.buffer.clear();
        written.map_err(|error| stop(&error))
    }
}

fn stop(error: &io::Error) -> Stop {
    if error.kind() == io::ErrorKind::BrokenPipe {
        Stop::NobodyReads
    } else {
        Stop::Failed(CommandError::new(format!("cannot write to standard output: {error}")))
    }
}

impl From<CommandError> for Stop {
    fn from(error: CommandError) -> Stop {
        Stop::Failed(error)
    }
}

/// What a command's end means for the process: records before a failure are printed first.
pub(super) fn finish<W: Write>(mut output: Output<W>, result: Result<(), Stop>) -> Result<(), CommandError> {
    let failed = match result {
        Err(Stop::NobodyReads) => return Ok(()),
        Err(Stop::Failed(error)) => Some(error),
        Ok(()) => None,
    };
    match (output.flush(), failed) {
        (_, Some(error)) | (Err(Stop::Failed(error)), None) => Err(error),
        (Ok(()) | Err(Stop::NobodyReads), None) => Ok(()),
    }
}
