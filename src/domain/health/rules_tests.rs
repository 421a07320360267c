//! Thresholds on sets whose defects are known.

use super::*;
use crate::domain::image::PerceptualHash;

/// A usual image of a site of mean luminance `light`: all vary a little.
fn usual(number: u64, light: f64) -> Seen {
    let noise = |salt: u64| {
        let mixed = (number * 31 + salt).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        (mixed >> 40) as f64 / f64::from(1 << 24) - 0.5
    };
    Seen {
        digest: Digest::of(&number.to_le_bytes()),
        width: 640,
        height: 480,
        phash: PerceptualHash((number + 1).wrapping_mul(0xd6e8_feb8_6659_fd93)),
        look: Some(Look::Measured(Quality {
            luminance: light * (1.0 + 0.2 * noise(1)),
            darkest: 2,
            brightest: 200,
            clipped: 0.01 + 0.01 * noise(2),
            entropy: 6.0 + noise(3),
            sharpness: 0.05 * (1.0 + 0.5 * noise(4)),
            pixels: Digest::of(&(number + 1_000_000).to_le_bytes()),
        })),
    }
}

fn site(light: f64) -> Vec<Seen> {
    (0..100).map(|number| usual(number, light)).collect()
}

fn quality(seen: &mut Seen) -> &mut Quality {
    match &mut seen.look {
        Some(Look::Measured(quality)) => quality,
        _ => panic!("it was measured"),
    }
}

/// The findings as codes with their images.
fn judged(images: &[Seen]) -> Vec<(FindingCode, Vec<Digest>)> {
    let found = findings(images);
    assert!(
        found
            .iter()
            .all(|finding| finding.count == finding.images.len() as u64)
    );
    found
        .into_iter()
        .map(|finding| (finding.code, finding.images))
        .collect()
}

#[test]
fn a_healthy_site_has_no_findings_however_dark_it_is() {
    for light in [15.0, 110.0, 215.0] {
        assert_eq!(judged(&site(light)), []);
    }
    assert_eq!(judged(&[]), []);
}

#[test]
fn each_defect_is_found_as_what_it_is_and_nothing_else() {
    type Spoil = fn(&mut Seen);
    let defects: [(FindingCode, Spoil); 9] = [
        (FindingCode::Dark, |seen| quality(seen).luminance = 40.0),
        (FindingCode::Dark, |seen| quality(seen).brightest = 10),
        (FindingCode::Bright, |seen| quality(seen).luminance = 200.0),
        (FindingCode::Bright, |seen| {
            (quality(seen).darkest, quality(seen).brightest) = (244, 255);
        }),
        (FindingCode::Clipped, |seen| quality(seen).clipped = 0.4),
        (FindingCode::Blurred, |seen| quality(seen).sharpness = 0.004),
        (FindingCode::LowInformation, |seen| {
            (quality(seen).darkest, quality(seen).brightest) = (100, 103);
        }),
        (FindingCode::OddSize, |seen| {
            (seen.width, seen.height) = (4_000, 3_000);
        }),
        (FindingCode::OddSize, |seen| {
            (seen.width, seen.height) = (480, 640);
        }),
    ];
    for (code, spoil) in defects {
        let mut images = site(110.0);
        spoil(&mut images[17]);
        assert_eq!(judged(&images), [(code, vec![images[17].digest])]);
    }
    let mut images = site(110.0);
    images[3].look = Some(Look::Unreadable("damaged".to_owned()));
    images[4].look = None;
    assert_eq!(
        judged(&images),
        [(FindingCode::Unreadable, vec![images[3].digest])]
    );
}

#[test]
fn what_is_usual_here_is_no_finding_even_if_it_is_dark_or_of_two_sizes() {
    let mut images = site(110.0);
    for seen in images.iter_mut().step_by(2) {
        quality(seen).luminance /= 4.0;
        (seen.width, seen.height) = (480, 640);
    }
    assert_eq!(judged(&images), []);
}

#[test]
fn a_second_camera_is_no_finding_and_a_few_strays_are() {
    let count = site(110.0).len();
    for (others, found) in [
        (count / 10, true),
        (count / 10 + 1, false),
        (count * 2 / 5, false),
    ] {
        let mut images = site(110.0);
        for seen in images.iter_mut().take(others) {
            quality(seen).luminance /= 4.0;
            (seen.width, seen.height) = (240, 320);
        }
        assert_eq!(!judged(&images).is_empty(), found, "{others} of {count}");
    }
}

#[test]
fn the_worst_comes_first_and_the_reason_has_the_figures() {
    let mut images = site(100.0);
    quality(&mut images[5]).luminance = 30.0;
    quality(&mut images[50]).luminance = 12.0;
    quality(&mut images[70]).brightest = 3;
    let found = findings(&images);
    let [dark] = found.as_slice() else {
        panic!("{found:?}")
    };
    assert_eq!(dark.images, [70, 50, 5].map(|at| images[at].digest));
    assert!(
        dark.explanation
            .starts_with("nearly black, or mean luminance below ")
            && dark.explanation.contains("the site's middle is 100"),
        "{}",
        dark.explanation
    );
    assert_eq!(dark.clone().bounded(2).images.len(), 2);
    assert_eq!(dark.clone().bounded(2).count, 3);
}

#[test]
fn a_few_images_are_judged_by_absolute_limits_only() {
    let mut images: Vec<Seen> = site(110.0).drain(..19).collect();
    quality(&mut images[0]).luminance = 20.0;
    quality(&mut images[1]).brightest = 0;
    assert_eq!(judged(&images), [(FindingCode::Dark, vec![images[1].digest])]);
}

#[test]
fn the_first_of_duplicates_stays_and_flat_pictures_are_no_likenesses() {
    let mut images = site(110.0);
    quality(&mut images[9]).pixels = quality(&mut images[2].clone()).pixels;
    images[9].phash = images[2].phash;
    images[11].phash = PerceptualHash(images[4].phash.0 ^ 0b101);
    for at in [20, 21] {
        images[at].phash = PerceptualHash(0);
        (
            quality(&mut images[at]).darkest,
            quality(&mut images[at]).brightest,
        ) = (100, 101);
    }
    assert_eq!(
        judged(&images),
        [
            (FindingCode::ExactDuplicate, vec![images[9].digest]),
            (FindingCode::NearDuplicate, vec![images[11].digest]),
            (
                FindingCode::LowInformation,
                vec![images[20].digest, images[21].digest]
            ),
        ]
    );
}
