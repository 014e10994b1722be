//! The table that every statechart runs on.
//!
//! A chart is a value and a table of rows (from, event, guard, to, effects). [`on`] finds the first row
//! that fits and runs it; the diagrams and the tests read the same rows. There is no second truth: what
//! is not in the table does not happen.

use alloc::vec::Vec;
use core::fmt;

/// A moment, as the caller tells it: charts have no clock.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Now {
    /// Milliseconds on a clock that never goes back, from an arbitrary start.
    pub monotonic_ms: u64,
    /// Milliseconds since the Unix epoch, by the host's clock.
    pub wall_ms: i64,
}

/// The names of a chart's states, events or effects, without their data.
pub trait Kind: Copy + Eq + Ord + fmt::Debug + 'static {
    /// Every name, in the order of its definition.
    const ALL: &'static [Self];

    /// The name as logs and diagrams show it.
    fn as_str(self) -> &'static str;
}

/// A statechart: a state with its data, and the table of what can happen to it.
pub trait Chart: Clone + fmt::Debug + 'static {
    /// What can happen.
    type Event: fmt::Debug;
    /// What is to be done about it; the caller does it, in order, and feeds the answers back.
    type Effect: fmt::Debug;
    /// The names of the states. Substates are names of their own.
    type StateKind: Kind;
    /// The names of the events.
    type EventKind: Kind;
    /// The names of the effects.
    type EffectKind: Kind;

    /// The chart's name, in logs and diagrams.
    const NAME: &'static str;
    /// The state a new chart is in.
    const INITIAL: Self::StateKind;
    /// All transitions. For one pair of state and event the first row whose guard holds is taken.
    const TABLE: &'static [Row<Self>];
    /// The pairs in which an event may come too late through nobody's fault. It is then refused as
    /// [`Refusal::Stale`]; every other pair without a row is a bug of the caller's.
    const STALE: &'static [(Self::StateKind, Self::EventKind)];

    /// The name of the present state.
    fn state(&self) -> Self::StateKind;
    /// The name of an event.
    fn event_kind(event: &Self::Event) -> Self::EventKind;
    /// The name of an effect.
    fn effect_kind(effect: &Self::Effect) -> Self::EffectKind;
}

/// One transition.
pub struct Row<C: Chart> {
    /// The state it starts from.
    pub from: C::StateKind,
    /// The event that takes it.
    pub event: C::EventKind,
    /// What must hold besides.
    pub guard: Option<Guard<C>>,
    /// The state it ends in.
    pub to: C::StateKind,
    /// The effects that it may have, in the order in which they are carried out.
    pub effects: &'static [C::EffectKind],
    /// Makes the new value and the effects.
    pub act: fn(&mut C, Now, C::Event, &mut Vec<C::Effect>),
}

impl<C: Chart> Row<C> {
    /// A row, in the order in which one reads it.
    pub const fn new(
        from: C::StateKind,
        event: C::EventKind,
        guard: Option<Guard<C>>,
        to: C::StateKind,
        effects: &'static [C::EffectKind],
        act: fn(&mut C, Now, C::Event, &mut Vec<C::Effect>),
    ) -> Row<C> {
        Row { from, event, guard, to, effects, act }
    }
}

/// A named condition on a state and an event.
pub struct Guard<C: Chart> {
    /// What it asks, in words that fit a diagram.
    pub name: &'static str,
    /// Whether it holds.
    pub holds: fn(&C, &C::Event) -> bool,
}

impl<C: Chart> fmt::Debug for Row<C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} --{}", self.from.as_str(), self.event.as_str())?;
        if let Some(guard) = &self.guard {
            write!(f, " [{}]", guard.name)?;
        }
        write!(f, "--> {}", self.to.as_str())
    }
}

impl<C: Chart> fmt::Debug for Guard<C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name)
    }
}

