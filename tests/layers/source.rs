//! Reading a source file just well enough: tokens without comments and literals, and the paths among
//! them that lead to the crate's rooms.

/// A token and its line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Token {
    pub(crate) text: String,
    pub(crate) line: usize,
}

/// Identifiers, `::`, and single punctuation characters. Comments, string and character literals and
/// lifetimes are left out.
pub(crate) fn tokens(source: &str) -> Vec<Token> {
    let chars: Vec<char> = source.chars().collect();
    let at = |i: usize| chars.get(i).copied().unwrap_or('\0');
    let mut tokens = Vec::new();
    let (mut i, mut line) = (0, 1);
    while i < chars.len() {
        let start = i;
        let c = chars[i];
        match c {
            '/' if at(i + 1) == '/' => i = end_of_line(&chars, i),
            '/' if at(i + 1) == '*' => i = end_of_comment(&chars, i),
            '"' => i = end_of_string(&chars, i),
            'r' | 'b' | 'c' if literal_prefix(&chars, i).is_some() => {
                i = literal_prefix(&chars, i).expect("just seen");
            }
            '\'' => i = end_of_quote(&chars, i),
            c if c == '_' || c.is_alphabetic() => {
                while at(i) == '_' || at(i).is_alphanumeric() {
                    i += 1;
                }
                tokens.push(Token { text: chars[start..i].iter().collect(), line });
            }
            ':' if at(i + 1) == ':' => {
                i += 2;
                tokens.push(Token { text: "::".into(), line });
            }
            c if c.is_numeric() => {
                while at(i) == '_' || at(i).is_alphanumeric() {
                    i += 1;
                }
            }
            c => {
                i += 1;
                if !c.is_whitespace() {
                    tokens.push(Token { text: c.into(), line });
                }
            }
        }
        line += chars[start..i].iter().filter(|c| **c == '\n').count();
    }
    tokens
}

fn end_of_line(chars: &[char], i: usize) -> usize {
    chars[i..].iter().position(|c| *c == '\n').map_or(chars.len(), |n| i + n)
}

/// Block comments nest.
fn end_of_comment(chars: &[char], mut i: usize) -> usize {
    let mut depth = 0;
    while i < chars.len() {
        match (chars[i], chars.get(i + 1)) {
            ('/', Some('*')) => (depth, i) = (depth + 1, i + 2),
            ('*', Some('/')) => (depth, i) = (depth - 1, i + 2),
            _ => i += 1,
        }
        if depth == 0 {
            break;
        }
    }
    i
}

fn end_of_string(chars: &[char], mut i: usize) -> usize {
    i += 1;
    while i < chars.len() && chars[i] != '"' {
        i += if chars[i] == '\\' { 2 } else { 1 };
    }
    (i + 1).min(chars.len())
}

/// The end of a literal that begins with letters: `b"…"`, `r#"…"#`, `b'x'`. Not of an identifier.
fn literal_prefix(chars: &[char], start: usize) -> Option<usize> {
    let mut i = start;
    while matches!(chars.get(i), Some('r' | 'b' | 'c')) && i < start + 2 {
        i += 1;
    }
    let raw = chars[start..i].contains(&'r');
    match chars.get(i)? {
        '"' if !raw => Some(end_of_string(chars, i)),
        '\'' if chars[start..i] == ['b'] => Some(end_of_quote(chars, i)),
        '"' | '#' if raw => {
            let hashes = chars[i..].iter().take_while(|c| **c == '#').count();
            if chars.get(i + hashes) != Some(&'"') {
                return None; // a raw identifier
            }
            let closes = |j: usize| {
                chars[j] == '"' && chars[j + 1..].iter().take_while(|c| **c == '#').count() >= hashes
            };
            let end = (i + hashes + 1..chars.len()).find(|j| closes(*j));
            Some(end.map_or(chars.len(), |j| j + 1 + hashes))
        }
        _ => None,
    }
}

