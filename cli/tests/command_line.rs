//! The command line as scripts meet it: help with examples, exit codes, data on stdout and talk on stderr.
//!
//! The console is a fake one that gives prepared answers, so that each case is about the command alone.

#![expect(clippy::unwrap_used, reason = "a test that fails to unwrap has failed")]

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::process::{Command, Output, Stdio};
use std::sync::{Arc, Mutex};

use serde_json::{Value, json};

/// A console that answers `METHOD /path` (below /api/v1, with or without the query) as prepared and remembers what it was asked.
struct FakeConsole {
    url: String,
    asked: Arc<Mutex<Vec<Asked>>>,
}

#[derive(Clone, Debug)]
struct Asked {
    line: String,
    headers: BTreeMap<String, String>,
    body: Value,
}

impl FakeConsole {
    fn answering(answers: &[(&str, u16, Value)]) -> Self {
        let answers: BTreeMap<String, (u16, Value)> = answers
            .iter()
            .map(|(asked, status, body)| ((*asked).to_owned(), (*status, body.clone())))
            .collect();
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let asked = Arc::new(Mutex::new(Vec::new()));
        let memory = Arc::clone(&asked);
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let (answers, memory) = (answers.clone(), Arc::clone(&memory));
                std::thread::spawn(move || serve(stream.unwrap(), &answers, &memory));
            }
        });
        Self { url, asked }
    }

    fn carillon(&self, arguments: &[&str]) -> Output {
        carillon(&[arguments, &["--console", &self.url]].concat())
    }

    /// The request that was made, by the beginning of its line.
    fn asked(&self, line: &str) -> Asked {
        let asked = self.asked.lock().unwrap();
        let found = asked.iter().find(|asked| asked.line.starts_with(line)).cloned();
        found.unwrap_or_else(|| panic!("{line:?} was never asked: {asked:?}"))
    }
}

fn serve(stream: TcpStream, answers: &BTreeMap<String, (u16, Value)>, memory: &Mutex<Vec<Asked>>) {
    let mut reader = BufReader::new(stream.try_clone().unwrap());
    let mut writer = stream;
    loop {
        let mut line = String::new();
        if reader.read_line(&mut line).unwrap_or(0) == 0 {
            return;
        }
        let mut headers = BTreeMap::new();
        loop {
            let mut header = String::new();
            reader.read_line(&mut header).unwrap();
            let Some((name, value)) = header.trim_end().split_once(": ") else { break };
            headers.insert(name.to_lowercase(), value.to_owned());
        }
        let length = headers.get("content-length").map_or(0, |length| length.parse().unwrap());
        let mut body = vec![0; length];
        reader.read_exact(&mut body).unwrap();
        let mut words = line.split(' ');
        let (method, path) = (words.next().unwrap(), words.next().unwrap());
        let path = path.strip_prefix("/api/v1").unwrap_or(path);
        let body = if body.is_empty() { Value::Null } else { serde_json::from_slice(&body).unwrap() };
        memory.lock().unwrap().push(Asked { line: format!("{method} {path}"), headers, body });
        let bare = path.split('?').next().unwrap();
        let missing =
            (404, json!({"code": "not_found", "detail": format!("no answer prepared for {method} {bare}")}));
        let (status, answer) = answers
            .get(&format!("{method} {path}"))
            .or_else(|| answers.get(&format!("{method} {bare}")))
            .unwrap_or(&missing);
        let text = answer.to_string();
        let head = format!("HTTP/1.1 {status} X\r\netag: \"5\"\r\ncontent-length: {}\r\n\r\n", text.len());
        writer.write_all(format!("{head}{text}").as_bytes()).unwrap();
    }
}

/// Runs the binary in an empty folder without any of its variables.
fn carillon(arguments: &[&str]) -> Output {
    carillon_with(arguments, &[], "")
}

fn carillon_with(arguments: &[&str], variables: &[(&str, &str)], stdin: &str) -> Output {
    let folder = tempfile::tempdir().unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_carillon"));
    command.args(arguments).current_dir(folder.path());
    for (name, _) in std::env::vars().filter(|(name, _)| name.starts_with("CARILLON_")) {
        command.env_remove(name);
    }
    let mut child = command
        .envs(variables.iter().copied())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    // A command that does not read its stdin may be gone before it is written.
    let _ = child.stdin.take().unwrap().write_all(stdin.as_bytes());
    child.wait_with_output().unwrap()
}

