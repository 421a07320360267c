//! The mask artefact: bits over a frozen base, as a file.
