//! Consoles and nginx end.

use futures::FutureExt;
use reqwest::Method;

use super::Case;
use crate::process::Signal;
use crate::trial::{Exit, Trial, now_ms};

pub(super) const CASES: &[Case] = &[
    Case {
        name: "T5",
        title: "three consoles behind nginx, two stopped at random: every request of the SDK is served",
        quick: true,
        run: |trial| two_consoles_end(trial, false).boxed_local(),
    },
    Case {
        name: "T6",
        title: "the same: tasks still trigger, pages and API work",
        quick: true,
        run: |trial| two_consoles_end(trial, true).boxed_local(),
    },
    Case {
        name: "F18-killed",
        title: "nginx killed for 5 s, then started again",
        quick: true,
        run: |trial| nginx_killed(trial).boxed_local(),
    },
    Case {
        name: "F18-reloaded",
        title: "nginx reloaded, with one upstream less, under requests: none fails",
        quick: true,
        run: |trial| nginx_reloaded(trial).boxed_local(),
    },
];

/// What a person and a program read.
const PAGES: [&str; 6] =
    ["/", "/docs", "/api/v1/groups", "/api/v1/jobs", "/api/v1/servers", "/api/v1/runs?limit=20"];

async fn two_consoles_end(trial: &mut Trial<'_>, pages: bool) {
    let how = if trial.coin() { Exit::Killed } else { Exit::Asked };
    let chosen = trial.pick(3, 2);
    let names =
        chosen.iter().map(|place| trial.lab.consoles[*place].name.clone()).collect::<Vec<_>>().join(" and ");
    let broken =
        trial.fault(format!("{} of {names}", if how == Exit::Killed { "kill -9" } else { "SIGTERM" }));
    let from = now_ms();
    for place in &chosen {
        trial.end(&trial.lab.consoles[*place], how).await;
    }
    if pages {
        for _ in 0..5 {
            check_pages(trial).await;
            trial.lasts(0.5).await;
        }
    }
    trial.lasts(trial.seconds(5.0, 15.0)).await;
    let until = now_ms();
    for place in &chosen {
        trial.lab.revive(&trial.lab.consoles[*place]);
    }
    trial.healed(broken);
    every_request_was_served(trial, from, until);
}

/// Each page answers, a new worker would find its servers, and a trigger by hand is taken.
async fn check_pages(trial: &Trial<'_>) {
    let http = reqwest::Client::builder().no_proxy().build().expect("a client can be made");
    for page in PAGES {
        let answer =
            http.get(format!("{}{page}", trial.lab.url())).bearer_auth(trial.lab.token()).send().await;
        match answer {
            Ok(answer) if answer.status().is_success() || answer.status().is_redirection() => {}
            other => trial.broken(format!("{page}: {other:?}")),
        }
    }
    for group in &trial.load.groups {
        let servers = trial.lab.api().try_get(&format!("/sdk/endpoints?group={}", group.id)).await;
        match servers {
            Ok(body) if body["servers"].as_array().is_some_and(|servers| !servers.is_empty()) => {}
            other => trial.broken(format!("discovery: {other:?}")),
        }
    }
}

/// Not one request of the SDK's client failed between two instants; it repeats what was not answered, with the same key.
fn every_request_was_served(trial: &Trial<'_>, from_ms: i64, until_ms: i64) {
    let requests = trial.load.requests(from_ms, until_ms);
    if requests.is_empty() {
        trial.broken("no request was answered at all");
    }
    for request in requests {
        if let Err(why) = &request.run {
            let after = request.sent_ms - from_ms;
            trial.broken(format!("the request {after} ms after the fault failed: {why}"));
        }
    }
}

async fn nginx_killed(trial: &mut Trial<'_>) {
    let broken = trial.fault("kill -9 of nginx");
    trial.lab.nginx.kill();
    trial.lasts(5.0).await;
    trial.lab.revive(&trial.lab.nginx);
    trial.healed(broken);
    // From here on requests are served again.
    let from = now_ms();
    trial.lasts(2.5).await;
    if trial.lab.api().try_send(Method::GET, "/servers", None, &[]).await.is_err() {
        trial.broken("nginx does not serve after its start");
    }
    every_request_was_served(trial, from + 500, now_ms());
}

async fn nginx_reloaded(trial: &mut Trial<'_>) {
    let (lab, from) = (trial.lab, now_ms());
    let gone = trial.pick(3, 1)[0];
    let left: Vec<_> = (0..3).filter(|place| *place != gone).map(|place| &lab.consoles[place]).collect();
    let broken =
        trial.fault(format!("nginx reloaded without {}, which is then killed", lab.consoles[gone].name));
    lab.nginx.reload_nginx(lab.folder(), &lab.ground.network, &left);
    trial.lasts(1.0).await;
    lab.consoles[gone].signal(Signal::Kill);
    trial.lasts(4.0).await;
    lab.consoles[gone].kill();
    lab.revive(&lab.consoles[gone]);
    trial.lasts(1.0).await;
    lab.nginx.reload_nginx(lab.folder(), &lab.ground.network, &lab.consoles.iter().collect::<Vec<_>>());
    trial.lasts(1.0).await;
    trial.healed(broken);
    every_request_was_served(trial, from, now_ms());
}