fn code(output: &Output) -> i32 {
    output.status.code().unwrap_or_else(|| panic!("ended by a signal: {output:?}"))
}

fn stdout(output: &Output) -> &str {
    std::str::from_utf8(&output.stdout).unwrap()
}

fn stderr(output: &Output) -> &str {
    std::str::from_utf8(&output.stderr).unwrap()
}

fn job() -> Value {
    json!({
        "id": "17", "group": "101-1-2-6601", "name": "close-day", "kind": "simple", "handler": "close_day",
        "schedule": {"type": "cron", "expression": "0 0 1 * * ?", "time_zone": "UTC"}, "enabled": true, "revision": 5,
    })
}

fn list(items: &[Value]) -> Value {
    json!({ "items": items, "next_cursor": null })
}

// ---- help ----

#[test]
fn every_command_has_a_sentence_and_an_example_that_begins_with_its_own_name() {
    fn visit(path: &str, command: &clap::Command, seen: &mut usize) {
        *seen += 1;
        assert!(command.get_about().is_some(), "`{path}` does not say what it does");
        let help = command.get_after_help().map(ToString::to_string).unwrap_or_default();
        assert!(help.contains("Example"), "`{path}` has no example");
        if path != "carillon" {
            assert!(help.contains(path), "the example of `{path}` does not show it:\n{help}");
        }
        for argument in command.get_arguments().filter(|argument| !argument.is_hide_set()) {
            assert!(argument.get_help().is_some(), "`{path}`: {} has no help", argument.get_id());
        }
        for inner in command.get_subcommands().filter(|inner| inner.get_name() != "help") {
            visit(&format!("{path} {}", inner.get_name()), inner, seen);
        }
    }
    let mut seen = 0;
    let mut command = carillon_cli::command();
    visit("carillon", &command.clone(), &mut seen);
    assert!(seen > 60, "only {seen} commands");
    command.build();
    command.debug_assert();
}

#[test]
fn every_example_in_the_help_is_a_command_line_that_is_understood() {
    fn visit(command: &clap::Command, found: &mut Vec<String>) {
        let help = command.get_after_help().map(ToString::to_string).unwrap_or_default();
        found.extend(help.lines().filter_map(|line| {
            let line = line.trim_start();
            let start = line.find("carillon ").filter(|start| {
                *start == 0 || line[..*start].ends_with("| ") || line[..*start].ends_with("room-a ")
            })?;
            // Two blanks and more begin a remark; a redirection belongs to the shell.
            let line = line[start..].split("   ").next()?.split(" > ").next()?;
            Some(line.trim_end().to_owned())
        }));
        command.get_subcommands().for_each(|inner| visit(inner, found));
    }
    let mut examples = Vec::new();
    visit(&carillon_cli::command(), &mut examples);
    assert!(examples.len() > 60, "only {} examples: {examples:?}", examples.len());
    for example in examples {
        let words = shell_words(&example);
        if let Err(error) = carillon_cli::command().try_get_matches_from(&words) {
            panic!("the example `{example}` is refused: {error}");
        }
    }
}

/// Splits at blanks outside single quotes.
fn shell_words(line: &str) -> Vec<String> {
    let mut words = vec![String::new()];
    let mut quoted = false;
    for character in line.chars() {
        match character {
            '\'' => quoted = !quoted,
            ' ' if !quoted => words.push(String::new()),
            other => words.last_mut().unwrap().push(other),
        }
    }
    words.retain(|word| !word.is_empty());
    words
}

#[test]
fn the_help_of_a_command_goes_to_stdout_and_a_slip_to_stderr_with_a_suggestion() {
    let help = carillon(&["job", "trigger", "--help"]);
    assert_eq!(code(&help), 0);
    assert!(stdout(&help).contains("carillon job trigger billing/close-day"), "{}", stdout(&help));
    let slip = carillon(&["job", "triger", "17"]);
    assert_eq!(code(&slip), 2);
    assert!(stdout(&slip).is_empty() && stderr(&slip).contains("trigger"), "{}", stderr(&slip));
}

