//! Regions and take-once cells.

use std::cell::Cell;
use std::rc::Rc;

use pollwire_rings::{Region, TakeCell};

#[test]
fn a_cell_gives_its_value_once() {
    static CELL: TakeCell<[u32; 4]> = TakeCell::new([1, 2, 3, 4]);
    let mut region = Region::from_static(CELL.take().expect("first"));
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
