//! How fast: decoding with everything that a device checks, beside what it
//! would cost without a coder of our own; and where the time goes.

use std::time::Instant;

use katagami::base::Weights;
use katagami::mask::{self, Bits, Level, Limits, MaskError};

use super::input::{Outcome, Trained, at, coded, header};
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

/// Seconds that this thread itself worked on `what`, as the kernel counts them: others' work does not count.
fn own_seconds<T>(what: impl FnOnce() -> T) -> (f64, T) {
    let worked = || -> f64 {
        let told = std::fs::read_to_string("/proc/thread-self/schedstat").unwrap_or_default();
        let nanoseconds = told.split_whitespace().next().and_then(|told| told.parse().ok());
        nanoseconds.unwrap_or(f64::NAN)
    };
    let began = worked();
    let done = what();
    ((worked() - began) / 1e9, done)
}

fn file(trained: &Trained, level: Level) -> Outcome<Vec<u8>> {
    let header = header(trained.digest, trained.masked()?, &trained.site);
    Ok(coded(&header, &trained.mask, &trained.base, &at(level))?.0)
}

/// Decode, apply, and both digests, against SHA-256 of the base and `xz -d` of
/// the packed bits, which know but one thread; so ours are timed on one, too.
fn against_xz(trained: &Trained) -> Outcome<()> {
    let files = LEVELS.map(|(_, level)| file(trained, level));
    let packed = peers::packed(&trained.mask);
    let compressed = peers::xz(&packed);
    let peer = || (trained.base.digest(), peers::unxz(&compressed));
    let apply = |file: &[u8], base| {
        let artefact = mask::decode(file, Limits::default())?;
        mask::apply_artefact(&artefact, base)
    };
    // A device reads the base into the memory in which it is masked.
    let base = || Weights::clone(&trained.base);
    let one = rayon::ThreadPoolBuilder::new().num_threads(1).build()?;
    let mut wall = [const { Vec::new() }; 3];
    let mut own = [const { Vec::new() }; 3];
    for _ in 0..ROUNDS {
        let (time, (_, read)) = seconds(peer);
        assert!(read == packed, "xz reads what it wrote");
        wall[0].push(time);
        own[0].push(own_seconds(peer).0);
        for (level, file) in files.iter().enumerate() {
            let file = file.as_ref().map_err(ToString::to_string)?;
            let given = base();
            let (time, applied) = seconds(|| apply(file, given));
            applied?;
            wall[level + 1].push(time);
            let given = base();
            let (time, applied) = one.install(|| own_seconds(|| apply(file, given)));
            applied?;
            own[level + 1].push(time);
        }
    }
    for (threads, times) in [("", wall), ("_on_one_thread", own)] {
        let [peer, fast, best] = times.map(median);
        figure(&format!("time/sha_plus_xz{threads}"), peer, "s");
        for (level, time) in [("fast", fast), ("best", best)] {
            figure(&format!("time/{level}/decode_apply_digest{threads}"), time, "s");
            figure(
                &format!("{level}/decode_vs_sha_plus_xz{threads}"),
                time / peer,
                "ratio",
            );
        }
    }
    Ok(())
}

/// Encoding against decoding of the same mask, which digests the base, too: the worst ratio.
fn encoding(trained: &Trained) -> Outcome<f64> {
    let of = &trained.name;
    let mut worst = 0_f64;
    for (name, level) in LEVELS.into_iter().chain([("default", Level::default())]) {
        let header = trained.header();
        let (mut encode, mut decode) = (Vec::new(), Vec::new());
        for _ in 0..ROUNDS.div_ceil(2) {
            let (time, file) =
                seconds(|| mask::encode_with(&header, &trained.mask, &trained.base, &at(level)));
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

/// Where the time goes, in seconds that one thread itself works.
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
        let averages = mask::encode_with(&header, &nearly_all, &trained.base, &at(level))?;
        let mut stages = [const { Vec::new() }; 5];
        for _ in 0..ROUNDS.div_ceil(2) {
            let base = Weights::clone(&trained.base);
            let outcome: Result<[f64; 5], MaskError> = alone.install(|| {
                let artefact = mask::decode(&file, Limits::default())?;
                let (digest, _) = own_seconds(|| base.digest());
                let nothing = mask::decode(&averages, Limits::default())?;
                let (frozen, read) = own_seconds(|| nothing.mask(&base));
                read?;
                let (all, read) = own_seconds(|| artefact.mask(&base));
                let read = read?;
                let (apply, masked) = own_seconds(|| mask::apply(&read, base));
                let (result, _) = masked.map(|masked| own_seconds(|| masked.digest()))?;
                Ok([digest, frozen - digest, all - frozen, apply, result])
            });
            for (times, time) in stages.iter_mut().zip(outcome?) {
                times.push(time);
            }
        }
        let names = [
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
