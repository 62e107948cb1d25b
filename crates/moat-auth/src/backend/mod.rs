//! One folder for each kind of credential, all with the same files.

#[cfg(test)]
pub(crate) mod contract;
pub mod file;
pub mod x509;