#[test]
fn completions_know_the_commands() {
    for shell in ["bash", "zsh", "fish", "powershell", "elvish"] {
        let output = carillon(&["completions", shell]);
        assert_eq!(code(&output), 0);
        assert!(stdout(&output).contains("dead-letter"), "{shell}");
    }
}

// ---- exit codes ----

#[test]
fn data_go_to_stdout_in_the_format_that_was_asked_for() {
    let console = FakeConsole::answering(&[("GET /jobs/17", 200, job())]);
    let table = console.carillon(&["job", "get", "17"]);
    assert_eq!(code(&table), 0, "{}", stderr(&table));
    let lines: Vec<&str> = stdout(&table).lines().collect();
    assert!(lines[0].starts_with("ID  GROUP         NAME"), "{lines:?}");
    assert!(lines[1].starts_with("17  101-1-2-6601  close-day  simple  0 0 1 * * ? (UTC)"), "{lines:?}");
    let wide = console.carillon(&["job", "get", "17", "-o", "wide"]);
    assert!(stdout(&wide).contains("close_day"));
    let as_json: Value =
        serde_json::from_slice(&console.carillon(&["job", "get", "17", "-o", "json"]).stdout).unwrap();
    assert_eq!(as_json, job());
    let as_yaml: Value =
        serde_norway::from_slice(&console.carillon(&["job", "get", "17", "-o", "yaml"]).stdout).unwrap();
    assert_eq!(as_yaml, job());
}

#[test]
fn each_kind_of_failure_has_its_own_exit_code() {
    let problem = |code: &str| json!({"code": code, "detail": format!("because of {code}")});
    for (status, expected) in
        [(400, 2), (422, 2), (401, 1), (403, 1), (404, 3), (409, 4), (412, 4), (500, 1), (503, 6)]
    {
        let console = FakeConsole::answering(&[("GET /jobs/17", status, problem("this"))]);
        let output = console.carillon(&["job", "get", "17"]);
        assert_eq!(code(&output), expected, "status {status}: {}", stderr(&output));
        assert!(stdout(&output).is_empty());
        assert!(stderr(&output).starts_with("error: because of this (this)"), "{}", stderr(&output));
    }
}

#[test]
fn a_console_that_is_not_there_is_exit_code_6() {
    let free = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let output = carillon(&["job", "list", "--console", &format!("http://{free}")]);
    assert_eq!(code(&output), 6);
    assert!(stderr(&output).contains("does not answer"), "{}", stderr(&output));
    let output = carillon(&["job", "list", "--console", "not a url"]);
    assert_eq!(code(&output), 2, "{}", stderr(&output));
}

#[test]
fn each_wrong_field_is_shown() {
    let problem = json!({"code": "invalid", "detail": "2 fields are not as they should be", "errors": [
        {"field": "schedule.expression", "message": "61 is not between 0 and 59", "column": 3},
        {"field": "handler", "message": "is missing"},
    ]});
    let console = FakeConsole::answering(&[("POST /jobs", 422, problem)]);
    let output = console.carillon(&[
        "job",
        "create",
        "--group",
        "101-1-2-6601",
        "--name",
        "a",
        "--cron",
        "0 61 * * * ?",
    ]);
    assert_eq!(code(&output), 2);
    assert!(
        stderr(&output).contains("\n  schedule.expression, column 3: 61 is not between 0 and 59\n"),
        "{}",
        stderr(&output)
    );
    assert!(stderr(&output).contains("\n  handler: is missing"), "{}", stderr(&output));
}

#[test]
fn a_run_that_is_waited_for_decides_the_exit_code() {
    for (state, expected) in [("succeeded", 0), ("dead", 5), ("missed", 5)] {
        let run = json!({"id": "01hx2k9a00000002", "job": "17", "state": state, "reason": {"code": "failed", "detail": "card refused"}});
        let console = FakeConsole::answering(&[
            ("POST /jobs/17/runs", 202, json!({"id": "01hx2k9a00000002"})),
            ("GET /runs/01hx2k9a00000002", 200, run),
        ]);
        let output = console.carillon(&[
            "job",
            "trigger",
            "17",
            "--wait",
            "--params",
            "TestParam",
            "--idempotency-key",
            "k1",
        ]);
        assert_eq!(code(&output), expected, "{state}: {}", stderr(&output));
        assert!(stdout(&output).contains(state), "the run is data whatever its end");
        let asked = console.asked("POST /jobs/17/runs");
        assert_eq!(asked.body, json!({"params": "TestParam"}));
        assert_eq!(asked.headers["idempotency-key"], "k1");
    }
}

