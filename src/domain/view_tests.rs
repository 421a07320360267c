use proptest::prelude::*;

use super::*;

fn view(json: &str) -> View {
    View::parse(json).unwrap()
}

fn refused(json: &str) -> String {
    View::parse(json).unwrap_err().to_string()
}

#[test]
fn toml_and_json_say_the_same_and_rounding_keeps_the_digest() {
    let written = view(
        r#"{"region": {"left": 0.25, "width": 0.500004}, "tiles": {"columns": 2, "rows": 2, "overlap": 0.1},
            "size": 128, "bit-depth": "full-range"}"#,
    );
    let toml = "size = 128\nbit-depth = 'full-range'\n[region]\nleft = 0.25\nwidth = 0.5\n\
                [tiles]\ncolumns = 2\nrows = 2\noverlap = 0.1";
    assert_eq!(written, view(toml));
    assert_eq!(
        written.to_json(),
        r#"{"region":{"left":0.25,"top":0.0,"width":0.5,"height":1.0},"tiles":{"columns":2,"rows":2,"overlap":0.1},"size":128,"bit-depth":"full-range"}"#
    );
    assert_eq!(view(&written.to_json()).digest(), written.digest());
    assert_eq!(
        written.to_string(),
        "region 0.5 × 1 at 0.25, 0, 2 × 2 tiles overlapping by 0.1, 128 pixels, scaled by all 16 bits"
    );
}

#[test]
fn a_region_within_the_picture_is_not_rounded_out_of_it() {
    let region = |json: &str| view(json).region;
    let wide = region(r#"{"region": {"left": 0.12345, "width": 0.87655}}"#);
    assert_eq!((wide.left, wide.width), (Share(1_235), Share(8_765)));
    let high = region(r#"{"region": {"top": 0.33335, "height": 0.66665}}"#);
    assert_eq!(high.top.parts() + high.height.parts(), 10_000);
    let inner = region(r#"{"region": {"left": 0.12345, "width": 0.5}}"#);
    assert_eq!((inner.left, inner.width), (Share(1_235), Share(5_000)));
    // One part too far as it was given, too.
    let beyond = refused(r#"{"region": {"left": 0.1235, "width": 0.8766}}"#);
    assert!(beyond.contains("from 0.1235 to 1.0001"), "{beyond}");
}

#[test]
fn nothing_said_is_the_whole_picture() {
    assert!(view("{}").is_default() && view("").is_default());
    assert!(view(r#"{"tiles": {"overlap": 0.3}}"#).is_default());
    assert!(!view(r#"{"size": 96}"#).is_default());
    let whole = Tile {
        left: 0,
        top: 0,
        width: 640,
        height: 480,
    };
    assert_eq!(View::default().tiles(640, 480), [whole]);
    assert_eq!(View::default().to_string(), "whole picture");
}

#[test]
fn what_cannot_be_is_refused_in_a_sentence() {
    for (json, word) in [
        (
            r#"{"region": {"left": 0.6, "width": 0.5}}"#,
            "from 0.6 to 1.1 of the picture's width",
        ),
        (
            r#"{"region": {"height": 0}}"#,
            "from 0 to 0 of the picture's height",
        ),
        (r#"{"region": {"top": -0.1}}"#, "-0.1 is no share"),
        (r#"{"tiles": {"columns": 0}}"#, "0 × 1 tiles"),
        (r#"{"tiles": {"rows": 9}}"#, "1 × 9 tiles"),
        (r#"{"tiles": {"columns": 2, "overlap": 0.51}}"#, "overlap by 0.51"),
        (r#"{"size": 16}"#, "16 pixels"),
        (r#"{"bit-depth": "all"}"#, "used-bits"),
        (r#"{"regoin": {}}"#, "regoin"),
        ("regoin = 1", "regoin"),
    ] {
        assert!(refused(json).contains(word), "{json}: {}", refused(json));
    }
}

#[test]
fn four_tiles_share_as_much_as_was_asked_for() {
    let tiles = view(r#"{"tiles": {"columns": 2, "rows": 2, "overlap": 0.25}}"#).tiles(175, 70);
    let (wide, high) = (100, 40);
    let tile = |left, top| Tile {
        left,
        top,
        width: wide,
        height: high,
    };
    assert_eq!(tiles, [tile(0, 0), tile(75, 0), tile(0, 30), tile(75, 30)]);
}

proptest! {
    #[test]
    fn tiles_cover_the_region_and_nothing_else(
        size in (1_u32..3_000, 1_u32..3_000),
        at in (0_u32..=9_900, 0_u32..=9_900),
        edge in (100_u32..=10_000, 100_u32..=10_000),
        count in (1_u32..=8, 1_u32..=8),
        overlap in 0_u32..=5_000,
    ) {
        let share = |parts: u32| Share::of_parts(parts).unwrap();
        let view = View {
            region: Region {
                left: share(at.0),
                top: share(at.1),
                width: share(edge.0.min(10_000 - at.0)),
                height: share(edge.1.min(10_000 - at.1)),
            },
            tiles: Tiles { columns: count.0, rows: count.1, overlap: share(overlap) },
            ..View::default()
        }
        .checked()
        .unwrap();
        let tiles = view.tiles(size.0, size.1);
        prop_assert_eq!(tiles.len(), view.tiles.count());
        prop_assert_eq!(view, View::parse(&view.to_json()).unwrap());
        let columns: Vec<_> = tiles[..view.tiles.columns as usize].iter().map(|tile| (tile.left, tile.width)).collect();
        let rows: Vec<_> = (tiles.iter().step_by(view.tiles.columns as usize)).map(|tile| (tile.top, tile.height)).collect();
        let sides = [
            (columns, size.0, view.region.left, view.region.width),
            (rows, size.1, view.region.top, view.region.height),
        ];
        for (cuts, pixels, from, length) in sides {
            let exact = |share: u32| f64::from(pixels) * f64::from(share) / 10_000.0;
            let (first, last) = (cuts[0].0, cuts[cuts.len() - 1]);
            let end = last.0 + last.1;
            let (from, to) = (exact(from.parts()), exact(from.parts() + length.parts()));
            prop_assert!(f64::from(first) <= from && from < f64::from(first + 1));
            prop_assert!(to <= f64::from(end) && f64::from(end) < to + 1.0 && end <= pixels);
            for pair in cuts.windows(2) {
                let shared = f64::from(pair[0].0 + pair[0].1) - f64::from(pair[1].0);
                // Rounded outwards: at least as much as asked for, and at most a pixel on either side more.
                let tile = f64::from(end - first) / (cuts.len() as f64 - (cuts.len() - 1) as f64 * f64::from(overlap) / 1e4);
                let asked = tile * f64::from(overlap) / 1e4;
                prop_assert!(shared >= asked - 1e-6 && shared < asked + 2.0 + 1e-6, "{shared} {asked}");
                prop_assert!(pair[0].1.abs_diff(pair[1].1) <= 1);
            }
            prop_assert!(cuts.iter().all(|(_, length)| *length > 0));
        }
    }
}
