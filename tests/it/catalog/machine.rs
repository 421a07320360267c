//! Whatever workers and people do, in whatever order: a job ends once, has at
//! most one mask, its attempts count up, and a lost lease changes nothing.

use std::collections::BTreeMap;
use std::time::Duration;

use katagami::catalog::jobs::{Abandoned, Published};
use katagami::catalog::{attempts, jobs, masks};
use katagami::domain::job::{JobState, Order, Progress};
use katagami::domain::{AttemptId, JobId, Problem, SiteName};
use katagami::scheduler;
use katagami::wire::v1::jobs::{Job, JobQuery, Outcome};
use katagami::wire::v1::page::PageQuery;
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};

use super::world::{BY, LEASE, World, published};
use crate::backend::Backend::{self, Postgres, Sqlite};

/// What somebody does. Numbers pick a job or an attempt, lost ones too.
#[derive(Debug, Clone)]
enum Deed {
    Ask,
    Lease(u8),
    Wait(u64),
    Beat(usize),
    Checkpoint(usize, u64),
    Publish(usize, bool),
    Abandon(usize, u8),
    Cancel(usize),
    Reap,
}

fn deed() -> impl Strategy<Value = Deed> {
    let one = 0..100_usize;
    prop_oneof![
        1 => Just(Deed::Ask),
        6 => (0..3_u8).prop_map(Deed::Lease),
        3 => prop_oneof![Just(5), Just(30), Just(61), Just(700)].prop_map(Deed::Wait),
        3 => one.clone().prop_map(Deed::Beat),
        2 => (one.clone(), 1..4_u64).prop_map(|(attempt, step)| Deed::Checkpoint(attempt, step)),
        3 => (one.clone(), any::<bool>()).prop_map(|(attempt, mask)| Deed::Publish(attempt, mask)),
        3 => (one.clone(), 0..4_u8).prop_map(|(attempt, why)| Deed::Abandon(attempt, why)),
        1 => one.prop_map(Deed::Cancel),
        1 => Just(Deed::Reap),
    ]
}

/// A site whose jobs are watched.
struct Watch {
    world: World,
    site: SiteName,
    jobs: Vec<Job>,
    attempts: Vec<AttemptId>,
    before: BTreeMap<JobId, Job>,
}

impl Watch {
    async fn jobs_now(&self) -> BTreeMap<JobId, Job> {
        let mut tx = self.world.read().await;
        let query = JobQuery {
            limit: Some(1000),
            ..JobQuery::default()
        };
        let page = jobs::list(&mut tx, &self.site, &query).await.unwrap();
        page.items.into_iter().map(|job| (job.id, job)).collect()
    }

    /// Whether the attempt has its job, by what was seen before the deed.
    fn holds(&self, attempt: AttemptId) -> bool {
        let job = &self.before[&attempt.job];
        job.state == JobState::Running && job.attempt == attempt.number
    }

    fn attempt(&self, pick: usize) -> Option<AttemptId> {
        (!self.attempts.is_empty()).then(|| self.attempts[pick % self.attempts.len()])
    }

    async fn does(&mut self, deed: &Deed) {
        let world = &self.world;
        match *deed {
            Deed::Ask => {
                let job = world.job(&self.site).await;
                self.jobs.push(job);
            }
            Deed::Lease(worker) => {
                let leased = world.leases(&format!("worker {worker}")).await;
                if let Some(leased) = leased {
                    let number = self.before.get(&leased.attempt.job).map_or(0, |job| job.attempt);
                    assert_eq!(leased.attempt.number, number + 1);
                    self.attempts.push(leased.attempt);
                }
            }
            Deed::Wait(seconds) => world.catalog.advance(Duration::from_secs(seconds)),
            Deed::Reap => drop(scheduler::reap_once(&world.catalog).await.unwrap()),
            Deed::Cancel(pick) => {
                let job = self.jobs[pick % self.jobs.len()].id;
                let mut tx = world.begin().await;
                let may = !matches!(self.before[&job].state, JobState::Done | JobState::Failed);
                assert_eq!(jobs::cancel(&mut tx, job, BY).await.is_ok(), may);
                tx.commit().await.unwrap();
            }
            Deed::Beat(pick) => {
                let Some(attempt) = self.attempt(pick) else { return };
                let mut tx = world.begin().await;
                let order = jobs::heartbeat(&mut tx, attempt, LEASE, &Progress::default(), &[], &[])
                    .await
                    .unwrap();
                tx.commit().await.unwrap();
                let expected = match self.holds(attempt) {
                    false => Order::LeaseLost,
                    true if self.before[&attempt.job].cancel_requested => Order::Stop,
                    true => Order::Continue,
                };
                assert_eq!(order, expected);
            }
            Deed::Checkpoint(pick, step) => {
                let Some(attempt) = self.attempt(pick) else { return };
                let digest = world.uploads(attempt, &format!("{attempt} at {step}")).await;
                assert_eq!(digest.is_ok(), self.holds(attempt));
                let Ok(digest) = digest else { return };
                let mut tx = world.begin().await;
                jobs::checkpoint(&mut tx, attempt, step, &digest).await.unwrap();
                tx.commit().await.unwrap();
            }
            Deed::Publish(pick, true) => {
                let Some(attempt) = self.attempt(pick) else { return };
                let done = world.publishes(attempt).await;
                assert_eq!(done.is_ok(), self.holds(attempt));
                assert!(done.is_ok() || done.is_err_and(|error| error.code() == "lease_lost"));
            }
            Deed::Publish(pick, false) => {
                let Some(attempt) = self.attempt(pick) else { return };
                let report = published(attempt).report;
                let mut done = world
                    .uploads(attempt, &format!("report of {attempt}"))
                    .await
                    .map(drop);
                if done.is_ok() {
                    let mut tx = world.begin().await;
                    let nothing = Published { report, mask: None };
                    done = jobs::publish(&mut tx, attempt, &nothing).await.map(drop);
                    tx.commit().await.unwrap();
                }
                assert_eq!(done.is_ok(), self.holds(attempt));
            }
            Deed::Abandon(pick, why) => {
                let Some(attempt) = self.attempt(pick) else { return };
                let why = match why {
                    0 => Abandoned::Cancelled,
                    1 => Abandoned::Returned,
                    2 => Abandoned::Failed {
                        error: "it broke".to_owned(),
                        retry: true,
                    },
                    _ => Abandoned::Failed {
                        error: "it cannot be".to_owned(),
                        retry: false,
                    },
                };
                let mut tx = world.begin().await;
                let done = jobs::abandon(&mut tx, attempt, &why).await;
                assert_eq!(done.is_ok(), self.holds(attempt));
                tx.commit().await.unwrap();
            }
        }
    }

