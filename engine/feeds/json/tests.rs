#![allow(clippy::unwrap_used)]
use super::*;
use proptest::prelude::*;

/// The document tree of a text, read with the cursor; numbers as their text.
fn tree(cursor: &mut Cursor<'_>) -> Step<serde_json::Value> {
    use serde_json::Value;
    cursor.space();
    Ok(match cursor.bytes.get(cursor.at) {
        Some(b'{') => {
            let mut map = serde_json::Map::new();
            cursor.object(|key, c| {
                map.insert(String::from_utf8(key.to_vec()).unwrap(), tree(c)?);
                Ok(())
            })?;
            Value::Object(map)
        }
        Some(b'[') => {
            let mut items = Vec::new();
            cursor.array(|c| {
                items.push(tree(c)?);
                Ok(())
            })?;
            Value::Array(items)
        }
        Some(b'"') => Value::String(String::from_utf8(cursor.text()?.into_owned()).unwrap()),
        Some(b't' | b'f') => Value::Bool(cursor.boolean()?),
        Some(b'n') => {
            assert!(cursor.null());
            Value::Null
        }
        _ => serde_json::from_slice(cursor.number()?).map_err(|_| Malformed("a number"))?,
    })
}

fn any_json() -> impl Strategy<Value = serde_json::Value> {
    use serde_json::Value;
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<String>().prop_map(Value::from),
    ];
    leaf.prop_recursive(4, 32, 6, |inner| {
        prop_oneof![
            proptest::collection::vec(inner.clone(), 0..6).prop_map(Value::from),
            proptest::collection::vec((any::<String>(), inner), 0..6)
                .prop_map(|f| Value::Object(f.into_iter().collect())),
        ]
    })
}

proptest! {
    #[test]
    fn reads_what_the_general_parser_reads(value in any_json(), pretty in any::<bool>()) {
        let text = if pretty { serde_json::to_string_pretty(&value) } else { serde_json::to_string(&value) }.unwrap();
        let mut cursor = Cursor::new(text.as_bytes());
        prop_assert_eq!(tree(&mut cursor).unwrap(), value);
        prop_assert_eq!(cursor.end(), Ok(()));
        let mut skipping = Cursor::new(text.as_bytes());
        prop_assert_eq!(skipping.skip().and_then(|()| skipping.end()), Ok(()));
    }

    #[test]
    fn a_cut_message_is_an_error(value in any_json(), cut in 0.0..1.0_f64) {
        let text = serde_json::to_string(&serde_json::json!({ "a": value })).unwrap();
        let length = (text.len() as f64 * cut) as usize;
        let mut cursor = Cursor::new(&text.as_bytes()[..length]);
        prop_assert!(cursor.skip().is_err());
    }

    #[test]
    fn no_bytes_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        let mut cursor = Cursor::new(&bytes);
        let _ = (cursor.skip(), cursor.until_quote(), cursor.digits(), cursor.text(), cursor.number());
    }
}

#[test]
fn nesting_is_bounded() {
    let deep = "[".repeat(100_000);
    assert_eq!(Cursor::new(deep.as_bytes()).skip(), Err(Malformed("less nesting")));
}

#[test]
fn numbers_keep_their_digits() {
    let mut seen = Vec::new();
    Cursor::new(br#"{"a":1.0851,"b":"25.35190000","c":1e-5}"#)
        .object(|_, c| {
            seen.push(String::from_utf8_lossy(c.number()?).into_owned());
            Ok(())
        })
        .unwrap();
    assert_eq!(seen, ["1.0851", "25.35190000", "1e-5"]);
}
