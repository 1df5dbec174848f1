//! Values on their way to and from a database, the same for both backends.

use std::str::FromStr;

use carillon_core::ids::{
    AttemptNo, Epoch, GroupId, Incarnation, JobId, JobVersion, JobsVersion, PlanNo, ServerId, TraceId,
};
use carillon_core::run::{ReasonCode, RunState, TriggerKind};
use carillon_core::time::Timestamp;

use crate::StoreError;

/// One value of a statement or a row.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Value {
    Null,
    Integer(i64),
    Text(String),
    Bytes(Vec<u8>),
}

/// Makes a `Vec<Value>` of anything that converts.
macro_rules! values {
    ($($value:expr),* $(,)?) => { Vec::from([$($crate::value::Value::from($value)),*]) };
}
pub(crate) use values;

impl<T: Into<Value>> From<Option<T>> for Value {
    fn from(value: Option<T>) -> Self {
        value.map_or(Self::Null, Into::into)
    }
}

/// Numbers of 64 bits keep their bits; every id that Carillon gives fits a signed column anyhow.
macro_rules! integers {
    ($($kind:ty),*) => { $(
        impl From<$kind> for Value {
            fn from(number: $kind) -> Self {
                Self::Integer(number as i64)
            }
        }
    )* };
}
integers!(i64, u64, usize, i32, u32, u16, u8, bool);

/// Newtypes that are stored as their number.
macro_rules! numbers {
    ($($kind:ty),*) => { $(
        impl From<$kind> for Value {
            fn from(number: $kind) -> Self {
                Self::from(number.get())
            }
        }
    )* };
}
numbers!(JobId, JobVersion, JobsVersion, Epoch, PlanNo, AttemptNo, Incarnation);

impl From<Timestamp> for Value {
    fn from(at: Timestamp) -> Self {
        Self::Integer(at.as_millis())
    }
}

impl From<RunState> for Value {
    fn from(state: RunState) -> Self {
        Self::from(state.code())
    }
}

impl From<ReasonCode> for Value {
    fn from(code: ReasonCode) -> Self {
        Self::from(code.code())
    }
}

impl From<TriggerKind> for Value {
    fn from(kind: TriggerKind) -> Self {
        Self::from(kind.code())
    }
}

impl From<&str> for Value {
    fn from(text: &str) -> Self {
        Self::Text(text.to_owned())
    }
}

impl From<String> for Value {
    fn from(text: String) -> Self {
        Self::Text(text)
    }
}

impl From<&String> for Value {
    fn from(text: &String) -> Self {
        Self::Text(text.clone())
    }
}

impl From<GroupId> for Value {
    fn from(group: GroupId) -> Self {
        Self::Text(group.to_string())
    }
}

impl From<&ServerId> for Value {
    fn from(server: &ServerId) -> Self {
        Self::Text(server.as_str().to_owned())
    }
}

impl From<TraceId> for Value {
    fn from(trace: TraceId) -> Self {
        Self::Bytes(trace.get().to_be_bytes().to_vec())
    }
}

impl From<Vec<u8>> for Value {
    fn from(bytes: Vec<u8>) -> Self {
        Self::Bytes(bytes)
    }
}

impl From<&[u8]> for Value {
    fn from(bytes: &[u8]) -> Self {
        Self::Bytes(bytes.to_vec())
    }
}

impl From<&[u8; 32]> for Value {
    fn from(bytes: &[u8; 32]) -> Self {
        Self::Bytes(bytes.to_vec())
    }
}

/// A row of an answer, read column by column in the order of the SELECT.
#[derive(Debug)]
pub(crate) struct Row {
    columns: std::vec::IntoIter<Value>,
    position: usize,
    action: &'static str,
}

impl Row {
    pub(crate) fn new(action: &'static str, columns: Vec<Value>) -> Self {
        Self { columns: columns.into_iter(), position: 0, action }
    }

    /// The next column. [`StoreError::Corrupt`] when it does not hold what it should.
    pub(crate) fn take<T: Column>(&mut self) -> Result<T, StoreError> {
        self.position += 1;
        let value = self.columns.next().unwrap_or(Value::Null);
        T::read(value).map_err(|detail| {
            let position = self.position;
            StoreError::Corrupt { action: self.action, detail: format!("column {position} holds {detail}") }
        })
    }
}

/// What a column can be read as.
pub(crate) trait Column: Sized {
    /// Reads a value, or says what was found instead.
    fn read(value: Value) -> Result<Self, String>;
}

impl Column for Value {
    fn read(value: Value) -> Result<Self, String> {
        Ok(value)
    }
}