    async fn keeps_its_promises(&mut self) {
        let now = self.jobs_now().await;
        let mut tx = self.world.read().await;
        let page = PageQuery {
            cursor: None,
            limit: Some(1000),
        };
        let masks = masks::list(&mut tx, &self.site, &page).await.unwrap().items;
        for (id, job) in &now {
            let of_job: Vec<_> = masks
                .iter()
                .filter(|mask| mask.job == *id)
                .map(|mask| mask.version)
                .collect();
            let by_outcome = match &job.outcome {
                Some(Outcome::Mask { version, .. }) => vec![*version],
                _ => Vec::new(),
            };
            assert_eq!(
                of_job, by_outcome,
                "a mask is there if and only if its job ended with it"
            );
            assert_eq!(
                job.state.is_ended(),
                job.outcome.is_some() && job.ended_at.is_some()
            );
            let logs = jobs::logs(&mut tx, *id).await.unwrap();
            let open: Vec<_> = logs
                .attempts
                .iter()
                .filter(|attempt| attempt.end.is_none())
                .collect();
            assert_eq!(open.len(), usize::from(job.state == JobState::Running));
            assert!(open.iter().all(|attempt| attempt.number == job.attempt));
            assert_eq!(logs.attempts.len(), job.attempt as usize);
            let kept = attempts::checkpoints(&mut tx, *id).await.unwrap().len();
            assert!(kept <= 2 && (kept == 0 || !job.state.is_ended()));
            let Some(before) = self.before.get(id) else {
                continue;
            };
            assert!(job.attempt >= before.attempt, "attempts count up");
            if before.state.is_ended() {
                assert_eq!(job, before, "what has ended never changes");
            } else if before.state != job.state && job.attempt == before.attempt {
                assert!(before.state.may_become(job.state), "{before:?} {job:?}");
            }
        }
        assert!(self.before.keys().all(|id| now.contains_key(id)));
        drop(tx);
        self.before = now;
    }

    /// Ends what is left, so that the next story begins with an empty queue.
    async fn drain(&mut self) {
        for (id, job) in self.jobs_now().await {
            if !job.state.is_ended() {
                let mut tx = self.world.begin().await;
                jobs::cancel(&mut tx, id, BY).await.unwrap();
                tx.commit().await.unwrap();
            }
        }
        self.world.catalog.advance(LEASE * 2);
        scheduler::reap_once(&self.world.catalog).await.unwrap();
        assert!(self.jobs_now().await.values().all(|job| job.state.is_ended()));
    }
}

fn any_order_of_deeds(backend: Backend) {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    let kept = std::cell::RefCell::new(None);
    let number = std::cell::Cell::new(0);
    let mut runner = TestRunner::new(Config {
        cases: 24,
        failure_persistence: None,
        ..Config::default()
    });
    let stories = proptest::collection::vec(deed(), 1..60);
    let outcome = runner.run(&stories, |deeds| {
        number.set(number.get() + 1);
        runtime.block_on(async {
            // A story that failed took its world along.
            let taken = kept.take();
            let world = match taken {
                Some(world) => world,
                None => World::new(backend).await,
            };
            let site = world.site(&format!("site-{}", number.get())).await;
            let jobs = vec![world.job(&site).await];
            let mut watch = Watch {
                world,
                site,
                jobs,
                attempts: Vec::new(),
                before: BTreeMap::new(),
            };
            watch.keeps_its_promises().await;
            for deed in &deeds {
                watch.does(deed).await;
                watch.keeps_its_promises().await;
            }
            watch.drain().await;
            kept.replace(Some(watch.world));
        });
        Ok(())
    });
    if let Err(error) = outcome {
        panic!("{error}");
    }
}

#[test]
fn any_order_of_deeds_keeps_the_promises_on_sqlite() {
    any_order_of_deeds(Sqlite);
}

#[test]
fn any_order_of_deeds_keeps_the_promises_on_postgres() {
    any_order_of_deeds(Postgres);
}
