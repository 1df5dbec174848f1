//! A console in process: requests go straight to its router.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use axum::Router;
use axum::body::{Body, to_bytes};
use axum::http::{HeaderMap, Method, Request, StatusCode};
use carillon_console::config::PasswordCost;
use carillon_console::{Console, ConsoleConfig, Pages, ensure_first_administrator, mint_token, router};
use carillon_coordination::{Coordination, Embedded, EmbeddedRegistry};
use carillon_core::ids::{GroupId, JobId};
use carillon_core::time::{Span, Timestamp};
use carillon_store::accounts::{Grant, Role, TokenScope, User};
use carillon_store::shards::{ClaimCause, ClaimNote};
use carillon_store::sqlite::{SqliteConfig, SqliteStore};
use carillon_store::{SharedStore, Store};
use serde_json::{Value, json};
use tower::ServiceExt;

use super::FakeServer;

/// Cheap hashes: what is tested here is not their strength.
pub(crate) const CHEAP: PasswordCost = PasswordCost { memory_kib: 64, passes: 1 };

/// A console with its store, coordinator and clock.
pub(crate) struct World {
    pub(crate) console: Arc<Console>,
    pub(crate) router: Router,
    pub(crate) store: SharedStore,
    pub(crate) registry: Arc<EmbeddedRegistry>,
    pub(crate) clock: Arc<AtomicI64>,
    /// A token of the administrator.
    pub(crate) admin: String,
    /// The administrator's password.
    pub(crate) password: String,
}

impl World {
    /// A console without servers, at 2026-11-20T09:00:00Z.
    pub(crate) async fn new() -> Self {
        Self::with(|_| {}).await
    }

    /// The same with another configuration.
    pub(crate) async fn with(configure: impl FnOnce(&mut ConsoleConfig)) -> Self {
        Self::made(|store| store, configure).await
    }

    /// The same with something between the console and its store.
    pub(crate) async fn behind(wrap: impl FnOnce(SharedStore) -> SharedStore) -> Self {
        Self::made(wrap, |_| {}).await
    }

    async fn made(
        wrap: impl FnOnce(SharedStore) -> SharedStore,
        configure: impl FnOnce(&mut ConsoleConfig),
    ) -> Self {
        let store = SqliteStore::open(SqliteConfig::in_memory()).await.unwrap();
        store.migrate().await.unwrap();
        let store: SharedStore = wrap(Arc::new(store));
        let registry = EmbeddedRegistry::new();
        let start: Timestamp = "2026-11-20T09:00:00Z".parse().unwrap();
        let clock = Arc::new(AtomicI64::new(start.as_millis()));
        let mut config = ConsoleConfig::new(101);
        config.password_cost = CHEAP;
        // Whatever was built on this machine.
        config.pages = Pages::Folder("/nonexistent".into());
        configure(&mut config);
        let password =
            ensure_first_administrator(&store, CHEAP, start).await.unwrap().expect("the store is new");
        let scope = TokenScope::User { user: 1, at_most: None };
        let (admin, _) = mint_token(&store, "test", scope, "test", start, None).await.unwrap();
        let coordination: Arc<dyn Coordination> = Arc::new(Embedded::new(&registry));
        let hands = Arc::clone(&clock);
        let tell = Arc::new(move || Timestamp::from_millis(hands.load(Ordering::SeqCst)));
        let console = Console::new(config, Arc::clone(&store), coordination, tell);
        let router = router(&console);
        Self { console, router, store, registry, clock, admin, password }
    }

    /// Another console of the same cluster, with nothing but the store in common.
    pub(crate) fn beside(&self) -> Self {
        let mut config = ConsoleConfig::new(101);
        config.password_cost = CHEAP;
        config.pages = Pages::Folder("/nonexistent".into());
        let hands = Arc::clone(&self.clock);
        let tell = Arc::new(move || Timestamp::from_millis(hands.load(Ordering::SeqCst)));
        let coordination: Arc<dyn Coordination> = Arc::new(Embedded::new(&self.registry));
        let console = Console::new(config, Arc::clone(&self.store), coordination, tell);
        Self {
            router: router(&console),
            console,
            store: Arc::clone(&self.store),
            registry: Arc::clone(&self.registry),
            clock: Arc::clone(&self.clock),
            admin: self.admin.clone(),
            password: self.password.clone(),
        }
    }

    pub(crate) fn now(&self) -> Timestamp {
        Timestamp::from_millis(self.clock.load(Ordering::SeqCst))
    }

    pub(crate) fn advance(&self, span: Span) {
        self.clock.fetch_add(i64::try_from(span.as_millis()).unwrap(), Ordering::SeqCst);
    }

    /// A live server of server group 1.
    pub(crate) async fn server(&self, id: &str) -> FakeServer {
        FakeServer::start(&self.registry, &self.store, id).await
    }

    /// A task group with two backups, placed on the servers, the first of which owns it.
    pub(crate) async fn group(&self, servers: &[&FakeServer]) -> GroupId {
        let body = json!({"cluster": 101, "server_group": 1, "backups": 2, "name": format!("group {}", rand::random::<u32>())});
        let answer = self.post("/groups").json(body).send().await.must(StatusCode::CREATED);
        let group: GroupId = answer.text("id").parse().unwrap();
        let shards = self.store.shards_of_group(group).await.unwrap();
        let holders: Vec<_> = servers.iter().map(|server| server.id()).collect();
        for shard in shards {
            self.store.place(&[(shard.id, holders.clone())]).await.unwrap();
            if let Some(owner) = holders.first() {
                let note = ClaimNote { at: self.now(), room: "room-a".into(), cause: ClaimCause::First };
                self.store.claim(shard.id, shard.epoch, owner, &note).await.unwrap().unwrap();
            }
        }
        group
    }

