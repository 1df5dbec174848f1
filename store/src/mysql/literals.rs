//! Values as SQL text.
//!
//! Statements carry their values as literals: one round trip, no statement to prepare first, any number of rows. Numbers are written as
//! digits; texts and bytes in hexadecimal, in which no quote, escape or character set can be misread, whatever they hold.

use std::fmt::Write as _;

use crate::value::Value;

pub(super) fn push_literal(sql: &mut String, value: &Value) {
    match value {
        Value::Null => sql.push_str("NULL"),
        Value::Integer(number) => {
            let _ = write!(sql, "{number}");
        }
        Value::Text(text) => {
            sql.push_str("_utf8mb4 X'");
            push_hexadecimal(sql, text.as_bytes());
            sql.push('\'');
        }
        Value::Bytes(bytes) => {
            sql.push_str("X'");
            push_hexadecimal(sql, bytes);
            sql.push('\'');
        }
    }
}

fn push_hexadecimal(sql: &mut String, bytes: &[u8]) {
    const DIGITS: &[u8; 16] = b"0123456789ABCDEF";
    sql.reserve(bytes.len() * 2);
    for byte in bytes {
        sql.push(char::from(DIGITS[usize::from(byte >> 4)]));
        sql.push(char::from(DIGITS[usize::from(byte & 15)]));
    }
}

/// Puts literals in the place of question marks. The SQL of this crate has no question mark in any other place.
pub(super) fn with_literals(sql: &str, values: &[Value]) -> String {
    let mut parts = sql.split('?');
    let mut whole = parts.next().unwrap_or_default().to_owned();
    let mut values = values.iter();
    for part in parts {
        let value = values.next().expect("a statement has a value for each question mark");
        push_literal(&mut whole, value);
        whole.push_str(part);
    }
    assert!(values.next().is_none(), "a statement has a question mark for each value");
    whole
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::value::values;

    #[test]
    fn texts_cannot_end_their_literal() {
        let sql =
            with_literals("SELECT ?, ?, ?, ?", &values!["it's \\", -1, Option::<i64>::None, vec![0_u8, 255]]);
        assert_eq!(sql, "SELECT _utf8mb4 X'69742773205C', -1, NULL, X'00FF'");
    }

    #[test]
    #[should_panic(expected = "a question mark for each value")]
    fn values_without_a_place_are_a_mistake() {
        with_literals("SELECT ?", &values![1, 2]);
    }
}