// ---- what is sent ----

#[test]
fn the_token_comes_from_the_flag_the_environment_or_the_file_of_dev() {
    let console = FakeConsole::answering(&[("GET /groups", 200, list(&[]))]);
    let with_flag = carillon_with(
        &["group", "list", "--token", "cri_pat_flag", "--console", &console.url],
        &[("CARILLON_TOKEN", "cri_pat_env")],
        "",
    );
    assert_eq!(code(&with_flag), 0);
    assert_eq!(console.asked("GET /groups").headers["authorization"], "Bearer cri_pat_flag");

    let console = FakeConsole::answering(&[("GET /groups", 200, list(&[]))]);
    carillon_with(
        &["group", "list"],
        &[("CARILLON_TOKEN", "cri_pat_env"), ("CARILLON_CONSOLE", &console.url)],
        "",
    );
    assert_eq!(console.asked("GET /groups").headers["authorization"], "Bearer cri_pat_env");

    let console = FakeConsole::answering(&[("GET /groups", 200, list(&[]))]);
    let folder = tempfile::tempdir().unwrap();
    std::fs::create_dir(folder.path().join("carillon-data")).unwrap();
    std::fs::write(folder.path().join("carillon-data/admin.token"), "cri_pat_file\n").unwrap();
    let status = Command::new(env!("CARGO_BIN_EXE_carillon"))
        .args(["group", "list", "--console", &console.url])
        .env_remove("CARILLON_TOKEN")
        .current_dir(folder.path())
        .stdout(Stdio::null())
        .status()
        .unwrap();
    assert!(status.success());
    assert_eq!(console.asked("GET /groups").headers["authorization"], "Bearer cri_pat_file");
}

#[test]
fn an_update_carries_the_revision_that_was_read() {
    let console = FakeConsole::answering(&[("GET /jobs/17", 200, job()), ("PATCH /jobs/17", 200, job())]);
    let output = console.carillon(&["job", "update", "17", "--timeout", "10m", "--label", "team=billing"]);
    assert_eq!(code(&output), 0, "{}", stderr(&output));
    let asked = console.asked("PATCH /jobs/17");
    assert_eq!(asked.headers["if-match"], "\"5\"");
    assert_eq!(asked.body, json!({"timeout": "10m", "labels": {"team": "billing"}}));
    console.carillon(&["job", "update", "17", "--timeout", "10m", "--revision", "3"]);
    let stale =
        console.asked.lock().unwrap().iter().rfind(|asked| asked.line.starts_with("PATCH")).cloned().unwrap();
    assert_eq!(stale.headers["if-match"], "\"3\"");
}

#[test]
fn a_job_is_found_by_the_names_of_its_group_and_its_own() {
    let group = json!({"id": "101-1-2-6601", "name": "billing"});
    let console = FakeConsole::answering(&[
        ("GET /groups", 200, list(&[group])),
        ("GET /jobs", 200, list(&[job()])),
        ("GET /jobs/17", 200, job()),
    ]);
    let output = console.carillon(&["describe", "job", "billing/close-day"]);
    assert_eq!(code(&output), 0, "{}", stderr(&output));
    assert!(stdout(&output).contains("schedule.expression:"), "{}", stdout(&output));
    let output = console.carillon(&["job", "get", "biling/close-day"]);
    assert_eq!(code(&output), 3);
    assert!(stderr(&output).contains("did you mean billing?"), "{}", stderr(&output));
}

#[test]
fn a_path_is_never_built_from_anything_but_an_id() {
    let console = FakeConsole::answering(&[]);
    for name in ["../users/1", "a/b", "a?b", "..", "%2e%2e"] {
        let output = console.carillon(&["run", "get", name]);
        assert_eq!(code(&output), 2, "{name}: {}", stderr(&output));
    }
}

