//! The commands on who may do what, and on what was done.

use carillon_core::time::Span;
use clap::{Args, Subcommand};

use super::{Limit, Remote};

/// Users: the people who sign in
#[derive(Debug, Args)]
#[command(after_help = "Example:\n  carillon user create lin --display-name 'Lin Wei'")]
pub(crate) struct UserArgs {
    #[command(flatten)]
    pub(crate) remote: Remote,
    #[command(subcommand)]
    pub(crate) action: UserAction,
}

#[derive(Debug, Subcommand)]
pub(crate) enum UserAction {
    /// List the users
    #[command(after_help = "Example:\n  carillon user list")]
    List {
        #[command(flatten)]
        limit: Limit,
    },
    /// Show one user
    #[command(after_help = "Example:\n  carillon user get lin")]
    Get {
        /// The sign-in name or the number
        user: String,
    },
    /// Create a user, with a password that is made up and shown once
    #[command(after_help = "Example:\n  carillon user create lin --display-name 'Lin Wei'")]
    Create {
        /// The sign-in name
        name: String,
        /// A name for people
        #[arg(long)]
        display_name: Option<String>,
        /// May do everything
        #[arg(long)]
        administrator: bool,
        /// Take the password from stdin instead
        #[arg(long)]
        password: bool,
    },
    /// Change a user
    #[command(after_help = "Example:\n  carillon user update lin --disabled true")]
    Update {
        /// The sign-in name or the number
        user: String,
        /// The new name for people
        #[arg(long)]
        display_name: Option<String>,
        /// Whether the user may do everything
        #[arg(long)]
        administrator: Option<bool>,
        /// Whether the user is kept from signing in
        #[arg(long)]
        disabled: Option<bool>,
        /// Set a new password, read from stdin
        #[arg(long)]
        password: bool,
    },
    /// Delete a user with grants, sessions and tokens
    #[command(after_help = "Example:\n  carillon user delete lin")]
    Delete {
        /// The sign-in name or the number
        user: String,
    },
}

/// Tokens: for programs that act as a user, and for workers
#[derive(Debug, Args)]
#[command(after_help = "Example:\n  carillon token create billing-workers --worker-of billing")]
pub(crate) struct TokenArgs {
    #[command(flatten)]
    pub(crate) remote: Remote,
    #[command(subcommand)]
    pub(crate) action: TokenAction,
}

#[derive(Debug, Subcommand)]
pub(crate) enum TokenAction {
    /// List the tokens; the tokens themselves are never shown again
    #[command(after_help = "Example:\n  carillon token list")]
    List {
        /// Only worker tokens of this group, by id or name
        #[arg(long)]
        group: Option<String>,
        #[command(flatten)]
        limit: Limit,
    },
    /// Make a token; it is printed once, on stdout
    #[command(after_help = "Examples:\n  carillon token create ci --at-most operator --expires-in 90d\n  \
                            carillon token create billing-workers --worker-of billing > worker.token")]
    Create {
        /// What people call it
        name: String,
        /// A worker token of this group, by id or name; otherwise a token that acts as you
        #[arg(long, value_name = "GROUP", conflicts_with = "at_most")]
        worker_of: Option<String>,
        /// No more than this role on any group: viewer, operator, developer or owner
        #[arg(long, value_name = "ROLE")]
        at_most: Option<String>,
        /// When it ends; never unless told
        #[arg(long, value_name = "DURATION")]
        expires_in: Option<Span>,
    },
    /// Delete a token: it stops working at once
    #[command(after_help = "Example:\n  carillon token delete 3")]
    Delete {
        /// Its number
        token: u64,
    },
}

/// Grants: roles of users on task groups
#[derive(Debug, Args)]
#[command(after_help = "Example:\n  carillon grant create lin billing operator")]
pub(crate) struct GrantArgs {
    #[command(flatten)]
    pub(crate) remote: Remote,
    #[command(subcommand)]
    pub(crate) action: GrantAction,
}

#[derive(Debug, Subcommand)]
pub(crate) enum GrantAction {
    /// List the grants of a group or of a user
    #[command(after_help = "Example:\n  carillon grant list --group billing")]
    List {
        /// The group, by id or name
        #[arg(long, required_unless_present = "user")]
        group: Option<String>,
        /// The user, by sign-in name or number
        #[arg(long)]
        user: Option<String>,
    },
    /// Give a role, in place of the one the user had on the group
    #[command(after_help = "Example:\n  carillon grant create lin billing operator")]
    Create {
        /// The user, by sign-in name or number
        user: String,
        /// The group, by id or name
        group: String,
        /// viewer, operator (trigger, pause), developer (edit) or owner (grant)
        role: String,
    },
    /// Withdraw a user's role on a group
    #[command(after_help = "Example:\n  carillon grant delete lin billing")]
    Delete {
        /// The user, by sign-in name or number
        user: String,
        /// The group, by id or name
        group: String,
    },
}

/// The audit trail: who changed what
#[derive(Debug, Args)]
#[command(after_help = "Example:\n  carillon audit list --actor lin --limit 20")]
pub(crate) struct AuditArgs {
    #[command(flatten)]
    pub(crate) remote: Remote,
    #[command(subcommand)]
    pub(crate) action: AuditAction,
}

#[derive(Debug, Subcommand)]
pub(crate) enum AuditAction {
    /// List the entries, newest first
    #[command(after_help = "Example:\n  carillon audit list --target job/17")]
    List {
        /// Only those about this group, by id or name
        #[arg(long)]
        group: Option<String>,
        /// Only those on this target, such as job/17
        #[arg(long)]
        target: Option<String>,
        /// Only this actor's
        #[arg(long)]
        actor: Option<String>,
        /// Only this action, such as job.update
        #[arg(long)]
        action: Option<String>,
        #[command(flatten)]
        limit: Limit,
    },
}