/// A character literal, or the quote of a lifetime.
fn end_of_quote(chars: &[char], i: usize) -> usize {
    match (chars.get(i + 1), chars.get(i + 2)) {
        (Some('\\'), _) => {
            let closing = chars[(i + 3).min(chars.len())..].iter().position(|c| *c == '\'');
            closing.map_or(chars.len(), |n| i + 4 + n)
        }
        (Some(_), Some('\'')) => i + 3,
        _ => i + 1,
    }
}

/// The top-level modules that the file at `module` (its path from the crate's root) refers to, each
/// with its line.
pub(crate) fn references(module: &[&str], tokens: &[Token]) -> Vec<(String, usize)> {
    let text = |i: usize| tokens.get(i).map_or("", |t: &Token| t.text.as_str());
    let mut found = Vec::new();
    // For each open brace, whether it opened an inline module.
    let mut braces: Vec<bool> = Vec::new();
    for i in 0..tokens.len() {
        match text(i) {
            "{" => braces.push(i >= 2 && text(i - 2) == "mod"),
            "}" => {
                braces.pop();
            }
            "crate" if text(i + 1) == "::" => targets(tokens, i + 2, &mut found),
            "super" if i == 0 || text(i - 1) != "::" => {
                let depth = module.len() + braces.iter().filter(|m| **m).count();
                let mut next = i;
                let mut ups = 0;
                while text(next) == "super" && text(next + 1) == "::" {
                    (ups, next) = (ups + 1, next + 2);
                }
                if ups >= depth && ups > 0 {
                    targets(tokens, next, &mut found);
                }
            }
            _ => {}
        }
    }
    found
}

/// What a path leads to after `crate::`: a name, or the names in a group.
fn targets(tokens: &[Token], at: usize, found: &mut Vec<(String, usize)>) {
    let Some(first) = tokens.get(at) else { return };
    if first.text != "{" {
        found.push((first.text.clone(), first.line));
        return;
    }
    let mut depth = 0;
    let mut expected = false;
    for t in &tokens[at..] {
        match t.text.as_str() {
            "{" => (depth, expected) = (depth + 1, depth == 0),
            "}" => depth -= 1,
            "," => expected = depth == 1,
            _ if expected => {
                found.push((t.text.clone(), t.line));
                expected = false;
            }
            _ => {}
        }
        if depth == 0 {
            break;
        }
    }
}

#[test]
fn literals_and_comments_are_no_code() {
    let source = r##"
        // unsafe
        /* unsafe /* unsafe */ unsafe */
        let a = "unsafe \" unsafe"; let b = r#"unsafe " unsafe"#; let c = b"unsafe";
        let d = 'u'; let e = '\''; let f = '\u{1f}'; let g: &'unsafe str = r"unsafe\"; r#type
    "##;
    let idents: Vec<_> = tokens(source).into_iter().map(|t| t.text).filter(|t| t.len() > 1).collect();
    assert_eq!(idents, ["let", "let", "let", "let", "let", "let", "let", "unsafe", "str", "type"]);
}

#[test]
fn lines_are_counted_through_literals() {
    let t = tokens("a\n\"x\ny\"\nb /* \n */ c");
    let lines: Vec<_> = t.iter().map(|t| (t.text.as_str(), t.line)).collect();
    assert_eq!(lines, [("a", 1), ("b", 4), ("c", 5)]);
}

#[test]
fn paths_are_found_however_they_are_written() {
    let source = "use crate::a::B;\n use crate::{b, c::{x, y}, d::Z as W};\n pub use super::super::e;\n\
        fn f() -> crate::g::H { super::inner() }\n mod tests {\n use super::super::super::h;\n use super::own; }\n\
        macro { $crate::i::x } use self::super::j;";
    let found = references(&["room", "file"], &tokens(source));
    let names: Vec<_> = found.iter().map(|(n, l)| (n.as_str(), *l)).collect();
    assert_eq!(names, [("a", 1), ("b", 2), ("c", 2), ("d", 2), ("e", 3), ("g", 4), ("h", 6), ("i", 8)],);
}
