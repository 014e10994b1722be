//! Output that may be cut off by whoever reads it.

use super::error::CommandError;
use std::io::{self, Write};

/// Lines on their way to standard output, in large pieces.
#[derive(Debug)]
pub(super) struct Output<W: Write> {
    target: W,
    buffer: Vec<u8>,
    /// Why a part of a line could not be written.
    stopped: Option<Stop>,
}

/// Target of text that may be too long to be in memory at once.
pub(super) trait Sink {
    /// Buffer to append to.
    fn buffer(&mut self) -> &mut Vec<u8>;

    /// Writes the buffer if it is large. Called between the parts of a long text.
    fn spill(&mut self) {}
}

/// Lengths of the parts that a long text is written in. A multiple of 32, of 3 and of 4.
pub(super) const PART_BYTES: usize = 48 * 1024;

impl Sink for Vec<u8> {
    fn buffer(&mut self) -> &mut Vec<u8> {
        self
    }
}

impl<W: Write> Sink for Output<W> {
    fn buffer(&mut self) -> &mut Vec<u8> {
        &mut self.buffer
    }

    fn spill(&mut self) {
        if self.stopped.is_some() {
            self.buffer.clear();
        } else if self.buffer.len() >= PIECE_BYTES {
            self.stopped = self.write_buffer().err();
        }
    }
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
        Output { target, buffer: Vec::with_capacity(PIECE_BYTES + 4096), stopped: None }
    }

    /// Where to append the next line; [`Output::line_done`] follows.
    pub(super) fn line(&mut self) -> &mut Vec<u8> {
        &mut self.buffer
    }

    /// Writes what has come together if it is enough.
    pub(super) fn line_done(&mut self) -> Result<(), Stop> {
        match self.stopped.take() {
            Some(stop) => Err(stop),
            None if self.buffer.len() < PIECE_BYTES => Ok(()),
            None => self.write_buffer(),
        }
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
