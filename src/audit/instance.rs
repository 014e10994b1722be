//! The lines of one instance, in order: do they tell what the charts allow, and all of it?

use super::chain::Chains;
use super::entry::{Entry, Moved, PartitionKey, Said, Started};
use super::report::{InstanceReport, Place, ProblemKind, Problems, Report};
use super::segment::SegmentTrail;
use super::tables::{Table, name};
use crate::exit::ExitCode;
use std::collections::BTreeMap;

/// What all instances add to.
pub(super) struct Findings<'a> {
    pub(super) report: &'a mut Report,
    pub(super) problems: &'a mut Problems,
    pub(super) chains: &'a mut Chains,
}

/// One instance, as far as its lines were read.
pub(super) struct Instance<'t> {
    name: String,
    tables: &'t [Table],
    lines: u64,
    last_sequence: u64,
    pub(super) started: Option<Started>,
    /// Its first lines were not given: what its charts were in when they begin to be told is not known.
    begins_later: bool,
    ended: Option<(u64, Place)>,
    charts: BTreeMap<ChartKey, Trail>,
    /// What the assignment chart heard last.
    last_assignment_event: String,
}

/// Whose states they are: without a partition of the assignment, without a start of the partition, with an upload's
/// number of that upload.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct ChartKey {
    pub(super) partition: Option<(String, u64)>,
    pub(super) epoch: u64,
    pub(super) start: Option<u64>,
    pub(super) upload: Option<u64>,
}

/// A chart, as far as it was told.
#[derive(Debug)]
pub(super) struct Trail {
    pub(super) state: String,
    pub(super) place: Place,
    /// Of a partition's chart: where its next segment is to start, if it may start one.
    pub(super) position: Option<u64>,
    pub(super) segment: SegmentTrail,
}

