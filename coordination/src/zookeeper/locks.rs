//! Taking, displacing, updating, releasing and reading locks.

use std::collections::BTreeMap;

use tokio::time::Instant;
use zookeeper_client as zk;

use crate::error::{CoordinationError, Result};
use crate::lock::{LockData, LockHolder, LockOutcome, LockVersion};
use crate::name::LockKey;
use crate::zookeeper::attempts::{AttemptGuard, Doubt};
use crate::zookeeper::failure::{Failure, answer};
use crate::zookeeper::shared::{Session, Shared};
use crate::zookeeper::znodes::{self, EPHEMERAL, LockNode, LockSeen, PERSISTENT};

/// How many znodes are read by one request: at under 300 bytes each far below the 1 MiB an answer may have.
const READ_BATCH: usize = 500;

pub(super) async fn take(
    shared: &Shared,
    key: &LockKey,
    data: LockData,
    displacing: Option<LockVersion>,
) -> Result<LockOutcome> {
    let doing = if displacing.is_some() { "displace a holder" } else { "take a lock" };
    let deadline = shared.deadline();
    let session = shared.session(doing)?;
    let member = shared.member(doing)?;
    let mut attempt = AttemptGuard::begin(shared, key, session.number, deadline, doing).await?;
    loop {
        let (expected, lock) = look(&session, key, deadline, doing).await?;
        let remove = match lock {
            None => None,
            Some(lock) if lock.owner == session.id() => {
                let version = lock.version();
                shared.acquired(session.number, key, version, doing)?;
                return Ok(LockOutcome::Acquired { version });
            }
            Some(lock) if displacing == Some(lock.version()) => Some(lock.revision),
            Some(lock) => return Ok(LockOutcome::HeldBy(lock.holder(session.id()))),
        };

        let generation = generation_after(expected);
        let node = LockNode { member: member.clone(), generation, data };
        let mut transaction = session.client.new_multi_writer();
        add_taking(&mut transaction, key, expected, remove, &node)
            .map_err(|error| Failure::from(error).into_write(doing))?;
        attempt.sending(Doubt::Taking { expected });
        match answer(deadline, transaction.commit()).await {
            Ok(_) => {
                let version = LockVersion { generation, revision: 0 };
                shared.acquired(session.number, key, version, doing)?;
                attempt.answered();
                return Ok(LockOutcome::Acquired { version });
            }
            Err(failure) => {
                let race = failure.is_race();
                if matches!(failure, Failure::Code { .. }) {
                    attempt.answered();
                }
                if !race || Instant::now() >= deadline {
                    return Err(failure.into_write(doing));
                }
            }
        }
    }
}

/// The generation is spent last, so that who sees it spent, and looks at the lock after that, sees the lock too: reads may
/// run while a transaction is being applied.
fn add_taking(
    transaction: &mut zk::MultiWriter<'_>,
    key: &LockKey,
    expected: Option<i32>,
    remove: Option<i32>,
    node: &LockNode,
) -> Result<(), zk::Error> {
    let (lock, generation) = (znodes::lock(key), znodes::generation(key));
    if let Some(revision) = remove {
        transaction.add_delete(&lock, Some(revision))?;
    }
    transaction.add_create(&lock, &znodes::encode_lock(node), &EPHEMERAL)?;
    match expected {
        Some(version) => transaction.add_set_data(&generation, b"", Some(version)),
        None => transaction.add_create(&generation, b"", &PERSISTENT),
    }
}

/// The generation of the holding that spends `expected`. The znode's version counts from 0, generations from 1.
fn generation_after(expected: Option<i32>) -> u64 {
    match expected {
        None => 1,
        Some(version) => u64::from(version.cast_unsigned()) + 2,
    }
}

/// The version of the generation's znode during the holding of that generation.
fn version_during(generation: u64) -> i32 {
    i32::try_from(generation.saturating_sub(1)).unwrap_or(i32::MAX)
}

