//! A standby's watch over the owner's planning (trigger-protocol: "Watch"): what is told is a hint, the shard's row decides.

use crate::engine::{Effect, Engine};
use crate::ids::Epoch;
use crate::time::{Span, Timestamp};

/// The row is read this often at most while planning seems to lag (1 s): a primary key look-up per shard.
const READ_EVERY: Span = Span::from_secs(1);

/// A new owner is left this long whatever it has planned (10 s): time for a look at a large shard and a slice, from a store that is slow.
const SHORTEST_HOLD: Span = Span::from_secs(10);

/// And longer only while more than this is planned ahead (5 s): time to take the shard over, to plan, and to arm on time.
const LAST_CHANCE: Span = Span::from_secs(5);

/// How much longer each holder after the second waits (2 s): time for one take-over, so that they do not race.
const PATIENCE_PER_RANK: Span = Span::from_secs(2);

/// What a standby knows of the owner's planning.
#[derive(Debug, Default)]
pub(super) struct Watch {
    /// The highest epoch heard of, and since when.
    epoch: Epoch,
    epoch_since: Option<Timestamp>,
    planned_until: Option<Timestamp>,
    /// When the row was asked for last.
    asked_at: Option<Timestamp>,
    /// When the shard was last tried to be taken over.
    tried_at: Option<Timestamp>,
    /// The row was read in this very step.
    just_read: bool,
    /// What is known is of this server's own time as an owner, or nothing is: the row tells who owns the shard now.
    unknown: Unknown,
    /// The store may have lost a change of owner: the row's word counts also where it goes back.
    may_go_back: bool,
}

/// Whether the row is to be read whatever seems to be planned; so it is at first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
enum Unknown {
    #[default]
    Yes,
    No,
}

impl Watch {
    /// The server owns the shard no longer, and does not know who does.
    pub(super) fn begin_anew(&mut self) {
        self.unknown = Unknown::Yes;
        self.asked_at = None;
    }

    pub(super) fn doubt_epoch(&mut self) {
        self.begin_anew();
        self.may_go_back = true;
    }

    pub(super) fn epoch(&self) -> Epoch {
        self.epoch
    }

    pub(super) fn planned_until(&self) -> Option<Timestamp> {
        self.planned_until
    }

    pub(super) fn note_epoch(&mut self, now: Timestamp, epoch: Epoch) {
        if epoch > self.epoch || self.epoch_since.is_none() {
            self.epoch = epoch;
            self.epoch_since = Some(now);
        }
    }

    pub(super) fn note_planned(&mut self, now: Timestamp, epoch: Epoch, planned_until: Timestamp) {
        self.note_epoch(now, epoch);
        // The watermark never goes back, whoever says it.
        if epoch == self.epoch && self.planned_until.is_none_or(|known| planned_until > known) {
            self.planned_until = Some(planned_until);
        }
    }
}

impl Engine {
    pub(in crate::engine) fn shard_read(&mut self, now: Timestamp, epoch: Epoch, planned_until: Timestamp) {
        if let Some(owned) = &self.owned {
            if epoch > owned.epoch {
                self.reload();
            }
            return;
        }
        let watch = &mut self.standby.watch;
        watch.unknown = Unknown::No;
        if std::mem::take(&mut watch.may_go_back) && epoch < watch.epoch {
            (watch.epoch, watch.epoch_since, watch.planned_until) = (epoch, Some(now), None);
            // What that owner told was told by nobody, as far as the store goes; the one before it tells all of its own.
            _ = self.standby.forget_copy();
        }
        let watch = &mut self.standby.watch;
        watch.note_planned(now, epoch, planned_until);
        watch.just_read = epoch == watch.epoch;
    }

    /// Planning lags when less than this is planned ahead.
    fn least_lead(&self) -> Option<Span> {
        self.standby.rank?;
        let half = self.config.horizon.as_millis() / 2;
        Some(Span::from_millis(half.saturating_sub(self.later_by().as_millis())))
    }

    /// How much longer this holder waits than the second does.
    fn later_by(&self) -> Span {
        let rank = u64::from(self.standby.rank.unwrap_or(0).max(1) - 1);
        Span::from_millis(rank * PATIENCE_PER_RANK.as_millis())
    }

    /// Reads the row when planning seems to lag, and takes the shard over when the row has just said so too.
    pub(super) fn watch_planning(&mut self, now: Timestamp) {
        let just_read = std::mem::take(&mut self.standby.watch.just_read);
        let may_try = self.next_try().is_some_and(|at| at <= now);
        let may_ask = self.next_watch().is_some_and(|at| at <= now);
        let watch = &mut self.standby.watch;
        if just_read && may_try {
            watch.tried_at = Some(now);
            let seen = watch.epoch;
            let lead = watch.planned_until.map_or(0, |until| until.millis_since(now));
            let why = format!("under epoch {seen} only {lead} ms are planned ahead");
            self.effects.push(Effect::TakeOver { seen, why });
        } else if may_ask {
            watch.asked_at = Some(now);
            self.effects.push(Effect::ReadShard);
        }
    }

    /// When the row is to be read next. While planning lags it is read also before the shard may be taken over, to know of a new owner.
    pub(super) fn next_watch(&self) -> Option<Timestamp> {
        let lags_at = self.lags_at()?;
        let watch = &self.standby.watch;
        let again_at = watch.asked_at.map_or(Timestamp::EPOCH, |at| at.saturating_add(READ_EVERY));
        Some(if watch.unknown == Unknown::Yes { again_at } else { lags_at.max(again_at) })
    }

    /// When planning lags by what is known; none while this holder does not know its place.
    fn lags_at(&self) -> Option<Timestamp> {
        let least = self.least_lead()?;
        let known = self.standby.watch.planned_until;
        Some(known.map_or(Timestamp::EPOCH, |until| until.saturating_sub(least)))
    }

    /// When planning will lag by what is known, and the shard may be taken over.
    fn next_try(&self) -> Option<Timestamp> {
        let lags_at = self.lags_at()?;
        let watch = &self.standby.watch;
        let last_chance = LAST_CHANCE.as_millis().saturating_sub(self.later_by().as_millis());
        let plan_ends = watch.planned_until.unwrap_or(Timestamp::EPOCH);
        let held_until = watch.epoch_since.map(|since| {
            let whole = since.saturating_add(self.config.minimum_hold);
            let while_planned = plan_ends.saturating_sub(Span::from_millis(last_chance));
            whole.min(while_planned.max(since.saturating_add(SHORTEST_HOLD)))
        });
        let again_at = watch.tried_at.map(|at| at.saturating_add(self.config.take_over_every));
        [Some(lags_at), held_until, again_at].into_iter().flatten().max()
    }
}
