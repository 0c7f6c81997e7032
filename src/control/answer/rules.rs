//! Answers about the rules in force.

use crate::control::protocol::{self, Family, Zero};
use crate::control::server::Answer;
use crate::filter::{Program, Ruleset, iptables};
use crate::path::Hooks;

/// `iptables-save`.
pub(super) fn save(asked: &protocol::Rules, hooks: &Hooks) -> Answer {
    let family = asked.family.into();
    let ruleset =
        hooks.rules(family).map_or(Ruleset { family, tables: Vec::new() }, |program| program.ruleset());
    saved(asked, ruleset)
}

/// The same, of those programs, IPv4's first; and sets to zero what is asked to be.
pub fn take(asked: &protocol::Rules, programs: [Option<&Program>; 2]) -> Answer {
    let family = asked.family.into();
    let program = match asked.family {
        Family::Inet => programs[0],
        Family::Inet6 => programs[1],
    };
    let rules = program.map_or(Ruleset { family, tables: Vec::new() }, Program::ruleset);
    let zeroed = asked.zero.as_ref().map_or(Ok(Vec::new()), |Zero { chain, number }| {
        let table = asked.table.as_deref().unwrap_or("filter");
        iptables::table_named(table, family)
            .and_then(|table| iptables::zero(table, chain.clone(), *number, &rules))
    });
    match zeroed {
        Ok(zeroed) => {
            let zero = |counter: usize| zeroed.get(counter).is_some_and(|zero| *zero);
            saved(asked, program.map_or(rules, |program| program.take(zero)))
        }
        Err(no) => Answer::Refused(no.into()),
    }
}

fn saved(asked: &protocol::Rules, mut ruleset: Ruleset) -> Answer {
    if let Some(table) = &asked.table {
        ruleset.tables.retain(|t| t.name.name() == table);
    }
    if let Some(chain) = &asked.chain {
        iptables::narrow(&mut ruleset, chain);
    }
    Answer::lines(iptables::write(&ruleset, asked.counters))
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::filter;
    use crate::link::Links;

    fn text(hooks: &Hooks, family: Family, counters: bool, table: Option<&str>) -> (usize, Vec<String>) {
        let table = table.map(str::to_owned);
        let asked = protocol::Rules { family, counters, table, chain: None, zero: None };
        let Answer::Parts(parts) = save(&asked, hooks) else { panic!("it comes in parts") };
        let parts: Vec<Vec<String>> = parts.map(|p| serde_json::from_value(p).unwrap()).collect();
        (parts.len(), parts.concat())
    }

    #[test]
    fn rules_are_given_as_they_were_read() {
        let hooks = Hooks::new();
        assert_eq!(text(&hooks, Family::Inet, true, None), (0, Vec::new()));
        let mut rules = String::from("*nat\n[3:4] -A POSTROUTING -j MASQUERADE\nCOMMIT\n*filter\n");
        (1..=3_000).for_each(|port| rules += &format!("-A FORWARD -p tcp -m tcp --dport {port} -j ACCEPT\n"));
        rules += "COMMIT\n";
        let ruleset = iptables::read(&rules, filter::Family::V4).unwrap();
        let program = Program::compile(&ruleset, &Links::new([])).unwrap();
        let hooks = hooks.with_rules(filter::Family::V4, Some(Arc::new(program)));
        let (parts, lines) = text(&hooks, Family::Inet, false, Some("filter"));
        assert_eq!((parts, lines.len()), (3, 1 + 3 + 3_000 + 1));
        assert_eq!(lines[4 + 2_999], "-A FORWARD -p tcp -m tcp --dport 3000 -j ACCEPT");
        let (_, all) = text(&hooks, Family::Inet, true, None);
        assert!(all.contains(&"[3:4] -A POSTROUTING -j MASQUERADE".to_owned()));
        assert_eq!(text(&hooks, Family::Inet6, false, None).1.len(), 0);
        // What is taken is told once.
        let take = |chain: &str| {
            let zero = Some(Zero { chain: Some(chain.to_owned()), number: None });
            let table = Some("nat".to_owned());
            let asked = protocol::Rules { family: Family::Inet, counters: true, table, chain: None, zero };
            let programs = [hooks.rules(filter::Family::V4).map(|p| &**p), None];
            match take(&asked, programs) {
                Answer::Parts(parts) => parts.map(|p| p.to_string()).collect::<String>(),
                Answer::Refused(no) => no.text,
                _ => panic!("another answer"),
            }
        };
        assert!(take("PREROUTING").contains("[3:4] -A POSTROUTING"));
        assert!(take("POSTROUTING").contains("[3:4] -A POSTROUTING"));
        assert!(take("POSTROUTING").contains("[0:0] -A POSTROUTING"));
        assert!(take("none").starts_with("No chain/target/match by that name"));
        let ruleset = hooks.rules(filter::Family::V4).unwrap().ruleset();
        let all = text(&hooks, Family::Inet, true, None).1;
        let again = iptables::read(&(all.join("\n") + "\n"), filter::Family::V4).unwrap();
        assert_eq!(iptables::write(&again, true), iptables::write(&ruleset, true));
    }
}
