//! Gathers the texts of all keys from file, environment and flags, and remembers where each came from.

use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};

use super::{Config, ConfigError, Key, Setting};

/// Where a value came from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Origin {
    /// Nobody said anything.
    Default,
    /// The TOML file.
    File(PathBuf),
    /// An environment variable.
    Environment(String),
    /// A flag of the command line.
    Flag(String),
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Default => f.write_str("default"),
            Self::File(path) => write!(f, "file {}", path.display()),
            Self::Environment(variable) => write!(f, "environment {variable}"),
            Self::Flag(flag) => write!(f, "flag {flag}"),
        }
    }
}

/// The text of every key and its origin: later layers win.
#[derive(Debug, Clone)]
pub struct Layers {
    values: BTreeMap<&'static str, (String, Origin)>,
    errors: Vec<ConfigError>,
}

/// Variables with the prefix that are not configuration: those of the operators' commands, of the SDK and of the tests.
const OTHER_VARIABLES: &[&str] = &[
    "CARILLON_CONFIG",
    "CARILLON_CONSOLE",
    "CARILLON_TOKEN",
    "CARILLON_CONSOLES",
    "CARILLON_SERVERS",
    "CARILLON_GROUP",
    "CARILLON_ROOM",
    "CARILLON_LABELS",
    "CARILLON_BIN_DIR",
];
const OTHER_PREFIXES: &[&str] = &["CARILLON_WORKER_", "CARILLON_TEST_", "CARILLON_REQUIRE_"];

impl Layers {
    /// The defaults.
    pub fn new() -> Self {
        let values =
            Config::keys().map(|key| (key.name, (key.default.to_owned(), Origin::Default))).collect();
        Self { values, errors: Vec::new() }
    }

    /// Lays a TOML file over what is there.
    #[must_use]
    pub fn with_file(mut self, path: &Path) -> Self {
        let origin = Origin::File(path.to_owned());
        let text = match std::fs::read_to_string(path) {
            Ok(text) => text,
            Err(error) => {
                self.errors.push(ConfigError {
                    key: "config file".to_owned(),
                    message: format!("cannot be read: {error}"),
                    origin,
                });
                return self;
            }
        };
        match text.parse::<toml::Table>() {
            Ok(table) => self.lay_table(&table, &origin),
            Err(error) => {
                let message = format!("is not TOML: {}", error.to_string().trim_end());
                self.errors.push(ConfigError { key: "config file".to_owned(), message, origin });
            }
        }
        self
    }

    fn lay_table(&mut self, table: &toml::Table, origin: &Origin) {
        for (section, entries) in table {
            let Some(entries) = entries.as_table() else {
                self.refuse_unknown(section, origin);
                continue;
            };
            for (field, value) in entries {
                let name = format!("{section}.{field}");
                match (key_named(&name), text_of(value)) {
                    (Some(key), Some(text)) => self.lay(key, text, origin.clone()),
                    (Some(_), None) => self.errors.push(ConfigError {
                        key: name,
                        message: format!(
                            "is of type {}; write a text, a number, a list or a table of texts",
                            value.type_str()
                        ),
                        origin: origin.clone(),
                    }),
                    (None, _) => self.refuse_unknown(&name, origin),
                }
            }
        }
    }

    /// Lays environment variables over what is there; those without the prefix `CARILLON_` are not looked at.
    #[must_use]
    pub fn with_environment(mut self, variables: impl IntoIterator<Item = (String, String)>) -> Self {
        for (variable, text) in variables {
            if !variable.starts_with("CARILLON_") || is_somebody_elses(&variable) {
                continue;
            }
            let origin = Origin::Environment(variable.clone());
            match Config::keys().find(|key| key.variable() == variable) {
                Some(key) => self.lay(key, text, origin),
                None => {
                    let known: Vec<String> = Config::keys().map(Key::variable).collect();
                    let message = unknown_text(&variable, known.iter().map(String::as_str));
                    self.errors.push(ConfigError { key: variable, message, origin });
                }
            }
        }
        self
    }

    /// Lays a flag over what is there, such as `--listen` for `server.listen`.
    #[must_use]
    pub fn with_flag(mut self, flag: &str, name: &str, text: Option<String>) -> Self {
        let Some(text) = text else { return self };
        let origin = Origin::Flag(flag.to_owned());
        match key_named(name) {
            Some(key) => self.lay(key, text, origin),
            None => self.refuse_unknown(name, &origin),
        }
        self
    }

