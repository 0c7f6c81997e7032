//! Answers about the rules in force.

use crate::control::protocol::{self, Family};
use crate::control::server::Answer;
use crate::filter::{self, Ruleset, iptables};
use crate::path::Hooks;

/// `iptables-save`.
pub(super) fn save(asked: &protocol::Rules, hooks: &Hooks) -> Answer {
    let family = match asked.family {
        Family::Inet => filter::Family::V4,
        Family::Inet6 => filter::Family::V6,
    };
    let mut ruleset =
        hooks.rules(family).map_or(Ruleset { family, tables: Vec::new() }, |program| program.ruleset());
    if let Some(table) = &asked.table {
        ruleset.tables.retain(|t| t.name.name() == table);
    }
    Answer::lines(iptables::write(&ruleset, asked.counters))
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::filter::Program;
    use crate::link::Links;

    fn text(hooks: &Hooks, family: Family, counters: bool, table: Option<&str>) -> (usize, Vec<String>) {
        let asked = protocol::Rules { family, counters, table: table.map(str::to_owned) };
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
        let again = iptables::read(&(all.join("\n") + "\n"), filter::Family::V4).unwrap();
        assert_eq!(iptables::write(&again, true), iptables::write(&ruleset, true));
    }
}
