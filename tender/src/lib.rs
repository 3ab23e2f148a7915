//! Boots Solo5 images where Solo5 is not installed: for development and CI.
//!
//! The library makes and inspects images ([`image`]); the program
//! `pollwire-tender` runs them. It takes the options of Solo5's own tenders and
//! picks `spt` or `hvt` by the image's note. It is no sandbox to trust in
//! production: use Solo5's tenders there.

pub mod image;
