//! `/v1/events`: what happens, followed across lost connections.

use reqwest::{Method, Response};

use super::request::backoff;
use super::{Client, ClientError};
use crate::wire::v1::events::{Event, EventQuery};

/// The longest event that is read.
const LONGEST: usize = 1 << 20;
/// Failed connections in a row after which following is given up: about a minute.
const FAILURES: u32 = 10;

/// A stream of events. A lost connection is made again, and what happened meanwhile is told then.
pub struct EventStream {
    client: Client,
    query: EventQuery,
    /// The last event told; where a new connection goes on.
    last: Option<i64>,
    /// Dropped when it breaks.
    connection: Option<Response>,
    parser: Parser,
    failures: u32,
}

impl Client {
    /// Follows what happens, after event `last` or from now on.
    pub fn events(&self, query: &EventQuery, last: Option<i64>) -> EventStream {
        EventStream {
            client: self.with_attempts(1),
            query: query.clone(),
            last,
            connection: None,
            parser: Parser::default(),
            failures: 0,
        }
    }
}

impl EventStream {
    /// The next event. An error is one that asking again would not mend, or
    /// that a minute of asking did not. May be dropped at any point without losing an event.
    pub async fn next(&mut self) -> Result<Event, ClientError> {
        loop {
            if let Some(event) = self.parser.next_event() {
                self.last = Some(event.id);
                self.failures = 0;
                return Ok(event);
            }
            if let Err(error) = self.receive().await {
                self.connection = None;
                self.parser = Parser::default();
                self.failures += 1;
                if !error.is_passing() || self.failures >= FAILURES {
                    return Err(error);
                }
                tracing::debug!(%error, "following events again");
                tokio::time::sleep(backoff(self.failures)).await;
            }
        }
    }

    /// Connects until the server answers, so that whatever happens from now on is told.
    pub async fn connected(mut self) -> Result<Self, ClientError> {
        self.connect().await?;
        Ok(self)
    }

    /// Reads what comes next, connecting first if need be.
    async fn receive(&mut self) -> Result<(), ClientError> {
        let response = self.connect().await?;
        let url = response.url().to_string();
        let ended = || ClientError::Unreachable {
            url: url.clone(),
            reason: "the stream of events ended".to_owned(),
        };
        let chunk = response
            .chunk()
            .await
            .map_err(|error| ClientError::broken(&url, &error))?;
        self.parser.push(&chunk.ok_or_else(ended)?);
        if self.parser.buffer.len() > LONGEST {
            return Err(ClientError::TooLong {
                url,
                limit: LONGEST as u64,
            });
        }
        Ok(())
    }

    async fn connect(&mut self) -> Result<&mut Response, ClientError> {
        if self.connection.is_none() {
            let mut call = self
                .client
                .stream(Method::GET, &["events"])
                .query(&self.query)
                .header("accept", "text/event-stream");
            if let Some(last) = self.last {
                call = call.header("last-event-id", &last.to_string());
            }
            self.connection = Some(call.send().await?);
        }
        Ok(self.connection.as_mut().expect("it was made just now"))
    }
}

/// Takes lines of `text/event-stream` apart. Only `data` is read: it repeats identifier and kind.
#[derive(Default)]
struct Parser {
    buffer: Vec<u8>,
    data: String,
}

impl Parser {
    fn push(&mut self, bytes: &[u8]) {
        self.buffer.extend_from_slice(bytes);
    }

    /// The next whole event. What is no event of ours (a comment, a newer kind) is passed over.
    fn next_event(&mut self) -> Option<Event> {
        while let Some(end) = self.buffer.iter().position(|byte| *byte == b'\n') {
            let line: Vec<u8> = self.buffer.drain(..=end).collect();
            let line = String::from_utf8_lossy(&line);
            let line = line.trim_end_matches(['\n', '\r']);
            if line.is_empty() {
                let data = std::mem::take(&mut self.data);
                if let Ok(event) = serde_json::from_str(&data) {
                    return Some(event);
                }
            } else if let Some(data) = line.strip_prefix("data:") {
                if !self.data.is_empty() {
                    self.data.push('\n');
                }
                self.data.push_str(data.strip_prefix(' ').unwrap_or(data));
            }
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_event_is_read_however_it_is_cut() {
        let text = ": hello\r\n\r\nid: 7\nevent: site-changed\ndata: {\"id\":7,\"at\":\"2026-01-01T00:00:00Z\",\n\
                    data: \"site\":\"osaka\",\"kind\":\"site-changed\"}\n\ndata: {\"kind\":\"newer\"}\n\n";
        for cut in 0..text.len() {
            let mut parser = Parser::default();
            let mut told = Vec::new();
            for part in [&text[..cut], &text[cut..]] {
                parser.push(part.as_bytes());
                while let Some(event) = parser.next_event() {
                    told.push(event.id);
                }
            }
            assert_eq!(told, [7], "cut at {cut}");
        }
    }
}
