//! Places at which a test lets a process die, as if its machine lost power.
//!
//! `KATAGAMI_KILL_AT=POINT:N` ends this process the Nth time that it reaches
//! that point. A switch at run time and not a build option, because what is
//! killed must be the executable that ships; unset, a point costs one load.
//! Whoever can set a variable of the process could kill it anyway.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};

struct Aim {
    point: String,
    left: AtomicU32,
}

static AIM: OnceLock<Option<Aim>> = OnceLock::new();

/// Ends the process here, without any clean-up, if it is its turn.
pub fn reached(point: &str) {
    let Some(aim) = AIM.get_or_init(aim) else { return };
    // Nobody but the one that takes it from 1 to 0 dies of it.
    if aim.point == point && aim.left.fetch_sub(1, Ordering::Relaxed) == 1 {
        std::process::abort();
    }
}

fn aim() -> Option<Aim> {
    let text = std::env::var_os("KATAGAMI_KILL_AT")?.into_string().ok()?;
    let (point, number) = text.rsplit_once(':')?;
    Some(Aim {
        point: point.to_owned(),
        left: AtomicU32::new(number.parse().ok().filter(|number| *number > 0)?),
    })
}
