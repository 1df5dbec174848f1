//! What a config promises: precedence, refusals with suggestions, masks, rooms.

use super::*;

fn environment(variables: &[(&str, &str)]) -> Vec<(String, String)> {
    variables.iter().map(|(name, text)| ((*name).to_owned(), (*text).to_owned())).collect()
}

fn file(text: &str) -> tempfile::NamedTempFile {
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), text).unwrap();
    file
}

fn refusals(layers: &Layers) -> Vec<String> {
    Config::read(layers).unwrap_err().iter().map(ToString::to_string).collect()
}

#[test]
fn a_flag_wins_over_the_environment_over_the_file_over_the_default() {
    let file = file("[server]\nid = \"from-file\"\nroom = \"from-file\"\nserver_group = 7\n");
    let layers = Layers::new()
        .with_file(file.path())
        .with_environment(environment(&[
            ("CARILLON_SERVER_ID", "from-env"),
            ("CARILLON_SERVER_ROOM", "from-env"),
        ]))
        .with_flag("--id", "server.id", Some("from-flag".to_owned()))
        .with_flag("--room", "server.room", None);
    let config = Config::read(&layers).unwrap();
    assert_eq!(config.server.id.as_deref(), Some("from-flag"));
    assert_eq!(config.server.room.as_deref(), Some("from-env"));
    assert_eq!(config.server.server_group, 7);
    assert_eq!(config.cluster.id, 101);

    let origin = |name| layers.entries().find(|(key, ..)| key.name == name).unwrap().2.to_string();
    assert_eq!(origin("server.id"), "flag --id");
    assert_eq!(origin("server.room"), "environment CARILLON_SERVER_ROOM");
    assert_eq!(origin("server.server_group"), format!("file {}", file.path().display()));
    assert_eq!(origin("cluster.id"), "default");
}

#[test]
fn every_default_is_a_value_of_its_key() {
    assert!(Config::read(&Layers::new()).is_ok());
}

#[test]
fn an_unknown_key_is_refused_with_the_nearest_known_one() {
    let file = file("[zookeper]\nconnect = \"a:1\"\n[store]\nurll = \"x\"\n[logs]\nqqq = 1\n");
    let layers = Layers::new()
        .with_file(file.path())
        .with_environment(environment(&[("CARILLON_SERVER_RUUM", "a")]))
        .with_assignments(&["server.listem=1.2.3.4:5".to_owned(), "no-assignment".to_owned()]);
    let refusals = refusals(&layers).join("\n");
    for expected in [
        "zookeper.connect: is not a key; did you mean zookeeper.connect?",
        "store.urll: is not a key; did you mean store.url?",
        "logs.qqq: is not a key; `carillon config print` lists them all",
        "CARILLON_SERVER_RUUM: is not a key; did you mean CARILLON_SERVER_ROOM?",
        "server.listem: is not a key; did you mean server.listen?",
        "no-assignment: is not key=value",
    ] {
        assert!(refusals.contains(expected), "{expected}\nnot in\n{refusals}");
    }
}

#[test]
fn variables_of_neighbours_are_left_alone() {
    let layers = Layers::new().with_environment(environment(&[
        ("PATH", "/bin"),
        ("CARILLON_TOKEN", "cri_pat_x"),
        ("CARILLON_CONSOLE", "http://console:7700"),
        ("CARILLON_TEST_MYSQL", "mysql://..."),
        ("CARILLON_CONSOLE_SERVICE_HOST", "10.0.0.1"),
        ("CARILLON_CONSOLE_PORT_7700_TCP_ADDR", "10.0.0.1"),
    ]));
    assert!(Config::read(&layers).is_ok());
}

