//! Any bytes as the section of a cascade's experts, behind a dispatcher that it would fit: if they are experts, they
//! tell pictures apart, and must survive being written.
#![no_main]

use std::sync::LazyLock;

use katagami::mask::cascade::{NewExpert, encode_cascade};
use katagami_fuzz::{BASE, cascade, frame, parts, read};

static FILE: LazyLock<Vec<u8>> = LazyLock::new(cascade);

libfuzzer_sys::fuzz_target!(|input: &[u8]| {
    let [header, bits, norms, _] = parts(&FILE);
    let file = frame(3, [header, bits, norms, input]);
    let Ok(artefact) = read(&file) else { return };
    let Some(experts) = &artefact.experts else { return };
    let dispatcher = artefact.mask(&BASE).expect("it is as it was written");
    let _ = artefact.check_networks(&BASE);

    let embedding = vec![0.5; BASE.architecture.embedding_dim];
    let expert = experts.router.expert_of(&embedding);
    let joined = experts.joint.of([(0, &*embedding), (expert + 1, &embedding)]);
    assert_eq!(joined.len(), experts.joint.width());

    let masks = (1..=experts.count()).map(|number| {
        Some(NewExpert {
            mask: artefact.expert_mask(number, &dispatcher, &BASE).ok()?,
            weights: experts.weights(number)?,
        })
    });
    let Some(masks) = masks.collect::<Option<Vec<_>>>() else {
        return;
    };
    let (router, joint) = (&experts.router, &experts.joint);
    let again = encode_cascade(&artefact.header, &dispatcher, &BASE, router, joint, &masks)
        .expect("what is read can be written");
    let reread = read(&again).expect("what is written can be read");
    for (number, expert) in (1..).zip(masks) {
        let mask = reread.expert_mask(number, &dispatcher, &BASE);
        assert_eq!(mask.expect("and decoded"), expert.mask);
    }
});
