//! The house rules that the compiler doesn't know: imports point downward, unsafe and the clock stay
//! in their rooms, files stay short.
//!
//! The layer table is read from the drawing in `src/lib.rs`, so that there is one. Paths are read from
//! the sources themselves: `crate::a::b`, `crate::{a, b::c}`, `super::super::a`, in code and in tests
//! beside it; comments and literals don't count.

#[path = "layers/rules.rs"]
mod rules;
#[path = "layers/source.rs"]
mod source;

use std::fs;
use std::path::{Path, PathBuf};

use rules::{Layers, check};

/// The longest source file, in lines.
const LONGEST_FILE: usize = 600;
/// The longest README, in lines: what is longer belongs in docs/.
const LONGEST_README: usize = 200;

#[test]
fn the_sources_keep_the_house_rules() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let layers = Layers::drawn_in(&read(&root.join("src/lib.rs"))).unwrap_or_else(|e| panic!("{e}"));
    let mut files = Vec::new();
    walk(&root.join("src"), &mut files);
    assert!(files.len() > 20, "only {} source files were found", files.len());

    let mut broken = Vec::new();
    for path in &files {
        let name = path.strip_prefix(root).unwrap().to_str().expect("source files have plain names");
        broken.extend(check(name, &read(path), &layers));
    }
    for room in rooms(&root.join("src")) {
        if layers.level(&room).is_none() {
            broken.push(format!("src/{room}: is in no layer of the drawing in src/lib.rs"));
        }
    }
    for room in layers.rooms() {
        if !rooms(&root.join("src")).contains(&room.to_owned()) {
            broken.push(format!("src/lib.rs: the drawing has a room {room}, and there is none"));
        }
    }
    assert!(broken.is_empty(), "\n{}\n", broken.join("\n"));
}

#[test]
fn files_are_short() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut files = Vec::new();
    for dir in ["src", "tests", "benches"] {
        walk(&root.join(dir), &mut files);
    }
    let too_long: Vec<_> = files
        .iter()
        .map(|f| (f, read(f).lines().count()))
        .filter(|(_, lines)| *lines > LONGEST_FILE)
        .map(|(f, lines)| format!("{}: {lines} lines; {LONGEST_FILE} at most, split it by job", f.display()))
        .collect();
    assert!(too_long.is_empty(), "\n{}\n", too_long.join("\n"));
    if let Ok(readme) = fs::read_to_string(root.join("README.md")) {
        assert!(readme.lines().count() <= LONGEST_README, "README.md: {LONGEST_README} lines at most");
    }
}

#[test]
fn the_map_of_the_tests_is_whole() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let map = read(&root.join("docs/testing.md"));
    for entry in fs::read_dir(root.join("tests")).unwrap() {
        let name = entry.unwrap().file_name().into_string().unwrap();
        // A directory beside a file of its name belongs to it.
        let target = name.trim_end_matches(".rs");
        let shown = [format!("`tests/{target}/`"), format!("`tests/{target}.rs`")];
        assert!(shown.iter().any(|s| map.contains(s)), "docs/testing.md says nothing of tests/{name}");
    }
}

fn read(path: &Path) -> String {
    fs::read_to_string(path).unwrap_or_else(|e| panic!("{}: {e}", path.display()))
}

/// Every Rust file below a directory, in order.
fn walk(dir: &Path, files: &mut Vec<PathBuf>) {
    let Ok(entries) = fs::read_dir(dir) else { return };
    let mut entries: Vec<PathBuf> = entries.map(|e| e.unwrap().path()).collect();
    entries.sort();
    for path in entries {
        if path.is_dir() {
            walk(&path, files);
        } else if path.extension().is_some_and(|e| e == "rs") {
            files.push(path);
        }
    }
}

/// The top-level modules: directories, and files that are neither the library's nor the binary's root.
fn rooms(src: &Path) -> Vec<String> {
    let entries = fs::read_dir(src).unwrap().map(|e| e.unwrap().path());
    let names = entries.map(|p| p.file_stem().unwrap().to_str().unwrap().to_owned());
    names.filter(|n| n != "lib" && n != "main").collect()
}
