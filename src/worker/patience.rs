//! Trying again while a server is away.

use std::future::Future;
use std::time::Duration;

use super::lease::ProtocolError;
use super::progress::{Halt, Pulse};
use crate::domain::Problem as _;

/// The first wait between two tries; doubled after each, up to [`LONGEST`].
const FIRST: Duration = Duration::from_millis(200);
const LONGEST: Duration = Duration::from_secs(5);
/// Tries that a server may answer with a failure of its own before it is believed.
const ANSWERED: u32 = 8;

/// Waits that double.
#[derive(Debug)]
pub struct Backoff {
    next: Duration,
    longest: Duration,
}

impl Backoff {
    /// Begins with a fifth of a second.
    pub fn up_to(longest: Duration) -> Self {
        Self { next: FIRST, longest }
    }

    /// How long to wait now.
    pub fn wait(&mut self) -> Duration {
        let now = self.next;
        self.next = (2 * now).min(self.longest);
        now
    }
}

/// Calls until it succeeds. An unreachable server is asked again for as long
/// as the attempt's lease can still be valid; one that answers with a failure,
/// a few times.
pub async fn patiently<T, F>(pulse: &Pulse, call: impl FnMut() -> F) -> Result<T, ProtocolError>
where
    F: Future<Output = Result<T, ProtocolError>>,
{
    with_waits(pulse, Backoff::up_to(LONGEST), call).await
}

async fn with_waits<T, F>(
    pulse: &Pulse,
    mut backoff: Backoff,
    mut call: impl FnMut() -> F,
) -> Result<T, ProtocolError>
where
    F: Future<Output = Result<T, ProtocolError>>,
{
    let mut answered = 0;
    loop {
        let answer = tokio::select! {
            biased;
            () = pulse.until_lost() => return Err(ProtocolError::LeaseLost),
            answer = call() => answer,
        };
        let error = match answer {
            Err(error) if error.is_passing() => error,
            Err(ProtocolError::LeaseLost) => {
                pulse.halt(Halt::Lost);
                return Err(ProtocolError::LeaseLost);
            }
            other => return other,
        };
        let unreachable = error.code() == "server_unreachable";
        answered += u32::from(!unreachable);
        // Whoever shuts down does not wait for a server that may be gone for good.
        if answered == ANSWERED || (unreachable && pulse.halted() == Some(Halt::Returning)) {
            return Err(error);
        }
        tracing::warn!(%error, "trying again");
        tokio::select! {
            () = pulse.until_lost() => return Err(ProtocolError::LeaseLost),
            () = tokio::time::sleep(backoff.wait()) => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use super::*;

    const NO_WAITS: Backoff = Backoff {
        next: Duration::ZERO,
        longest: Duration::ZERO,
    };

    #[tokio::test]
    async fn an_unreachable_server_is_asked_until_the_lease_is_lost() {
        let pulse = Pulse::new();
        let calls = Cell::new(0);
        let away = || {
            calls.set(calls.get() + 1);
            if calls.get() == 50 {
                pulse.halt(Halt::Lost);
            }
            std::future::ready(Err::<(), _>(ProtocolError::Unreachable("refused".to_owned())))
        };
        let end = with_waits(&pulse, NO_WAITS, away).await;
        assert!(matches!(end, Err(ProtocolError::LeaseLost)));
        assert_eq!(calls.get(), 50);
    }

    #[tokio::test]
    async fn a_server_that_answers_with_failures_is_believed_in_the_end() {
        let pulse = Pulse::new();
        let calls = Cell::new(0);
        let failing = || {
            calls.set(calls.get() + 1);
            std::future::ready(Err::<(), _>(ProtocolError::Refused {
                kind: crate::domain::ErrorKind::Internal,
                detail: "the server failed".to_owned(),
            }))
        };
        assert!(with_waits(&pulse, NO_WAITS, failing).await.is_err());
        assert_eq!(calls.get(), ANSWERED);
    }

    #[tokio::test]
    async fn what_is_refused_is_not_asked_again() {
        let pulse = Pulse::new();
        let lost = patiently(&pulse, || {
            std::future::ready(Err::<(), _>(ProtocolError::LeaseLost))
        })
        .await;
        assert!(matches!(lost, Err(ProtocolError::LeaseLost)));
        assert_eq!(pulse.halted(), Some(Halt::Lost), "the whole attempt learns of it");
    }
}