    /// A job of a group, triggered by request only unless `more` says otherwise.
    pub(crate) async fn job(&self, group: GroupId, name: &str, more: Value) -> Value {
        let mut body = json!({"group": group, "name": name, "handler": name, "schedule": {"type": "api"}});
        body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        self.post("/jobs").json(body).send().await.must(StatusCode::CREATED).json()
    }

    /// A person with a role on a group, and a token of hers.
    pub(crate) async fn person(&self, name: &str, grants: &[(GroupId, Role)]) -> String {
        let user = User {
            id: 0,
            name: name.to_owned(),
            display_name: name.to_owned(),
            password_hash: String::new(),
            administrator: false,
            disabled: false,
            revision: 1,
            created_at: self.now(),
        };
        let id = self.store.create_user(&user).await.unwrap();
        for (group, role) in grants {
            let grant = Grant {
                user: id,
                group: *group,
                role: *role,
                granted_at: self.now(),
                granted_by: "test".into(),
            };
            self.store.grant(&grant).await.unwrap();
        }
        self.token(TokenScope::User { user: id, at_most: None }).await
    }

    pub(crate) async fn token(&self, scope: TokenScope) -> String {
        mint_token(&self.store, "test", scope, "test", self.now(), None).await.unwrap().0
    }

    pub(crate) fn get(&self, path: &str) -> Ask<'_> {
        self.ask(Method::GET, path)
    }

    pub(crate) fn post(&self, path: &str) -> Ask<'_> {
        self.ask(Method::POST, path)
    }

    /// A request below the API's root, by the administrator unless said otherwise.
    pub(crate) fn ask(&self, method: Method, path: &str) -> Ask<'_> {
        let headers = vec![("authorization".to_owned(), format!("Bearer {}", self.admin))];
        Ask { world: self, method, path: format!("/api/v1{path}"), headers, body: Vec::new() }
    }

    /// A request to any path by nobody.
    pub(crate) fn plain(&self, method: Method, path: &str) -> Ask<'_> {
        Ask { world: self, method, path: path.to_owned(), headers: Vec::new(), body: Vec::new() }
    }
}

/// A request to be sent.
pub(crate) struct Ask<'a> {
    world: &'a World,
    method: Method,
    path: String,
    headers: Vec<(String, String)>,
    body: Vec<u8>,
}

impl Ask<'_> {
    /// By the holder of a token.
    pub(crate) fn by(mut self, token: &str) -> Self {
        self.headers.retain(|(name, _)| name != "authorization");
        self.header("authorization", &format!("Bearer {token}"))
    }

    /// By nobody.
    pub(crate) fn by_nobody(mut self) -> Self {
        self.headers.retain(|(name, _)| name != "authorization");
        self
    }

    pub(crate) fn header(mut self, name: &str, value: &str) -> Self {
        self.headers.push((name.to_owned(), value.to_owned()));
        self
    }

    pub(crate) fn if_match(self, etag: &str) -> Self {
        self.header("if-match", etag)
    }

    pub(crate) fn json(self, body: Value) -> Self {
        self.body(body.to_string()).header("content-type", "application/json")
    }

    pub(crate) fn body(mut self, body: impl Into<Vec<u8>>) -> Self {
        self.body = body.into();
        self
    }

    /// The request itself.
    pub(crate) fn request(self) -> Request<Body> {
        let mut request = Request::builder().method(self.method).uri(self.path);
        for (name, value) in self.headers {
            request = request.header(name, value);
        }
        request.body(Body::from(self.body)).unwrap()
    }

    pub(crate) async fn send(self) -> Answer {
        let router = self.world.router.clone();
        let response = router.oneshot(self.request()).await.unwrap();
        let (status, headers) = (response.status(), response.headers().clone());
        let body = to_bytes(response.into_body(), 64 << 20).await.unwrap().to_vec();
        Answer { status, headers, body }
    }
}

/// What came back.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Vec<u8>,
}

impl Answer {
    /// Checks the status.
    #[track_caller]
    pub(crate) fn must(self, status: StatusCode) -> Self {
        assert_eq!(self.status, status, "{}", String::from_utf8_lossy(&self.body));
        self
    }

    #[track_caller]
    pub(crate) fn json(&self) -> Value {
        serde_json::from_slice(&self.body)
            .unwrap_or_else(|_| panic!("no JSON: {}", String::from_utf8_lossy(&self.body)))
    }

    /// A text field of the answer.
    #[track_caller]
    pub(crate) fn text(&self, field: &str) -> String {
        self.json()[field].as_str().unwrap_or_else(|| panic!("no text {field}: {}", self.json())).to_owned()
    }

    #[track_caller]
    pub(crate) fn header(&self, name: &str) -> String {
        self.headers[name].to_str().unwrap().to_owned()
    }

    /// The code of a refusal, which must be a problem.
    #[track_caller]
    pub(crate) fn code(&self) -> String {
        assert_eq!(self.header("content-type"), "application/problem+json");
        let problem = self.json();
        assert_eq!(problem["status"], self.status.as_u16());
        self.text("code")
    }

    /// The fields a refusal names.
    #[track_caller]
    pub(crate) fn fields(&self) -> Vec<String> {
        assert_eq!(self.status, StatusCode::UNPROCESSABLE_ENTITY, "{}", String::from_utf8_lossy(&self.body));
        let problem = self.json();
        let errors = problem["errors"].as_array().cloned().unwrap_or_default();
        errors.iter().map(|error| error["field"].as_str().unwrap().to_owned()).collect()
    }
}

/// The number of a job as answered.
pub(crate) fn id_of(job: &Value) -> JobId {
    JobId::new(u32::try_from(job["id"].as_u64().unwrap()).unwrap())
}
