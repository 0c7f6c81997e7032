//! The rules, and whether a source keeps them.

use crate::source::{Token, references, tokens};

/// The layers of the drawing in `src/lib.rs`, lowest first.
#[derive(Debug)]
pub(crate) struct Layers(Vec<Layer>);

#[derive(Debug)]
struct Layer {
    name: String,
    rooms: Vec<String>,
}

/// Imports between rooms of one layer that are allowed, importer first. Everything at the edge may
/// import everything at the edge; elsewhere neighbors don't know each other.
const BESIDE: &[(&str, &str)] = &[
    // Segmentation and checksums of a packet are matters of header formats.
    ("packet", "wire"),
];

/// Where `unsafe` may be written: every syscall, and entering namespaces.
const UNSAFE: &[&str] = &["src/io/sys.rs", "src/io/sys/", "src/lab/netns.rs"];

/// What nothing below the edge may touch, as paths end: the clock, and the machine.
const EDGE_ONLY: &[&[&str]] = &[
    &["Instant", "::", "now"],
    &["SystemTime", "::", "now"],
    &["thread", "::", "sleep"],
    &["std", "::", "fs"],
    &["libc", "::"],
    &["mio", "::"],
];

impl Layers {
    /// Reads the drawing: below the heading, one layer a line, its name and then its rooms with `·`
    /// between. A layer that is a room itself has a text in their place.
    pub(crate) fn drawn_in(lib: &str) -> Result<Layers, String> {
        let mut lines = lib.lines().skip_while(|l| !l.starts_with("//! # Layers"));
        let mut layers = Vec::new();
        let modules = modules(lib);
        lines.find(|l| *l == "//! ```text").ok_or("src/lib.rs has no drawing of the layers")?;
        for line in lines.take_while(|l| *l != "//! ```") {
            let line = line.trim_start_matches("//!").trim();
            let (name, rest) = line.split_once(' ').ok_or(format!("no layer: {line}"))?;
            let rooms = match modules.contains(&name) {
                true => vec![name.to_owned()],
                false => {
                    rest.split('·').filter_map(|r| r.split_whitespace().next()).map(String::from).collect()
                }
            };
            layers.push(Layer { name: name.to_owned(), rooms });
        }
        layers.reverse();
        match layers.len() {
            0..3 => Err("src/lib.rs: the drawing of the layers is too small to be one".into()),
            _ => Ok(Layers(layers)),
        }
    }

    /// How high a room is.
    pub(crate) fn level(&self, room: &str) -> Option<usize> {
        self.0.iter().position(|l| l.rooms.iter().any(|r| r == room))
    }

    /// All rooms.
    pub(crate) fn rooms(&self) -> impl Iterator<Item = &str> {
        self.0.iter().flat_map(|l| l.rooms.iter().map(String::as_str))
    }

    fn edge(&self) -> usize {
        self.0.iter().position(|l| l.name == "edge").expect("there is an edge")
    }

    /// Why `from` may not import `to`, if it may not.
    fn forbids(&self, from: &str, to: &str) -> Option<&'static str> {
        let (here, there) = (self.level(from)?, self.level(to)?);
        if from == to || here > there {
            None
        } else if here < there {
            Some("is above it")
        } else if here == self.edge() || BESIDE.contains(&(from, to)) {
            None
        } else {
            Some("is beside it")
        }
    }
}

/// The modules that the library declares.
fn modules(lib: &str) -> Vec<&str> {
    let declared = |l: &'_ str| l.trim_start_matches("pub ").starts_with("mod ") && l.ends_with(';');
    let lines = lib.lines().filter(|l| declared(l));
    lines.map(|l| l.trim_end_matches(';').rsplit(' ').next().unwrap_or("")).collect()
}

/// What a source file (by its path from the package's root) does that it may not.
pub(crate) fn check(path: &str, source: &str, layers: &Layers) -> Vec<String> {
    let mut broken = Vec::new();
    // Tests beside the code speak for themselves.
    let tests = path.ends_with("/tests.rs") || path.contains("/tests/");
    if !tests && !source.starts_with("//!") {
        broken.push(format!(
            "{path}:1: say first, in //! lines, what the module is and what it knows nothing of"
        ));
    }
    let tokens = tokens(source);
    if !UNSAFE.iter().any(|u| path == *u || (u.ends_with('/') && path.starts_with(u))) {
        for t in tokens.iter().filter(|t| t.text == "unsafe" || t.text == "unsafe_code") {
            broken.push(format!("{path}:{}: unsafe belongs in {}", t.line, UNSAFE.join(", ")));
        }
    }
    let module: Vec<&str> = path.trim_start_matches("src/").trim_end_matches(".rs").split('/').collect();
    let module = match module.as_slice() {
        [above @ .., "mod"] => above,
        all => all,
    };
    let &[room, ..] = module else { return broken };
    let Some(level) = layers.level(room) else { return broken };
    for (to, line) in references(module, &tokens) {
        if let Some(why) = layers.forbids(room, &to) {
            broken.push(format!("{path}:{line}: {room} may not import {to}, which {why}"));
        }
    }
    if level < layers.edge() {
        for (path_end, line) in edge_only(&tokens) {
            broken.push(format!("{path}:{line}: {path_end} belongs at the edge"));
        }
    }
    broken
}

