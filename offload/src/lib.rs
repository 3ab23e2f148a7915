#![no_std]
//! Offload.
