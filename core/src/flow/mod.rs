//! Which flow a packet belongs to.

mod key;
mod table;

#[cfg(test)]
mod tests;

pub use key::FlowKey;
pub(crate) use key::{KeyWords, canonical};
pub(crate) use table::{FlowTable, Slot};
