-- Links by which somebody signs in to the pages, once; and browsers that are signed in. Of both only the hash of the secret.
CREATE TABLE sign_ins (
    hash TEXT PRIMARY KEY,
    person TEXT NOT NULL,
    role TEXT NOT NULL,
    expires_at BIGINT NOT NULL
);
CREATE TABLE browsers (
    hash TEXT PRIMARY KEY,
    person TEXT NOT NULL,
    role TEXT NOT NULL,
    began_at BIGINT NOT NULL,
    expires_at BIGINT NOT NULL
);
