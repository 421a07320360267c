// Which buttons a role is shown. Only a courtesy: the server decides (`src/domain/permission.rs`),
// and refuses whatever a page should not have offered.

/** @typedef {'train'|'release'|'force-release'|'devices'|'submit'|'operate'|'manage-sites'|'tokens'|'audit'} Action */

/** @type {Record<string, Action[]>} */
const MAY = {
  admin: ['train', 'release', 'force-release', 'devices', 'submit', 'operate', 'manage-sites', 'tokens', 'audit'],
  operator: ['train', 'release', 'devices', 'submit', 'operate', 'manage-sites'],
  auditor: ['operate', 'audit'],
  site: ['train', 'release', 'devices', 'submit'],
};

/**
 * @param {{role: string}} me
 * @param {Action} action
 */
export function may(me, action) {
  return MAY[me.role]?.includes(action) ?? false;
}

/** Whether a token of this role is for people; those of devices and workers are not. */
export function isForPeople(role) {
  return role in MAY;
}
