//! Pictures of every kind become sensible input, and none makes the decoder panic.

use std::fmt::Write as _;

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

fn jpeg(picture: &RgbImage) -> Vec<u8> {
    let mut bytes = Vec::new();
    image::codecs::jpeg::JpegEncoder::new_with_quality(&mut bytes, 95)
        .encode_image(picture)
        .unwrap();
    bytes
}

/// `jpeg` with an EXIF segment that says how it is turned.
fn turned(jpeg: &[u8], orientation: u8) -> Vec<u8> {
    let exif = [
        b"\xff\xe1\x00\x22Exif\x00\x00II*\x00\x08\x00\x00\x00\x01\x00\x12\x01\x03\x00\x01\x00\x00\x00"
            .as_slice(),
        &[orientation, 0, 0, 0, 0, 0, 0, 0],
    ];
    [&jpeg[..2], &exif.concat(), &jpeg[2..]].concat()
}

#[test]
fn pictures_are_turned_upright_by_exif() {
    let left_is_bright = ImageBuffer::from_fn(32, 16, |x, _| Rgb([if x < 16 { 220 } else { 20 }; 3]));
    let stored = jpeg(&left_is_bright);
    let upright = decoded(&turned(&stored, 6));
    assert_eq!(upright.dimensions(), (16, 32));
    assert!(upright.get_pixel(8, 4)[0] > 180 && upright.get_pixel(8, 28)[0] < 60);
    let mirrored = decoded(&turned(&stored, 2));
    assert!(mirrored.get_pixel(4, 8)[0] < 60 && mirrored.get_pixel(28, 8)[0] > 180);
    assert_eq!(decoded(&turned(&stored, 1)), decoded(&stored));
    // As stored: what a decoder allocates depends on these.
    let measured = measure(&turned(&stored, 6), &DecodeLimits::default()).unwrap();
    assert_eq!(
        (measured.media_type, measured.width, measured.height),
        ("image/jpeg", 32, 16)
    );
}

#[test]
fn a_jpeg_that_ends_early_is_damaged_and_one_with_more_behind_it_is_not() {
    let whole = jpeg(&ImageBuffer::from_fn(64, 64, |x, y| {
        Rgb([(x * y) as u8, x as u8 * 3, y as u8 * 2])
    }));
    for length in 2..whole.len() {
        let cut = decode(&whole[..length], BitDepth::UsedBits, &DecodeLimits::default());
        assert!(cut.is_err(), "{length} of {}", whole.len());
    }
    let padded = [whole.as_slice(), &[0; 100]].concat();
    assert_eq!(decoded(&padded), decoded(&whole));
}

/// A JPEG of 8 × 8 equal pixels of four components, as Adobe writes them.
fn cmyk_jpeg(pixel: [u8; 4]) -> Vec<u8> {
    let mut bytes = b"\xff\xd8\xff\xee\x00\x0eAdobe\x00\x64\x00\x00\x00\x00\x00".to_vec();
    bytes.extend(b"\xff\xdb\x00\x43\x00");
    bytes.extend([8; 64]);
    bytes.extend(b"\xff\xc0\x00\x14\x08\x00\x08\x00\x08\x04\x01\x11\x00\x02\x11\x00\x03\x11\x00\x04\x11\x00");
    // Categories 0 to 8 with codes of four bits; no coefficient but the first.
    bytes.extend(b"\xff\xc4\x00\x1c\x00\x00\x00\x00\x09\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00");
    bytes.extend(0..9);
    bytes.extend(b"\xff\xc4\x00\x14\x10\x01\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00");
    bytes.extend(b"\xff\xda\x00\x0e\x04\x01\x00\x02\x00\x03\x00\x04\x00\x00\x3f\x00");
    let mut bits = String::new();
    for value in pixel {
        let level = i32::from(value) - 128;
        let category = (32 - level.unsigned_abs().leading_zeros()) as usize;
        let code = if level < 0 {
            level + (1 << category) - 1
        } else {
            level
        };
        let code = format!("{code:08b}");
        write!(bits, "{category:04b}{}0", &code[8 - category..]).unwrap();
    }
    while !bits.len().is_multiple_of(8) {
        bits.push('1');
    }
    for at in (0..bits.len()).step_by(8) {
        let byte = u8::from_str_radix(&bits[at..at + 8], 2).unwrap();
        bytes.push(byte);
        if byte == 0xff {
            bytes.push(0);
        }
    }
    bytes.extend(b"\xff\xd9");
    bytes
}

/// A TIFF with these tags, each with its type, count and value, and what lies behind them.
fn tiff(tags: [(u16, u16, u32, u32); 10], behind: &[u8]) -> Vec<u8> {
    let mut bytes = b"II*\x00\x08\x00\x00\x00\x0a\x00".to_vec();
    for (tag, kind, count, value) in tags {
        bytes.extend(tag.to_le_bytes());
        bytes.extend(kind.to_le_bytes());
        bytes.extend(count.to_le_bytes());
        bytes.extend(value.to_le_bytes());
    }
    bytes.extend([0; 4]);
    assert_eq!(bytes.len(), 134);
    bytes.extend(behind);
    bytes
}

/// A TIFF of 2 × 2 equal pixels of four inks.
fn cmyk_tiff(pixel: [u8; 4]) -> Vec<u8> {
    let tags = [
        (256, 3, 1, 2),   // width
        (257, 3, 1, 2),   // height
        (258, 3, 4, 134), // bits of each ink, behind this directory
        (259, 3, 1, 1),   // not compressed
        (262, 3, 1, 5),   // inks
        (273, 4, 1, 142), // where the pixels are
        (277, 3, 1, 4),
        (278, 3, 1, 2),
        (279, 4, 1, 16),
        (284, 3, 1, 1),
    ];
    tiff(
        tags,
        &[&[8_u8, 0, 8, 0, 8, 0, 8, 0][..], &pixel.repeat(4)].concat(),
    )
}

