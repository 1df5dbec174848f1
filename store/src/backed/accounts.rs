//! Accounts, for every backend.

use std::sync::Arc;

use async_trait::async_trait;
use carillon_core::ids::GroupId;
use carillon_core::time::Timestamp;

use crate::StoreError;
use crate::accounts::{AccountStore, AuditEntry, AuditFilter, Grant, Session, Token, User};
use crate::database::Backend;
use crate::sql::{accounts, audit, tokens};

#[async_trait]
impl<B: Backend> AccountStore for B {
    async fn create_user(&self, user: &User) -> Result<u64, StoreError> {
        let user = Arc::new(user.clone());
        self.write("create the user", move |db| Box::pin(accounts::create_user(db, user.clone()))).await
    }

    async fn create_first_user(&self, user: &User) -> Result<Option<u64>, StoreError> {
        let user = Arc::new(user.clone());
        self.write("create the first user", move |db| Box::pin(accounts::create_first_user(db, user.clone())))
            .await
    }

    async fn update_user(&self, user: &User) -> Result<bool, StoreError> {
        let user = Arc::new(user.clone());
        self.write("change the user", move |db| Box::pin(accounts::update_user(db, user.clone()))).await
    }

    async fn delete_user(&self, user: u64) -> Result<bool, StoreError> {
        self.write("delete the user", move |db| Box::pin(accounts::delete_user(db, user))).await
    }

    async fn user(&self, user: u64) -> Result<Option<User>, StoreError> {
        self.read("read the user", move |db| Box::pin(accounts::user(db, user))).await
    }

    async fn user_by_name(&self, name: &str) -> Result<Option<User>, StoreError> {
        let name: Arc<str> = name.into();
        self.read("read the user", move |db| Box::pin(accounts::user_by_name(db, name.clone()))).await
    }

    async fn users(&self, after: Option<u64>, limit: usize) -> Result<Vec<User>, StoreError> {
        self.read("list the users", move |db| Box::pin(accounts::users(db, after, limit))).await
    }

    async fn grant(&self, grant: &Grant) -> Result<(), StoreError> {
        let grant = Arc::new(grant.clone());
        self.write("grant the role", move |db| Box::pin(accounts::grant(db, grant.clone()))).await
    }

    async fn revoke(&self, user: u64, group: GroupId) -> Result<bool, StoreError> {
        self.write("revoke the role", move |db| Box::pin(accounts::revoke(db, user, group))).await
    }

    async fn grants_of_user(&self, user: u64) -> Result<Vec<Grant>, StoreError> {
        self.read("read the user's grants", move |db| Box::pin(accounts::grants_of_user(db, user))).await
    }

    async fn grants_of_group(&self, group: GroupId) -> Result<Vec<Grant>, StoreError> {
        self.read("read the task group's grants", move |db| Box::pin(accounts::grants_of_group(db, group)))
            .await
    }

    async fn create_session(&self, session: &Session) -> Result<(), StoreError> {
        let session = Arc::new(session.clone());
        self.write("begin the session", move |db| Box::pin(accounts::create_session(db, session.clone())))
            .await
    }

    async fn session(&self, hash: &[u8; 32]) -> Result<Option<Session>, StoreError> {
        let hash = *hash;
        self.read("read the session", move |db| Box::pin(accounts::session(db, hash))).await
    }

    async fn delete_session(&self, hash: &[u8; 32]) -> Result<bool, StoreError> {
        let hash = *hash;
        self.write("end the session", move |db| Box::pin(accounts::delete_session(db, hash))).await
    }

    async fn sessions_of(&self, user: u64, now: Timestamp) -> Result<Vec<Session>, StoreError> {
        self.read("read the user's sessions", move |db| Box::pin(accounts::sessions_of(db, user, now))).await
    }

    async fn expire_accounts(&self, now: Timestamp) -> Result<usize, StoreError> {
        self.write("delete what has expired", move |db| Box::pin(accounts::expire_accounts(db, now))).await
    }

    async fn create_token(&self, token: &Token) -> Result<u64, StoreError> {
        let token = Arc::new(token.clone());
        self.write("make the token", move |db| Box::pin(tokens::create_token(db, token.clone()))).await
    }

    async fn token(&self, hash: &[u8; 32]) -> Result<Option<Token>, StoreError> {
        let hash = *hash;
        self.read("read the token", move |db| Box::pin(tokens::token(db, hash))).await
    }

    async fn tokens(
        &self,
        user: Option<u64>,
        group: Option<GroupId>,
        after: Option<u64>,
        limit: usize,
    ) -> Result<Vec<Token>, StoreError> {
        self.read("list the tokens", move |db| Box::pin(tokens::tokens(db, user, group, after, limit))).await
    }

    async fn token_by_id(&self, id: u64) -> Result<Option<Token>, StoreError> {
        self.read("read the token", move |db| Box::pin(tokens::token_by_id(db, id))).await
    }

    async fn delete_token(&self, id: u64) -> Result<bool, StoreError> {
        self.write("delete the token", move |db| Box::pin(tokens::delete_token(db, id))).await
    }

    async fn touch_tokens(&self, ids: &[u64], at: Timestamp) -> Result<(), StoreError> {
        let ids: Arc<[u64]> = ids.into();
        self.write("note the use of tokens", move |db| Box::pin(tokens::touch_tokens(db, ids.clone(), at)))
            .await
    }

    async fn count_sign_in_failure(&self, key: &str, window: Timestamp) -> Result<u32, StoreError> {
        let key: Arc<str> = key.into();
        self.write("count the sign-in failure", move |db| {
            Box::pin(accounts::count_sign_in_failure(db, key.clone(), window))
        })
        .await
    }

    async fn sign_in_failures(&self, key: &str, window: Timestamp) -> Result<u32, StoreError> {
        let key: Arc<str> = key.into();
        self.read("read the sign-in failures", move |db| {
            Box::pin(accounts::sign_in_failures(db, key.clone(), window))
        })
        .await
    }

    async fn append_audit(&self, entries: &[AuditEntry]) -> Result<(), StoreError> {
        let entries: Arc<[AuditEntry]> = entries.into();
        self.write("append to the audit trail", move |db| Box::pin(audit::append_audit(db, entries.clone())))
            .await
    }

    async fn audit(
        &self,
        filter: &AuditFilter,
        before: Option<u64>,
        limit: usize,
    ) -> Result<Vec<AuditEntry>, StoreError> {
        let filter = Arc::new(filter.clone());
        self.read("read the audit trail", move |db| Box::pin(audit::audit(db, filter.clone(), before, limit)))
            .await
    }
}
