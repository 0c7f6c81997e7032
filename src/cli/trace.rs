//! `sekisho trace`: the ways of packets, live.

use super::Paint;
use crate::path::trace::{Record, Step, text};

/// A record's block: its lines, painted.
pub(super) fn block(paint: Paint, record: &Record) -> Vec<String> {
    let (head, packet) = record.headline();
    let mut lines = vec![format!("{} {packet}", paint.bold(head))];
    for step in &record.steps {
        let label = format!("{:<width$}", step.label(), width = text::LABEL);
        let said = step.text().to_string();
        let line = match step {
            Step::Dropped { .. } => format!("   {}{}", paint.red(label), paint.red(said)),
            Step::Sent { .. } | Step::Delivered { .. } => format!("   {}{said}", paint.green(label)),
            Step::Hook { .. } => format!("   {}{}", paint.bold(label), paint.dim(said)),
            Step::Rule { .. } | Step::Policy { .. } => format!("   {}{said}", paint.yellow(label)),
            _ => format!("   {}{said}", paint.cyan(label)),
        };
        lines.push(line.trim_end().to_owned());
    }
    let notes = record.remarks();
    lines.extend(
        notes.iter().map(|n| paint.dim(format!("   {:<width$}{n}", "note", width = text::LABEL)).to_string()),
    );
    lines
}