impl<T: Column> Column for Option<T> {
    fn read(value: Value) -> Result<Self, String> {
        if value == Value::Null { Ok(None) } else { T::read(value).map(Some) }
    }
}

impl Column for i64 {
    fn read(value: Value) -> Result<Self, String> {
        match value {
            Value::Integer(number) => Ok(number),
            // Sums come as decimals from some servers.
            Value::Text(text) => text.parse().map_err(|_| "a text, not a number".to_owned()),
            Value::Bytes(_) => Err("bytes, not a number".to_owned()),
            Value::Null => Err("nothing, not a number".to_owned()),
        }
    }
}

macro_rules! read_integers {
    ($($kind:ty),*) => { $(
        impl Column for $kind {
            fn read(value: Value) -> Result<Self, String> {
                let number = i64::read(value)?;
                <$kind>::try_from(number).map_err(|_| format!("{number}, out of range"))
            }
        }
    )* };
}
read_integers!(u64, usize, u32, u16, u8);

impl Column for bool {
    fn read(value: Value) -> Result<Self, String> {
        i64::read(value).map(|number| number != 0)
    }
}

macro_rules! read_numbers {
    ($($kind:ty as $inner:ty),*) => { $(
        impl Column for $kind {
            fn read(value: Value) -> Result<Self, String> {
                <$inner>::read(value).map(<$kind>::new)
            }
        }
    )* };
}
read_numbers!(
    JobId as u32,
    JobVersion as u32,
    JobsVersion as u64,
    Epoch as u64,
    PlanNo as u32,
    AttemptNo as u32
);
read_numbers!(Incarnation as u64);

impl Column for Timestamp {
    fn read(value: Value) -> Result<Self, String> {
        i64::read(value).map(Timestamp::from_millis)
    }
}

impl Column for RunState {
    fn read(value: Value) -> Result<Self, String> {
        let code = u8::read(value)?;
        Self::from_code(code).ok_or_else(|| format!("{code}, which is no run state this version knows"))
    }
}

impl Column for ReasonCode {
    fn read(value: Value) -> Result<Self, String> {
        let code = u8::read(value)?;
        Self::from_code(code).ok_or_else(|| format!("{code}, which is no reason this version knows"))
    }
}

impl Column for TriggerKind {
    fn read(value: Value) -> Result<Self, String> {
        let code = u8::read(value)?;
        Self::from_code(code).ok_or_else(|| format!("{code}, which is no trigger this version knows"))
    }
}

impl Column for String {
    fn read(value: Value) -> Result<Self, String> {
        match value {
            Value::Text(text) => Ok(text),
            Value::Bytes(bytes) => String::from_utf8(bytes).map_err(|_| "bytes, not a text".to_owned()),
            Value::Integer(number) => Err(format!("{number}, not a text")),
            Value::Null => Err("nothing, not a text".to_owned()),
        }
    }
}

impl Column for Vec<u8> {
    fn read(value: Value) -> Result<Self, String> {
        match value {
            Value::Bytes(bytes) => Ok(bytes),
            Value::Text(text) => Ok(text.into_bytes()),
            Value::Integer(number) => Err(format!("{number}, not bytes")),
            Value::Null => Err("nothing, not bytes".to_owned()),
        }
    }
}

impl Column for [u8; 32] {
    fn read(value: Value) -> Result<Self, String> {
        Vec::read(value)?.try_into().map_err(|_| "bytes that are not 32".to_owned())
    }
}

impl Column for TraceId {
    fn read(value: Value) -> Result<Self, String> {
        let bytes: [u8; 16] =
            Vec::read(value)?.try_into().map_err(|_| "bytes that are not a trace id".to_owned())?;
        Self::new(u128::from_be_bytes(bytes)).ok_or_else(|| "an empty trace id".to_owned())
    }
}

/// Ids that are stored as their text.
macro_rules! read_texts {
    ($($kind:ty),*) => { $(
        impl Column for $kind {
            fn read(value: Value) -> Result<Self, String> {
                let text = String::read(value)?;
                Self::from_str(&text).map_err(|error| format!("something else: {error}"))
            }
        }
    )* };
}
read_texts!(GroupId, ServerId, crate::accounts::Role);

/// A JSON text.
pub(crate) struct Json<T>(pub(crate) T);

impl<T: serde::de::DeserializeOwned> Column for Json<T> {
    fn read(value: Value) -> Result<Self, String> {
        let text = String::read(value)?;
        serde_json::from_str(&text).map(Self).map_err(|error| format!("JSON it should not: {error}"))
    }
}

/// JSON as it is stored. Values of our own types always serialise.
pub(crate) fn json<T: serde::Serialize + ?Sized>(value: &T) -> String {
    serde_json::to_string(value).expect("plain values with text keys serialise")
}
