//! `/docs`: the API for people, drawn in the browser from its description. All of it is in the binary; nothing is fetched from elsewhere.

use std::sync::Arc;

use axum::Router;
use axum::http::header;
use axum::response::{Html, IntoResponse, Redirect};
use axum::routing::get;

use crate::console::Console;
use crate::openapi::openapi;
use crate::router::API;

pub(crate) fn routes() -> Router<Arc<Console>> {
    let file = |media_type: &'static str, text: &'static str| {
        get(async move || ([(header::CONTENT_TYPE, media_type)], text))
    };
    Router::new()
        .route("/docs", get(async || Html(include_str!("docs/docs.html"))))
        .route("/docs/", get(async || Redirect::permanent("../docs")))
        .route("/docs/docs.js", file("text/javascript; charset=utf-8", include_str!("docs/docs.js")))
        .route("/docs/docs.css", file("text/css; charset=utf-8", include_str!("docs/docs.css")))
        .route(&format!("{API}/openapi.json"), get(async || axum::Json(openapi()).into_response()))
}
