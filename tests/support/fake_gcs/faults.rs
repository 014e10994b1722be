//! What goes wrong on purpose.

use super::request::Kind;
use crate::support::seed::Chance;
use std::collections::VecDeque;
use std::time::Duration;

/// Something that goes wrong with one request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    // ---- Before anything is done ----
    /// The connection is reset.
    Reset,
    /// This status is answered at once. The shapes of the body take turns: JSON, plain text, HTML, empty.
    Answer(u16),
    /// The same, and the connection is closed with the rest of the body unread: the answer may be lost by that.
    AnswerAndClose(u16),
    /// The session is dead: 410, now and later.
    SessionGone,
    /// Nothing is read and nothing comes, as long as the client waits.
    Stall,
    /// The request is served after this time.
    Delay(Duration),

    // ---- In the middle of the body; whole quanta of what came are persisted ----
    /// The connection is reset.
    ResetAfter(After),
    /// This status is answered.
    AnswerAfter(After, u16),
    /// Nothing is read any more and nothing comes, as long as the client waits.
    StallAfter(After),
    /// No more is persisted than whole quanta of so many bytes of the body, and a 308 says so.
    PersistOnly(u64),

    // ---- When the work is done ----
    /// The connection is closed without a byte.
    DropAnswer,
    /// The same, only of the answer that an upload is finalized.
    DropFinalAnswer,
    /// Nothing comes, as long as the client waits.
    StallAnswer,
    /// The same, only of the answer that an upload is finalized.
    StallFinalAnswer,
    /// A 308 to a data PUT has no Range, although bytes are persisted.
    NoRange,
    /// A 308 says that so many bytes more are persisted than data PUTs have ever announced.
    AckMore(u64),
    /// The JSON of a final 200 ends in the middle.
    GarbledFinal,
    /// The connection is closed in the middle of the JSON of a final 200.
    CutFinal,
    /// A final 200 with a size that is not what was stored.
    WrongFinalSize,
    /// A final 200 with a CRC32C that is not what was stored.
    WrongFinalCrc32c,
    /// A final 200 with an MD5 that is not what was stored.
    WrongFinalMd5,
    /// A media GET breaks after so many bytes.
    BreakMedia(u64),
    /// A media GET stalls after so many bytes.
    StallMedia(u64),
    /// A media GET brings this byte with a bit flipped.
    FlipMediaBit(u64),
    /// The `X-Goog-Hash` of a media GET is another object's.
    WrongHash,
}

/// After how many bytes a fault comes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum After {
    /// Of this request's body, if it is as long.
    Request(u64),
    /// Of the whole object: it hits the data PUT that brings the last of them.
    Object(u64),
}

impl After {
    /// How many bytes of a body that begins at `first` are read. `None` if the fault is not for this body.
    fn of_body(self, first: u64, length: u64) -> Option<u64> {
        match self {
            After::Request(bytes) => (bytes <= length).then_some(bytes),
            After::Object(bytes) => (first < bytes && bytes <= first + length).then(|| bytes - first),
        }
    }
}

/// How far a request has come, and what is known of it.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Stage {
    /// Its head is here. The body begins at `first` of the object.
    Arrived { first: u64, length: u64 },
    /// This is about to be answered.
    Done(Outcome),
}

/// What is about to be answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// An upload is finalized.
    Final,
    /// The 308 of a session.
    Resume {
        /// Whether it has a Range.
        has_range: bool,
    },
    /// Bytes of an object, so many.
    Media(u64),
    Other,
}

