-- Deltas between whole artefacts of a site, for devices that hold the parent.
CREATE TABLE mask_delta (
    site     TEXT   NOT NULL,
    version  BIGINT NOT NULL, -- what it yields
    parent   BIGINT NOT NULL, -- what it needs
    artefact BYTEA  REFERENCES blob (digest), -- none: a delta is not worth it, so none is tried again
    bytes    BIGINT,
    made_at  BIGINT NOT NULL,
    PRIMARY KEY (site, version, parent),
    FOREIGN KEY (site, version) REFERENCES mask (site, version),
    FOREIGN KEY (site, parent) REFERENCES mask (site, version)
);
CREATE INDEX mask_delta_artefact ON mask_delta (artefact);
