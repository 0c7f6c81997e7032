//! The live flows that another setup would treat differently, as they are told.

use serde_json::Value;

use crate::control::view;
use crate::router::{Comparison, Treated};

/// Flows told at most; the rest is counted.
const MOST: u64 = 1_000;

/// Compares page by page, each made when it is asked for.
pub(super) fn differ(mut compare: Comparison) -> impl Iterator<Item = Value> + Send {
    let (mut differ, mut over) = (0, false);
    std::iter::from_fn(move || {
        if over {
            return None;
        }
        let Some(page) = compare.page() else {
            over = true;
            return Some(part(&closing(differ, &compare)));
        };
        let room = MOST.saturating_sub(differ) as usize;
        differ += page.len() as u64;
        let told = page.into_iter().take(room).flat_map(|d| {
            let sides = [("", d.original), (", answers", d.reply)];
            let flow = d.flow;
            sides.into_iter().filter_map(move |(side, treated)| Some(one(&flow, side, &treated?)))
        });
        Some(part(&told.collect::<Vec<_>>()))
    })
}

/// One direction of a flow.
fn one(flow: &str, side: &str, treated: &Treated) -> view::Difference {
    view::Difference {
        object: "flow".into(),
        before: Some(format!("{flow}{side}: {}", treated.before)),
        after: Some(format!("{flow}{side}: {}", treated.after)),
        note: None,
    }
}

/// How many there are, if there are any.
fn closing(differ: u64, compare: &Comparison) -> Vec<view::Difference> {
    if differ == 0 {
        return Vec::new();
    }
    let mut note = format!("{differ} of {} live flows would be treated differently", compare.looked_at);
    if compare.unjudged > 0 {
        note += &format!(
            "; of {} nothing can be said, no route leads back to where they come from",
            compare.unjudged
        );
    }
    if differ > MOST {
        note += &format!("; {MOST} are shown");
    }
    vec![view::Difference { object: "flow".into(), note: Some(note), ..view::Difference::default() }]
}

fn part(differences: &[view::Difference]) -> Value {
    serde_json::to_value(differences).unwrap_or_default()
}
