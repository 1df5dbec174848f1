//! People, tokens, permissions and the audit trail.

use carillon_core::ids::GroupId;
use carillon_core::time::{Span, Timestamp};

use super::fixture::{CLUSTER, patiently};
use crate::accounts::{AuditEntry, AuditFilter, Grant, Role, Session, Token, TokenScope, User};
use crate::{SharedStore, StoreError};

/// A number that no other call gets, to make names of.
async fn unique(store: &SharedStore) -> u32 {
    store.next_group_number(CLUSTER).await.unwrap()
}

fn at(seconds: u64) -> Timestamp {
    Timestamp::from_millis(1_795_000_000_000) + Span::from_secs(seconds)
}

fn person(name: &str) -> User {
    User {
        id: 0,
        name: name.to_owned(),
        display_name: "\u{949f} O'Neill".to_owned(),
        password_hash: "$argon2id$v=19$m=19456,t=2,p=1$c2FsdA$aGFzaA".to_owned(),
        administrator: false,
        disabled: false,
        revision: 1,
        created_at: at(0),
    }
}

fn hash(number: u32, kind: u8) -> [u8; 32] {
    let mut hash = [kind; 32];
    hash[..4].copy_from_slice(&number.to_be_bytes());
    hash
}

/// Ada and ADA are one person; the name is shown as it was given.
pub async fn names_of_users_are_unique_whatever_the_case(store: SharedStore) {
    let number = unique(&store).await;
    let mut user = person(&format!("\u{c9}va.{number}"));
    user.id = store.create_user(&user).await.unwrap();
    assert!(user.id > 0);
    let refused = store.create_user(&person(&format!("\u{e9}VA.{number}"))).await.unwrap_err();
    assert!(matches!(refused, StoreError::Conflict { .. }), "{refused}");
    for name in [format!("\u{e9}va.{number}"), user.name.clone()] {
        assert_eq!(store.user_by_name(&name).await.unwrap(), Some(user.clone()));
    }
    assert_eq!(store.user_by_name(&format!("eva.{number}")).await.unwrap(), None);
    assert_eq!(store.user_by_name("' OR '1' = '1").await.unwrap(), None);
    assert_eq!(store.user(user.id).await.unwrap(), Some(user.clone()));
    let page = store.users(Some(user.id - 1), 1).await.unwrap();
    assert_eq!(page, [user]);
}

/// Three consoles start at once on an empty store: one makes the administrator.
pub async fn of_many_first_users_one_is_created(store: SharedStore) {
    let number = unique(&store).await;
    let empty = store.users(None, 1).await.unwrap().is_empty();
    let creating: Vec<_> = (0..8)
        .map(|index| {
            let (store, user) = (store.clone(), person(&format!("first.{number}.{index}")));
            tokio::spawn(async move { patiently(|| store.create_first_user(&user)).await })
        })
        .collect();
    let mut created = 0;
    for one in creating {
        created += u32::from(one.await.unwrap().is_some());
    }
    assert_eq!(created, u32::from(empty));
    assert!(!store.users(None, 1).await.unwrap().is_empty());
}

/// A change needs the revision that was read; a deletion takes grants, sessions and tokens along.
pub async fn a_user_changes_by_revision_and_goes_with_all_it_has(store: SharedStore) {
    let number = unique(&store).await;
    let mut user = person(&format!("leaving.{number}"));
    user.id = store.create_user(&user).await.unwrap();
    let other = person(&format!("staying.{number}"));
    store.create_user(&other).await.unwrap();
    let group = GroupId::new(CLUSTER, 1, 2, number).unwrap();
    user.revision = 2;
    user.administrator = true;
    user.display_name = "x".repeat(200);
    assert!(store.update_user(&user).await.unwrap());
    assert!(!store.update_user(&user).await.unwrap());
    assert_eq!(store.user(user.id).await.unwrap(), Some(user.clone()));
    let mut renamed = user.clone();
    renamed.revision = 3;
    renamed.name = other.name.to_uppercase();
    let refused = store.update_user(&renamed).await.unwrap_err();
    assert!(matches!(refused, StoreError::Conflict { .. }), "{refused}");

    let grant =
        Grant { user: user.id, group, role: Role::Owner, granted_at: at(1), granted_by: "ada".to_owned() };
    store.grant(&grant).await.unwrap();
    let session = session(number, user.id, at(100));
    store.create_session(&session).await.unwrap();
    let mut token = token(number, 1, TokenScope::User { user: user.id, at_most: None });
    token.id = store.create_token(&token).await.unwrap();
    assert!(store.delete_user(user.id).await.unwrap());
    assert!(!store.delete_user(user.id).await.unwrap());
    assert_eq!(store.user(user.id).await.unwrap(), None);
    assert_eq!(store.grants_of_user(user.id).await.unwrap(), []);
    assert_eq!(store.grants_of_group(group).await.unwrap(), []);
    assert_eq!(store.session(&session.hash).await.unwrap(), None);
    assert_eq!(store.token_by_id(token.id).await.unwrap(), None);
}

