//! The rules of a configuration, made ready to run; and what is wrong with them that a look at the text alone does not
//! show, back to file and line.

use std::sync::Arc;

use super::problem::Problems;
use super::{Config, Enable};
use crate::filter::Program;
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

/// What is said of a rule that can't do without conntrack.
const NEEDED: &str = "this rule needs connection tracking, which [conntrack] turns off: remove `enable = \"off\"` \
                      and `max = 0` there, or the rule here";
