-- Times are microseconds since 1970, UTC; documents are JSON text; digests are
-- the 32 raw bytes of a SHA-256. The other dialect has the same tables: a test
-- compares them.

-- Everything immutable that lies in the blob store. A blob that no other table
-- names is collected after a grace period.
CREATE TABLE blob (
    digest     BYTEA  NOT NULL PRIMARY KEY,
    bytes      BIGINT   NOT NULL,
    touched_at BIGINT   NOT NULL -- when somebody last wanted it stored
);

CREATE TABLE base (
    digest      BYTEA NOT NULL PRIMARY KEY, -- canonical
    manifest    TEXT    NOT NULL,
    file        BYTEA NOT NULL REFERENCES blob (digest),
    active      BOOLEAN NOT NULL,
    imported_at BIGINT  NOT NULL
);
-- At most one base is active.
CREATE UNIQUE INDEX base_active ON base (active) WHERE active;

CREATE TABLE site (
    name              TEXT    NOT NULL PRIMARY KEY,
    title             TEXT    NOT NULL,
    kpi               TEXT    NOT NULL,
    gate              TEXT    NOT NULL,
    next_mask_version BIGINT  NOT NULL, -- a version is reserved by a job and never used twice
    created_at        BIGINT  NOT NULL
);

CREATE TABLE image (
    site        TEXT    NOT NULL REFERENCES site (name),
    digest      BYTEA NOT NULL, -- of a blob, until the image is deleted
    name        TEXT    NOT NULL,
    media_type  TEXT    NOT NULL,
    width       BIGINT  NOT NULL,
    height      BIGINT  NOT NULL,
    bytes       BIGINT  NOT NULL,
    phash       BIGINT  NOT NULL, -- perceptual hash, its 64 bits as a signed number
    metadata    TEXT    NOT NULL,
    captured_at BIGINT,
    received_at BIGINT  NOT NULL,
    deleted_at  BIGINT,
    PRIMARY KEY (site, digest)
);
CREATE INDEX image_received ON image (site, received_at, digest);
CREATE INDEX image_digest ON image (digest);
-- Tombstones: a snapshot with one of them is incomplete.
CREATE INDEX image_deleted ON image (site, digest) WHERE deleted_at IS NOT NULL;

CREATE TABLE image_metadata (
    site   TEXT    NOT NULL,
    digest BYTEA NOT NULL,
    name   TEXT    NOT NULL,
    value  TEXT    NOT NULL,
    PRIMARY KEY (site, digest, name),
    FOREIGN KEY (site, digest) REFERENCES image (site, digest) ON DELETE CASCADE
);
CREATE INDEX image_metadata_value ON image_metadata (site, name, value);

CREATE TABLE validation_set (
    site       TEXT   NOT NULL REFERENCES site (name),
    version    BIGINT NOT NULL,
    digest     BYTEA NOT NULL, -- of what judges: the validation split's images and classes
    created_at BIGINT NOT NULL,
    created_by TEXT   NOT NULL,
    PRIMARY KEY (site, version)
);

CREATE TABLE validation_image (
    site    TEXT    NOT NULL,
    version BIGINT  NOT NULL,
    digest  BYTEA NOT NULL REFERENCES blob (digest),
    name    TEXT    NOT NULL,
    class   TEXT    NOT NULL,
    split   TEXT    NOT NULL,
    bytes   BIGINT  NOT NULL,
    phash   BIGINT  NOT NULL,
    metadata TEXT   NOT NULL,
    PRIMARY KEY (site, version, digest),
    FOREIGN KEY (site, version) REFERENCES validation_set (site, version)
);
CREATE INDEX validation_image_digest ON validation_image (digest);

CREATE TABLE snapshot (
    id         UUID  NOT NULL PRIMARY KEY,
    site       TEXT    NOT NULL REFERENCES site (name),
    digest     BYTEA NOT NULL,
    filter     TEXT    NOT NULL,
    exclusions TEXT    NOT NULL,
    images     BIGINT  NOT NULL,
    left_out   BIGINT  NOT NULL,
    validation BIGINT,
    created_at BIGINT  NOT NULL
);
CREATE INDEX snapshot_site ON snapshot (site, id);