/// One role for each user and group.
pub async fn grants_replace_each_other(store: SharedStore) {
    let number = unique(&store).await;
    let group = |server_group: u32| GroupId::new(CLUSTER, server_group, 2, number).unwrap();
    let user = u64::from(number) + 1_000_000_000;
    let grant = |user: u64, group: GroupId, role: Role| Grant {
        user,
        group,
        role,
        granted_at: at(1),
        granted_by: "ada".to_owned(),
    };
    let (viewer, owner) = (grant(user, group(1), Role::Viewer), grant(user, group(1), Role::Owner));
    let (elsewhere, colleague) =
        (grant(user, group(2), Role::Operator), grant(user + 1, group(1), Role::Developer));
    for grant in [&viewer, &elsewhere, &colleague, &owner] {
        store.grant(grant).await.unwrap();
    }
    assert_eq!(store.grants_of_user(user).await.unwrap(), [owner.clone(), elsewhere]);
    assert_eq!(store.grants_of_group(group(1)).await.unwrap(), [owner, colleague.clone()]);
    assert!(store.revoke(user, group(1)).await.unwrap());
    assert!(!store.revoke(user, group(1)).await.unwrap());
    assert_eq!(store.grants_of_group(group(1)).await.unwrap(), [colleague]);
}

fn session(number: u32, user: u64, expires_at: Timestamp) -> Session {
    Session {
        hash: hash(number, 9),
        user,
        user_revision: 1,
        csrf: "csrf'\"".to_owned(),
        created_at: at(0),
        expires_at,
    }
}

fn token(number: u32, kind: u8, scope: TokenScope) -> Token {
    Token {
        id: 0,
        name: "ci".to_owned(),
        hash: hash(number, kind),
        prefix: "cri_pat_ab".to_owned(),
        scope,
        created_at: at(0),
        created_by: "ada".to_owned(),
        expires_at: None,
        last_used_at: None,
    }
}

/// An expired one is still found, so that its holder hears why; then it is swept.
pub async fn sessions_and_tokens_expire(store: SharedStore) {
    let number = unique(&store).await;
    // In the past of every other promise, so that sweeping it takes nothing of theirs.
    let past = |seconds: u64| Timestamp::from_millis(100_000_000_000) + Span::from_secs(seconds);
    let short = session(number, 1, past(10));
    store.create_session(&short).await.unwrap();
    let mut temporary = token(number, 2, TokenScope::User { user: 1, at_most: Some(Role::Operator) });
    temporary.expires_at = Some(past(20));
    temporary.id = store.create_token(&temporary).await.unwrap();
    assert_eq!(store.session(&short.hash).await.unwrap(), Some(short.clone()));
    store.expire_accounts(past(9)).await.unwrap();
    assert_eq!(store.session(&short.hash).await.unwrap(), Some(short.clone()));
    assert!(store.expire_accounts(past(10)).await.unwrap() >= 1);
    assert_eq!(store.session(&short.hash).await.unwrap(), None);
    assert_eq!(store.token(&temporary.hash).await.unwrap(), Some(temporary.clone()));
    assert!(store.expire_accounts(past(20)).await.unwrap() >= 1);
    assert_eq!(store.token(&temporary.hash).await.unwrap(), None);

    let long = session(number, 1, at(1_000_000));
    store.create_session(&long).await.unwrap();
    let mine = store.sessions_of(long.user, long.created_at).await.unwrap();
    assert!(mine.contains(&long), "{mine:?}");
    assert!(!store.sessions_of(long.user, long.expires_at).await.unwrap().contains(&long), "over");
    assert!(store.delete_session(&long.hash).await.unwrap());
    assert!(!store.delete_session(&long.hash).await.unwrap(), "once");
    assert_eq!(store.session(&long.hash).await.unwrap(), None);
}

