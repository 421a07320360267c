//! Captions that come as files of their own: `NAME.json` beside `NAME.png` or
//! `NAME.png.json` beside it, before or after their image.

use std::collections::BTreeMap;

use serde_json::{Map, Value};

use super::Rejection;
use crate::domain::Digest;
use crate::domain::image::Caption;

/// Most bytes of a caption's file.
const MOST: usize = 64 << 10;
/// Most bytes of captions that wait for their images.
const WAITING: usize = 16 << 20;

/// What is known of the captions of one upload.
#[derive(Debug, Default)]
pub(super) struct Sidecars {
    /// Captions whose images have not come, by the name without `.json`.
    waiting: BTreeMap<String, Caption>,
    bytes: usize,
    /// Images that came without one, by both names that a caption may call them.
    images: BTreeMap<String, Digest>,
}

/// The name that a caption's file speaks of, if it is one.
pub(super) fn subject(name: &str) -> Option<&str> {
    name.strip_suffix(".json").filter(|subject| !subject.is_empty())
}

/// Reads a caption's file.
pub(super) fn caption(bytes: &[u8]) -> Result<Caption, Rejection> {
    if bytes.len() > MOST {
        return Err(Rejection::Caption(format!("it has more than {MOST} bytes")));
    }
    // By way of an object: serde would take a list for the fields in their order.
    let object: Result<Map<String, Value>, _> = serde_json::from_slice(bytes);
    object
        .and_then(|object| serde_json::from_value(Value::Object(object)))
        .map_err(|error| Rejection::Caption(error.to_string().chars().take(160).collect()))
}

/// A name without its last extension; nothing if there is none.
fn stem(name: &str) -> Option<&str> {
    let (stem, extension) = name.rsplit_once('.')?;
    (!stem.is_empty() && !stem.ends_with('/') && !extension.contains('/')).then_some(stem)
}

impl Sidecars {
    /// A caption came: the image that it speaks of, if that came before.
    pub fn came(&mut self, subject: &str, caption: Caption) -> Result<Option<(Digest, Caption)>, Rejection> {
        if let Some(image) = self.images.remove(subject) {
            return Ok(Some((image, caption)));
        }
        let pairs = caption.metadata.pairs().iter();
        self.bytes += 64
            + subject.len()
            + pairs
                .map(|(key, value)| 64 + key.len() + value.len())
                .sum::<usize>();
        if self.bytes > WAITING {
            return Err(Rejection::Caption(
                "too many captions wait for their images".to_owned(),
            ));
        }
        self.waiting.insert(subject.to_owned(), caption);
        Ok(None)
    }

    /// An image came: its caption, if that came before.
    pub fn of(&mut self, name: &str) -> Option<Caption> {
        let found = self.waiting.remove(name);
        found.or_else(|| self.waiting.remove(stem(name)?))
    }

    /// An image came without a caption: one may still come.
    pub fn without(&mut self, name: &str, image: Digest) {
        self.images.insert(name.to_owned(), image);
        if let Some(stem) = stem(name) {
            self.images.insert(stem.to_owned(), image);
        }
    }

    /// Takes out the file of a caption that spoke of no image.
    pub fn left_over(&mut self) -> Option<String> {
        let subject = self.waiting.keys().next()?.clone();
        self.waiting.remove(&subject);
        Some(format!("{subject}.json"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_caption_finds_its_image_by_either_name_before_or_after() {
        let mut sidecars = Sidecars::default();
        let one = Caption::default();
        for subject in ["a/1", "a/2.png"] {
            assert_eq!(sidecars.came(subject, one.clone()).unwrap(), None);
        }
        assert!(sidecars.of("a/1.png").is_some());
        assert!(sidecars.of("a/1.png").is_none());
        assert!(sidecars.of("a/2.png").is_some());
        let image = Digest::of(b"3");
        sidecars.without("a.b/3.jpg", image);
        assert_eq!(
            sidecars.came("a.b/3", one.clone()).unwrap(),
            Some((image, one.clone()))
        );
        assert_eq!(sidecars.came("a.b/4", one).unwrap(), None);
        assert_eq!(sidecars.left_over().as_deref(), Some("a.b/4.json"));
        assert_eq!(sidecars.left_over(), None);
    }

    #[test]
    fn a_caption_is_strict_and_small() {
        assert!(caption(br#"{"metadata": {"line": "a"}}"#).is_ok());
        for wrong in [
            &b""[..],
            b"[]",
            br#"{"line": "a"}"#,
            br#"{"metadata": {"line": 1}}"#,
            br#"{"captured_at": "x"}"#,
        ] {
            assert_eq!(caption(wrong).unwrap_err().code(), "caption_invalid");
        }
        assert_eq!(
            caption(&vec![b' '; MOST + 1]).unwrap_err().code(),
            "caption_invalid"
        );
    }
}
