//! `kafka-store audit`: what can be learned from audit logs.

use super::error::CommandError;
use super::print::{Output, Stop, finish};
use crate::audit::{InstanceReport, Report, verify};
use crate::exit::ExitCode;
use clap::{Args, Subcommand};
use serde_json::{Value, json};
use std::fmt::Display;
use std::io::{self, Write};
use std::path::PathBuf;

/// What to do with audit logs.
#[derive(Args, Clone, Debug)]
pub struct AuditArgs {
    /// What to do.
    #[command(subcommand)]
    pub command: AuditCommand,
}

/// What can be done with audit logs.
#[derive(Clone, Debug, Subcommand)]
pub enum AuditCommand {
    /// Prove that audit logs are whole, and tell of nothing that must not happen
    ///
    /// Give all logs of one archive: of every daemon that wrote to it, with every renamed piece, in any order.
    /// A last line that is cut off, and segments under way, are accepted where a daemon was killed. The exit code is 0
    /// if nothing is wrong, and 65 otherwise.
    Verify(VerifyArgs),
}

/// What to verify.
#[derive(Args, Clone, Debug)]
pub struct VerifyArgs {
    /// Audit logs
    #[arg(required = true, value_name = "FILE")]
    pub files: Vec<PathBuf>,
    /// Print one object of JSON
    #[arg(long)]
    pub json: bool,
}

/// Does what `args` ask for.
///
/// # Errors
/// A file that cannot be read, or is no audit log.
pub fn run(args: &AuditArgs) -> Result<ExitCode, CommandError> {
    let AuditCommand::Verify(args) = &args.command;
    let report = verify(&args.files).map_err(|error| CommandError::new(error.to_string()))?;
    let mut output = Output::new(io::stdout().lock());
    let printed = if args.json { print_json(&report, &mut output) } else { print_text(&report, &mut output) };
    finish(output, printed)?;
    Ok(if report.problems.is_empty() { ExitCode::Done } else { ExitCode::Problems })
}

fn print_text<W: Write>(report: &Report, output: &mut Output<W>) -> Result<(), Stop> {
    let mut line = |text: &dyn Display| {
        // A Vec takes everything.
        let _ = writeln!(output.line(), "{text}");
        output.line_done()
    };
    let Report { files, lines, instances, chains, stored, adopted, in_doubt_stored, committed, .. } = report;
    line(&format_args!("{files} files, {lines} lines, {} instances", instances.len()))?;
    for instance in instances {
        line(&format_args!("  {}", described(instance)))?;
    }
    line(&format_args!(
        "{chains} chains: {stored} segments stored, {adopted} adopted, {in_doubt_stored} stored while their daemon \
         was killed; {committed} offsets committed"
    ))?;
    for note in &report.notes {
        line(&format_args!("note: {note}"))?;
    }
    for problem in &report.problems {
        line(problem)?;
    }
    match report.problems.len() {
        0 => line(&"no problems"),
        1 => line(&"1 problem"),
        count => line(&format_args!("{count} problems")),
    }
}

fn described(instance: &InstanceReport) -> String {
    let InstanceReport { name, lines, version, exit_code, open } = instance;
    let version = version.as_deref().map_or_else(String::new, |version| format!(", version {version}"));
    let end = match exit_code {
        Some(code) => format!("ended with exit code {code}"),
        None => "was killed, or still runs".to_owned(),
    };
    let open = if *open > 0 { format!(", {open} charts open at its end") } else { String::new() };
    format!("{name}: {lines} lines{version}, {end}{open}")
}

fn print_json<W: Write>(report: &Report, output: &mut Output<W>) -> Result<(), Stop> {
    let instances = report.instances.iter().map(|instance| {
        let InstanceReport { name, lines, version, exit_code, open } = instance;
        json!({"instance": name, "lines": lines, "version": version, "exit_code": exit_code, "open_charts": open})
    });
    let problems = report.problems.iter().map(|problem| {
        let place = &problem.place;
        json!({"kind": problem.kind.as_str(), "file": &*place.file, "line": place.line, "message": problem.message})
    });
    let object = json!({
        "files": report.files,
        "lines": report.lines,
        "torn_lines": report.torn_lines,
        "instances": instances.collect::<Value>(),
        "chains": report.chains,
        "stored": report.stored,
        "adopted": report.adopted,
        "in_doubt_stored": report.in_doubt_stored,
        "committed": report.committed,
        "notes": report.notes,
        "problems": problems.collect::<Value>(),
    });
    let _ = writeln!(output.line(), "{object}");
    output.line_done()
}
