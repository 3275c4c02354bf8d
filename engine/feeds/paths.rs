//! Paths into JSON, as configurations write them, and one walk over a text that finds many of them.
//!
//! A path is names and positions with dots between: `data.0.b` is the member `b` of the first element of the member
//! `data`. Positions count from 0; a name of digits is written the same. A dot in a name is written `\.`, a backslash
//! `\\`. `$` alone is the whole text, and `$.` in front of a path says that it starts there.

use super::json::{Cursor, Step};

/// Most names of one path: deeper ones would not be walked.
const SEGMENTS_MAX: usize = 16;

/// A path.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Path {
    segments: Vec<Box<[u8]>>,
    /// It began with `$`.
    rooted: bool,
}

impl Path {
    /// Reads a path.
    ///
    /// # Errors
    /// One sentence with the text and what was expected.
    pub fn parse(text: &str) -> Result<Path, String> {
        let wrong =
            || format!("\"{text}\" is not a path, expected names and positions with dots between, such as data.0.bid");
        let (rooted, rest) = match text.strip_prefix('$') {
            Some("") => return Ok(Path { segments: Vec::new(), rooted: true }),
            Some(rest) => (true, rest.strip_prefix('.').ok_or_else(wrong)?),
            None => (false, text),
        };
        let (mut segments, mut segment) = (Vec::new(), Vec::new());
        let mut bytes = rest.bytes();
        while let Some(byte) = bytes.next() {
            match byte {
                b'.' => segments.push(std::mem::take(&mut segment)),
                b'\\' => segment.push(bytes.next().filter(|b| matches!(b, b'.' | b'\\')).ok_or_else(wrong)?),
                // Somebody's other syntax, which must not silently find nothing.
                b'[' | b']' => return Err(wrong()),
                other => segment.push(other),
            }
        }
        segments.push(segment);
        if segments.len() > SEGMENTS_MAX || segments.iter().any(Vec::is_empty) {
            return Err(wrong());
        }
        Ok(Path { segments: segments.into_iter().map(Vec::into_boxed_slice).collect(), rooted })
    }

    /// Whether it says that it starts at the whole text.
    #[must_use]
    pub fn is_rooted(&self) -> bool {
        self.rooted
    }
}

/// Many paths, found in one walk.
#[derive(Debug, Clone, Default)]
pub struct Plan {
    root: Node,
}

#[derive(Debug, Clone, Default)]
struct Node {
    /// Which answers the value here is.
    slots: Vec<usize>,
    children: Vec<Child>,
}

#[derive(Debug, Clone)]
struct Child {
    name: Box<[u8]>,
    /// The name as a position.
    position: Option<usize>,
    node: Node,
}

impl Plan {
    /// Adds a path whose value is to be answer number `slot`.
    pub fn add(&mut self, path: &Path, slot: usize) {
        let mut node = &mut self.root;
        for name in &path.segments {
            let at = node.children.iter().position(|child| child.name == *name).unwrap_or_else(|| {
                let position = std::str::from_utf8(name).ok().and_then(|text| text.parse().ok());
                node.children.push(Child { name: name.clone(), position, node: Node::default() });
                node.children.len() - 1
            });
            node = &mut node.children[at].node;
        }
        node.slots.push(slot);
    }

    /// Walks the whole of `text` and puts the text of each value that a path leads to into its slot of `found`. What is
    /// not there leaves its slot alone; of a name that comes twice the last counts. Allocates for names with escapes.
    ///
    /// # Errors
    /// When the text is not one JSON value.
    pub fn walk<'a>(&self, text: &'a [u8], found: &mut [Option<&'a [u8]>]) -> Step<()> {
        let mut cursor = Cursor::new(text);
        walk(&self.root, &mut cursor, found)?;
        cursor.end()
    }
}

