-- Population priors: what the masks of sites that lend them have in common.

-- Whether this site's masks may be learned from, for priors that every site's devices may fetch.
ALTER TABLE site ADD COLUMN lends_masks BOOLEAN NOT NULL DEFAULT FALSE;

CREATE TABLE prior (
    base    BLOB   NOT NULL REFERENCES base (digest),
    version BIGINT  NOT NULL, -- counts up within a base
    digest  BLOB   NOT NULL UNIQUE, -- of what it says: artefacts name it by this
    file    BLOB   NOT NULL REFERENCES blob (digest),
    bytes   BIGINT  NOT NULL,
    sites   BIGINT  NOT NULL, -- how many it was learned from, a mask of each
    made_at BIGINT  NOT NULL,
    PRIMARY KEY (base, version)
);
CREATE INDEX prior_file ON prior (file);

-- Whole artefacts in the short form for devices that hold the prior.
CREATE TABLE mask_with_prior (
    site     TEXT   NOT NULL,
    version  BIGINT NOT NULL, -- what it yields
    prior    BLOB  NOT NULL REFERENCES prior (digest), -- what it needs
    artefact BLOB  REFERENCES blob (digest), -- none: it is not worth it, so none is tried again
    bytes    BIGINT,
    made_at  BIGINT NOT NULL,
    PRIMARY KEY (site, version, prior),
    FOREIGN KEY (site, version) REFERENCES mask (site, version)
);
CREATE INDEX mask_with_prior_artefact ON mask_with_prior (artefact);
