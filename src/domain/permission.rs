//! Who may do what.
//!
//! A credential has one role; those of a site or a device are bound to one
//! site. A question about another site's anything is answered as if it were
//! not there ([`Denied::NotFound`]), so that nobody learns which sites exist.
//! What a role may not do on its own site, or a role without a site may not do
//! at all, is [`Denied::Forbidden`].

use std::fmt;

use serde::{Deserialize, Serialize};

use super::{DeviceId, ErrorKind, Problem, SiteName, TokenId};

/// What a credential is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Role {
    /// May do everything.
    Admin,
    /// Runs the platform: all sites, but no tokens and no forced releases.
    Operator,
    /// Reads everything and the audit trail; changes nothing.
    Auditor,
    /// An engineer of one site.
    Site,
    /// An edge device of one site.
    Device,
    /// A worker: leases jobs, nothing else.
    Worker,
}

impl Role {
    /// All roles.
    pub const ALL: [Self; 6] = [
        Self::Admin,
        Self::Operator,
        Self::Auditor,
        Self::Site,
        Self::Device,
        Self::Worker,
    ];

    /// The role as one word.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Admin => "admin",
            Self::Operator => "operator",
            Self::Auditor => "auditor",
            Self::Site => "site",
            Self::Device => "device",
            Self::Worker => "worker",
        }
    }

    /// The role of that word.
    pub fn of_word(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|role| role.word() == word)
    }

    /// Whether a credential of this role is bound to one site.
    pub const fn is_of_a_site(self) -> bool {
        matches!(self, Self::Site | Self::Device)
    }
}

/// What somebody wants to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Action {
    /// Make or change sites.
    ManageSites,
    /// Read a site's images, jobs, masks, channels, devices.
    Read,
    /// Submit and delete images, set validation sets, make snapshots.
    Submit,
    /// Start and cancel jobs.
    Train,
    /// Move channels to masks that passed, override a `held` verdict with a reason, say whether masks are lent.
    Release,
    /// Release a `refused` mask.
    ForceRelease,
    /// Enrol devices of a site.
    ManageDevices,
    /// Read a channel and pull its mask and the base.
    Pull,
    /// Report what a device runs.
    ReportDevice,
    /// Make and revoke tokens of any role.
    ManageTokens,
    /// Read the audit trail.
    Audit,
    /// Lease jobs and publish masks.
    Work,
    /// See workers and the queue of all sites.
    Operate,
}

/// Why somebody may not.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Denied {
    /// It belongs to a site that the asker may not know of.
    #[error("there is no such thing here, or it belongs to another site")]
    NotFound,
    /// The role does not allow it.
    #[error("a token of role `{}` may not do this; ask an admin for another token", role.word())]
    Forbidden {
        /// The asker's role.
        role: Role,
    },
}

impl Problem for Denied {
    fn kind(&self) -> ErrorKind {
        match self {
            Self::NotFound => ErrorKind::NotFound,
            Self::Forbidden { .. } => ErrorKind::Forbidden,
        }
    }

    fn code(&self) -> &'static str {
        match self {
            Self::NotFound => "not_found",
            Self::Forbidden { .. } => "forbidden",
        }
    }
}

/// Somebody who proved who they are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Actor {
    /// The token that proved it.
    pub token: TokenId,
    /// The token's name, for the audit trail.
    pub name: String,
    /// What it is for.
    pub role: Role,
    /// The site that it is bound to.
    pub site: Option<SiteName>,
    /// The device that it belongs to.
    pub device: Option<DeviceId>,
}

impl Actor {
    /// Whether this actor may do `action` on `site` (`None`: on no site in particular).
    pub fn may(&self, action: Action, site: Option<&SiteName>) -> Result<(), Denied> {
        use Action as A;
        if self.role.is_of_a_site() && site.is_some() && self.site.as_ref() != site {
            return Err(Denied::NotFound);
        }
        let allowed = match self.role {
            Role::Admin => !matches!(action, A::Work | A::ReportDevice),
            Role::Operator => !matches!(
                action,
                A::Work | A::ReportDevice | A::ManageTokens | A::ForceRelease | A::Audit
            ),
            Role::Auditor => matches!(action, A::Read | A::Audit | A::Operate | A::Pull),
            Role::Site => {
                site.is_some()
                    && matches!(
                        action,
                        A::Read | A::Submit | A::Train | A::Release | A::ManageDevices | A::Pull
                    )
            }
            Role::Device => matches!(action, A::Pull | A::ReportDevice),
            Role::Worker => matches!(action, A::Work),
        };
        if allowed {
            Ok(())
        } else {
            Err(Denied::Forbidden { role: self.role })
        }
    }
}

impl fmt::Display for Actor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({})", self.name, self.role.word())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn actor(role: Role, site: Option<&str>) -> Actor {
        Actor {
            token: TokenId::generate(),
            name: "test".to_owned(),
            role,
            site: site.map(|site| site.parse().unwrap()),
            device: None,
        }
    }

    #[test]
    fn another_sites_anything_is_not_there() {
        let osaka: SiteName = "osaka".parse().unwrap();
        for role in [Role::Site, Role::Device] {
            let stranger = actor(role, Some("kyoto"));
            assert_eq!(stranger.may(Action::Pull, Some(&osaka)), Err(Denied::NotFound));
            assert_eq!(actor(role, Some("osaka")).may(Action::Pull, Some(&osaka)), Ok(()));
        }
    }

    #[test]
    fn only_admins_force_and_only_workers_work() {
        let osaka: SiteName = "osaka".parse().unwrap();
        for role in Role::ALL {
            let who = actor(role, role.is_of_a_site().then_some("osaka"));
            assert_eq!(
                who.may(Action::ForceRelease, Some(&osaka)).is_ok(),
                role == Role::Admin
            );
            assert_eq!(who.may(Action::Work, None).is_ok(), role == Role::Worker);
            assert_eq!(Role::of_word(role.word()), Some(role));
        }
    }

    #[test]
    fn an_auditor_changes_nothing() {
        use Action as A;
        let changes = [
            A::ManageSites,
            A::Submit,
            A::Train,
            A::Release,
            A::ForceRelease,
            A::ManageDevices,
            A::ReportDevice,
            A::ManageTokens,
            A::Work,
        ];
        let auditor = actor(Role::Auditor, None);
        assert!(
            changes
                .into_iter()
                .all(|action| auditor.may(action, None).is_err())
        );
    }
}
