//! Writes the seed corpora: `seeds FOLDER` makes `FOLDER/<target>/…`.

use std::path::Path;
use std::{env, fs, io};

use katagami::mask::{Level, Mask, encode_with};
use katagami_fuzz::{BASE, PRIOR, coding, header, mask, moved, parts};

fn main() -> io::Result<()> {
    let folder = env::args_os().nth(1).expect("seeds FOLDER");
    let folder = Path::new(&folder);
    let write = |target: &str, name: &str, bytes: &[u8]| {
        let folder = folder.join(target);
        fs::create_dir_all(&folder)?;
        fs::write(folder.join(name), bytes)
    };
    write("delta", "prior", &PRIOR.encode().expect("it compresses"))?;
    for (name, mask) in masks() {
        for (level, level_name) in [(Level::Fast, "fast"), (Level::Best, "best")] {
            for (target, delta) in [("coder", false), ("delta", true)] {
                let file =
                    encode_with(&header(&mask, delta), &mask, &BASE, &coding(delta, level)).expect("it fits");
                let name = format!("{name}-{level_name}-{target}");
                let [header, bits, norms] = parts(&file);
                write("header", &name, header)?;
                write(target, &name, &[&[norms.len() as u8], bits, norms].concat())?;
                write("apply", &name, &file)?;
                write("apply", &format!("{name}-unsealed"), &file[..file.len() - 32])?;
            }
        }
    }
    Ok(())
}

fn masks() -> Vec<(String, Mask)> {
    let shares = [0.0, 0.001, 0.01, 0.05, 0.2, 0.5, 0.9];
    let mut masks: Vec<_> = shares.map(|share| (format!("{share}"), mask(share, 7))).to_vec();
    masks.push(("moved".to_owned(), moved(mask(0.01, 8), 0.01)));
    masks.push(("moved-far".to_owned(), moved(mask(0.0, 9), 3.0)));
    masks.push(("over-nothing".to_owned(), Mask::default()));
    masks
}