pub(super) async fn update(shared: &Shared, key: &LockKey, data: LockData) -> Result<LockVersion> {
    let doing = "update a lock";
    let deadline = shared.deadline();
    let session = shared.session(doing)?;
    let member = shared.member(doing)?;
    let not_holder = || CoordinationError::NotHolder { key: key.clone() };
    let mut version = shared.view().held.get(key).copied().ok_or_else(not_holder)?;
    let generation = version.generation;
    let node = znodes::encode_lock(&LockNode { member, generation, data });
    loop {
        let mut transaction = session.client.new_multi_writer();
        let mut add = || {
            transaction.add_check_version(&znodes::generation(key), version_during(generation))?;
            let revision = version.revision.cast_signed();
            transaction.add_set_data(&znodes::lock(key), &node, Some(revision))
        };
        add().map_err(|error: zk::Error| Failure::from(error).into_write(doing))?;
        match answer(deadline, transaction.commit()).await {
            Ok(_) => {
                version.revision += 1;
                let mut view = shared.view();
                if let Some(held) = view.held.get_mut(key)
                    && held.generation == generation
                {
                    held.revision = held.revision.max(version.revision);
                }
                return Ok(version);
            }
            // Another update of this holding came in between, maybe one that had been given up.
            Err(Failure::Code { index: 1, error: zk::Error::BadVersion }) if Instant::now() < deadline => {
                match look(&session, key, deadline, doing).await? {
                    (_, Some(lock)) if lock.node.generation == generation => version = lock.version(),
                    _ => {
                        shared.lost(key, generation);
                        return Err(not_holder());
                    }
                }
            }
            Err(failure) if failure.is_race() => {
                shared.lost(key, generation);
                return Err(not_holder());
            }
            Err(failure) => return Err(failure.into_write(doing)),
        }
    }
}

pub(super) async fn release(shared: &Shared, key: &LockKey) -> Result<()> {
    let doing = "release a lock";
    let (number, held) = {
        let mut view = shared.view();
        (view.session, view.held.remove(key))
    };
    let session = shared.session(doing);
    let Some(LockVersion { generation, .. }) = held else { return session.map(|_| ()) };
    let deadline = shared.deadline();
    let begun = match &session {
        Ok(_) => AttemptGuard::begin(shared, key, number, deadline, doing).await,
        Err(_) => Err(CoordinationError::Disconnected { doing }),
    };
    let (session, mut attempt) = match (session, begun) {
        (Ok(session), Ok(attempt)) => (session, attempt),
        (Err(error), _) | (_, Err(error)) => {
            shared.doubt_release(number, key, generation);
            return Err(error);
        }
    };
    attempt.sending(Doubt::Releasing { generation });
    match delete(&session, key, generation, deadline).await {
        Ok(()) | Err(Failure::SessionLost) => {
            attempt.answered();
            Ok(())
        }
        Err(failure) => Err(failure.into_write(doing)),
    }
}

/// Deletes the lock of one holding; succeeds if it is gone already.
async fn delete(session: &Session, key: &LockKey, generation: u64, deadline: Instant) -> Result<(), Failure> {
    let mut transaction = session.client.new_multi_writer();
    transaction.add_check_version(&znodes::generation(key), version_during(generation))?;
    transaction.add_delete(&znodes::lock(key), None)?;
    match answer(deadline, transaction.commit()).await {
        Ok(_) => Ok(()),
        Err(failure) if failure.is_race() => Ok(()),
        Err(failure) => Err(failure),
    }
}

/// Finds out what became of an attempt, and makes sure that this session does not hold the lock by it.
pub(super) async fn settle(shared: &Shared, session: &Session, key: &LockKey, doubt: &Doubt) -> Result<()> {
    let doing = "settle a doubtful lock";
    let expected = match *doubt {
        Doubt::Taking { expected } => expected,
        Doubt::Releasing { generation } => {
            return delete(session, key, generation, shared.deadline())
                .await
                .map_err(|failure| failure.into_write(doing));
        }
    };
    let deadline = shared.deadline();
    loop {
        let (current, lock) = look(session, key, deadline, doing).await?;
        if current == expected {
            // Not there yet, if ever. Spending the generation it waits for keeps it away.
            let path = znodes::generation(key);
            let spent = match expected {
                Some(_) => answer(deadline, session.client.set_data(&path, b"", expected)).await.map(|_| ()),
                None => answer(deadline, session.client.create(&path, b"", &PERSISTENT)).await.map(|_| ()),
            };
            match spent {
                Ok(()) => return Ok(()),
                Err(failure) if failure.is_race() && Instant::now() < deadline => continue,
                Err(failure) => return Err(failure.into_write(doing)),
            }
        }
        let generation = generation_after(expected);
        let took_effect =
            lock.is_some_and(|lock| lock.owner == session.id() && lock.node.generation == generation);
        if took_effect {
            tracing::info!(lock = %key, "releasing a lock that was taken by an attempt given up on");
            delete(session, key, generation, deadline).await.map_err(|failure| failure.into_write(doing))?;
        }
        return Ok(());
    }
}

/// Looks which of the locks are still this session's; reports those that are not.
pub(super) async fn verify(
    shared: &Shared,
    session: &Session,
    locks: &BTreeMap<LockKey, LockVersion>,
) -> Result<()> {
    let keys: Vec<LockKey> = locks.keys().cloned().collect();
    for keys in keys.chunks(READ_BATCH) {
        let seen = read_batch(session, keys, shared.deadline(), "verify the locks").await?;
        for key in keys {
            let version = locks.get(key).expect("the keys are the map's");
            let mine = seen.get(key).is_some_and(|lock| lock.owner == session.id());
            if !mine {
                shared.lost(key, version.generation);
            }
        }
    }
    Ok(())
}

