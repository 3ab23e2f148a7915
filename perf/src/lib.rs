#![no_std]
//! Perf.
