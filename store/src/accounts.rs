//! People, tokens, permissions and the audit trail.

use std::fmt;
use std::str::FromStr;

use async_trait::async_trait;
use carillon_core::ids::GroupId;
use carillon_core::time::Timestamp;

use crate::StoreError;

/// A person.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct User {
    /// Number.
    pub id: u64,
    /// Sign-in name, unique ignoring case, 1 to 64 characters.
    pub name: String,
    /// For people.
    pub display_name: String,
    /// An argon2id hash in PHC form; never shown.
    pub password_hash: String,
    /// May do everything.
    pub administrator: bool,
    /// Cannot sign in.
    pub disabled: bool,
    /// Grows with each change of the password or the rights; sessions of older ones end.
    pub revision: u32,
    /// When created.
    pub created_at: Timestamp,
}

/// A role on a task group; each includes those before it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Role {
    /// Sees.
    Viewer,
    /// Triggers, pauses, cancels, retries.
    Operator,
    /// Edits jobs.
    Developer,
    /// Grants.
    Owner,
}

impl Role {
    /// Every role, weakest first.
    pub const ALL: [Self; 4] = [Self::Viewer, Self::Operator, Self::Developer, Self::Owner];

    /// The role's word in the API.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Viewer => "viewer",
            Self::Operator => "operator",
            Self::Developer => "developer",
            Self::Owner => "owner",
        }
    }
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for Role {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        Self::ALL
            .into_iter()
            .find(|role| role.as_str() == text)
            .ok_or_else(|| format!("{text:?} is not a role: expected viewer, operator, developer or owner"))
    }
}

/// A right of a user on a group.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Grant {
    /// Who.
    pub user: u64,
    /// On which group.
    pub group: GroupId,
    /// What.
    pub role: Role,
    /// Since when.
    pub granted_at: Timestamp,
    /// By whom.
    pub granted_by: String,
}

/// A signed-in browser, kept in the store so that any console honours it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Session {
    /// SHA-256 of the cookie's value.
    pub hash: [u8; 32],
    /// Whose.
    pub user: u64,
    /// The user's revision at sign-in.
    pub user_revision: u32,
    /// What writes must carry in the CSRF header.
    pub csrf: String,
    /// When it began.
    pub created_at: Timestamp,
    /// When it ends.
    pub expires_at: Timestamp,
}

/// What a token is for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TokenScope {
    /// Acts as a user (`cri_pat_...`), with at most these rights.
    User {
        /// As whom.
        user: u64,
        /// No more than this role on any group; none for all that the user may do.
        at_most: Option<Role>,
    },
    /// Lets workers of a group connect and SDK clients find and trigger (`cri_wkr_...`).
    Worker {
        /// The group.
        group: GroupId,
    },
}

/// A token; only its hash is kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Token {
    /// Number.
    pub id: u64,
    /// What people call it.
    pub name: String,
    /// SHA-256 of the whole token text.
    pub hash: [u8; 32],
    /// Its first characters, to recognise it by.
    pub prefix: String,
    /// What it is for.
    pub scope: TokenScope,
    /// When made.
    pub created_at: Timestamp,
    /// By whom.
    pub created_by: String,
    /// When it ends; none for never.
    pub expires_at: Option<Timestamp>,
    /// When it was used last, to the minute.
    pub last_used_at: Option<Timestamp>,
}

/// One line of the audit trail.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AuditEntry {
    /// Number; 0 before it is stored.
    pub id: u64,
    /// When.
    pub at: Timestamp,
    /// Who: a user's name, a token's name, or `system`.
    pub actor: String,
    /// From where: an address.
    pub source: String,
    /// What, as a stable word: `job.update`.
    pub action: String,
    /// On what: `job/17`.
    pub target: String,
    /// The group concerned.
    pub group: Option<GroupId>,
    /// `ok`, or the problem's code.
    pub outcome: String,
    /// JSON before; secrets masked.
    pub before: Option<String>,
    /// JSON after; secrets masked.
    pub after: Option<String>,
}

/// Which audit entries to list. Empty fields do not restrict.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct AuditFilter {
    /// Only entries about these groups.
    pub groups: Option<Vec<GroupId>>,
    /// Only entries about this target.
    pub target: Option<String>,
    /// Only this actor's.
    pub actor: Option<String>,
    /// Only this action.
    pub action: Option<String>,
    /// Only this outcome: `ok` or the code of a refusal.
    pub outcome: Option<String>,
    /// Only entries at or later than this.
    pub from: Option<Timestamp>,
    /// Only entries earlier than this.
    pub to: Option<Timestamp>,
}

