//! The chart of one start of fetching, as the writer of a partition sees it: records come, until an end is seen, a
//! target is reached, or nothing more can come.
//!
//! Records wait in a queue that the chart does not hold. What ends the input takes effect once the queue is used up:
//! records that were read before are archived first. Each start of fetching begins with a new chart.
//!
//! Non-obvious:
//! * The first cause of an end stands, and later ones are ignored. Only a topic that is gone overrides another cause:
//!   its partition departs instead of being located again or freezing.
//! * An input that has ended ends once more if records that it had sealed are queued again.
//! * Queued records may reach the target after the input was closed: nothing below the target is missing then.

use crate::boundary::SealReason;
use crate::chart::{Chart, Guard, Now, Row, kinds};
use crate::offset::Offset;
use alloc::string::String;
use alloc::vec::Vec;

use InputEffectKind as Do;
use InputEventKind as On;
use InputStateKind as In;

/// The input of a writer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Input {
    /// The state and what belongs to it.
    pub state: InputState,
    /// True if the end of the log was reached before, in this start of fetching.
    pub caught_up_before: bool,
    /// End of the log where the target was reached there: what lies between the last record and it is invisible.
    pub end_at_target: Option<SeenEnd>,
}

/// End of a log, as fetching saw it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SeenEnd {
    /// The position: past trailing offsets that the log does not show.
    pub position: Offset,
    /// The high watermark, if it is known. Beyond `position` while a transaction is open.
    pub high_watermark: Option<Offset>,
}

/// Why nothing more comes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum InputEnd {
    /// Kafka deleted what comes next.
    Retention,
    /// The topic was deleted or re-created.
    TopicGone,
    /// What comes next cannot be read.
    Failed {
        /// Cause, and a way out.
        reason: String,
    },
}

impl InputEnd {
    /// Reason recorded for the segment that the end cuts short.
    pub const fn seal_reason(&self) -> SealReason {
        match self {
            InputEnd::Retention => SealReason::Retention,
            InputEnd::TopicGone => SealReason::TopicGone,
            // It may not be there any more when the partition is looked at again.
            InputEnd::Failed { .. } => SealReason::Overdue,
        }
    }
}

/// The state of an input.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum InputState {
    /// Records come.
    Flowing,
    /// All that the log shows has been read.
    CaughtUp {
        /// The end of the log.
        end: SeenEnd,
    },
    /// `--until-end`: the target is reached; what is fetched from now on is not wanted.
    Finished,
    /// The same, and reported.
    Reported,
    /// Nothing more comes. Queued records are archived first.
    Ending {
        /// Why.
        end: InputEnd,
    },
    /// Nothing more comes, and everything that was read is sealed.
    Ended {
        /// Why.
        end: InputEnd,
    },
}

kinds! {
    /// The names of [`InputState`].
    InputStateKind of InputState { Flowing, CaughtUp, Finished, Reported, Ending, Ended }
}

/// What can happen to an input.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum InputEvent {
    /// Records were fetched.
    RecordsArrived,
    /// Everything there is has been fetched.
    EndReached {
        /// The end of the log.
        end: SeenEnd,
    },
    /// `--until-end`: everything below the target has been read.
    TargetReached,
    /// Everything below the target is stored and committed.
    TargetArchived,
    /// Nothing more comes after what is queued.
    Closed {
        /// Why.
        end: InputEnd,
    },
    /// The queue is used up.
    QueueDrained,
    /// The topic is gone, and records that were sealed are queued once more: the store holds another segment there.
    TakenAgain,
}

kinds! {
    /// The names of [`InputEvent`].
    InputEventKind of InputEvent {
        RecordsArrived, EndReached, TargetReached, TargetArchived, Closed, QueueDrained, TakenAgain,
    }
}

/// What an input asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum InputEffect {
    /// Fetch no more, and drop what is queued.
    StopFetching,
    /// Seal the open segment where it stands.
    SealRest {
        /// Why it ends there.
        reason: SealReason,
    },
    /// Tell the Consumer that the target is reached.
    ReportTarget,
    /// Tell the partition's chart that everything that was read is sealed.
    EndInput,
}

kinds! {
    /// The names of [`InputEffect`].
    InputEffectKind of InputEffect { StopFetching, SealRest, ReportTarget, EndInput }
}

impl Input {
    /// An input from which records are wanted.
    pub const fn flowing() -> Input {
        Input { state: InputState::Flowing, caught_up_before: false, end_at_target: None }
    }

    /// An input whose target is reached from the start.
    pub const fn finished() -> Input {
        Input { state: InputState::Finished, caught_up_before: false, end_at_target: None }
    }

    /// The end of the log, if everything up to it has been read.
    pub const fn end(&self) -> Option<SeenEnd> {
        match self.state {
            InputState::CaughtUp { end } => Some(end),
            InputState::Finished | InputState::Reported => self.end_at_target,
            _ => None,
        }
    }

    /// True if records that arrive are wanted.
    pub const fn is_open(&self) -> bool {
        matches!(self.state, InputState::Flowing | InputState::CaughtUp { .. })
    }

    /// True if a target is reached.
    pub const fn is_finished(&self) -> bool {
        matches!(self.state, InputState::Finished | InputState::Reported)
    }
}

const CAUSE_IS_TOPIC: Guard<Input> =
    Guard { name: "topic gone", holds: |_, event| matches!(event, InputEvent::Closed { end: InputEnd::TopicGone }) };
const OTHER_CAUSE: Guard<Input> = Guard {
    name: "any other cause",
    holds: |_, event| matches!(event, InputEvent::Closed { end } if *end != InputEnd::TopicGone),
};
const TOPIC_IS_GONE: Guard<Input> = Guard { name: "topic gone", holds: |input, _| input.ends_with_topic() };
const TOPIC_REMAINS: Guard<Input> = Guard { name: "any other cause", holds: |input, _| !input.ends_with_topic() };

