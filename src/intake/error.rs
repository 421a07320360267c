//! Why one file was rejected, and why a whole request failed.

use crate::base::preprocessing::PictureError;
use crate::blobs::BlobError;
use crate::catalog::CatalogError;
use crate::domain::image::InvalidMetadata;
use crate::domain::{ErrorKind, Problem, SiteName};

/// Why one file is no image that a site can use. The others of its upload go on.
#[derive(Debug, thiserror::Error)]
pub enum Rejection {
    /// It has no bytes.
    #[error("the file is empty")]
    Empty,
    /// It has too many bytes.
    #[error("the file has more than {0} bytes, which is the limit")]
    TooLarge(u64),
    /// It is no picture, or a damaged one.
    #[error(transparent)]
    Picture(#[from] PictureError),
    /// It has too many pixels.
    #[error("the picture has {width} × {height} pixels, the limit is {most} pixels")]
    TooManyPixels {
        /// Its width.
        width: u32,
        /// Its height.
        height: u32,
        /// The limit.
        most: u64,
    },
    /// Its name leads out of the archive or cannot be read.
    #[error(
        "the name is absolute, leads out of the archive, is longer than 1,024 bytes or no plain text; rename it"
    )]
    Path,
    /// It is no file.
    #[error("the entry is a {0}, not a plain file; put the file itself into the archive")]
    NoFile(&'static str),
    /// The archive breaks off or is none.
    #[error(
        "the archive is damaged or breaks off here ({0}); what came before is kept, send it again for the rest"
    )]
    Archive(String),
    /// There are too many entries.
    #[error("an upload has at most {0} entries; send the rest in another one")]
    TooManyEntries(u64),
    /// Its caption cannot be read.
    #[error("the caption cannot be read ({0}); the image is kept without it")]
    Caption(String),
    /// There is no image of the caption's name.
    #[error("there is no image of this name in the upload")]
    CaptionAlone,
    /// A part of a form is nothing that is known.
    #[error(
        "this part of the form has no file name and is not called `caption`; send files with their names, and what is known of a file as `caption` before it"
    )]
    FormPart,
    /// A labelled file is not in a folder of its class nor in `labels.csv`.
    #[error("the file has no class: put it into a folder of its class or name it in labels.csv")]
    NoClass,
    /// The class's name cannot be used.
    #[error("the class's name is empty, longer than 128 bytes or has control codes")]
    ClassName,
    /// The split is unknown.
    #[error("`{0}` is no split; write `validation` or `test`")]
    Split(String),
    /// A row of `labels.csv` cannot be read.
    #[error("the row cannot be read ({0})")]
    Row(String),
    /// `labels.csv` names a file that did not come.
    #[error("labels.csv names this file, but it is not in the archive")]
    NoFileOfRow,
    /// One image with two classes.
    #[error("the same image is in class `{0}` and in class `{1}`; keep one of them")]
    TwoClasses(String, String),
    /// One image in both splits, or twice.
    #[error("the same image came before as `{0}`")]
    Again(String),
}

impl From<InvalidMetadata> for Rejection {
    fn from(error: InvalidMetadata) -> Self {
        Self::Caption(error.to_string())
    }
}

impl Rejection {
    /// A stable code.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Empty => "file_empty",
            Self::TooLarge(_) => "file_too_large",
            Self::Picture(error) => error.code(),
            Self::TooManyPixels { .. } => "picture_too_large",
            Self::Path => "entry_path",
            Self::NoFile(_) => "entry_type",
            Self::Archive(_) => "archive_damaged",
            Self::TooManyEntries(_) => "too_many_entries",
            Self::Caption(_) => "caption_invalid",
            Self::CaptionAlone => "caption_without_image",
            Self::FormPart => "form_part",
            Self::NoClass => "no_class",
            Self::ClassName => "class_name",
            Self::Split(_) => "no_such_split",
            Self::Row(_) => "labels_row",
            Self::NoFileOfRow => "no_such_file",
            Self::TwoClasses(..) => "two_classes",
            Self::Again(_) => "again",
        }
    }
}

/// Why a request failed as a whole.
#[derive(Debug, thiserror::Error)]
pub enum IntakeError {
    /// The catalog.
    #[error(transparent)]
    Catalog(#[from] CatalogError),
    /// The blobs.
    #[error(transparent)]
    Blobs(#[from] BlobError),
    /// A thread that decoded ended by itself.
    #[error("a picture could not be looked at; the server's log says why")]
    Decoder(#[from] tokio::task::JoinError),
    /// No image is left for a snapshot.
    #[error(
        "no image of `{site}` is left for a snapshot ({matching} match, {left_out} of them are in the validation set); \
         submit images, widen the filter or exclude less"
    )]
    SnapshotEmpty {
        /// The site.
        site: SiteName,
        /// Images that match the filter.
        matching: u64,
        /// Those left out because of the validation set.
        left_out: u64,
    },
    /// Findings cannot be excluded before all images were looked at.
    #[error(
        "{images} images of `{site}` were submitted before images were measured, so nobody knows what is wrong with \
         them; run `katagami images health {site}`, which measures them, and try again"
    )]
    Unmeasured {
        /// The site.
        site: SiteName,
        /// How many.
        images: u64,
    },
    /// A validation set needs two classes to tell apart.
    #[error(
        "a validation set needs images of at least two classes outside its test split, and {found} came; \
         sort them into a folder per class or name them in labels.csv{}",
        first.as_ref().map(|first| format!(" (first rejection: {first})")).unwrap_or_default()
    )]
    TooFewClasses {
        /// Classes that came.
        found: usize,
        /// Why the first file was rejected.
        first: Option<String>,
    },
    /// `labels.csv` cannot be read.
    #[error("labels.csv cannot be read: {0}; its first line is `file,class` or `file,class,split`")]
    Labels(String),
}

impl Problem for IntakeError {
    fn kind(&self) -> ErrorKind {
        match self {
            Self::Catalog(error) => error.kind(),
            Self::Blobs(error) => error.kind(),
            Self::Decoder(_) => ErrorKind::Internal,
            Self::SnapshotEmpty { .. } | Self::Unmeasured { .. } => ErrorKind::Conflict,
            Self::TooFewClasses { .. } | Self::Labels(_) => ErrorKind::Invalid,
        }
    }

    fn code(&self) -> &'static str {
        match self {
            Self::Catalog(error) => error.code(),
            Self::Blobs(error) => error.code(),
            Self::Decoder(_) => "decoder_failed",
            Self::SnapshotEmpty { .. } => "snapshot_empty",
            Self::Unmeasured { .. } => "images_unmeasured",
            Self::TooFewClasses { .. } => "validation_classes",
            Self::Labels(_) => "labels_invalid",
        }
    }
}
