#![no_std]
//! Core.
