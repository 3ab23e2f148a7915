//! Regions and take-once cells.

use std::cell::Cell;
use std::rc::Rc;

use pollwire_rings::{Blank, Region, TakeCell};

#[test]
fn a_cell_gives_its_value_once() {
    // Neither `Send` nor `Sync`, which a static cell does not ask for.
    struct Numbers([u32; 4], Option<Rc<u32>>);
    impl Blank for Numbers {
        const BLANK: Self = Self([1, 2, 3, 4], None);
    }
    static CELL: TakeCell<Numbers> = TakeCell::new();
    let numbers = CELL.take().expect("first");
    numbers.1 = Some(Rc::new(0));
    let mut region = Region::from_static(&mut numbers.0);
    assert!(CELL.take().is_none());
    region[2] = 7;
    assert_eq!(region[..], [1, 2, 7, 4]);
    drop(region);
    assert!(CELL.take().is_none());
}

#[test]
fn a_heap_region_drops_its_values_once() {
    struct Counted(Rc<Cell<u32>>);
    impl Drop for Counted {
        fn drop(&mut self) {
            self.0.set(self.0.get() + 1);
        }
    }
    let drops = Rc::new(Cell::new(0));
    let region = Region::from_box((0..5).map(|_| Counted(drops.clone())).collect());
    assert_eq!((region.len(), drops.get()), (5, 0));
    drop(region);
    assert_eq!(drops.get(), 5);
    assert!(Region::<u64>::from_box(Box::new([])).is_empty());
}
