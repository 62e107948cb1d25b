//! The hottest paths of the broker, each as something to run again and again: `cargo bench -p moat-paths` measures their time, and
//! `cargo xtask instructions` counts their instructions, which do not depend on who else uses the machine.
//!
//! - `codec`: bytes to packets and back.
//! - `policy`: decisions.
//! - `routing`: from a topic to those who want it.
//! - `broker`: whole messages through a shard, from bytes to bytes.
#![expect(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a measurement of what does not work is none"
)]

mod broker;
mod codec;
mod policy;
mod routing;

/// One pass through a path.
pub type Pass = Box<dyn FnMut()>;

/// A path, made ready by [`Path::begin`].
#[derive(Clone, Copy)]
pub struct Path {
    /// Its name, in the order of the files above.
    pub name: &'static str,
    /// What a pass does, in words.
    pub what: &'static str,
    /// Makes everything that is not counted, and returns what is.
    pub begin: fn() -> Pass,
}

/// All paths.
pub const PATHS: [Path; 14] = [
    codec::DECODE,
    codec::DECODE_WITH_PROPERTIES,
    codec::ENCODE_ONCE,
    codec::ENCODE_FRAME,
    policy::DECISION,
    policy::DECISION_OF_MANY,
    policy::REMEMBERED,
    routing::MATCH_EXACT,
    routing::MATCH_WILDCARDS,
    broker::ONE_AT_MOST_ONCE,
    broker::ONE_AT_LEAST_ONCE,
    broker::ONE_EXACTLY_ONCE,
    broker::FAN_OUT,
    broker::NOBODY,
];

/// The path with that name.
#[must_use]
pub fn find(name: &str) -> Option<Path> {
    PATHS.into_iter().find(|path| path.name == name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_path_can_be_gone_again_and_again() {
        for path in PATHS {
            let mut pass = (path.begin)();
            for _ in 0..200 {
                pass();
            }
            assert_eq!(find(path.name).map(|path| path.what), Some(path.what));
        }
    }
}
