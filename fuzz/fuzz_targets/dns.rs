//! `cargo +nightly fuzz run dns`
#![no_main]
#![expect(missing_docs, reason = "libFuzzer's macro writes items without docs")]

libfuzzer_sys::fuzz_target!(|data: &[u8]| pollwire_fuzz::dns(data));