#[test]
fn apply_creates_what_is_missing_changes_what_differs_and_leaves_the_rest() {
    let spec = |name: &str, timeout: &str| {
        format!(
            "kind: job\nspec: {{group: billing, name: {name}, handler: h, timeout: {timeout}, schedule: {{type: api}}}}\n"
        )
    };
    let same = json!({"group": "101-1-2-6601", "name": "same", "handler": "h", "timeout": "10s", "schedule": {"type": "api"}});
    let full = |id: &str, mut spec: Value| {
        // What the console would show: every default filled in.
        let filled: carillon_core::job::JobSpec = serde_json::from_value(spec.clone()).unwrap();
        spec = serde_json::to_value(filled).unwrap();
        spec["id"] = id.into();
        spec["revision"] = 5.into();
        spec
    };
    let mut other = same.clone();
    other["name"] = "other".into();
    let (same, other) = (full("1", same), full("2", other));
    let answers = [
        (
            "GET /groups",
            200,
            list(&[json!({"id": "101-1-2-6601", "name": "billing", "shards": 1, "description": ""})]),
        ),
        ("GET /jobs?group=101-1-2-6601&name=same&limit=1", 200, list(std::slice::from_ref(&same))),
        ("GET /jobs?group=101-1-2-6601&name=other&limit=1", 200, list(std::slice::from_ref(&other))),
        ("GET /jobs", 200, list(&[])),
        ("GET /jobs/1", 200, same),
        ("GET /jobs/2", 200, other.clone()),
        ("PUT /jobs/2", 200, other),
        ("POST /jobs", 201, json!({"id": "3", "warnings": ["no worker has the handler h"]})),
    ];
    let text = [
        "kind: group\nspec: {name: billing}\n",
        &spec("same", "10s"),
        &spec("other", "20s"),
        &spec("new", "10s"),
    ]
    .join("---\n");
    let run = |command: &[&str]| {
        let console = FakeConsole::answering(&answers);
        let output = carillon_with(&[command, &["-f", "-", "--console", &console.url]].concat(), &[], &text);
        (console, output)
    };

    let (console, output) = run(&["apply"]);
    assert_eq!(code(&output), 0, "{}", stderr(&output));
    let expected = "= group billing (unchanged)\n= job billing/same (unchanged)\n~ job billing/other (changed)\n    \
                    timeout: \"10s\" -> \"20s\"\n+ job billing/new (new)\n";
    assert_eq!(stdout(&output), expected);
    assert!(stderr(&output).contains("warning: no worker has the handler h"));
    let put = console.asked("PUT /jobs/2");
    assert_eq!((put.headers["if-match"].as_str(), &put.body["timeout"]), ("\"5\"", &json!("20s")));
    assert_eq!(console.asked("POST /jobs").body["group"], "101-1-2-6601");

    for command in [vec!["diff"], vec!["apply", "--dry-run"], vec!["diff", "--exit-code"]] {
        let (console, output) = run(&command);
        assert_eq!(code(&output), i32::from(command.contains(&"--exit-code")), "{}", stderr(&output));
        assert!(stdout(&output).contains("timeout: \"10s\" -> \"20s\""));
        assert!(
            console.asked.lock().unwrap().iter().all(|asked| asked.line.starts_with("GET ")),
            "only looked"
        );
    }
}

#[test]
fn a_list_follows_its_cursors_up_to_the_limit() {
    let page = json!({"items": [{"id": "1"}, {"id": "2"}], "next_cursor": "more"});
    let console = FakeConsole::answering(&[("GET /audit", 200, page)]);
    let output = console.carillon(&["audit", "list", "--limit", "5", "-o", "json"]);
    assert_eq!(code(&output), 0, "{}", stderr(&output));
    let shown: Vec<Value> = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(shown.len(), 5);
    let asked: Vec<String> = console.asked.lock().unwrap().iter().map(|asked| asked.line.clone()).collect();
    assert_eq!(
        asked,
        ["GET /audit?limit=5", "GET /audit?limit=3&cursor=more", "GET /audit?limit=1&cursor=more"]
    );
}

// ---- without a console ----

