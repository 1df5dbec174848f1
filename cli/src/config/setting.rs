//! The types of configuration values: each is read from one text, whether that stood in the file, the environment or a flag.

use std::fmt;
use std::net::SocketAddr;
use std::path::PathBuf;

use carillon_core::network::Network;
use carillon_core::time::Span;

/// A value that can be read from a text. The error says what was given and what would be right.
pub trait Setting: Sized {
    /// Reads it; an empty text means "not set" where that is possible.
    ///
    /// # Errors
    /// What was given and what would be right.
    fn from_text(text: &str) -> Result<Self, String>;

    /// What stands in its place after a text that could not be read, so that the other keys are still checked.
    fn placeholder() -> Self;
}

impl Setting for String {
    fn from_text(text: &str) -> Result<Self, String> {
        Ok(text.to_owned())
    }

    fn placeholder() -> Self {
        Self::new()
    }
}

impl Setting for PathBuf {
    fn from_text(text: &str) -> Result<Self, String> {
        Ok(text.into())
    }

    fn placeholder() -> Self {
        Self::new()
    }
}

impl Setting for bool {
    fn from_text(text: &str) -> Result<Self, String> {
        text.parse().map_err(|_| format!("{text:?} is neither true nor false"))
    }

    fn placeholder() -> Self {
        false
    }
}

impl Setting for u32 {
    fn from_text(text: &str) -> Result<Self, String> {
        text.parse().map_err(|_| format!("{text:?} is not a whole number"))
    }

    fn placeholder() -> Self {
        1
    }
}

impl Setting for Span {
    fn from_text(text: &str) -> Result<Self, String> {
        text.parse().map_err(|error: carillon_core::time::ParseSpanError| error.to_string())
    }

    /// Within every bound there is, so that a wrong text is reported once.
    fn placeholder() -> Self {
        Self::from_secs(10)
    }
}

impl<T: Setting> Setting for Option<T> {
    fn from_text(text: &str) -> Result<Self, String> {
        if text.is_empty() { Ok(None) } else { T::from_text(text).map(Some) }
    }

    fn placeholder() -> Self {
        None
    }
}

impl<T: Setting> Setting for Vec<T> {
    fn from_text(text: &str) -> Result<Self, String> {
        text.split(',').map(str::trim).filter(|item| !item.is_empty()).map(T::from_text).collect()
    }

    fn placeholder() -> Self {
        Self::new()
    }
}

/// An entry of a table: `key=value`.
impl<K: Setting, V: Setting> Setting for (K, V) {
    fn from_text(text: &str) -> Result<Self, String> {
        let (key, value) = text
            .split_once('=')
            .filter(|(_, value)| !value.trim().is_empty())
            .ok_or_else(|| format!("{text:?} is not an entry of a table, key=value"))?;
        Ok((K::from_text(key.trim())?, V::from_text(value.trim())?))
    }

    fn placeholder() -> Self {
        (K::placeholder(), V::placeholder())
    }
}

/// An address to listen on: IP and port; port 0 takes a free one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Address(SocketAddr);

impl Address {
    /// The socket address.
    pub fn get(self) -> SocketAddr {
        self.0
    }

    /// Whether it listens on every interface, so that it names no place to connect to.
    pub fn is_wildcard(self) -> bool {
        self.0.ip().is_unspecified()
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl Setting for Address {
    fn from_text(text: &str) -> Result<Self, String> {
        text.parse()
            .map(Self)
            .map_err(|_| format!("{text:?} is not an address to listen on, such as \"0.0.0.0:7710\""))
    }

    fn placeholder() -> Self {
        Self(SocketAddr::from(([127, 0, 0, 1], 1)))
    }
}

/// A place to connect to: `host:port`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Endpoint {
    host: String,
    port: u16,
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.host, self.port)
    }
}

impl Setting for Endpoint {
    fn from_text(text: &str) -> Result<Self, String> {
        let wrong = || format!("{text:?} is not host:port");
        let (host, port) = text.rsplit_once(':').ok_or_else(wrong)?;
        let bare = host.starts_with('[') || !host.contains(':');
        let port = port.parse().ok().filter(|port| *port > 0).ok_or_else(wrong)?;
        if host.is_empty() || !bare || host.contains(['/', ' ']) {
            return Err(wrong());
        }
        Ok(Self { host: host.to_owned(), port })
    }

    fn placeholder() -> Self {
        Self { host: "localhost".to_owned(), port: 1 }
    }
}

impl Setting for Network {
    fn from_text(text: &str) -> Result<Self, String> {
        text.parse()
    }

    fn placeholder() -> Self {
        "127.0.0.1".parse().expect("an address")
    }
}

/// Which store, and where.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum StoreUrl {
    /// A whole `mysql://user:password@host:port/database`.
    Mysql(String),
    /// The path behind `sqlite:`.
    Sqlite(PathBuf),
}

impl Setting for StoreUrl {
    fn from_text(text: &str) -> Result<Self, String> {
        if let Some(path) = text.strip_prefix("sqlite:").filter(|path| !path.is_empty()) {
            return Ok(Self::Sqlite(path.into()));
        }
        let database = text
            .strip_prefix("mysql://")
            .and_then(|rest| rest.split_once('/'))
            .is_some_and(|(host, database)| !host.is_empty() && !database.is_empty());
        if database {
            return Ok(Self::Mysql(text.to_owned()));
        }
        // The value may hold a password, so it is not repeated.
        Err("it is neither mysql://user:password@host:port/database nor sqlite:path".to_owned())
    }

    fn placeholder() -> Self {
        Self::Sqlite("placeholder.db".into())
    }
}

/// Which log lines are written: directives as tracing's EnvFilter reads them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogLevel(String);

impl LogLevel {
    /// The directives.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl Setting for LogLevel {
    fn from_text(text: &str) -> Result<Self, String> {
        // EnvFilter alone takes a misspelt level for the name of a target and then says nothing at all.
        let levels = ["off", "error", "warn", "info", "debug", "trace"];
        let understood = text.split(',').all(|directive| {
            let level = directive.rsplit_once('=').map_or(directive, |(_, level)| level).trim();
            levels.iter().any(|known| level.eq_ignore_ascii_case(known))
        });
        if understood && tracing_subscriber::EnvFilter::try_new(text).is_ok() {
            return Ok(Self(text.to_owned()));
        }
        Err(format!("{text:?} is not a level: error, warn, info, debug, trace, or target=level,..."))
    }

    fn placeholder() -> Self {
        Self("info".to_owned())
    }
}

/// How log lines look.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogFormat {
    /// For people.
    Text,
    /// One JSON object a line.
    Json,
}

impl Setting for LogFormat {
    fn from_text(text: &str) -> Result<Self, String> {
        match text {
            "text" => Ok(Self::Text),
            "json" => Ok(Self::Json),
            _ => Err(format!("{text:?} is neither text nor json")),
        }
    }

    fn placeholder() -> Self {
        Self::Text
    }
}
