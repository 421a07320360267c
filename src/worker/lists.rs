//! Which images an attempt trains on and which judge, asked for page by page.

use std::collections::BTreeMap;
use std::future::Future;

use super::lease::{Assignment, Connection, PATIENCE, ProtocolError, Stored, stored, within};
use super::patience::patiently;
use super::progress::Pulse;
use crate::domain::image::Metadata;
use crate::domain::{AttemptId, Digest, snapshot};
use crate::wire::grpc::v1 as proto;

/// An image of the validation set.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Labelled {
    /// The image.
    pub image: Stored,
    /// What it shows.
    pub class: String,
    /// The split that it belongs to.
    pub split: String,
    /// Where and how it was taken.
    pub metadata: Metadata,
}

/// The images of an attempt, in ascending order of their digests.
#[derive(Debug)]
pub struct Lists {
    /// Those to train on.
    pub images: Vec<Stored>,
    /// Those that judge, both splits.
    pub labelled: Vec<Labelled>,
}

impl Lists {
    /// Asks for the lists of an attempt. What it is to train on must be what its assignment's digest says.
    pub async fn of(
        connection: &Connection,
        assignment: &Assignment,
        pulse: &Pulse,
    ) -> Result<Self, ProtocolError> {
        let attempt = assignment.attempt;
        let images = whole(
            pulse,
            |image: &Stored| image.digest,
            |after| connection.images(attempt, after),
        );
        let images = images.await?;
        let digests: Vec<Digest> = images.iter().map(|image| image.digest).collect();
        if snapshot::digest(&digests) != assignment.snapshot {
            return Err(ProtocolError::Answer("other images than those of the snapshot"));
        }
        let labelled = whole(
            pulse,
            |labelled: &Labelled| labelled.image.digest,
            |after| connection.labelled(attempt, after),
        );
        Ok(Self {
            images,
            labelled: labelled.await?,
        })
    }
}

/// All pages of a list, one after the other.
async fn whole<T, F>(
    pulse: &Pulse,
    digest: impl Fn(&T) -> Digest,
    page: impl Fn(Vec<u8>) -> F,
) -> Result<Vec<T>, ProtocolError>
where
    F: Future<Output = Result<Vec<T>, ProtocolError>>,
{
    let mut list: Vec<T> = Vec::new();
    loop {
        let last = list.last().map(&digest);
        let after = last.map_or(Vec::new(), |last| last.as_bytes().to_vec());
        let next = patiently(pulse, || page(after.clone())).await?;
        let Some(reached) = next.last().map(&digest) else {
            return Ok(list);
        };
        // Or the list has no end.
        if last.is_some_and(|last| reached <= last) {
            return Err(ProtocolError::Answer("a list that is not in order"));
        }
        list.extend(next);
    }
}

impl Connection {
    async fn images(&self, attempt: AttemptId, after: Vec<u8>) -> Result<Vec<Stored>, ProtocolError> {
        let request = within(PATIENCE, asked(attempt, after));
        let reply = self.workers.clone().list_images(request).await?.into_inner();
        reply.images.iter().map(|image| stored(Some(image))).collect()
    }

    async fn labelled(&self, attempt: AttemptId, after: Vec<u8>) -> Result<Vec<Labelled>, ProtocolError> {
        let request = within(PATIENCE, asked(attempt, after));
        let reply = self.workers.clone().list_labelled(request).await?.into_inner();
        let labelled = |message: proto::Labelled| {
            Ok(Labelled {
                image: stored(message.image.as_ref())?,
                class: message.class,
                split: message.split,
                metadata: Metadata::try_from(message.metadata.into_iter().collect::<BTreeMap<_, _>>())
                    .map_err(|_| ProtocolError::Answer("metadata of an image that no image may have"))?,
            })
        };
        reply.labelled.into_iter().map(labelled).collect()
    }
}

fn asked(attempt: AttemptId, after: Vec<u8>) -> proto::ListRequest {
    proto::ListRequest {
        attempt: attempt.to_string(),
        after,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn image(number: u8) -> Stored {
        Stored {
            digest: Digest::from_bytes([number; 32]),
            bytes: 1,
        }
    }

    #[tokio::test]
    async fn pages_are_put_together_and_a_list_without_end_is_refused() {
        let pulse = Pulse::new();
        let digest = |image: &Stored| image.digest;
        let pages = |after: Vec<u8>| {
            let next = match after.first() {
                None => vec![image(1), image(2)],
                Some(2) => vec![image(3)],
                _ => Vec::new(),
            };
            std::future::ready(Ok(next))
        };
        let list = whole(&pulse, digest, pages).await.unwrap();
        assert_eq!(list, [image(1), image(2), image(3)]);
        let again = |_| std::future::ready(Ok(vec![image(1)]));
        let refused = whole(&pulse, digest, again).await;
        assert!(matches!(refused, Err(ProtocolError::Answer(_))));
    }
}