#[test]
fn cron_explain_needs_no_console() {
    let output = carillon(&[
        "cron",
        "explain",
        "0 0 9 ? * MON-FRI",
        "--tz",
        "Asia/Shanghai",
        "--count",
        "2",
        "--after",
        "2026-11-20T09:00:00Z",
    ]);
    assert_eq!(code(&output), 0, "{}", stderr(&output));
    let lines: Vec<&str> = stdout(&output).lines().collect();
    assert_eq!(lines[1].trim(), "2026-11-23T09:00:00+08:00   2026-11-23T01:00:00.000Z");
    assert_eq!(lines.len(), 3, "{lines:?}");

    let wrong = carillon(&["cron", "explain", "0 61 * * * ?"]);
    assert_eq!(code(&wrong), 2);
    assert!(stderr(&wrong).ends_with("  0 61 * * * ?\n    ^^\n"), "{}", stderr(&wrong));
}

#[test]
fn config_print_shows_where_each_value_came_from_and_no_password() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("server.toml");
    std::fs::write(&file, "[store]\nurl = \"mysql://carillon:hunter2@db:3306/carillon\"\n").unwrap();
    let file = file.to_str().unwrap();
    for format in ["table", "toml", "json"] {
        let output = carillon_with(
            &["config", "print", "--config", file, "-o", format, "--set", "cluster.id=7"],
            &[("CARILLON_SERVER_ROOM", "room-a")],
            "",
        );
        assert_eq!(code(&output), 0, "{}", stderr(&output));
        let shown = stdout(&output);
        assert!(
            !shown.contains("hunter2") && shown.contains("mysql://carillon:***@db:3306/carillon"),
            "{shown}"
        );
        assert!(shown.contains("room-a"), "{shown}");
        if format == "table" {
            assert!(
                shown.contains("environment CARILLON_SERVER_ROOM") && shown.contains("flag --set cluster.id"),
                "{shown}"
            );
        }
    }
}

#[test]
fn what_config_print_writes_as_toml_is_a_config_file() {
    let folder = tempfile::tempdir().unwrap();
    let printed = carillon(&[
        "config",
        "print",
        "-o",
        "toml",
        "--set",
        "server.id=s1",
        "--set",
        "zookeeper.connect=a:1,b:2",
    ]);
    let file = folder.path().join("printed.toml");
    std::fs::write(&file, &printed.stdout).unwrap();
    let again = carillon(&["config", "print", "-o", "json", "--config", file.to_str().unwrap()]);
    assert_eq!(code(&again), 0, "{}", stderr(&again));
    let entries: Vec<Value> = serde_json::from_slice(&again.stdout).unwrap();
    let value = |key: &str| entries.iter().find(|entry| entry["key"] == key).unwrap()["value"].clone();
    assert_eq!((value("server.id"), value("zookeeper.connect")), (json!("s1"), json!("a:1,b:2")));
}

#[test]
fn config_validate_says_everything_that_is_wrong_at_once() {
    let output = carillon_with(
        &["config", "validate", "--set", "zookeper.root=/x"],
        &[("CARILLON_LOGS_FORMAT", "xml")],
        "",
    );
    assert_eq!(code(&output), 2);
    let said = stderr(&output);
    assert!(
        said.contains("did you mean zookeeper.root?") && said.contains("\"xml\" is neither text nor json"),
        "{said}"
    );
    let output = carillon(&["config", "validate", "--role", "console"]);
    assert_eq!(code(&output), 2);
    assert!(stderr(&output).contains("store.url: is missing"), "{}", stderr(&output));
}

#[test]
fn healthcheck_tells_a_living_port_from_a_dead_one() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let alive = listener.local_addr().unwrap().to_string();
    assert_eq!(code(&carillon(&["healthcheck", "--grpc", &alive])), 0);
    drop(listener);
    assert_eq!(code(&carillon(&["healthcheck", "--grpc", &alive])), 6);
    assert_eq!(code(&carillon(&["healthcheck", "--http", &alive])), 6);
    assert_eq!(code(&carillon(&["healthcheck"])), 2);
    let console = FakeConsole::answering(&[("GET /livez", 200, json!({})), ("GET /readyz", 503, json!({}))]);
    assert_eq!(code(&carillon(&["healthcheck", "--http", console.url.trim_start_matches("http://")])), 0);
    assert_eq!(code(&carillon(&["healthcheck", "--http", &format!("{}/readyz", console.url)])), 6);
}
