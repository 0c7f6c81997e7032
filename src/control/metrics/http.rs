//! As much of HTTP/1.1 (RFC 9112) as a scrape takes: one request without a body, one response, and good-bye.
//!
//! Everything here is about bytes: knows nothing of sockets, and nothing of what the text says.

use std::fmt::Write;

/// The longest head of a request in bytes.
pub const MAX_HEAD: usize = 8 << 10;
/// As many fields as a head may have.
const MAX_FIELDS: usize = 100;

/// In which form the metrics are wanted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// Prometheus' text, version 0.0.4.
    Prometheus,
    /// OpenMetrics' text, version 1.0.0.
    OpenMetrics,
}

impl Format {
    /// The media type.
    pub fn content_type(self) -> &'static str {
        match self {
            Format::Prometheus => "text/plain; version=0.0.4; charset=utf-8",
            Format::OpenMetrics => "application/openmetrics-text; version=1.0.0; charset=utf-8",
        }
    }
}

/// What is asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Request {
    /// Whether only the head of the response is wanted.
    pub head: bool,
    /// The form.
    pub format: Format,
}

/// Why there are no metrics for a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refused {
    /// It can't be understood (400).
    Bad,
    /// There is only `/metrics` (404).
    NotFound,
    /// There is only GET and HEAD (405).
    Method,
    /// It did not come in time (408).
    Timeout,
    /// Its head is too long (431).
    TooLong,
    /// It is another version of HTTP (505).
    Version,
}

impl Refused {
    fn status(self) -> &'static str {
        match self {
            Refused::Bad => "400 Bad Request",
            Refused::NotFound => "404 Not Found",
            Refused::Method => "405 Method Not Allowed",
            Refused::Timeout => "408 Request Timeout",
            Refused::TooLong => "431 Request Header Fields Too Large",
            Refused::Version => "505 HTTP Version Not Supported",
        }
    }
}

/// Reads a request from what has come so far; `None` while its head is not complete.
///
/// # Errors
/// It is not one that gets the metrics.
pub fn parse(bytes: &[u8]) -> Result<Option<Request>, Refused> {
    let Some(end) = end_of_head(bytes) else {
        return if bytes.len() > MAX_HEAD { Err(Refused::TooLong) } else { Ok(None) };
    };
    if end > MAX_HEAD {
        return Err(Refused::TooLong);
    }
    let head = std::str::from_utf8(bytes.get(..end).unwrap_or_default()).map_err(|_| Refused::Bad)?;
    // An empty line before the first one is passed over (RFC 9112 §2.2).
    let head = head.strip_prefix("\r\n").unwrap_or(head);
    let mut lines = head.split('\n').map(|l| l.strip_suffix('\r').unwrap_or(l));
    let Line { head, at, version } = request_line(lines.next().unwrap_or_default())?;
    let (mut hosts, mut accept) = (0, String::new());
    for (n, line) in lines.take_while(|l| !l.is_empty()).enumerate() {
        if n >= MAX_FIELDS {
            return Err(Refused::TooLong);
        }
        let (name, value) = line.split_once(':').ok_or(Refused::Bad)?;
        if name.is_empty() || !name.bytes().all(is_token) || value.contains(['\r', '\0']) {
            return Err(Refused::Bad);
        }
        if name.eq_ignore_ascii_case("host") {
            hosts += 1;
        } else if name.eq_ignore_ascii_case("accept") {
            // Several are one list (RFC 9110 §5.3).
            let _ = write!(accept, "{value},");
        }
    }
    // RFC 9112 §3.2.
    if hosts > 1 || hosts == 0 && version == 1 {
        return Err(Refused::Bad);
    }
    if path(at) != "/metrics" {
        return Err(Refused::NotFound);
    }
    Ok(Some(Request { head, format: format(&accept) }))
}

/// The response with the metrics.
pub fn metrics(request: Request, text: &str) -> Vec<u8> {
    response("200 OK", request.format.content_type(), "", text, request.head)
}

/// The response without.
pub fn refusal(why: Refused) -> Vec<u8> {
    let more = if why == Refused::Method { "Allow: GET, HEAD\r\n" } else { "" };
    let text = match why {
        Refused::NotFound => "There is nothing here but /metrics.\n",
        other => &format!("{}\n", other.status()),
    };
    response(why.status(), "text/plain; charset=utf-8", more, text, false)
}

