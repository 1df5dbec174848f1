//! The web pages: built in `web/`, embedded into the binary where they were there when it was built. A debug build reads them from there as they
//! are asked for, so that it does not matter which of the two is built first.
//!
//! They are a client of the API like any other and know nothing of where they are served: `index.html` gets a relative base for the depth
//! of the path it is asked for at, so that one build works under every path that a proxy strips.

use std::borrow::Cow;
use std::path::{Component, Path, PathBuf};
use std::sync::Arc;

use axum::extract::{Request, State};
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode, header};
use axum::response::{Html, IntoResponse, Response};
use sha2::{Digest, Sha256};

use crate::console::Console;
use crate::problem::Problem;
use crate::router::API;

/// What a browser may do with a page. Styles may be inline, because the component library writes its theme into a style element;
/// scripts never.
pub(crate) const POLICY: &str = "default-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data:; \
     frame-ancestors 'none'; base-uri 'self'; form-action 'self'";

/// What `index.html` says where its base goes.
const BASE: &str = "<base href=\"/\"";

/// Files whose name holds a hash of their content stand in this folder.
const HASHED: &str = "assets/";

/// A file of those that were built, by its path below the pages' root.
#[cfg(not(debug_assertions))]
fn built(path: &str) -> Option<Cow<'static, [u8]>> {
    #[derive(rust_embed::Embed)]
    #[folder = "../web/dist"]
    #[allow_missing = true]
    struct Embedded;
    Embedded::get(path).map(|file| file.data)
}

/// The same in a debug build. (`rust_embed` would read it, too, but finds nothing for ever where the folder was not there at compile time.)
#[cfg(debug_assertions)]
fn built(path: &str) -> Option<Cow<'static, [u8]>> {
    let folder = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../web/dist"));
    std::fs::read(folder.join(path)).ok().map(Cow::Owned)
}

/// Where the pages come from.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum Pages {
    /// From the binary; of a debug build from `web/dist`.
    #[default]
    Embedded,
    /// From a folder: for whoever works on them, and for tests.
    Folder(PathBuf),
}

impl Pages {
    /// A file by its path below the pages' root.
    fn file(&self, path: &str) -> Option<Cow<'static, [u8]>> {
        let plain = |part: Component| matches!(part, Component::Normal(_));
        if path.is_empty() || !Path::new(path).components().all(plain) {
            return None;
        }
        match self {
            Self::Embedded => built(path),
            Self::Folder(folder) => std::fs::read(folder.join(path)).ok().map(Cow::Owned),
        }
    }

    /// Whether there are pages at all.
    pub(crate) fn are_there(&self) -> bool {
        self.file("index.html").is_some()
    }
}

/// Answers every path that nothing else has: a file of the pages, or the pages themselves, whose own routes these are.
pub(crate) async fn serve(State(console): State<Arc<Console>>, request: Request) -> Response {
    let (path, headers) = (request.uri().path(), request.headers());
    let readable = matches!(*request.method(), Method::GET | Method::HEAD);
    if !readable || path.starts_with(API) {
        return no_such_page(path).into_response();
    }
    let name = path.trim_start_matches('/');
    if name != "index.html"
        && let Some(answer) = file(&console.config.pages, name, headers)
    {
        return answer;
    }
    let wants_page = headers
        .get(header::ACCEPT)
        .is_some_and(|accept| String::from_utf8_lossy(accept.as_bytes()).contains("text/html"));
    if path == "/" || name == "index.html" || wants_page {
        return index(&console, path, headers);
    }
    no_such_page(path).into_response()
}

fn no_such_page(path: &str) -> Problem {
    let path: String = path.chars().take(80).collect();
    Problem::new(
        StatusCode::NOT_FOUND,
        "no_such_page",
        format!("there is nothing at {path}; /docs lists what there is"),
    )
}

/// The pages' entry, or the plain page that says how to build them.
pub(crate) fn index(console: &Console, path: &str, headers: &HeaderMap) -> Response {
    let Some(index) = console.config.pages.file("index.html") else {
        if path == "/" {
            return Html(include_str!("docs/landing.html")).into_response();
        }
        return no_such_page(path).into_response();
    };
    let text = String::from_utf8_lossy(&index).replacen(BASE, &format!("<base href=\"{}\"", base(path)), 1);
    let mut answer = fresh(headers, "text/html; charset=utf-8", Cow::Owned(text.into_bytes()), None);
    answer.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static("no-cache"));
    answer
}

