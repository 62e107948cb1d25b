//! The differences that are meant, each with the statement it rests on.

use crate::answer::Said;
use crate::sequence::Sequence;

/// Who does what the standard says.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Right {
    Moat,
    Both,
}

/// What two brokers said differently on one connection in one step.
pub(crate) struct Difference<'a> {
    pub(crate) sequence: &'a Sequence,
    pub(crate) step: usize,
    pub(crate) slot: usize,
    pub(crate) moat: Vec<Said>,
    pub(crate) mosquitto: Vec<Said>,
}

/// What goes on after a difference.
pub(crate) enum After {
    /// The brokers are in the same state: these answers go on being compared.
    Same(Vec<Said>, Vec<Said>),
    /// They are not any more, and what follows says nothing.
    Apart,
}

pub(crate) struct Rule {
    pub(crate) name: &'static str,
    /// The statement, or the section where it has none.
    pub(crate) statement: &'static str,
    pub(crate) right: Right,
    pub(crate) why: &'static str,
    pub(crate) applies: fn(&Difference<'_>) -> Option<After>,
}

pub(crate) const RULES: &[Rule] = &[];
