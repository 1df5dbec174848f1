//! What the engine wants told to the shard's other holders, gathered for a moment: at thousands of runs a second each step brings a little,
//! and a message for each would fill the links. A standby acts on a plan most of a second later than it could hear of it.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use carillon_core::engine::PlanNews;
use carillon_core::ids::{JobId, RunKey};
use carillon_core::run::Run;
use tokio::time::Instant;

/// How long news are gathered: fifty messages a second at most for a shard.
const GATHER: Duration = Duration::from_millis(20);

/// News that wait.
#[derive(Debug, Default)]
pub(super) struct Telling(Option<Gathered>);

#[derive(Debug)]
struct Gathered {
    since: Instant,
    /// All but the runs.
    news: PlanNews,
    opened: BTreeMap<RunKey, Run>,
    closed: BTreeSet<RunKey>,
}

impl Telling {
    pub(super) fn add(&mut self, mut news: PlanNews) {
        if news.full {
            // Whatever was to be told before is void.
            self.0 = None;
        }
        let told_anew = news.jobs.iter().map(|job| &job.job.id);
        for job in told_anew.chain(&news.taken_back).chain(&news.gone_jobs) {
            self.forget(*job);
        }
        let (opened, closed) = (std::mem::take(&mut news.opened), std::mem::take(&mut news.closed));
        let gathered = match &mut self.0 {
            Some(gathered) => {
                gathered.news.jobs_version = news.jobs_version;
                gathered.news.taken_back.append(&mut news.taken_back);
                gathered.news.jobs.append(&mut news.jobs);
                gathered.news.gone_jobs.append(&mut news.gone_jobs);
                gathered
            }
            empty => empty.insert(Gathered {
                since: Instant::now(),
                news,
                opened: BTreeMap::new(),
                closed: BTreeSet::new(),
            }),
        };
        for key in closed {
            gathered.opened.remove(&key);
            gathered.closed.insert(key);
        }
        for run in opened {
            gathered.closed.remove(&run.key);
            gathered.opened.insert(run.key, run);
        }
    }

    /// What was to be told of a job that is told anew, taken back, or gone, is void.
    fn forget(&mut self, job: JobId) {
        if let Some(gathered) = &mut self.0 {
            gathered.news.jobs.retain(|told| told.job.id != job);
            gathered.opened.retain(|key, _| key.job != job);
        }
    }

    /// When what waits is to be told.
    pub(super) fn due_at(&self) -> Option<Instant> {
        self.0.as_ref().map(|gathered| gathered.since + GATHER)
    }

    /// What waits, all of it.
    pub(super) fn take(&mut self) -> Option<PlanNews> {
        let Gathered { news, opened, closed, .. } = self.0.take()?;
        Some(PlanNews {
            opened: opened.into_values().collect(),
            closed: closed.into_iter().collect(),
            ..news
        })
    }
}

#[cfg(test)]
mod tests {
    use carillon_core::ids::{Epoch, GroupId, JobId, JobVersion, JobsVersion, PlanNo, ShardId};
    use carillon_core::time::Timestamp;

    use super::*;

    fn run(job: u32, plan_no: u32) -> Run {
        let at = Timestamp::from_millis(1_000);
        Run {
            plan_no: PlanNo::new(plan_no),
            due_at: at,
            start_by: at,
            ..Run::planned(
                RunKey { fire_time: at, job: JobId::new(job), ordinal: 0 },
                ShardId::new(GroupId::new(101, 1, 2, 6601).unwrap(), 0),
                Epoch::new(1),
                JobVersion::new(1),
            )
        }
    }

    fn news(full: bool, opened: Vec<Run>, closed: Vec<RunKey>) -> PlanNews {
        let (epoch, jobs_version) = (Epoch::new(1), JobsVersion::new(1));
        PlanNews {
            epoch,
            jobs_version,
            full,
            taken_back: Vec::new(),
            jobs: Vec::new(),
            gone_jobs: Vec::new(),
            opened,
            closed,
        }
    }

    #[test]
    fn the_last_word_on_each_run_is_told() {
        let mut telling = Telling::default();
        telling.add(news(false, vec![run(1, 1), run(2, 1), run(3, 1)], vec![]));
        telling.add(news(false, vec![run(1, 2)], vec![run(2, 1).key]));
        telling.add(news(false, vec![run(2, 3)], vec![run(3, 1).key]));
        let told = telling.take().unwrap();
        assert_eq!(told.opened, [run(1, 2), run(2, 3)]);
        assert_eq!(told.closed, [run(3, 1).key]);
        assert!(telling.take().is_none());
    }

    #[test]
    fn a_job_that_is_taken_back_makes_void_what_waits_of_it() {
        let mut telling = Telling::default();
        telling.add(news(false, vec![run(1, 1), run(2, 1)], vec![]));
        telling.add(PlanNews { taken_back: vec![JobId::new(1)], ..news(false, vec![], vec![]) });
        let told = telling.take().unwrap();
        assert_eq!((told.taken_back, told.opened), (vec![JobId::new(1)], vec![run(2, 1)]));
    }

    #[test]
    fn a_full_plan_makes_void_what_waits() {
        let mut telling = Telling::default();
        telling.add(news(false, vec![run(1, 1)], vec![run(2, 1).key]));
        telling.add(news(true, vec![run(3, 1)], vec![]));
        telling.add(news(false, vec![], vec![run(3, 1).key]));
        let told = telling.take().unwrap();
        assert!(told.full && told.opened.is_empty());
    }
}
