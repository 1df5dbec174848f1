//! Whatever `docker-compose.yml` and `deploy/` say exists: every command, flag, variable, port and host.

#![expect(clippy::unwrap_used, reason = "a test that fails to unwrap has failed")]

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use carillon_cli::config::{Config, Layers, Role};
use serde_norway::Value;

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().to_owned()
}

fn text_of(path: &str) -> String {
    std::fs::read_to_string(root().join(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// Puts stand-ins where compose would put the secrets of `.env`.
fn with_secrets(text: &str) -> String {
    let mut filled = String::new();
    let mut rest = text;
    while let Some(start) = rest.find("${") {
        let end = start + rest[start..].find('}').expect("a closed ${");
        let name = rest[start + 2..end].split([':', '?', '-']).next().unwrap();
        filled.push_str(&rest[..start]);
        filled.push_str(&format!("secret-{}", name.to_lowercase()));
        rest = &rest[end + 1..];
    }
    filled + rest
}

struct Service {
    name: String,
    definition: Value,
    environment: BTreeMap<String, String>,
}

impl Service {
    fn words(&self, path: &[&str]) -> Vec<String> {
        let mut value = &self.definition;
        for key in path {
            value = value.get(*key).unwrap_or(&Value::Null);
        }
        let words = value.as_sequence().map(Vec::as_slice).unwrap_or_default();
        words.iter().map(|word| word.as_str().unwrap().to_owned()).collect()
    }

    /// Whether it runs the binary `carillon` itself.
    fn is_carillon(&self) -> bool {
        self.is_ours() && self.definition.get("entrypoint").is_none()
    }

    fn is_ours(&self) -> bool {
        self.definition.get("build").is_some()
    }

    fn layers(&self) -> Layers {
        Layers::new().with_environment(self.environment.clone())
    }

    fn config(&self) -> Config {
        Config::read(&self.layers()).unwrap_or_else(|errors| panic!("{}: {errors:?}", self.name))
    }
}

fn services() -> Vec<Service> {
    let mut compose: Value = serde_norway::from_str(&with_secrets(&text_of("docker-compose.yml"))).unwrap();
    compose.apply_merge().unwrap();
    let services = compose["services"].as_mapping().unwrap().clone();
    let named = services.into_iter().map(|(name, mut definition)| {
        definition.apply_merge().unwrap();
        let mut environment = definition.get("environment").cloned().unwrap_or(Value::Null);
        environment.apply_merge().unwrap();
        let environment = environment.as_mapping().cloned().unwrap_or_default();
        let text = |value: Value| match value {
            Value::String(text) => text,
            Value::Number(number) => number.to_string(),
            other => panic!("{other:?} in the environment of {name:?}; quote it"),
        };
        let environment = environment.into_iter().map(|(name, value)| (text(name), text(value))).collect();
        Service { name: name.as_str().unwrap().to_owned(), definition, environment }
    });
    named.collect()
}

fn service(name: &str) -> Service {
    services().into_iter().find(|service| service.name == name).unwrap_or_else(|| panic!("no service {name}"))
}

fn must_be_understood(place: &str, words: &[String]) {
    let line = std::iter::once("carillon".to_owned()).chain(words.iter().cloned());
    if let Err(error) = carillon_cli::command().try_get_matches_from(line) {
        panic!("{place}: `carillon {}` is refused: {error}", words.join(" "));
    }
}

#[test]
fn the_cluster_is_the_one_that_is_promised() {
    let count = |prefix: &str| {
        services()
            .iter()
            .filter(|service| service.name.strip_prefix(prefix).is_some_and(|rest| rest.starts_with('-')))
            .count()
    };
    assert_eq!((count("zookeeper"), count("server"), count("console"), count("worker")), (3, 3, 3, 2));
    let rooms: BTreeSet<Option<String>> =
        (1..=3).map(|number| service(&format!("server-{number}")).config().room()).collect();
    assert_eq!(rooms.len(), 3, "each server stands in a room of its own: {rooms:?}");
}

#[test]
fn every_command_of_the_cluster_is_understood_and_gets_what_it_needs() {
    for service in services().iter().filter(|service| service.is_carillon()) {
        let command = service.words(&["command"]);
        must_be_understood(&service.name, &command);
        let role = match command[0].as_str() {
            "server" => Role::Server,
            "console" => Role::Console,
            "migrate" => Role::Migrate,
            other => panic!("{}: what does `{other}` need?", service.name),
        };
        let layers = service.layers();
        service
            .config()
            .check_role(role, &layers)
            .unwrap_or_else(|errors| panic!("{}: {errors:?}", service.name));
    }
}

#[test]
fn every_variable_is_one_that_the_binary_or_the_sdk_reads() {
    let sdk = text_of("client-sdk/src/worker/builder.rs");
    for service in services().iter().filter(|service| service.is_ours()) {
        if !service.name.starts_with("worker") {
            // Layers refuses what it does not know.
            service.config();
            continue;
        }
        for variable in service.environment.keys() {
            assert!(
                sdk.contains(&format!("\"{variable}\"")),
                "{}: the SDK does not read {variable}",
                service.name
            );
        }
        // The two that differ from cluster to cluster come from the set-up.
        assert!(
            service.words(&["command"])[0].contains("export CARILLON_GROUP CARILLON_TOKEN"),
            "{}",
            service.name
        );
    }
}

#[test]
fn every_line_of_the_scripts_is_understood() {
    let mut lines = 0;
    for service in services().iter().filter(|service| service.is_ours() && !service.is_carillon()) {
        assert_eq!(service.words(&["entrypoint"]), ["/bin/sh", "-ec"], "{}", service.name);
        for line in service.words(&["command"])[0].lines().map(str::trim) {
            if let Some(words) = line.strip_prefix("carillon ") {
                let words = words.split(" > ").next().unwrap();
                must_be_understood(&service.name, &words.split(' ').map(str::to_owned).collect::<Vec<_>>());
                lines += 1;
            } else if let Some(binary) = line.strip_prefix("exec ") {
                assert!(
                    root().join(format!("examples/src/bin/{binary}.rs")).exists(),
                    "there is no example {binary}"
                );
                lines += 1;
            }
        }
    }
    assert_eq!(lines, 6, "four of the set-up, one of each worker");
}

#[test]
fn every_health_check_asks_the_port_that_is_listened_on() {
    let mut checked = 0;
    for service in services().iter().filter(|service| service.is_carillon()) {
        let check = service.words(&["healthcheck", "test"]);
        let [kind, binary, words @ ..] = check.as_slice() else { continue };
        assert_eq!((kind.as_str(), binary.as_str()), ("CMD", "carillon"), "{}", service.name);
        must_be_understood(&service.name, words);
        let config = service.config();
        let port = match words[1].as_str() {
            "--grpc" => config.server.listen.get().port(),
            "--http" => config.console.listen.get().port(),
            other => panic!("{}: {other}", service.name),
        };
        assert_eq!(words[2], format!("127.0.0.1:{port}"), "{}", service.name);
        checked += 1;
    }
    assert_eq!(checked, 6, "three servers and three consoles");
}

#[test]
fn every_host_that_is_named_is_a_service_on_the_port_it_listens_on() {
    let names: BTreeSet<String> = services().into_iter().map(|service| service.name).collect();
    for service in services().iter().filter(|service| service.is_carillon()) {
        let config = service.config();
        for endpoint in &config.zookeeper.connect {
            let (host, port) =
                endpoint.to_string().split_once(':').map(|(h, p)| (h.to_owned(), p.to_owned())).unwrap();
            assert!(names.contains(&host), "{}: {host} is no service", service.name);
            let ensemble =
                &services().into_iter().find(|known| known.name == host).unwrap().environment["ZOO_SERVERS"];
            assert!(
                ensemble.contains(&format!("={host}:2888:3888;{port}")),
                "{host} does not listen on {port}"
            );
        }
        let mysql = self::service("mysql");
        let expected = format!(
            "mysql://{}:{}@mysql:3306/{}",
            mysql.environment["MYSQL_USER"],
            mysql.environment["MYSQL_PASSWORD"],
            mysql.environment["MYSQL_DATABASE"]
        );
        assert_eq!(service.environment["CARILLON_STORE_URL"], expected, "{}", service.name);
        if service.words(&["command"]) == ["server"] {
            let port = config.server.listen.get().port();
            assert_eq!(config.advertised(), Some(format!("{}:{port}", service.name)));
            assert_eq!(service.environment["CARILLON_SERVER_ID"], service.name);
        }
        for (dependency, _) in service.definition["depends_on"].as_mapping().unwrap() {
            assert!(names.contains(dependency.as_str().unwrap()), "{}: {dependency:?}", service.name);
        }
    }
}

/// The value of an nginx directive such as `listen 7700;`, each time it stands there.
fn directives(nginx: &str, name: &str) -> Vec<String> {
    nginx
        .lines()
        .filter_map(|line| line.trim().strip_prefix(name)?.strip_prefix(' ')?.strip_suffix(';'))
        .map(str::to_owned)
        .collect()
}

#[test]
fn nginx_stands_before_every_console_on_the_port_that_is_published() {
    let nginx = text_of("deploy/nginx/carillon.conf");
    let consoles: BTreeSet<String> = services()
        .iter()
        .filter(|service| service.is_carillon() && service.words(&["command"]) == ["console"])
        .map(|service| format!("{}:{}", service.name, service.config().console.listen.get().port()))
        .collect();
    let upstream: BTreeSet<String> = directives(&nginx, "server")
        .iter()
        .map(|server| server.split(' ').next().unwrap().to_owned())
        .collect();
    assert_eq!(upstream, consoles);

    let published = service("nginx").words(&["ports"]);
    let listened = directives(&nginx, "listen");
    assert_eq!(published, [format!("7700:{}", listened[0])]);
    let mounted = &service("nginx").words(&["volumes"])[0];
    assert!(root().join(mounted.split(':').next().unwrap()).exists(), "{mounted}");
}

#[test]
fn the_image_is_built_by_the_compiler_of_the_workspace_from_packages_that_exist() {
    let dockerfile = text_of("deploy/Dockerfile");
    let toolchain: toml::Table = text_of("rust-toolchain.toml").parse().unwrap();
    let channel = toolchain["toolchain"]["channel"].as_str().unwrap();
    let minor = channel.rsplit_once('.').unwrap().0;
    assert!(dockerfile.contains(&format!("FROM rust:{minor}-")), "the image's compiler is not {channel}");
    for package in dockerfile.split(" -p ").skip(1).map(|rest| rest.split_whitespace().next().unwrap()) {
        let folder = package.strip_prefix("carillon-").unwrap_or("cli");
        let manifest: toml::Table = text_of(&format!("{folder}/Cargo.toml")).parse().unwrap();
        assert_eq!(manifest["package"]["name"].as_str(), Some(package));
    }
    let exposed: Vec<&str> =
        dockerfile.lines().find_map(|line| line.strip_prefix("EXPOSE ")).unwrap().split(' ').collect();
    let server = service("server-1").config();
    let console = service("console-1").config();
    let ports = [console.console.listen.get().port(), server.server.listen.get().port()];
    assert_eq!(exposed, ports.map(|port| port.to_string()));
}

#[test]
fn the_example_configurations_are_whole() {
    for (file, role) in [("server.toml", Role::Server), ("console.toml", Role::Console)] {
        let layers = Layers::new().with_file(&root().join("deploy/config").join(file));
        let config = Config::read(&layers).unwrap_or_else(|errors| panic!("{file}: {errors:?}"));
        config.check_role(role, &layers).unwrap_or_else(|errors| panic!("{file}: {errors:?}"));
    }
    let layers = Layers::new().with_file(&root().join("deploy/config/server.toml"));
    assert_eq!(Config::read(&layers).unwrap().room().as_deref(), Some("room-a"), "by the room table");
}

#[test]
fn the_systemd_units_start_what_exists() {
    for role in ["server", "console"] {
        let unit = text_of(&format!("deploy/systemd/carillon-{role}.service"));
        let start =
            unit.lines().find_map(|line| line.strip_prefix("ExecStart=/usr/local/bin/carillon ")).unwrap();
        let words: Vec<String> = start.split(' ').map(str::to_owned).collect();
        must_be_understood(role, &words);
    }
}

#[test]
fn the_ports_of_the_documents_are_the_defaults() {
    let config = Config::read(&Layers::new()).unwrap();
    assert_eq!(config.console.listen.to_string(), "127.0.0.1:7700");
    assert_eq!(config.server.listen.to_string(), "127.0.0.1:7710");
}

#[test]
fn every_target_of_the_makefile_says_what_it_does_and_runs_what_exists() {
    let makefile = text_of("Makefile");
    for target in ["run", "test", "verify", "bench", "cluster", "cluster-stop", "ha", "sim"] {
        let line = makefile.lines().find(|line| line.starts_with(&format!("{target}:")));
        assert!(line.is_some_and(|line| line.contains(" ## ")), "`make {target}` has no line of help");
    }
    for script in makefile
        .split_whitespace()
        .filter_map(|word| word.strip_prefix("@./").filter(|word| word.ends_with(".sh")))
    {
        assert!(root().join(script).exists(), "{script} does not exist");
    }
}