fn walk<'a>(node: &Node, cursor: &mut Cursor<'a>, found: &mut [Option<&'a [u8]>]) -> Step<()> {
    if !node.slots.is_empty() {
        let raw = cursor.clone().raw()?;
        for slot in &node.slots {
            if let Some(place) = found.get_mut(*slot) {
                *place = Some(raw);
            }
        }
    }
    match cursor.peek() {
        _ if node.children.is_empty() => cursor.skip(),
        b'{' => cursor.object(|key, c| match node.children.iter().find(|child| *child.name == *key) {
            Some(child) => walk(&child.node, c, found),
            None => c.skip(),
        }),
        b'[' => {
            let mut at = 0;
            cursor.array(|c| {
                let child = node.children.iter().find(|child| child.position == Some(at));
                at += 1;
                match child {
                    Some(child) => walk(&child.node, c, found),
                    None => c.skip(),
                }
            })
        }
        _ => cursor.skip(),
    }
}

/// The text of a value without the quotes of a string; `None` for `null`. Escapes are left as they are.
#[must_use]
pub fn plain(raw: &[u8]) -> Option<&[u8]> {
    match raw {
        b"null" => None,
        [b'"', inner @ .., b'"'] => Some(inner),
        other => Some(other),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use proptest::prelude::*;

    fn find<'a>(paths: &[&str], text: &'a str) -> Vec<Option<&'a str>> {
        let mut plan = Plan::default();
        paths.iter().enumerate().for_each(|(slot, path)| plan.add(&Path::parse(path).unwrap(), slot));
        let mut found = vec![None; paths.len()];
        plan.walk(text.as_bytes(), &mut found).unwrap();
        found.into_iter().map(|raw| raw.map(|raw| std::str::from_utf8(raw).unwrap())).collect()
    }

    #[test]
    fn values_are_found_by_name_and_position_with_their_text_unchanged() {
        let text = r#" {"a":{"b":[1.10,"x",{"c":null}],"0":7},"d.e":true,"a2":[]} "#;
        assert_eq!(
            find(&["a.b.0", "a.b.1", "a.b.2.c", "a.0", r"d\.e", "a.b.9", "a.b.x", "a2", "$.a.b.0", "a.b.0.z"], text),
            [
                Some("1.10"),
                Some("\"x\""),
                Some("null"),
                Some("7"),
                Some("true"),
                None,
                None,
                Some("[]"),
                Some("1.10"),
                None
            ]
        );
        assert_eq!(find(&["$", "0"], "[1, 2]"), [Some("[1, 2]"), Some("1")]);
        // A value and what lies in it, both.
        assert_eq!(find(&["a", "a.b"], r#"{"a":{"b":1}}"#), [Some(r#"{"b":1}"#), Some("1")]);
        assert_eq!(find(&["a"], r#"{"a":1,"a":2}"#), [Some("2")]);
    }

    #[test]
    fn what_is_no_path_says_so() {
        for text in ["", ".", "a.", "a..b", "a[0]", "$a", "$.", r"a\b", &"a.".repeat(40)] {
            let error = Path::parse(text).unwrap_err();
            assert!(error.contains("is not a path, expected names and positions"), "{text}: {error}");
        }
        assert!(Path::parse("$.a").unwrap().is_rooted() && !Path::parse("a").unwrap().is_rooted());
    }

    proptest! {
        #[test]
        fn finds_what_a_document_tree_finds(
            keys in proptest::collection::vec("[a-c]", 1..4),
            values in proptest::collection::vec((proptest::collection::vec("[a-c]", 1..4), -1_000_i64..1_000), 0..8),
        ) {
            let mut tree = serde_json::json!({});
            for (path, value) in &values {
                let mut node = &mut tree;
                for key in path {
                    if !node.is_object() {
                        *node = serde_json::json!({});
                    }
                    node = &mut node[key.as_str()];
                }
                *node = serde_json::json!({ "v": value });
            }
            let path = format!("{}.v", keys.join("."));
            let expected = tree.pointer(&format!("/{}", path.replace('.', "/"))).map(ToString::to_string);
            let text = tree.to_string();
            prop_assert_eq!(find(&[&path], &text)[0].map(String::from), expected);
        }

        #[test]
        fn no_text_panics(text in proptest::collection::vec(any::<u8>(), 0..200), path in ".{0,20}") {
            if let Ok(path) = Path::parse(&path) {
                let mut plan = Plan::default();
                plan.add(&path, 0);
                let _ = plan.walk(&text, &mut [None]);
            }
        }
    }
}