impl Fault {
    fn applies(self, kind: Kind, stage: Stage) -> bool {
        use Fault::*;
        match stage {
            Stage::Arrived { first, length } => match self {
                Reset | Answer(_) | AnswerAndClose(_) | Stall | Delay(_) => true,
                SessionGone => Kind::SESSION.contains(&kind),
                ResetAfter(after) | AnswerAfter(after, _) | StallAfter(after) => {
                    [Kind::DataPut, Kind::InsertMedia, Kind::InsertMultipart].contains(&kind)
                        && after.of_body(first, length).is_some()
                }
                PersistOnly(bytes) => kind == Kind::DataPut && bytes < length,
                _ => false,
            },
            Stage::Done(outcome) => match self {
                DropAnswer | StallAnswer => true,
                DropFinalAnswer | StallFinalAnswer | GarbledFinal | CutFinal | WrongFinalSize | WrongFinalCrc32c
                | WrongFinalMd5 => outcome == Outcome::Final,
                NoRange => kind == Kind::DataPut && outcome == Outcome::Resume { has_range: true },
                AckMore(_) => matches!(outcome, Outcome::Resume { .. }),
                BreakMedia(bytes) | StallMedia(bytes) | FlipMediaBit(bytes) => {
                    matches!(outcome, Outcome::Media(length) if bytes < length)
                }
                WrongHash => matches!(outcome, Outcome::Media(_)),
                _ => false,
            },
        }
    }

    /// How many bytes of a body are read before it.
    pub(crate) fn bytes_before(self, first: u64, length: u64) -> Option<u64> {
        match self {
            Fault::ResetAfter(after) | Fault::AnswerAfter(after, _) | Fault::StallAfter(after) => {
                after.of_body(first, length)
            }
            Fault::PersistOnly(bytes) => (bytes < length).then_some(bytes),
            _ => None,
        }
    }
}

/// One thing after the other, or by chance.
#[derive(Debug)]
enum Plan {
    Sequence(VecDeque<(Vec<Kind>, Fault)>),
    Chance { kinds: Vec<Kind>, fault: Fault, per_mille: u64, chance: Chance },
}

/// What is armed.
#[derive(Debug, Default)]
pub(crate) struct Faults {
    plans: Vec<Plan>,
    fired: Vec<(Kind, Fault)>,
}

impl Faults {
    /// One fault, for the next request of one of the kinds to which it applies.
    pub(crate) fn arm(&mut self, kinds: &[Kind], fault: Fault) {
        self.arm_times(kinds, fault, 1);
    }

    /// The same fault so many times.
    pub(crate) fn arm_times(&mut self, kinds: &[Kind], fault: Fault, times: usize) {
        self.arm_sequence(kinds, &vec![fault; times]);
    }

    /// Several faults: each waits until the one before has come.
    pub(crate) fn arm_sequence(&mut self, kinds: &[Kind], faults: &[Fault]) {
        self.plans.push(Plan::Sequence(faults.iter().map(|fault| (kinds.to_vec(), *fault)).collect()));
    }

    /// A fault for so many of a thousand requests of the kinds to which it applies.
    pub(crate) fn arm_chance(&mut self, kinds: &[Kind], fault: Fault, per_mille: u64, seed: u64) {
        self.plans.push(Plan::Chance { kinds: kinds.to_vec(), fault, per_mille, chance: Chance::fixed(seed) });
    }

    pub(crate) fn disarm(&mut self) {
        self.plans.clear();
    }

    /// Those of the sequences that are still to come.
    pub(crate) fn to_come(&self) -> usize {
        self.plans.iter().map(|plan| if let Plan::Sequence(steps) = plan { steps.len() } else { 0 }).sum()
    }

    /// Those that have come, in order.
    pub(crate) fn fired(&self) -> &[(Kind, Fault)] {
        &self.fired
    }

    /// The fault that hits a request at this stage: the first plan's that has one.
    pub(crate) fn take(&mut self, kind: Kind, stage: Stage) -> Option<Fault> {
        let fault = self.plans.iter_mut().find_map(|plan| plan.take(kind, stage))?;
        self.plans.retain(|plan| !matches!(plan, Plan::Sequence(steps) if steps.is_empty()));
        self.fired.push((kind, fault));
        Some(fault)
    }
}

impl Plan {
    fn take(&mut self, kind: Kind, stage: Stage) -> Option<Fault> {
        match self {
            Plan::Sequence(steps) => {
                let (kinds, fault) = steps.front()?;
                let fault = (kinds.contains(&kind) && fault.applies(kind, stage)).then_some(*fault)?;
                steps.pop_front();
                Some(fault)
            }
            Plan::Chance { kinds, fault, per_mille, chance } => {
                let applies = kinds.contains(&kind) && fault.applies(kind, stage);
                (applies && chance.below(1000) < *per_mille).then_some(*fault)
            }
        }
    }
}