CREATE TABLE snapshot_image (
    snapshot UUID  NOT NULL REFERENCES snapshot (id),
    digest   BYTEA NOT NULL,
    bytes    BIGINT  NOT NULL,
    PRIMARY KEY (snapshot, digest)
);
CREATE INDEX snapshot_image_digest ON snapshot_image (digest);

CREATE TABLE job (
    id               UUID  NOT NULL PRIMARY KEY,
    site             TEXT    NOT NULL REFERENCES site (name),
    snapshot         UUID  NOT NULL REFERENCES snapshot (id),
    base             BYTEA NOT NULL REFERENCES base (digest),
    validation       BIGINT,
    judged_before    BIGINT  NOT NULL, -- masks that this validation set had judged when the attempt began
    recipe           TEXT    NOT NULL,
    budget           BIGINT,
    kpi              TEXT    NOT NULL,
    gate             TEXT    NOT NULL,
    parent           BIGINT, -- the mask whose scores it starts from
    seed             BIGINT  NOT NULL,
    reserved_version BIGINT  NOT NULL, -- of the mask, should there be one
    priority         BIGINT  NOT NULL,
    state            TEXT    NOT NULL,
    attempt          BIGINT  NOT NULL, -- the fencing token
    failures         BIGINT  NOT NULL, -- attempts that failed or were lost
    max_attempts     BIGINT  NOT NULL,
    not_before       BIGINT  NOT NULL,
    leased_until     BIGINT,
    worker           TEXT,
    cancel_requested BOOLEAN NOT NULL,
    progress         TEXT,
    loss             TEXT    NOT NULL, -- the live curve of the running attempt, thinned
    mask             BIGINT,
    report           BYTEA REFERENCES blob (digest),
    error            TEXT,
    created_by       TEXT    NOT NULL,
    created_at       BIGINT  NOT NULL,
    started_at       BIGINT,
    ended_at         BIGINT
);
CREATE INDEX job_site ON job (site, id);
CREATE INDEX job_open ON job (state, priority, id);

CREATE TABLE attempt (
    job               UUID NOT NULL REFERENCES job (id),
    number            BIGINT NOT NULL,
    worker            TEXT   NOT NULL,
    device            TEXT   NOT NULL,
    started_at        BIGINT NOT NULL,
    ended_at          BIGINT,
    ending            TEXT,
    PRIMARY KEY (job, number)
);

-- The last two checkpoints of a job; gone when the job ends.
CREATE TABLE checkpoint (
    job        UUID  NOT NULL REFERENCES job (id),
    attempt    BIGINT  NOT NULL,
    step       BIGINT  NOT NULL,
    digest     BYTEA NOT NULL REFERENCES blob (digest),
    created_at BIGINT  NOT NULL,
    PRIMARY KEY (job, step)
);
CREATE INDEX checkpoint_digest ON checkpoint (digest);

-- Blobs that an attempt uploaded and that nothing names yet: they live while
-- the attempt does.
CREATE TABLE attempt_blob (
    job     UUID  NOT NULL REFERENCES job (id),
    attempt BIGINT  NOT NULL,
    digest  BYTEA NOT NULL REFERENCES blob (digest),
    PRIMARY KEY (job, attempt, digest)
);
CREATE INDEX attempt_blob_digest ON attempt_blob (digest);

CREATE TABLE job_line (
    id      BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    job     UUID  NOT NULL REFERENCES job (id),
    attempt BIGINT  NOT NULL,
    at      BIGINT  NOT NULL,
    line    TEXT    NOT NULL
);
CREATE INDEX job_line_job ON job_line (job, id);

