//! What happens to flows, followed live.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde_json::Value;

use super::{asked, object};
use crate::base::Instant;
use crate::conntrack::{Conntrack, EventKind, FlowEvent, Listener, text};
use crate::control::protocol::{EventName, FlowFilter, FlowForm, FlowKind, MOST_WAITING};
use crate::control::server::{Fed, Feed};
use crate::control::view::{self, FlowNews};

/// Events that wait for a client, unless it wants another number.
const WAITING: u32 = 8_192;

/// Events told at a time.
const PAGE: usize = 512;

/// A client that hears nothing is told so this often: else it would take the router for stopped.
const QUIET: Duration = Duration::from_secs(1);

/// Events for one client.
pub(super) struct Follow {
    listener: Listener,
    form: FlowForm,
    /// When something was told last.
    told: Option<Instant>,
}

impl Follow {
    pub(super) fn new(
        table: &Arc<Conntrack>,
        form: FlowForm,
        filter: FlowFilter,
        kinds: &[EventName],
        buffer: Option<u32>,
    ) -> Self {
        let kinds: HashSet<EventKind> = match kinds {
            [] => [EventKind::New, EventKind::Update, EventKind::Destroy].into(),
            some => some.iter().map(|name| kind(*name)).collect(),
        };
        let waiting = buffer.unwrap_or(WAITING).clamp(1, MOST_WAITING);
        let wants = move |event: &FlowEvent| kinds.contains(&event.kind) && asked(&filter, &event.flow);
        Follow { listener: table.listen(waiting as usize, Box::new(wants)), form, told: None }
    }

    fn news(&self, event: &FlowEvent, now: Instant) -> FlowNews {
        let at = event.at.unwrap_or(now);
        // Between the event and now there are some hundredths of a second: whoever sets the clock meanwhile is told so.
        let wall =
            SystemTime::now().checked_sub(now.since(at)).and_then(|t| t.duration_since(UNIX_EPOCH).ok());
        let wall = wall.unwrap_or_default();
        let FlowEvent { kind, id, ref flow, by_hand, .. } = *event;
        let text = match self.form.kind {
            FlowKind::Json => {
                let object = object(id, flow, at);
                let event = match kind {
                    EventKind::New => "NEW",
                    EventKind::Update => "UPDATE",
                    EventKind::Destroy => "DESTROY",
                };
                let timestamp = self.form.timestamp.then_some(wall.as_secs_f64());
                return FlowNews::Flow(Box::new(view::Flow {
                    event: Some(event.to_owned()),
                    timestamp,
                    userspace: by_hand,
                    ..object
                }));
            }
            FlowKind::Save => text::save(flow, at, Some(kind), by_hand).to_string(),
            FlowKind::Xml => text::xml(flow, id, at, Some(kind), by_hand).to_string(),
            FlowKind::Text => {
                let line = text::line(flow, at, self.form.extended).of_event(kind, by_hand);
                if self.form.id { line.with_id(id) } else { line }.to_string()
            }
        };
        FlowNews::Line(match self.form.timestamp {
            true => format!("[{}.{:06}]\t{text}", wall.as_secs(), wall.subsec_micros()),
            false => text,
        })
    }
}

impl Feed for Follow {
    fn poll(&mut self, now: Instant) -> Fed {
        let (events, lost) = self.listener.take(PAGE);
        let heard = self.told.is_some_and(|told| now < told + QUIET);
        if events.is_empty() && lost == 0 && heard {
            return Fed::Nothing;
        }
        self.told = Some(now);
        let mut news: Vec<FlowNews> = events.iter().map(|event| self.news(event, now)).collect();
        // Behind those that came before them, as far as these have been taken.
        news.extend((lost > 0).then_some(FlowNews::Lost(lost)));
        Fed::Part(serde_json::to_value(news).unwrap_or(Value::Array(Vec::new())))
    }
}

fn kind(name: EventName) -> EventKind {
    match name {
        EventName::New => EventKind::New,
        EventName::Update => EventKind::Update,
        EventName::Destroy => EventKind::Destroy,
    }
}
