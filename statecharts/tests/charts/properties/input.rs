//! An input ends once, for the cause that counts, and seals what is left once.

use super::{Draw, draws, now};
use crate::text::offset;
use kafka_store_statecharts::boundary::SealReason;
use kafka_store_statecharts::chart::on;
use kafka_store_statecharts::input::{Input, InputEffect, InputEnd, InputEvent, InputState, SeenEnd};
use proptest::prelude::*;

/// An event as a writer hands it on, whatever the state.
pub(super) fn event((what, which, how): Draw) -> InputEvent {
    let (position, high_watermark) = (offset(i64::from(which)), Some(offset(i64::from(which) + i64::from(how % 3))));
    match what % 16 {
        0..=4 => InputEvent::RecordsArrived,
        5..=8 => InputEvent::EndReached { end: SeenEnd { position, high_watermark } },
        9 => InputEvent::TargetReached,
        10 | 11 => InputEvent::TargetArchived,
        12 if which < 64 => InputEvent::TakenAgain,
        12 | 13 => InputEvent::Closed {
            end: match how % 3 {
                0 => InputEnd::Retention,
                1 => InputEnd::TopicGone,
                _ => InputEnd::Failed { reason: how.to_string() },
            },
        },
        _ => InputEvent::QueueDrained,
    }
}

/// Events that an input has taken.
#[derive(Default)]
struct Told {
    /// The end of the log, if nothing came after it.
    end: Option<SeenEnd>,
    /// Records came after an end.
    caught_up_before: bool,
    /// The cause that counts.
    cause: Option<InputEnd>,
}

impl Told {
    fn take(&mut self, event: InputEvent) {
        match event {
            InputEvent::RecordsArrived => self.caught_up_before |= self.end.take().is_some(),
            InputEvent::EndReached { end } => self.end = Some(end),
            InputEvent::Closed { end } => {
                self.end = None;
                if self.cause.is_none() || end == InputEnd::TopicGone {
                    self.cause = Some(end);
                }
            }
            // What was read up to the end stays read: the commit's metadata names it.
            InputEvent::TargetReached | InputEvent::TargetArchived => {}
            InputEvent::QueueDrained => self.end = None,
            InputEvent::TakenAgain => {
                self.end = None;
                self.cause = Some(InputEnd::TopicGone);
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1024, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn an_input_ends_once(starts_at_target: bool, draws in draws()) {
        let mut chart = if starts_at_target { Input::finished() } else { Input::flowing() };
        let (mut told, mut made) = (Told::default(), Vec::new());
        for (step, draw) in draws.into_iter().enumerate() {
            let event = event(draw);
            let (was_open, was_ended) = (chart.is_open(), matches!(chart.state, InputState::Ended { .. }));
            let Ok(transition) = on(&chart, now(step), event.clone()) else { continue };
            let again = event == InputEvent::TakenAgain;
            prop_assert!((again || !was_ended) && chart.state != InputState::Reported, "nothing follows an end");
            if again {
                // What is sealed from now on ends once more.
                made.clear();
            }
            prop_assert!(was_open || event != InputEvent::RecordsArrived, "records are wanted only while it is open");
            prop_assert!(was_open || !transition.chart.is_open(), "only a new start opens it again");
            made.extend(transition.effects);
            chart = transition.chart;
            told.take(event);
            prop_assert_eq!(chart.end(), told.end, "the end of the log is known until more is read");
            prop_assert_eq!(chart.caught_up_before, told.caught_up_before);
            if let InputState::Ending { end } | InputState::Ended { end } = &chart.state {
                prop_assert_eq!(Some(end), told.cause.as_ref());
            }
        }
        let count = |wanted: fn(&InputEffect) -> bool| made.iter().filter(|effect| wanted(effect)).count();
        let reasons: Vec<SealReason> = made
            .iter()
            .filter_map(|effect| match effect {
                InputEffect::SealRest { reason } => Some(*reason),
                _ => None,
            })
            .collect();
        let reached = usize::from(chart.is_finished());
        let expected = match &chart.state {
            InputState::Ended { end } => vec![end.seal_reason()],
            _ if chart.is_finished() && !starts_at_target => vec![SealReason::UntilEnd],
            _ => Vec::new(),
        };
        prop_assert_eq!(reasons, expected, "what is left is sealed once, for the cause that counts");
        prop_assert_eq!(
            count(|effect| *effect == InputEffect::EndInput),
            usize::from(matches!(chart.state, InputState::Ended { .. })),
            "the partition hears of the end once, when everything is sealed"
        );
        prop_assert!(count(|effect| *effect == InputEffect::ReportTarget) <= reached, "a target is reported once");
    }
}