/// People, tokens, permissions and the audit trail.
#[async_trait]
pub trait AccountStore {
    /// Creates a user (`id` is ignored) and returns its number. Conflict when the name is taken.
    async fn create_user(&self, user: &User) -> Result<u64, StoreError>;
    /// Creates the first user, only when there is none; none when there is one.
    async fn create_first_user(&self, user: &User) -> Result<Option<u64>, StoreError>;
    /// Replaces a user where the revision is `user.revision - 1`. False when it is another one.
    async fn update_user(&self, user: &User) -> Result<bool, StoreError>;
    /// Deletes a user with grants, sessions and tokens. False when there is none.
    async fn delete_user(&self, user: u64) -> Result<bool, StoreError>;
    /// One user.
    async fn user(&self, user: u64) -> Result<Option<User>, StoreError>;
    /// A user by sign-in name, ignoring case.
    async fn user_by_name(&self, name: &str) -> Result<Option<User>, StoreError>;
    /// Users in number order, strictly after `after`, at most `limit`.
    async fn users(&self, after: Option<u64>, limit: usize) -> Result<Vec<User>, StoreError>;

    /// Grants a role, in place of an earlier one on the group.
    async fn grant(&self, grant: &Grant) -> Result<(), StoreError>;
    /// Withdraws. False when there was none.
    async fn revoke(&self, user: u64, group: GroupId) -> Result<bool, StoreError>;
    /// A user's grants.
    async fn grants_of_user(&self, user: u64) -> Result<Vec<Grant>, StoreError>;
    /// A group's grants.
    async fn grants_of_group(&self, group: GroupId) -> Result<Vec<Grant>, StoreError>;

    /// Begins a session.
    async fn create_session(&self, session: &Session) -> Result<(), StoreError>;
    /// A session by hash, expired or not.
    async fn session(&self, hash: &[u8; 32]) -> Result<Option<Session>, StoreError>;
    /// Ends a session; says whether it was there, so that of many who end it one knows that it was they.
    async fn delete_session(&self, hash: &[u8; 32]) -> Result<bool, StoreError>;
    /// A user's sessions that last beyond `now`, newest first.
    async fn sessions_of(&self, user: u64, now: Timestamp) -> Result<Vec<Session>, StoreError>;
    /// Deletes expired sessions, tokens and sign-in counts; returns how many.
    async fn expire_accounts(&self, now: Timestamp) -> Result<usize, StoreError>;

    /// Makes a token (`id` is ignored) and returns its number.
    async fn create_token(&self, token: &Token) -> Result<u64, StoreError>;
    /// A token by hash, expired or not.
    async fn token(&self, hash: &[u8; 32]) -> Result<Option<Token>, StoreError>;
    /// Tokens in number order, strictly after `after`, at most `limit`; of a user, of a group, or all.
    async fn tokens(
        &self,
        user: Option<u64>,
        group: Option<GroupId>,
        after: Option<u64>,
        limit: usize,
    ) -> Result<Vec<Token>, StoreError>;
    /// One token by number.
    async fn token_by_id(&self, id: u64) -> Result<Option<Token>, StoreError>;
    /// Deletes a token. False when there is none.
    async fn delete_token(&self, id: u64) -> Result<bool, StoreError>;
    /// Notes that tokens were used.
    async fn touch_tokens(&self, ids: &[u64], at: Timestamp) -> Result<(), StoreError>;

    /// Counts a sign-in failure for `key` (a name or an address) in the window that began at `window`; returns the count in it. Shared by
    /// all consoles.
    async fn count_sign_in_failure(&self, key: &str, window: Timestamp) -> Result<u32, StoreError>;
    /// The count of the window.
    async fn sign_in_failures(&self, key: &str, window: Timestamp) -> Result<u32, StoreError>;

    /// Appends to the audit trail.
    async fn append_audit(&self, entries: &[AuditEntry]) -> Result<(), StoreError>;
    /// Entries newest first, strictly before number `before`, at most `limit`.
    async fn audit(
        &self,
        filter: &AuditFilter,
        before: Option<u64>,
        limit: usize,
    ) -> Result<Vec<AuditEntry>, StoreError>;
}
