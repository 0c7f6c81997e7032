//! The rules of a configuration, made ready to run; and what is wrong with them that a look at the text alone does not
//! show, back to file and line.

use std::sync::Arc;

use super::problem::Problems;
use super::{Config, Enable, Refusal, Rules, RulesChange, Setup};
use crate::filter::{Family, Program, Ruleset};
use crate::link::Links;

impl Config {
    /// The rules of both families, compiled, IPv4's first. `links` is what [`Config::links_table`] gave.
    ///
    /// # Errors
    /// Rules that can't be compiled, or that need connections tracked where that is turned off.
    pub fn programs(&self, links: &Links) -> Result<[Option<Arc<Program>>; 2], Problems> {
        let mut problems = Problems::default();
        let programs = self.rules.each_ref().map(|rules| {
            let rules = rules.as_ref()?;
            match Program::compile(&rules.ruleset, links) {
                Ok(program) => {
                    let line = program.conntrack_line().filter(|_| self.conntrack.enable == Enable::Off);
                    line.into_iter().for_each(|line| problems.push(rules.problem(line, NEEDED.to_owned())));
                    Some(Arc::new(program))
                }
                Err(wrong) => {
                    wrong.into_iter().for_each(|p| problems.push(rules.problem(p.line, p.text)));
                    None
                }
            }
        });
        problems.or(programs)
    }
}

impl Setup {
    /// Sets counters of the living rules to zero, if that is the change: the rules are the same, and nothing is built.
    ///
    /// # Errors
    /// There is no such chain, or no such rule.
    pub fn zero(&self, change: &RulesChange) -> Result<bool, Refusal> {
        let place = place(change.family.into());
        let none = Ruleset { family: change.family.into(), tables: Vec::new() };
        let rules = self.config.rules[place].as_ref().map_or(&none, |r| &r.ruleset);
        let Some(zeroed) = change.zeroed(rules)? else { return Ok(false) };
        if let Some(program) = &self.programs[place] {
            program.take(|counter| zeroed.get(counter).is_some_and(|zero| *zero));
        }
        Ok(true)
    }

    /// The same with other rules. Those that stay go on counting; if the change only looks, all is the same.
    pub(super) fn with_rules(&self, change: &RulesChange) -> Result<Setup, Refusal> {
        let family = change.family.into();
        let place = place(family);
        let before = &self.config.rules[place];
        let none = Ruleset { family, tables: Vec::new() };
        let edited = change.apply(before.as_ref().map_or(&none, |r| &r.ruleset))?;
        if change.checks() {
            return Ok(self.clone());
        }
        let wrong = |text: String| Refusal::of("EINVAL", format!("Invalid argument. {text}"));
        let old = self.programs[place].as_deref().map(|old| (old, &*edited.from));
        let program = Program::after(&edited.rules, &self.links, old);
        let program =
            program.map_err(|all| wrong(all.first().map(|p| p.text.clone()).unwrap_or_default()))?;
        if program.needs_conntrack() && self.config.conntrack.enable == Enable::Off {
            return Err(wrong(NEEDED_NOW.to_owned()));
        }
        let mut setup = self.clone();
        if change.only_looks() {
            return Ok(setup);
        }
        if let Some(old) = &self.programs[place] {
            program.inherit(old, &edited.from);
        }
        let (file, lines) = match before {
            Some(rules) => (rules.file.clone(), rules.lines.clone()),
            None => (self.config.path.clone(), Vec::new()),
        };
        setup.config.rules[place] = Some(Rules { file, lines, ruleset: edited.rules.into() });
        setup.programs[place] = Some(Arc::new(program));
        Ok(setup)
    }
}

/// Where the rules of a family stand.
fn place(family: Family) -> usize {
    match family {
        Family::V4 => 0,
        Family::V6 => 1,
    }
}

/// What is said of a rule that can't do without conntrack.
const NEEDED: &str = "this rule needs connection tracking, which [conntrack] turns off: remove `enable = \"off\"` \
                      and `max = 0` there, or the rule here";

