//! Network input as a file, so that two programs can be compared on exactly
//! the same numbers: safetensors with one tensor, `input` `[n, 3, size, size]`.
//! Read and written batch by batch.

use std::fs::File;
use std::io::{self, BufReader, Read, Write};
use std::path::{Path, PathBuf};

use safetensors::Dtype;
use safetensors::tensor::Metadata;

use crate::base::write_atomically;
use crate::worker::error::{WorkerCommandError, at};

/// Longest header that is read; ours has less than 100 bytes.
const LONGEST_HEADER: u64 = 1 << 20;

/// Writes `count` inputs, given batch by batch. The file is whole or not there.
pub(super) fn save(
    path: &Path,
    count: usize,
    size: u32,
    mut batches: impl Iterator<Item = Result<Vec<f32>, WorkerCommandError>>,
) -> Result<(), WorkerCommandError> {
    let bytes = count * 3 * (size * size) as usize * size_of::<f32>();
    let mut header = serde_json::json!({
        "input": { "dtype": "F32", "shape": [count, 3, size, size], "data_offsets": [0, bytes] }
    })
    .to_string()
    .into_bytes();
    header.resize(header.len().next_multiple_of(8), b' ');
    // What stops a batch is kept aside, since the writer knows only errors of the system.
    let mut stopped = None;
    let written = write_atomically(path, |file| {
        file.write_all(&(header.len() as u64).to_le_bytes())?;
        file.write_all(&header)?;
        batches.try_for_each(|batch| match batch {
            Ok(batch) => write_floats(file, &batch),
            Err(error) => {
                stopped = Some(error);
                Err(io::ErrorKind::Interrupted.into())
            }
        })
    });
    match stopped {
        Some(error) => Err(error),
        None => written.map_err(at(path)),
    }
}

fn write_floats(file: &mut dyn Write, values: &[f32]) -> io::Result<()> {
    let bytes: Vec<u8> = values.iter().flat_map(|value| value.to_le_bytes()).collect();
    file.write_all(&bytes)
}

/// A file of network input that is being read.
pub(super) struct InputFile {
    path: PathBuf,
    file: BufReader<File>,
    /// Inputs left.
    left: usize,
    size: u32,
}

impl InputFile {
    pub(super) fn open(path: &Path) -> Result<Self, WorkerCommandError> {
        let unusable = |reason| WorkerCommandError::Input {
            path: path.to_owned(),
            reason,
        };
        let no_file = || unusable("this is no safetensors file");
        let mut file = BufReader::new(File::open(path).map_err(at(path))?);
        let mut prefix = [0; 8];
        file.read_exact(&mut prefix).map_err(|_| no_file())?;
        let length = u64::from_le_bytes(prefix);
        if length > LONGEST_HEADER {
            return Err(no_file());
        }
        let mut header = vec![0; length as usize];
        file.read_exact(&mut header).map_err(|_| no_file())?;
        let metadata: Metadata = serde_json::from_slice(&header).map_err(|_| no_file())?;
        let tensors = metadata.tensors();
        let input = tensors
            .get("input")
            .filter(|_| tensors.len() == 1)
            .ok_or_else(|| unusable("it must hold one tensor, `input`"))?;
        let [count, 3, height, width] = input.shape[..] else {
            return Err(unusable("`input` must have the shape [n, 3, size, size]"));
        };
        if input.dtype != Dtype::F32 || height != width || !(32..=1024).contains(&width) {
            return Err(unusable(
                "`input` must be square float32 images of 32 to 1024 pixels",
            ));
        }
        Ok(Self {
            path: path.to_owned(),
            file,
            left: count,
            size: width as u32,
        })
    }

    /// Refuses inputs that are not whole pictures of `tiles` tiles each.
    pub(super) fn must_be_groups_of(&self, tiles: usize) -> Result<(), WorkerCommandError> {
        if self.left.is_multiple_of(tiles) {
            Ok(())
        } else {
            Err(self.unusable("the images of `input` are no multiple of the view's tiles"))
        }
    }

    /// Edge length of the inputs in pixels.
    pub(super) fn size(&self) -> u32 {
        self.size
    }

    /// The next inputs, at most `most`; none at the end.
    pub(super) fn next(&mut self, most: usize) -> Result<Option<Vec<f32>>, WorkerCommandError> {
        let batch = self.left.min(most);
        if batch == 0 {
            return Ok(None);
        }
        let mut bytes = vec![0; batch * 3 * (self.size * self.size) as usize * size_of::<f32>()];
        self.file
            .read_exact(&mut bytes)
            .map_err(|error| match error.kind() {
                io::ErrorKind::UnexpectedEof => self.unusable("it is cut short"),
                _ => at(&self.path)(error),
            })?;
        self.left -= batch;
        let values: Vec<f32> = (bytes.as_chunks::<4>().0.iter())
            .map(|raw| f32::from_le_bytes(*raw))
            .collect();
        if values.iter().all(|value| value.is_finite()) {
            return Ok(Some(values));
        }
        Err(self.unusable("`input` has a value that is not finite"))
    }

    fn unusable(&self, reason: &'static str) -> WorkerCommandError {
        WorkerCommandError::Input {
            path: self.path.clone(),
            reason,
        }
    }
}