#[test]
fn every_wrong_value_is_named_with_its_origin() {
    let layers = Layers::new().with_environment(environment(&[
        ("CARILLON_ZOOKEEPER_SESSION_TIMEOUT", "6"),
        ("CARILLON_SERVER_LISTEN", "localhost"),
        ("CARILLON_STORE_URL", "postgres://user:hunter2@host/db"),
        ("CARILLON_LOGS_LEVEL", "inof"),
        ("CARILLON_CLUSTER_ID", "0"),
        ("CARILLON_SERVER_ROOMS", "10.0.0.0/40=a"),
    ]));
    let refusals = refusals(&layers);
    let all = refusals.join("\n");
    assert_eq!(refusals.len(), 6, "{all}");
    assert!(all.contains("zookeeper.session_timeout: \"6\" is not a duration: 6 needs a unit"), "{all}");
    assert!(all.contains("(from environment CARILLON_SERVER_LISTEN)"), "{all}");
    assert!(!all.contains("hunter2"), "a refusal must not show a password: {all}");
}

#[test]
fn a_bound_is_checked_after_the_text() {
    let layers = Layers::new().with_assignments(&["zookeeper.session_timeout=500ms".to_owned()]);
    assert!(refusals(&layers)[0].starts_with("zookeeper.session_timeout: 500ms is not between 2s and 1m"));
}

#[test]
fn a_password_is_masked_and_nothing_else() {
    let key = Config::keys().find(|key| key.name == "store.url").unwrap();
    assert_eq!(key.masked("mysql://carillon:s3c@ret@db:3306/x"), "mysql://carillon:***@db:3306/x");
    assert_eq!(key.masked("sqlite:carillon-data/carillon.db"), "sqlite:carillon-data/carillon.db");
    assert_eq!(key.masked(""), "");
    let secret = Config::keys().find(|key| key.name == "cluster.secret").unwrap();
    assert_eq!((secret.masked("hunter2").as_str(), secret.masked("").as_str()), ("***", ""));
}

#[test]
fn certificates_come_whole() {
    for (assignments, refused) in [
        (vec!["tls.certificate=c.pem"], "tls.key"),
        (vec!["tls.key=k.pem"], "tls.key"),
        (vec!["tls.mutual=true"], "tls.mutual"),
        (vec!["tls.mutual=maybe"], "tls.mutual"),
    ] {
        let assignments: Vec<String> = assignments.into_iter().map(str::to_owned).collect();
        let refusals = refusals(&Layers::new().with_assignments(&assignments));
        assert!(refusals[0].starts_with(refused), "{refusals:?}");
    }
    let whole = ["certificate=c", "key=k", "authority=a", "mutual=true"].map(|part| format!("tls.{part}"));
    assert!(Config::read(&Layers::new().with_assignments(&whole)).is_ok());
}

#[test]
fn a_role_says_what_it_lacks() {
    let layers = Layers::new().with_assignments(&["server.listen=0.0.0.0:7710".to_owned()]);
    let config = Config::read(&layers).unwrap();
    let missing = |role| -> Vec<String> {
        config.check_role(role, &layers).unwrap_err().into_iter().map(|error| error.key).collect()
    };
    assert_eq!(
        missing(Role::Server),
        ["server.id", "server.room", "server.advertise", "store.url", "zookeeper.connect"]
    );
    assert_eq!(missing(Role::Console), ["store.url", "zookeeper.connect"]);
    assert_eq!(missing(Role::Migrate), ["store.url"]);
}

#[test]
fn the_room_comes_from_the_narrowest_network_that_holds_the_address() {
    let file = file(
        "[server]\nlisten = \"10.1.2.3:7710\"\n[server.rooms]\n\"10.0.0.0/8\" = \"wide\"\n\"10.1.0.0/16\" = \"narrow\"\n",
    );
    let read = |room: Option<&str>| {
        let layers =
            Layers::new().with_file(file.path()).with_flag("--room", "server.room", room.map(str::to_owned));
        Config::read(&layers).unwrap().room()
    };
    assert_eq!(read(None).as_deref(), Some("narrow"));
    assert_eq!(read(Some("own")).as_deref(), Some("own"));
}