fn edge_only(tokens: &[Token]) -> Vec<(String, usize)> {
    let starts = |i: usize, words: &[&str]| words.iter().zip(&tokens[i..]).all(|(w, t)| t.text == *w);
    let fits = |i: usize, words: &&&[&str]| tokens.len() - i >= words.len() && starts(i, words);
    let found = (0..tokens.len()).filter_map(|i| Some((i, EDGE_ONLY.iter().find(|w| fits(i, w))?)));
    found.map(|(i, words)| (words.concat(), tokens[i].line)).collect()
}

#[cfg(test)]
fn small_house() -> Layers {
    let lib = "//! # Layers: down\n//!\n//! ```text\n//! cli        in, out\n//! edge       io · run      fds\n\
        //! state      router (owns all) · host\n//! path       the order\n//! tables     link · fib\n\
        //! bytes      wire (views) · packet\n//! base       ids\n//! ```\n\npub mod base;\npub mod path;\npub mod cli;\n";
    Layers::drawn_in(lib).unwrap()
}

#[test]
fn the_drawing_is_understood() {
    let layers = small_house();
    let rooms: Vec<_> = layers.rooms().collect();
    assert_eq!(
        rooms,
        ["base", "wire", "packet", "link", "fib", "path", "router", "host", "io", "run", "cli"]
    );
    assert_eq!((layers.level("base"), layers.level("cli"), layers.level("shed")), (Some(0), Some(6), None));
    assert!(Layers::drawn_in("//! # Layers\n//! nothing").is_err());
}

#[test]
fn violations_are_seen() {
    let layers = small_house();
    for (path, source, expected) in [
        (
            "src/base/ids.rs",
            "//! x\nuse crate::wire::Arp;",
            "src/base/ids.rs:2: base may not import wire, which is above it",
        ),
        (
            "src/fib/mod.rs",
            "//! x\nuse crate::{base, link::Links};",
            "src/fib/mod.rs:2: fib may not import link, which is beside it",
        ),
        (
            "src/host/mod.rs",
            "//! x\nfn f(r: &crate::router::Router) {}",
            "src/host/mod.rs:2: host may not import router, which is beside it",
        ),
        (
            "src/wire/arp.rs",
            "//! x\n\nuse super::super::packet;",
            "src/wire/arp.rs:3: wire may not import packet, which is beside it",
        ),
        (
            "src/link/mod.rs",
            "//! x\nmod tests { use super::super::path; }",
            "src/link/mod.rs:2: link may not import path, which is above it",
        ),
        (
            "src/path/mod.rs",
            "//! x\nlet t = std::time::Instant::now();",
            "src/path/mod.rs:2: Instant::now belongs at the edge",
        ),
        ("src/fib/text.rs", "//! x\nstd::fs::read(p);", "src/fib/text.rs:2: std::fs belongs at the edge"),
        (
            "src/fib/mod.rs",
            "//! x\nunsafe { x() }",
            "src/fib/mod.rs:2: unsafe belongs in src/io/sys.rs, src/io/sys/, src/lab/netns.rs",
        ),
        (
            "src/io/port.rs",
            "//! x\n#![allow(unsafe_code)]",
            "src/io/port.rs:2: unsafe belongs in src/io/sys.rs, src/io/sys/, src/lab/netns.rs",
        ),
        (
            "src/main.rs",
            "fn main() {}",
            "src/main.rs:1: say first, in //! lines, what the module is and what it knows nothing of",
        ),
    ] {
        assert_eq!(check(path, source, &layers), [expected], "{source}");
    }
}

#[test]
fn what_is_allowed_is_allowed() {
    let layers = small_house();
    for (path, source) in [
        ("src/packet/mod.rs", "//! x\nuse crate::{base::Mac, wire::Ipv4};"),
        ("src/run/mod.rs", "//! x\nuse crate::io::Port; let t = std::time::Instant::now();"),
        ("src/io/sys.rs", "//! x\n#![allow(unsafe_code)]\nunsafe {}"),
        ("src/fib/route.rs", "//! x\nuse super::text; use crate::fib::table; // crate::cli, unsafe\n"),
        ("src/cli/mod.rs", "//! x\nuse crate::run;"),
        ("src/fib/tests.rs", "use super::*;"),
        ("src/path/mod.rs", "//! x\nfn f(now: Instant) { let c = \"Instant::now\"; }"),
    ] {
        assert_eq!(check(path, source, &layers), [""; 0], "{source}");
    }
}
