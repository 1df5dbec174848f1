//! Signing in as a person does: cookie and CSRF header.

use reqwest::header::{COOKIE, SET_COOKIE};
use serde_json::{Value, json};

use super::Api;

/// A signed-in browser.
#[derive(Debug)]
pub struct Session {
    api: Api,
    cookie: String,
    csrf: String,
}

impl Api {
    /// Signs in by name and password. Panics where that fails.
    pub async fn sign_in(&self, name: &str, password: &str) -> Session {
        let url = format!("{}/api/v1/sessions", self.console);
        let response = self.http.post(url).json(&json!({"name": name, "password": password})).send().await;
        let response = response.unwrap_or_else(|error| panic!("POST /sessions: {error:?}"));
        let status = response.status();
        let cookie = response.headers().get(SET_COOKIE).and_then(|cookie| cookie.to_str().ok());
        let cookie = cookie.and_then(|cookie| cookie.split(';').next()).unwrap_or_default().to_owned();
        let body: Value = response.json().await.unwrap_or_default();
        assert_eq!(status, 201, "signing in as {name}: {body:#}");
        let csrf = body["csrf_token"].as_str().unwrap_or_default().to_owned();
        Session { api: self.clone(), cookie, csrf }
    }
}

impl Session {
    /// Makes a token and returns the answer, which shows it once.
    pub async fn create_token(&self, body: Value) -> Value {
        let headers = [(COOKIE.as_str(), self.cookie.as_str()), ("x-csrf-token", self.csrf.as_str())];
        self.api.send(reqwest::Method::POST, "/tokens", Some(&body), &headers).await.expect_status(201).body
    }
}
