//! Pictures of every kind become sensible input, and none makes the decoder panic.

use image::{ImageBuffer, ImageFormat, Luma, Rgb, Rgba};
use proptest::prelude::*;

use super::*;

fn png(picture: impl Into<DynamicImage>) -> Vec<u8> {
    let mut bytes = Vec::new();
    picture
        .into()
        .write_to(&mut Cursor::new(&mut bytes), ImageFormat::Png)
        .unwrap();
    bytes
}

fn decoded(bytes: &[u8]) -> RgbImage {
    decode(bytes, BitDepth::UsedBits, &DecodeLimits::default()).unwrap()
}

#[test]
fn twelve_bits_in_a_sixteen_bit_file_are_not_black() {
    let camera = ImageBuffer::from_fn(4, 4, |x, _| Luma([(x * 1365) as u16]));
    let bytes = png(camera);
    assert_eq!(decoded(&bytes).get_pixel(3, 0).0, [255; 3]);
    let full = decode(&bytes, BitDepth::FullRange, &DecodeLimits::default()).unwrap();
    assert_eq!(full.get_pixel(3, 0).0, [16; 3]);
}

#[test]
fn transparent_pixels_are_black() {
    let glass = ImageBuffer::from_pixel(2, 2, Rgba([200_u8, 100, 50, 0]));
    assert_eq!(decoded(&png(glass)).get_pixel(0, 0).0, [0; 3]);
    let opaque = ImageBuffer::from_pixel(2, 2, Rgba([200_u8, 100, 50, 255]));
    assert_eq!(decoded(&png(opaque)).get_pixel(0, 0).0, [200, 100, 50]);
}

#[test]
fn grey_becomes_three_equal_colours() {
    let grey = ImageBuffer::from_pixel(3, 2, Luma([77_u8]));
    assert_eq!(decoded(&png(grey)).get_pixel(2, 1).0, [77; 3]);
}

#[test]
fn each_fit_gives_the_size_and_treats_a_wide_picture_its_way() {
    let wide: RgbImage = ImageBuffer::from_fn(80, 40, |x, _| {
        if (20..60).contains(&x) {
            Rgb([200; 3])
        } else {
            Rgb([100; 3])
        }
    });
    let with = |fit| {
        Preprocessing {
            fit,
            ..Preprocessing::squashed(32, [0.5; 3], [0.5; 3])
        }
        .resize(&wide, 32)
    };
    let (squashed, boxed, cropped) = (with(Fit::Squash), with(Fit::Letterbox), with(Fit::Crop));
    assert_eq!(
        [squashed.dimensions(), boxed.dimensions(), cropped.dimensions()],
        [(32, 32); 3]
    );
    assert_eq!(
        (squashed.get_pixel(1, 1)[0], squashed.get_pixel(16, 1)[0]),
        (100, 200)
    );
    assert_eq!((boxed.get_pixel(16, 1)[0], boxed.get_pixel(16, 16)[0]), (0, 200));
    assert_eq!(
        (cropped.get_pixel(2, 2)[0], cropped.get_pixel(29, 29)[0]),
        (200, 200)
    );
}

#[test]
fn normalised_input_is_colour_by_colour() {
    let pixel: RgbImage = ImageBuffer::from_fn(2, 1, |x, _| Rgb([255 * x as u8, 0, 255]));
    let preparation = Preprocessing::squashed(2, [0.5; 3], [0.5; 3]);
    assert_eq!(preparation.normalise(&pixel), [-1.0, 1.0, -1.0, -1.0, 1.0, 1.0]);
}

#[test]
fn a_picture_above_the_limit_is_refused_before_it_is_decoded() {
    let large = png(ImageBuffer::from_pixel(200, 10, Luma([0_u8])));
    let limits = DecodeLimits {
        edge: 100,
        bytes: 1 << 20,
    };
    assert!(matches!(
        decode(&large, BitDepth::UsedBits, &limits),
        Err(PictureError::TooLarge(_))
    ));
}

#[test]
fn every_truncation_is_an_error_and_text_is_no_picture() {
    let whole = png(ImageBuffer::from_fn(9, 9, |x, y| {
        Rgb([(x * y) as u8, x as u8, y as u8])
    }));
    for length in 0..whole.len() - 12 {
        assert!(
            decode(&whole[..length], BitDepth::UsedBits, &DecodeLimits::default()).is_err(),
            "{length}"
        );
    }
    let text = decode(b"not a picture", BitDepth::UsedBits, &DecodeLimits::default());
    assert!(matches!(text, Err(PictureError::UnknownFormat)));
}

#[test]
fn the_digest_changes_with_every_field() {
    let one = Preprocessing::of_architecture("resnet50");
    let other = Preprocessing {
        size: 96,
        ..one.clone()
    };
    assert_ne!(one.digest(), other.digest());
    assert_eq!(one.digest(), one.clone().digest());
}

proptest! {
    #[test]
    fn no_bytes_make_it_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        let _ = decode(&bytes, BitDepth::UsedBits, &DecodeLimits::default());
    }

    #[test]
    fn every_shape_can_be_resized(width in 1_u32..70, height in 1_u32..70, fit in 0..3) {
        let fit = [Fit::Squash, Fit::Letterbox, Fit::Crop][fit as usize];
        let preparation = Preprocessing { fit, ..Preprocessing::squashed(16, [0.5; 3], [0.5; 3]) };
        prop_assert_eq!(preparation.resize(&RgbImage::new(width, height), 16).dimensions(), (16, 16));
    }
}