/// What a transition leaves behind.
#[derive(Clone, Debug)]
pub struct Transition<C: Chart> {
    /// The new value.
    pub chart: C,
    /// The state before.
    pub from: C::StateKind,
    /// What happened.
    pub event: C::EventKind,
    /// The state after.
    pub to: C::StateKind,
    /// What is to be done, in order.
    pub effects: Vec<C::Effect>,
}

/// An event that the chart refused. Its value has not changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Refused<S, E> {
    /// The state that refused.
    pub state: S,
    /// What was refused.
    pub event: E,
    /// Why.
    pub refusal: Refusal,
}

/// Why an event was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// It came too late, as can happen in good order. Count it and go on.
    Stale,
    /// It cannot happen here: a bug. End the process; a restart is safe.
    Impossible,
}

impl<S: Kind, E: Kind> fmt::Display for Refused<S, E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "event {} in state {} is {:?}", self.event.as_str(), self.state.as_str(), self.refusal)
    }
}

/// What [`on`] answers.
pub type Outcome<C> = Result<Transition<C>, Refused<<C as Chart>::StateKind, <C as Chart>::EventKind>>;

/// Gives a chart an event at a moment. A refusal leaves the chart as it was.
pub fn on<C: Chart>(chart: &C, now: Now, event: C::Event) -> Outcome<C> {
    on_rows(C::TABLE.iter(), chart, now, event)
}

/// As [`on`], but with the rows given: by it the tests run a table that lacks a row.
pub fn on_rows<'a, C: Chart>(
    mut rows: impl Iterator<Item = &'a Row<C>>,
    chart: &C,
    now: Now,
    event: C::Event,
) -> Outcome<C> {
    let (from, kind) = (chart.state(), C::event_kind(&event));
    let fits = |row: &&Row<C>| {
        row.from == from && row.event == kind && row.guard.as_ref().is_none_or(|guard| (guard.holds)(chart, &event))
    };
    let Some(row) = rows.find(fits) else {
        let refusal = if C::STALE.contains(&(from, kind)) { Refusal::Stale } else { Refusal::Impossible };
        return Err(Refused { state: from, event: kind, refusal });
    };
    let mut next = chart.clone();
    let mut effects = Vec::new();
    (row.act)(&mut next, now, event, &mut effects);
    assert_eq!(next.state(), row.to, "{}: {row:?} ended elsewhere", C::NAME);
    assert!(
        is_subsequence(effects.iter().map(C::effect_kind), row.effects),
        "{}: {row:?} had effects that its row does not name: {effects:?}",
        C::NAME
    );
    Ok(Transition { chart: next, from, event: kind, to: row.to, effects })
}

/// Whether `made` occurs in `named` in this order; an effect named once may be made several times over.
fn is_subsequence<K: Kind>(made: impl Iterator<Item = K>, named: &[K]) -> bool {
    let mut rest = named;
    for kind in made {
        match rest.iter().position(|name| *name == kind) {
            Some(index) => rest = &rest[index..],
            None => return false,
        }
    }
    true
}

/// Defines the names that go with an enum, and the method that tells a value's name.
macro_rules! kinds {
    ($(#[$meta:meta])* $Kind:ident of $Enum:ident { $($(#[$variant_meta:meta])* $Variant:ident),* $(,)? }) => {
        $(#[$meta])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        #[allow(missing_docs, reason = "each is documented at the enum that it names")]
        pub enum $Kind { $($Variant),* }

        impl $crate::chart::Kind for $Kind {
            const ALL: &'static [Self] = &[$(Self::$Variant),*];

            fn as_str(self) -> &'static str {
                match self { $(Self::$Variant => stringify!($Variant)),* }
            }
        }

        impl $Enum {
            /// The name, without the data.
            pub fn kind(&self) -> $Kind {
                match self { $(Self::$Variant { .. } => $Kind::$Variant),* }
            }
        }
    };
}
pub(crate) use kinds;
