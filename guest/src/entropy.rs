//! Randomness fit for keys: ChaCha20 seeded and reseeded from the CPU.

use core::arch::asm;
use core::cell::RefCell;

use rand_chacha::ChaCha20Rng;
use rand_chacha::rand_core::{RngCore, SeedableRng};

/// Bytes between two reseedings.
const RESEED_AFTER: u64 = 1 << 20;
/// Tries of one instruction before it counts as broken. The vendors say that
/// ten are enough for RDRAND; RDSEED may run dry for longer.
const TRIES: usize = 1024;

const NO_ENTROPY: &str = "the CPU offers neither RDRAND nor RDSEED, or they fail: without \
                          entropy no key and no sequence number would be safe";

type Seed = [u8; 32];

/// A generator of random bytes.
#[derive(Debug)]
pub struct Random {
    state: RefCell<State>,
}

#[derive(Debug)]
struct State {
    generator: ChaCha20Rng,
    given: u64,
}

/// A generator with a fresh seed.
pub(crate) fn seeded() -> Result<Random, &'static str> {
    let seed = hardware_seed().ok_or(NO_ENTROPY)?;
    Ok(Random::from_seed(seed))
}

impl Random {
    fn from_seed(seed: Seed) -> Self {
        Self {
            state: RefCell::new(State {
                generator: ChaCha20Rng::from_seed(seed),
                given: 0,
            }),
        }
    }

    /// Fills `bytes`.
    pub fn fill(&mut self, bytes: &mut [u8]) {
        self.state.get_mut().fill(bytes);
    }

    /// A random number.
    pub fn next_u64(&mut self) -> u64 {
        let mut bytes = [0; 8];
        self.fill(&mut bytes);
        u64::from_le_bytes(bytes)
    }

    /// Another generator, seeded from this one.
    pub(crate) fn split(&self) -> Self {
        let mut seed = Seed::default();
        self.state.borrow_mut().fill(&mut seed);
        Self::from_seed(seed)
    }
}

impl State {
    fn fill(&mut self, bytes: &mut [u8]) {
        if self.given >= RESEED_AFTER {
            self.reseed();
        }
        self.given = self.given.saturating_add(bytes.len() as u64);
        self.generator.fill_bytes(bytes);
    }

    /// Mixes hardware randomness into the generator's own output, so that
    /// neither alone decides the new seed.
    fn reseed(&mut self) {
        let mut seed = Seed::default();
        self.generator.fill_bytes(&mut seed);
        if let Some(fresh) = hardware_seed() {
            for (byte, fresh) in seed.iter_mut().zip(fresh) {
                *byte ^= fresh;
            }
        }
        self.generator = ChaCha20Rng::from_seed(seed);
        self.given = 0;
    }
}

/// RDSEED and RDRAND, mixed where the CPU has both.
fn hardware_seed() -> Option<Seed> {
    let has_rdseed = core_detect::is_x86_feature_detected!("rdseed");
    let has_rdrand = core_detect::is_x86_feature_detected!("rdrand");
    let mut seed = Seed::default();
    let mut sources = 0;
    // An instruction that is present but broken (some CPUs answer with all ones
    // after a resume) counts as absent.
    if has_rdseed && mix(&mut seed, rdseed).is_some() {
        sources += 1;
    }
    if has_rdrand && mix(&mut seed, rdrand).is_some() {
        sources += 1;
    }
    (sources > 0).then_some(seed)
}

fn mix(seed: &mut Seed, instruction: fn() -> Option<u64>) -> Option<()> {
    let mut words = [0_u64; 4];
    for word in &mut words {
        *word = (0..TRIES).find_map(|_| instruction())?;
    }
    let [first, rest @ ..] = words;
    if rest.iter().all(|&word| word == first) {
        return None;
    }
    for (byte, fresh) in seed
        .iter_mut()
        .zip(words.iter().flat_map(|word| word.to_le_bytes()))
    {
        *byte ^= fresh;
    }
    Some(())
}

fn rdseed() -> Option<u64> {
    let (value, valid): (u64, u8);
    // SAFETY: only called where the CPU has the instruction.
    unsafe {
        asm!("rdseed {value}", "setc {valid}", value = out(reg) value, valid = out(reg_byte) valid,
             options(nomem, nostack));
    }
    (valid == 1).then_some(value)
}

fn rdrand() -> Option<u64> {
    let (value, valid): (u64, u8);
    // SAFETY: only called where the CPU has the instruction.
    unsafe {
        asm!("rdrand {value}", "setc {valid}", value = out(reg) value, valid = out(reg_byte) valid,
             options(nomem, nostack));
    }
    (valid == 1).then_some(value)
}
