//! Channels: which mask a site's devices run, and who may move them.

use super::permission::{Action, Actor, Denied};
use super::{ChannelName, Digest, ErrorKind, MaskVersion, Problem, SiteName, View};

/// A channel as it stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Channel {
    /// The site.
    pub site: SiteName,
    /// Its name.
    pub name: ChannelName,
    /// What it points at; `None`: devices run the plain base.
    pub mask: Option<MaskVersion>,
    /// Counts its moves; 0: never moved. The `ETag` of the channel.
    pub revision: u64,
}

/// What the rules of a move need to know of a mask.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Candidate {
    /// The mask.
    pub version: MaskVersion,
    /// The base that it is bound to.
    pub base: Digest,
    /// The view that it was trained with.
    pub view: View,
    /// The gate's verdict in one word: `passed`, `held` or `refused`.
    pub verdict: String,
    /// Why, for people; empty if it passed.
    pub reasons: Vec<String>,
}

/// What masks are made for now: one that is to be released should fit it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Current {
    /// The server's active base.
    pub base: Digest,
    /// The site's view.
    pub view: View,
}

/// What somebody asks a channel to do.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Move {
    /// Why, in a person's words. Needed to override the gate or the site's view.
    pub reason: Option<String>,
    /// Insists on a mask that the gate refused.
    pub force: bool,
}

/// Why a channel was not moved.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum MoveRefused {
    /// The gate held the mask and no reason was given.
    #[error("mask {version} is held by the gate ({reasons}); give a reason to release it all the same")]
    Held {
        /// The mask.
        version: MaskVersion,
        /// Why the gate held it.
        reasons: String,
    },
    /// The gate refused the mask.
    #[error("mask {version} was refused by the gate ({reasons}); only an admin can force it, with a reason")]
    Refused {
        /// The mask.
        version: MaskVersion,
        /// Why the gate refused it.
        reasons: String,
    },
    /// The mask belongs to another base.
    #[error("mask {version} is bound to base {}, the server's base is {}", bound.short(), active.short())]
    OtherBase {
        /// The mask.
        version: MaskVersion,
        /// Its base.
        bound: Digest,
        /// The server's.
        active: Digest,
    },
    /// The mask was trained with another view than the site has now, and no reason was given.
    #[error(
        "mask {version} was trained with another view ({trained}) than site `{site}` has now ({now}); \
         devices feed it through its own: give a reason to release it all the same"
    )]
    OtherView {
        /// The mask.
        version: MaskVersion,
        /// Its view.
        trained: View,
        /// The site.
        site: SiteName,
        /// The site's view.
        now: View,
    },
    /// The actor may not.
    #[error(transparent)]
    Denied(#[from] Denied),
}

impl Problem for MoveRefused {
    fn kind(&self) -> ErrorKind {
        match self {
            Self::Held { .. } | Self::Refused { .. } | Self::OtherBase { .. } | Self::OtherView { .. } => {
                ErrorKind::Conflict
            }
            Self::Denied(denied) => denied.kind(),
        }
    }

    fn code(&self) -> &'static str {
        match self {
            Self::Held { .. } => "mask_held",
            Self::Refused { .. } => "mask_refused",
            Self::OtherBase { .. } => "mask_of_other_base",
            Self::OtherView { .. } => "mask_of_other_view",
            Self::Denied(denied) => denied.code(),
        }
    }
}

impl Channel {
    /// A channel that was never moved.
    pub const fn new(site: SiteName, name: ChannelName) -> Self {
        Self {
            site,
            name,
            mask: None,
            revision: 0,
        }
    }

    /// This channel, pointing at a candidate (`None`: at no mask, which is always
    /// allowed). The flag says whether the move overrides the gate or the site's view.
    pub fn moved_to(
        &self,
        candidate: Option<(&Candidate, &Current)>,
        actor: &Actor,
        asked: &Move,
    ) -> Result<(Self, bool), MoveRefused> {
        actor.may(Action::Release, Some(&self.site))?;
        let overrides = match candidate {
            None => false,
            Some((candidate, current)) => allowed(candidate, current, actor, asked, &self.site)?,
        };
        let moved = Self {
            mask: candidate.map(|(candidate, _)| candidate.version),
            revision: self.revision + 1,
            ..self.clone()
        };
        Ok((moved, overrides))
    }
}

