//! One text for both families.

/// The family of a script and its rules.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Family {
    V4,
    V6,
}

impl Family {
    /// A rule's text with this family's addresses: `$l10` is station 10 of the lan, `$l0/24` the lan, `$[w11]`
    /// stands before a port, and `$icmp` is the protocol.
    pub(crate) fn rules(self, text: &str) -> String {
        let mut out = String::new();
        for (i, part) in text.split('$').enumerate() {
            if i == 0 {
                out.push_str(part);
                continue;
            }
            let bracketed = part.starts_with('[');
            let part = part.replacen(['[', ']'], "", if bracketed { 2 } else { 0 });
            let end = part.find(|c: char| !c.is_ascii_alphanumeric()).unwrap_or(part.len());
            let (name, rest) = part.split_at(end);
            if name == "icmp" {
                out += if self == Family::V4 { "icmp" } else { "ipv6-icmp" };
                out += rest;
                continue;
            }
            let addr = crate::script::address(&self.station(name)).expect("a station's name").to_string();
            let rest = match self {
                Family::V4 => rest.to_owned(),
                Family::V6 => rest.replacen("/24", "/64", 1).replacen("/31", "/127", 1),
            };
            out += &if bracketed && self == Family::V6 {
                format!("[{addr}]{rest}")
            } else {
                format!("{addr}{rest}")
            };
        }
        out
    }

    /// The name of a station in scripts.
    pub(crate) fn station(self, name: &str) -> String {
        match self {
            Family::V4 => name.to_owned(),
            Family::V6 => name.to_ascii_uppercase(),
        }
    }

    /// A script's line, or what comes of it, with this family's stations and ICMP types: `error port` becomes `icmp 3/3`.
    pub(crate) fn line(self, text: &str) -> String {
        let mut words = vec![];
        let mut all = text.split_whitespace().peekable();
        while let Some(word) = all.next() {
            let (name, value) = word.split_once('=').unwrap_or(("", word));
            let short = value.split(':').next().unwrap_or_default();
            let is_station = short.len() > 1
                && short.starts_with(['l', 'w', 'd', 'x'])
                && short[1..].bytes().all(|b| b.is_ascii_digit());
            if is_station && (name.is_empty() || name == "by") {
                words.push(self.station(word).replacen("BY=", "by=", 1));
            } else if word == "error" {
                let (kind, code) = self.error(all.next().unwrap_or_default());
                let icmp = if self == Family::V4 { "icmp" } else { "icmp6" };
                words.push(format!("{icmp} {kind}/{code}"));
            } else if let Some(error) = word.strip_prefix("kind=") {
                let (kind, code) = self.error(error);
                words.push(format!("{kind}/{code}"));
            } else {
                words.push(word.to_owned());
            }
        }
        words.join(" ")
    }

    /// The type and code of an error by its name.
    fn error(self, name: &str) -> (u8, u8) {
        let v4 = self == Family::V4;
        match name {
            "net" => {
                if v4 {
                    (3, 0)
                } else {
                    (1, 0)
                }
            }
            "host" => {
                if v4 {
                    (3, 1)
                } else {
                    (1, 3)
                }
            }
            "port" => {
                if v4 {
                    (3, 3)
                } else {
                    (1, 4)
                }
            }
            "admin" => {
                if v4 {
                    (3, 13)
                } else {
                    (1, 1)
                }
            }
            "big" => {
                if v4 {
                    (3, 4)
                } else {
                    (2, 0)
                }
            }
            "time" => {
                if v4 {
                    (11, 0)
                } else {
                    (3, 0)
                }
            }
            "param" => {
                if v4 {
                    (12, 0)
                } else {
                    (4, 1)
                }
            }
            other => panic!("no error is called '{other}'"),
        }
    }
}
