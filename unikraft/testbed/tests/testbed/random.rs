//! The device under whatever a seed does to it.

use std::collections::VecDeque;
use std::time::Duration;

use pollwire_rings::unikraft::UnikraftDevice;
use pollwire_rings::{FramePool, FrameRef, NetDevice, RxBurst, TxBurst, TxMeta};
use pollwire_uk_testbed::{BedConfig, Testbed, Traps, Vnet};

/// SplitMix64.
struct Random(u64);

impl Random {
    fn below(&mut self, bound: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let word = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let word = (word ^ (word >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (word >> 33) as usize % bound
    }
}

/// A device, what is in its hands, and what it should make of it.
struct Bench {
    random: Random,
    pool: FramePool,
    bed: Testbed,
    device: UnikraftDevice,
    held: Vec<FrameRef>,
    /// Numbers of frames on their way in, oldest first.
    incoming: VecDeque<u32>,
    injected: u32,
    burst: TxBurst,
    /// What the host should get, oldest first.
    outgoing: VecDeque<Vec<u8>>,
}

/// A frame of no known type that says its number, several times.
fn numbered(number: u32, len: usize) -> Vec<u8> {
    let mut frame = vec![0; len];
    for chunk in frame.chunks_mut(4) {
        chunk.copy_from_slice(&number.to_le_bytes()[..chunk.len()]);
    }
    frame[12..14].copy_from_slice(&[0x88, 0xb5]);
    frame
}

impl Bench {
    fn new(seed: u64) -> Self {
        let mut random = Random(seed);
        let traps = [Traps::NONE, Traps::ALL]
            .into_iter()
            .chain(Traps::EACH)
            .nth(random.below(9));
        let bed = Testbed::attach(&BedConfig {
            traps: traps.unwrap_or(Traps::ALL),
            rx_descriptors: 1 << (3 + random.below(6)),
            tx_descriptors: 1 << (2 + random.below(7)),
            ..BedConfig::QEMU
        });
        let pool = FramePool::on_heap::<64, 2048>();
        let device = bed.open(&pool).expect("opens");
        Self {
            random,
            pool,
            bed,
            device,
            held: Vec::new(),
            incoming: VecDeque::new(),
            injected: 0,
            burst: TxBurst::new(),
            outgoing: VecDeque::new(),
        }
    }

    fn inject(&mut self) {
        for _ in 0..self.random.below(40) {
            if self.bed.rx_room() == 0 {
                return;
            }
            let len = match self.random.below(3) {
                0 => 1514,
                1 => 60,
                _ => 14 + self.random.below(1500),
            };
            assert!(
                self.bed
                    .inject(&numbered(self.injected, len), Vnet::default())
            );
            self.incoming.push_back(self.injected);
            self.injected += 1;
        }
    }

    /// What comes was sent, in this order; some may be missing.
    fn receive(&mut self) {
        let mut burst = RxBurst::new();
        self.device.rx_burst(&self.pool, &mut burst);
        for received in burst.drain() {
            let frame = received.frame.freeze();
            let number = u32::from_le_bytes(frame[..4].try_into().expect("four"));
            while self.incoming.pop_front().expect("it was sent") != number {}
            // Ten bytes behind its end may be old ones.
            let len = frame.len().saturating_sub(10).max(14);
            assert_eq!(frame[..len], numbered(number, len));
            self.held.push(frame);
        }
    }

    fn let_go(&mut self) {
        for _ in 0..self.random.below(20) {
            if !self.held.is_empty() {
                let index = self.random.below(self.held.len());
                drop(self.held.swap_remove(index));
            }
        }
    }

    /// Sends packets of parts of what is held, which stays held.
    fn send(&mut self) {
        for _ in 0..self.random.below(8) {
            let most = usize::from(self.device.caps().max_tx_pieces).min(6);
            let pieces = 1 + self.random.below(most);
            if self.held.is_empty() || !self.burst.has_room(pieces) {
                return;
            }
            let mut whole = Vec::new();
            for _ in 0..pieces {
                let index = self.random.below(self.held.len());
                let frame = &self.held[index];
                let len = (14 + self.random.below(200)).min(frame.len());
                let start = self.random.below(frame.len() - len + 1);
                let piece = frame.slice(start, start + len).expect("inside");
                whole.extend_from_slice(&piece);
                self.burst.push_piece(piece).expect("room");
            }
            self.burst.seal(TxMeta::default());
            self.outgoing.push_back(whole);
        }
        self.device.tx_burst(&mut self.burst);
    }

    fn host_takes(&mut self, most: usize) {
        let mut frame = vec![0; 65_600];
        for _ in 0..most {
            match self.bed.extract(&mut frame) {
                Some(_) if frame[..6] == BedConfig::QEMU.mac && frame[12..14] == [0x90, 0] => {}
                Some((len, ..)) => {
                    assert_eq!(self.outgoing.pop_front().as_deref(), Some(&frame[..len]));
                }
                None => return,
            }
        }
    }

    fn step(&mut self) {
        match self.random.below(12) {
            0..=2 => self.inject(),
            3..=5 => self.receive(),
            6 => self.let_go(),
            7 | 8 => self.send(),
            9 | 10 => {
                let most = self.random.below(12);
                self.host_takes(most);
            }
            _ => {
                let time = Duration::from_micros(self.random.below(15_000) as u64);
                self.device.wait(Some(time));
            }
        }
        let (bed, stats) = (self.bed.stats(), self.device.stats());
        assert!(bed.rx_posted >= 1, "an empty ring stays empty");
        assert_eq!(stats.rx_posted, bed.rx_posted as usize);
        assert_eq!((bed.complaints, stats.tx_errors, stats.rx_lost), (0, 0, 0));
    }

    /// Everything ends; everything is home; and it still works.
    fn finish(mut self) {
        self.held.clear();
        while !self.burst.is_empty() {
            self.host_takes(usize::MAX);
            self.device.tx_burst(&mut self.burst);
        }
        self.host_takes(usize::MAX);
        assert!(self.outgoing.is_empty());
        for _ in 0..40 {
            self.device.wait(Some(Duration::from_secs(1)));
            self.receive();
            self.held.clear();
        }
        let stats = self.device.stats();
        assert_eq!(stats.tx_held, 0);
        assert_eq!(self.pool.in_use(), stats.rx_lent, "frames lost");
        assert_eq!(stats.rx_lent, 16, "a quarter of the pool again");
        self.incoming.clear();
        for _ in 0..100 {
            assert!(self.bed.rx_room() > 0);
            assert!(
                self.bed
                    .inject(&numbered(self.injected, 60), Vnet::default())
            );
            self.incoming.push_back(self.injected);
            self.injected += 1;
            self.receive();
            assert_eq!(self.held.len(), 1);
            self.held.clear();
        }
    }
}

#[test]
fn nothing_is_lost_whatever_happens() {
    for seed in 0..300 {
        println!("seed {seed}");
        let mut bench = Bench::new(seed);
        for _ in 0..400 {
            bench.step();
        }
        bench.finish();
    }
}
