//! Builds the console's pages and writes the table that the engine serves them from.
#![allow(missing_docs)]

use std::fmt::Write as _;
use std::fs;
use std::path::Path;
use std::process::{Command, exit};

/// Sources of the pages. Each is named, not the folder: it holds a link to the installed packages as well.
const WEB: &str = "engine/console/web";

/// What is there and does not change the pages by itself.
const SKIPPED: [&str; 6] = ["node_modules", "openapi.ts", "dev", "e2e", "tests", "screenshots.mjs"];

fn main() {
    println!("cargo:rerun-if-changed=scripts/get-web");
    println!("cargo:rerun-if-changed=schemas/openapi.json");
    watch(Path::new(WEB));
    let out = std::env::var("OUT_DIR").unwrap_or_else(|_| fail("OUT_DIR is not set"));
    let web = format!("{out}/web");
    // Cargo reads what goes to standard output as instructions, so the script's words go to standard error.
    let status = Command::new("bash").args(["-c", "exec scripts/get-web \"$0\" >&2", &web]).status();
    match status {
        Ok(status) if status.success() => {}
        Ok(_) => fail("scripts/get-web failed; what it said is above"),
        Err(error) => fail(&format!("cannot run bash for scripts/get-web: {error}")),
    }
    let files =
        fs::read_to_string(format!("{web}/files.tsv")).unwrap_or_else(|e| fail(&format!("{web}/files.tsv: {e}")));
    if let Err(error) = fs::write(format!("{out}/assets.rs"), table(&web, &files)) {
        fail(&format!("{out}/assets.rs: {error}"));
    }
}

/// Names every source to Cargo. What is for development only does not matter to the pages, and `openapi.ts` is made here.
fn watch(folder: &Path) {
    let Ok(entries) = fs::read_dir(folder) else { fail(&format!("{} is missing", folder.display())) };
    // A folder is watched with all that is in it, which for the outermost one would be the installed packages too.
    if folder != Path::new(WEB) {
        println!("cargo:rerun-if-changed={}", folder.display());
    }
    for entry in entries.flatten() {
        let name = entry.file_name();
        if SKIPPED.iter().any(|skipped| name == *skipped) {
            continue;
        }
        match entry.file_type() {
            Ok(kind) if kind.is_dir() => watch(&entry.path()),
            _ => println!("cargo:rerun-if-changed={}", entry.path().display()),
        }
    }
}

/// A `match` over names: nothing that is asked for ever becomes a path.
fn table(web: &str, files: &str) -> String {
    let mut text = String::from("fn file(name: &str) -> Option<File> {\n    Some(match name {\n");
    for line in files.lines() {
        let mut columns = line.split('\t');
        let (Some(name), Some(etag), Some(packed)) = (columns.next(), columns.next(), columns.next()) else {
            fail(&format!("files.tsv: cannot read {line:?}"));
        };
        let kind = match name.rsplit('.').next() {
            Some("html") => "text/html; charset=utf-8",
            Some("js") => "text/javascript; charset=utf-8",
            Some("css") => "text/css; charset=utf-8",
            Some("svg") => "image/svg+xml",
            Some("woff2") => "font/woff2",
            _ => fail(&format!("files.tsv: {name} is of a kind that the console does not serve")),
        };
        let path = format!("{web}/{name}");
        let pack = |ending: &str| match packed {
            "packed" => format!("Some(include_bytes!({:?}))", format!("{path}.{ending}")),
            _ => String::from("None"),
        };
        let _ = writeln!(
            text,
            "        {name:?} => File {{ kind: {kind:?}, etag: \"\\\"{etag}\\\"\", bytes: include_bytes!({path:?}), gzip: {}, brotli: {} }},",
            pack("gz"),
            pack("br")
        );
    }
    text.push_str("        _ => return None,\n    })\n}\n");
    text
}

fn fail(problem: &str) -> ! {
    println!("cargo:warning=console pages: {problem}");
    eprintln!("console pages: {problem}");
    exit(1)
}
