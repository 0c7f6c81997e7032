//! Why a command on rules is not done: which of the kernel's errors it is, and what iptables says of it.

use std::fmt;

/// Why nothing was done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum No {
    /// It can't be understood.
    Misuse(String),
    /// There is no such match, or target, of this name; or not here.
    Unloaded(&'static str, String, String),
    /// There is no such table.
    NoTable(String),
    /// It can, and can't be done.
    Refused(Why, String),
}

/// Why what was understood can't be done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Why {
    /// `-N` of a chain that there is.
    ChainExists,
    /// `-E` to a name that is taken.
    NameTaken,
    /// There is no such chain.
    NoChain,
    /// There is no such rule.
    NoRule,
    /// `-P` of what is no built-in chain.
    NoPolicyChain,
    /// `-P` with another word than ACCEPT and DROP.
    NoPolicy,
    /// A built-in chain where only a user's can stand.
    BuiltIn,
    /// `-X` of a chain that rules go to.
    HasReferences,
    /// `-X` of a chain with rules.
    HasRules,
    /// `-I` beyond the end.
    InsertionTooBig,
    /// `-R` beyond the end.
    ReplacementTooBig,
    /// `-D` beyond the end.
    DeletionTooBig,
    /// `-Z` beyond the end.
    CounterTooBig,
    /// Jumps lead back to where they began.
    Loop,
    /// What the kernel would refuse: a target where it can't be, a match without what it needs.
    Invalid,
    /// More rules than there may be.
    TooMany,
    /// What the kernel can't count with.
    OutOfRange,
}

impl Why {
    const ALL: [Why; 17] = [
        Why::ChainExists,
        Why::NameTaken,
        Why::NoChain,
        Why::NoRule,
        Why::NoPolicyChain,
        Why::NoPolicy,
        Why::BuiltIn,
        Why::HasReferences,
        Why::HasRules,
        Why::InsertionTooBig,
        Why::ReplacementTooBig,
        Why::DeletionTooBig,
        Why::CounterTooBig,
        Why::Loop,
        Why::Invalid,
        Why::TooMany,
        Why::OutOfRange,
    ];

    /// The kernel's error, by its name in errno(3).
    pub fn errno(self) -> &'static str {
        match self {
            Why::ChainExists | Why::NameTaken => "EEXIST",
            Why::NoChain | Why::NoRule | Why::NoPolicyChain => "ENOENT",
            Why::NoPolicy | Why::BuiltIn | Why::Invalid => "EINVAL",
            Why::HasReferences => "EMLINK",
            Why::HasRules => "ENOTEMPTY",
            Why::InsertionTooBig | Why::ReplacementTooBig | Why::DeletionTooBig | Why::CounterTooBig => {
                "E2BIG"
            }
            Why::Loop => "ELOOP",
            Why::TooMany => "ENOMEM",
            Why::OutOfRange => "ERANGE",
        }
    }

    /// What iptables says of it.
    pub fn says(self) -> &'static str {
        match self {
            Why::ChainExists => "Chain already exists",
            Why::NameTaken => "File exists",
            Why::NoChain => "No chain/target/match by that name",
            Why::NoRule => "Bad rule (does a matching rule exist in that chain?)",
            Why::NoPolicyChain => "Bad built-in chain name",
            Why::NoPolicy => "Bad policy name",
            Why::BuiltIn | Why::Invalid => "Invalid argument",
            Why::HasReferences => "Too many links",
            Why::HasRules => "Directory not empty",
            Why::InsertionTooBig => "Index of insertion too big",
            Why::ReplacementTooBig => "Index of replacement too big",
            Why::DeletionTooBig => "Index of deletion too big",
            Why::CounterTooBig => "Index of counter too big",
            Why::Loop => "Too many levels of symbolic links",
            Why::TooMany => "Memory allocation problem",
            Why::OutOfRange => "Numerical result out of range",
        }
    }
}

/// The exit codes of iptables, by the error that [`No::errno`] names.
pub fn exit_code(errno: Option<&str>) -> u8 {
    match errno {
        Some(MISUSE) => 2,
        Some(NO_TABLE) => 3,
        _ => 1,
    }
}

/// iptables' own words, and what helps behind them, if a text is both (see [`No::told`]). What says no more than they do
/// does not help.
pub fn own_words(text: &str) -> Option<(&'static str, Option<&str>)> {
    let why = Why::ALL.into_iter().find(|why| text.starts_with(&format!("{}. ", why.says())))?;
    let rest = text
        .get(why.says().len() + 2..)
        .filter(|rest| why != Why::NoRule || !rest.starts_with("There is no such rule"));
    Some((why.says(), rest))
}

const MISUSE: &str = "EBADMSG";
/// What the kernel says to whoever asks it for such a table.
const NO_TABLE: &str = "ENOPROTOOPT";

impl No {
    /// The kernel's error, by its name in errno(3). What can't be understood comes to no kernel: it has an error of our
    /// choice.
    pub fn errno(&self) -> &'static str {
        match self {
            No::Misuse(_) | No::Unloaded(..) => MISUSE,
            No::NoTable(_) => NO_TABLE,
            No::Refused(why, _) => why.errno(),
        }
    }

    /// iptables' own words, and what helps behind them.
    pub fn told(&self) -> String {
        match self {
            No::Misuse(text) | No::NoTable(text) => text.clone(),
            No::Unloaded(what, name, text) => {
                format!("Couldn't load {what} `{name}':No such file or directory: {text}")
            }
            No::Refused(why, text) => format!("{}. {}", why.says(), capital(text)),
        }
    }

    /// The exit code of iptables.
    pub fn code(&self) -> u8 {
        exit_code(Some(self.errno()))
    }
}

fn capital(text: &str) -> String {
    let mut chars = text.chars();
    chars.next().map_or_else(String::new, |first| first.to_uppercase().chain(chars).collect())
}

/// What is wrong, without iptables' words.
impl fmt::Display for No {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (No::Misuse(text) | No::Unloaded(.., text) | No::NoTable(text) | No::Refused(_, text)) = self;
        f.write_str(text)
    }
}

impl std::error::Error for No {}

impl From<String> for No {
    fn from(text: String) -> Self {
        No::Misuse(text)
    }
}

impl From<&str> for No {
    fn from(text: &str) -> Self {
        No::Misuse(text.to_owned())
    }
}
