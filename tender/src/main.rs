//! Development tender.
fn main() {}
