//! Becoming a member, staying one, and reading who is there.

use tokio::time::Instant;
use zookeeper_client as zk;

use crate::error::{CoordinationError, Result};
use crate::member::Member;
use crate::zookeeper::failure::{Failure, answer};
use crate::zookeeper::locks::read_data;
use crate::zookeeper::shared::{Session, Shared};
use crate::zookeeper::znodes::{self, EPHEMERAL, MEMBERS};

/// How many members are read by one request: a member's JSON is some hundred bytes, an answer may have 1 MiB.
const READ_BATCH: usize = 200;

pub(super) async fn join(shared: &Shared, member: Member) -> Result<()> {
    let doing = "join";
    let session = shared.session(doing)?;
    let present = {
        let view = shared.view();
        if let Some(wish) = &view.wish
            && wish.id != member.id
        {
            return Err(id_must_not_change(wish, &member));
        }
        view.present
    };
    if present {
        return update(shared, member).await;
    }
    // Nothing but this member hangs on the session yet. If it stays unknown whether it was created, also because the
    // caller went away, the session goes and takes it along.
    let mut renewal = RenewUnlessAnswered { shared, session: session.number, armed: true };
    let outcome = write(shared, &session, &member, doing).await;
    renewal.armed = matches!(outcome, Err(CoordinationError::Unknown { .. }));
    outcome?;
    shared.view().wish = Some(member.clone());
    shared.joined(session.number, &member);
    Ok(())
}

struct RenewUnlessAnswered<'a> {
    shared: &'a Shared,
    session: u64,
    armed: bool,
}

impl Drop for RenewUnlessAnswered<'_> {
    fn drop(&mut self) {
        if self.armed {
            self.shared.give_up(self.session);
        }
    }
}

pub(super) async fn update(shared: &Shared, member: Member) -> Result<()> {
    let doing = "update the member";
    let wish = {
        let mut view = shared.view();
        match &view.wish {
            Some(wish) if wish.id != member.id => return Err(id_must_not_change(wish, &member)),
            Some(_) => {}
            None => return Err(CoordinationError::NotJoined { doing }),
        }
        view.wish = Some(member.clone());
        view.unwritten = true;
        member
    };
    let session = shared.session(doing)?;
    let outcome = write(shared, &session, &wish, doing).await;
    match outcome {
        Ok(()) => shared.joined(session.number, &wish),
        Err(_) => shared.chores.notify_one(),
    }
    outcome
}

fn id_must_not_change(wish: &Member, member: &Member) -> CoordinationError {
    CoordinationError::BadSettings {
        reason: format!("a member keeps its id: {} cannot become {}", wish.id, member.id),
    }
}

/// Makes the session a member, or changes what the member says of itself.
pub(super) async fn write(
    shared: &Shared,
    session: &Session,
    member: &Member,
    doing: &'static str,
) -> Result<()> {
    let deadline = shared.deadline();
    let path = znodes::member(&member.id);
    let data = znodes::encode_member(member);
    loop {
        let found = match answer(deadline, session.client.get_data(&path)).await {
            Ok(found) => Some(found),
            Err(failure) if failure.is_code(&zk::Error::NoNode) => None,
            Err(failure) => return Err(failure.into_read(doing)),
        };
        let written = match found {
            None => answer(deadline, session.client.create(&path, &data, &EPHEMERAL)).await.map(|_| ()),
            Some((before, stat)) if stat.ephemeral_owner == session.id() => {
                if before == data {
                    return Ok(());
                }
                let write = session.client.set_data(&path, &data, Some(stat.version));
                answer(deadline, write).await.map(|_| ())
            }
            // This handle's own former session, which the ensemble has not ended yet.
            Some((_, stat)) if shared.is_former(stat.ephemeral_owner) => {
                let mut transaction = session.client.new_multi_writer();
                let mut add = || {
                    transaction.add_delete(&path, Some(stat.version))?;
                    transaction.add_create(&path, &data, &EPHEMERAL)
                };
                add().map_err(|error: zk::Error| Failure::from(error).into_write(doing))?;
                answer(deadline, transaction.commit()).await.map(|_| ())
            }
            Some((other, _)) => {
                let holder = Box::new(znodes::decode_member(member.id.as_str(), &other)?);
                return Err(CoordinationError::IdTaken { holder });
            }
        };
        match written {
            Ok(()) => return Ok(()),
            Err(failure) if failure.is_race() && Instant::now() < deadline => {}
            Err(failure) => return Err(failure.into_write(doing)),
        }
    }
}

pub(super) async fn read_all(shared: &Shared) -> Result<Vec<Member>> {
    let doing = "read the members";
    let session = shared.session(doing)?;
    let mut names = answer(shared.deadline(), session.client.list_children(MEMBERS))
        .await
        .map_err(|failure| failure.into_read(doing))?;
    names.sort_unstable();
    let mut members = Vec::with_capacity(names.len());
    for names in names.chunks(READ_BATCH) {
        let paths: Vec<String> = names.iter().map(|name| format!("{MEMBERS}/{name}")).collect();
        let found = read_data(&session, &paths, shared.deadline())
            .await
            .map_err(|failure| failure.into_read(doing))?;
        for (name, found) in names.iter().zip(found) {
            if let Some((data, _)) = found {
                match znodes::decode_member(name, &data) {
                    Ok(member) => members.push(member),
                    // Whoever wrote it, the others must still find each other.
                    Err(error) => tracing::warn!(
                        error = &error as &dyn std::error::Error,
                        member = name,
                        "left out a member that cannot be read"
                    ),
                }
            }
        }
    }
    Ok(members)
}