/// The same, of a rule that is to be put in while the router runs.
const NEEDED_NOW: &str = "A rule needs connection tracking, which [conntrack] turns off: turn it on in the router's file \
                          and start it again, or do without the rule";

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::config::{Edit, parse};
    use crate::control::protocol;
    use crate::filter::iptables;

    fn setup(text: &str) -> Setup {
        let config = parse(&format!("[router]\nname = \"gw\"\n{text}"), Path::new("gw.toml"));
        Setup::build(config.unwrap(), None).unwrap()
    }

    fn command(line: &str) -> RulesChange {
        let words = line.split(' ').map(str::to_owned).collect();
        RulesChange { family: protocol::Family::Inet, edit: Edit::Command { words } }
    }

    fn text(setup: &Setup) -> String {
        setup.programs[0].as_ref().map_or_else(String::new, |p| iptables::write(&p.ruleset(), true))
    }

    #[test]
    fn a_change_makes_another_setup_and_leaves_the_one_it_is_of() {
        let before = setup("[firewall]\nrules4 = \"*filter\\n[5:6] -A FORWARD -j DROP\\nCOMMIT\\n\"\n");
        let told = text(&before);
        let after = before.with_rules(&command("-I FORWARD 1 -i lan -c 1 2 -j ACCEPT")).unwrap();
        assert!(text(&after).contains("[1:2] -A FORWARD -i lan -j ACCEPT\n[5:6] -A FORWARD -j DROP\n"));
        assert_eq!(text(&before), told);
        // What the configuration says is what runs.
        let says = after.config.rules[0].as_ref().map(|r| iptables::write(&r.ruleset, false));
        assert_eq!(says, after.programs[0].as_ref().map(|p| iptables::write(&p.ruleset(), false)));
        // Where there were none, there are some then; the other family has none.
        let none = setup("");
        let some = none.with_rules(&command("-t nat -A POSTROUTING -j MASQUERADE")).unwrap();
        assert!(
            text(&some).starts_with("*nat\n") && some.programs[1].is_none() && none.programs[0].is_none()
        );
    }

    #[test]
    fn a_test_looks_and_changes_nothing() {
        let before = setup("");
        let test = |text: &str| RulesChange {
            family: protocol::Family::Inet,
            edit: Edit::Restore {
                text: text.into(),
                noflush: false,
                test: true,
                counters: false,
                table: None,
            },
        };
        let after = before.with_rules(&test("*filter\n-A FORWARD -j DROP\nCOMMIT\n")).unwrap();
        assert!(after.programs[0].is_none() && after.config == before.config);
        assert!(before.with_rules(&test("*filter\n-A FORWARD --foo\nCOMMIT\n")).is_err());
    }

    #[test]
    fn rules_that_track_are_refused_where_nothing_is_tracked() {
        let off = setup("[conntrack]\nenable = \"off\"\n");
        let no = off.with_rules(&command("-t nat -A POSTROUTING -j MASQUERADE")).err().unwrap();
        assert_eq!(no.errno, Some("EINVAL"));
        assert!(no.text.starts_with("Invalid argument. A rule needs connection tracking, which"), "{no}");
        assert!(off.with_rules(&command("-A FORWARD -j DROP")).is_ok());
        let no = off.with_rules(&command("-A none -j DROP")).err().unwrap();
        assert_eq!(no.errno, Some("ENOENT"));
    }

    #[test]
    fn changes_are_plain_to_write() {
        let plain = r#"{"family":"inet","op":"command","words":["-F"]}"#;
        assert_eq!(serde_json::from_str::<RulesChange>(plain).unwrap(), command("-F"));
        assert_eq!(serde_json::to_string(&command("-F")).unwrap(), plain);
        let short: RulesChange =
            serde_json::from_str(r#"{"family":"inet6","op":"restore","text":""}"#).unwrap();
        assert!(matches!(short.edit, Edit::Restore { noflush: false, test: false, counters: false, .. }));
    }
}
