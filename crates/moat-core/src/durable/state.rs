//! How the store is, as far as a shard has to know.

/// What the driver knows of the store.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum StoreState {
    /// It takes what comes.
    #[default]
    Ready,
    /// It has yet to commit so much of this shard's that publishers have to wait.
    Behind,
    /// It has no room. What would have to be stored is refused.
    Full,
}