CREATE TABLE mask (
    site           TEXT    NOT NULL REFERENCES site (name),
    version        BIGINT  NOT NULL,
    job            UUID  NOT NULL UNIQUE REFERENCES job (id), -- a job publishes once
    base           BYTEA NOT NULL REFERENCES base (digest),
    artefact       BYTEA NOT NULL REFERENCES blob (digest),
    bytes          BIGINT  NOT NULL,
    scores         BYTEA NOT NULL REFERENCES blob (digest),
    report         BYTEA NOT NULL REFERENCES blob (digest),
    weights        BYTEA NOT NULL,
    parent         BIGINT,
    flips          BIGINT  NOT NULL,
    verdict        TEXT    NOT NULL,
    reasons        TEXT    NOT NULL, -- JSON list of sentences
    kpi_base       DOUBLE PRECISION,
    kpi_mask       DOUBLE PRECISION,
    kpi_difference DOUBLE PRECISION,
    kpi_lower      DOUBLE PRECISION,
    kpi_upper      DOUBLE PRECISION,
    created_at     BIGINT  NOT NULL,
    PRIMARY KEY (site, version)
);

CREATE TABLE channel (
    site       TEXT   NOT NULL REFERENCES site (name),
    name       TEXT   NOT NULL,
    mask       BIGINT,
    revision   BIGINT NOT NULL,
    updated_at BIGINT NOT NULL,
    PRIMARY KEY (site, name),
    FOREIGN KEY (site, mask) REFERENCES mask (site, version)
);

CREATE TABLE channel_move (
    site      TEXT    NOT NULL,
    channel   TEXT    NOT NULL,
    revision  BIGINT  NOT NULL,
    from_mask BIGINT,
    to_mask   BIGINT,
    overrides BOOLEAN NOT NULL,
    reason    TEXT,
    actor     TEXT    NOT NULL,
    at        BIGINT  NOT NULL,
    PRIMARY KEY (site, channel, revision),
    FOREIGN KEY (site, channel) REFERENCES channel (site, name)
);

CREATE TABLE device (
    id           UUID  NOT NULL PRIMARY KEY,
    site         TEXT    NOT NULL REFERENCES site (name),
    name         TEXT    NOT NULL,
    channel      TEXT    NOT NULL,
    created_at   BIGINT  NOT NULL,
    last_seen_at BIGINT,
    status       TEXT,
    UNIQUE (site, name)
);

CREATE TABLE token (
    id         UUID  NOT NULL PRIMARY KEY,
    hash       BYTEA NOT NULL UNIQUE, -- SHA-256 of the secret, which has 256 random bits
    name       TEXT    NOT NULL,
    role       TEXT    NOT NULL,
    site       TEXT    REFERENCES site (name),
    device     UUID  REFERENCES device (id),
    created_at BIGINT  NOT NULL,
    expires_at BIGINT,
    revoked_at BIGINT
);

CREATE TABLE worker (
    name         TEXT   NOT NULL PRIMARY KEY,
    device       TEXT   NOT NULL,
    memory_bytes BIGINT NOT NULL,
    version      TEXT   NOT NULL,
    last_seen_at BIGINT NOT NULL
);

CREATE TABLE idempotency (
    token      UUID  NOT NULL REFERENCES token (id),
    name       TEXT    NOT NULL, -- the key that the client chose
    request    BYTEA NOT NULL, -- SHA-256 of method, path and body
    status     BIGINT  NOT NULL, -- 0: the first request has not been answered yet
    answer     TEXT    NOT NULL,
    created_at BIGINT  NOT NULL,
    PRIMARY KEY (token, name)
);

CREATE TABLE audit (
    id      BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    at      BIGINT  NOT NULL,
    actor   TEXT    NOT NULL,
    event   TEXT    NOT NULL,
    site    TEXT,
    details TEXT    NOT NULL
);
CREATE INDEX audit_site ON audit (site, id);

-- What happened, for those who watch; old entries are swept.
CREATE TABLE event (
    id   BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    at   BIGINT NOT NULL,
    site TEXT,
    what TEXT   NOT NULL
);
