//! `docs/mask-format.md`, held against two decoders: ours, and one in Python that was written from the text alone.

mod agreement;
mod hostile;
mod vectors;
