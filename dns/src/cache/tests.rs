use super::*;
use alloc::format;
use alloc::vec::Vec;
use hickory_proto::rr::RData;
use hickory_proto::rr::rdata::A;

fn found(text: &str, records: usize) -> Rc<Found> {
    let name = Name::from_ascii(text).expect("a name");
    let record = Record::from_rdata(name.clone(), 60, RData::A(A::new(192, 0, 2, 1)));
    Rc::new(Found {
        name,
        record_type: RecordType::A,
        aliases: Vec::new(),
        records: alloc::vec![record; records],
        authentic: false,
    })
}

fn cache(entries: usize, bytes: usize) -> Cache {
    Cache::new(CacheLimits {
        entries,
        bytes,
        ..CacheLimits::DEFAULT
    })
}

#[test]
fn the_least_recently_used_goes_first() {
    let now = Instant::from_secs(1);
    let mut cache = cache(3, 1 << 20);
    for name in ["a.", "b.", "c."] {
        cache.keep(now, found(name, 1), 60, 50);
    }
    assert!(
        cache
            .get(now, &found("a.", 1).name, RecordType::A)
            .is_some()
    );
    cache.keep(now, found("d.", 1), 60, 50);
    assert_eq!(cache.trim(), 1);
    let kept = |cache: &mut Cache, name| {
        cache
            .get(now, &found(name, 1).name, RecordType::A)
            .is_some()
    };
    assert!(!kept(&mut cache, "b."));
    assert!(
        ["a.", "c.", "d."]
            .into_iter()
            .all(|name| kept(&mut cache, name))
    );
}

#[test]
fn bytes_are_bounded_and_given_back() {
    let now = Instant::from_secs(1);
    let mut cache = cache(1000, 20_000);
    for number in 0..500_u32 {
        cache.keep(now, found(&format!("n{}.", number % 60), 5), 60, 200);
        cache.trim();
        assert!(cache.bytes() <= 20_000);
    }
    assert!(cache.len() > 3);
    assert_eq!(cache.len(), cache.order.len());
    for number in 0..60 {
        let name = found(&format!("n{number}."), 1).name.clone();
        let late = now + Duration::from_secs(61);
        assert!(cache.get(late, &name, RecordType::A).is_none());
    }
    assert_eq!((cache.len(), cache.bytes(), cache.order.len()), (0, 0, 0));
}

#[test]
fn what_fits_no_cache_is_not_kept() {
    let now = Instant::from_secs(1);
    let mut small = cache(10, 2000);
    small.keep(now, found("a.", 100), 60, 2000);
    assert_eq!(small.len(), 0);
    let mut none = cache(0, 2000);
    none.keep(now, found("a.", 1), 60, 20);
    assert_eq!(none.len(), 0);
}

#[test]
fn a_failure_does_not_push_out_an_answer() {
    let now = Instant::from_secs(1);
    let mut cache = Cache::new(CacheLimits {
        serve_stale: Some(Duration::from_secs(100)),
        ..CacheLimits::DEFAULT
    });
    let name = found("a.", 1).name.clone();
    cache.keep(now, found("a.", 1), 60, 50);
    let later = now + Duration::from_secs(70);
    cache.keep_failure(later, &name, RecordType::A, DnsError::TimedOut);
    let hit = cache.get(later, &name, RecordType::A).expect("kept");
    assert!(hit.stale && hit.outcome.is_ok());
}
