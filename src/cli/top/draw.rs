//! The screen on a terminal.
//!
//! ```text
//!  head
//!  links
//!  workers │ drops
//!  tables
//!  flows, as many as fit
//!  keys
//! ```
//!
//! Parts that find no room are cut, from below. Knows nothing of routers.

use ratatui::Frame;
use ratatui::layout::{Alignment, Constraint, Layout, Rect};
use ratatui::style::{Color, Modifier, Style};
use ratatui::text::{Line, Span, Text};
use ratatui::widgets::{Block, Cell, Clear, Paragraph, Row, Table};

use super::screen::{Screen, Sort};
use super::sheet::{self, Sheet};

const DIM: Style = Style::new().fg(Color::DarkGray);
const BOLD: Style = Style::new().add_modifier(Modifier::BOLD);

/// The most lines that links, workers and drops take.
const LINKS: usize = 12;
const MIDDLE: usize = 8;

/// Draws all of it.
pub(super) fn draw(frame: &mut Frame<'_>, s: &Screen) {
    let (links, workers, drops, tables) =
        (sheet::links(s), sheet::workers(s), sheet::drops(s), sheet::tables(s));
    let lines = |rows: usize, most: usize| (rows + 1).min(most) as u16;
    let middle = workers.rows.len().max(drops.rows.len());
    let [head, _, upper, _, center, _, tabled, title, below, foot] = Layout::vertical([
        Constraint::Length(1),
        Constraint::Length(1),
        Constraint::Length(lines(links.rows.len(), LINKS)),
        Constraint::Length(1),
        Constraint::Length(lines(middle, MIDDLE)),
        Constraint::Length(1),
        Constraint::Length(tables.len() as u16 + 1),
        Constraint::Length(1),
        Constraint::Fill(1),
        Constraint::Length(1),
    ])
    .areas(frame.area());

    let (name, rest) = sheet::head(s);
    let line = Line::from(vec![Span::styled(name, BOLD), Span::raw("  "), Span::raw(rest)]);
    frame.render_widget(line, head);
    table(frame, upper, &links, Some(Color::Green));
    let wide: usize = workers.widths().iter().map(|w| w + 2).sum();
    let [left, right] =
        Layout::horizontal([Constraint::Length(wide as u16 + 2), Constraint::Fill(1)]).areas(center);
    table(frame, left, &workers, Some(Color::Cyan));
    if !drops.rows.is_empty() {
        table(frame, right, &drops, None);
    }
    frame.render_widget(Text::from(tables.into_iter().map(Line::from).collect::<Vec<_>>()), tabled);
    frame.render_widget(Line::styled(sheet::flows_title(s), DIM), title);
    table(frame, below, &sheet::flows(s, usize::from(below.height)), None);
    let sorted = match s.sort {
        Sort::Bits => "bits",
        Sort::Packets => "packets",
    };
    let paused = if s.paused { "p goes on" } else { "p pauses" };
    frame.render_widget(
        Line::styled(format!("q ends   s sorts (by {sorted})   {paused}   ? explains"), DIM),
        foot,
    );
    if s.help {
        help(frame);
    }
}

/// A table; the last column in a colour, if one is given.
fn table(frame: &mut Frame<'_>, area: Rect, sheet: &Sheet, last: Option<Color>) {
    let count = sheet.columns.len();
    let cell = |(i, text): (usize, &str)| {
        let text = Text::from(text.to_owned());
        let right = sheet.columns.get(i).is_some_and(|c| c.right);
        let cell = Cell::from(if right { text.alignment(Alignment::Right) } else { text });
        match last {
            Some(color) if i + 1 == count => cell.style(Style::new().fg(color)),
            _ => cell,
        }
    };
    let rows = sheet.rows.iter().map(|r| Row::new(r.iter().map(String::as_str).enumerate().map(cell)));
    let head = Row::new(sheet.columns.iter().map(|c| c.title).enumerate().map(cell)).style(DIM);
    let widths = sheet.widths().into_iter().map(|w| Constraint::Length(w as u16));
    let table = Table::new(rows.collect::<Vec<_>>(), widths).header(head).column_spacing(2);
    frame.render_widget(table, area);
}

/// What the screen means.
const HELP: &str = "\
LINK     frames and bits a second, with their link-layer headers; drops/s
         are those that came and went no further, could not be received
         in time, or could not be sent. The bars are the last half minute.
WORKER   how much of the last five seconds it was busy, and how many
         packets came at once: a worker has time as long as both are low.
DROPPED  reasons of the last moment; docs/packet-path.md explains each.
flows    what came in by links, both directions together. `sampled` says
         how many packets were looked at: numbers are estimates then.

q, Esc   end              p, space   pause, and go on
s        sort flows by bits or packets

Any key closes this.";

