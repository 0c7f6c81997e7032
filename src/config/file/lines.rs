//! Which line of the file each line of a text in quotes stands on.
//!
//! ```text
//! 12  rules4 = """          the text's line 1 is the file's 13: a newline right behind the quotes is not part of it
//! 13  *filter
//! 14  -A INPUT -m comment \
//! 15      --comment "a"     line 2 goes on here: a backslash swallows the newline and what is blank after it
//! 16  COMMIT\n"""           line 3, and an escaped newline that begins line 4 here too
//! ```
//!
//! Knows TOML's four kinds of strings and nothing of what is in them.

/// For a string as it is written in the file, quotes included, and the line it begins on: the line of the file for each line of
/// what it stands for.
pub(super) fn lines(token: &str, first: usize) -> Vec<usize> {
    let mut rest = token.chars().peekable();
    let quote = token.chars().next().unwrap_or('"');
    let multiline = token.len() >= 6 && token.chars().take(3).all(|c| c == quote);
    let escapes = quote == '"';
    let mut line = first;
    for _ in 0..if multiline { 3 } else { 1 } {
        rest.next();
    }
    if multiline {
        rest.next_if_eq(&'\r');
        if rest.next_if_eq(&'\n').is_some() {
            line += 1;
        }
    }
    let mut lines = vec![line];
    while let Some(c) = rest.next() {
        match c {
            '\n' => {
                line += 1;
                lines.push(line);
            }
            '\\' if escapes => match rest.next() {
                Some('n') => lines.push(line),
                Some(kind @ ('u' | 'U' | 'x')) => {
                    let digits = match kind {
                        'U' => 8,
                        'u' => 4,
                        _ => 2,
                    };
                    let code: String = rest.by_ref().take(digits).collect();
                    if u32::from_str_radix(&code, 16) == Ok(u32::from('\n')) {
                        lines.push(line);
                    }
                }
                Some(c) if c.is_whitespace() => {
                    line += usize::from(c == '\n');
                    while let Some(c) = rest.next_if(|c| c.is_whitespace()) {
                        line += usize::from(c == '\n');
                    }
                }
                _ => {}
            },
            _ => {}
        }
    }
    lines
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use toml::de::DeTable;

    use super::*;

    /// The text and its lines, of a file whose key `rules` is written so.
    fn read(file: &str) -> (String, Vec<usize>) {
        let (root, errors) = DeTable::parse_recoverable(file);
        assert!(errors.is_empty(), "{file}: {errors:?}");
        let (_, value) = root.get_ref().get_key_value("rules").unwrap();
        let first = file[..value.span().start].matches('\n').count() + 1;
        (value.get_ref().as_str().unwrap().to_owned(), lines(&file[value.span()], first))
    }

    #[test]
    fn every_kind_of_string() {
        let cases: [(&str, &[usize]); 9] = [
            ("rules = \"a\"", &[1]),
            ("rules = \"a\\nb\"", &[1, 1]),
            ("rules = 'a\\nb'", &[1]),
            ("\nrules = \"\"\"a\nb\"\"\"", &[2, 3]),
            ("\nrules = \"\"\"\na\nb\n\"\"\"", &[3, 4, 5]),
            ("\nrules = \"\"\"\r\na\r\nb\"\"\"", &[3, 4]),
            ("rules = '''\na \\\nb'''", &[2, 3]),
            ("rules = \"\"\"\na \\\n  \n  b\nc\\u000ad\"\"\"", &[2, 5, 5]),
            ("rules = \"\"", &[1]),
        ];
        for (file, expected) in cases {
            assert_eq!(read(file).1, expected, "{file:?}");
        }
    }

    proptest! {
        #[test]
        fn a_line_for_each_line_and_the_right_one(
            before in 0usize..4, rows in proptest::collection::vec("[a-z]{0,3}", 1..8), literal: bool,
        ) {
            let quotes = if literal { "'''" } else { "\"\"\"" };
            let file = format!("{}rules = {quotes}\n{}{quotes}", "\n".repeat(before), rows.join("\n"));
            let (text, lines) = read(&file);
            prop_assert_eq!(lines.len(), text.split('\n').count());
            let of_file: Vec<&str> = file.split('\n').collect();
            for (row, line) in text.split('\n').zip(lines) {
                prop_assert_eq!(row, of_file[line - 1].trim_end_matches(quotes));
            }
        }
    }
}
