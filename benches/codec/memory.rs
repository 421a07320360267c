//! How much memory applying takes beside the base's own, in a process that does nothing else.

use std::fs::{self, File};
use std::io::{BufReader, Read, Write};
use std::path::Path;
use std::process::Command;

use katagami::base::Weights;
use katagami::mask::{self, Limits};

use super::input::{Outcome, Trained, at, coded, header};
use super::report::{figure, heading};
use super::sizes::LEVELS;

/// The argument by which this program starts itself.
pub const CHILD: &str = "--apply-alone";

/// Applies a mask of each level in a process of its own, and asks the kernel for its peak.
pub fn measure(trained: &Trained) -> Outcome<()> {
    heading("Peak memory of a process that applies an artefact, less the base's bytes");
    let folder = tempfile::tempdir()?;
    let [base, artefact] = ["base", "artefact"].map(|name| folder.path().join(name));
    let mut file = File::create(&base)?;
    for tensor in &trained.base.values {
        let bytes: Vec<u8> = tensor.iter().flat_map(|value| value.to_le_bytes()).collect();
        file.write_all(&bytes)?;
    }
    let header = header(trained.digest, trained.masked()?, &trained.site);
    let mut worst = 0_f64;
    for (name, level) in LEVELS {
        fs::write(
            &artefact,
            coded(&header, &trained.mask, &trained.base, &at(level))?.0,
        )?;
        let told = Command::new(std::env::current_exe()?)
            .arg(CHILD)
            .args([&base, &artefact])
            .output()?;
        if !told.status.success() {
            return Err(String::from_utf8_lossy(&told.stderr).into_owned().into());
        }
        let peak: f64 = String::from_utf8(told.stdout)?.trim().parse()?;
        let extra = (peak * 1024.0 - fs::metadata(&base)?.len() as f64) / 1e6;
        figure(&format!("{name}/decode_extra_memory"), extra, "MB");
        worst = worst.max(extra);
    }
    figure("decode_extra_memory", worst, "MB");
    Ok(())
}

/// The child: reads the base into the memory in which it is masked, applies, and prints its peak in KiB.
pub fn child(base: &Path, artefact: &Path) -> Outcome<()> {
    let artefact = mask::decode(&fs::read(artefact)?, Limits::default())?;
    let mut file = BufReader::new(File::open(base)?);
    let mut values = Vec::new();
    for spec in &artefact.architecture.tensors {
        let mut tensor = vec![0.0; spec.len()];
        for value in &mut tensor {
            let mut bytes = [0; 4];
            file.read_exact(&mut bytes)?;
            *value = f32::from_le_bytes(bytes);
        }
        values.push(tensor);
    }
    let base = Weights {
        architecture: artefact.architecture,
        values,
    };
    mask::apply_artefact(&artefact, base)?;
    let status = fs::read_to_string("/proc/self/status")?;
    let peak = status
        .lines()
        .find_map(|line| line.strip_prefix("VmHWM:"))
        .and_then(|line| line.split_whitespace().next());
    println!("{}", peak.ok_or("the kernel tells no peak")?);
    Ok(())
}
