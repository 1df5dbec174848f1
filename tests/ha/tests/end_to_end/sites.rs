//! The two installations that all stories of this binary share.

use std::future::Future;

use carillon_ha::cluster::{Cluster, Size};
use carillon_ha::dev::Dev;
use carillon_ha::site::Site;
use carillon_ha::story::Shared;

static DEV: Shared<Dev> = Shared::new();
static CLUSTER: Shared<Cluster> = Shared::new();

pub(crate) fn on_dev<F: Future<Output = ()>>(story: impl FnOnce(&'static Site) -> F) {
    DEV.on(async || Some(Dev::start("dev").await), |dev| story(dev.as_ref()));
}

pub(crate) fn on_cluster<F: Future<Output = ()>>(story: impl FnOnce(&'static Site) -> F) {
    let size = Size { servers: 3, consoles: 3 };
    CLUSTER.on(async || Cluster::start("cluster", size).await, |cluster| story(cluster.as_ref()));
}

/// Makes two tests of each story, one on either installation.
macro_rules! on_both {
    ($($story:ident),+ $(,)?) => {
        mod dev { $(#[test] fn $story() { crate::sites::on_dev(super::$story); })+ }
        mod cluster { $(#[test] fn $story() { crate::sites::on_cluster(super::$story); })+ }
    };
}

pub(crate) use on_both;