pub(super) async fn read_one(shared: &Shared, key: &LockKey) -> Result<Option<LockHolder>> {
    let doing = "read a lock";
    let session = shared.session(doing)?;
    match answer(shared.deadline(), session.client.get_data(&znodes::lock(key))).await {
        Ok((data, stat)) => Ok(Some(LockSeen::decode(key, &data, &stat)?.holder(session.id()))),
        Err(failure) if failure.is_code(&zk::Error::NoNode) => Ok(None),
        Err(failure) => Err(failure.into_read(doing)),
    }
}

pub(super) async fn read_all(shared: &Shared) -> Result<BTreeMap<LockKey, LockHolder>> {
    let doing = "read the locks";
    let session = shared.session(doing)?;
    let names = answer(shared.deadline(), session.client.list_children(znodes::LOCKS))
        .await
        .map_err(|failure| failure.into_read(doing))?;
    // What is no lock key was put there by somebody else, and is left alone.
    let keys: Vec<LockKey> = names.into_iter().filter_map(|name| LockKey::new(name).ok()).collect();
    let mut all = BTreeMap::new();
    for keys in keys.chunks(READ_BATCH) {
        for (key, lock) in read_batch(&session, keys, shared.deadline(), doing).await? {
            all.insert(key, lock.holder(session.id()));
        }
    }
    Ok(all)
}

async fn read_batch(
    session: &Session,
    keys: &[LockKey],
    deadline: Instant,
    doing: &'static str,
) -> Result<BTreeMap<LockKey, LockSeen>> {
    let paths: Vec<String> = keys.iter().map(znodes::lock).collect();
    let answers = read_data(session, &paths, deadline).await.map_err(|failure| failure.into_read(doing))?;
    let mut seen = BTreeMap::new();
    for (key, found) in keys.iter().zip(answers) {
        if let Some((data, stat)) = found {
            match LockSeen::decode(key, &data, &stat) {
                Ok(lock) => {
                    seen.insert(key.clone(), lock);
                }
                // Whoever wrote it, it must not hide the others.
                Err(error) => tracing::warn!(
                    error = &error as &dyn std::error::Error,
                    lock = %key,
                    "left out a lock that cannot be read"
                ),
            }
        }
    }
    Ok(seen)
}

/// A lock's generation (the version of its znode, if there is one), and then the lock itself.
async fn look(
    session: &Session,
    key: &LockKey,
    deadline: Instant,
    doing: &'static str,
) -> Result<(Option<i32>, Option<LockSeen>)> {
    let paths = [znodes::generation(key), znodes::lock(key)];
    let mut answers =
        read_data(session, &paths, deadline).await.map_err(|failure| failure.into_read(doing))?;
    let lock = match answers.pop().flatten() {
        Some((data, stat)) => Some(LockSeen::decode(key, &data, &stat)?),
        None => None,
    };
    let generation = answers.pop().flatten().map(|(_, stat)| stat.version);
    Ok((generation, lock))
}

/// Reads znodes by one request, in order; `None` for those that are not there.
pub(super) async fn read_data(
    session: &Session,
    paths: &[String],
    deadline: Instant,
) -> Result<Vec<Option<(Vec<u8>, zk::Stat)>>, Failure> {
    let mut reader = session.client.new_multi_reader();
    for path in paths {
        reader.add_get_data(path)?;
    }
    let answers = answer(deadline, reader.commit()).await?;
    let found = answers.into_iter().map(|answer| match answer {
        zk::MultiReadResult::Data { data, stat } => Ok(Some((data, stat))),
        zk::MultiReadResult::Error { err: zk::Error::NoNode } => Ok(None),
        zk::MultiReadResult::Error { err } => Err(Failure::from(err)),
        other => {
            Err(Failure::NoAnswer(Some(zk::Error::UnexpectedError(format!("asked for data, got {other:?}")))))
        }
    });
    let found = found.collect::<Result<Vec<_>, Failure>>()?;
    if found.len() == paths.len() {
        Ok(found)
    } else {
        let text = format!("asked for {} nodes, got {}", paths.len(), found.len());
        Err(Failure::NoAnswer(Some(zk::Error::UnexpectedError(text))))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn generations_and_versions_of_their_znode_fit_together() {
        assert_eq!(generation_after(None), 1);
        assert_eq!(version_during(1), 0, "the first holding creates the znode");
        assert_eq!(generation_after(Some(0)), 2);
        assert_eq!(version_during(2), 1, "the second writes it once");
    }
}
