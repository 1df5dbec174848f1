//! Promises about hints.

use crate::conformance::scene::{Cluster, eventually, hinted, joined, key, topic};
use crate::coordination::Coordination;
use crate::hint::Hint;
use crate::lock::LockData;

/// A topic's hint reaches every handle, the sender's own included, at its first notification and at later ones.
pub async fn notified_topics_reach_everyone<C: Cluster>(cluster: &C) {
    let (sender, receiver) = (cluster.handle().await, cluster.handle().await);
    let groups = topic("reach:groups");
    let wanted = |hint: &Hint| matches!(hint, Hint::Topic(t) if t.as_str() == "reach:groups");
    for _ in 0..3 {
        let (mut own, mut others) = (sender.hints(), receiver.hints());
        sender.notify(&groups).await.expect("answered");
        hinted(&mut own, wanted, "the own notification").await;
        hinted(&mut others, wanted, "the other's notification").await;
    }
}

/// Who reads without ever listening sees the same: hints only save time.
pub async fn readers_without_hints_still_see_the_truth<C: Cluster>(cluster: &C) {
    let (writer, reader) = (joined(cluster, "truth-writer").await, cluster.handle().await);
    let lock = key("truth.0");
    writer.try_lock(&lock, LockData::with_epoch(1)).await.expect("answered");
    eventually("the lock is seen", || async {
        reader
            .read_lock(&lock)
            .await
            .expect("answered")
            .is_some_and(|holder| holder.data == LockData::with_epoch(1))
    })
    .await;
    writer.release(&lock).await.expect("answered");
    eventually("the release is seen", || async {
        reader.read_lock(&lock).await.expect("answered").is_none()
    })
    .await;
}
