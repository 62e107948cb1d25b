//! One file for each command.

pub(crate) mod bench;
pub(crate) mod check;
pub(crate) mod completions;
pub(crate) mod device_add;
pub(crate) mod device_list;
pub(crate) mod man;
pub(crate) mod publish;
pub(crate) mod start;
pub(crate) mod status;
pub(crate) mod store_stats;
pub(crate) mod store_verify;
pub(crate) mod subscribe;
pub(crate) mod user_add;
pub(crate) mod user_list;
pub(crate) mod user_passwd;
pub(crate) mod user_remove;
