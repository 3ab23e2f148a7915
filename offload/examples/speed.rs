//! How fast this machine sums, beside how fast it copies.
//!
//! `cargo run --release -p pollwire-offload --example speed` prints a table.
//! With `of|copy|array|none LENGTH TIMES` it only does that work, so that a counting
//! tool can run it twice and take the difference.

use pollwire_offload::checksum::{Sum, copy_and_sum};
use std::hint::black_box;
use std::time::Instant;

/// The best of 40 rounds, in nanoseconds per call.
fn time(mut work: impl FnMut()) -> f64 {
    const CALLS: u32 = 4000;
    let round = |_| {
        let start = Instant::now();
        for _ in 0..CALLS {
            work();
        }
        start.elapsed().as_secs_f64() * 1e9 / f64::from(CALLS)
    };
    (0..40).map(round).fold(f64::MAX, f64::min)
}

fn table() {
    println!("bytes  memcpy GB/s  sum GB/s  copy and sum GB/s  sum / memcpy");
    let (src, mut dst) = (vec![0x5a; 4096], vec![0; 4096]);
    for len in [20, 40, 64, 128, 256, 536, 1460, 2048] {
        let (src, dst) = (&src[14..14 + len], &mut dst[14..14 + len]);
        let copy = time(|| black_box(&mut *dst).copy_from_slice(black_box(src)));
        let sum = time(|| {
            black_box(Sum::of(black_box(src)).fold());
        });
        let both = time(|| {
            black_box(copy_and_sum(black_box(&mut *dst), black_box(src)).fold());
        });
        let rate = |nanoseconds: f64| len as f64 / nanoseconds;
        println!(
            "{len:5}  {:11.1}  {:8.1}  {:17.1}  {:11.0}%",
            rate(copy),
            rate(sum),
            rate(both),
            100.0 * copy / sum
        );
    }
}

fn main() {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let number = |at: usize| args.get(at).and_then(|a| a.parse::<usize>().ok());
    let (Some(len), Some(times)) = (number(1), number(2)) else {
        return table();
    };
    let (src, mut dst) = (vec![0x5a; len + 20], vec![0; len]);
    for _ in 0..times {
        let src = black_box(&src[..]);
        let sum = match args[0].as_str() {
            "copy" => copy_and_sum(&mut dst, &src[..len]),
            "none" => Sum::ZERO,
            "array" => src.first_chunk::<20>().map_or(Sum::ZERO, Sum::of_array),
            _ => Sum::of(&src[..len]),
        };
        black_box(sum.fold());
    }
}
