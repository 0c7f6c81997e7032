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
    /// The same with other rules. Those that stay go on counting; if the change only looks, all is the same.
    pub(super) fn with_rules(&self, change: &RulesChange) -> Result<Setup, Refusal> {
        let family = change.family.into();
        let place = match family {
            Family::V4 => 0,
            Family::V6 => 1,
        };
        let before = &self.config.rules[place];
        let none = Ruleset { family, tables: Vec::new() };
        let edited = change.apply(before.as_ref().map_or(&none, |r| &r.ruleset))?;
        let wrong = |text: String| Refusal::of("EINVAL", format!("Invalid argument. {text}"));
        let program = Program::compile(&edited.rules, &self.links);
        let program =
            program.map_err(|all| wrong(all.first().map(|p| p.text.clone()).unwrap_or_default()))?;
        if program.needs_conntrack() && self.config.conntrack.enable == Enable::Off {
            return Err(wrong(NEEDED.replace("this rule", "A rule")));
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
        setup.config.rules[place] = Some(Rules { file, lines, ruleset: edited.rules });
        setup.programs[place] = Some(Arc::new(program));
        Ok(setup)
    }
}

/// What is said of a rule that can't do without conntrack.
const NEEDED: &str = "this rule needs connection tracking, which [conntrack] turns off: remove `enable = \"off\"` \
                      and `max = 0` there, or the rule here";