/// A TIFF of 2 × 2 black pixels of 32 bits, which are whole numbers (1) or floating-point ones (3).
fn wide_tiff(sample_format: u32) -> Vec<u8> {
    let tags = [
        (256, 3, 1, 2),
        (257, 3, 1, 2),
        (258, 3, 1, 32),  // bits
        (259, 3, 1, 1),   // not compressed
        (262, 3, 1, 1),   // grey
        (273, 4, 1, 134), // where the pixels are
        (277, 3, 1, 1),
        (278, 3, 1, 2),
        (279, 4, 1, 16),
        (339, 3, 1, sample_format),
    ];
    tiff(tags, &[0; 16])
}

#[test]
fn a_known_format_of_a_kind_that_is_not_read_says_what_to_save_it_as() {
    for sample_format in [1, 3] {
        let bytes = wide_tiff(sample_format);
        let measured = measure(&bytes, &DecodeLimits::default()).map(|_| ());
        let whole = decode(&bytes, BitDepth::UsedBits, &DecodeLimits::default()).map(|_| ());
        for error in [measured.unwrap_err(), whole.unwrap_err()] {
            assert!(matches!(error, PictureError::Unsupported(_)), "{error:?}");
            let said = error.to_string();
            assert!(
                said.contains("8 or 16 bits") && !said.contains("known format"),
                "{said}"
            );
            assert_eq!(error.code(), "picture_format");
        }
    }
}

#[test]
fn printing_inks_become_colours() {
    // Adobe stores how much of an ink is missing, TIFF how much there is: no cyan, full magenta and yellow.
    for picture in [
        decoded(&cmyk_jpeg([255, 0, 0, 255])),
        decoded(&cmyk_tiff([0, 255, 255, 0])),
    ] {
        let [red, green, blue] = picture.get_pixel(0, 0).0;
        assert!(red > 220 && green < 60 && blue < 60, "{red} {green} {blue}");
    }
    let [red, green, blue] = decoded(&cmyk_tiff([0, 0, 0, 255])).get_pixel(1, 1).0;
    assert!(red < 60 && green < 60 && blue < 60);
}

#[test]
fn a_palette_is_looked_up() {
    // A PNG of one pixel that is the second colour of its palette.
    let chunk = |name: &[u8; 4], data: &[u8]| {
        let body = [name.as_slice(), data].concat();
        let mut crc = !0_u32;
        for byte in &body {
            crc ^= u32::from(*byte);
            (0..8).for_each(|_| crc = (crc >> 1) ^ (0xedb8_8320 & (crc & 1).wrapping_neg()));
        }
        [
            (data.len() as u32).to_be_bytes().as_slice(),
            &body,
            &(!crc).to_be_bytes(),
        ]
        .concat()
    };
    let bytes = [
        b"\x89PNG\r\n\x1a\n".to_vec(),
        chunk(b"IHDR", &[0, 0, 0, 1, 0, 0, 0, 1, 8, 3, 0, 0, 0]),
        chunk(b"PLTE", &[1, 2, 3, 200, 100, 50]),
        // zlib: one stored block of a filter byte and an index.
        chunk(b"IDAT", &[0x78, 0x01, 1, 2, 0, 0xfd, 0xff, 0, 1, 0, 3, 0, 2]),
        chunk(b"IEND", &[]),
    ]
    .concat();
    assert_eq!(decoded(&bytes).get_pixel(0, 0).0, [200, 100, 50]);
}

/// A grey picture of 16 bits, `width` × 40, whose value says where a pixel is.
fn deep(width: u32) -> Vec<u8> {
    png(ImageBuffer::from_fn(width, 40, |x, y| {
        Luma([((x * 300 + y * 700) % 40_000) as u16])
    }))
}

#[test]
fn the_default_view_is_the_picture_as_the_base_has_it() {
    let (bytes, limits) = (deep(100), DecodeLimits::default());
    for fit in [Fit::Squash, Fit::Letterbox, Fit::Crop] {
        let base = Preprocessing {
            fit,
            ..Preprocessing::squashed(32, [0.5; 3], [0.5; 3])
        };
        let whole = base.resize(&decode(&bytes, base.bit_depth, &limits).unwrap(), 32);
        assert_eq!(base.inputs(&bytes, &View::default(), &limits).unwrap(), [whole]);
    }
}

#[test]
fn a_view_cuts_scales_and_deepens() {
    let (bytes, limits) = (deep(100), DecodeLimits::default());
    let base = Preprocessing::squashed(32, [0.5; 3], [0.5; 3]);
    let text = "size = 40\nbit-depth = 'full-range'\n[region]\nleft = 0.2\nwidth = 0.8\n[tiles]\ncolumns = 2";
    let view = View::parse(text).unwrap();
    let tiles = base.inputs(&bytes, &view, &limits).unwrap();
    let picture = decode(&bytes, BitDepth::FullRange, &limits).unwrap();
    // Tiles of 40 × 40 at the network's size: every pixel stays.
    let cut = |left| image::imageops::crop_imm(&picture, left, 0, 40, 40).to_image();
    assert_eq!(tiles, [cut(20), cut(60)]);
    assert_eq!(base.seen(&view).size, 40);
    assert_eq!(
        base.digest(),
        Preprocessing::squashed(32, [0.5; 3], [0.5; 3]).digest()
    );
}
