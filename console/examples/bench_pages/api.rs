//! The console's REST API, as pages ask it.

use serde_json::Value;

use crate::Outcome;

pub(crate) struct Api {
    client: reqwest::Client,
    root: String,
    token: String,
}

impl Api {
    pub(crate) fn new(console: &str, token: &str) -> Outcome<Self> {
        let root = format!("{}/api/v1", console.trim_end_matches('/'));
        let client = reqwest::Client::builder().no_proxy().build()?;
        Ok(Self { client, root, token: token.trim().to_owned() })
    }

    /// The whole answer; anything but success is an error.
    pub(crate) async fn get(&self, path: &str) -> Outcome<Vec<u8>> {
        let (path, range) =
            path.split_once(" range ").map_or((path, None), |(path, range)| (path, Some(range)));
        let mut request = self.client.get(format!("{}{path}", self.root)).bearer_auth(&self.token);
        if let Some(range) = range {
            request = request.header("range", range);
        }
        let answer = request.send().await?;
        let status = answer.status();
        let body = answer.bytes().await?;
        if !status.is_success() {
            return Err(format!("{path}: {status}: {}", String::from_utf8_lossy(&body)).into());
        }
        Ok(body.into())
    }

    pub(crate) async fn json(&self, path: &str) -> Outcome<Value> {
        Ok(serde_json::from_slice(&self.get(path).await?)?)
    }

    pub(crate) async fn post(&self, path: &str, body: &Value) -> Outcome<Value> {
        let request = self.client.post(format!("{}{path}", self.root)).bearer_auth(&self.token).json(body);
        let answer = request.send().await?;
        let status = answer.status();
        let body = answer.bytes().await?;
        if !status.is_success() {
            return Err(format!("{path}: {status}: {}", String::from_utf8_lossy(&body)).into());
        }
        Ok(serde_json::from_slice(&body)?)
    }
}
