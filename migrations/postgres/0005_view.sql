-- How a site's pictures become network input, as JSON; all fields left out: the whole picture.
ALTER TABLE site ADD COLUMN view TEXT NOT NULL DEFAULT '{}';

-- That of its site when the job was asked for, and of the mask that it makes.
ALTER TABLE job ADD COLUMN view TEXT NOT NULL DEFAULT '{}';
