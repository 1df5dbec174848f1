//! What a seed draws: the user's code, and chance itself.

use std::collections::{BTreeMap, BTreeSet};

use carillon_core::parallel::{MapRules, OutcomeKind};
use carillon_core::time::Span;

/// Splitmix: a seed gives a world.
pub(crate) struct Random(u64);

impl Random {
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ 0x5bf0_3635)
    }

    pub(super) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    pub(super) fn below(&mut self, end: u64) -> u64 {
        self.next() % end.max(1)
    }

    pub(super) fn between(&mut self, low: i64, high: i64) -> i64 {
        low + self.below((high - low + 1) as u64) as i64
    }

    pub(super) fn chance(&mut self, percent: u64) -> bool {
        self.below(100) < percent
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Faults {
    None,
    Workers,
    Servers,
    /// Servers crash; streams to the next one are open at once and nothing on them is lost but what the dead server had not read.
    ServerOnly,
    All,
}

/// What the user's code does.
pub(crate) struct Plan {
    pub(crate) subtasks: u64,
    pub(crate) rules: MapRules,
    /// A subtask that never returns at the first worker that gets it.
    pub(crate) hangs: Option<u64>,
    /// How many tries fail, by subtask; none fail where it is missing.
    pub(super) fails: BTreeMap<u64, u32>,
    pub(super) fatal: BTreeSet<u64>,
    pub(super) batch: u64,
    pub(super) workers: u64,
    pub(super) longest: i64,
    pub(super) reduces: bool,
}

impl Plan {
    pub(crate) fn draw(random: &mut Random) -> Self {
        let subtasks = if random.chance(5) { 0 } else { random.below(300) + 1 };
        let mut plan = Self::plain(subtasks, random.below(4) + 1);
        plan.rules.max_attempts = random.below(4) as u32 + 1;
        plan.rules.max_failed = if random.chance(50) { 1_000 } else { random.below(4) };
        plan.rules.per_worker = if random.chance(20) { 3 } else { 0 };
        plan.batch = random.below(60) + 1;
        plan.longest = if random.chance(5) { 20_000 } else { random.between(1, 300) };
        plan.reduces = random.chance(50);
        for index in 0..subtasks {
            if random.chance(10) {
                plan.fails.insert(index, random.below(6) as u32 + 1);
            }
            if random.chance(2) {
                plan.fails.insert(index, 1);
                plan.fatal.insert(index);
            }
        }
        plan
    }

    /// Nothing fails.
    pub(crate) fn plain(subtasks: u64, workers: u64) -> Self {
        let rules = MapRules {
            max_failed: 0,
            max_attempts: 3,
            retry_delay: Span::from_millis(200),
            retry_max: Span::from_secs(5),
            per_worker: 0,
            reissue_stragglers: true,
        };
        let (fails, fatal) = (BTreeMap::new(), BTreeSet::new());
        Self { subtasks, rules, hangs: None, fails, fatal, batch: 16, workers, longest: 50, reduces: false }
    }

    pub(super) fn outcome(&self, index: u64, attempt: u32) -> OutcomeKind {
        match self.fails.get(&index) {
            Some(fails) if attempt <= *fails => {
                if self.fatal.contains(&index) {
                    OutcomeKind::Fatal
                } else {
                    OutcomeKind::Failed
                }
            }
            _ => OutcomeKind::Done,
        }
    }

    pub(super) fn fails_for_good(&self, index: u64) -> bool {
        self.fatal.contains(&index)
            || self.fails.get(&index).is_some_and(|fails| *fails >= self.rules.max_attempts)
    }

    pub(crate) fn tries_expected(&self, index: u64) -> u32 {
        if self.fatal.contains(&index) {
            return 1;
        }
        self.fails.get(&index).map_or(1, |fails| (fails + 1).min(self.rules.max_attempts))
    }
}