    /// Lays `--set key=value` over what is there.
    #[must_use]
    pub fn with_assignments<'a>(mut self, assignments: impl IntoIterator<Item = &'a String>) -> Self {
        for assignment in assignments {
            match assignment.split_once('=') {
                Some((name, text)) => {
                    self = self.with_flag(&format!("--set {name}"), name.trim(), Some(text.to_owned()));
                }
                None => self.errors.push(ConfigError {
                    key: assignment.clone(),
                    message: "is not key=value, such as store.url=sqlite:carillon.db".to_owned(),
                    origin: Origin::Flag("--set".to_owned()),
                }),
            }
        }
        self
    }

    /// Every key with its text and origin, in the order of the concerns.
    pub fn entries(&self) -> impl Iterator<Item = (&'static Key, &str, &Origin)> {
        Config::keys().map(|key| {
            let (text, origin) = &self.values[key.name];
            (key, text.as_str(), origin)
        })
    }

    /// What was wrong with the layers themselves: unknown keys, unreadable files.
    pub(super) fn errors(&self) -> &[ConfigError] {
        &self.errors
    }

    /// Reads one key into its type, noting what is wrong.
    pub(super) fn read<T: Setting>(&self, name: &'static str, errors: &mut Vec<ConfigError>) -> T {
        let (text, _) = &self.values[name];
        T::from_text(text).unwrap_or_else(|message| {
            errors.push(self.refuse(name, message));
            T::placeholder()
        })
    }

    /// An error about a key, with the origin of its value.
    pub(super) fn refuse(&self, name: &str, message: String) -> ConfigError {
        let origin = self.values.get(name).map_or(Origin::Default, |(_, origin)| origin.clone());
        ConfigError { key: name.to_owned(), message, origin }
    }

    fn lay(&mut self, key: &'static Key, text: String, origin: Origin) {
        self.values.insert(key.name, (text, origin));
    }

    fn refuse_unknown(&mut self, name: &str, origin: &Origin) {
        let message = unknown_text(name, Config::keys().map(|key| key.name));
        self.errors.push(ConfigError { key: name.to_owned(), message, origin: origin.clone() });
    }
}

impl Default for Layers {
    fn default() -> Self {
        Self::new()
    }
}

fn key_named(name: &str) -> Option<&'static Key> {
    Config::keys().find(|key| key.name == name)
}

/// Kubernetes and Docker links put a service's addresses into the environment of its neighbours; a service called `carillon` must
/// not stop them from starting.
fn is_somebody_elses(variable: &str) -> bool {
    OTHER_VARIABLES.contains(&variable)
        || OTHER_PREFIXES.iter().any(|prefix| variable.starts_with(prefix))
        || ["_SERVICE_HOST", "_SERVICE_PORT", "_PORT", "_TCP", "_TCP_ADDR", "_TCP_PORT", "_TCP_PROTO"]
            .iter()
            .any(|suffix| variable.ends_with(suffix))
        || variable.contains("_SERVICE_PORT_")
}

/// A value of the file as the one text that every layer speaks.
fn text_of(value: &toml::Value) -> Option<String> {
    match value {
        toml::Value::String(text) => Some(text.clone()),
        toml::Value::Integer(number) => Some(number.to_string()),
        toml::Value::Boolean(flag) => Some(flag.to_string()),
        toml::Value::Array(items) => {
            let texts: Option<Vec<_>> = items.iter().map(|item| item.as_str().map(str::to_owned)).collect();
            texts.map(|texts| texts.join(","))
        }
        toml::Value::Table(entries) => {
            let texts: Option<Vec<_>> = entries
                .iter()
                .map(|(key, value)| value.as_str().map(|value| format!("{key}={value}")))
                .collect();
            texts.map(|texts| texts.join(","))
        }
        toml::Value::Float(_) | toml::Value::Datetime(_) => None,
    }
}

fn unknown_text<'a>(name: &str, known: impl Iterator<Item = &'a str>) -> String {
    match crate::suggest::nearest(name, known) {
        Some(near) => format!("is not a key; did you mean {near}?"),
        None => "is not a key; `carillon config print` lists them all".to_owned(),
    }
}
