//! `schemas/openapi.json` is what the engine answers: the types of the console's pages are made of it, and a change of
//! the API shows in a review.
#![allow(clippy::unwrap_used)]

mod engine_support;

use std::path::Path;

use engine_support::{Engine, QUIET, http};
use serde_json::Value;

#[test]
fn the_document_in_the_tree_is_what_the_engine_answers() {
    let engine = Engine::start(QUIET);
    let (status, body) = http(engine.console(), "GET", "/api/openapi.json");
    assert_eq!(status, 200, "{body}");
    let answered: Value = serde_json::from_str(&body).unwrap();
    let kept = std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("schemas/openapi.json")).unwrap();
    // Text that is not even JSON is mended in the same way.
    let kept: Value = serde_json::from_str(&kept).unwrap_or_default();
    let wanted = Path::new(env!("CARGO_TARGET_TMPDIR")).join("openapi.json");
    if answered != kept {
        std::fs::write(&wanted, format!("{answered:#}\n")).unwrap();
    }
    assert!(
        answered == kept,
        "the API is no longer what schemas/openapi.json says. If that is meant, take over what the engine answers, look \
         at it with `git diff`, and build again, since the types of the pages come from it:\n  cp {} schemas/openapi.json",
        wanted.display()
    );
}
