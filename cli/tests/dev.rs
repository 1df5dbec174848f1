//! `carillon dev` as a newcomer meets it: the real process, its few lines, its first run, its end and its next start.

#![expect(clippy::unwrap_used, reason = "a test that fails to unwrap has failed")]

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;

/// How long anything may take; a debug build on a busy machine is slow.
const DEADLINE: Duration = Duration::from_secs(60);

/// A running `carillon dev`. It is killed when the test is over, whatever came of it.
struct Dev {
    process: Child,
    lines: Vec<String>,
    url: String,
}

impl Dev {
    fn start(data: &Path, flags: &[&str]) -> Self {
        let mut command = carillon();
        command.args(["dev", "--port", "0", "--data"]).arg(data).args(flags);
        Self::watch(command)
    }

    fn watch(mut command: Command) -> Self {
        let mut process = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let mut lines = Vec::new();
        for line in BufReader::new(process.stdout.take().unwrap()).lines() {
            lines.push(line.unwrap());
            if lines.last().unwrap().starts_with("http://") {
                break;
            }
        }
        let Some(last) = lines.last().filter(|line| line.starts_with("http://")) else {
            panic!("it ended without a URL: {:?}", process.wait_with_output().unwrap());
        };
        let url = last.split("/sign-in?code=").next().unwrap().to_owned();
        Self { process, lines, url }
    }

    /// What another command says, asked of this console with the token that dev left.
    fn ask(&self, data: &Path, arguments: &[&str]) -> Output {
        let token = std::fs::read_to_string(data.join("admin.token")).unwrap();
        carillon().args(arguments).args(["--console", &self.url, "--token", token.trim()]).output().unwrap()
    }

    fn list(&self, data: &Path, arguments: &[&str]) -> Vec<Value> {
        let output = self.ask(data, &[arguments, &["-o", "json"]].concat());
        assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
        serde_json::from_slice(&output.stdout).unwrap()
    }

    fn signal(&self, name: &str) {
        let pid = self.process.id().to_string();
        assert!(Command::new("kill").args([name, &pid]).status().unwrap().success());
    }

    /// Waits for its end, with a deadline.
    fn ended(mut self) -> ExitStatus {
        wait_for("its end", || self.process.try_wait().unwrap())
    }
}

impl Drop for Dev {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

fn carillon() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_carillon"));
    for (name, _) in std::env::vars().filter(|(name, _)| name.starts_with("CARILLON_")) {
        command.env_remove(name);
    }
    command
}

fn wait_for<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let give_up = Instant::now() + DEADLINE;
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(Instant::now() < give_up, "waited in vain for {what}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

fn first_run(dev: &Dev, data: &Path) -> Option<Value> {
    let output = dev.ask(data, &["run", "list", "--job", "samples/on-demand", "-o", "json"]);
    let runs: Vec<Value> = serde_json::from_slice(&output.stdout).ok()?;
    runs.into_iter().find(|run| run["state"] == "succeeded")
}

#[test]
fn a_newcomer_sees_few_lines_a_url_and_a_run_with_a_log_that_is_still_there_after_the_next_start() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    let dev = Dev::start(&data, &[]);
    assert!(dev.lines.len() <= 10, "{:#?}", dev.lines);
    assert!(dev.lines.iter().any(|line| line.contains("password")), "{:#?}", dev.lines);

    let run = wait_for("the first run", || first_run(&dev, &data));
    let id = run["id"].as_str().unwrap();
    let log = wait_for("its log", || {
        let log = dev.ask(&data, &["run", "logs", id]);
        Some(String::from_utf8(log.stdout).unwrap()).filter(|log| !log.is_empty())
    });
    assert!(log.contains("greeting you"), "{log}");
    assert_eq!(dev.list(&data, &["job", "list"]).len(), 7);

    #[cfg(unix)]
    for secret in ["admin.token", "worker.token", "worker.env"] {
        use std::os::unix::fs::PermissionsExt;
        let path = data.join(secret);
        wait_for(secret, || path.exists().then_some(()));
        assert_eq!(std::fs::metadata(path).unwrap().permissions().mode() & 0o777, 0o600, "{secret}");
    }

    dev.signal("-INT");
    assert!(dev.ended().success());

    let again = Dev::start(&data, &[]);
    assert!(!again.lines.iter().any(|line| line.contains("password")), "shown once: {:#?}", again.lines);
    assert_eq!(first_run(&again, &data).unwrap()["id"], run["id"]);
    assert_eq!(again.list(&data, &["job", "list"]).len(), 7);
    assert_eq!(again.list(&data, &["run", "list", "--job", "samples/on-demand"]).len(), 1, "it rings once");
    again.signal("-TERM");
    assert!(again.ended().success());
}

#[test]
fn what_was_killed_starts_again_with_everything_it_had() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    let dev = Dev::start(&data, &[]);
    let run = wait_for("the first run", || first_run(&dev, &data));
    dev.signal("-KILL");
    assert!(!dev.ended().success());
    let again = Dev::start(&data, &[]);
    assert_eq!(first_run(&again, &data).unwrap()["id"], run["id"]);
    // And it goes on ringing.
    let output = again.ask(&data, &["job", "trigger", "samples/hello", "--wait", "--timeout", "30s"]);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

#[test]
fn two_of_them_do_not_share_a_folder() {
    let folder = tempfile::tempdir().unwrap();
    let first = Dev::start(folder.path(), &["--no-samples"]);
    let second = carillon().args(["dev", "--port", "0", "--data"]).arg(folder.path()).output().unwrap();
    assert_eq!(second.status.code(), Some(4));
    let said = String::from_utf8(second.stderr).unwrap();
    assert!(said.contains(&first.process.id().to_string()) && said.contains("--data"), "{said}");
}

#[test]
fn a_taken_port_is_said_and_the_next_one_taken() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let _holder = std::net::TcpListener::bind(("127.0.0.1", taken)).unwrap();
    let mut command = carillon();
    command.args(["dev", "--ephemeral", "--no-samples", "--port", &taken.to_string()]);
    let dev = Dev::watch(command);
    assert_ne!(dev.url, format!("http://127.0.0.1:{taken}"));
    let said = format!("Port {taken} is taken");
    assert!(dev.lines.iter().any(|line| line.contains(&said) && line.contains(&dev.url)), "{:#?}", dev.lines);
    assert!(dev.lines.len() <= 10, "{:#?}", dev.lines);
}

#[test]
fn the_last_line_signs_in_once() {
    let folder = tempfile::tempdir().unwrap();
    let dev = Dev::start(folder.path(), &["--no-samples"]);
    let link = dev.lines.last().unwrap().clone();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let browser = reqwest::Client::builder().redirect(reqwest::redirect::Policy::none()).build().unwrap();
        let first = browser.get(&link).send().await.unwrap();
        assert!(first.status().is_redirection(), "{}", first.status());
        assert!(first.headers().contains_key("set-cookie"));
        let second = browser.get(&link).send().await.unwrap();
        assert!(!second.headers().contains_key("set-cookie"), "signed in twice");
        // With pages in the binary a person is sent to the one that explains it.
        let explained =
            second.headers().get("location").is_some_and(|to| to == "./sign-in?error=code_used_up");
        assert!(explained || second.status().as_u16() == 401, "{}", second.status());
    });
}