const FINISHES: &[Do] = &[Do::StopFetching, Do::SealRest];
const ENDS: &[Do] = &[Do::SealRest, Do::EndInput];
const ENDS_AT_TARGET: &[Do] = &[Do::StopFetching, Do::SealRest, Do::EndInput];

impl Chart for Input {
    type Event = InputEvent;
    type Effect = InputEffect;
    type StateKind = InputStateKind;
    type EventKind = InputEventKind;
    type EffectKind = InputEffectKind;

    const NAME: &'static str = "input";
    const INITIAL: In = In::Flowing;
    const TABLE: &'static [Row<Input>] = &[
        Row::new(In::Flowing, On::RecordsArrived, None, In::Flowing, &[], stay),
        Row::new(In::Flowing, On::EndReached, None, In::CaughtUp, &[], catch_up),
        Row::new(In::Flowing, On::TargetReached, None, In::Finished, FINISHES, finish),
        Row::new(In::Flowing, On::Closed, None, In::Ending, &[], close),
        Row::new(In::CaughtUp, On::RecordsArrived, None, In::Flowing, &[], flow_again),
        Row::new(In::CaughtUp, On::EndReached, None, In::CaughtUp, &[], catch_up),
        Row::new(In::CaughtUp, On::TargetReached, None, In::Finished, FINISHES, finish),
        Row::new(In::CaughtUp, On::Closed, None, In::Ending, &[], close),
        Row::new(In::Finished, On::TargetArchived, None, In::Reported, &[Do::ReportTarget], report),
        Row::new(In::Finished, On::TakenAgain, None, In::Ending, &[], end_again),
        Row::new(In::Ending, On::Closed, Some(CAUSE_IS_TOPIC), In::Ending, &[], close),
        Row::new(In::Ending, On::Closed, Some(OTHER_CAUSE), In::Ending, &[], stay),
        Row::new(In::Ending, On::TargetReached, Some(TOPIC_REMAINS), In::Finished, FINISHES, finish),
        Row::new(In::Ending, On::TargetReached, Some(TOPIC_IS_GONE), In::Ended, ENDS_AT_TARGET, end_at_target),
        Row::new(In::Ending, On::QueueDrained, None, In::Ended, ENDS, end),
        Row::new(In::Ending, On::TakenAgain, None, In::Ending, &[], end_again),
        Row::new(In::Ended, On::TakenAgain, None, In::Ending, &[], end_again),
    ];
    /// Mail that was on its way when the input ended.
    const STALE: &'static [(In, On)] = &[
        (In::Finished, On::RecordsArrived),
        (In::Finished, On::EndReached),
        (In::Finished, On::TargetReached),
        (In::Finished, On::Closed),
        (In::Reported, On::RecordsArrived),
        (In::Reported, On::EndReached),
        (In::Reported, On::TargetReached),
        (In::Reported, On::Closed),
        (In::Ending, On::RecordsArrived),
        (In::Ending, On::EndReached),
        (In::Ended, On::RecordsArrived),
        (In::Ended, On::EndReached),
        (In::Ended, On::Closed),
    ];

    fn state(&self) -> In {
        self.state.kind()
    }

    fn event_kind(event: &InputEvent) -> On {
        event.kind()
    }

    fn effect_kind(effect: &InputEffect) -> Do {
        effect.kind()
    }
}

/// What the guards ask.
impl Input {
    fn ends_with_topic(&self) -> bool {
        matches!(self.state, InputState::Ending { end: InputEnd::TopicGone })
    }
}

fn stay(_: &mut Input, _: Now, _: InputEvent, _: &mut Vec<InputEffect>) {}

fn catch_up(input: &mut Input, _: Now, event: InputEvent, _: &mut Vec<InputEffect>) {
    if let InputEvent::EndReached { end } = event {
        input.state = InputState::CaughtUp { end };
    }
}

fn flow_again(input: &mut Input, _: Now, _: InputEvent, _: &mut Vec<InputEffect>) {
    *input = Input { caught_up_before: true, ..Input::flowing() };
}

fn finish(input: &mut Input, _: Now, _: InputEvent, effects: &mut Vec<InputEffect>) {
    input.end_at_target = input.end();
    input.state = InputState::Finished;
    effects.extend([InputEffect::StopFetching, InputEffect::SealRest { reason: SealReason::UntilEnd }]);
}

fn report(input: &mut Input, _: Now, _: InputEvent, effects: &mut Vec<InputEffect>) {
    input.state = InputState::Reported;
    effects.push(InputEffect::ReportTarget);
}

fn close(input: &mut Input, _: Now, event: InputEvent, _: &mut Vec<InputEffect>) {
    if let InputEvent::Closed { end } = event {
        input.state = InputState::Ending { end };
    }
}

fn end_again(input: &mut Input, _: Now, _: InputEvent, _: &mut Vec<InputEffect>) {
    input.state = InputState::Ending { end: InputEnd::TopicGone };
}

fn end(input: &mut Input, _: Now, _: InputEvent, effects: &mut Vec<InputEffect>) {
    if let InputState::Ending { end } = &input.state {
        effects.extend([InputEffect::SealRest { reason: end.seal_reason() }, InputEffect::EndInput]);
        input.state = InputState::Ended { end: end.clone() };
    }
}

/// What is queued beyond the target is not wanted.
fn end_at_target(input: &mut Input, now: Now, event: InputEvent, effects: &mut Vec<InputEffect>) {
    effects.push(InputEffect::StopFetching);
    end(input, now, event, effects);
}
