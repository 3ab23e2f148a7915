//! What a stack of twice as many flows takes more, counted by the allocator.

use allocation_counter::measure;
use pollwire_core::{BYTES_PER_FLOW, Config, RECORD_BYTES_PER_FLOW, Stack};
use pollwire_rings::Caps;

/// Bytes that a stack of `FLOWS` flows holds once it is made.
fn bytes_of<const FLOWS: usize>() -> i64 {
    let config = Config::new("10.0.0.1/24".parse().unwrap(), [1; 32]);
    let caps = Caps::plain([2, 0, 0, 0, 0, 1], 1500);
    let mut stack = None;
    let counted = measure(|| stack = Some(Stack::on_heap::<64, FLOWS, 2048>(&config, caps)));
    drop(stack);
    counted.bytes_current
}

#[test]
fn one_more_flow_costs_at_most_512_bytes() {
    const FLOWS: i64 = 4096;
    let more = bytes_of::<{ 2 * FLOWS as usize }>() - bytes_of::<{ FLOWS as usize }>();
    let records = FLOWS * i64::try_from(RECORD_BYTES_PER_FLOW).unwrap();
    let flow = (more - records) / FLOWS;
    assert_eq!(
        more - records,
        FLOWS * i64::try_from(BYTES_PER_FLOW).unwrap()
    );
    assert!(flow <= 512, "a flow takes {flow} bytes");
    assert_eq!(RECORD_BYTES_PER_FLOW, 160);
}