fn response(status: &str, kind: &str, more: &str, body: &str, head: bool) -> Vec<u8> {
    let length = body.len();
    let mut text = format!(
        "HTTP/1.1 {status}\r\nContent-Type: {kind}\r\nContent-Length: {length}\r\n\
         Cache-Control: no-store\r\nX-Content-Type-Options: nosniff\r\n{more}Connection: close\r\n\r\n"
    );
    if !head {
        text.push_str(body);
    }
    text.into_bytes()
}

/// Where the head ends: behind the first empty line that is not the first. A line may end without its carriage return
/// (RFC 9112 §2.2).
fn end_of_head(bytes: &[u8]) -> Option<usize> {
    let mut start = 0;
    loop {
        let rest = bytes.get(start..)?;
        let line = rest.iter().position(|b| *b == b'\n')?;
        let empty = matches!(rest.get(..line)?, b"" | b"\r");
        if empty && start > 0 && bytes.get(..start).is_some_and(|before| before != b"\r\n") {
            return Some(start + line + 1);
        }
        start += line + 1;
        if start > MAX_HEAD {
            return None;
        }
    }
}

struct Line<'a> {
    head: bool,
    at: &'a str,
    /// HTTP/1.…
    version: u8,
}

/// `GET /metrics HTTP/1.1`.
fn request_line(line: &str) -> Result<Line<'_>, Refused> {
    let mut words = line.split(' ');
    let (Some(method), Some(at), Some(version), None) =
        (words.next(), words.next(), words.next(), words.next())
    else {
        return Err(Refused::Bad);
    };
    if method.is_empty() || !method.bytes().all(is_token) || at.is_empty() {
        return Err(Refused::Bad);
    }
    let version = match version {
        "HTTP/1.1" => 1,
        "HTTP/1.0" => 0,
        other if other.starts_with("HTTP/") => return Err(Refused::Version),
        _ => return Err(Refused::Bad),
    };
    match method {
        "GET" => Ok(Line { head: false, at, version }),
        "HEAD" => Ok(Line { head: true, at, version }),
        _ => Err(Refused::Method),
    }
}

/// The path of a target: it may be all of an address (RFC 9112 §3.2.2).
fn path(at: &str) -> &str {
    let local = match at.split_once("://") {
        Some((scheme, rest)) if scheme.eq_ignore_ascii_case("http") => {
            rest.find('/').and_then(|i| rest.get(i..)).unwrap_or("/")
        }
        _ => at,
    };
    local.split(['?', '#']).next().unwrap_or_default()
}

/// Characters of names and methods (RFC 9110 §5.6.2).
fn is_token(b: u8) -> bool {
    b.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&b)
}

