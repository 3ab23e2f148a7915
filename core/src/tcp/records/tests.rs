use std::collections::VecDeque;
use std::vec::Vec;

use proptest::prelude::*;

use super::*;
use crate::tcp::table::heap_region;

fn records(count: usize) -> Records<u32, 3> {
    Records::new(
        heap_region(count, || Record::unused(0)),
        heap_region(2 * count, || Slot::EMPTY),
    )
}

/// Some share a hash.
fn hash(number: u8) -> u32 {
    u32::from(number / 3)
}

fn hash_at(table: &Records<u32, 3>, index: u32) -> u32 {
    hash(*table.get(index).unwrap() as u8)
}

fn name(number: u8) -> Name {
    let mut name = [7; 9];
    name[8] = u32::from(number);
    name
}

#[derive(Clone, Debug)]
enum Step {
    Insert(u8, usize),
    Remove(u8),
    Requeue(u8, usize),
    PopFront(usize),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        3 => (0..24_u8, 0..3_usize).prop_map(|(n, q)| Step::Insert(n, q)),
        1 => (0..24_u8).prop_map(Step::Remove),
        1 => (0..24_u8, 0..3_usize).prop_map(|(n, q)| Step::Requeue(n, q)),
        1 => (0..3_usize).prop_map(Step::PopFront),
    ]
}

proptest! {
    /// The table against three plain queues.
    #[test]
    fn behaves_like_plain_queues(steps in prop::collection::vec(step(), 0..200)) {
        let mut table = records(16);
        let mut model: [VecDeque<u8>; 3] = Default::default();
        for step in steps {
            match step {
                Step::Insert(n, q) => {
                    if model.iter().any(|queue| queue.contains(&n)) {
                        continue;
                    }
                    let full = model.iter().map(VecDeque::len).sum::<usize>() == 16;
                    prop_assert_eq!(table.is_full(), full);
                    let index = table.insert(hash(n), name(n), u32::from(n), q);
                    prop_assert_eq!(index.is_none(), full);
                    if !full {
                        model[q].push_back(n);
                    }
                }
                Step::Remove(n) => {
                    let found = table.find(hash(n), || name(n));
                    prop_assert_eq!(found.is_some(), model.iter().any(|q| q.contains(&n)));
                    if let Some(index) = found {
                        prop_assert_eq!(table.remove(hash(n), index), Some(u32::from(n)));
                        model.iter_mut().for_each(|q| q.retain(|&other| other != n));
                    }
                }
                Step::Requeue(n, q) => {
                    if let Some(index) = table.find(hash(n), || name(n)) {
                        table.requeue(index, q);
                        model.iter_mut().for_each(|q| q.retain(|&other| other != n));
                        model[q].push_back(n);
                    }
                }
                Step::PopFront(q) => {
                    let front = table.front(q).and_then(|index| table.remove(hash_at(&table, index), index));
                    prop_assert_eq!(front, model[q].pop_front().map(u32::from));
                }
            }
            prop_assert_eq!(table.len(), model.iter().map(VecDeque::len).sum::<usize>());
        }
        for (q, queue) in model.iter().enumerate() {
            let mut got = Vec::new();
            while let Some(index) = table.front(q) {
                got.extend(table.remove(hash_at(&table, index), index));
            }
            let want: Vec<u32> = queue.iter().copied().map(u32::from).collect();
            prop_assert_eq!(got, want);
        }
    }
}
