//! `kafka-store index rebuild`.

use super::{failed, open};
use crate::archive::{DivergenceKind, Rebuilt, rebuild};
use crate::cli::{GcsArgs, IndexArgs};
use crate::commands::error::CommandError;
use crate::commands::location::{Location, Place};
use crate::commands::memory::MemoryArgs;
use crate::commands::print::{Output, Stop, finish};
use crate::exit::ExitCode;
use clap::Args;
use indicatif::{ProgressBar, ProgressStyle};
use serde_json::{Value, json};
use std::fmt::Display;
use std::io::{self, Write};
use std::path::PathBuf;
use std::time::Duration;

/// An index, and the archive that it is made from.
#[derive(Args, Clone, Debug)]
pub struct RebuildArgs {
    /// The place of an archive, a topic or a partition: a directory, or gs://BUCKET/PREFIX
    #[arg(value_name = "LOCATION")]
    pub archive: PathBuf,
    /// Where it is.
    #[command(flatten)]
    pub index: IndexArgs,
    /// Memory for decoding.
    #[command(flatten)]
    pub memory: MemoryArgs,
    /// How Google Cloud Storage is reached.
    #[command(flatten)]
    pub gcs: GcsArgs,
    /// Print one object of JSON
    #[arg(long)]
    pub json: bool,
}

pub(super) fn run(args: &RebuildArgs) -> Result<ExitCode, CommandError> {
    args.memory.limit_process();
    let index = open(&args.index)?;
    index.check_schema().map_err(|error| failed(&error))?;
    let Place { store, scope, .. } = Location::find_place(&args.archive, &args.gcs)?;
    // It draws itself only where stderr is a terminal.
    let bar = ProgressBar::no_length();
    bar.set_style(ProgressStyle::with_template("{pos} files read, {per_sec}").expect("a valid template"));
    bar.enable_steady_tick(Duration::from_millis(200));
    let rebuilt = rebuild(store.as_ref(), &index, &scope, &mut || bar.inc(1)).map_err(|error| failed(&error))?;
    bar.finish_and_clear();
    let mut output = Output::new(io::stdout().lock());
    let printed = if args.json {
        print_json(&rebuilt, &mut output)
    } else {
        print_text(&index.describe(), &rebuilt, &mut output)
    };
    finish(output, printed)?;
    let is_of_the_archive =
        |kind: &DivergenceKind| matches!(kind, DivergenceKind::Unreadable(_) | DivergenceKind::Unchained(_));
    let has_problems = rebuilt.found.divergences.iter().any(|divergence| is_of_the_archive(&divergence.kind));
    Ok(if has_problems { ExitCode::Problems } else { ExitCode::Done })
}

fn print_text<W: Write>(index: &str, rebuilt: &Rebuilt, output: &mut Output<W>) -> Result<(), Stop> {
    let mut line = |text: &dyn Display| {
        // A Vec takes everything.
        let _ = writeln!(output.line(), "{text}");
        output.line_done()
    };
    let Rebuilt { found, made, changed, removed, left } = rebuilt;
    for divergence in &found.divergences {
        line(divergence)?;
    }
    line(&format_args!(
        "{index}: {} chains, {} files; rows made: {made}, changed: {changed}, removed: {removed}",
        found.chains, found.objects
    ))?;
    if *left > 0 {
        line(&format_args!(
            "{left} rows were written by others meanwhile, and are left alone: run it again to compare them"
        ))?;
    }
    match found.incomplete_rows {
        0 => Ok(()),
        count => line(&format_args!("{count} rows of the original kafka-store have all columns now")),
    }
}

fn print_json<W: Write>(rebuilt: &Rebuilt, output: &mut Output<W>) -> Result<(), Stop> {
    let Rebuilt { found, made, changed, removed, left } = rebuilt;
    let divergences = found.divergences.iter().map(|divergence| {
        json!({
            "kind": divergence.kind.as_str(),
            "segment": divergence.name.to_string(),
            "message": divergence.to_string(),
        })
    });
    let object = json!({
        "chains": found.chains,
        "files": found.objects,
        "rows_made": made,
        "rows_changed": changed,
        "rows_removed": removed,
        "rows_left": left,
        "rows_completed": found.incomplete_rows,
        "divergences": divergences.collect::<Value>(),
    });
    let _ = writeln!(output.line(), "{object}");
    output.line_done()
}
