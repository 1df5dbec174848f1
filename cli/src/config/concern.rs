//! The macro that makes a concern: a struct, its keys, and how it is read.

/// One key of the configuration, as the file, the environment and `config print` know it.
#[derive(Debug)]
pub struct Key {
    /// The dotted name in the file: `store.url`.
    pub name: &'static str,
    /// What it means, for people: one sentence.
    pub help: &'static str,
    /// The text that stands when nobody says anything; empty for none.
    pub default: &'static str,
    /// What of it may be shown.
    pub secrecy: Secrecy,
}

/// What of a value may be shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Secrecy {
    /// All.
    Open,
    /// All but the password inside a URL.
    Password,
    /// Nothing but whether there is one.
    Whole,
}

impl Key {
    /// The environment variable that sets it: `CARILLON_STORE_URL`.
    pub fn variable(&self) -> String {
        format!("CARILLON_{}", self.name.replace('.', "_").to_uppercase())
    }

    /// A value of this key as it may be shown.
    pub fn masked(&self, text: &str) -> String {
        match self.secrecy {
            Secrecy::Open => text.to_owned(),
            Secrecy::Password => mask_password(text),
            Secrecy::Whole if text.is_empty() => String::new(),
            Secrecy::Whole => "***".to_owned(),
        }
    }
}

/// Replaces the password of `scheme://user:password@host`. The last `@` ends it: passwords with an `@` are masked whole.
fn mask_password(url: &str) -> String {
    let Some((scheme, rest)) = url.split_once("://") else { return url.to_owned() };
    let Some((credentials, host)) = rest.rsplit_once('@') else { return url.to_owned() };
    let user = credentials.split(':').next().unwrap_or_default();
    format!("{scheme}://{user}:***@{host}")
}

/// Declares a concern: the documented struct, its list of keys, and `read`, which fills it from the layers.
macro_rules! concern {
    (
        $(#[doc = $doc:literal])+
        pub struct $name:ident in $section:literal {
            $( $(#[doc = $help:literal])+ $field:ident : $type:ty = $default:literal $(, secret $secrecy:expr)? ; )+
        }
    ) => {
        $(#[doc = $doc])+
        #[derive(Debug, Clone, PartialEq)]
        pub struct $name {
            $( $(#[doc = $help])+ pub $field: $type, )+
        }

        impl $name {
            /// The keys of this concern.
            pub const KEYS: &'static [$crate::config::Key] = &[$(
                $crate::config::Key {
                    name: concat!($section, ".", stringify!($field)),
                    help: concat!($($help),+),
                    default: $default,
                    secrecy: concern!(@secrecy $($secrecy)?),
                },
            )+];

            fn read(layers: &$crate::config::Layers, errors: &mut Vec<$crate::config::ConfigError>) -> Self {
                Self { $( $field: layers.read(concat!($section, ".", stringify!($field)), errors), )+ }
            }
        }
    };
    (@secrecy) => { $crate::config::Secrecy::Open };
    (@secrecy $secrecy:expr) => { $secrecy };
}

pub(super) use concern;
