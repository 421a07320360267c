//! How fast: decoding with everything that a device checks, beside what it
//! would cost without a coder of our own; and where the time goes.

use std::time::Instant;

use katagami::base::Weights;
use katagami::mask::{self, Bits, Coding, Level, Limits, MaskError};

use super::input::{Outcome, Trained, coded, header};
use super::peers;
use super::report::{figure, heading, median};
use super::sizes::LEVELS;

/// Runs of each contestant. They take turns, so that what disturbs one disturbs all.
const ROUNDS: usize = 5;

/// Prints all figures of time: over `dense`, a great mask, and of encoding over `sparse`, too.
pub fn measure(dense: &Trained, sparse: Option<&Trained>) -> Outcome<()> {
    // Both of an idle machine's cores are ours; a busy one's are not, and the ratios get worse.
    let load = std::fs::read_to_string("/proc/loadavg").unwrap_or_default();
    heading(&format!(
        "Time over {}, {} threads, median of {ROUNDS} interleaved runs; load before: {}",
        dense.name,
        rayon::current_num_threads(),
        load.split_whitespace().next().unwrap_or("unknown"),
    ));
    against_xz(dense)?;
    let mut worst = encoding(dense)?;
    if let Some(sparse) = sparse {
        worst = worst.max(encoding(sparse)?);
    }
    figure("encode_vs_decode", worst, "ratio");
    stages(dense)
}

/// Wall-clock seconds of `what`.
fn seconds<T>(what: impl FnOnce() -> T) -> (f64, T) {
    let began = Instant::now();
    let done = what();
    (began.elapsed().as_secs_f64(), done)
}

fn file(trained: &Trained, level: Level) -> Outcome<Vec<u8>> {
    let header = header(trained.digest, trained.masked()?, &trained.site);
    let coding = Coding {
        level,
        ..Coding::default()
    };
    Ok(coded(&header, &trained.mask, &trained.base, &coding)?.0)
}

/// Decode, apply, and both digests, against SHA-256 of the base and `xz -d` of
/// the packed bits, which know but one thread; so ours are timed on one, too.
fn against_xz(trained: &Trained) -> Outcome<()> {
    let files = LEVELS.map(|(_, level)| file(trained, level));
    let packed = peers::packed(&trained.mask);
    let compressed = peers::xz(&packed);
    let one = rayon::ThreadPoolBuilder::new().num_threads(1).build()?;
    let (mut peer, mut all, mut alone) = (Vec::new(), [Vec::new(), Vec::new()], [Vec::new(), Vec::new()]);
    for _ in 0..ROUNDS {
        let (time, (_, read)) = seconds(|| (trained.base.digest(), peers::unxz(&compressed)));
        assert!(read == packed, "xz reads what it wrote");
        peer.push(time);
        for (level, file) in files.iter().enumerate() {
            let file = file.as_ref().map_err(ToString::to_string)?;
            let apply = || {
                // A device reads the base into the memory in which it is masked.
                let base = Weights::clone(&trained.base);
                let (time, applied) = seconds(|| {
                    let artefact = mask::decode(file, Limits::default())?;
                    mask::apply_artefact(&artefact, base)
                });
                applied.map(|_| time)
            };
            all[level].push(apply()?);
            alone[level].push(one.install(apply)?);
        }
    }
    let peer = median(peer);
    figure("time/sha_plus_xz", peer, "s");
    for (((level, _), all), alone) in LEVELS.iter().zip(all).zip(alone) {
        let (all, alone) = (median(all), median(alone));
        figure(&format!("time/{level}/decode_apply_digest"), all, "s");
        figure(
            &format!("time/{level}/decode_apply_digest_on_one_thread"),
            alone,
            "s",
        );
        figure(&format!("{level}/decode_vs_sha_plus_xz"), all / peer, "ratio");
        figure(
            &format!("{level}/decode_vs_sha_plus_xz_on_one_thread"),
            alone / peer,
            "ratio",
        );
    }
    Ok(())
}

/// Encoding against decoding of the same mask, which digests the base, too: the worst ratio.
fn encoding(trained: &Trained) -> Outcome<f64> {
    let of = &trained.name;
    let mut worst = 0_f64;
    for (name, level) in LEVELS.into_iter().chain([("default", Level::default())]) {
        let coding = Coding {
            level,
            ..Coding::default()
        };
        let header = trained.header();
        let (mut encode, mut decode) = (Vec::new(), Vec::new());
        for _ in 0..ROUNDS.div_ceil(2) {
            let (time, file) = seconds(|| mask::encode_with(&header, &trained.mask, &trained.base, &coding));
            encode.push(time);
            let file = file?;
            let (time, read) = seconds(|| mask::decode(&file, Limits::default())?.mask(&trained.base));
            read?;
            decode.push(time);
        }
        let (encode, decode) = (median(encode), median(decode));
        figure(&format!("time/{name}/{of}/encode"), encode, "s");
        figure(&format!("time/{name}/{of}/decode"), decode, "s");
        figure(&format!("{name}/{of}/encode_vs_decode"), encode / decode, "ratio");
        worst = worst.max(encode / decode);
    }
    Ok(worst)
}

/// Where the time goes, on one thread.
fn stages(trained: &Trained) -> Outcome<()> {
    let alone = rayon::ThreadPoolBuilder::new().num_threads(1).build()?;
    // One dropped weight at the very beginning of each tensor: all averages and
    // odds are computed, and nothing else is left to do.
    let mut nearly_all = trained.mask.clone();
    for bits in nearly_all.tensors.values_mut() {
        *bits = Bits::ones(bits.len());
        bits.set(0, false);
    }
    let header = trained.header();
    heading("Where the time goes, on one thread");
    for (name, level) in LEVELS {
        let file = file(trained, level)?;
        let coding = Coding {
            level,
            ..Coding::default()
        };
        let averages = mask::encode_with(&header, &nearly_all, &trained.base, &coding)?;
        let mut stages = [const { Vec::new() }; 6];
        for _ in 0..ROUNDS.div_ceil(2) {
            let base = Weights::clone(&trained.base);
            let outcome: Result<[f64; 6], MaskError> = alone.install(|| {
                let (parse, artefact) = seconds(|| mask::decode(&file, Limits::default()));
                let artefact = artefact?;
                let (digest, _) = seconds(|| base.digest());
                let nothing = mask::decode(&averages, Limits::default())?;
                let (frozen, read) = seconds(|| nothing.mask(&base));
                read?;
                let (all, read) = seconds(|| artefact.mask(&base));
                let read = read?;
                let (apply, masked) = seconds(|| mask::apply(&read, base));
                let (result, _) = masked.map(|masked| seconds(|| masked.digest()))?;
                Ok([parse, digest, frozen - digest, all - frozen, apply, result])
            });
            for (times, time) in stages.iter_mut().zip(outcome?) {
                times.push(time);
            }
        }
        let names = [
            "parse",
            "digest_of_base",
            "averages_and_odds",
            "walk",
            "apply",
            "digest_of_result",
        ];
        for (stage, times) in names.into_iter().zip(stages) {
            figure(&format!("time/{name}/stage/{stage}"), median(times), "s");
        }
    }
    Ok(())
}
