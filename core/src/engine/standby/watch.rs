//! A standby's watch over the owner's planning (trigger-protocol: "Watch"): what is told is a hint, the shard's row decides.

use crate::engine::{Effect, Engine};
use crate::ids::Epoch;
use crate::time::{Span, Timestamp};

/// The row is read this often at most while planning seems to lag (1 s): a primary key look-up per shard.
const READ_EVERY: Span = Span::from_secs(1);

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
}

impl Watch {
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
        watch.note_planned(now, epoch, planned_until);
        watch.just_read = epoch == watch.epoch;
    }

    /// Planning lags when less than this is planned ahead.
    fn least_lead(&self) -> Option<Span> {
        let rank = u64::from(self.standby.rank?.max(1) - 1);
        let half = self.config.horizon.as_millis() / 2;
        Some(Span::from_millis(half.saturating_sub(rank * PATIENCE_PER_RANK.as_millis())))
    }

    /// Reads the row when planning seems to lag, and takes the shard over when the row has just said so too.
    pub(super) fn watch_planning(&mut self, now: Timestamp) {
        let just_read = std::mem::take(&mut self.standby.watch.just_read);
        if self.next_try().is_none_or(|at| at > now) {
            return;
        }
        let watch = &mut self.standby.watch;
        if just_read {
            watch.tried_at = Some(now);
            let seen = watch.epoch;
            let lead = watch.planned_until.map_or(0, |until| until.millis_since(now));
            let why = format!("under epoch {seen} only {lead} ms are planned ahead");
            self.effects.push(Effect::TakeOver { seen, why });
        } else if watch.asked_at.is_none_or(|at| now >= at.saturating_add(READ_EVERY)) {
            watch.asked_at = Some(now);
            self.effects.push(Effect::ReadShard);
        }
    }

    /// When the next look at the owner's planning is due.
    pub(super) fn next_watch(&self) -> Option<Timestamp> {
        let ask_at = self.standby.watch.asked_at.map(|at| at.saturating_add(READ_EVERY));
        self.next_try().max(ask_at.filter(|_| self.standby.rank.is_some()))
    }

    /// When planning will lag by what is known, and the shard may be taken over.
    fn next_try(&self) -> Option<Timestamp> {
        let least = self.least_lead()?;
        let watch = &self.standby.watch;
        let lags_at = watch.planned_until.map(|until| until.saturating_sub(least));
        let held_until = watch.epoch_since.map(|since| since.saturating_add(self.config.minimum_hold));
        let again_at = watch.tried_at.map(|at| at.saturating_add(self.config.take_over_every));
        let at_once = Some(Timestamp::from_millis(0));
        [at_once, lags_at, held_until, again_at].into_iter().flatten().max()
    }
}
