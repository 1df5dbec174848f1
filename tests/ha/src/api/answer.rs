//! What a console answered.

use serde_json::Value;

use super::run::Run;

/// An answer, whatever its status.
#[derive(Debug, Clone)]
pub struct Answer {
    /// What was asked, for messages.
    pub asked: String,
    /// The HTTP status.
    pub status: u16,
    /// The revision of what was answered.
    pub etag: Option<String>,
    /// The media type.
    pub content_type: String,
    /// The body; a text where it is no JSON, null where there is none.
    pub body: Value,
}

impl Answer {
    pub(super) async fn read(asked: String, response: reqwest::Response) -> Result<Self, reqwest::Error> {
        let status = response.status().as_u16();
        let header = |name: &str| {
            response.headers().get(name).and_then(|value| value.to_str().ok()).map(str::to_owned)
        };
        let (etag, content_type) = (header("etag"), header("content-type").unwrap_or_default());
        let bytes = response.bytes().await?;
        let body = match bytes.as_ref() {
            [] => Value::Null,
            text => serde_json::from_slice(text)
                .unwrap_or_else(|_| String::from_utf8_lossy(text).into_owned().into()),
        };
        Ok(Self { asked, status, etag, content_type, body })
    }

    /// The answer, if it has this status. Panics with all of it otherwise.
    pub fn expect_status(self, status: u16) -> Self {
        assert_eq!(self.status, status, "{} was answered: {:#}", self.asked, self.body);
        self
    }

    /// A text of the body. Panics where there is none.
    pub fn text(&self, field: &str) -> String {
        let text = self.body[field].as_str();
        text.unwrap_or_else(|| panic!("{}: no text {field} in {:#}", self.asked, self.body)).to_owned()
    }

    /// A number of the body, also one sent as a text. Panics where there is none.
    pub fn number(&self, field: &str) -> u32 {
        let value = &self.body[field];
        let number = value.as_u64().or_else(|| value.as_str()?.parse().ok());
        let number = number.and_then(|number| u32::try_from(number).ok());
        number.unwrap_or_else(|| panic!("{}: no number {field} in {:#}", self.asked, self.body))
    }

    /// The stable code of a refusal. Panics where the answer is none in the form of problem details.
    pub fn problem(&self) -> &str {
        assert!(self.content_type.starts_with("application/problem+json"), "{}: {self:#?}", self.asked);
        assert_eq!(self.body["status"], self.status, "{}: {self:#?}", self.asked);
        assert!(
            self.body["detail"].as_str().is_some_and(|detail| !detail.is_empty()),
            "{}: {self:#?}",
            self.asked
        );
        self.body["code"].as_str().unwrap_or_else(|| panic!("{}: no code in {:#}", self.asked, self.body))
    }

    /// The entry of a refusal about one field. Panics where there is none.
    pub fn refused_field(&self, field: &str) -> &Value {
        let errors = self.body["errors"].as_array().map(Vec::as_slice).unwrap_or_default();
        let found = errors.iter().find(|error| error["field"] == field);
        found.unwrap_or_else(|| panic!("{}: nothing about {field} in {:#}", self.asked, self.body))
    }

    /// The answer as a run.
    pub fn as_run(self) -> Run {
        Run::new(self.body)
    }
}
