//! `sekisho iptables`, `sekisho ip6tables`: the rules in force, looked at and changed in the words of iptables.

mod hosts;

use std::ffi::OsString;
use std::io::Write as _;
use std::path::PathBuf;
use std::process::ExitCode;

use serde_json::{Value, json};

use super::out::{Out, Stop};
use super::router::Control;
use super::{Failure, Outcome, Run, say};
use crate::config::{Change, Edit, RulesChange};
use crate::control::client::{Client, ClientError};
use crate::control::protocol::{Family, Rules, Verb, Zero};
use crate::control::view::Applied;
use crate::filter::iptables::{self, Asked, List, Manner, No, What};
use crate::filter::rule::Policy;
use crate::filter::{Chain, Ruleset, Table, TableName};

/// Show and change the IPv4 rules, as iptables(8) does
#[derive(Debug, clap::Args)]
#[command(long_about = long("iptables", "IPv4"))]
pub(super) struct Iptables {
    #[command(flatten)]
    options: Options,
}

/// Show and change the IPv6 rules, as ip6tables(8) does
#[derive(Debug, clap::Args)]
#[command(long_about = long("ip6tables", "IPv6"))]
pub(super) struct Ip6tables {
    #[command(flatten)]
    options: Options,
}

#[derive(Debug, clap::Args)]
struct Options {
    #[command(flatten)]
    control: Control,
    /// Those of iptables(8)
    #[arg(value_name = "WORDS", trailing_var_arg = true, allow_hyphen_values = true)]
    words: Vec<OsString>,
}

impl Run for Iptables {
    fn run(self) -> Outcome {
        Tool::IPTABLES.run(self.options)
    }
}

impl Run for Ip6tables {
    fn run(self) -> Outcome {
        Tool::IP6TABLES.run(self.options)
    }
}

/// The tool of one family.
#[derive(Debug, Clone, Copy)]
pub(super) struct Tool {
    /// What it is called, and with `-save` and `-restore` behind it.
    pub(super) name: &'static str,
    /// Whose rules.
    pub(super) family: Family,
    shown: &'static str,
}

/// What a tool says of its version: that of the iptables whose words these are, for there are scripts that look for one.
pub(super) fn version(name: &str) -> String {
    format!("{name} v1.8.9 (sekisho {})", env!("CARGO_PKG_VERSION"))
}

impl Tool {
    pub(super) const IPTABLES: Tool = Tool { name: "iptables", family: Family::Inet, shown: "IPv4" };
    pub(super) const IP6TABLES: Tool = Tool { name: "ip6tables", family: Family::Inet6, shown: "IPv6" };

    fn run(self, options: Options) -> Outcome {
        let words: Result<Vec<String>, _> = options.words.into_iter().map(OsString::into_string).collect();
        let Ok(words) = words else { return self.no(&No::from("the words must be plain text")) };
        let words = hosts::resolve(words, self.family);
        let asked = match iptables::asked(&words, self.family.into()) {
            Ok(asked) => asked,
            Err(no) => return self.no(&no),
        };
        let Asked { table, what, manner } = asked;
        let control = options.control.or(manner.control.as_ref().map(PathBuf::from));
        let find = || control.client();
        match what {
            What::Help => {
                say(long(self.name, self.shown))?;
                Ok(ExitCode::SUCCESS)
            }
            What::Version => {
                say(version(self.name))?;
                Ok(ExitCode::SUCCESS)
            }
            What::List(which) => self.list(&mut find()?, table, &which, &manner),
            What::Check(rules) => {
                let done = self.changed(&mut find()?, words)?;
                let told = iptables::told(&rules, self.family.into());
                self.said(done, manner.verbose.then_some(told))
            }
            What::Edit { rules, chains } => {
                let mut client = find()?;
                let mut told = iptables::told(&rules, self.family.into());
                match chains.filter(|_| manner.verbose) {
                    Some((does, Some(chain))) => told += &format!("{does} chain `{chain}'\n"),
                    Some((does, None)) => {
                        let which = List::default();
                        let all = iptables::table(&self.rules(&mut client, table, &which)??, table).chains;
                        let meant = all.iter().filter(|c| does != "Deleting" || c.policy.is_none());
                        meant.for_each(|c| told += &format!("{does} chain `{}'\n", c.name));
                    }
                    None => {}
                }
                let done = self.changed(&mut client, words)?;
                self.said(done, manner.verbose.then_some(told))
            }
        }
    }

