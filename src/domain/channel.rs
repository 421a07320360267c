//! Channels: which mask a site's devices run, and who may move them.

use super::permission::{Action, Actor, Denied};
use super::{ChannelName, Digest, ErrorKind, MaskVersion, Problem, SiteName};

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
    /// The gate's verdict in one word: `passed`, `held` or `refused`.
    pub verdict: String,
    /// Why, for people; empty if it passed.
    pub reasons: Vec<String>,
}

/// What somebody asks a channel to do.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Move {
    /// Why, in a person's words. Needed to override the gate.
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
    /// The actor may not.
    #[error(transparent)]
    Denied(#[from] Denied),
}

impl Problem for MoveRefused {
    fn kind(&self) -> ErrorKind {
        match self {
            Self::Held { .. } | Self::Refused { .. } | Self::OtherBase { .. } => ErrorKind::Conflict,
            Self::Denied(denied) => denied.kind(),
        }
    }

    fn code(&self) -> &'static str {
        match self {
            Self::Held { .. } => "mask_held",
            Self::Refused { .. } => "mask_refused",
            Self::OtherBase { .. } => "mask_of_other_base",
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

    /// This channel, pointing at `candidate` (`None`: at no mask, which is
    /// always allowed). The flag says whether the move overrides the gate.
    pub fn moved_to(
        &self,
        candidate: Option<&Candidate>,
        active_base: &Digest,
        actor: &Actor,
        asked: &Move,
    ) -> Result<(Self, bool), MoveRefused> {
        actor.may(Action::Release, Some(&self.site))?;
        let overrides = match candidate {
            None => false,
            Some(candidate) => allowed(candidate, active_base, actor, asked, &self.site)?,
        };
        let moved = Self {
            mask: candidate.map(|candidate| candidate.version),
            revision: self.revision + 1,
            ..self.clone()
        };
        Ok((moved, overrides))
    }
}

/// Whether the move is an override; an error if it is not allowed at all.
fn allowed(
    candidate: &Candidate,
    active_base: &Digest,
    actor: &Actor,
    asked: &Move,
    site: &SiteName,
) -> Result<bool, MoveRefused> {
    let version = candidate.version;
    if candidate.base != *active_base {
        return Err(MoveRefused::OtherBase {
            version,
            bound: candidate.base,
            active: *active_base,
        });
    }
    let reasoned = asked
        .reason
        .as_ref()
        .is_some_and(|reason| !reason.trim().is_empty());
    let reasons = || candidate.reasons.join("; ");
    match candidate.verdict.as_str() {
        "passed" => Ok(false),
        "held" if reasoned => Ok(true),
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

    fn moved(verdict: &str, role: Role, reason: Option<&str>, force: bool) -> Result<bool, MoveRefused> {
        let channel = Channel::new("osaka".parse().unwrap(), "stable".parse().unwrap());
        let base = Digest::of(b"base");
        let candidate = Candidate {
            version: MaskVersion(3),
            base,
            verdict: verdict.to_owned(),
            reasons: vec!["a reason".to_owned()],
        };
        let asked = Move {
            reason: reason.map(str::to_owned),
            force,
        };
        let (after, overrides) = channel.moved_to(Some(&candidate), &base, &actor(role), &asked)?;
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
    fn a_mask_of_another_base_moves_nothing_and_none_always_may() {
        let channel = Channel::new("osaka".parse().unwrap(), "stable".parse().unwrap());
        let base = Digest::of(b"base");
        let candidate = Candidate {
            version: MaskVersion(1),
            base: Digest::of(b"old base"),
            verdict: "passed".to_owned(),
            reasons: Vec::new(),
        };
        let asked = Move::default();
        let refused = channel.moved_to(Some(&candidate), &base, &actor(Role::Admin), &asked);
        assert!(matches!(refused, Err(MoveRefused::OtherBase { .. })));
        let (after, overrides) = channel.moved_to(None, &base, &actor(Role::Site), &asked).unwrap();
        assert_eq!((after.mask, after.revision, overrides), (None, 1, false));
        let auditor = channel.moved_to(None, &base, &actor(Role::Auditor), &asked);
        assert!(matches!(auditor, Err(MoveRefused::Denied(_))));
    }
}
