//! Where a long test stands: each check says that it begins, and how long it took,
//! and has a limit of its own.

use std::panic;
use std::process;
use std::sync::mpsc::{self, RecvTimeoutError};
use std::thread;
use std::time::{Duration, Instant};

use super::host::{emulated, patience, printed_by_programs};

/// How often a check that goes on says so.
const SIGN_OF_LIFE: Duration = Duration::from_secs(60);

/// Runs `check`, which is to move about `bytes` at most. What takes far longer
/// than that could is stuck: then says so, and what the programs have printed,
/// and ends this process, since nothing else ends a check that waits.
#[expect(
    clippy::disallowed_methods,
    reason = "the process is of no use to anybody else: it is alone in its namespace"
)]
pub(crate) fn step<T>(name: &str, bytes: usize, check: impl FnOnce() -> T) -> T {
    println!("{name} ...");
    let (limit, start) = (limit(bytes), Instant::now());
    let (done, wait) = mpsc::channel::<()>();
    let result = thread::scope(|scope| {
        scope.spawn(move || {
            while wait.recv_timeout(SIGN_OF_LIFE) == Err(RecvTimeoutError::Timeout) {
                println!("{name}: {:.0?} so far", start.elapsed());
                if start.elapsed() > limit {
                    println!("{name}: not done after {limit:?}");
                    println!("{}", printed_by_programs());
                    process::exit(1);
                }
            }
        });
        let result = panic::catch_unwind(panic::AssertUnwindSafe(check));
        drop(done);
        result
    });
    let result = result.unwrap_or_else(|cause| {
        println!("{name}: failed after {:.1?}", start.elapsed());
        panic::resume_unwind(cause)
    });
    println!("{name}: {:.1?}", start.elapsed());
    result
}

/// Ten times what a busy machine was seen to take, and more.
fn limit(bytes: usize) -> Duration {
    let slowest = if emulated() { 50_000 } else { 500_000 };
    5 * patience() + Duration::from_secs((bytes / slowest) as u64)
}