    /// Prints what `-v` has to say, unless the words could not be understood: then nothing was meant.
    fn said(self, done: ExitCode, told: Option<String>) -> Outcome {
        if let Some(told) = told.filter(|_| done != ExitCode::from(2)) {
            let mut out = Out::new();
            let printed = out.texts(std::iter::once(told)).and_then(|()| out.end());
            Stop::outcome(printed)?;
        }
        Ok(done)
    }

    /// The exit code of a change that these words ask for.
    fn changed(self, client: &mut Client, words: Vec<String>) -> Outcome {
        match self.change(client, Edit::Command { words }) {
            Ok(_) => Ok(ExitCode::SUCCESS),
            Err(e) => self.refused(e),
        }
    }

    /// Asks for a change of the rules.
    pub(super) fn change(self, client: &mut Client, edit: Edit) -> Result<Applied, ClientError> {
        client.ask(Verb::Change(Change::Rules(RulesChange { family: self.family, edit })))
    }

    /// The rules of a table as they are saved, as far as a list needs them; and sets those counters to zero that are to be.
    fn saved(
        self,
        client: &mut Client,
        table: TableName,
        which: &List,
        counters: bool,
    ) -> Result<String, ClientError> {
        let table = Some(table.name().to_owned());
        let zero = which.zero.map(|number| Zero { chain: which.chain.clone(), number });
        let chain = which.chain.clone();
        let asked = Rules { family: self.family, counters, table, chain, zero };
        let mut text = String::new();
        client.ask_list(Verb::Rules(asked), |lines: Vec<String>| -> Result<(), ClientError> {
            lines.iter().for_each(|line| {
                text.push_str(line);
                text.push('\n');
            });
            Ok(())
        })?;
        Ok(text)
    }

    /// The same, read, with counters.
    fn rules(
        self,
        client: &mut Client,
        table: TableName,
        which: &List,
    ) -> Result<Result<Ruleset, ClientError>, Failure> {
        let text = match self.saved(client, table, which, true) {
            Ok(text) => text,
            Err(e) => return Ok(Err(e)),
        };
        iptables::read(&text, self.family.into()).map(Ok).map_err(|problems| {
            let first = problems.first().map(ToString::to_string).unwrap_or_default();
            Failure(format!(
                "the router's rules can't be understood ({first}): use the sekisho it was started with"
            ))
        })
    }

    fn list(self, client: &mut Client, table: TableName, which: &List, manner: &Manner) -> Outcome {
        if which.as_commands && !manner.verbose && !manner.json {
            let saved = match self.saved(client, table, which, false) {
                Ok(saved) => saved,
                Err(e) => return self.refused(e),
            };
            return match iptables::saved_commands(&saved, table, which) {
                Ok(text) => {
                    let mut out = Out::new();
                    Stop::outcome(out.texts(std::iter::once(text)).and_then(|()| out.end()))
                }
                Err(no) => self.no(&no),
            };
        }
        let rules = match self.rules(client, table, which)? {
            Ok(rules) => rules,
            Err(e) => return self.refused(e),
        };
        let mut out = Out::new();
        // Even for JSON: the chain must be there.
        let text = match which.as_commands {
            true => iptables::commands(&rules, table, which, manner),
            false => iptables::list(&rules, table, which, manner),
        };
        let mut text = match text {
            Ok(text) => text,
            Err(no) => return self.no(&no),
        };
        if which.zero == Some(None) && manner.verbose {
            let chains = iptables::table(&rules, table).chains;
            let meant = chains.iter().filter(|c| which.chain.as_ref().is_none_or(|name| c.name == *name));
            meant.for_each(|c| text += &format!("Zeroing chain `{}'\n", c.name));
        }
        let shown = match manner.json {
            true => {
                let chains = as_json(&rules, &iptables::table(&rules, table), which);
                out.json(chains.into_iter(), false).and_then(|()| out.end_json())
            }
            false => out.texts(std::iter::once(text)),
        };
        Stop::outcome(shown.and_then(|()| out.end()))
    }

    fn no(self, no: &No) -> Outcome {
        let see =
            if no.code() == 2 { format!("; see `sekisho {} --help`", self.name) } else { String::new() };
        complain(&format!("{}: {}{see}", self.name, lines(&no.told())));
        Ok(ExitCode::from(no.code()))
    }

