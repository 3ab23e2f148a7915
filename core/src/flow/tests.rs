use std::boxed::Box;
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::vec::Vec;

use pollwire_rings::Region;
use proptest::prelude::*;

use super::*;

fn table(slots: usize) -> FlowTable {
    let memory: Box<[Slot]> = (0..slots).map(|_| Slot::EMPTY).collect();
    FlowTable::new(Region::from_box(memory), (1, 2))
}

fn key(local: &str, remote: &str) -> FlowKey {
    let parse = |text: &str| -> SocketAddr { text.parse().expect("an address") };
    FlowKey::new(parse(local), parse(remote))
}

#[test]
fn keys_give_back_what_they_were_made_of() {
    for (local, remote) in [
        ("10.0.0.2:80", "192.0.2.7:40000"),
        ("[fe80::1]:80", "[2001:db8::2]:9"),
    ] {
        let key = key(local, remote);
        assert_eq!(
            std::format!("{key:?}"),
            std::format!("{local} <-> {remote}")
        );
        assert_eq!(key.is_v4(), local.starts_with('1'));
        assert_eq!(FlowKey::from_words(key.to_words()), key);
        assert_eq!(
            (key.local_port(), key.remote_port()),
            (80, key.remote().port())
        );
    }
    let long = key("10.0.0.2:80", "192.0.2.7:40000");
    assert_eq!(
        FlowKey::v4(([10, 0, 0, 2], 80), ([192, 0, 2, 7], 40000)),
        long
    );
    assert_eq!(long.local_v4(), Some([10, 0, 0, 2]));
    assert_eq!(long.remote_v4(), Some([192, 0, 2, 7]));
    assert_ne!(
        long.to_bytes(),
        key("192.0.2.7:40000", "10.0.0.2:80").to_bytes()
    );
}

#[test]
fn hash_is_keyed_and_differs_by_every_field() {
    let table = table(2);
    let base = table.hash(&key("10.0.0.2:80", "192.0.2.7:40000"));
    for (local, remote) in [
        ("10.0.0.3:80", "192.0.2.7:40000"),
        ("10.0.0.2:81", "192.0.2.7:40000"),
        ("10.0.0.2:80", "192.0.2.8:40000"),
        ("10.0.0.2:80", "192.0.2.7:40001"),
        ("192.0.2.7:40000", "10.0.0.2:80"),
    ] {
        assert_ne!(table.hash(&key(local, remote)), base, "{local} {remote}");
    }
    let memory: Box<[Slot]> = Box::new([Slot::EMPTY; 2]);
    let other = FlowTable::new(Region::from_box(memory), (1, 3));
    assert_ne!(other.hash(&key("10.0.0.2:80", "192.0.2.7:40000")), base);
}

#[test]
fn half_of_the_slots_can_be_taken_and_no_more() {
    let mut table = table(16);
    for value in 0..8 {
        assert!(table.insert(7, value), "{value}");
    }
    assert!(!table.insert(7, 8));
    assert_eq!(table.len(), 8);
    assert!(table.remove(7, 3));
    assert!(table.insert(9, 3));
}

#[test]
fn a_table_without_slots_holds_nothing_and_does_not_panic() {
    let mut table = table(0);
    assert!(!table.insert(0, 1));
    assert_eq!(table.lookup(0, |_| true), None);
    assert!(!table.remove(0, 1));
}

proptest! {
    /// Few hashes and a small table: long runs that wrap around, and collisions
    /// of whole tags.
    #[test]
    fn behaves_like_a_map(
        steps in proptest::collection::vec((0_u8..3, 0_u32..24, 0_u32..40), 0..300),
    ) {
        let mut table = table(32);
        let mut model: BTreeMap<u32, u32> = BTreeMap::new();
        for (step, hash, value) in steps {
            match step {
                0 if !model.contains_key(&value) => {
                    let inserted = table.insert(hash, value);
                    prop_assert_eq!(inserted, model.len() < 16);
                    if inserted {
                        model.insert(value, hash);
                    }
                }
                1 => {
                    // Hash 0 and hash 1 share a tag.
                    let there = model.get(&value).map(|&filed| filed.max(1)) == Some(hash.max(1));
                    prop_assert_eq!(table.remove(hash, value), there);
                    if there {
                        model.remove(&value);
                    }
                }
                _ => {}
            }
            prop_assert_eq!(table.len(), model.len());
            for (&value, &hash) in &model {
                prop_assert_eq!(table.lookup(hash, |found| found == value), Some(value));
            }
            let absent = table.lookup(hash, |found| found == value).is_none();
            let filed = model.get(&value).map(|&filed| filed.max(1));
            prop_assert_eq!(absent, filed != Some(hash.max(1)));
        }
        let left: Vec<_> = model.iter().map(|(&value, &hash)| (hash, value)).collect();
        for (hash, value) in left {
            prop_assert!(table.remove(hash, value));
        }
        prop_assert_eq!(table.len(), 0);
    }
}
