//! The web pages as a browser gets them.

use axum::http::{Method, StatusCode};

use crate::support::World;
use carillon_console::Pages;

/// A console with a build of pages: an entry, a hashed script with its compressed forms, an icon.
async fn world() -> (World, tempfile::TempDir) {
    let folder = tempfile::tempdir().unwrap();
    let write = |name: &str, content: &str| std::fs::write(folder.path().join(name), content).unwrap();
    std::fs::create_dir(folder.path().join("assets")).unwrap();
    write("index.html", "<!doctype html><head><base href=\"/\" /><title>Carillon</title></head>");
    write("assets/entry-1a2b.js", "plain");
    write("assets/entry-1a2b.js.br", "by brotli");
    write("assets/entry-1a2b.js.gz", "by gzip");
    write("icon.svg", "<svg/>");
    let path = folder.path().to_owned();
    (World::with(|config| config.pages = Pages::Folder(path)).await, folder)
}

#[tokio::test]
async fn every_path_of_the_pages_is_answered_with_the_entry_and_its_base() {
    let (world, _folder) = world().await;
    let page = |path: &'static str| {
        world.plain(Method::GET, path).header("accept", "text/html,application/xhtml+xml").send()
    };
    for (path, base) in
        [("/", "./"), ("/jobs", "./"), ("/jobs/12", "../"), ("/runs/x/subtasks?q=1", "../../")]
    {
        let answer = page(path).await.must(StatusCode::OK);
        assert_eq!(answer.header("content-type"), "text/html; charset=utf-8");
        assert_eq!(answer.header("cache-control"), "no-cache");
        let text = String::from_utf8(answer.body.clone()).unwrap();
        assert!(text.contains(&format!("<base href=\"{base}\" />")), "{path}: {text}");
        let policy = answer.header("content-security-policy");
        let scripts = policy.split(';').find(|part| part.trim().starts_with("script-src"));
        assert!(policy.starts_with("default-src 'self'") && scripts.is_none(), "{policy}");
    }
    // The API answers for itself, and programs are not given pages.
    page("/api/v1/nowhere").await.must(StatusCode::NOT_FOUND);
    assert_eq!(
        world.plain(Method::GET, "/nowhere").send().await.must(StatusCode::NOT_FOUND).code(),
        "no_such_page"
    );
    world.plain(Method::POST, "/jobs").header("accept", "text/html").send().await.must(StatusCode::NOT_FOUND);
}

#[tokio::test]
async fn files_are_compressed_cached_and_not_sent_twice() {
    let (world, _folder) = world().await;
    let script = "/assets/entry-1a2b.js";
    for (accepted, coding, body) in [
        ("gzip, deflate, br", Some("br"), "by brotli"),
        ("gzip;q=1.0, br;q=0", Some("gzip"), "by gzip"),
        ("identity", None, "plain"),
    ] {
        let answer = world.plain(Method::GET, script).header("accept-encoding", accepted).send().await;
        let answer = answer.must(StatusCode::OK);
        assert_eq!(answer.headers.get("content-encoding").map(|value| value.to_str().unwrap()), coding);
        assert_eq!(String::from_utf8_lossy(&answer.body), body);
        assert_eq!(answer.header("content-type"), "text/javascript; charset=utf-8");
        assert_eq!(answer.header("cache-control"), "public, max-age=31536000, immutable");
        assert_eq!(answer.header("vary"), "accept-encoding");
        let again = world
            .plain(Method::GET, script)
            .header("accept-encoding", accepted)
            .header("if-none-match", &answer.header("etag"));
        let again = again.send().await.must(StatusCode::NOT_MODIFIED);
        assert!(again.body.is_empty());
    }
    let icon = world.plain(Method::GET, "/icon.svg").send().await.must(StatusCode::OK);
    assert_eq!(
        (icon.header("cache-control"), icon.header("content-type")),
        ("no-cache".into(), "image/svg+xml".into())
    );
    for outside in ["/assets/../../secret", "/assets/%2e%2e/%2e%2e/secret", "/assets/entry-1a2b.js.br"] {
        world.plain(Method::GET, outside).send().await.must(StatusCode::NOT_FOUND);
    }
}

#[tokio::test]
async fn a_link_that_is_used_up_leads_to_the_sign_in_page() {
    let (world, _folder) = world().await;
    let page = world.plain(Method::GET, "/sign-in").send().await.must(StatusCode::OK);
    assert!(String::from_utf8_lossy(&page.body).contains("<base href=\"./\""));
    let used_up = world.plain(Method::GET, "/sign-in?code=guess").send().await.must(StatusCode::SEE_OTHER);
    assert_eq!(used_up.header("location"), "./sign-in?error=code_used_up");
    assert!(used_up.headers.get("set-cookie").is_none());
}

#[tokio::test]
async fn without_pages_the_front_page_says_how_to_build_them() {
    let world = World::new().await;
    let page = world.plain(Method::GET, "/").send().await.must(StatusCode::OK);
    assert!(String::from_utf8_lossy(&page.body).contains("make build"));
    let nowhere = world.plain(Method::GET, "/jobs").header("accept", "text/html").send().await;
    nowhere.must(StatusCode::NOT_FOUND);
}