    /// The router's no, with iptables' exit code.
    fn refused(self, e: ClientError) -> Outcome {
        let ClientError::Refused { text, errno } = e else { return Err(e.into()) };
        complain(&format!("{}: {}", self.name, lines(&text)));
        Ok(ExitCode::from(iptables::exit_code(errno.as_deref())))
    }
}

/// iptables' own words on a line of their own, as scripts look for them; what helps stands below.
fn lines(text: &str) -> String {
    match iptables::own_words(text) {
        Some((own, None)) => format!("{own}."),
        Some((own, Some(help))) => format!("{own}.\n{help}"),
        None => text.to_owned(),
    }
}

/// As the tool itself does it, without our own name. Nobody can be told if that fails.
pub(super) fn complain(text: &str) {
    let _ = writeln!(std::io::stderr(), "{text}");
}

/// The chains of a table that are asked for, as values.
fn as_json(rules: &Ruleset, table: &Table, which: &List) -> Vec<Value> {
    let chains = table.chains.iter().filter(|c| which.chain.as_ref().is_none_or(|name| *name == c.name));
    let references = iptables::references(table);
    let chain = |c: &Chain| {
        let numbered = (1..).zip(&c.rules).filter(|(n, _)| which.number.is_none_or(|number| number == *n));
        let listed = numbered.map(|(n, r): (usize, _)| {
            json!({
                "num": n,
                "packets": r.counters.packets,
                "bytes": r.counters.bytes,
                "target": iptables::target(r, rules.family),
                "rule": iptables::rule(r, &c.name, rules.family).to_string(),
            })
        });
        let listed: Vec<Value> = listed.collect();
        let mut value = json!({ "table": table.name.name(), "chain": c.name });
        match c.policy {
            Some(policy) => {
                value["policy"] = if policy == Policy::Accept { "ACCEPT".into() } else { "DROP".into() };
                value["packets"] = c.counters.packets.into();
                value["bytes"] = c.counters.bytes.into();
            }
            None => value["references"] = references.get(c.name.as_str()).copied().unwrap_or(0).into(),
        }
        value["rules"] = listed.into();
        value
    };
    chains.map(chain).collect()
}

/// The manual.
fn long(tool: &str, family: &str) -> String {
    LONG.replace("TOOL", tool).replace("FAMILY", family)
}

const LONG: &str = "\
Show and change the FAMILY rules in force, as TOOL(8) does.

The words, the output and the exit codes are those of TOOL (legacy) 1.8, so what reads one reads the other: \
`sekisho TOOL -A FORWARD -p tcp --dport 22 -j DROP`, `sekisho TOOL -L -n -v --line-numbers`.

A change is one transaction: it is in force when the command ends with 0, and otherwise nothing is different. Flows go on, \
rules that stay keep their counters. The change lives as long as the router, or till it reads its configuration again: \
`sekisho TOOL-save` prints what to put into its file.

  -A CHAIN RULE             append             -D CHAIN RULE | N         delete, the first that says the same
  -I CHAIN [N] RULE         insert             -R CHAIN N RULE           replace
  -C CHAIN RULE             is there such a rule?
  -L [CHAIN [N]]            list               -S [CHAIN [N]]            list as commands
  -F [CHAIN]                remove the rules   -Z [CHAIN [N]]            set counters to zero (also beside -L, -S)
  -N CHAIN                  new chain          -X [CHAIN]                delete it
  -E OLD NEW                rename it          -P CHAIN ACCEPT|DROP      policy of a built-in chain

-t TABLE       raw, mangle, nat or filter; filter if nothing is said
-v             list with counters and links; tell what is changed
-n             list protocols and ports as numbers; addresses always are: their names are not looked up
-x             list exact counters           --line-numbers   list with the numbers of the rules
-c PKTS BYTES  counters of a new rule, or of a policy
--json         list as JSON (-j is --jump)   --control PATH   the router's control socket
-w, -W, -M     taken, and of no effect: nothing is waited for, there are no modules

RULE: [!] -s -d ADDRESS|HOST[/MASK][,…]  [!] -i -o LINK[+]  [!] -p PROTOCOL  [!] -f  -m MATCH OPTIONS…  -j TARGET OPTIONS…  -g CHAIN
docs/rules.md lists every match and target.

Exit code 0: done; with -C, there is such a rule. Exit code 1: it can't be done, there is none, or no router. Exit code 2: the words \
can't be understood. Exit code 3: there is no such table.";