/// The pages' root as seen from `path`.
fn base(path: &str) -> String {
    let depth = path.trim_start_matches('/').matches('/').count();
    if depth == 0 { "./".to_owned() } else { "../".repeat(depth) }
}

/// A file, compressed where it lies beside its compressed form and the browser takes it.
fn file(pages: &Pages, name: &str, headers: &HeaderMap) -> Option<Response> {
    // Compressed forms are not files of their own.
    if name.ends_with(".br") || name.ends_with(".gz") {
        return None;
    }
    let plain = pages.file(name)?;
    let accepted =
        headers.get(header::ACCEPT_ENCODING).map(|value| String::from_utf8_lossy(value.as_bytes()));
    let takes = |coding: &str| {
        accepted.as_deref().is_some_and(|list| {
            list.split(',').any(|one| {
                let mut parts = one.split(';').map(str::trim);
                let refused = |quality: &str| matches!(quality, "q=0" | "q=0.0" | "q=0.00" | "q=0.000");
                parts.next() == Some(coding) && !parts.next().is_some_and(refused)
            })
        })
    };
    let compressed = [("br", "br"), ("gzip", "gz")].into_iter().find_map(|(coding, ending)| {
        let file = takes(coding).then(|| pages.file(&format!("{name}.{ending}"))).flatten()?;
        Some((coding, file))
    });
    let (coding, content) = match compressed {
        Some((coding, content)) => (Some(coding), content),
        None => (None, plain),
    };
    let mut answer = fresh(headers, media_type(name), content, coding);
    let caching = if name.starts_with(HASHED) { "public, max-age=31536000, immutable" } else { "no-cache" };
    let fields = answer.headers_mut();
    fields.insert(header::CACHE_CONTROL, HeaderValue::from_static(caching));
    fields.insert(header::VARY, HeaderValue::from_static("accept-encoding"));
    Some(answer)
}

/// The content with its ETag; 304 without it where the browser has it already.
fn fresh(
    headers: &HeaderMap,
    media_type: &'static str,
    content: Cow<'static, [u8]>,
    coding: Option<&'static str>,
) -> Response {
    let digest = Sha256::digest(&content);
    let etag =
        digest.iter().take(12).fold(String::from("\""), |etag, byte| format!("{etag}{byte:02x}")) + "\"";
    let known = headers.get(header::IF_NONE_MATCH).and_then(|value| value.to_str().ok());
    let known =
        known.is_some_and(|known| known.split(',').any(|one| one.trim().trim_start_matches("W/") == etag));
    let mut answer = if known {
        StatusCode::NOT_MODIFIED.into_response()
    } else {
        let body = match content {
            Cow::Borrowed(bytes) => axum::body::Body::from(bytes),
            Cow::Owned(bytes) => axum::body::Body::from(bytes),
        };
        ([(header::CONTENT_TYPE, media_type)], body).into_response()
    };
    let fields = answer.headers_mut();
    if let Ok(etag) = HeaderValue::from_str(&etag) {
        fields.insert(header::ETAG, etag);
    }
    if let Some(coding) = coding.filter(|_| !known) {
        fields.insert(header::CONTENT_ENCODING, HeaderValue::from_static(coding));
    }
    answer
}

/// By the name's ending: only what a build of pages holds.
fn media_type(name: &str) -> &'static str {
    match name.rsplit('.').next().unwrap_or_default() {
        "html" => "text/html; charset=utf-8",
        "js" | "mjs" => "text/javascript; charset=utf-8",
        "css" => "text/css; charset=utf-8",
        "json" | "map" | "webmanifest" => "application/json",
        "svg" => "image/svg+xml",
        "png" => "image/png",
        "ico" => "image/x-icon",
        "webp" => "image/webp",
        "woff2" => "font/woff2",
        "txt" => "text/plain; charset=utf-8",
        _ => "application/octet-stream",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_base_leads_back_to_the_root_from_every_depth() {
        for (path, expected) in [
            ("/", "./"),
            ("/jobs", "./"),
            ("/jobs/", "../"),
            ("/jobs/12", "../"),
            ("/runs/x/subtasks", "../../"),
        ] {
            assert_eq!(base(path), expected, "{path}");
        }
    }

    #[test]
    fn no_path_leads_out_of_the_pages() {
        let pages = Pages::Folder(PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("src"));
        assert!(pages.file("pages.rs").is_some());
        for path in ["../Cargo.toml", "./../Cargo.toml", "/etc/hostname", "api/../../Cargo.toml", ""] {
            assert!(pages.file(path).is_none(), "{path}");
        }
    }
}
