//! Keeps secrets out of logs: values are masked by their keys.

use std::borrow::Cow;

const MASK: &str = "***";

/// Parts of keys whose values are secrets, in lower case without `_` and `-`.
const SECRET: [&str; 9] = [
    "password",
    "passwd",
    "secret",
    "token",
    "authorization",
    "apikey",
    "credential",
    "privatekey",
    "cookie",
];

/// Whether a field of that name holds a secret.
pub(super) fn is_secret(key: &str) -> bool {
    let plain: String =
        key.chars().filter(|c| !matches!(c, '_' | '-')).map(|c| c.to_ascii_lowercase()).collect();
    SECRET.iter().any(|secret| plain.contains(secret))
}

/// Masks `key=value`, `key: value` and `"key":"value"` in a text, where the key names a secret.
pub(super) fn mask(text: &str) -> Cow<'_, str> {
    let mut masked = String::new();
    let mut copied = 0;
    let mut from = 0;
    while let Some(sign) = text[from..].find(['=', ':']).map(|at| from + at) {
        from = sign + 1;
        let key = text[..sign].trim_end_matches(['"', '\'', ' ']);
        let key_start = key
            .rfind(|c: char| !(c.is_ascii_alphanumeric() || matches!(c, '_' | '-')))
            .map_or(0, |at| at + key[at..].chars().next().map_or(1, char::len_utf8));
        if key_start < copied || !is_secret(&key[key_start..]) {
            continue;
        }
        let Some((start, end)) = value_after(text, sign + 1) else { continue };
        masked.push_str(&text[copied..start]);
        masked.push_str(MASK);
        copied = end;
        from = end;
    }
    if copied == 0 {
        return Cow::Borrowed(text);
    }
    masked.push_str(&text[copied..]);
    Cow::Owned(masked)
}

fn value_after(text: &str, from: usize) -> Option<(usize, usize)> {
    let mut start = from + (text[from..].len() - text[from..].trim_start_matches(' ').len());
    for scheme in ["Bearer ", "bearer ", "Basic ", "basic "] {
        let rest = text[start..].trim_start_matches(['"', '\'']);
        if rest.starts_with(scheme) {
            start = text.len() - rest.len() + scheme.len();
        }
    }
    let quote = text[start..].chars().next().filter(|c| matches!(c, '"' | '\''));
    let (start, stop): (usize, Box<dyn Fn(char) -> bool>) = match quote {
        Some(quote) => (start + 1, Box::new(move |c| c == quote)),
        None => {
            (start, Box::new(|c: char| c.is_whitespace() || matches!(c, ',' | ';' | '}' | ')' | '"' | '&')))
        }
    };
    let end = text[start..].find(stop).map_or(text.len(), |at| start + at);
    (end > start).then_some((start, end))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn values_of_secret_keys_are_masked_wherever_they_stand() {
        for (text, masked) in [
            ("login password=hunter2 ok", "login password=*** ok"),
            ("api_key: abc, next", "api_key: ***, next"),
            (r#"{"token":"abc","day":"1"}"#, r#"{"token":"***","day":"1"}"#),
            ("Authorization: Bearer abc.def", "Authorization: Bearer ***"),
            ("https://x/?access_token=abc&y=1", "https://x/?access_token=***&y=1"),
            ("db_password='a b' user=c", "db_password='***' user=c"),
        ] {
            assert_eq!(mask(text), masked);
        }
    }

    #[test]
    fn other_text_is_left_alone() {
        for text in ["", "a=b c: d", "the token ring", "12:30:00 ünïcode=ü", "password="] {
            assert_eq!(mask(text), text);
        }
    }

    #[test]
    fn field_names_are_judged_without_their_separators() {
        for key in ["password", "API-Key", "clientSecret", "x_auth_token", "PRIVATE_KEY"] {
            assert!(is_secret(key), "{key}");
        }
        assert!(!is_secret("shop"));
    }

    proptest! {
        #[test]
        fn no_text_makes_it_panic_and_no_secret_survives(before in "\\PC{0,20}", secret in "[a-z0-9]{4,12}", after in "\\PC{0,20}") {
            mask(&before);
            let text = format!("{before} password={secret}ZZ {after}");
            let marked = format!("password={secret}ZZ");
            prop_assert!(!mask(&text).contains(&marked));
        }
    }
}
