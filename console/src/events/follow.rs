//! Follows the servers' watch streams and the coordinator's hints, and turns both into events.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use carillon_coordination::{Hint, Member};
use carillon_core::ids::{GroupId, ShardId};
use carillon_proto::v1;
use carillon_proto::v1::watch_event::Event;
use serde_json::json;
use tokio::time::{MissedTickBehavior, interval, sleep};
use tokio_util::sync::CancellationToken;

use crate::console::Console;
use crate::problem::chain;
use crate::servers::calls::run_of;

/// Frames of changed runs: five a second look live and cost little.
const RUN_FRAMES: Duration = Duration::from_millis(200);

/// Frames of figures.
const STATS_FRAMES: Duration = Duration::from_secs(1);

/// Members are looked at this often even without a hint.
const LOOK_AGAIN: Duration = Duration::from_secs(2);

/// Pause before a watch stream that ended is opened again.
const REOPEN_AFTER: Duration = Duration::from_secs(1);

/// Runs until shutdown: keeps one watch stream open to each live server and sends frames.
pub(crate) async fn follow(console: Arc<Console>, shutdown: CancellationToken) {
    let mut hints = console.coordination.hints();
    let mut look = interval(LOOK_AGAIN);
    let mut run_frames = interval(RUN_FRAMES);
    let mut stats_frames = interval(STATS_FRAMES);
    for ticks in [&mut look, &mut run_frames, &mut stats_frames] {
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    }
    let mut followed = HashMap::<String, CancellationToken>::new();
    let mut hints_end = false;
    loop {
        tokio::select! {
            () = shutdown.cancelled() => break,
            _ = look.tick() => {
                let asking = Arc::clone(&console);
                console.tasks.spawn(async move { asking.servers.refresh_names().await });
                follow_the_living(&console, &mut followed, &shutdown).await;
            }
            _ = run_frames.tick() => console.events.flush_runs(),
            _ = stats_frames.tick() => console.events.flush_stats(),
            hint = hints.next(), if !hints_end => match hint {
                Some(Hint::MembersChanged | Hint::Rescan) => {
                    console.events.publish("changed", None, json!({"what": "servers"}));
                    follow_the_living(&console, &mut followed, &shutdown).await;
                }
                Some(Hint::Topic(topic)) => topic_changed(&console, topic.as_str()),
                Some(_) => {}
                None => hints_end = true,
            },
        }
    }
}

/// What consoles tell each other after a write.
fn topic_changed(console: &Console, topic: &str) {
    if let Some(shard) = topic.strip_prefix("shard:").and_then(|shard| shard.parse::<ShardId>().ok()) {
        let group = shard.group();
        console.schedules.forget();
        console.events.publish("changed", Some(group), json!({"what": "jobs", "group": group}));
    } else if topic == "groups" {
        console.events.publish("changed", None, json!({"what": "groups"}));
    }
}

async fn follow_the_living(
    console: &Arc<Console>,
    followed: &mut HashMap<String, CancellationToken>,
    shutdown: &CancellationToken,
) {
    // Without an answer the streams that are open stay as they are.
    let Ok(live) = console.servers.live().await else { return };
    followed.retain(|address, stop| {
        let lives = live.iter().any(|member| member.address == *address);
        if !lives {
            stop.cancel();
        }
        lives
    });
    for member in live {
        if !followed.contains_key(&member.address) {
            let stop = shutdown.child_token();
            followed.insert(member.address.clone(), stop.clone());
            console.tasks.spawn(follow_server(Arc::clone(console), member, stop));
        }
    }
}

async fn follow_server(console: Arc<Console>, member: Member, stop: CancellationToken) {
    let watch = async {
        loop {
            if let Err(status) = watch_server(&console, &member).await {
                tracing::debug!(server = %member.id, error = %chain(&status), "the watch stream of a server ended");
            }
            sleep(REOPEN_AFTER).await;
        }
    };
    tokio::select! {
        () = stop.cancelled() => {}
        () = watch => {}
    }
}

async fn watch_server(console: &Console, member: &Member) -> Result<(), tonic::Status> {
    let mut client = console.servers.client(&member.address)?;
    let opened =
        tokio::time::timeout(crate::servers::CALL_DEADLINE, client.watch(v1::WatchRequest::default()));
    let mut events =
        opened.await.map_err(|_| tonic::Status::deadline_exceeded("no watch stream"))??.into_inner();
    // A server that is gone without a word is noticed by the channel's keep-alive, which ends the stream.
    while let Some(message) = events.message().await? {
        match message.event {
            Some(Event::Run(change)) => {
                if let (Some(run), Ok(group)) = (&change.run, change.group.parse()) {
                    console.events.run_changed(run_of(run), group, change.state, change.attempt);
                }
            }
            Some(Event::Stats(stats)) => console.events.stats(member.id.as_str(), stats),
            Some(Event::Changed(changed)) => {
                let group = group_of(&changed.id);
                console.events.publish("changed", group, json!({"what": changed.what, "id": changed.id}));
            }
            None => {}
        }
    }
    Ok(())
}

/// The group that an id of a group or shard is about.
fn group_of(id: &str) -> Option<GroupId> {
    id.parse().ok().or_else(|| id.parse::<ShardId>().ok().map(ShardId::group))
}
