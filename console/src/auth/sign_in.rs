//! Signing in: the rate limit, the password, the session; and the one-time code of `carillon dev`.

use carillon_core::time::Span;
use carillon_store::StoreError;
use carillon_store::accounts::{Session, User};

use super::token;
use crate::console::Console;
use crate::problem::{Problem, Result};

/// A one-time code is for the link that is printed at the start, to be followed soon.
const CODE_LIFETIME: Span = Span::from_secs(600);

/// A new session: the secret for the cookie, and what is kept of it.
pub(crate) struct SignedIn {
    pub(crate) secret: String,
    pub(crate) session: Session,
    pub(crate) user: User,
}

/// Signs a person in by name and password.
pub(crate) async fn sign_in(
    console: &Console,
    name: &str,
    password: String,
    source: &str,
) -> Result<SignedIn> {
    let limits = console.config.sign_in_limits;
    let now = console.now();
    let window = now.floor(limits.window);
    // The keys' prefixes keep a person called like an address apart from it.
    let by_name = format!("name:{}", name.to_lowercase().chars().take(64).collect::<String>());
    let by_address = format!("address:{source}");
    for (key, most) in [(&by_name, limits.per_name), (&by_address, limits.per_address)] {
        if console.store.sign_in_failures(key, window).await? >= most {
            let wait = (window + limits.window).since(now);
            return Err(Problem::new(
                axum::http::StatusCode::TOO_MANY_REQUESTS,
                "too_many_sign_ins",
                "too many failed sign-ins for this name or from this address; wait and try again",
            )
            .retry_after(wait));
        }
    }
    let user = console.store.user_by_name(name).await?.filter(|user| !user.disabled);
    let hash = user.as_ref().map(|user| user.password_hash.clone());
    match (console.passwords.verify(password, hash).await?, user) {
        (true, Some(user)) => begin_session(console, user).await,
        _ => {
            console.store.count_sign_in_failure(&by_name, window).await?;
            console.store.count_sign_in_failure(&by_address, window).await?;
            console.metrics.sign_in("refused");
            Err(Problem::new(
                axum::http::StatusCode::UNAUTHORIZED,
                "wrong_password",
                "name or password is wrong",
            ))
        }
    }
}

/// Begins a session for a person whose identity is proved.
pub(crate) async fn begin_session(console: &Console, user: User) -> Result<SignedIn> {
    let secret = token::random_text();
    let now = console.now();
    let session = Session {
        hash: token::hash(&secret),
        user: user.id,
        user_revision: user.revision,
        csrf: token::random_text(),
        created_at: now,
        expires_at: now + console.config.session_lifetime,
    };
    console.store.create_session(&session).await?;
    console.metrics.sign_in("ok");
    Ok(SignedIn { secret, session, user })
}

/// Makes a code that signs a person in once, within ten minutes. It is kept as a session that no cookie can be (it has no CSRF value), so that
/// any console honours it.
pub(crate) async fn make_code(console: &Console, user: &User) -> Result<String, StoreError> {
    let code = token::random_text();
    let now = console.now();
    let kept = Session {
        hash: hash_of_code(&code),
        user: user.id,
        user_revision: user.revision,
        csrf: String::new(),
        created_at: now,
        expires_at: now + CODE_LIFETIME,
    };
    console.store.create_session(&kept).await?;
    Ok(code)
}

/// The person of a code, which is used up by this.
pub(crate) async fn redeem(console: &Console, code: &str) -> Result<Option<User>> {
    let hash = hash_of_code(code);
    let Some(kept) = console.store.session(&hash).await?.filter(|kept| kept.csrf.is_empty()) else {
        return Ok(None);
    };
    // Of many who follow the link at once, one ends it.
    if !console.store.delete_session(&hash).await? || kept.expires_at <= console.now() {
        return Ok(None);
    }
    let user = console.store.user(kept.user).await?;
    Ok(user.filter(|user| !user.disabled && user.revision == kept.user_revision))
}

/// Apart from the hashes of cookies.
fn hash_of_code(code: &str) -> [u8; 32] {
    token::hash(&format!("one-time:{code}"))
}