/// By hash, number, user and group; their last use to the minute.
pub async fn tokens_are_found_and_touched(store: SharedStore) {
    let number = unique(&store).await;
    let user = u64::from(number) + 2_000_000_000;
    let group = GroupId::new(CLUSTER, 1, 2, number).unwrap();
    let mut personal = token(number, 3, TokenScope::User { user, at_most: Some(Role::Viewer) });
    let mut worker = token(number, 4, TokenScope::Worker { group });
    worker.expires_at = Some(at(1_000_000));
    personal.id = store.create_token(&personal).await.unwrap();
    worker.id = store.create_token(&worker).await.unwrap();
    assert!(worker.id > personal.id);
    assert_eq!(store.token(&personal.hash).await.unwrap(), Some(personal.clone()));
    assert_eq!(store.token_by_id(worker.id).await.unwrap(), Some(worker.clone()));
    assert_eq!(store.token(&hash(number, 5)).await.unwrap(), None);
    let list = async |user, group| store.tokens(user, group, Some(personal.id - 1), 10).await.unwrap();
    assert_eq!(list(Some(user), None).await, [personal.clone()]);
    assert_eq!(list(None, Some(group)).await, [worker.clone()]);
    assert_eq!(list(Some(user), Some(group)).await, []);
    assert_eq!(store.tokens(None, None, Some(personal.id - 1), 1).await.unwrap(), [personal.clone()]);

    let minute = at(0).floor(Span::from_secs(60)) + Span::from_secs(600);
    store.touch_tokens(&[worker.id, personal.id, 0], minute + Span::from_secs(59)).await.unwrap();
    store.touch_tokens(&[worker.id], minute - Span::from_secs(1)).await.unwrap();
    for id in [worker.id, personal.id] {
        assert_eq!(
            store.token_by_id(id).await.unwrap().unwrap().last_used_at,
            Some(minute),
            "it never goes back"
        );
    }
    assert!(store.delete_token(worker.id).await.unwrap());
    assert!(!store.delete_token(worker.id).await.unwrap());
}

/// Whichever console counts, and however long the name that somebody typed.
pub async fn sign_in_failures_are_counted_together(store: SharedStore) {
    let key = format!("ada'--{}", unique(&store).await);
    let counting: Vec<_> = (0..10)
        .map(|_| {
            let (store, key) = (store.clone(), key.clone());
            tokio::spawn(async move { patiently(|| store.count_sign_in_failure(&key, at(0))).await })
        })
        .collect();
    let mut counts = Vec::new();
    for counted in counting {
        counts.push(counted.await.unwrap());
    }
    counts.sort_unstable();
    assert_eq!(counts, (1..=10).collect::<Vec<u32>>());
    assert_eq!(store.sign_in_failures(&key, at(0)).await.unwrap(), 10);
    assert_eq!(store.sign_in_failures(&key, at(60)).await.unwrap(), 0);
    let long = format!("{key}{}", "\u{949f}".repeat(5_000));
    assert_eq!(store.count_sign_in_failure(&long, at(0)).await.unwrap(), 1);
}

/// Newest first, in pages, by group, target, actor and action.
pub async fn the_audit_trail_is_read_backwards_by_filter(store: SharedStore) {
    let number = unique(&store).await;
    let group = GroupId::new(CLUSTER, 1, 2, number).unwrap();
    let entry = |action: &str, target: u32, of_group: bool| AuditEntry {
        id: 0,
        at: at(u64::from(target)),
        actor: format!("ada.{number}"),
        source: "127.0.0.1".to_owned(),
        action: action.to_owned(),
        target: format!("job/{number}.{target}"),
        group: of_group.then_some(group),
        outcome: "ok".to_owned(),
        before: None,
        after: Some("{\"name\":\"\u{949f}'\"}".to_owned()),
    };
    let entries = [
        entry("job.create", 1, true),
        entry("job.update", 1, true),
        entry("job.update", 2, true),
        entry("user.update", 3, false),
    ];
    store.append_audit(&entries[..2]).await.unwrap();
    store.append_audit(&entries[2..]).await.unwrap();
    let mine = || AuditFilter { actor: Some(format!("ada.{number}")), ..AuditFilter::default() };
    for (filter, expected) in [
        (mine(), vec![3, 2, 1, 0]),
        (AuditFilter { groups: Some(vec![group]), ..mine() }, vec![2, 1, 0]),
        (AuditFilter { groups: Some(Vec::new()), ..mine() }, vec![]),
        (AuditFilter { action: Some("job.update".to_owned()), ..mine() }, vec![2, 1]),
        (AuditFilter { target: Some(format!("job/{number}.1")), ..AuditFilter::default() }, vec![1, 0]),
    ] {
        let found = store.audit(&filter, None, 10).await.unwrap();
        assert!(found.is_sorted_by_key(|entry| std::cmp::Reverse(entry.id)));
        let found: Vec<AuditEntry> = found.into_iter().map(|entry| AuditEntry { id: 0, ..entry }).collect();
        let expected: Vec<AuditEntry> =
            expected.into_iter().map(|index: usize| entries[index].clone()).collect();
        assert_eq!(found, expected, "{filter:?}");
    }
    let newest = store.audit(&mine(), None, 1).await.unwrap().remove(0);
    let next = store.audit(&mine(), Some(newest.id), 1).await.unwrap().remove(0);
    assert_eq!(next.target, entries[2].target);
}
