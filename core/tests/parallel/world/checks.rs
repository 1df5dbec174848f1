//! What has to be so at the end.

use super::*;

impl World {
    pub(crate) fn check_end(&self) {
        let seed = self.seed;
        let header = self.store.header.as_ref().expect("it ended durably");
        // A crash may leave out that news, when the end follows at once and says it all.
        let servers_fail = matches!(self.faults, Faults::Servers | Faults::ServerOnly | Faults::All);
        assert!(self.split_done || servers_fail, "seed {seed}: nobody heard that the split is done");
        assert_eq!(header.emitted, self.plan.subtasks);
        let failing = (0..self.plan.subtasks).filter(|index| self.plan.fails_for_good(*index)).count() as u64;
        assert_eq!((header.done, header.failed), (self.plan.subtasks - failing, failing), "seed {seed}");
        for index in 0..self.plan.subtasks {
            let fails = self.plan.fails_for_good(index);
            assert_eq!(
                (self.store.done(index), self.store.failed(index)),
                (!fails, fails),
                "seed {seed}: {index}"
            );
            let rows: Vec<_> = self.store.failures.range((index, 0)..(index + 1, 0)).collect();
            let lasts = rows.iter().filter(|(_, (_, last))| *last).count();
            assert_eq!(
                lasts,
                usize::from(fails),
                "seed {seed}: {index} has one last failure if it failed: {rows:?}"
            );
            let kept = !fails && self.plan.reduces;
            assert_eq!(
                self.store.outputs.contains(&index),
                kept,
                "seed {seed}: {index} has an output if it is done"
            );
        }
        let expected = if header.failed > self.plan.rules.max_failed {
            "failed"
        } else if self.plan.reduces && header.done > 0 {
            "reduced"
        } else {
            "counted"
        };
        let got = match self.ended.as_ref().expect("it ended") {
            Some(MapOutcome::Failed { reason }) if reason.code == ReasonCode::SubtasksFailed => "failed",
            Some(MapOutcome::Succeeded { result: Some(value) }) if value == "reduced" => "reduced",
            Some(MapOutcome::Succeeded { result: Some(value) }) if value["done"] == header.done => "counted",
            _ => "something else",
        };
        assert_eq!(got, expected, "seed {seed}: {:?}", self.ended);
    }
}