fn help(frame: &mut Frame<'_>) {
    let (width, height) = (76, HELP.lines().count() as u16 + 2);
    let all = frame.area();
    let area = Rect {
        x: all.x + all.width.saturating_sub(width) / 2,
        y: all.y + all.height.saturating_sub(height) / 2,
        width: width.min(all.width),
        height: height.min(all.height),
    };
    frame.render_widget(Clear, area);
    frame.render_widget(Paragraph::new(HELP).block(Block::bordered().title(" sekisho top ")), area);
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use ratatui::Terminal;
    use ratatui::backend::TestBackend;

    use super::super::screen::tests::{flows, screen, stats};
    use super::*;

    /// What a terminal of this size shows.
    fn shown(s: &Screen, width: u16, height: u16) -> Vec<String> {
        let mut terminal = Terminal::new(TestBackend::new(width, height)).unwrap();
        terminal.draw(|frame| draw(frame, s)).unwrap();
        let buffer = terminal.backend().buffer();
        let line = |y| (0..width).map(|x| buffer[(x, y)].symbol()).collect::<String>();
        (0..height).map(|y| line(y).trim_end().to_owned()).collect()
    }

    #[test]
    fn a_screen() {
        let lines = shown(&screen(), 100, 22);
        let expected = [
            "gw  sekisho 0.1.0, up 1m 43s   in 1.0M pkt/s 10.0G bit/s   out 2.0M pkt/s 1.0G bit/s   drops 2.0k/s",
            "",
            "LINK  in pkt/s  bit/s  out pkt/s  bit/s  drops/s  bits in and out",
            "lo           5  50.0k         10   5.0k        0  █",
            "lan       1.0M  10.0G       2.0M   1.0G     1.0k  █",
            "wan         10   100k         20  10.0k        0  █",
            "",
            "WORKER   busy  at once  in pkt/s                          DROPPED    pkt/s  in all",
            "0       34.5%     17.3      1.0M  ███████░░░░░░░░░░░░░    rp_filter   2.0k    6007",
            "                                                          filtered      12      43",
            "",
            "flows 1234 of 262144 (0.5%)   +120/s   expired 0/s   evicted 0/s   flow cache 90%",
            "nat ports   192.0.2.1 tcp 6451 (10.0%)",
            "",
            "busiest flows (sampled, 1 packet in 64)",
            "PROTO  FROM            TO                bit/s  back  pkt/s  LINK  STATE",
            "tcp    10.1.0.2:40000  198.51.100.7:443  10.0M  4.0k   1.0k  lan   ESTABLISHED",
            "tcp    10.1.0.2:40001  198.51.100.7:443  40.0k  4.0k   2.5k  lan   ESTABLISHED",
            "",
            "",
            "",
            "q ends   s sorts (by bits)   p pauses   ? explains",
        ];
        assert_eq!(lines, expected, "\n{}", lines.join("\n"));
    }

    #[test]
    fn it_fits_wherever_it_is_put() {
        let mut s = screen();
        for help in [false, true] {
            s.help = help;
            for (width, height) in [(1, 1), (2, 40), (7, 3), (80, 5), (80, 24), (300, 100), (20, 12)] {
                assert_eq!(shown(&s, width, height).len(), usize::from(height));
            }
        }
        for line in shown(&Screen::new(Sort::Bits), 40, 10).iter().take(1) {
            assert_eq!(line, "…  waiting for the router");
        }
    }

    #[test]
    fn help_lies_above_the_rest() {
        let mut s = screen();
        s.help = true;
        s.paused = true;
        let lines = shown(&s, 100, 30).join("\n");
        assert!(lines.contains(" sekisho top ") && lines.contains("Any key closes this."), "{lines}");
        assert!(lines.contains("PAUSED") && lines.contains("p goes on"), "{lines}");
        assert!(HELP.lines().all(|l| l.chars().count() <= 74));
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(32))]

        /// Whatever a router says, and however large: there is a screen.
        #[test]
        fn no_numbers_are_too_large(
            n in prop::collection::vec(any::<u64>(), 12), time in any::<f64>(), busy in any::<f64>(),
            name in "\\PC{0,40}", width in 1u16..130, height in 1u16..50,
        ) {
            let mut s = Screen::new(Sort::Packets);
            let mut before = stats(1);
            let mut now = stats(2);
            for (stats, n) in [(&mut before, &n[..6]), (&mut now, &n[6..])] {
                let l = &mut stats.links[1];
                l.ifname = name.clone();
                (l.rx_packets, l.rx_bytes, l.rx_dropped, l.rx_missed) = (n[0], n[1], n[2], n[3]);
                (stats.drops[0].received, stats.drops[0].originated) = (n[4], n[5]);
                (stats.conntrack.flows, stats.conntrack.max, stats.nat.ports[0].used) = (n[0], n[1], n[2]);
                stats.workers[0].rx_packets = n[3];
            }
            now.uptime = time;
            now.workers[0].busy = busy;
            s.counted(before);
            s.counted(now);
            let mut f = flows();
            f.seconds = time;
            (f.flows[0].original.bytes, f.flows[0].reply.bytes) = (n[0], n[1]);
            (f.flows[0].original.packets, f.flows[0].reply.packets) = (n[2], n[3]);
            f.flows[1].src = name;
            s.flowed(f);
            prop_assert_eq!(shown(&s, width, height).len(), usize::from(height));
            let text = sheet::text(&s, 10, crate::cli::Paint::plain());
            prop_assert!(text.contains("busiest flows"));
        }
    }
}
