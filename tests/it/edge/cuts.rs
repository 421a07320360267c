//! Power cuts: the process ends itself before its first durable step, its
//! second, its third, until it gets through. Whatever was cut, `current` names
//! a whole model, and the next pull puts everything right.

use super::{Device, names};

/// Ends the pull before step 0, 1, 2 … in a copy of `prepared`'s device; `releases` says what the channel does then.
fn cut_at_every_step(releases: Option<u32>, prepare: impl Fn(&Device)) -> u32 {
    let device = Device::new();
    prepare(&device);
    let kept = device.folder.path().join("kept");
    copy(&device.dir(), &kept);
    match releases {
        Some(version) => device.world().releases(version),
        None => device.world().release = None,
    }
    for step in 0.. {
        assert!(step < 200, "it never gets through");
        let _ = std::fs::remove_dir_all(device.dir());
        copy(&kept, &device.dir());
        let text = step.to_string();
        let cut = device.pull(&["--die-after", &text]);
        if device.dir().join("current").exists() {
            device.edge("verify", &[]).good();
        }
        if cut.code == Some(0) {
            return step;
        }
        assert_eq!(cut.code, None, "only the cut ends it: {}", cut.err);
        let pulled = device.pulled();
        assert_eq!(
            pulled["status"]["mask"].as_u64(),
            releases.map(u64::from),
            "cut at {step}"
        );
        device.edge("verify", &[]).good();
        let left = names(&device.dir())
            .into_iter()
            .chain(names(&device.dir().join("incoming")));
        let left: Vec<_> = left
            .filter(|name| {
                name.starts_with(".tmp")
                    || std::path::Path::new(name)
                        .extension()
                        .is_some_and(|end| end == "part")
            })
            .collect();
        assert!(left.is_empty(), "cut at {step} left {left:?}");
        if releases == Some(2) {
            // Whenever it was cut, what ran before is what can be gone back to.
            device.edge("rollback", &[]).good();
            assert_eq!(device.status()["mask"], 1, "cut at {step}");
        }
    }
    unreachable!("the loop returns")
}

fn copy(from: &std::path::Path, to: &std::path::Path) {
    if !from.exists() {
        return;
    }
    let copied = std::process::Command::new("cp")
        .arg("-a")
        .args([from, to])
        .status()
        .unwrap();
    assert!(copied.success());
}

#[test]
fn a_cut_in_the_first_pull_leaves_no_half_base() {
    let steps = cut_at_every_step(Some(1), |_| {});
    assert!(steps > 15, "{steps} steps are fewer than there are");
}

#[test]
fn a_cut_in_a_switch_leaves_the_old_model_or_the_new_one() {
    let steps = cut_at_every_step(Some(2), |device| {
        device.world().releases(1);
        device.pulled();
    });
    assert!(steps > 8, "{steps} steps are fewer than there are");
}

#[test]
fn a_cut_on_the_way_to_none_leaves_the_mask_or_the_base() {
    cut_at_every_step(None, |device| {
        for version in 1..=2 {
            device.world().releases(version);
            device.pulled();
        }
    });
}