/// Whether the move is an override; an error if it is not allowed at all.
fn allowed(
    candidate: &Candidate,
    current: &Current,
    actor: &Actor,
    asked: &Move,
    site: &SiteName,
) -> Result<bool, MoveRefused> {
    let version = candidate.version;
    if candidate.base != current.base {
        return Err(MoveRefused::OtherBase {
            version,
            bound: candidate.base,
            active: current.base,
        });
    }
    let reasoned = asked
        .reason
        .as_ref()
        .is_some_and(|reason| !reason.trim().is_empty());
    let reasons = || candidate.reasons.join("; ");
    match candidate.verdict.as_str() {
        "passed" if candidate.view == current.view => Ok(false),
        "passed" | "held" if reasoned => Ok(true),
        "passed" => Err(MoveRefused::OtherView {
            version,
            trained: candidate.view,
            site: site.clone(),
            now: current.view,
        }),
        "held" => Err(MoveRefused::Held {
            version,
            reasons: reasons(),
        }),
        _ if asked.force && reasoned => {
            actor.may(Action::ForceRelease, Some(site))?;
            Ok(true)
        }
        _ => Err(MoveRefused::Refused {
            version,
            reasons: reasons(),
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::TokenId;
    use crate::domain::permission::Role;

    fn actor(role: Role) -> Actor {
        Actor {
            token: TokenId::generate(),
            name: "test".to_owned(),
            role,
            site: role.is_of_a_site().then(|| "osaka".parse().unwrap()),
            device: None,
        }
    }

    fn current() -> Current {
        Current {
            base: Digest::of(b"base"),
            view: View {
                size: Some(64),
                ..View::default()
            },
        }
    }

    fn candidate(verdict: &str) -> Candidate {
        Candidate {
            version: MaskVersion(3),
            base: current().base,
            view: current().view,
            verdict: verdict.to_owned(),
            reasons: vec!["a reason".to_owned()],
        }
    }

    fn moved(verdict: &str, role: Role, reason: Option<&str>, force: bool) -> Result<bool, MoveRefused> {
        let asked = Move {
            reason: reason.map(str::to_owned),
            force,
        };
        moved_to(&candidate(verdict), role, &asked)
    }

    fn moved_to(candidate: &Candidate, role: Role, asked: &Move) -> Result<bool, MoveRefused> {
        let channel = Channel::new("osaka".parse().unwrap(), "stable".parse().unwrap());
        let (after, overrides) = channel.moved_to(Some((candidate, &current())), &actor(role), asked)?;
        assert_eq!((after.mask, after.revision), (Some(MaskVersion(3)), 1));
        Ok(overrides)
    }

    #[test]
    fn what_passed_moves_without_an_override() {
        assert_eq!(moved("passed", Role::Site, None, false), Ok(false));
    }

    #[test]
    fn what_is_held_needs_a_reason() {
        assert!(matches!(
            moved("held", Role::Site, Some(" "), true),
            Err(MoveRefused::Held { .. })
        ));
        assert_eq!(moved("held", Role::Site, Some("line is down"), false), Ok(true));
    }

    #[test]
    fn what_was_refused_needs_an_admin_force_and_a_reason() {
        assert!(moved("refused", Role::Site, Some("r"), true).is_err());
        assert!(moved("refused", Role::Admin, Some("r"), false).is_err());
        assert!(moved("refused", Role::Admin, None, true).is_err());
        assert_eq!(moved("refused", Role::Admin, Some("r"), true), Ok(true));
    }

    #[test]
    fn a_mask_for_another_view_needs_a_reason_and_leave_of_the_gate() {
        let other = |verdict| Candidate {
            view: View::default(),
            ..candidate(verdict)
        };
        let reason = Move {
            reason: Some("back".to_owned()),
            force: false,
        };
        let refused = moved_to(&other("passed"), Role::Admin, &Move::default()).unwrap_err();
        assert_eq!(refused.code(), "mask_of_other_view");
        let sentence = refused.to_string();
        assert!(
            sentence.contains("(whole picture)") && sentence.contains("(whole picture, 64 pixels)"),
            "{sentence}"
        );
        assert_eq!(moved_to(&other("passed"), Role::Site, &reason), Ok(true));
        assert_eq!(moved_to(&other("held"), Role::Site, &reason), Ok(true));
        let refused = moved_to(&other("refused"), Role::Admin, &reason);
        assert!(matches!(refused, Err(MoveRefused::Refused { .. })));
    }

    #[test]
    fn a_mask_of_another_base_moves_nothing_and_none_always_may() {
        let asked = Move::default();
        let other = Candidate {
            base: Digest::of(b"old base"),
            ..candidate("passed")
        };
        let refused = moved_to(&other, Role::Admin, &asked);
        assert!(matches!(refused, Err(MoveRefused::OtherBase { .. })));
        let channel = Channel::new("osaka".parse().unwrap(), "stable".parse().unwrap());
        let (after, overrides) = channel.moved_to(None, &actor(Role::Site), &asked).unwrap();
        assert_eq!((after.mask, after.revision, overrides), (None, 1, false));
        let auditor = channel.moved_to(None, &actor(Role::Auditor), &asked);
        assert!(matches!(auditor, Err(MoveRefused::Denied(_))));
    }
}