/// What an Accept field (RFC 9110 §12.5.1) prefers; Prometheus' text if it has no preference.
fn format(accept: &str) -> Format {
    let (mut open, mut plain) = (0.0_f32, 0.0_f32);
    for element in accept.split(',') {
        let mut parts = element.split(';').map(str::trim);
        let kind = parts.next().unwrap_or_default().to_ascii_lowercase();
        let (mut weight, mut known) = (1.0_f32, true);
        for part in parts {
            match part.split_once('=') {
                Some(("q" | "Q", q)) => weight = q.trim().parse().unwrap_or(0.0),
                Some(("version", v)) => known = matches!(v.trim_matches('"'), "1.0.0" | "0.0.1" | "0.0.4"),
                _ => {}
            }
        }
        let best = match kind.as_str() {
            "application/openmetrics-text" => &mut open,
            "text/plain" | "text/*" | "*/*" => &mut plain,
            _ => continue,
        };
        if known && weight > *best {
            *best = weight;
        }
    }
    if open > 0.0 && open >= plain { Format::OpenMetrics } else { Format::Prometheus }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const PLAIN: Request = Request { head: false, format: Format::Prometheus };

    fn asked(text: &str) -> Result<Option<Request>, Refused> {
        parse(text.as_bytes())
    }

    #[test]
    fn what_gets_the_metrics() {
        for text in [
            "GET /metrics HTTP/1.1\r\nHost: a\r\n\r\n",
            "GET /metrics HTTP/1.0\r\n\r\n",
            "GET /metrics?x=y HTTP/1.1\nhost:\n\n",
            "\r\nGET http://gw:9470/metrics HTTP/1.1\r\nHost: gw:9470\r\nAccept: text/html\r\n\r\nbody",
        ] {
            assert_eq!(asked(text), Ok(Some(PLAIN)), "{text}");
        }
        assert_eq!(asked("HEAD /metrics HTTP/1.0\r\n\r\n"), Ok(Some(Request { head: true, ..PLAIN })));
    }

    #[test]
    fn what_does_not() {
        for (text, why) in [
            ("POST /metrics HTTP/1.1\r\nHost: a\r\n\r\n", Refused::Method),
            ("GET / HTTP/1.1\r\nHost: a\r\n\r\n", Refused::NotFound),
            ("GET http://a HTTP/1.1\r\nHost: a\r\n\r\n", Refused::NotFound),
            ("GET /metrics HTTP/1.1\r\n\r\n", Refused::Bad),
            ("GET /metrics HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n", Refused::Bad),
            ("GET /metrics HTTP/2.0\r\n\r\n", Refused::Version),
            ("GET /metrics\r\n\r\n", Refused::Bad),
            ("GET  /metrics HTTP/1.1\r\nHost: a\r\n\r\n", Refused::Bad),
            ("GET /metrics HTTP/1.1\r\nHost: a\r\n folded\r\n\r\n", Refused::Bad),
            ("GET /metrics HTTP/1.1\r\nHost : a\r\n\r\n", Refused::Bad),
            ("\x16\x03\x01\r\n\r\n", Refused::Bad),
        ] {
            assert_eq!(asked(text), Err(why), "{text:?}");
        }
        let many = format!("GET /metrics HTTP/1.0\r\n{}\r\n", "a: b\r\n".repeat(MAX_FIELDS + 1));
        assert_eq!(asked(&many), Err(Refused::TooLong));
        assert_eq!(asked(&"x".repeat(MAX_HEAD + 1)), Err(Refused::TooLong));
        assert_eq!(asked(&"x".repeat(MAX_HEAD)), Ok(None));
    }

    #[test]
    fn who_speaks_open_metrics_gets_it() {
        let prometheus = "application/openmetrics-text;version=1.0.0,application/openmetrics-text;version=0.0.1;\
                          q=0.75,text/plain;version=0.0.4;q=0.5,*/*;q=0.1";
        assert_eq!(format(prometheus), Format::OpenMetrics);
        assert_eq!(format("application/openmetrics-text; q=0"), Format::Prometheus);
        assert_eq!(format("application/openmetrics-text;version=2.0.0"), Format::Prometheus);
        assert_eq!(format("text/plain, application/openmetrics-text;q=0.3"), Format::Prometheus);
        assert_eq!(format("*/*"), Format::Prometheus);
        assert_eq!(format(""), Format::Prometheus);
        assert_eq!(format("application/openmetrics-text;q=NaN"), Format::Prometheus);
    }

    #[test]
    fn a_head_alone_says_how_long_the_rest_would_be() {
        let text = |r: Vec<u8>| String::from_utf8(r).unwrap();
        let whole = text(metrics(PLAIN, "a 1\n"));
        let head = text(metrics(Request { head: true, ..PLAIN }, "a 1\n"));
        assert_eq!(whole, format!("{head}a 1\n"));
        assert!(head.contains("\r\nContent-Length: 4\r\n") && head.ends_with("\r\n\r\n"));
        assert!(text(refusal(Refused::Method)).contains("\r\nAllow: GET, HEAD\r\n"));
    }

    proptest! {
        #[test]
        fn noise_is_survived(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let _ = parse(&bytes);
        }

        #[test]
        fn heads_with_mistakes_are_survived(
            mut text in "(GET|HEAD|PUT) (/metrics|/|http://a/metrics|\\*) HTTP/[0-2]\\.[01]\r?\n(([a-zA-Z-]{1,8}|Host|Accept): ?[ -~]{0,20}\r?\n){0,4}\r?\n",
            at in any::<prop::sample::Index>(),
            byte in any::<char>(),
        ) {
            let _ = parse(text.as_bytes());
            let i = at.index(text.len());
            if text.is_char_boundary(i) {
                text.insert(i, byte);
            }
            let _ = parse(text.as_bytes());
        }

        /// However it is cut, there is one answer, and none before the head is there.
        #[test]
        fn requests_may_come_in_pieces(
            text in "\r?\n?(GET|HEAD|PUT) (/metrics|/) HTTP/1\\.[01]\r\n((Host|Accept|X): [a-z/*;=.0-9]{0,20}\r\n){0,4}\r\n[a-z]{0,9}",
        ) {
            let whole = parse(text.as_bytes());
            let mut came = false;
            for n in 0..=text.len() {
                let part = parse(&text.as_bytes()[..n]);
                if came || part != Ok(None) {
                    prop_assert_eq!(part, whole);
                    came = true;
                }
            }
            prop_assert!(came);
        }
    }
}