impl<'t> Instance<'t> {
    pub(super) fn new(name: &str, tables: &'t [Table]) -> Instance<'t> {
        Instance {
            name: name.to_owned(),
            tables,
            lines: 0,
            last_sequence: 0,
            started: None,
            begins_later: false,
            ended: None,
            charts: BTreeMap::new(),
            last_assignment_event: String::new(),
        }
    }

    pub(super) fn line(&mut self, place: &Place, entry: Entry, findings: &mut Findings<'_>) {
        self.lines += 1;
        if !self.follows(place, entry.sequence, findings.problems) {
            return;
        }
        if let Some((_, end)) = &self.ended {
            let message = format!("{} had ended at {end}", self.name);
            findings.problems.add(ProblemKind::Misplaced, place, message);
        }
        match entry.said {
            Said::Started(started) => {
                if entry.sequence != 1 {
                    let message = format!("{} is said to start again", self.name);
                    findings.problems.add(ProblemKind::Misplaced, place, message);
                }
                self.started = Some(started);
            }
            Said::Ended { exit_code } => self.ended = Some((exit_code, place.clone())),
            Said::Transition(moved) => {
                if entry.sequence == 1 {
                    let message = format!("{} does not begin with its start", self.name);
                    findings.problems.add(ProblemKind::Misplaced, place, message);
                }
                self.transition(place, &moved, findings);
            }
        }
    }

    /// Whether the line is new; what is missing before it is told.
    fn follows(&mut self, place: &Place, sequence: u64, problems: &mut Problems) -> bool {
        let expected = self.last_sequence + 1;
        if sequence < expected {
            problems.add(ProblemKind::RepeatedLine, place, format!("{} has {sequence} twice", self.name));
            return false;
        }
        if sequence > expected {
            let last = sequence - 1;
            let which = if last == expected { format!("{last} is") } else { format!("{expected} to {last} are") };
            problems.add(ProblemKind::MissingLines, place, format!("of {}, {which} missing", self.name));
            self.begins_later |= expected == 1;
        }
        self.last_sequence = sequence;
        true
    }

    fn transition(&mut self, place: &Place, moved: &Moved, findings: &mut Findings<'_>) {
        let Moved { chart, from, event, to, .. } = moved;
        let tables = self.tables;
        let Some(table) = tables.iter().find(|table| table.chart == chart) else {
            findings.problems.add(ProblemKind::IllegalTransition, place, format!("there is no chart {chart:?}"));
            return;
        };
        if !table.allows(from, event, to) {
            let message = format!("the {chart} chart does not go from {from} by {event} to {to}");
            findings.problems.add(ProblemKind::IllegalTransition, place, message);
        }
        let Some(key) = ChartKey::of(moved, table) else {
            let message = format!("a transition of the {chart} chart does not say whose it is");
            findings.problems.add(ProblemKind::UnreadableLine, place, message);
            return;
        };
        if key.partition.is_none() {
            self.last_assignment_event.clone_from(event);
        }
        let trail = self.charts.remove(&key);
        let was = trail.as_ref().map_or(table.initial, |trail| &trail.state);
        let is_known = trail.is_some() || !self.begins_later;
        if was != from && is_known {
            let since = trail.as_ref().map_or_else(String::new, |trail| format!(" since {}", trail.place));
            let message = format!("it leaves {from}, but the {chart} chart was in {was}{since}");
            findings.problems.add(ProblemKind::MissingTransition, place, message);
        }
        let mut trail = trail.unwrap_or_else(|| Trail::new(place, is_known));
        (trail.state, trail.place) = (to.clone(), place.clone());
        if let Err(reason) = self.judge(&key, &mut trail, moved, findings) {
            findings.problems.add(ProblemKind::UnreadableLine, place, reason);
        }
        // A segment that is done with is forgotten, and may come again under the same name.
        if !(key.start.is_some() && trail.state == table.initial) {
            self.charts.insert(key, trail);
        }
    }

    fn judge(
        &mut self,
        key: &ChartKey,
        trail: &mut Trail,
        moved: &Moved,
        findings: &mut Findings<'_>,
    ) -> Result<(), String> {
        let Some(partition) = &moved.partition else { return Ok(()) };
        if key.upload.is_some() {
            // Its order is all that there is to judge: what came of it, the segment tells.
            return Ok(());
        }
        let Some(start) = key.start else {
            trail.position = None;
            if moved.to == name::ACTIVE || moved.to == name::WAITING_FOR_SLOT {
                let position = moved.position()?;
                trail.position = Some(position);
                if moved.event == name::LOCATED {
                    findings.chains.located(partition, position, &trail.place);
                }
            }
            return Ok(());
        };
        if moved.event == name::FIRST_RECORD {
            self.check_position(key, start, &trail.place, findings.problems);
        }
        if moved.event == name::BOUNDARY_REACHED {
            let of_partition = ChartKey { start: None, ..key.clone() };
            if let Some(partition) = self.charts.get_mut(&of_partition).filter(|trail| trail.position == Some(start)) {
                partition.position = Some(moved.final_offset()?.saturating_add(1));
            }
        }
        let indexed = self.started.as_ref().map(|started| started.indexed);
        trail.segment.step(partition, start, indexed, &trail.place, moved, findings)
    }

    /// A segment is named by its partition's position.
    fn check_position(&self, key: &ChartKey, start: u64, place: &Place, problems: &mut Problems) {
        let of_partition = ChartKey { start: None, ..key.clone() };
        let message = match self.charts.get(&of_partition) {
            None if self.begins_later => return,
            Some(Trail { position: Some(position), .. }) if *position == start => return,
            Some(Trail { position: Some(position), .. }) => {
                format!("the segment starts at {start}, and the position is {position}")
            }
            _ => format!("the segment at {start} is opened while its partition takes no records"),
        };
        problems.add(ProblemKind::WrongPosition, place, message);
    }

    /// After the last line.
    pub(super) fn finish(self, findings: &mut Findings<'_>) {
        self.check_has_left(findings.problems);
        let open: Vec<(&ChartKey, &Trail)> = self.charts.iter().filter(|(key, trail)| trail.is_open(key)).collect();
        for (key, trail) in &open {
            if let (Some(start), Some(partition)) = (key.start, &trail.segment.partition) {
                trail.segment.leave_in_doubt(partition, start, &trail.state, findings.chains);
            }
            let whose = key.describe();
            if self.ended_drained() {
                let message = format!("{whose} is left in {}, but {} ended in good order", trail.state, self.name);
                findings.problems.add(ProblemKind::LeftOpen, &trail.place, message);
            } else if self.was_succeeded(key) {
                let message = format!("{whose} is left in {}, and its successor came and went", trail.state);
                findings.problems.add(ProblemKind::LeftOpen, &trail.place, message);
            }
        }
        findings.report.instances.push(InstanceReport {
            open: open.len() as u64,
            name: self.name,
            lines: self.lines,
            version: self.started.map(|started| started.version),
            exit_code: self.ended.map(|(code, _)| code),
        });
    }

    /// Whether it ended with all writers having had the time that they needed. Where Kafka's client has failed for
    /// good, nothing more can be done.
    fn ended_drained(&self) -> bool {
        let fenced = u64::from(ExitCode::Fenced.number());
        self.ended.as_ref().is_some_and(|(code, _)| *code != fenced)
            && self.last_assignment_event != name::DRAIN_EXPIRED
    }

    fn check_has_left(&self, problems: &mut Problems) {
        let assignment = self.charts.get(&ChartKey { partition: None, epoch: 0, start: None, upload: None });
        if let Some((_, end)) = &self.ended
            && self.ended_drained()
            && assignment.is_none_or(|assignment| assignment.state != name::LEFT)
        {
            let message = format!("{} ended in good order, but the assignment was not left", self.name);
            problems.add(ProblemKind::LeftOpen, end, message);
        }
    }

    /// Whether a later assignment of the same partition is over already.
    fn was_succeeded(&self, key: &ChartKey) -> bool {
        key.partition.is_some()
            && self.charts.iter().any(|(other, trail)| {
                other.partition == key.partition && other.epoch > key.epoch && trail.state == name::GONE
            })
    }
}

impl ChartKey {
    fn of(moved: &Moved, table: &Table) -> Option<ChartKey> {
        let Some(PartitionKey { topic, partition, .. }) = &moved.partition else {
            let is_assignment = table.chart == name::ASSIGNMENT;
            return is_assignment.then_some(ChartKey { partition: None, epoch: 0, start: None, upload: None });
        };
        let partition = Some((topic.clone(), *partition));
        if table.chart == name::UPLOAD {
            return Some(ChartKey { partition, epoch: 0, start: Some(moved.start?), upload: Some(moved.upload?) });
        }
        let has_start = table.chart == name::SEGMENT;
        let fits = table.chart != name::ASSIGNMENT && moved.start.is_some() == has_start && moved.upload.is_none();
        fits.then_some(ChartKey { partition, epoch: moved.epoch?, start: moved.start, upload: None })
    }

    fn describe(&self) -> String {
        match (&self.partition, self.start) {
            (Some((topic, partition)), Some(start)) => format!("the segment {start} of {topic}-{partition}"),
            (Some((topic, partition)), None) => format!("the partition {topic}-{partition}"),
            (None, _) => "the assignment".to_owned(),
        }
    }
}

impl Trail {
    fn new(place: &Place, is_known: bool) -> Trail {
        Trail { state: String::new(), place: place.clone(), position: None, segment: SegmentTrail::new(is_known) }
    }

    /// Whether something was under way. A segment that is done with has no trail, and an upload may be left at any time:
    /// the next one of the segment goes on from there.
    fn is_open(&self, key: &ChartKey) -> bool {
        key.partition.is_some() && key.upload.is_none() && self.state != name::GONE
    }
}
