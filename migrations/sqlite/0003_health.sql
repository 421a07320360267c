-- Data health: what pictures are like, what was rejected, what snapshots leave out.

-- What became of looking at it, as JSON. Images of before have none: they are looked at when
-- health is asked for.
ALTER TABLE image ADD COLUMN look TEXT;

-- Files that were no images: the newest of each site.
CREATE TABLE rejection (
    id     INTEGER PRIMARY KEY AUTOINCREMENT,
    site   TEXT    NOT NULL REFERENCES site (name),
    name   TEXT    NOT NULL,
    code   TEXT    NOT NULL,
    detail TEXT    NOT NULL,
    at     BIGINT  NOT NULL
);
CREATE INDEX rejection_site ON rejection (site, id);

-- Images that a snapshot leaves out, as it was asked to; `exclusions` says what was asked.
ALTER TABLE snapshot ADD COLUMN excluded BIGINT NOT NULL DEFAULT 0;
CREATE TABLE snapshot_exclusion (
    snapshot BLOB NOT NULL REFERENCES snapshot (id),
    digest   BLOB NOT NULL,
    reason   TEXT NOT NULL, -- a finding's code, or the image's own digest
    PRIMARY KEY (snapshot, digest, reason)
);
